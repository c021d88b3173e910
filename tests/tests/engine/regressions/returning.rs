//! Bytes that come back: stale ones, and ones that did not read for a while.

use walstone_core::frame::Kind;
use walstone_core::{Error, SegmentId, Tail};

use super::{ONE, all, create, frames, open, plain, rotate, sequences};

/// HoraeDB, local WAL: records 1 to 6 were written, the page of 3 did not reach the disk. The log was recovered to 2,
/// a new record 3 of the same length filled the hole, and at the next start the stale 4 to 6 lined up behind it.
#[test]
fn stale_records_do_not_return_behind_a_new_one_of_equal_length() {
    for erased in [Some(0), None] {
        for len in 1..=60 {
            let mut log = create(plain().with_erased(erased).unwrap());
            let mut ends = Vec::new();
            for n in 1..=6u8 {
                let appended = log.append(1, &vec![n; len]).unwrap();
                ends.push(appended.mark.end as usize);
                if n <= 2 {
                    log.sync().unwrap();
                }
            }
            let mut ram = log.into_storage();
            ram.bytes_mut(ONE).unwrap()[ends[1]..ends[2]].fill(0);
            let mut log = open(ram);
            assert_eq!(sequences(&mut log), [1, 2]);
            let mut expect = vec![(1, vec![1; len]), (2, vec![2; len])];
            for again in 0..3 {
                let value = vec![100 + again; len];
                let sequence = log.append(1, &value).unwrap().first;
                assert_eq!(sequence, 3 + u64::from(again));
                log.sync().unwrap();
                expect.push((sequence, value));
                log = open(log.into_storage());
                assert_eq!(all(&mut log), expect, "values of {len} bytes, erased {erased:?}");
            }
        }
    }
}

/// Removing a file is not durable by itself: a removed segment may be there again after a power loss. The manifest
/// does not list it, so it is not read, and removed again.
#[test]
fn a_removed_segment_that_is_met_again() {
    let mut log = create(plain());
    rotate(&mut log);
    let (removed, last) = (log.storage().bytes(ONE).unwrap().to_vec(), log.last_sequence());
    log.delete_up_to(1, last).unwrap();
    log.reclaim().unwrap();
    log.sync().unwrap();
    assert!(log.storage().bytes(ONE).is_none());
    log.append(1, b"alive").unwrap();
    log.sync().unwrap();
    let mut ram = log.into_storage();
    ram.insert(ONE, removed);
    let mut log = open(ram);
    assert!(log.report().removed_segments >= 1, "{:?}", log.report());
    assert!(log.storage().bytes(ONE).is_none());
    assert_eq!(all(&mut log), [(last + 1, b"alive".to_vec())]);
}

/// On EEPROM a new segment shows the bytes of the one removed before it, frames and all. Those were bound to
/// another id and salt.
#[test]
fn stale_bytes_of_a_removed_segment_are_never_frames() {
    let mut log = create(plain().with_erased(None).unwrap());
    for round in 0..12 {
        let last = rotate(&mut log);
        log.delete_up_to(1, last - 1).unwrap();
        log.reclaim().unwrap();
        log.sync().unwrap();
        let first = log.append(1, &[round; 100]).unwrap().first;
        let mut log2 = open(log.storage().clone());
        assert_eq!(sequences(&mut log2), [last, first]);
        log.delete_up_to(1, first).unwrap();
        log.sync().unwrap();
        assert_eq!(sequences(&mut open(log.storage().clone())), [0u64; 0]);
    }
    assert!(log.written_mark().segment > SegmentId(12));
}

/// A frame did not read back, was cut off, and reads back later: a weak cell, a cable, a cache. It was not part of
/// the log in between, so it never is.
#[test]
fn reads_that_heal_do_not_bring_back_what_was_cut_off() {
    let mut log = create(plain());
    log.append(1, b"one").unwrap();
    log.sync().unwrap();
    let start = log.written_mark().end as usize;
    log.append(1, b"unreadable for a while").unwrap();
    log.append(1, b"behind it").unwrap();
    let end = log.written_mark().end as usize;
    let mut ram = log.into_storage();
    let healthy = ram.bytes(ONE).unwrap()[start..end].to_vec();
    ram.bytes_mut(ONE).unwrap()[start + 24] ^= 0xff;
    let mut log = open(ram);
    assert!(matches!(log.report().tail, Tail::Torn { .. }));
    assert_eq!(log.append(1, b"two").unwrap().first, 2);
    log.sync().unwrap();
    let mut ram = log.into_storage();
    let expect = [(1, b"one".to_vec()), (2, b"two".to_vec())];
    ram.bytes_mut(ONE).unwrap()[start..end].copy_from_slice(&healthy);
    let mut log = open(ram);
    assert_eq!(all(&mut log), expect);
    // The same once the segment is sealed and read by its recorded end.
    let last = rotate(&mut log);
    log.sync().unwrap();
    let mut log = open(log.into_storage());
    assert_eq!(all(&mut log)[..2], expect);
    assert_eq!(log.last_sequence(), last);
}

