//! Segments and slots that are to go: when they may, and what becomes of the log where they do not.

use std::ops::ControlFlow;
use walstone_core::frame::Kind;
use walstone_core::ram::RamStorage;

use embedded_io::ErrorKind;
use walstone_core::{Capacity, Error, Fault, Found, Log, SegmentId, Storage};
use walstone_tests::storages::Method;
use walstone_tests::storages::faulty::Faulty;

use super::{ONE, all, create, frames, open, options, plain, rotate, sequences};

fn ids(storage: &mut impl Storage) -> Vec<SegmentId> {
    let mut ids = Vec::new();
    let listed = storage.segments(&mut |found| {
        if let Found::Segment(id) = found {
            ids.push(id);
        }
        ControlFlow::Continue(())
    });
    assert!(listed.is_ok());
    ids.sort();
    ids
}

/// A host that made a segment ahead came too late with it: the log had made others meanwhile. Its process died, and the
/// power, before the seal was whole. The segment that had come too late had the lowest id of those above, and was taken
/// for the one that the seal named; that one went, and when the seal read back whole after all, a crash had become
/// corruption. Whatever is lost of a seal, nothing above it goes before the session has begun.
#[test]
fn the_segment_that_a_torn_seal_names_stays_whichever_it_is() {
    for late in [false, true] {
        let mut log = create(plain());
        if late {
            let (id, header) = log.begin_create().unwrap();
            log.storage_mut().create(id, &header).unwrap();
        }
        rotate(&mut log);
        let next = log.written_mark().segment;
        let mut whole = log.into_storage();
        // The manifest of the next segment did not reach the medium.
        whole.bytes_mut(next).unwrap()[64..].fill(0);
        let seal = frames(&whole, ONE, Kind::Seal)[0] as usize;
        let written = whole.bytes(ONE).unwrap().to_vec();
        let end = written.iter().rposition(|&byte| byte != 0).unwrap() + 1;
        let expect = sequences(&mut open(whole.clone()));
        for from in seal..end {
            let mut torn = whole.clone();
            torn.bytes_mut(ONE).unwrap()[from..end].fill(0);
            let mut healed = open(torn).into_storage();
            healed.bytes_mut(ONE).unwrap().copy_from_slice(&written);
            let mut log = open(healed);
            assert_eq!(sequences(&mut log), expect, "late {late}, {} bytes lost", end - from);
            // The next session leaves none of them behind.
            log.append(1, b"goes on").unwrap();
            log.sync().unwrap();
            let kept: Vec<SegmentId> = log.storage().ids().collect();
            assert!(kept.len() <= 4 && !kept.contains(&next), "{kept:?}");
        }
    }
}

/// On a full storage a session could not begin without room, and took one of the two that were prepared for it. Whether the name
/// in a torn seal can be read or not, the one that it names is not that one: not at the first open, nor at the next
/// one, where nothing else is left to take. When the seal reads whole again, all is there.
#[test]
fn the_segment_that_a_torn_seal_names_makes_no_room() {
    let mut log = create(plain());
    rotate(&mut log);
    let next = log.written_mark().segment;
    let mut whole = log.into_storage();
    // The manifest of the next segment did not reach the medium, nor did what came behind it.
    whole.bytes_mut(next).unwrap()[64..].fill(0);
    let second = SegmentId(next.0 + 1);
    whole.remove(SegmentId(second.0 + 1)).unwrap();
    let expect = sequences(&mut open(whole.clone()));
    assert_eq!(ids(&mut whole), [ONE, next, second]);
    let written = whole.bytes(ONE).unwrap().to_vec();
    let seal = frames(&whole, ONE, Kind::Seal)[0] as usize;
    let end = written.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    let full = whole.claimed_len();
    // The name is the first that stands behind the header of the frame.
    for lost in [seal + 24..end, seal + 32..end] {
        let mut torn = whole.clone();
        torn.bytes_mut(ONE).unwrap()[lost].fill(0);
        let healed = |mut ram: RamStorage| {
            ram.bytes_mut(ONE).unwrap().copy_from_slice(&written);
            ram.set_capacity_limit(None);
            sequences(&mut open(ram))
        };
        torn.set_capacity_limit(Some(full));
        // A session begins in the room of the last one.
        let mut log = open(torn.clone());
        log.delete_up_to(2, 1).unwrap();
        assert!(log.written_mark().segment > second, "not behind the seal");
        log.sync().unwrap();
        assert_eq!(healed(log.into_storage()), expect);
        // The same, and the power fails before there is another in its place.
        let faulty = Faulty::new(torn);
        let faults = faulty.faults();
        let mut log = Log::open(faulty, Capacity::heap(0), options()).unwrap();
        faults.fail(Method::Create, 1, Fault::Full);
        faults.fail(Method::Create, 2, Fault::Device);
        assert!(matches!(log.delete_up_to(2, 1), Err(Error::Storage(_))));
        let mut left = log.into_storage().reboot();
        assert_eq!(ids(&mut left), [ONE, next]);
        assert_eq!(healed(left.clone()), expect);
        // Somebody else took the room.
        left.set_capacity_limit(Some(left.claimed_len()));
        let mut log = open(left);
        assert_eq!(log.delete_up_to(2, 1).map(drop), Err(Error::Full));
        let mut left = log.into_storage();
        assert_eq!(ids(&mut left), [ONE, next]);
        assert_eq!(healed(left), expect);
    }
}

