//! Ends of a log: what closing writes, and what it does not.

use walstone::{Batch, Durability, Error, PoisonCause, Region, Tail};

use crate::root::{Root, rows, scan, value};

#[test]
fn a_second_close_and_one_without_a_write_change_nothing() {
    let root = Root::new();
    let wal = root.open();
    let region = wal.create_region(7).unwrap();
    region.append(1, b"a").unwrap();
    wal.close().unwrap();
    let changes = root.watch.changes();
    let tree = root.tree();
    wal.close().unwrap();
    wal.clone().close().unwrap();
    assert_eq!(root.watch.changes(), changes);
    drop((region, wal));
    assert_eq!(root.watch.changes(), changes);

    for _ in 0..3 {
        let wal = root.open();
        assert_eq!(scan(&wal.region(7).unwrap()).len(), 1);
        assert_eq!(wal.region(7).unwrap().report().tail, Tail::Closed);
        let opened = root.watch.changes().len();
        wal.close_region(7).unwrap();
        wal.region(7).unwrap();
        wal.close().unwrap();
        let later = root.watch.changes().split_off(opened);
        assert!(later.iter().all(|call| call.starts_with("SyncDir")), "{later:?}");
        drop(wal);
        assert_eq!(root.tree(), tree);
    }
}

#[test]
fn closing_makes_written_records_durable() {
    let root = Root::new();
    let wal = root.open();
    let region = wal.create_region(7).unwrap();
    let mut batch = Batch::new();
    batch.push(1, b"a");
    region.append_batch_with(&batch, Durability::Written).unwrap();
    let ticket = region.submit(&batch, Durability::Durable).unwrap();
    assert_eq!(region.durable_through(), 0);
    wal.close().unwrap();
    assert_eq!(region.durable_through(), 2);
    assert_eq!(ticket.check().unwrap().unwrap().last, 2);
    assert_eq!(ticket.wait().unwrap().last, 2);
}

#[test]
fn handles_answer_closed_and_views_stay() {
    let root = Root::new();
    let wal = root.open();
    let region = wal.create_region(7).unwrap();
    for sequence in 1..=40 {
        region.append(1, &value(sequence, 200)).unwrap();
    }
    let read = region.view().unwrap();
    let seen = rows(&read);
    let unread = region.view().unwrap();
    wal.close().unwrap();
    let mut batch = Batch::new();
    batch.push(1, b"x");
    for answer in [
        region.append(1, b"x").map(drop),
        region.append_batch(&batch).map(drop),
        region.submit(&batch, Durability::Durable).map(drop),
        region.delete_up_to(1, 1),
        region.truncate_from(1, 1),
        region.reclaim(),
        region.sync(),
        region.view().map(drop),
        wal.region(7).map(drop),
        wal.create_region(8).map(drop),
        wal.region_or_create(8).map(drop),
        wal.close_region(7),
        wal.remove_region(7),
    ] {
        assert!(matches!(answer, Err(Error::Closed)), "{answer:?}");
    }
    assert_eq!(rows(&read), seen);
    assert_eq!(rows(&unread), seen);
    // In the same process, while the views live.
    let wal = root.open();
    let region = wal.region(7).unwrap();
    region.append(1, &value(41, 200)).unwrap();
    region.delete_up_to(1, 41).unwrap();
    region.reclaim().unwrap();
    assert_eq!(scan(&region), []);
    assert_eq!(rows(&read), seen);
    assert_eq!(rows(&unread), seen);
    drop((read, unread));
    assert_eq!(region.append(1, b"x").unwrap().first, 42);
}

/// Threads append while the log is closed: every acknowledged record is there afterwards, and no other. A written append was
/// once told that the log is closed although the close had made its record durable: the close came between the append and
/// the handing over of its bytes. It left the region poisoned, too.
#[test]
fn a_close_beside_appenders_loses_no_acknowledged_record() {
    for durability in [Durability::Durable, Durability::Written] {
        for round in 0..40u64 {
            let root = Root::new();
            let wal = root.open_with(root.options().segment_len(1 << 20)).unwrap();
            let region = wal.create_region(7).unwrap();
            let acknowledged = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..3u64)
                    .map(|thread| {
                        let region = region.clone();
                        scope.spawn(move || {
                            let mut last = 0;
                            loop {
                                match region.append_with(thread, &value(thread, 120), durability) {
                                    Ok(at) => last = at.last,
                                    Err(Error::Closed) => return last,
                                    Err(error) => panic!("{error}"),
                                }
                            }
                        })
                    })
                    .collect();
                while region.last_sequence() < 1 + round {
                    std::thread::yield_now();
                }
                wal.close().unwrap();
                threads.into_iter().map(|thread| thread.join().unwrap()).max().unwrap()
            });
            assert_eq!(region.poisoned(), None);
            assert_eq!(region.durable_through(), acknowledged);
            let wal = root.open();
            let reopened = wal.region(7).unwrap();
            assert_eq!(reopened.report().tail, Tail::Closed);
            // Who was answered `Closed` appended nothing; whatever the close made durable was acknowledged.
            assert_eq!(reopened.last_sequence(), acknowledged);
            assert_eq!(scan(&reopened).len() as u64, acknowledged);
        }
    }
}

