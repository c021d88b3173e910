//! What an open believes of the newest manifest, and what it reports.
#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics fails")]

use walstone_core::ram::RamStorage;
use walstone_core::segment::header::Header;
use walstone_core::{Capacity, Checksum, Error, Geometry, Log, Options, Reason, SegmentId, Tail, Workspace, frame};

type RamLog = Log<'static, RamStorage>;

const SEGMENT_LEN: u32 = 4096;

fn options() -> Options {
    Options::new(7, 1)
}

fn open(ram: RamStorage) -> RamLog {
    Log::open(ram, Capacity::heap(0), options()).unwrap()
}

/// A log in its fourth segment, with one deleted range of each of two tables.
fn four_segments() -> RamLog {
    let storage = RamStorage::new(Geometry::new(SEGMENT_LEN).unwrap());
    let mut log = Log::create(storage, Capacity::heap(0), options()).unwrap();
    while log.written_mark().segment < SegmentId(4) {
        log.append(1, &[9; 200]).unwrap();
        log.append(2, &[9; 200]).unwrap();
        if log.last_sequence() == 8 {
            log.delete_up_to(1, 3).unwrap();
            log.delete_up_to(2, 4).unwrap();
        }
    }
    log
}

/// A manifest, taken apart.
#[derive(Clone)]
struct Manifest {
    first_sequence: u64,
    /// Id and first sequence, end and length of the seal.
    segments: Vec<([u64; 2], [u32; 2])>,
    voids: Vec<[u64; 3]>,
}

const AT: usize = 64;

impl Manifest {
    fn of(bytes: &[u8]) -> Self {
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let items = AT + 24 + 16;
        let segments = u32_at(items - 8) as usize;
        let voids = u32_at(items - 4) as usize;
        let at = |nth: usize| items + 24 * nth;
        Self {
            first_sequence: u64_at(AT + 24),
            segments: (0..segments)
                .map(|nth| {
                    let at = at(nth);
                    ([u64_at(at), u64_at(at + 8)], [u32_at(at + 16), u32_at(at + 20)])
                })
                .collect(),
            voids: (segments..segments + voids)
                .map(|nth| [0, 8, 16].map(|field| u64_at(at(nth) + field)))
                .collect(),
        }
    }

    /// Puts it in the place of one that is as long.
    fn put(&self, bytes: &mut [u8]) {
        let mut payload = self.first_sequence.to_le_bytes().to_vec();
        payload.extend((self.segments.len() as u32).to_le_bytes());
        payload.extend((self.voids.len() as u32).to_le_bytes());
        for (long, short) in &self.segments {
            payload.extend(long.iter().flat_map(|field| field.to_le_bytes()));
            payload.extend(short.iter().flat_map(|field| field.to_le_bytes()));
        }
        payload.extend(self.voids.iter().flatten().flat_map(|field| field.to_le_bytes()));
        let binding = Header::decode(bytes, Checksum::BYTEWISE)
            .unwrap()
            .binding(Checksum::BYTEWISE);
        let header = frame::Header::decode(bytes[AT..].first_chunk().unwrap(), &binding, AT as u32, 1).unwrap();
        assert_eq!(header.payload_len as usize, payload.len());
        let header = frame::Header {
            payload_crc: Checksum::BYTEWISE.of(&payload),
            ..header
        };
        bytes[AT..AT + 24].copy_from_slice(&header.encode(&binding, AT as u32));
        bytes[AT + 24..][..payload.len()].copy_from_slice(&payload);
    }
}

