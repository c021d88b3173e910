//! What the fuzz targets do with bytes that a fuzzer chose. Here, so that a test runs them over the committed corpus.

use std::sync::OnceLock;

use walstone_core::frame::{self, Kind};
use walstone_core::ram::RamStorage;
use walstone_core::segment::header::Header;
use walstone_core::{Checksum, Footer, Geometry, SegmentId, v0};

use crate::crash::history::Op;
use crate::crash::machine::{Machine, Plan};
use crate::crash::run::{Life, Stop};
use crate::crash::setup::SETUPS;
use crate::hostile::{Chosen, Draw, ids, mutate, use_all};
use crate::images;
use crate::medium::{Limits, Phase};

const SUM: Checksum = Checksum::BYTEWISE;

/// What is done with one input.
pub type Target = fn(&[u8]);

/// The targets by name.
pub const TARGETS: [(&str, Target); 4] = [
    ("decode", decode),
    ("frames", frames),
    ("image", image),
    ("history", history),
];

/// Decodes everything that can be decoded alone, from any bytes; what decodes encodes to the same bytes.
///
/// # Panics
/// Where it does not.
pub fn decode(data: &[u8]) {
    // A fuzzer finds no checksum; so the same once more with one that verifies.
    let mut summed = data.to_vec();
    if let Some((body, sum)) = summed
        .get_mut(..64)
        .and_then(|header| header.split_last_chunk_mut::<4>())
    {
        *sum = SUM.of(body).to_le_bytes();
    }
    for bytes in [data, &summed] {
        if let Ok(header) = Header::decode(bytes, SUM) {
            assert_eq!(header.encode(SUM), bytes[..64]);
            let binding = header.binding(SUM);
            let at = bytes.get(64..).and_then(|rest| rest.first_chunk());
            let _ = at.map(|at| frame::Header::decode(at, &binding, 64, 0));
        }
    }
    if let Ok(footer) = Footer::decode(data) {
        for range in footer.tables() {
            let _ = footer.table(range.table);
        }
        for block in 0..64 {
            let _ = footer.block_start(block);
        }
        let _ = footer.table(u64::MAX);
    }
    for layout in [v0::Layout::First, v0::Layout::Final] {
        let _ = v0::decode_segment_header(data);
        if let Ok((record, len)) = v0::Record::decode(layout, data) {
            let mut buf = vec![0; len];
            assert_eq!(record.encode(layout, &mut buf), Ok(len));
            assert_eq!(buf, data[..len]);
        }
        for record in v0::Records::new(layout, data) {
            let _ = record.map(|record| record.value.len());
        }
    }
    if let Ok(name) = std::str::from_utf8(data) {
        let _ = v0::parse_file_name(name);
    }
}

/// Opens a region whose frames all verify, whatever they say.
pub fn frames(data: &[u8]) {
    const LEN: u32 = 2560;
    let mut chosen = Chosen(data);
    let mut geometry = Geometry::new(LEN).expect("it works");
    if chosen.below(2) == 1 {
        geometry = geometry.with_sync_unit(128).expect("it works");
    }
    if chosen.below(2) == 1 {
        geometry = geometry.with_erased(None).expect("it works");
    }
    let mut ram = RamStorage::new(geometry);
    for _ in 0..1 + chosen.below(3) {
        let segment = SegmentId(1 + chosen.below(6) as u64);
        let header = Header {
            geometry,
            region: 7,
            segment,
            salt: segment.0,
        };
        let binding = header.binding(SUM);
        let mut bytes = vec![0; LEN as usize];
        bytes[..64].copy_from_slice(&header.encode(SUM));
        let mut at = if geometry.sync_unit() > 1 { 128 } else { 64 };
        for nth in 0..1 + chosen.below(12) {
            let Some(rest) = bytes
                .len()
                .checked_sub(at + 24)
                .filter(|_| !chosen.is_empty() || nth == 0)
            else {
                break;
            };
            let kinds = [
                Kind::Batch,
                Kind::Manifest,
                Kind::Seal,
                Kind::Close,
                Kind::Resume,
                Kind::Pad,
            ];
            let kind = if nth == 0 {
                Kind::Manifest
            } else {
                kinds[chosen.below(6)]
            };
            let declared = chosen.below(256);
            let payload = match kind {
                Kind::Manifest if declared < 192 => manifest(&mut chosen),
                _ => chosen.take(declared).to_vec(),
            };
            let payload = &payload[..payload.len().min(rest)];
            let body = at + 24..at + 24 + payload.len();
            bytes[body.clone()].copy_from_slice(payload);
            let has_payload = kind.has_payload();
            let frame = frame::Header {
                kind,
                with_epoch: chosen.below(8) == 7,
                incarnation: chosen.below(6) as u32 + u32::from(nth == 0),
                payload_len: if has_payload {
                    payload.len()
                } else {
                    chosen.below(2) * declared
                } as u32,
                sequence_delta: chosen.below(256) as u32,
                watermark: chosen.below(at + 1) as u32,
                payload_crc: if has_payload {
                    SUM.of(&bytes[body])
                } else {
                    chosen.below(LEN as usize) as u32
                },
            };
            bytes[at..at + 24].copy_from_slice(&frame.encode(&binding, at as u32));
            at = (at + 24 + payload.len()).next_multiple_of(8) + 8 * (chosen.below(16) / 12);
        }
        ram.insert(segment, bytes);
    }
    use_all(&ram, 7);
}

