//! Published failures of other logs, each by its story: none of them is possible here.

use std::sync::atomic::{AtomicU64, Ordering};

use walstone_core::frame::{self, Kind};
use walstone_core::ram::RamStorage;
use walstone_core::segment::header::Header;
use walstone_core::{Capacity, Checksum, Fault, Geometry, Log, SegmentId, Storage, Tail};
use walstone_tests::damage::oracle;
use walstone_tests::images::{self, Image, Random, Story, Verdict, read_all};
use walstone_tests::storages::Method;
use walstone_tests::storages::faulty::Faulty;

fn flash() -> Geometry {
    let geometry = Geometry::new(4096).unwrap().with_write_unit(4).unwrap();
    geometry.with_erased(Some(0xff)).unwrap()
}

/// A queue in flash looked for the next item word by word behind a torn header. After two torn headers a store that
/// went well was gone at the next start: the search had met a header made of what was torn and what was new.
#[test]
fn torn_header_resync() {
    let geometry = Geometry::new(4096).unwrap();
    let frame_len = frame::HEADER_LEN + 16;
    for first in 1..frame_len {
        for second in 1..frame_len {
            let mut story = Story::create(geometry);
            story.append(1, 12);
            story.sync();
            for lost in [first, second] {
                story.append(1, 14);
                story = story.tear(lost);
            }
            story.append(2, 14);
            story.sync();
            let image = story.leave();
            let verdict = image.judge(image.ram.clone());
            assert!(
                matches!(verdict, Ok(Verdict::Whole(_))),
                "{first} and {second} bytes lost: {verdict:?}"
            );
        }
    }
}

/// An erase that was cut short left words of almost all ones. A short checksum took some of them for an item, and
/// devices did not start any more.
#[test]
fn near_erased_noise() {
    let mut random = Random::new(7);
    let mut torn = 0;
    for round in 0..2_000 {
        let mut log = Log::create(RamStorage::new(flash()), Capacity::heap(0), images::options()).unwrap();
        log.append(1, b"kept").unwrap();
        log.sync().unwrap();
        let end = log.written_mark();
        let ids: Vec<SegmentId> = log.storage().ids().collect();
        let mut ram = log.into_storage();
        for id in ids {
            let from = if id == end.segment { end.end as usize } else { 64 };
            let bytes = &mut ram.bytes_mut(id).unwrap()[from..];
            for _ in 0..1 + round % 60 {
                let at = random.below(bytes.len());
                bytes[at] &= !(1 << random.below(8));
            }
        }
        let mut log = Log::open(ram, Capacity::heap(0), images::options()).unwrap();
        torn += u32::from(matches!(log.report().tail, Tail::Torn { .. }));
        for value in [b"more", b"last"] {
            log.append(1, value).unwrap();
            log.sync().unwrap();
            log = Log::open(log.into_storage(), Capacity::heap(0), images::options()).unwrap();
        }
        let (live, error) = read_all(&mut log, None);
        let values: Vec<&[u8]> = live.values().map(|(_, value)| value.as_slice()).collect();
        assert_eq!(
            (error, values),
            (None, vec![&b"kept"[..], b"more", b"last"]),
            "round {round}"
        );
    }
    assert!(torn > 1_000, "only {torn} images had a tail to step over");
}

fn three_syncs() -> Image {
    let mut story = Story::create(Geometry::new(8192).unwrap());
    for _ in 0..3 {
        for _ in 0..8 {
            story.append(1, 100);
        }
        story.sync();
    }
    story.append(1, 100);
    story.sync();
    story.leave()
}

/// A length of zero was taken for the end of the log, and all behind it was overwritten: a sector of zeros in the middle
/// of durable records silently ended the log there. The rule that was to tell it apart failed for records that hold
/// sectors of zeros themselves.
#[test]
fn zero_sector_taken_for_the_end() {
    let image = three_syncs();
    let newest = image.end.segment;
    let vouched = image.watermark.end as usize;
    for at in (0..vouched).step_by(8) {
        let mut ram = image.ram.clone();
        let bytes = ram.bytes_mut(newest).unwrap();
        bytes[at..(at + 512).min(vouched)].fill(0);
        let verdict = image.judge(ram).unwrap();
        assert!(verdict.is_reported(), "zeros from byte {at} on: {verdict:?}");
    }
    // Zeros that somebody appended are data.
    let mut log = Log::create(
        RamStorage::new(Geometry::new(8192).unwrap()),
        Capacity::heap(0),
        images::options(),
    )
    .unwrap();
    for _ in 0..3 {
        log.append(1, &[0; 1500]).unwrap();
    }
    log.sync().unwrap();
    let mut log = Log::open(log.into_storage(), Capacity::heap(0), images::options()).unwrap();
    assert_eq!(read_all(&mut log, None).0.len(), 3);
}

