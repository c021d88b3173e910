//! How many segments are open at once, and that closing one takes nothing from anybody.

use std::sync::Arc;

use walstone::files::{Cause, FileError, MapStorage, Root};
use walstone::seam::{Call, Seam};
use walstone_core::SegmentId;
use walstone_core::{SharedStorage, Storage};

use crate::observers::Gate;
use crate::{Bench, HEADER, SEGMENT_LEN, append, descriptors_below, maps_below, mark, read};

#[test]
fn with_room_for_one_every_segment_is_still_usable() {
    let bench = Bench::with(Seam::new(), 1);
    let mut storage = bench.open();
    for id in 2..=5 {
        storage.create(SegmentId(id), &HEADER).unwrap();
    }
    for round in 0..10u32 {
        for id in 1..=5 {
            append(&mut storage, id, 64 + round * 1000, &[id as u8; 1000]).unwrap();
            storage.sync(mark(id, 0)).unwrap();
            assert!(descriptors_below(bench.path()) <= 1);
        }
    }
    for id in 1..=5 {
        assert_eq!(read(&mut storage, id, 64, 10_000), [id as u8; 10_000]);
        assert!(descriptors_below(bench.path()) <= 1);
    }
}

#[test]
fn pins_outlive_closing_and_removal() {
    let bench = Bench::with(Seam::new(), 1);
    let mut storage = bench.open();
    for id in 2..=4 {
        storage.create(SegmentId(id), &HEADER).unwrap();
    }
    let mut pins = Vec::new();
    for id in 1..=4 {
        append(&mut storage, id, 64, &[id as u8; 9000]).unwrap();
        storage.sync(mark(id, 9064)).unwrap();
        pins.push(storage.pin(SegmentId(id), 64, 9064).unwrap());
    }
    assert_eq!(descriptors_below(bench.path()), 1);
    storage.remove(SegmentId(2)).unwrap();
    drop(storage);
    assert_eq!(descriptors_below(bench.path()), 0);
    for (pin, id) in pins.iter().zip(1..) {
        assert_eq!(**pin, [id; 9000]);
    }
    drop(pins);
    assert_eq!(maps_below(bench.path()), 0);
}

#[test]
fn what_was_read_last_stays_mapped_until_reading_ends() {
    let bench = Bench::with(Seam::new(), 1);
    let mut storage = bench.open();
    let mut other = storage.clone();
    storage.create(SegmentId(2), &HEADER).unwrap();
    for handle in [&mut storage, &mut other] {
        read(handle, 1, 0, 64);
        handle.read(SegmentId(1), 0, 64, &mut []).unwrap();
    }
    drop(other.pin(SegmentId(2), 0, 64).unwrap());
    assert_eq!(maps_below(bench.path()), 2);
    storage.end_reading();
    assert_eq!(maps_below(bench.path()), 2, "the other handle still reads");
    other.end_reading();
    assert_eq!(maps_below(bench.path()), 1);
}

/// Of most segments hardly more than the id is remembered. What must not be forgotten: how far slices are lent, for they
/// stay valid while their map lives; and how far space is claimed, for the log does not claim it again.
#[test]
fn what_is_lent_and_claimed_is_remembered_of_segments_long_unused() {
    let bench = Bench::with(Seam::new(), 1);
    let mut storage = bench.open();
    for id in 2..=100 {
        storage.create(SegmentId(id), &HEADER).unwrap();
    }
    append(&mut storage, 1, 64, &[1; 9000]).unwrap();
    storage.claim(SegmentId(1), 20_000).unwrap();
    storage.sync(mark(1, 9064)).unwrap();
    let pin = storage.pin(SegmentId(1), 64, 5000).unwrap();
    // A handle holds the segment that it met last.
    read(&mut storage, 2, 0, 64);
    for _ in 0..2 {
        for id in 2..=100 {
            drop(storage.pin(SegmentId(id), 0, 64).unwrap());
        }
    }
    let refused = storage.write(SegmentId(1), 4999, &[b"x"]).unwrap_err();
    assert!(
        matches!(
            refused.cause(),
            Cause::Lent {
                offset: 4999,
                lent: 5000
            }
        ),
        "{refused}"
    );
    storage.write(SegmentId(1), 19_999, &[b"x"]).unwrap();
    assert!(storage.write(SegmentId(1), 260_000, &[b"x"]).is_err(), "never claimed");
    assert_eq!(*pin, [1; 4936]);
    // A segment that is removed takes all of it along.
    storage.remove(SegmentId(1)).unwrap();
    storage.create(SegmentId(1), &HEADER).unwrap();
    append(&mut storage, 1, 64, b"anew").unwrap();
    assert_eq!(*pin, [1; 4936]);
}

/// An error of write-back is told to descriptors that were open then. So what is not durable stays open,
/// whatever the limit says, and is closed when a sync has covered it.
#[test]
fn what_is_not_durable_stays_open() {
    let bench = Bench::with(Seam::new(), 2);
    let mut storage = bench.open();
    for id in 2..=6 {
        storage.create(SegmentId(id), &HEADER).unwrap();
    }
    assert_eq!(descriptors_below(bench.path()), 0);
    for id in 1..=6 {
        append(&mut storage, id, 64, b"x").unwrap();
    }
    assert_eq!(descriptors_below(bench.path()), 6);
    for (id, open) in (1..=6).zip([6, 6, 5, 4, 3, 2]) {
        storage.sync(mark(id, 65)).unwrap();
        assert_eq!(descriptors_below(bench.path()), open);
    }
}

