//! What was deleted, and the numbers that it had.

use super::{ONE, create, open, plain, rotate, sequences};

/// "Delete everything of this table" must not delete what is appended later.
#[test]
fn deleting_up_to_the_greatest_sequence_spares_later_records() {
    let mut log = create(plain());
    log.append(1, b"dead").unwrap();
    log.delete_up_to(1, u64::MAX).unwrap();
    assert_eq!(log.append(1, b"alive").unwrap().first, 2);
    assert_eq!(sequences(&mut log), [2]);
    log.truncate_from(1, 0).unwrap();
    log.append(1, b"alive again").unwrap();
    log.sync().unwrap();
    assert_eq!(sequences(&mut open(log.into_storage())), [3]);
}

/// The deletion stood in a segment that was reclaimed, while records that it deletes stood in one that was not.
#[test]
fn deleted_stays_deleted_when_the_segment_with_the_deletion_is_reclaimed() {
    let mut log = create(plain());
    log.append(2, b"keeps the first segment alive").unwrap();
    let dead = log.append(3, b"dead").unwrap().first;
    rotate(&mut log);
    let second = log.written_mark().segment;
    log.delete_up_to(3, dead).unwrap();
    rotate(&mut log);
    // Everything in the second segment but the deletion dies.
    let last = log.last_sequence();
    log.delete_up_to(1, last).unwrap();
    log.reclaim().unwrap();
    log.sync().unwrap();
    assert!(log.storage().bytes(second).is_none(), "reclaimed");
    assert!(log.storage().bytes(ONE).is_some(), "alive");
    let mut log = open(log.into_storage());
    assert_eq!(sequences(&mut log), [1]);
    rotate(&mut log);
    log.delete_up_to(1, u64::MAX).unwrap();
    log.reclaim().unwrap();
    log.sync().unwrap();
    assert_eq!(sequences(&mut open(log.into_storage())), [1], "through two manifests");
}

/// A log that takes its next sequence from the newest record it finds starts over when all are deleted.
#[test]
fn sequences_go_on_when_everything_is_deleted() {
    let mut log = create(plain());
    let mut last = 0;
    for round in 0..5 {
        last = rotate(&mut log).max(last);
        log.delete_up_to(1, u64::MAX).unwrap();
        if round % 2 == 0 {
            log.reclaim().unwrap();
        }
        log.sync().unwrap();
        log = open(log.into_storage());
        assert_eq!(sequences(&mut log), [0u64; 0]);
        assert_eq!(log.last_sequence(), last);
        let next = log.append(1, b"next").unwrap().first;
        assert_eq!(next, last + 1);
        last = next;
    }
}
