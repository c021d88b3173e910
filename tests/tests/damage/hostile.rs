//! Images that somebody made up: checksums verify, and what they cover says anything. Never a panic, never work
//! without an end. (Arithmetic is checked in debug builds, which is how these are worth most.)

use walstone_core::frame::{self, Kind};
use walstone_core::ram::RamStorage;
use walstone_core::segment::header::Header;
use walstone_core::{Capacity, Checksum, Entry, Error, Geometry, Log, Options, Reason, SegmentId, salvage};
use walstone_tests::images;

const SUM: Checksum = Checksum::BYTEWISE;

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn word(&mut self, near: u64) -> u64 {
        match self.below(9) {
            0 => u64::MAX,
            1 => u64::MAX - 1,
            2 => 0,
            3 => 1,
            4 => u64::from(u32::MAX),
            5 => near.wrapping_add(self.next() % 64),
            6 => near.wrapping_sub(self.next() % 64),
            7 => self.next() % 2048,
            _ => 1 << (self.next() % 64),
        }
    }
}

/// Verified frames of a segment.
fn frames(bytes: &[u8]) -> (frame::Binding, Vec<(u32, frame::Header)>) {
    let binding = Header::decode(bytes, SUM).unwrap().binding(SUM);
    let mut base = 0;
    let mut found = Vec::new();
    for offset in (0..bytes.len() as u32 - 24).step_by(8) {
        let at = bytes[offset as usize..].first_chunk().unwrap();
        if let Ok(header) = frame::Header::decode(at, &binding, offset, base) {
            if header.kind == Kind::Manifest {
                base = header.incarnation;
            }
            found.push((offset, header));
        }
    }
    (binding, found)
}

fn mutate(bytes: &mut [u8], rng: &mut Rng) {
    let (binding, found) = frames(bytes);
    if found.is_empty() {
        return;
    }
    let (mut offset, mut header) = found[rng.below(found.len())];
    let payload = offset as usize + 24;
    match rng.below(12) {
        0 => header.payload_len = rng.word(header.payload_len.into()) as u32,
        1 => header.sequence_delta = rng.word(header.sequence_delta.into()) as u32,
        2 => header.watermark = rng.word(header.watermark.into()) as u32,
        3 => header.incarnation = rng.word(header.incarnation.into()) as u32,
        4 | 5 => {
            // A frame anywhere that cuts back to anywhere.
            header.kind = [Kind::Resume, Kind::Resume, Kind::Pad, Kind::Close][rng.below(4)];
            header.incarnation = header.incarnation.wrapping_add(rng.below(4) as u32);
            header.payload_len = 0;
            offset = (64 + rng.below(bytes.len() - 96) / 8 * 8) as u32;
            header.payload_crc = if rng.below(2) == 0 {
                found[rng.below(found.len())].0 + rng.below(3) as u32 * 4
            } else {
                rng.word(offset.into()) as u32
            };
        }
        _ if header.payload_len >= 8 && payload + header.payload_len as usize <= bytes.len() => {
            let width = if rng.below(2) == 0 { 4 } else { 8 };
            let at = payload + rng.below((header.payload_len as usize - width) / 4 + 1) * 4;
            let old = u64::from_le_bytes(*bytes[at..].first_chunk().unwrap_or(&[0; 8]));
            bytes[at..at + width].copy_from_slice(&rng.word(old).to_le_bytes()[..width]);
        }
        _ => header.with_epoch = !header.with_epoch,
    }
    let end = payload + header.payload_len as usize;
    if header.kind.has_payload() && end <= bytes.len() {
        header.payload_crc = SUM.of(&bytes[payload..end]);
    }
    let place = offset as usize;
    bytes[place..place + 24].copy_from_slice(&header.encode(&binding, offset));
}