/// Appends until a segment is made ahead, and holds that; the last sequence.
fn hold_making_ahead(root: &Root, region: &Region) -> u64 {
    region.append_with(1, &value(1, 300), Durability::Written).unwrap();
    root.watch.wait_quiet();
    root.watch.hold_syncs("/tmp_");
    // More than half of a segment, and less than one.
    for sequence in 2..=8 {
        let at = region.append_with(1, &value(sequence, 300), Durability::Written);
        assert_eq!(at.unwrap().last, sequence);
    }
    root.watch.wait_held(1);
    8
}

/// A segment that was being made for a region while it was closed and opened again took the place of one that the
/// new opening had made under the same id, records included.
#[test]
fn a_close_waits_for_the_segment_that_is_being_made() {
    if !crate::OBSERVED {
        return;
    }
    let root = Root::new();
    let wal = root.open();
    let region = wal.create_region(7).unwrap();
    let last = hold_making_ahead(&root, &region);
    std::thread::scope(|scope| {
        let close = scope.spawn(|| wal.close_region(7));
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(!close.is_finished());
        root.watch.release();
        close.join().unwrap().unwrap();
    });
    let region = wal.region(7).unwrap();
    for sequence in last + 1..=60 {
        assert_eq!(region.append(1, &value(sequence, 300)).unwrap().last, sequence);
    }
    assert!(scan(&region).iter().map(|row| row.1).eq(1..=60));
}

/// A sync that was under way when the region was poisoned met the files of the next opening.
#[test]
fn a_close_waits_for_the_sync_that_is_under_way() {
    if !crate::OBSERVED {
        return;
    }
    let root = Root::new();
    let wal = root.open();
    let region = wal.create_region(7).unwrap();
    region.append_with(1, b"a", Durability::Written).unwrap();
    root.watch.wait_quiet();
    root.watch.hold_syncs("/7/seg_");
    std::thread::scope(|scope| {
        let sync = scope.spawn(|| region.sync());
        root.watch.wait_held(1);
        root.watch.fail_stores();
        region.append_with(1, b"b", Durability::Written).unwrap_err();
        assert_eq!(region.poisoned(), Some(PoisonCause::Write));
        root.watch.fail_nothing();
        let close = scope.spawn(|| wal.close_region(7));
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(!close.is_finished());
        root.watch.release();
        close.join().unwrap().unwrap_err();
        sync.join().unwrap().unwrap();
    });
    assert_eq!(scan(&wal.region(7).unwrap()).len(), 1);
}

/// The background thread, which would tell, may be busy elsewhere, and has nothing to do any more once the log is closed.
#[test]
fn a_failed_close_tells_who_asked_to_be_called() {
    if !crate::OBSERVED {
        return;
    }
    let root = Root::new();
    let wal = root.open();
    let (region, busy) = (wal.create_region(7).unwrap(), wal.create_region(8).unwrap());
    region.append(1, b"durable").unwrap();
    hold_making_ahead(&root, &busy);
    let mut batch = Batch::new();
    batch.push(1, b"doomed");
    let (tell, told) = std::sync::mpsc::channel();
    let ticket = region.submit(&batch, Durability::Durable).unwrap();
    ticket.on_complete(move |outcome| tell.send(outcome).unwrap());
    root.watch.fail_syncs("/7/seg_");
    let closed = wal.close_region(7);
    assert!(matches!(closed, Err(Error::Storage(_))), "{closed:?}");
    let told = told.try_recv();
    assert!(matches!(told, Ok(Err(Error::Storage(_)))), "{told:?}");
    root.watch.release();
}