/// One flipped bit of a length let a log believe that a record reaches over the end of its file: it took that for a
/// write that was cut short, and cut off everything from there on. Another one panicked.
#[test]
fn length_bit_flipped_past_the_end() {
    let image = three_syncs();
    let newest = image.end.segment;
    let mut flipped = 0;
    for frame in oracle::frames(&image, newest) {
        if frame.at >= image.watermark.end as usize {
            continue;
        }
        for bit in 0..32 {
            let mut ram = image.ram.clone();
            ram.bytes_mut(newest).unwrap()[frame.at + 4 + bit / 8] ^= 1 << (bit % 8);
            let verdict = image.judge(ram).unwrap();
            assert!(
                verdict.is_reported(),
                "bit {bit} of the length at {}: {verdict:?}",
                frame.at
            );
            flipped += 1;
        }
    }
    assert!(flipped > 500, "{flipped}");
}

/// After a failed sync the system shows what it has dropped: a log that was opened again read it, called it recovered,
/// and lost it with the power.
#[test]
fn recovered_but_not_durable() {
    let faulty = Faulty::new(RamStorage::new(Geometry::new(4096).unwrap()));
    let faults = faulty.faults();
    let mut log = Log::create(faulty, Capacity::heap(0), images::options()).unwrap();
    log.append(1, b"durable").unwrap();
    log.sync().unwrap();
    log.append(1, b"in doubt").unwrap();
    faults.fail(Method::Sync, 1, Fault::Device);
    log.sync().unwrap_err();
    // The process is started again, and the power stays on.
    let mut log = Log::open(log.into_storage(), Capacity::heap(0), images::options()).unwrap();
    let shown: Vec<u64> = sequences(&mut log);
    assert_eq!(shown, [1, 2], "reads show what the sync dropped");
    let mut log = Log::open(log.into_storage().reboot(), Capacity::heap(0), images::options()).unwrap();
    assert_eq!(sequences(&mut log), shown, "what an open showed is durable");
}

fn sequences<S: Storage<Error: std::fmt::Debug>>(log: &mut Log<'static, S>) -> Vec<u64> {
    let mut all = Vec::new();
    let mut reads = log.read(None, ..);
    while let Some(record) = reads.next() {
        all.push(record.map(|record| record.sequence).expect("what is there is whole"));
    }
    all
}

static CHECKED: AtomicU64 = AtomicU64::new(0);

fn counted(crc: u32, bytes: &[u8]) -> u32 {
    CHECKED.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    crc32c::crc32c_append(crc, bytes)
}

/// Bytes that are put through a checksum when a segment of `len` bytes is opened: the one whose `fill` makes the most work.
fn work(len: u32, fill: impl Fn(&frame::Binding, &mut [u8])) -> u64 {
    let geometry = Geometry::new(len).unwrap();
    let options = walstone_core::Options {
        checksum: Checksum::new(counted),
        ..images::options()
    };
    let header = Header {
        geometry,
        region: options.region,
        segment: SegmentId(1),
        salt: 1,
    };
    let binding = header.binding(options.checksum);
    let mut bytes = vec![0; len as usize];
    bytes[..64].copy_from_slice(&header.encode(options.checksum));
    bytes[88] = 1;
    let manifest = frame::Header {
        payload_len: 16,
        payload_crc: options.checksum.of(&bytes[88..104]),
        ..resume(1, 0)
    };
    let manifest = frame::Header {
        kind: Kind::Manifest,
        ..manifest
    };
    bytes[64..88].copy_from_slice(&manifest.encode(&binding, 64));
    fill(&binding, &mut bytes[104..]);
    let mut ram = RamStorage::new(geometry);
    ram.insert(SegmentId(1), bytes);
    CHECKED.store(0, Ordering::Relaxed);
    let _ = Log::open(ram, Capacity::heap(0), options).map(drop);
    CHECKED.load(Ordering::Relaxed)
}

fn resume(incarnation: u32, from: u32) -> frame::Header {
    frame::Header {
        kind: Kind::Resume,
        with_epoch: false,
        incarnation,
        payload_len: 0,
        sequence_delta: 0,
        watermark: 0,
        payload_crc: from,
    }
}

/// A segment that somebody made up of what costs most: every place may be a frame, every session cuts off the one before.
/// A log that begins its search anew at each of them takes days for it.
#[test]
fn a_hostile_segment_costs_linear_work() {
    const LEN: u32 = 64 << 20;
    let fills: [fn(&frame::Binding, &mut [u8]); 2] = [
        |_, bytes| bytes.fill(5),
        |binding, bytes| {
            bytes.fill(5);
            // Each of a thousand sessions cuts back to where the log begins.
            let len = bytes.len();
            for n in 0..1_000 {
                let at = (len / 1_000 * n) / 8 * 8;
                let header = resume(2 + n as u32, 104).encode(binding, 104 + at as u32);
                bytes[at..at + header.len()].copy_from_slice(&header);
            }
        },
    ];
    for fill in fills {
        let (half, whole) = (work(LEN / 2, fill), work(LEN, fill));
        println!("{whole} bytes checked for {LEN}");
        // A header at every eighth byte, 28 bytes of which are covered, and a walk starts anew at most 16 times.
        assert!(whole <= 17 * 4 * u64::from(LEN), "{whole}");
        assert!(
            whole <= half * 2 + half / 10,
            "{half} bytes for half of it, {whole} for all"
        );
    }
}