#[test]
fn the_segment_used_least_recently_is_closed() {
    let bench = Bench::with(Seam::new(), 2);
    let mut storage = bench.open();
    for id in 2..=3 {
        storage.create(SegmentId(id), &HEADER).unwrap();
    }
    for id in [1, 2, 1, 3] {
        read(&mut storage, id, 0, 64);
    }
    let open: Vec<bool> = (1..=3).map(|id| is_open(&bench, id)).collect();
    assert_eq!(open, [true, false, true]);
}

fn is_open(bench: &Bench, id: u64) -> bool {
    let path = bench.segment_path(id).canonicalize().unwrap();
    std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .any(|target| target == path)
}

#[test]
fn many_regions_share_the_limit() {
    let dir = tempfile::TempDir::new().unwrap();
    let root = Root::open(Seam::new(), dir.path(), 3).unwrap();
    let make = |region| {
        root.create_region_dir(region, SEGMENT_LEN, |mut storage| {
            storage.create(SegmentId(1), &HEADER)?;
            Ok::<_, FileError>(storage)
        })
    };
    let mut regions: Vec<MapStorage> = (0..100).map(|region| make(region).unwrap()).collect();
    for round in 0..3 {
        for storage in &mut regions {
            append(storage, 1, 64 + round, b"x").unwrap();
            storage.sync(mark(1, 65 + round)).unwrap();
            assert!(descriptors_below(dir.path()) <= 3);
        }
    }
    assert_eq!(maps_below(dir.path()), 3);
    assert_eq!(root.cached_segment_count(), 3);
}

/// Several threads over one place in the cache: nobody reads or writes another's bytes.
#[test]
fn threads_close_each_others_segments() {
    let dir = tempfile::TempDir::new().unwrap();
    let root = Root::open(Seam::new(), dir.path(), 1).unwrap();
    let make = |region: u8| {
        let made = root.create_region_dir(region.into(), SEGMENT_LEN, |mut storage| {
            storage.create(SegmentId(1), &HEADER)?;
            Ok::<_, FileError>(storage)
        });
        made.unwrap()
    };
    std::thread::scope(|scope| {
        for region in 1..=4u8 {
            let make = &make;
            scope.spawn(move || {
                let mut storage = make(region);
                let reader = storage.clone();
                for round in 0..200u32 {
                    let at = 64 + round * 100;
                    append(&mut storage, 1, at, &[region; 100]).unwrap();
                    if round % 4 == 0 {
                        storage.sync(mark(1, at + 100)).unwrap();
                    }
                    let pin = reader.pin(SegmentId(1), 64, at + 100).unwrap();
                    assert!(pin.iter().all(|byte| *byte == region));
                }
                storage.sync(mark(1, 0)).unwrap();
            });
        }
    });
    // One that was in use while another came in was passed over; the next one finds them all idle.
    read(&mut make(5), 1, 0, 64);
    assert_eq!(descriptors_below(dir.path()), 1);
}

/// What was stored while a sync ran is not covered by it.
#[test]
fn a_store_during_a_sync_keeps_the_segment_open() {
    let gate = Arc::new(Gate::new(|call| matches!(call, Call::SyncFile { .. })));
    let bench = Bench::with(Seam::observed(gate.clone()), 1);
    let mut storage = bench.open();
    storage.create(SegmentId(2), &HEADER).unwrap();
    append(&mut storage, 1, 64, b"before").unwrap();
    let mut syncer = storage.clone();
    gate.during(
        || syncer.sync(mark(1, 70)).unwrap(),
        || storage.write(SegmentId(1), 70, &[b"during"]).unwrap(),
    );
    read(&mut storage, 2, 0, 64);
    assert!(is_open(&bench, 1));
    storage.sync(mark(1, 76)).unwrap();
    read(&mut storage, 2, 0, 64);
    assert!(!is_open(&bench, 1));
}

/// Zeros written ahead read the same when they are lost. Ten thousand regions with space ahead would else hold as many
/// descriptors.
#[test]
fn a_claim_during_a_sync_or_behind_it_keeps_nothing_open() {
    let gate = Arc::new(Gate::new(|call| matches!(call, Call::Write { .. })));
    let bench = Bench::with(Seam::observed(gate.clone()), 1);
    let mut storage = bench.open();
    storage.create(SegmentId(2), &HEADER).unwrap();
    append(&mut storage, 1, 64, b"before").unwrap();
    let mut claimer = storage.clone();
    gate.during(
        || claimer.claim(SegmentId(1), 10_000).unwrap(),
        || storage.sync(mark(1, 70)).unwrap(),
    );
    read(&mut storage, 2, 0, 64);
    assert!(!is_open(&bench, 1));
    claimer.claim(SegmentId(1), 20_000).unwrap();
    read(&mut storage, 2, 0, 64);
    assert!(!is_open(&bench, 1));
    // A store does.
    storage.write(SegmentId(1), 70, &[b"behind"]).unwrap();
    read(&mut storage, 2, 0, 64);
    assert!(is_open(&bench, 1));
}

/// While a sync runs others append, claim, create and pin, in its segment and in others.
#[test]
fn nobody_waits_for_a_sync() {
    let gate = Arc::new(Gate::new(|call| matches!(call, Call::SyncFile { .. })));
    let bench = Bench::with(Seam::observed(gate.clone()), 1);
    let mut storage = bench.open();
    append(&mut storage, 1, 64, b"before").unwrap();
    let mut syncer = storage.clone();
    let reader = storage.clone();
    gate.during(
        || syncer.sync(mark(1, 70)).unwrap(),
        || {
            append(&mut storage, 1, 70, &[b'x'; 9000]).unwrap();
            storage.create(SegmentId(2), &HEADER).unwrap();
            append(&mut storage, 2, 64, b"next").unwrap();
            assert_eq!(&*reader.pin(SegmentId(1), 68, 72).unwrap(), b"rexx");
        },
    );
}
