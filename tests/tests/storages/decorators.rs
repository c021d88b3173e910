//! What gathering, counting and failing do beyond passing calls on.

use walstone_core::ram::RamStorage;
use walstone_core::{Fault, SharedStorage, Storage, StorageError};
use walstone_core::{Geometry, Mark, SegmentId};
use walstone_tests::conformance::header;
use walstone_tests::storages::Method;
use walstone_tests::storages::counting::{Counting, Tally};
use walstone_tests::storages::faulty::{Faulty, FaultyError};
use walstone_tests::storages::gather::GatherStorage;
use walstone_tests::storages::shared::SharedRam;

const ONE: SegmentId = SegmentId(1);
const TWO: SegmentId = SegmentId(2);

fn ram() -> RamStorage {
    let mut ram = RamStorage::new(Geometry::new(4096).unwrap());
    for id in [ONE, TWO] {
        ram.create(id, &header(id)).unwrap();
        ram.claim(id, 4096).unwrap();
    }
    ram
}

fn read<S: Storage>(storage: &mut S, id: SegmentId, offset: u32, len: u32) -> Vec<u8> {
    let mut buf = [0; 64];
    storage.read(id, offset, len, &mut buf).unwrap().to_vec()
}

const fn mark(segment: SegmentId, end: u32) -> Mark {
    Mark { segment, end }
}

#[test]
fn only_what_was_handed_over_outlives_the_process() {
    let mut gather = GatherStorage::new(ram());
    gather.write(ONE, 64, &[b"first"]).unwrap();
    gather.write(ONE, 69, &[b"second"]).unwrap();
    gather.write(TWO, 64, &[b"other"]).unwrap();
    assert_eq!(
        read(&mut gather, ONE, 60, 12),
        [&header(ONE)[60..], b"firstsec"].concat()
    );
    assert_eq!(gather.extent(ONE).unwrap(), 75);
    gather.hand_over(mark(ONE, 69)).unwrap();
    assert_eq!(gather.queued_len(), 11);
    let mut after = gather.kill();
    assert_eq!(read(&mut after, ONE, 64, 8), b"first\0\0\0");
    assert_eq!(read(&mut after, TWO, 64, 5), [0; 5]);
    assert_eq!(after.extent(ONE).unwrap(), 69);
}

#[test]
fn a_removed_segment_takes_its_queue_along() {
    let mut gather = GatherStorage::new(ram());
    gather.write(ONE, 64, &[b"gone"]).unwrap();
    gather.remove(ONE).unwrap();
    gather.create(ONE, &header(ONE)).unwrap();
    gather.claim(ONE, 4096).unwrap();
    assert_eq!(read(&mut gather, ONE, 64, 4), [0; 4]);
    assert_eq!(gather.queued_len(), 0);
}

#[test]
fn calls_and_bytes_are_counted_by_method_and_segment() {
    let mut counting = Counting::new(ram());
    let tallies = counting.tallies();
    counting.write(ONE, 64, &[b"abc", b"de"]).unwrap();
    counting.write(TWO, 64, &[b"fgh"]).unwrap();
    counting.write(TWO, 64, &[b"twice"]).unwrap_err();
    read(&mut counting, ONE, 0, 20);
    counting.sync(mark(TWO, 67)).unwrap();
    assert_eq!(tallies.of(Method::Write), Tally { calls: 3, bytes: 13 });
    assert_eq!(tallies.of_segment(Method::Write, ONE), Tally { calls: 1, bytes: 5 });
    assert_eq!(tallies.of(Method::Read), Tally { calls: 1, bytes: 20 });
    assert_eq!(tallies.of_segment(Method::Sync, ONE), Tally::default());
    assert_eq!(tallies.of_segment(Method::Sync, TWO).calls, 1);
    tallies.reset();
    assert_eq!(tallies.of(Method::Write), Tally::default());
}