/// Does everything that can be done with an image. True where it opens.
fn use_all(ram: &RamStorage, region: u64) -> bool {
    let bounded = |count: &mut usize| {
        *count += 1;
        assert!(*count < 10_000, "without an end");
    };
    let mut count = 0;
    salvage(&mut ram.clone(), SUM, &mut |_| bounded(&mut count)).unwrap();
    let Ok(mut log) = Log::open(ram.clone(), Capacity::heap(0), Options::new(region, 99)) else {
        return false;
    };
    let mut positions = Vec::new();
    let snapshot = log.snapshot(true);
    for at in 0..snapshot.segment_count() {
        let segment = snapshot.segment(at).unwrap();
        let bytes = ram.bytes(segment.id).unwrap();
        let bytes = &bytes[..bytes.len().min(segment.end as usize)];
        let Ok(reader) = snapshot.reader(at, bytes) else {
            continue;
        };
        let mut count = 0;
        for from in [0, 5, u64::MAX] {
            for table in [None, Some(1), Some(2), Some(u64::MAX)] {
                for frame in reader.frames_from(from, table).flatten() {
                    bounded(&mut count);
                    positions.push(frame.position());
                    for entry in frame.entries().into_iter().flatten() {
                        bounded(&mut count);
                        let _ = entry.is_ok_and(|entry| matches!(entry, Entry::Record(_)));
                    }
                }
            }
        }
    }
    positions.sort_unstable();
    positions.dedup();
    for position in positions {
        let _ = log.read_at(position).map(|record| record.sequence);
    }
    for table in [None, Some(1), Some(u64::MAX)] {
        let mut count = 0;
        let mut reads = log.read(table, ..);
        while reads.next().is_some() {
            bounded(&mut count);
        }
    }
    for round in 0..40 {
        let _ = log.append(round % 3, &[round as u8; 60]);
        if round % 7 == 0 {
            let _ = log.truncate_from(1, 3);
            let _ = log.delete_up_to(2, u64::MAX);
            let _ = log.reclaim();
        }
        let _ = log.sync();
    }
    let _ = log.close();
    let _ = Log::open(log.into_storage(), Capacity::heap(0), Options::new(region, 7)).map(drop);
    true
}

#[test]
fn frames_that_verify_and_lie() {
    let mut rng = Rng(0x9e37_79b9_7f4a_7c15);
    let small = Geometry::new(1536).unwrap();
    let units = small.with_erased(None).unwrap();
    let images = [
        images::many_sessions(small, false),
        images::many_sessions(units, true),
        images::many_tears(small),
    ];
    let mut opened = 0;
    for round in 0..6000 {
        let mut ram = images[round % images.len()].ram.clone();
        let region = ids(&ram)
            .first()
            .map(|&id| Header::decode(ram.bytes(id).unwrap(), SUM).unwrap().region);
        for _ in 0..=rng.below(3) {
            let ids = ids(&ram);
            let newest = rng.below(2) == 0;
            let id = if newest {
                ids[ids.len() - 1 - rng.below(3).min(ids.len() - 1)]
            } else {
                ids[rng.below(ids.len())]
            };
            mutate(ram.bytes_mut(id).unwrap(), &mut rng);
        }
        opened += usize::from(use_all(&ram, region.unwrap()));
    }
    assert!(opened > 1000, "{opened}");
}

fn ids(ram: &RamStorage) -> Vec<SegmentId> {
    (0..256).map(SegmentId).filter(|&id| ram.bytes(id).is_some()).collect()
}

/// One segment with this id and first sequence, and whatever frames follow.
fn made_up(id: u64, first_sequence: u64, more: &[(u32, frame::Header)]) -> RamStorage {
    let geometry = Geometry::new(4096).unwrap();
    let header = Header {
        geometry,
        region: 7,
        segment: SegmentId(id),
        salt: 1,
    };
    let binding = header.binding(SUM);
    let mut bytes = vec![0; 4096];
    bytes[..64].copy_from_slice(&header.encode(SUM));
    bytes[88..96].copy_from_slice(&first_sequence.to_le_bytes());
    let manifest = frame::Header {
        payload_len: 16,
        payload_crc: SUM.of(&bytes[88..104]),
        ..frame_of(Kind::Manifest)
    };
    bytes[64..88].copy_from_slice(&manifest.encode(&binding, 64));
    for (offset, frame) in more {
        let at = *offset as usize;
        bytes[at..at + 24].copy_from_slice(&frame.encode(&binding, *offset));
    }
    let mut ram = RamStorage::new(geometry);
    ram.insert(SegmentId(id), bytes);
    ram
}

