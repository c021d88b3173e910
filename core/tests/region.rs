//! What an open believes of the newest manifest and what it reports, where a log is full, and what hosts do beside it.
#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics fails")]

use walstone_core::ram::RamStorage;
use walstone_core::segment::header::Header;
use walstone_core::segment::layout::Layout;
use walstone_core::{
    Capacity, Checksum, Error, Footer, Geometry, Log, Options, PoisonCause, Reason, SegmentId, Storage, Tail,
    Workspace, frame,
};

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

/// A manifest lists no more than fits it: user data leaves a quarter of its items, at least two, and deletions use them.
#[test]
fn user_data_leaves_items_of_the_manifest_to_deletions() {
    for segment_len in [1024, 1536, 2048, 4096, 8192] {
        let geometry = Geometry::new(segment_len).unwrap();
        let layout = Layout::new(geometry);
        let mut log = Log::create(RamStorage::new(geometry), Capacity::heap(0), options()).unwrap();
        let items = (layout.max_manifest_len() - 24 - 16) / 24;
        let kept = (layout.max_manifest_len() / 4 / 24).max(2);
        let value = vec![9; layout.max_payload_len() as usize / 3];
        let mut table = 0;
        let refused = loop {
            table += 1;
            // Two of each table, so that deleting one of them takes a range of its own.
            if let Err(error) = log.append(table, &value).and_then(|_| log.append(table, &value)) {
                break error;
            }
        };
        assert_eq!(refused, Error::Full);
        let user = (layout.max_manifest_len() - kept * 24 - 24 - 16) / 24;
        assert_eq!(log.snapshot(false).segment_count() as u32, user, "{segment_len} bytes");
        // What the segments leave, down to the last item.
        let mut deleted = 0;
        let refused = loop {
            match log.delete_up_to(deleted + 1, 2 * deleted + 1) {
                Ok(_) => deleted += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(deleted, u64::from(items - user), "{segment_len} bytes");
        let max = deleted as usize;
        assert_eq!(refused, Error::TooManyVoids { max }, "{segment_len} bytes");
        let last = log.last_sequence();
        assert_eq!(open(log.into_storage()).last_sequence(), last);
    }
}

/// A host syncs, creates and removes beside the log, and tells it.
#[test]
fn a_host_performs_steps_of_its_own() {
    let mut log = four_segments();
    let mark = log.begin_sync().unwrap();
    assert_eq!(mark, Some(log.written_mark()));
    log.synced(mark.unwrap());
    assert_eq!(
        (log.begin_sync(), log.durable_sequence()),
        (Ok(None), log.last_sequence())
    );
    // A sync of less than was written since.
    let durable = log.durable_sequence();
    log.append(1, &[9; 200]).unwrap();
    log.synced(mark.unwrap());
    assert_eq!(log.durable_sequence(), durable);
    assert_eq!(log.oldest_sequence(), 1);

    // Segments that a durable manifest omits are removed, one by one.
    let kept = Manifest::of(log.storage().bytes(SegmentId(4)).unwrap()).first_sequence;
    for table in [1, 2] {
        log.delete_up_to(table, kept - 1).unwrap();
    }
    while log.written_mark().segment == SegmentId(4) {
        log.append(1, &[9; 200]).unwrap();
    }
    assert!(!log.remove_one(), "the manifest that omits them is not durable");
    let mark = log.begin_sync().unwrap();
    log.synced(mark.unwrap());
    assert_eq!(log.oldest_sequence(), kept);
    assert_eq!([(); 5].map(|()| log.remove_one()), [true, true, true, false, false]);
    let newest = log.written_mark().segment;
    let manifest = Manifest::of(log.storage().bytes(newest).unwrap());
    assert!(
        manifest.voids.iter().all(|void| void[2] >= kept),
        "ranges without a record"
    );

    // Two are created ahead, one at a time.
    let create = |log: &mut RamLog| {
        let (id, header) = log.begin_create()?;
        assert_eq!(log.begin_create(), None, "one is being created");
        log.storage_mut().create(id, &header).unwrap();
        Some(log.created_ahead(id))
    };
    while log.written_mark().segment == newest {
        log.append(1, &[9; 200]).unwrap();
    }
    assert_eq!(create(&mut log), None, "the second is in hand");
    log.poison(PoisonCause::Sync);
    assert!(!log.remove_one());
    assert_eq!(log.close(), Err(Error::Poisoned(PoisonCause::Sync)));
    let mut log = open(log.into_storage());
    assert_eq!(create(&mut log), None, "no session has begun");
    log.append(1, &[9; 200]).unwrap();
    log.close().unwrap();
    assert_eq!(log.close(), Ok(()), "it is closed");
}

/// A segment behind the newest one is read from its manifest on, and what is damaged is said where it stands.
#[test]
fn a_damaged_manifest_of_an_older_segment_is_told() {
    let mut log = four_segments();
    log.sync().unwrap();
    let image = log.into_storage();
    // Its header, and what it states.
    for damaged in [AT, AT + 24] {
        let mut ram = image.clone();
        ram.bytes_mut(SegmentId(2)).unwrap()[damaged] ^= 0xff;
        let mut log = open(ram);
        let mut reads = log.read(None, ..);
        let mut told = None;
        while let Some(record) = reads.next() {
            told = told.or(record.err());
        }
        match told {
            Some(Error::Corrupt(found)) => {
                let expect = (SegmentId(2), AT as u32, Reason::Manifest);
                assert_eq!((found.segment, found.offset, found.reason), expect, "{damaged}");
            }
            other => panic!("{other:?}"),
        }
    }
}

/// A log that takes no more writes changes nothing: not by a close, nor by removing what is to go.
#[test]
fn a_log_that_is_given_up_or_poisoned_is_left_as_it_is() {
    let give_up: [fn(&mut RamLog); 3] = [
        Log::abandon,
        |log| log.poison(PoisonCause::Write),
        |log| assert_eq!(log.close(), Ok(())),
    ];
    for (nth, give_up) in give_up.into_iter().enumerate() {
        let mut log = four_segments();
        for table in [1, 2] {
            log.delete_up_to(table, log.last_sequence()).unwrap();
        }
        while log.written_mark().segment == SegmentId(4) {
            log.append(1, &[9; 200]).unwrap();
        }
        // What went before can be removed now.
        let mark = log.begin_sync().unwrap().unwrap();
        log.synced(mark);
        give_up(&mut log);
        let left = |log: &RamLog| (log.written_mark(), log.storage().ids().collect::<Vec<_>>());
        let before = left(&log);
        assert!(nth == 2 || before.1.contains(&SegmentId(1)));
        assert!(!log.remove_one());
        let closed = log.close();
        assert_eq!(closed.is_err(), nth == 1);
        assert_eq!(left(&log), before);
    }
}

/// A manifest that verifies names a place where a batch stands as that of a footer, and what the batch holds would decode as a
/// footer without a record. The frame says what it is.
#[test]
fn a_batch_is_no_footer_whatever_it_holds() {
    let storage = RamStorage::new(Geometry::new(SEGMENT_LEN).unwrap());
    let mut log = Log::create(storage, Capacity::heap(0), options()).unwrap();
    while log.written_mark().segment < SegmentId(4) {
        // With two bytes of length and one of its table, what a footer without tables takes.
        log.append(1, &[0; 29]).unwrap();
    }
    log.sync().unwrap();
    let (newest, last) = (log.written_mark().segment, log.last_sequence());
    let mut ram = log.into_storage();
    let bytes = ram.bytes_mut(newest).unwrap();
    let mut manifest = Manifest::of(bytes);
    let [end, seal_len] = manifest.segments[1].1;
    manifest.segments[1].1 = [end - seal_len, 24 + 32];
    manifest.put(bytes);
    let second = ram.bytes(SegmentId(2)).unwrap();
    let payload = &second[(end - seal_len) as usize - 32..(end - seal_len) as usize];
    assert_eq!(Footer::decode(payload).map(|footer| footer.tables().count()), Ok(0));
    let count = |log: &mut RamLog| {
        let (mut count, mut reads) = (0, log.read(None, ..));
        while let Some(record) = reads.next() {
            count += u64::from(record.is_ok());
        }
        count
    };
    let mut log = open(ram);
    let before = count(&mut log);
    assert!(before >= last - 1, "{before} of {last}");
    log.reclaim().unwrap();
    log.sync().unwrap();
    assert_eq!(count(&mut log), before);
}

/// A footer whose bytes changed says nothing: believed, it would have given up a segment with live records.
#[test]
fn a_footer_that_does_not_verify_is_not_believed() {
    let mut log = four_segments();
    log.sync().unwrap();
    let end = log.snapshot(false).segment(1).unwrap().end as usize;
    let mut ram = log.into_storage();
    let bytes = ram.bytes_mut(SegmentId(2)).unwrap();
    let footer = Footer::decode(&bytes[end - 32 - 2 * 28..end]).unwrap();
    let tables: Vec<_> = footer.tables().map(|range| (range.table, range.first)).collect();
    assert_eq!(tables.len(), 2);
    for (nth, (_, first)) in tables.iter().enumerate() {
        // The last record of the table is its first.
        bytes[end - 2 * 28 + 28 * nth + 16..][..8].copy_from_slice(&first.to_le_bytes());
    }
    let mut log = open(ram);
    for (table, first) in tables {
        log.delete_up_to(table, first).unwrap();
    }
    log.reclaim().unwrap();
    log.sync().unwrap();
    let left: Vec<_> = log.storage().ids().collect();
    assert!(!left.contains(&SegmentId(1)), "what is deleted goes");
    assert!(left.contains(&SegmentId(2)), "what is not deleted stays");
}

#[test]
fn where_there_is_a_region_none_is_made() {
    let mut log = four_segments();
    log.sync().unwrap();
    let (last, ram) = (log.last_sequence(), log.into_storage());
    let made = Log::create(ram.clone(), Capacity::heap(0), options()).map(drop);
    assert_eq!(made, Err(Error::RegionExists));
    assert_eq!(open(ram).last_sequence(), last);
}

#[test]
fn a_cut_of_a_footer_holds_something() {
    let footer = |from: u32, to: u32| {
        let mut payload = [0; 40];
        payload[0] = 2;
        payload[25] = 1;
        payload[32..36].copy_from_slice(&from.to_le_bytes());
        payload[36..].copy_from_slice(&to.to_le_bytes());
        Footer::decode(&payload).is_ok()
    };
    assert!(footer(104, 105));
    assert!(!footer(104, 104));
    assert!(!footer(104, 103));
}

/// No pad fills the sync unit that a seal ends in: of its session nothing follows a seal.
#[test]
fn nothing_stands_behind_a_seal() {
    let geometry = Geometry::new(8192).unwrap().with_sync_unit(512).unwrap();
    let mut log = Log::create(RamStorage::new(geometry), Capacity::heap(0), options()).unwrap();
    while log.written_mark().segment == SegmentId(1) {
        log.append(1, &[9; 100]).unwrap();
    }
    let end = log.snapshot(false).segment(0).unwrap().end as usize;
    assert!(!end.is_multiple_of(512));
    let bytes = log.storage().bytes(SegmentId(1)).unwrap();
    assert!(bytes[end..].iter().all(|&byte| byte == 0));
}