/// A manifest whose checksum verifies is believed as far as a writer could have written it.
#[test]
fn a_manifest_that_verifies_is_held_to_its_bounds() {
    let mut log = four_segments();
    log.sync().unwrap();
    let (newest, last) = (log.written_mark().segment, log.last_sequence());
    let image = log.into_storage();
    let manifest = Manifest::of(image.bytes(newest).unwrap());
    assert_eq!((manifest.segments.len(), manifest.voids.len()), (3, 2));
    let check = |name: &str, believed: bool, change: &dyn Fn(&mut Manifest)| {
        let mut changed = manifest.clone();
        change(&mut changed);
        let mut ram = image.clone();
        changed.put(ram.bytes_mut(newest).unwrap());
        match Log::open(ram, Capacity::heap(0), options()).map(|log| log.last_sequence()) {
            Ok(found) => assert!(believed && found == last, "{name}"),
            Err(Error::Corrupt(found)) => {
                let expect = (newest, AT as u32, Reason::Manifest);
                assert_eq!((found.segment, found.offset, found.reason), expect, "{name}");
                assert!(!believed, "{name}");
            }
            Err(other) => panic!("{name}: {other}"),
        }
    };
    let first = manifest.first_sequence;
    check("as it is", true, &|_| {});
    check("an end that is the segment's", true, &|it| {
        it.segments[1].1[0] = SEGMENT_LEN
    });
    check("an end behind the segment", false, &|it| {
        it.segments[1].1[0] = SEGMENT_LEN + 1
    });
    check("an end where frames start", true, &|it| it.segments[1].1 = [64, 0]);
    check("an end in front of all frames", false, &|it| it.segments[1].1 = [63, 0]);
    check("a seal as long as all", true, &|it| it.segments[1].1 = [4000, 4000]);
    check("a seal that is longer", false, &|it| it.segments[1].1 = [4000, 4001]);
    check("none of the records", true, &|it| it.segments[2].0[1] = first);
    check("records of the newest segment", false, &|it| {
        it.segments[2].0[1] = first + 1
    });
    check("as many as the one behind", true, &|it| {
        it.segments[1].0[1] = it.segments[2].0[1]
    });
    check("falling sequences", false, &|it| {
        it.segments[1].0[1] = it.segments[2].0[1] + 1
    });
    check("a segment twice", false, &|it| {
        it.segments[1].0[0] = it.segments[2].0[0]
    });
    check("the newest segment", false, &|it| it.segments[2].0[0] = newest.0);
    check("one record deleted", true, &|it| it.voids[0] = [1, 3, 3]);
    check("the last record deleted", true, &|it| it.voids[1][2] = first - 1);
    check("the next record deleted", false, &|it| it.voids[1][2] = first);
    check("from nothing on", false, &|it| it.voids[0][1] = 0);
    check("to before its start", false, &|it| it.voids[0] = [1, 4, 3]);
    check("ranges that join", true, &|it| it.voids = vec![[1, 1, 3], [1, 5, 6]]);
    check("ranges that share a record", false, &|it| {
        it.voids = vec![[1, 1, 3], [1, 3, 6]]
    });
    check("falling tables", false, &|it| it.voids.swap(0, 1));

    // As many deleted ranges as there is room for, and fewer.
    let mut room = Workspace::<8, 2, 8, 1024>::new();
    let opened = Log::open(image.clone(), room.lend(), options());
    assert_eq!(opened.map(|log| log.last_sequence()), Ok(last));
    let mut room = Workspace::<8, 1, 8, 1024>::new();
    let opened = Log::open(image, room.lend(), options()).map(drop);
    assert_eq!(opened, Err(Error::TooManyVoids { max: 1 }));
}

/// Each field of a report, of a log that ended in each way.
#[test]
fn a_report_tells_what_was_found() {
    let check = |ram: &RamStorage, expect: (u64, u32, u64, u32), tail: Tail| {
        let log = open(ram.clone());
        let report = log.report();
        let found = (
            report.newest.0,
            report.segments,
            report.last_sequence,
            report.settled_bytes,
        );
        assert_eq!((found, report.tail), (expect, tail));
    };
    let mut log = four_segments();
    log.sync().unwrap();
    let (start, last) = (log.written_mark().end, log.last_sequence());
    // No frame says yet that anything of this segment is durable.
    let ram = log.into_storage();
    check(&ram, (4, 4, last, start), Tail::Clean);

    let mut log = open(ram.clone());
    log.append(1, &[9; 100]).unwrap();
    log.close().unwrap();
    check(&log.into_storage(), (4, 4, last + 1, 0), Tail::Closed);

    // The second half of a record is missing.
    let mut log = open(ram);
    let begun = log.append(1, &[9; 100]).unwrap().mark.end - 128;
    log.sync().unwrap();
    let offset = log.written_mark().end;
    log.append(1, &[9; 100]).unwrap();
    let mut ram = log.into_storage();
    ram.bytes_mut(SegmentId(4)).unwrap()[offset as usize + 64..].fill(0);
    let bytes = 24 + 103;
    check(&ram, (4, 4, last + 1, offset - begun), Tail::Torn { offset, bytes });
}