/// A payload that decodes as a manifest where the segments and voids in it make sense.
fn manifest(chosen: &mut Chosen<'_>) -> Vec<u8> {
    let first = chosen.below(256) as u64;
    let (segments, voids) = (chosen.below(4) as u32, chosen.below(4) as u32);
    let mut payload = [
        first.to_le_bytes().as_slice(),
        &segments.to_le_bytes(),
        &voids.to_le_bytes(),
    ]
    .concat();
    for item in 0..segments + voids {
        // Id, first sequence, end and length of the seal; or table, from, to.
        payload.extend_from_slice(&(chosen.below(8) as u64).to_le_bytes());
        payload.extend_from_slice(&(chosen.below(256) as u64).to_le_bytes());
        if item < segments {
            payload.extend_from_slice(&(chosen.below(4096) as u32).to_le_bytes());
            payload.extend_from_slice(&(chosen.below(256) as u32).to_le_bytes());
        } else {
            payload.extend_from_slice(&chosen.word(first).to_le_bytes());
        }
    }
    payload
}

/// Opens an image with any bytes in any place: a true one that was changed, or made-up segments.
pub fn image(data: &[u8]) {
    static IMAGES: OnceLock<[RamStorage; 3]> = OnceLock::new();
    let images = IMAGES.get_or_init(|| {
        let small = Geometry::new(1536).expect("it works");
        let units = small.with_erased(None).expect("it works");
        [
            images::many_sessions(small, false).ram,
            images::many_sessions(units, true).ram,
            images::many_tears(small).ram,
        ]
    });
    let mut chosen = Chosen(data);
    let base = chosen.below(4);
    let Some(mut ram) = images.get(base).cloned() else {
        return made_up(chosen);
    };
    let known = ids(&ram);
    while !chosen.is_empty() {
        let id = known[known.len() - 1 - chosen.below(known.len())];
        let Some(bytes) = ram.bytes_mut(id) else { continue };
        match chosen.below(4) {
            0 => {
                let at = chosen.below(bytes.len());
                let new = chosen.take(8);
                let end = (at + new.len()).min(bytes.len());
                bytes[at..end].copy_from_slice(&new[..end - at]);
            }
            1 => {
                let at = chosen.below(bytes.len());
                bytes[at..].fill(chosen.below(2) as u8 * 0xff);
            }
            _ => mutate(bytes, &mut chosen),
        }
    }
    use_all(&ram, 7);
}

/// Segments of any bytes, each behind a header that verifies.
fn made_up(mut chosen: Chosen<'_>) {
    let geometry = Geometry::new(1024).expect("it works");
    let mut ram = RamStorage::new(geometry);
    for segment in (1..4).map(SegmentId) {
        let header = Header {
            geometry,
            region: 7,
            segment,
            salt: 0,
        };
        let mut bytes = header.encode(SUM).to_vec();
        bytes.extend_from_slice(chosen.take(1024 - 64));
        bytes.resize(1024, 0);
        ram.insert(segment, bytes);
        if chosen.is_empty() {
            break;
        }
    }
    use_all(&ram, 7);
}

/// Performs any operations, with power cuts inside any call, beside the model.
///
/// # Panics
/// Where the log breaks a promise.
pub fn history(data: &[u8]) {
    const OPS: [Op; 16] = [
        Op::Small,
        Op::TwoUnits,
        Op::Largest,
        Op::Batch,
        Op::BatchWithVoids,
        Op::Durable,
        Op::Sync,
        Op::DeletePrefix,
        Op::DeleteFirst,
        Op::TruncateSuffix,
        Op::DeleteOther,
        Op::Reclaim,
        Op::CloseReopen,
        Op::Reopen,
        Op::PowerLoss,
        Op::FailSync,
    ];
    let mut chosen = Chosen(data);
    let machine = &SETUPS[chosen.below(SETUPS.len())];
    let limits = Limits {
        exhaustive: 6,
        places: 8,
        random: 4,
        ..Limits::default()
    };
    let mut life = Life::create(machine).unwrap_or_else(|stop| panic!("creation: {stop:?}"));
    let mut crashes = 0;
    // More tells nothing new and takes long.
    for _ in 0..100 {
        if chosen.is_empty() || crashes > 8 {
            break;
        }
        let planned = chosen.below(4) == 3;
        if planned {
            let phase = [Phase::Before, Phase::Inside, Phase::After][chosen.below(3)];
            life.plan(Plan::Crash(1 + chosen.below(12) as u64, phase));
        }
        let op = OPS[chosen.below(OPS.len())];
        let done = life.perform(op);
        match done {
            Err(Stop::Violation(violation)) => panic!("{op:?} on {}: {violation:?}", machine.name),
            Ok(()) if !life.has_crashed() => {}
            Ok(()) | Err(Stop::Crashed | Stop::Poisoned) => {
                crashes += 1;
                let count = life.power_loss_count(&limits);
                let (how, image) = life.image_after_power_loss(&limits, chosen.below(1 << 16) % count);
                let found = life.left(true);
                life = Life::attach(machine, image, &found, life.counters());
                if let Err(stop) = reopened(&mut life) {
                    panic!("open behind {op:?} on {}, {how}: {stop:?}", machine.name);
                }
            }
        }
        if op != Op::FailSync {
            life.plan(Plan::Nothing);
        }
    }
}

fn reopened<M: Machine>(life: &mut Life<'_, M>) -> Result<(), Stop> {
    life.create_log()?;
    life.perform(Op::Durable)
}
