//! After a failed sync: nobody is told otherwise, nothing is tried again, reading goes on, the rest is not touched.

use std::thread;

use walstone::{Batch, Durability, Error, PoisonCause, Region, Tail};

use crate::root::{Root, rows, scan, value};

fn poisoned<T: std::fmt::Debug>(answer: walstone::Result<T>) {
    assert!(
        matches!(
            answer,
            Err(Error::Poisoned {
                region: 7,
                cause: PoisonCause::Sync
            })
        ),
        "{answer:?}"
    );
}

fn refuses_all_writes(region: &Region) {
    let mut batch = Batch::new();
    batch.push(1, b"x");
    poisoned(region.append(1, b"x"));
    poisoned(region.append_with(1, b"x", Durability::Written));
    poisoned(region.append_batch(&batch));
    poisoned(region.submit(&batch, Durability::Written).map(drop));
    poisoned(region.delete_up_to(1, 1));
    poisoned(region.truncate_from(1, 1));
    poisoned(region.reclaim());
    poisoned(region.sync());
    assert_eq!(region.poisoned(), Some(PoisonCause::Sync));
}

#[test]
fn every_waiter_gets_the_error_and_the_region_is_poisoned_alone() {
    let root = Root::new();
    let wal = root.open();
    let region = wal.create_region(7).unwrap();
    let other = wal.create_region(8).unwrap();
    region.append(1, b"durable").unwrap();
    other.append(1, b"durable").unwrap();
    root.watch.hold_syncs("/7/seg_");
    thread::scope(|scope| {
        let waiters: Vec<_> = (0..4).map(|_| scope.spawn(|| region.append(1, b"doomed"))).collect();
        root.watch.wait_held(1);
        while region.last_sequence() < 5 {
            thread::yield_now();
        }
        root.watch.fail_syncs("/7/seg_");
        root.watch.release();
        for waiter in waiters {
            let answer = waiter.join().unwrap();
            assert!(
                matches!(answer, Err(Error::Storage(_) | Error::Poisoned { .. })),
                "{answer:?}"
            );
        }
    });
    let failed = root.watch.syncs_of("/7/");
    refuses_all_writes(&region);
    // Even where the device would say yes now.
    root.watch.fail_nothing();
    refuses_all_writes(&region);
    assert_eq!(region.durable_through(), 1);
    assert_eq!(scan(&region).len(), 5, "reading goes on");
    other.append(1, b"goes on").unwrap();
    assert!(wal.close_region(7).is_err());
    assert_eq!(root.watch.syncs_of("/7/"), failed, "a sync is never tried again");
    wal.close().unwrap();
    assert_eq!(root.watch.syncs_of("/7/"), failed);
}

/// The bytes that the sync did not make durable are written again before anything stands on them.
#[test]
fn a_poisoned_region_is_opened_anew_alone() {
    let root = Root::new();
    let wal = root.open();
    let region = wal.create_region(7).unwrap();
    let other = wal.create_region(8).unwrap();
    for sequence in 1..=5 {
        region.append(1, &value(sequence, 100)).unwrap();
    }
    let view = region.view().unwrap();
    root.watch.fail_syncs("/7/seg_");
    assert!(matches!(region.append(1, &value(6, 100)), Err(Error::Storage(_))));
    assert!(matches!(
        wal.region(7).unwrap().append(1, b"x"),
        Err(Error::Poisoned { .. })
    ));
    poisoned(wal.close_region(7));
    // The device still fails: the region stays closed, nothing is lost.
    assert!(wal.region(7).is_err());
    root.watch.fail_nothing();
    let before = root.watch.changes().len();
    let reopened = wal.region(7).unwrap();
    let done = root.watch.changes().split_off(before);
    if crate::OBSERVED {
        let first_sync = done.iter().position(|call| call.starts_with("SyncFile")).unwrap();
        assert!(
            done[..first_sync].iter().any(|call| call.starts_with("Write")),
            "what is in doubt is written again: {done:?}"
        );
    }
    assert!(reopened.report().settled_bytes > 0);
    assert_eq!(scan(&reopened).len(), 6);
    assert_eq!(reopened.append(1, &value(7, 100)).unwrap().first, 7);
    assert!(matches!(region.append(1, b"x"), Err(Error::Closed)));
    assert_eq!(rows(&view).len(), 5);
    other.append(1, b"untouched").unwrap();
    wal.close().unwrap();
    drop((wal, region, reopened, other));
    assert_eq!(scan(&root.open().region(7).unwrap()).len(), 7);
}

