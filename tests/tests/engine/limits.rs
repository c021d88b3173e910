//! What a log may still do when its facts (listed segments and deleted ranges) fill a manifest, or its room for them.

use std::ops::ControlFlow;

use walstone_core::ram::RamStorage;
use walstone_core::{Batch, Capacity, Error, Geometry, Log, Options, SegmentId, Storage, Workspace};

type RamLog = Log<'static, RamStorage>;

/// A table with one record in each segment, so that no segment dies before it is deleted.
const PINNING: u64 = 1;
/// A table whose deleted prefix grows step by step: each step is written, none needs a range more.
const GROWING: u64 = 2;

/// A log whose segments and deleted ranges fill a manifest to the last item. Returns how far `GROWING` is deleted.
fn full_of_facts() -> (RamLog, u64) {
    let storage = RamStorage::new(Geometry::new(4096).unwrap());
    let mut log = Log::create(storage, Capacity::heap(0), Options::new(7, 42)).unwrap();
    // Sequences to delete up to.
    let mut many = Batch::new();
    (0..200).for_each(|_| many.push(GROWING, b""));
    for _ in 0..40 {
        log.append_batch(&many).unwrap();
    }
    let mut before = SegmentId(0);
    loop {
        let table = if log.written_mark().segment == before {
            GROWING
        } else {
            PINNING
        };
        before = log.written_mark().segment;
        match log.append(table, &[9; 1500]) {
            Ok(_) => {}
            Err(Error::Full) => break,
            Err(error) => panic!("{error}"),
        }
    }
    log.delete_up_to(GROWING, 1).unwrap();
    // A range of its own for each table: nothing of these tables is there, so nothing dies.
    for table in 3.. {
        match log.delete_up_to(table, 1) {
            Ok(_) => {}
            Err(Error::TooManyVoids { .. }) => break,
            Err(error) => panic!("{error}"),
        }
    }
    (log, 1)
}

/// Deletes more of `GROWING`, one sequence a frame, until the log goes on in another segment.
fn delete_until_the_next_segment(log: &mut RamLog, deleted: &mut u64) {
    let before = log.written_mark().segment;
    while log.written_mark().segment == before {
        *deleted += 1;
        log.delete_up_to(GROWING, *deleted).unwrap();
    }
}

/// With its facts at the limit, a segment that deletions filled can be left all the same, again and again: but what it
/// leads to takes no user data, since a segment with live records would need the item that keeps this way open.
#[test]
fn deletions_always_find_a_way_out_of_a_segment_that_they_filled() {
    let (mut log, mut deleted) = full_of_facts();
    delete_until_the_next_segment(&mut log, &mut deleted);
    for _ in 0..4 {
        let before = log.last_sequence();
        assert_eq!(log.append(PINNING, b"one more").map(drop), Err(Error::Full));
        assert_eq!(log.last_sequence(), before);
        delete_until_the_next_segment(&mut log, &mut deleted);
    }
    let last = log.last_sequence();
    log.delete_up_to(GROWING, last).unwrap();
    log.sync().unwrap();
    let mut log = Log::open(log.into_storage(), Capacity::heap(0), Options::new(7, 43)).unwrap();
    // Segments that held only the growing table go, which leaves an item for the range of the last one.
    log.reclaim().unwrap();
    log.delete_up_to(PINNING, last).unwrap();
    log.reclaim().unwrap();
    log.sync().unwrap();
    assert_eq!(log.append(PINNING, b"room again").unwrap().first, last + 1);
}

/// A batch that cuts off what was never given deletes nothing, so it needs no range; it was refused for want of one.
#[test]
fn a_batch_that_deletes_nothing_needs_no_range() {
    let mut room = Workspace::<8, 1, 4, 1024>::new();
    let storage = RamStorage::new(Geometry::new(4096).unwrap());
    let mut log = Log::create(storage, room.lend(), Options::new(7, 42)).unwrap();
    for _ in 0..3 {
        log.append(1, b"value").unwrap();
    }
    log.delete_up_to(1, 1).unwrap();
    let mut batch = Batch::new();
    batch.truncate_from(1, 4);
    batch.push(1, b"fourth");
    log.append_batch(&batch).unwrap();
    assert_eq!(log.last_sequence(), 4);
    // The same words behind a record: now there is one to cut off, and a range it would need.
    batch.clear();
    batch.push(1, b"fifth");
    batch.truncate_from(1, 5);
    assert_eq!(log.append_batch(&batch).map(drop), Err(Error::TooManyVoids { max: 1 }));
    assert_eq!(log.last_sequence(), 4);
}

/// Without a sync of the caller's, what manifests omitted was removed by none: on files for ever, and where the list of
/// segments is lent the log ended with it, though all of it was dead.
#[test]
fn a_log_that_is_never_synced_gives_dead_segments_back() {
    let mut room = Workspace::<6, 4, 4, 1024>::new();
    let storage = RamStorage::new(Geometry::new(4096).unwrap());
    let mut log = Log::create(storage, room.lend(), Options::new(7, 42)).unwrap();
    for _ in 0..200 {
        let at = log.append(1, &[7; 900]).unwrap();
        log.delete_up_to(1, at.last).unwrap();
    }
    assert!(log.written_mark().segment.0 > 40);
    let mut found = 0;
    let visit = &mut |_| {
        found += 1;
        ControlFlow::Continue(())
    };
    log.storage_mut().segments(visit).unwrap();
    assert!(found <= 6, "{found} segments");
}
