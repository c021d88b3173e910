//! Snapshots: stable, lent from maps, and keeping what they may read.

use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{io, thread};

use walstone::seam::{Call, Observer, Verdict};
use walstone::{Durability, Error, Position, Region, View, Wal};

use crate::root::{Root, row, rows, scan, value};

fn filled(root: &Root) -> (walstone::Wal, Region) {
    let wal = root.open();
    let region = wal.create_region(7).unwrap();
    for sequence in 1..=40 {
        region.append(1, &value(sequence, 200)).unwrap();
    }
    (wal, region)
}

#[test]
fn a_view_stays_what_it_was() {
    let root = Root::new();
    let (wal, region) = filled(&root);
    let seen = scan(&region);
    let read = region.view().unwrap();
    assert_eq!(rows(&read), seen);
    let unread = region.view().unwrap();
    let check = |what: &str| {
        assert_eq!(rows(&read), seen, "{what}");
        assert_eq!(rows(&unread), seen, "{what}");
        assert_eq!(read.last(1).unwrap(), Some(40), "{what}");
        assert!(read.get(1, 41).unwrap().is_none(), "{what}");
    };
    region.append(1, &value(41, 200)).unwrap();
    check("append");
    region.delete_up_to(1, 41).unwrap();
    check("delete");
    for sequence in 42..=90 {
        region.append(1, &value(sequence, 200)).unwrap();
    }
    check("rotation");
    region.reclaim().unwrap();
    check("reclaim");
    wal.close_region(7).unwrap();
    check("close of the region");
    wal.close().unwrap();
    check("close");
    drop((region, wal));
    check("drop");
}

#[test]
fn a_reclaimed_segment_goes_with_the_last_view_that_may_read_it() {
    let root = Root::new();
    let (wal, region) = filled(&root);
    let before = root.segments(7);
    let oldest = before[0];
    let (first, second) = (region.view().unwrap(), region.view().unwrap());
    let kept = rows(&first);
    region.delete_up_to(1, 40).unwrap();
    region.reclaim().unwrap();
    let region_stats = || wal.stats().unwrap().regions.remove(0);
    let stats = region_stats();
    assert!(stats.held_by_views.iter().any(|id| id.0 == oldest), "{stats:?}");
    assert_eq!(stats.views, 2);
    let later = region.view().unwrap();
    assert_eq!(rows(&later), []);
    drop(first);
    assert!(root.segments(7).contains(&oldest));
    assert_eq!(rows(&second), kept);
    drop(second);
    assert!(!root.segments(7).contains(&oldest));
    let stats = region_stats();
    assert!(stats.held_by_views.is_empty());
    assert_eq!(stats.views, 1);
    // A view of later facts kept nothing.
    drop(later);
    assert!(region_stats().segments.iter().all(|segment| segment.id.0 > oldest));
}

/// A process that ends with views open leaves what they kept to the next opening.
#[test]
fn what_views_kept_at_the_end_goes_at_the_next_open() {
    let root = Root::new();
    let (wal, region) = filled(&root);
    let oldest = root.segments(7)[0];
    let view = region.view().unwrap();
    region.delete_up_to(1, 40).unwrap();
    region.reclaim().unwrap();
    wal.close().unwrap();
    assert_eq!(
        rows(&view).len(),
        40,
        "found behind the close, by what was remembered of it"
    );
    drop(view);
    assert!(
        root.segments(7).contains(&oldest),
        "the closed log changes nothing any more"
    );
    let wal = root.open();
    assert!(!root.segments(7).contains(&oldest));
    assert!(wal.report().regions[0].removed_segments > 0);
}

