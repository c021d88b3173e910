//! The simulated chip ends a test that breaks its rules.

use std::panic::{AssertUnwindSafe, catch_unwind};

use walstone_core::flat::{Device, DeviceGeometry};
use walstone_tests::flash::{Chip, ChipError, Torn, TornErase};

fn flash() -> Chip {
    Chip::new(DeviceGeometry::flash(4096, 4, 1024))
}

#[track_caller]
fn check(allowed: bool, chip: &Chip, act: impl Fn(&mut Chip) -> Result<(), ChipError>) {
    let done = catch_unwind(AssertUnwindSafe(|| act(&mut chip.clone())));
    assert_eq!(done.is_ok(), allowed);
}

#[test]
fn a_unit_is_programmed_once_between_erases() {
    let chip = flash();
    check(true, &chip, |chip| chip.program(8, &[1; 8]));
    check(false, &chip, |chip| chip.program(12, &[1; 4]));
    check(true, &chip, |chip| chip.program(16, &[0xff; 4]));
    check(false, &chip, |chip| chip.program(16, &[0; 4]));
    check(true, &chip, |chip| chip.erase(1024, 1024));
    check(false, &chip, |chip| chip.program(8, &[1; 4]));
    check(true, &chip, |chip| chip.erase(0, 1024));
    check(true, &chip, |chip| chip.program(8, &[1; 4]));
    check(false, &chip, |chip| chip.program(10, &[1; 4]));
    check(false, &chip, |chip| chip.erase(512, 1024));
    check(false, &chip, |chip| chip.program(4096, &[1; 4]));
    let fram = Chip::new(DeviceGeometry::without_erase(64));
    check(true, &fram, |chip| chip.program(3, &[1; 4]));
    check(true, &fram, |chip| chip.program(3, &[2; 4]));
    check(false, &fram, |chip| chip.erase(0, 64));
}

#[test]
fn a_unit_that_was_torn_or_half_erased_must_be_erased() {
    for torn in Torn::all(7) {
        let chip = flash().with_ecc();
        chip.tear(8, &[1; 4], torn);
        check(false, &chip, |chip| chip.program(8, &[1; 4]));
        assert_eq!(chip.clone().read(0, &mut [0; 9]), Err(ChipError::Ecc));
        assert_eq!(chip.clone().read(0, &mut [0; 8]), Ok(()));
    }
    for torn in TornErase::all(7) {
        let chip = flash();
        chip.tear_erase(1024, torn);
        check(false, &chip, |chip| chip.program(1028, &[1; 4]));
        check(true, &chip, |chip| chip.program(1020, &[1; 4]));
        check(true, &chip, |chip| chip.erase(1024, 1024));
        check(true, &chip, |chip| chip.program(1028, &[1; 4]));
    }
}
