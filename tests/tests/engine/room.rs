//! What is in hand before it is needed: spare segments with room for a manifest, made by the log or ahead of it.

use walstone_core::ram::RamStorage;
use walstone_core::segment::layout::{Layout, Purpose};
use walstone_core::{Capacity, Error, Fault, Log, Mark, Options, SegmentId, Storage, Workspace};
use walstone_tests::storages::Method;
use walstone_tests::storages::counting::Counting;
use walstone_tests::storages::faulty::Faulty;

use super::regressions::{RamLog, create, open, options, plain, rotate};

fn shared_room(shared_room: bool) -> Options {
    Options {
        shared_room,
        ..options()
    }
}

/// A host makes a segment ahead, and tells the log.
fn make_ahead(log: &mut RamLog) -> bool {
    let Some((id, header)) = log.begin_create() else {
        return false;
    };
    log.storage_mut().create(id, &header).unwrap();
    log.created_ahead(id)
}

/// Appends the smallest records until the active segment takes no more of them.
fn fill(log: &mut RamLog) {
    let layout = Layout::new(plain());
    while layout.place(log.written_mark().end, 3, Purpose::User).is_some() {
        log.append(2, b"v").unwrap();
    }
}

/// The storage is full to the last byte from here on. Deletes, one sequence a frame, until the log goes on in another segment.
fn delete_on_a_full_storage(log: &mut RamLog, deleted: &mut u64) {
    let full = log.storage().claimed_len();
    log.storage_mut().set_capacity_limit(Some(full));
    let before = log.written_mark().segment;
    while log.written_mark().segment == before {
        *deleted += 1;
        log.delete_up_to(2, *deleted).unwrap();
    }
    log.storage_mut().set_capacity_limit(None);
}

/// The first append makes sure of a spare, whoever made it: a storage that is full from then on takes deletions all the
/// same, to the end of the segment and behind it.
#[test]
fn deletions_go_on_in_a_spare_that_was_made_sure_of() {
    for (shared, ahead) in [(false, false), (false, true), (true, false), (true, true)] {
        let storage = RamStorage::new(plain());
        let mut log = Log::create(storage, Capacity::heap(0), shared_room(shared)).unwrap();
        log.append(2, b"v").unwrap();
        let claimed = log.storage().claimed_len();
        // Room for the longest manifest there is, and a segment's reserve behind it.
        let layout = Layout::new(plain());
        let spare = layout.frames_start() + layout.max_manifest_len() + 24;
        let ends = log.written_mark().end + spare;
        assert_eq!(claimed, u64::from(ends + 2 * layout.reserve()));
        let mut deleted = 0;
        for round in 0..4 {
            if ahead {
                assert!(make_ahead(&mut log), "round {round}");
            }
            fill(&mut log);
            delete_on_a_full_storage(&mut log, &mut deleted);
        }
    }
}

/// Each spare is claimed once, when it is new or found at an open, and not again when there is more to state.
#[test]
fn a_spare_is_claimed_once() {
    let mut log = create(plain());
    rotate(&mut log);
    log.close().unwrap();
    let storage = Counting::new(log.into_storage());
    let tallies = storage.tallies();
    let mut log = Log::open(storage, Capacity::heap(0), options()).unwrap();
    let ids: Vec<SegmentId> = (1..=4).map(SegmentId).collect();
    let check = |expect: [u64; 4]| {
        let claims: Vec<_> = ids
            .iter()
            .map(|&id| tallies.of_segment(Method::Claim, id).calls)
            .collect();
        assert_eq!(claims, expect);
    };
    log.append(1, b"first of its session").unwrap();
    // For the resume frame, and for the record.
    check([0, 2, 1, 1]);
    for table in 10..20 {
        log.delete_up_to(table, 1).unwrap();
    }
    let written = log.append(1, b"behind deletions").unwrap().mark.segment;
    assert_eq!(written, SegmentId(2));
    assert_eq!(
        (
            tallies.of_segment(Method::Claim, ids[2]).calls,
            tallies.of_segment(Method::Claim, ids[3]).calls
        ),
        (1, 1)
    );
}

/// Ids rise along the log: one that was made ahead is of no use once the log has, or is in, one that is not before it.
#[test]
fn a_segment_that_was_made_ahead_too_late_is_refused() {
    let storage = RamStorage::new(plain());
    let mut log = Log::create(storage, Capacity::heap(0), shared_room(true)).unwrap();
    log.append(1, b"v").unwrap();
    let (late, _) = log.begin_create().unwrap();
    rotate(&mut log);
    let later = late.0 + 1;
    assert!(log.storage().ids().any(|id| id.0 == later));
    assert!(!log.created_ahead(late), "one with a higher id is in hand");
    assert!(!log.created_ahead(SegmentId(later)), "it is in hand already");
    let (last, header) = log.begin_create().unwrap();
    log.storage_mut().create(last, &header).unwrap();
    assert!(log.created_ahead(last));
    assert_eq!(log.begin_create(), None, "two are in hand");
    // Nothing is in hand any more.
    let mut deleted = 0;
    for _ in 0..2 {
        let full = log.storage().claimed_len();
        log.append(2, b"to be deleted").unwrap();
        fill(&mut log);
        assert!(log.storage().claimed_len() > full);
        delete_on_a_full_storage(&mut log, &mut deleted);
    }
    let active = log.written_mark().segment;
    assert_eq!(active, last);
    for id in [late, SegmentId(later), active] {
        assert!(!log.created_ahead(id), "the log has gone on in {}", active.0);
    }
}