/// A seal did not read back, the log went on behind it, and it reads back later. It ended the walk, so that what had been
/// acknowledged behind it was gone, or the open asked for the successor that had been given up.
#[test]
fn a_seal_that_heals_does_not_hide_what_came_behind_it() {
    for damaged in [0, 24] {
        let mut log = create(plain());
        rotate(&mut log);
        let last = log.last_sequence();
        log.delete_up_to(1, last - 1).unwrap();
        log.sync().unwrap();
        let oldest = log.storage().bytes(ONE).unwrap().to_vec();
        // The segment is left early: there is room behind its seal.
        log.reclaim().unwrap();
        let mut ram = log.into_storage();
        ram.insert(ONE, oldest);
        let newest = SegmentId(2);
        let seal = *frames(&ram, newest, Kind::Seal).first().expect("a seal") as usize;
        for above in 3..8 {
            // The manifest behind it was lost.
            if let Some(bytes) = ram.bytes_mut(SegmentId(above)) {
                bytes[64..].fill(0);
            }
        }
        ram.bytes_mut(newest).unwrap()[seal + damaged] ^= 0xff;
        let mut log = open(ram);
        let next = log.append(1, b"behind it").unwrap().first;
        log.sync().unwrap();
        let expect = all(&mut log);
        assert_eq!(expect.last(), Some(&(next, b"behind it".to_vec())));
        let mut ram = log.into_storage();
        if let Some(bytes) = ram.bytes_mut(newest) {
            bytes[seal + damaged] ^= 0xff;
        }
        let mut log = open(ram);
        assert_eq!(all(&mut log), expect, "damaged at {damaged}");
        assert!(log.append(1, b"and on").unwrap().first > next);
    }
}

/// A full storage was reclaimed without a seal, and the manifest that states where the old segment ends was torn. The log
/// went on in the old segment; then the manifest read whole, and cut off what had come.
#[test]
fn a_manifest_that_heals_does_not_cut_off_what_came_in_the_segment_below() {
    let mut log = create(plain());
    log.append(1, b"one").unwrap();
    log.sync().unwrap();
    rotate(&mut log);
    log.sync().unwrap();
    let left = log.written_mark().segment;
    let oldest = log.storage().bytes(ONE).unwrap().to_vec();
    log.delete_up_to(1, log.last_sequence() - 1).unwrap();
    log.reclaim().unwrap();
    let above = log.written_mark().segment;
    let expect = all(&mut log);
    // As a full storage leaves it: no seal below, and the manifest on the brink.
    let mut ram = log.into_storage();
    ram.insert(ONE, oldest);
    let seal = frames(&ram, left, Kind::Seal)[0] as usize;
    ram.bytes_mut(left).unwrap()[seal..].fill(0);
    let manifest = frames(&ram, above, Kind::Manifest)[0] as usize;
    ram.bytes_mut(above).unwrap()[manifest + 24] ^= 0xff;
    let mut log = open(ram);
    assert_eq!(all(&mut log), expect);
    let next = log.append(1, b"went on").unwrap().first;
    // Not even synced: the death of the process.
    let mut ram = log.into_storage();
    if let Some(bytes) = ram.bytes_mut(above) {
        bytes[manifest + 24] ^= 0xff;
    }
    let mut log = open(ram);
    assert_eq!(all(&mut log).last(), Some(&(next, b"went on".to_vec())));
}

/// A position was given out for a record that a crash lost; its bytes outlived it behind the torn frame. It is not
/// part of the log, and its number belongs to another record now.
#[test]
fn the_position_of_a_record_that_was_cut_off() {
    let mut log = create(plain());
    log.append(1, b"one").unwrap();
    log.sync().unwrap();
    let torn = log.append(1, b"torn").unwrap().position;
    let whole = log.append(1, b"behind it").unwrap().position;
    let mut ram = log.into_storage();
    ram.bytes_mut(ONE).unwrap()[torn.offset() as usize + 24] ^= 0xff;
    let mut log = open(ram);
    let kept = log.append(1, b"two").unwrap().position;
    log.append(1, b"three").unwrap();
    log.sync().unwrap();
    for sealed in [false, true] {
        for lost in [torn, whole] {
            assert!(matches!(log.read_at(lost), Err(Error::NoRecord)), "sealed: {sealed}");
            let snapshot = log.snapshot(false);
            let segment = snapshot.segment(0).unwrap();
            let bytes = &log.storage().bytes(segment.id).unwrap()[..segment.end as usize];
            let reader = snapshot.reader(0, bytes).unwrap();
            assert!(reader.frame_at(&lost).is_none(), "sealed: {sealed}");
            assert!(reader.frame_at(&kept).is_some());
        }
        assert_eq!(log.read_at(kept).unwrap().value, b"two");
        rotate(&mut log);
    }
}

/// As above, and then the footer of that segment rotted, and a frame in front of the cut. The cuts were looked for by a
/// walk, which ended at the damage and found none: the position led to the lost record again.
#[test]
fn damage_elsewhere_does_not_bring_back_what_was_cut_off() {
    let mut log = create(plain());
    let first = log.append(1, b"one").unwrap().position;
    log.sync().unwrap();
    // Sessions that cut nothing off.
    for _ in 0..5 {
        log = open(log.into_storage());
        log.append(1, b"one more").unwrap();
        log.sync().unwrap();
    }
    let torn = log.append(1, b"torn").unwrap().position;
    let lost = log.append(1, b"behind it").unwrap().position;
    let mut ram = log.into_storage();
    ram.bytes_mut(ONE).unwrap()[torn.offset() as usize + 24] ^= 0xff;
    let mut log = open(ram);
    let kept = log.append(1, b"two").unwrap().position;
    rotate(&mut log);
    log.sync().unwrap();
    let mut ram = log.into_storage();
    let seal = frames(&ram, ONE, Kind::Seal)[0];
    for damaged in [seal + 24, first.offset() + 24] {
        ram.bytes_mut(ONE).unwrap()[damaged as usize] ^= 0xff;
    }
    let mut log = open(ram);
    assert!(matches!(log.read_at(lost), Err(Error::NoRecord)));
    assert_eq!(log.read_at(kept).unwrap().value, b"two");
    assert!(matches!(log.read_at(first), Err(Error::Corrupt(_))));
}