#[test]
fn handles_count_together() {
    let mut counting = Counting::new(SharedRam::new(ram()));
    let other = counting.clone();
    counting.write(ONE, 64, &[b"abc"]).unwrap();
    assert_eq!(&*other.pin(ONE, 64, 67).unwrap(), b"abc");
    assert_eq!(other.tallies().of(Method::Write).calls, 1);
    assert_eq!(counting.tallies().of(Method::Pin), Tally { calls: 1, bytes: 3 });
}

#[test]
fn a_failed_sync_loses_what_reads_go_on_to_show() {
    let mut faulty = Faulty::new(ram());
    let faults = faulty.faults();
    faulty.write(ONE, 64, &[b"safe"]).unwrap();
    faulty.sync(mark(ONE, 68)).unwrap();
    faulty.write(ONE, 68, &[b"lost"]).unwrap();
    faulty.write(TWO, 64, &[b"other"]).unwrap();
    faults.fail(Method::Sync, 1, Fault::Device);
    let error = faulty.sync(mark(ONE, 72)).unwrap_err();
    assert_eq!(error.fault(), Fault::Device);
    assert_eq!(faults.outstanding(), 0);

    faulty.sync(mark(ONE, 72)).expect("the lie of a second sync");
    faulty.sync(mark(TWO, 69)).unwrap();
    assert_eq!(read(&mut faulty, ONE, 64, 8), b"safelost");
    let mut settled = faulty.clone();

    let mut after = faulty.reboot();
    assert_eq!(read(&mut after, ONE, 64, 8), b"safe\0\0\0\0");
    assert_eq!(read(&mut after, TWO, 64, 5), b"other");

    settled.settle(ONE, 64, 72).unwrap();
    assert_eq!(read(&mut settled.reboot(), ONE, 64, 8), b"safelost");
}

#[test]
fn unsynced_writes_behind_the_mark_do_not_survive() {
    let mut faulty = Faulty::new(ram());
    faulty.write(ONE, 64, &[b"abcd"]).unwrap();
    faulty.write(ONE, 68, &[b"efgh"]).unwrap();
    faulty.sync(mark(ONE, 68)).unwrap();
    assert_eq!(read(&mut faulty.reboot(), ONE, 64, 8), b"abcd\0\0\0\0");
}

#[test]
fn the_nth_call_fails_once_and_as_told() {
    let mut faulty = Faulty::new(ram());
    let faults = faulty.faults();
    faults.fail(Method::Write, 2, Fault::Full);
    faults.fail(Method::Read, 1, Fault::Unreadable);
    faulty.write(ONE, 64, &[b"abcd"]).unwrap();
    let full = FaultyError::Injected {
        method: Method::Write,
        fault: Fault::Full,
    };
    assert_eq!(faulty.write(ONE, 68, &[b"efgh"]), Err(full));
    let unreadable = faulty.read(ONE, 64, 4, &mut []).map(<[u8]>::to_vec).unwrap_err();
    assert_eq!(unreadable.fault(), Fault::Unreadable);
    assert_eq!(
        read(&mut faulty, ONE, 64, 8),
        b"abcd\0\0\0\0",
        "a full medium changed nothing"
    );

    faults.fail(Method::Write, 1, Fault::Device);
    faulty.write(ONE, 68, &[b"efgh"]).unwrap_err();
    assert_eq!(read(&mut faulty, ONE, 64, 8), b"abcdef\0\0", "half of a failed write");
    for method in [Method::Create, Method::Claim, Method::Remove, Method::Segments] {
        faults.fail(method, 1, Fault::Device);
    }
    assert!(faulty.create(SegmentId(3), &header(SegmentId(3))).is_err());
    assert!(faulty.claim(ONE, 4096).is_err());
    assert!(faulty.remove(ONE).is_err());
    assert!(faulty.segments(&mut |_| std::ops::ControlFlow::Continue(())).is_err());
    assert_eq!(faults.outstanding(), 0);
    faulty.remove(ONE).unwrap();
}
