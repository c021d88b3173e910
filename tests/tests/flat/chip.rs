//! The simulated chip ends a test that breaks its rules.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use walstone_core::flat::{Device, DeviceGeometry, FlatCapacity, FlatStorage};
use walstone_core::{Capacity, Log, Options};
use walstone_tests::crash::explore::telling_limits;
use walstone_tests::crash::machine::Machine;
use walstone_tests::flash::{Chip, ChipError, FlashSetup, Torn, TornErase, setups};

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
    // A header of just what is gathered was followed by a program of no bytes, at the end of the device behind the last slot.
    check(false, &chip, |chip| chip.program(64, &[]));
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
        let seen = torn != Torn::Untouched;
        assert_eq!(chip.clone().read(0, &mut [0; 9]).is_err(), seen, "{torn:?}");
        assert_eq!(chip.clone().read(0, &mut [0; 8]), Ok(()));
    }
    for torn in TornErase::all(7) {
        let chip = flash().with_ecc();
        // Half a block reads as it did.
        check(true, &chip, |chip| chip.program(1024, &[0x5a; 1024]));
        chip.tear_erase(1024, torn);
        let seen = matches!(torn, TornErase::Bits(_) | TornErase::Nearly(_));
        assert_eq!(chip.clone().read(1024, &mut [0; 1024]).is_err(), seen, "{torn:?}");
        check(false, &chip, |chip| chip.program(1028, &[1; 4]));
        check(true, &chip, |chip| chip.program(1020, &[1; 4]));
        check(true, &chip, |chip| chip.erase(1024, 1024));
        check(true, &chip, |chip| chip.program(1028, &[1; 4]));
    }
}

/// What stands between two values reads as another one behind each loss of power; what is whole does not.
#[test]
fn what_was_interrupted_wavers() {
    let setup = FlashSetup::named("flash-4").unwrap();
    for (torn, wavers) in [(Torn::Noise(3), true), (Torn::Untouched, true), (Torn::Prefix, false)] {
        let chip = setup.blank();
        assert!(
            chip.clone()
                .program(0, &[1; 64])
                .and_then(|()| chip.clone().sync())
                .is_ok()
        );
        chip.tear(64, &[1; 8], torn);
        let mut seen = Vec::new();
        let _ = setup.power_loss(&chip, None, &telling_limits(1), &mut |left| {
            let image = (left.image)();
            assert_eq!(image.bytes()[..64], [1; 64], "{torn:?}: {left:?}");
            seen.push(image.bytes()[64..72].to_vec());
            ControlFlow::Continue(())
        });
        let changed = seen.iter().any(|bytes| *bytes != chip.bytes()[64..72]);
        assert_eq!(changed, wavers, "{torn:?}");
    }
}

/// The power failed while a unit was programmed, which then read as erased and was programmed again by the next session:
/// chips that take single bytes skipped nothing.
#[test]
fn a_program_that_left_no_trace_is_stepped_over() {
    let flash = setups().into_iter().filter(|setup| setup.device.erase_unit().is_some());
    let mut tried = 0;
    for setup in flash {
        let chip = setup.blank();
        let log = |seed| {
            let storage = FlatStorage::open(chip.clone(), setup.slot_len, FlatCapacity::heap(8, 64))
                .ok()
                .unwrap();
            match Log::open_or_create(storage, Capacity::heap(512), Options::new(7, seed)) {
                Ok(log) => log,
                Err(error) => panic!("{}: {error}", setup.name),
            }
        };
        let mut before = log(1);
        assert!(before.append(1, b"durable").is_ok() && before.sync().is_ok());
        let end = before.written_mark().end;
        drop(before);
        let unit = vec![setup.device.erased().unwrap(); setup.device.write_unit().into()];
        chip.tear(end, &unit, Torn::Prefix);
        let mut after = log(2);
        assert!(after.append(1, b"behind it").is_ok() && after.sync().is_ok());
        assert_eq!(log(3).last_sequence(), 2, "{}", setup.name);
        tried += 1;
    }
    assert_eq!(tried, 10);
}