#[test]
fn a_position_leads_to_its_record_or_nowhere() {
    let root = Root::new();
    let wal = root.open();
    let region = wal.create_region(7).unwrap();
    let other = wal.create_region(8).unwrap();
    let mut positions = Vec::new();
    for sequence in 1..=40 {
        positions.push(region.append(1, &value(sequence, 200)).unwrap().position);
    }
    let strange = other.append(1, b"other").unwrap().position;
    let elsewhere = Root::new();
    let (_wal, foreign) = filled(&elsewhere);
    let foreign_positions: Vec<Position> = (41..=80)
        .map(|sequence| foreign.append(1, &value(sequence, 200)).unwrap().position)
        .collect();
    let early = region.view().unwrap();
    let late = region.append(1, b"late").unwrap().position;
    let mut batch = walstone::Batch::new();
    batch.push(2, b"one");
    batch.push(2, b"two");
    let pair = region.append_batch(&batch).unwrap().position;
    let nowhere = |view: &View, at: Position| assert!(matches!(view.read_at(at), Err(Error::NoRecord)), "{at:?}");
    nowhere(&early, late);
    nowhere(&early, strange);
    let all = |region: &Region, deleted: u64| {
        let view = region.view().unwrap();
        for (position, sequence) in positions.iter().zip(1..) {
            let stored = Position::from_bytes(position.to_bytes());
            if sequence <= deleted {
                nowhere(&view, stored);
            } else {
                assert_eq!(row(view.read_at(stored).unwrap()), (1, sequence, value(sequence, 200)));
            }
        }
        assert_eq!(view.read_at(pair).unwrap().value, b"one");
        assert_eq!(view.read_at(pair.plus(1)).unwrap().value, b"two");
        nowhere(&view, pair.plus(2));
        nowhere(&view, strange);
        nowhere(&view, Position::default());
        for &at in &foreign_positions {
            nowhere(&view, at);
        }
    };
    all(&region, 0);
    region.delete_up_to(1, 20).unwrap();
    all(&region, 20);
    region.reclaim().unwrap();
    all(&region, 20);
    drop((early, region, other, wal));
    let wal = root.open();
    all(&wal.region(7).unwrap(), 20);
}

/// A region's segments are removed in the middle of an operation, before its new facts are told: a view that began
/// then named segments that were gone.
#[test]
fn a_view_that_begins_during_a_reclaim_reads_all() {
    let root = Root::new();
    let wal = root.open_with(root.options().durability(Durability::Written)).unwrap();
    let region = wal.create_region(7).unwrap();
    for round in 0..40u64 {
        for _ in 0..15 {
            region.append(round, &value(round, 300)).unwrap();
        }
        region.delete_up_to(round, u64::MAX).unwrap();
        std::thread::scope(|scope| {
            let reclaim = scope.spawn(|| region.reclaim());
            while !reclaim.is_finished() {
                let view = region.view().unwrap();
                assert_eq!(rows(&view), [], "round {round}");
            }
            reclaim.join().unwrap().unwrap();
        });
    }
}

/// Makes region 7 anew when a file is about to be removed from it.
#[derive(Default)]
struct Renew {
    armed: Mutex<Option<Wal>>,
    under_way: Mutex<Option<thread::JoinHandle<()>>>,
}

impl Observer for Renew {
    fn before(&self, call: &Call<'_>) -> io::Result<Verdict> {
        if matches!(call, Call::Unlink { .. })
            && let Some(wal) = self.armed.lock().unwrap().take()
        {
            let renewing = thread::spawn(move || {
                wal.remove_region(7).unwrap();
                wal.create_region(7).unwrap().append(1, b"anew").unwrap();
            });
            // It may have to wait for the removal.
            for _ in 0..20 {
                if !renewing.is_finished() {
                    thread::sleep(Duration::from_millis(10));
                }
            }
            *self.under_way.lock().unwrap() = Some(renewing);
        }
        Ok(Verdict::Proceed)
    }
}

/// The segments of a region that is made anew have the names of those before them.
#[test]
fn a_view_that_gives_up_a_segment_leaves_a_new_region_alone() {
    if !crate::OBSERVED {
        return;
    }
    let root = Root::new();
    let renew = Arc::new(Renew::default());
    let wal = root.open_with(root.options().observer(renew.clone())).unwrap();
    let region = wal.create_region(7).unwrap();
    for sequence in 1..=40 {
        region.append(1, &value(sequence, 200)).unwrap();
    }
    let view = region.view().unwrap();
    region.delete_up_to(1, 40).unwrap();
    region.reclaim().unwrap();
    *renew.armed.lock().unwrap() = Some(wal.clone());
    drop(view);
    renew.under_way.lock().unwrap().take().unwrap().join().unwrap();
    wal.close().unwrap();
    drop((region, wal));
    let wal = root.open();
    assert_eq!(scan(&wal.region(7).unwrap()).len(), 1);
}