/// A rotation syncs the old segment while a sync of group commit is under way: the system told one of the two that it
/// failed, and the other that all was well.
#[test]
fn a_rotation_beside_a_failing_sync_fails_too() {
    let root = Root::new();
    let wal = root.open();
    let region = wal.create_region(7).unwrap();
    region.append_with(1, &value(1, 300), Durability::Written).unwrap();
    root.watch.wait_quiet();
    let before = root.watch.syncs_of("/7/seg_1");
    root.watch.hold_syncs("/7/seg_1");
    thread::scope(|scope| {
        let waiter = scope.spawn(|| region.sync());
        root.watch.wait_held(1);
        let appender = scope.spawn(|| {
            loop {
                if let Err(error) = region.append_with(1, &value(2, 300), Durability::Written) {
                    break error;
                }
                assert!(region.last_sequence() < 20, "rotated beside the sync");
            }
        });
        while region.last_sequence() < 5 {
            thread::yield_now();
        }
        thread::sleep(std::time::Duration::from_millis(50));
        root.watch.fail_syncs_once("/7/seg_1");
        root.watch.release();
        assert!(matches!(
            waiter.join().unwrap(),
            Err(Error::Storage(_) | Error::Poisoned { .. })
        ));
        let refused = appender.join().unwrap();
        assert!(
            matches!(refused, Error::Storage(_) | Error::Poisoned { .. }),
            "{refused:?}"
        );
    });
    refuses_all_writes(&region);
    assert_eq!(root.watch.syncs_of("/7/seg_1"), before + 1, "nobody asks a second time");
    assert_eq!(region.durable_through(), 0);
}

/// A segment was reclaimed while a sync of it was about to begin: the sync met no file, and poisoned the region.
#[test]
fn a_segment_is_not_given_up_under_a_sync() {
    let root = Root::new();
    let wal = root.open();
    let region = wal.create_region(7).unwrap();
    thread::scope(|scope| {
        for table in 0..3u64 {
            let region = &region;
            scope.spawn(move || {
                for round in 0..80u64 {
                    region.append(table, &value(round, 400)).unwrap();
                    if round % 4 == 3 {
                        region.delete_up_to(table, u64::MAX).unwrap();
                        region.reclaim().unwrap();
                    }
                }
            });
        }
    });
    assert_eq!(region.poisoned(), None);
    assert_eq!(scan(&region), []);
}

/// Who waits when a close fails is told of the failure: that the region is closed was nobody's question.
#[test]
fn a_failed_close_tells_who_waits_why() {
    let root = Root::new();
    let wal = root.open();
    let region = wal.create_region(7).unwrap();
    region.append(1, b"durable").unwrap();
    root.watch.wait_quiet();
    let mut batch = Batch::new();
    batch.push(1, b"doomed");
    let ticket = region.submit(&batch, Durability::Durable).unwrap();
    root.watch.fail_syncs("/7/seg_");
    let closed = wal.close_region(7);
    assert!(matches!(closed, Err(Error::Storage(_))), "{closed:?}");
    let waited = ticket.wait();
    assert!(matches!(waited, Err(Error::Storage(_))), "{waited:?}");
    assert!(matches!(region.sync(), Err(Error::Closed)));
}

/// One region that cannot be closed keeps no other from it.
#[test]
fn a_log_tells_which_close_failed_and_closes_the_rest() {
    let root = Root::new();
    let wal = root.open();
    for id in [7, 8, 9] {
        let region = wal.create_region(id).unwrap();
        region.append_with(1, b"written", Durability::Written).unwrap();
    }
    root.watch.fail_syncs("/8/seg_");
    let closed = wal.close();
    assert!(matches!(closed, Err(Error::Storage(_))), "{closed:?}");
    root.watch.fail_nothing();
    let wal = root.open();
    let tails = [7, 8, 9].map(|id| wal.region(id).unwrap().report().tail);
    assert_eq!(tails, [Tail::Closed, Tail::Clean, Tail::Closed]);
}
