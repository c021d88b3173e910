//! What memory refuses although a medium might not notice.

use walstone_core::Storage;
use walstone_core::ram::{RamError, RamStorage};
use walstone_core::{Geometry, SegmentId};
use walstone_tests::conformance::header;

const ID: SegmentId = SegmentId(1);

fn ram(geometry: Geometry) -> RamStorage {
    let mut ram = RamStorage::new(geometry);
    ram.create(ID, &header(ID)).unwrap();
    ram
}

fn plain() -> Geometry {
    Geometry::new(4096).unwrap()
}

#[test]
fn a_create_claims_no_more_than_the_header() {
    let mut ram = ram(plain());
    assert_eq!(ram.claimed_len(), 64);
    let refused = ram.write(ID, 64, &[&[1]]);
    assert_eq!(refused, Err(RamError::NotClaimed { end: 65, claimed: 64 }));
    ram.claim(ID, 65).unwrap();
    ram.write(ID, 64, &[&[1]]).unwrap();
    let refused = ram.write(ID, 65, &[&[2]]);
    assert_eq!(refused, Err(RamError::NotClaimed { end: 66, claimed: 65 }));
}

#[test]
fn a_unit_is_written_once() {
    let geometry = crate::flash(4);
    let mut ram = ram(geometry);
    ram.claim(ID, 4096).unwrap();
    ram.write(ID, 68, &[&[0xff; 5]]).unwrap();
    let overwritten = |offset| Err(RamError::Overwritten { segment: ID, offset });
    assert_eq!(
        ram.write(ID, 64, &[&[1; 8]]),
        overwritten(68),
        "the erased value was written too"
    );
    assert_eq!(
        ram.write(ID, 72, &[&[1]]),
        overwritten(72),
        "the fill is part of the write"
    );
    assert_eq!(
        ram.write(ID, 60, &[&[1]]),
        overwritten(60),
        "the header was written by create"
    );
    ram.write(ID, 76, &[&[1]]).unwrap();
    ram.bytes_mut(ID).unwrap()[101] = 0;
    assert_eq!(ram.write(ID, 96, &[&[1; 8]]), overwritten(100), "damage is not blank");
    assert_eq!(
        ram.write(ID, 66, &[&[1]]),
        Err(RamError::Unaligned { offset: 66, unit: 4 })
    );
}

#[test]
fn without_an_erased_state_old_bytes_shine_through() {
    let mut ram = ram(plain().with_erased(None).unwrap());
    ram.claim(ID, 4096).unwrap();
    ram.write(ID, 100, &[b"old"]).unwrap();
    ram.remove(ID).unwrap();
    let next = SegmentId(2);
    ram.create(next, &header(next)).unwrap();
    assert_eq!(&ram.bytes(next).unwrap()[100..103], b"old");
    assert_eq!(&ram.bytes(next).unwrap()[..64], header(next));
    assert_eq!(ram.extent(next), Ok(4096));
}

#[test]
fn the_extent_is_exact_until_bytes_are_changed_by_hand() {
    let mut ram = ram(plain());
    assert_eq!(ram.extent(ID), Ok(64));
    ram.claim(ID, 4096).unwrap();
    ram.write(ID, 200, &[&[0, 0]]).unwrap();
    assert_eq!(ram.extent(ID), Ok(202));
    ram.bytes_mut(ID).unwrap()[300] = 1;
    assert_eq!(ram.extent(ID), Ok(4096), "written bytes may read as erased");
}

#[test]
fn a_tail_that_was_cut_off_can_be_written_again() {
    let mut ram = ram(plain());
    ram.claim(ID, 4096).unwrap();
    ram.write(ID, 64, &[b"kept and cut"]).unwrap();
    ram.bytes_mut(ID).unwrap()[68..].fill(0);
    ram.write(ID, 68, &[b"new"]).unwrap();
    assert!(ram.write(ID, 67, &[b"x"]).is_err());
}

#[test]
fn an_image_is_independent_and_can_be_put_together() {
    let mut ram = ram(plain());
    let mut image = ram.clone();
    image.bytes_mut(ID).unwrap()[0] ^= 1;
    assert_eq!(&ram.bytes(ID).unwrap()[..64], header(ID));
    image.insert(SegmentId(7), ram.bytes(ID).unwrap().to_vec());
    assert_eq!(image.ids().collect::<Vec<_>>(), [ID, SegmentId(7)]);
    assert_eq!(ram.ids().collect::<Vec<_>>(), [ID]);
    image.write(SegmentId(7), 64, &[b"claimed"]).unwrap();

    ram.insert(ID, vec![0; 100]);
    let wrong = RamError::WrongLength {
        len: 100,
        segment_len: 4096,
    };
    assert_eq!(ram.extent(ID), Err(wrong));
    assert!(ram.read(ID, 90, 11, &mut []).is_err());
}

#[test]
fn the_limit_counts_claims_and_can_be_lifted() {
    let mut ram = RamStorage::new(plain()).with_capacity_limit(200);
    ram.create(ID, &header(ID)).unwrap();
    assert_eq!(ram.claim(ID, 201), Err(RamError::Full { limit: 200 }));
    ram.claim(ID, 200).unwrap();
    let refused = ram.create(SegmentId(2), &header(SegmentId(2)));
    assert_eq!(refused, Err(RamError::Full { limit: 200 }));
    assert_eq!(ram.claimed_len(), 200);
    ram.set_capacity_limit(None);
    ram.create(SegmentId(2), &header(SegmentId(2))).unwrap();
}