/// The views of a region were known to one opening of it: the next one removed segments under a view made before.
#[test]
fn a_view_is_waited_for_by_the_next_opening_of_its_region() {
    let root = Root::new();
    let (wal, region) = filled(&root);
    // Those of the log: one that is made ahead and comes too late goes again.
    let segments = wal.stats().unwrap().regions.remove(0).segments;
    let oldest: Vec<u64> = segments.iter().take(3).map(|segment| segment.id.0).collect();
    let seen = scan(&region);
    let unread = region.view().unwrap();
    // What is reclaimed before, by, and behind the opening.
    region.delete_up_to(1, 10).unwrap();
    region.reclaim().unwrap();
    region.delete_up_to(1, 20).unwrap();
    wal.close_region(7).unwrap();
    let again = wal.region(7).unwrap();
    again.delete_up_to(1, 40).unwrap();
    again.reclaim().unwrap();
    assert_eq!(wal.stats().unwrap().regions[0].views, 1);
    assert_eq!(rows(&unread), seen);
    let left = root.segments(7);
    assert!(oldest.iter().all(|id| left.contains(id)), "{left:?}");
    drop(unread);
    assert!(!root.segments(7).iter().any(|id| oldest.contains(id)));
    assert_eq!(scan(&again), []);
    again.append(1, b"goes on").unwrap();
}

/// A view looks for segments by name until it has read them. Once the log is closed the names may be another log's, with
/// the same ids, and the same length to the byte.
#[test]
fn a_view_of_a_closed_log_reads_no_other_log() {
    if !crate::OBSERVED {
        // More of them stay open.
        return;
    }
    let (root, other) = (Root::new(), Root::new());
    // Closed segments are opened anew.
    let open = |root: &Root| root.open_with(root.options().max_open_segments(1)).unwrap();
    let (wal, other_wal) = (open(&root), open(&other));
    let (region, other_region) = (wal.create_region(7).unwrap(), other_wal.create_region(7).unwrap());
    for sequence in 1..=100 {
        region.append(1, &value(sequence, 200)).unwrap();
        other_region.append(1, &value(100 + sequence, 200)).unwrap();
    }
    let seen = scan(&region);
    let (unread, cut) = (region.view().unwrap(), region.view().unwrap());
    assert!(cut.get(1, 1).unwrap().is_some());
    other_wal.close().unwrap();
    wal.close().unwrap();
    assert_eq!(rows(&unread), seen, "the files are still there");
    for id in other.segments(7) {
        let aside = root.path().join("aside");
        std::fs::copy(other.segment(7, id), &aside).unwrap();
        std::fs::rename(aside, root.segment(7, id)).unwrap();
    }
    let answers: Vec<_> = cut.scan().map(|record| record.map(row)).collect();
    let refused = answers.iter().filter(|answer| answer.is_err()).count();
    // One segment is pinned, one may still be open.
    assert!(refused > 1, "{refused} refused");
    let read: Vec<_> = answers.into_iter().flatten().collect();
    assert!(
        !read.is_empty() && read.iter().all(|row| seen.contains(row)),
        "{} rows",
        read.len()
    );
}

/// Panics when a file is about to be removed.
#[derive(Default)]
struct PanicAtUnlink(std::sync::atomic::AtomicBool);

impl Observer for PanicAtUnlink {
    fn before(&self, call: &Call<'_>) -> io::Result<Verdict> {
        let armed = self.0.load(std::sync::atomic::Ordering::Relaxed);
        assert!(!(armed && matches!(call, Call::Unlink { .. })), "as told");
        Ok(Verdict::Proceed)
    }
}

/// An operation that removed segments and did not come to tell so left views waiting for newer facts, for ever.
#[test]
fn a_view_begins_after_a_panic_in_the_removal_of_a_segment() {
    if !crate::OBSERVED {
        return;
    }
    let root = Root::new();
    let observer = Arc::new(PanicAtUnlink::default());
    let wal = root.open_with(root.options().observer(observer.clone())).unwrap();
    let region = wal.create_region(7).unwrap();
    for sequence in 1..=40 {
        region.append(1, &value(sequence, 200)).unwrap();
    }
    region.delete_up_to(1, 30).unwrap();
    observer.0.store(true, std::sync::atomic::Ordering::Relaxed);
    let reclaimed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| region.reclaim()));
    observer.0.store(false, std::sync::atomic::Ordering::Relaxed);
    assert!(reclaimed.is_err());
    assert_eq!(scan(&region).len(), 10);
    assert!(matches!(region.append(1, b"x"), Err(Error::Poisoned { .. })));
    // It can be opened anew.
    wal.close_region(7).unwrap_err();
    let region = wal.region(7).unwrap();
    assert_eq!(scan(&region).len(), 10);
    region.append(1, b"x").unwrap();
}
