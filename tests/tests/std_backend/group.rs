//! Group commit: how many syncs serve how many appends.

use std::thread;

use walstone::Durability;

use crate::root::{Root, value};

#[test]
fn all_that_wrote_during_a_sync_are_served_by_one_more() {
    let root = Root::new();
    let wal = root.open_with(root.options().segment_len(64 << 10)).unwrap();
    let region = wal.create_region(7).unwrap();
    region.append(1, b"begin").unwrap();
    root.watch.wait_quiet();
    let before = root.watch.syncs_of("/7/seg_");
    root.watch.hold_syncs("/7/seg_");
    thread::scope(|scope| {
        for thread in 0..8u64 {
            let region = &region;
            scope.spawn(move || region.append(thread, b"group").unwrap());
            // The first one leads and is held; the others find it at that.
            root.watch.wait_held(1);
        }
        while region.last_sequence() < 9 {
            thread::yield_now();
        }
        root.watch.release();
    });
    assert_eq!(root.watch.syncs_of("/7/seg_"), before + 2);
    assert_eq!(region.durable_through(), 9);
}

/// Appends go on while a sync is under way: no lock of theirs is held.
#[test]
fn written_appends_do_not_wait_for_a_sync() {
    let root = Root::new();
    let wal = root.open_with(root.options().segment_len(64 << 10)).unwrap();
    let region = wal.create_region(7).unwrap();
    region.append(1, b"begin").unwrap();
    root.watch.wait_quiet();
    root.watch.hold_syncs("/7/seg_");
    thread::scope(|scope| {
        let durable = scope.spawn(|| region.append(1, b"durable").unwrap());
        root.watch.wait_held(1);
        for _ in 0..20 {
            region.append_with(1, b"written", Durability::Written).unwrap();
        }
        assert_eq!(region.view().unwrap().scan().count(), 22, "nor do views");
        assert!(!durable.is_finished());
        root.watch.release();
    });
    assert!(region.durable_through() >= 2);
}

#[test]
fn a_lone_writer_syncs_once_for_each_append_and_never_yields() {
    let root = Root::new();
    let wal = root.open_with(root.options().segment_len(1 << 20)).unwrap();
    let region = wal.create_region(7).unwrap();
    region.append(1, b"begin").unwrap();
    root.watch.wait_quiet();
    let before = root.watch.syncs();
    for sequence in 1..=200 {
        region.append(1, &value(sequence, 256)).unwrap();
    }
    assert_eq!(root.watch.syncs(), before + 200);
    let stats = wal.stats().unwrap();
    assert_eq!(stats.regions[0].yields, 0);
    assert_eq!(stats.regions[0].appends, 201);
}

/// Many threads, short segments, every append durable: each acknowledgement is true. How many share a sync is up to the
/// scheduler; that they do is shown above.
#[test]
fn a_crowd_is_answered_truly_over_rotations() {
    let root = Root::new();
    let wal = root.open();
    let region = wal.create_region(7).unwrap();
    thread::scope(|scope| {
        for thread in 0..8u64 {
            let region = &region;
            scope.spawn(move || {
                for round in 0..25 {
                    let at = region.append(thread, &value(round, 200)).unwrap();
                    assert!(region.durable_through() >= at.last);
                }
            });
        }
    });
    assert_eq!(region.durable_through(), 200);
    let stats = wal.stats().unwrap().regions.remove(0);
    assert!(stats.syncs <= 200, "{} syncs", stats.syncs);
}
