//! Power loss at every step of a slot's life.

use std::ops::ControlFlow;

use walstone_core::SegmentId;
use walstone_core::ram::RamError;
use walstone_core::{Found, Storage};
use walstone_tests::conformance::{header, parse_header};
use walstone_tests::storages::SimError;
use walstone_tests::storages::slots::{SlotMedium, SlotStorage};

use crate::flash;

const ONE: SegmentId = SegmentId(1);
const TWO: SegmentId = SegmentId(2);

fn open(medium: &SlotMedium) -> SlotStorage {
    SlotStorage::open(medium, parse_header)
}

fn list(storage: &mut SlotStorage) -> Vec<Found> {
    let mut found = Vec::new();
    let listed = storage.segments(&mut |one| {
        found.push(one);
        ControlFlow::Continue(())
    });
    listed.unwrap();
    found
}

#[test]
fn a_second_program_of_a_unit_is_an_error() {
    for write_unit in [1, 4, 32] {
        let medium = SlotMedium::new(flash(write_unit), 2);
        let mut storage = open(&medium);
        storage.create(ONE, &header(ONE)).unwrap();
        // The erased value is programmed like any other.
        let unit = usize::from(write_unit);
        storage.write(ONE, 64, &[&vec![0xff; unit]]).unwrap();
        let again = open(&medium).write(ONE, 64, &[&vec![1; unit]]);
        let overwritten = RamError::Overwritten {
            segment: ONE,
            offset: 64,
        };
        assert_eq!(again, Err(SimError::Rule(overwritten)));
    }
}

#[test]
fn an_interrupted_create_is_absent_unreadable_or_whole() {
    let mut seen = [false; 3];
    for steps in 0..20 {
        let medium = SlotMedium::new(flash(32), 2);
        let mut storage = open(&medium);
        storage.create(ONE, &header(ONE)).unwrap();
        medium.cut_power_after(steps);
        let whole = storage.create(TWO, &header(TWO)).is_ok();
        medium.restore_power();
        let mut storage = open(&medium);
        let found = list(&mut storage);
        assert_eq!(found[0], Found::Segment(ONE));
        match found[1..] {
            [] => seen[0] = true,
            [Found::Unreadable { slot }] => {
                seen[1] = true;
                storage.release(slot).unwrap();
                assert_eq!(list(&mut storage), [Found::Segment(ONE)]);
                assert!(storage.release(slot).is_err(), "released twice");
            }
            [Found::Segment(TWO)] => seen[2] = true,
            ref other => panic!("{other:?} after {steps} steps"),
        }
        assert_eq!(whole, found.contains(&Found::Segment(TWO)));
    }
    assert_eq!(seen, [true; 3]);
}

#[test]
fn an_interrupted_remove_is_unreadable_or_gone() {
    for (steps, gone) in [(0, false), (1, false), (2, true)] {
        let medium = SlotMedium::new(flash(4), 2);
        let mut storage = open(&medium);
        storage.create(ONE, &header(ONE)).unwrap();
        storage.write(ONE, 4092, &[b"tail"]).unwrap();
        medium.cut_power_after(steps);
        assert_eq!(storage.remove(ONE).is_ok(), gone);
        if !gone {
            assert_eq!(
                storage.extent(ONE),
                Err(SimError::Crashed),
                "nothing works without power"
            );
        }
        medium.restore_power();
        let found = list(&mut open(&medium));
        let expected: &[Found] = if gone { &[] } else { &[Found::Unreadable { slot: 0 }] };
        assert_eq!(found, expected, "after {steps} steps");
    }
}

#[test]
fn a_write_is_cut_within_a_unit() {
    let medium = SlotMedium::new(flash(4), 1);
    let mut storage = open(&medium);
    storage.create(ONE, &header(ONE)).unwrap();
    medium.cut_power_after(2);
    assert_eq!(storage.write(ONE, 64, &[&[7; 16]]), Err(SimError::Crashed));
    medium.restore_power();
    let mut buf = [0; 16];
    let read = open(&medium).read(ONE, 64, 16, &mut buf).unwrap().to_vec();
    assert_eq!(read[..10], [7; 10]);
    assert_eq!(read[10..], [0xff; 6]);
}

#[test]
fn slots_wear_evenly_and_damage_shows() {
    let medium = SlotMedium::new(flash(1), 3);
    let mut storage = open(&medium);
    for id in (1..=9).map(SegmentId) {
        storage.create(id, &header(id)).unwrap();
        storage.remove(id).unwrap();
    }
    assert_eq!(medium.erase_counts(), [6, 6, 6]);
    storage.create(ONE, &header(ONE)).unwrap();
    let at = medium.bytes().windows(64).position(|window| window == header(ONE));
    medium.damage(|bytes| bytes[at.unwrap()] ^= 1);
    assert!(matches!(list(&mut storage)[..], [Found::Unreadable { .. }]));
}