/// A process that omitted segments lost power before they went, and one of them can no longer be removed. The log could
/// not be opened for writing any more.
#[test]
fn what_cannot_be_removed_at_an_open_costs_its_own_room() {
    let mut log = create(plain());
    for _ in 0..3 {
        rotate(&mut log);
    }
    let last = log.last_sequence();
    let old: Vec<_> = log
        .storage()
        .ids()
        .filter(|&id| id < log.written_mark().segment)
        .map(|id| (id, log.storage().bytes(id).unwrap().to_vec()))
        .collect();
    log.delete_up_to(1, last).unwrap();
    log.reclaim().unwrap();
    log.sync().unwrap();
    log.append(1, b"alive").unwrap();
    log.sync().unwrap();
    let mut ram = log.into_storage();
    for (id, bytes) in &old {
        ram.insert(*id, bytes.clone());
    }
    let faulty = Faulty::new(ram);
    faulty.faults().fail(Method::Remove, 2, Fault::Device);
    let mut log = Log::open(faulty, Capacity::heap(0), options()).unwrap();
    let report = log.report();
    assert_eq!(
        (report.removed_segments as usize, report.not_removed),
        (old.len() - 1, 1)
    );
    assert_eq!(report.remove_error, Some(ErrorKind::Other));
    assert_eq!(all(&mut log), [(last + 1, b"alive".to_vec())]);
    for _ in 0..200 {
        log.append(1, &[7; 100]).unwrap();
    }
    log.sync().unwrap();
    assert_eq!(all(&mut log).len(), 201);
    // The next open tries again.
    let mut log = Log::open(log.into_storage(), Capacity::heap(0), options()).unwrap();
    let report = log.report();
    assert_eq!((report.removed_segments, report.not_removed), (1, 0));
    assert_eq!(all(&mut log).len(), 201);
}

/// One removal failed, and no other segment was removed until the next open: the room of all of them was missing.
#[test]
fn what_cannot_be_removed_does_not_keep_others() {
    let mut log = Log::create(Faulty::new(RamStorage::new(plain())), Capacity::heap(0), options()).unwrap();
    let mut refused = None;
    for round in 0..5 {
        while ids(log.storage_mut()).len() < 5 {
            log.append(1, &[9; 100]).unwrap();
        }
        let last = log.last_sequence();
        log.delete_up_to(1, last).unwrap();
        log.reclaim().unwrap();
        if round == 1 {
            log.storage().faults().fail(Method::Remove, 1, Fault::Device);
            refused = ids(log.storage_mut()).first().copied();
        }
        log.sync().unwrap();
    }
    let kept: Vec<_> = ids(log.storage_mut());
    assert_eq!(kept.first().copied(), refused);
    assert!(
        kept.len() <= 4,
        "more than that one, the active one and those in hand: {kept:?}"
    );
    assert_eq!((log.report().not_removed, log.poisoned()), (1, None));
}