fn frame_of(kind: Kind) -> frame::Header {
    frame::Header {
        kind,
        with_epoch: false,
        incarnation: 1,
        payload_len: 0,
        sequence_delta: 0,
        watermark: 0,
        payload_crc: 0,
    }
}

/// Behind the last id and the last sequence there is nothing.
#[test]
fn the_last_numbers_of_all() {
    for id in [1, u64::MAX - 2, u64::MAX - 1, u64::MAX] {
        for first in [1, u64::MAX - 1, u64::MAX] {
            assert!(use_all(&made_up(id, first, &[]), 7), "{id} {first}");
        }
    }
}

/// A resume frame that cuts back into the middle of a frame: no walk ever comes by that place, so cutting there and
/// starting anew would go on for ever.
#[test]
fn a_cut_that_no_walk_comes_by() {
    let pad = frame::Header {
        payload_len: 40,
        ..frame_of(Kind::Pad)
    };
    let resume = |incarnation, from| frame::Header {
        incarnation,
        payload_crc: from,
        ..frame_of(Kind::Resume)
    };
    for from in [112, 116, 120, 136] {
        use_all(&made_up(1, 1, &[(104, pad), (512, resume(2, from))]), 7);
        use_all(
            &made_up(1, 1, &[(104, pad), (168, resume(2, from)), (512, resume(3, from))]),
            7,
        );
    }
    // Each of many cuts off the one before: a walk for each would be quadratic work.
    let mut many: Vec<_> = (0..100)
        .map(|n| (168 + 24 * n, resume(2 + n, 168 + 24 * n.saturating_sub(1))))
        .collect();
    many.push((104, pad));
    let opened = Log::open(made_up(1, 1, &many), Capacity::heap(0), Options::new(7, 1));
    assert!(opened.is_err());
}

/// A manifest that verifies and lists segments whose first sequences fall, or one of them twice, or in another order.
/// Reading finds a sequence by the order of the segments, so it would have passed over records.
#[test]
fn a_manifest_whose_segments_do_not_rise() {
    let geometry = Geometry::new(4096).unwrap();
    let mut log = Log::create(RamStorage::new(geometry), Capacity::heap(0), Options::new(7, 1)).unwrap();
    while log.written_mark().segment < SegmentId(4) {
        log.append(1, &[9; 200]).unwrap();
    }
    log.sync().unwrap();
    let (last, newest) = (log.last_sequence(), log.written_mark().segment);
    let image = log.into_storage();
    let items = |ram: &RamStorage| -> Vec<[u8; 24]> {
        let items = ram.bytes(newest).unwrap()[104..].chunks_exact(24);
        items.take(3).map(|item| item.try_into().unwrap()).collect()
    };
    let with = |listed: &[[u8; 24]]| {
        let mut ram = image.clone();
        let mut bytes = ram.bytes(newest).unwrap().to_vec();
        bytes[104..176].copy_from_slice(&listed.concat());
        let (binding, found) = frames(&bytes);
        let manifest = frame::Header {
            payload_crc: SUM.of(&bytes[88..176]),
            ..found[0].1
        };
        bytes[64..88].copy_from_slice(&manifest.encode(&binding, 64));
        ram.insert(newest, bytes);
        Log::open(ram, Capacity::heap(0), Options::new(7, 2)).map(|log| log.last_sequence())
    };
    let [first, second, third] = items(&image).try_into().unwrap();
    assert_eq!(with(&[first, second, third]), Ok(last));
    let mut falling = second;
    falling[8..16].copy_from_slice(&(u64::from_le_bytes(third[8..16].try_into().unwrap()) + 1).to_le_bytes());
    for listed in [[first, falling, third], [second, first, third], [first, first, third]] {
        let refused = with(&listed).unwrap_err();
        let Error::Corrupt(corruption) = refused else {
            panic!("{refused}")
        };
        assert_eq!((corruption.segment, corruption.reason), (newest, Reason::Manifest));
    }
}