/// A host was slow to make a segment ahead. The log made one itself meanwhile, and forgot of the other: it had one more made
/// than its list has entries for, and the next open was refused.
#[test]
fn a_list_that_is_lent_holds_what_is_made_ahead() {
    let mut room = Workspace::<4, 4, 4, 1024>::new();
    for waits in [false, true] {
        let mut log = Log::create(RamStorage::new(plain()), room.lend(), options()).unwrap();
        log.append(1, &[9; 100]).unwrap();
        let mut waiting = None;
        for _ in 0..200 {
            let _ = log.append(1, &[9; 100]);
            if let Some((id, header)) = log.begin_create() {
                assert_eq!(waiting, None);
                if waits {
                    waiting = Some((id, header));
                } else {
                    log.storage_mut().create(id, &header).unwrap();
                    log.created_ahead(id);
                }
            }
        }
        assert_eq!(log.append(1, &[9; 100]).map(drop), Err(Error::Full));
        let last = log.last_sequence();
        let mut ram = log.into_storage();
        // It comes when all is over.
        if let Some((id, header)) = waiting {
            ram.create(id, &header).unwrap();
        }
        assert_eq!(ram.ids().count(), 4, "waits: {waits}");
        let mut room = Workspace::<4, 4, 4, 1024>::new();
        let log = Log::open(ram, room.lend(), options()).unwrap();
        assert_eq!(log.last_sequence(), last);
    }
}

/// A storage that had no room may have some at the next call.
#[test]
fn a_full_storage_is_asked_again() {
    let storage = RamStorage::new(plain()).with_capacity_limit(4 * 4096);
    let mut log = Log::create(storage, Capacity::heap(0), options()).unwrap();
    while log.append(1, &[9; 100]).is_ok() {}
    assert_eq!(log.append(1, &[9; 100]).map(drop), Err(Error::Full));
    let before = log.last_sequence();
    log.storage_mut().set_capacity_limit(None);
    assert_eq!(log.append(1, &[9; 100]).map(|at| at.first), Ok(before + 1));
}

/// A claim that failed for another reason than want of room is no full storage: the call says so, and another may succeed.
#[test]
fn a_claim_that_fails_is_told() {
    for nth in 1..6 {
        let faulty = Faulty::new(RamStorage::new(plain()));
        let faults = faulty.faults();
        let mut log = Log::create(faulty, Capacity::heap(0), options()).unwrap();
        faults.fail(Method::Claim, nth, Fault::Device);
        let failed = (0..100).find_map(|_| log.append(1, &[9; 100]).err());
        assert!(matches!(failed, Some(Error::Storage(_))), "claim {nth}: {failed:?}");
        assert_eq!((faults.outstanding(), log.poisoned()), (0, None));
        let last = log.last_sequence();
        assert_eq!(log.append(1, &[9; 100]).map(|at| at.first), Ok(last + 1));
    }
}

/// Where the facts fill what user data may take of a manifest, a session that finds no room to resume goes on in a new segment, which
/// takes no user data: the items that are kept for deletions stay.
#[test]
fn sessions_take_no_item_that_is_kept_for_deletions() {
    let mut log = create(plain());
    let value = [9; 1000];
    while log.append(1, &value).is_ok() {}
    let (last, before) = (log.last_sequence(), log.written_mark().segment);
    for _ in 0..60 {
        log = open(log.into_storage());
        assert_eq!(log.append(1, &value).map(drop), Err(Error::Full));
        assert_eq!(log.last_sequence(), last);
    }
    assert!(log.written_mark().segment > before);
    // However much is in hand, and claimed, already.
    log.delete_up_to(10, 1).unwrap();
    while make_ahead(&mut log) {}
    let active = log.written_mark().segment;
    let ids: Vec<_> = log.storage().ids().filter(|&id| id >= active).collect();
    assert_eq!(ids.len(), 3);
    for segment in ids {
        log.storage_mut().claim(segment, 4096).unwrap();
        log.claimed_ahead(Mark { segment, end: 4096 });
    }
    assert_eq!(log.append(1, b"one more").map(drop), Err(Error::Full));
    let kept = u64::from(Layout::new(plain()).max_manifest_len() / 4 / 24);
    for table in 10..10 + kept {
        log.delete_up_to(table, 1).unwrap();
    }
    assert!(matches!(log.delete_up_to(9, 1), Err(Error::TooManyVoids { .. })));
}

/// Segments that cannot be removed take their room, and none of a manifest's items.
#[test]
fn what_cannot_be_removed_takes_no_item_of_a_manifest() {
    let count = |stuck: u64| {
        let faulty = Faulty::new(RamStorage::new(plain()));
        let faults = faulty.faults();
        let mut log = Log::create(faulty, Capacity::heap(0), options()).unwrap();
        while log.written_mark().segment.0 < 6 {
            log.append(1, &[9; 1000]).unwrap();
        }
        // Each call counts for all that are planned.
        (1..=stuck).for_each(|nth| faults.fail(Method::Remove, nth, Fault::Device));
        log.delete_up_to(1, log.last_sequence()).unwrap();
        log.reclaim().unwrap();
        log.sync().unwrap();
        assert_eq!(u64::from(log.report().not_removed), stuck);
        while log.append(1, &[9; 1000]).is_ok() {}
        log.snapshot(false).segment_count()
    };
    assert_eq!(count(4), count(0));
}
