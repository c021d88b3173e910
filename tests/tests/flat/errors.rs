//! What a device says reaches the caller unchanged, and an ECC fault of what a crash tore is no fault of the device.

use embedded_io::{Error as _, ErrorKind};
use walstone_core::flat::{DeviceGeometry, FlatCapacity, FlatError, FlatStorage, NorDevice};
use walstone_core::{Capacity, Checksum, Error, Fault, Log, Options, Salvaged, StorageError, Tail, salvage};
use walstone_tests::flash::{Chip, ChipError, NorChip, Torn};

use crate::open;

fn chip(write_unit: u16) -> Chip {
    Chip::new(DeviceGeometry::flash(8 * 4096, write_unit, 4096))
}

fn create(chip: &Chip) -> Log<'static, FlatStorage<'static, Chip>> {
    match Log::create(open(chip.clone(), 4096), Capacity::heap(512), Options::new(1, 2)) {
        Ok(log) => log,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn the_error_of_a_device_keeps_its_type_and_kind() {
    let chip = chip(4);
    let mut log = create(&chip);
    assert!(log.append(1, b"first").is_ok());
    chip.fail_after(Some(0));
    let Err(Error::Storage(error)) = log.append(1, b"second") else {
        panic!("not failed");
    };
    assert_eq!(error, FlatError::Device(ChipError::Failed));
    assert_eq!((error.kind(), error.fault()), (ErrorKind::TimedOut, Fault::Device));
    chip.fail_after(None);
    assert!(matches!(log.append(1, b"third"), Err(Error::Poisoned(_))));
}

/// The errors of a flash driver can only be printed: they are wrapped, not replaced.
#[test]
fn the_error_of_a_flash_driver_keeps_its_type() {
    let nor = NorChip::<1, 4, 4096>::new(8);
    let chip = nor.chip.clone();
    let storage = open(NorDevice::new(nor), 4096);
    chip.fail_after(Some(0));
    let created = Log::create(storage, Capacity::heap(512), Options::new(1, 2));
    match created.map(drop) {
        Err(Error::Storage(FlatError::Device(error))) => {
            assert_eq!((error.error, error.unreadable), (ChipError::Failed, false));
            assert_eq!((error.kind(), error.fault()), (ErrorKind::Other, Fault::Device));
        }
        other => panic!("{other:?}"),
    }
}

/// Where reads of a torn unit fail, by a device of its own or by a flash driver that says which of its errors mean that.
#[test]
fn an_ecc_fault_of_a_torn_unit_is_a_torn_tail() {
    for torn in [Torn::Prefix, Torn::Bits(3), Torn::Noise(3)] {
        let nor = NorChip::<32, 32, 4096>::new(8);
        let chip = nor.chip.clone().with_ecc();
        let device = || {
            let nor = NorChip { chip: chip.clone() };
            NorDevice::<NorChip<32, 32, 4096>>::new(nor).with_unreadable(|error| *error == ChipError::Ecc)
        };
        let tail = {
            let created = Log::create(open(device(), 4096), Capacity::heap(512), Options::new(1, 2));
            let Ok(mut log) = created else { panic!("no log") };
            assert!(log.append(1, b"kept").and_then(|_| log.sync()).is_ok());
            log.written_mark()
        };
        // The first slot, in which the first segment is.
        chip.tear(tail.end, &[0x11; 32], torn);
        let opened = Log::open(open(device(), 4096), Capacity::heap(512), Options::new(1, 3));
        let mut log = opened.unwrap_or_else(|error| panic!("{error}"));
        assert!(
            matches!(log.report().tail, Tail::Torn { offset, .. } if offset == tail.end),
            "{:?}",
            log.report()
        );
        assert!(log.append(1, b"more").and_then(|_| log.sync()).is_ok());
        assert_eq!(log.read(Some(1), ..).next().unwrap().unwrap().value, b"kept");
        assert_eq!(log.last_sequence(), 2);

        // Without that, the driver's word is taken: the device is at fault.
        let storage = FlatStorage::open(
            NorDevice::new(NorChip::<32, 32, 4096> { chip: chip.clone() }),
            4096,
            FlatCapacity::heap(8, 32),
        );
        let opened = Log::open(storage.ok().unwrap(), Capacity::heap(512), Options::new(1, 4));
        assert!(matches!(opened.map(drop), Err(Error::Storage(FlatError::Device(_)))));
    }
}

/// The power failed in a program that left no trace, and the next session went on a page behind it. Later those cells wavered and
/// failed their ECC: the 24 bytes of a header could not be read where one was looked for, so the resume frame that begins
/// among them was not met, and the log was refused.
#[test]
fn a_frame_close_behind_an_unreadable_unit_is_met() {
    for write_unit in [4, 8, 16, 32] {
        let chip = chip(write_unit).with_ecc();
        let mut log = create(&chip);
        assert!(log.append(1, b"before").and_then(|_| log.sync()).is_ok());
        let end = log.written_mark().end;
        let slot = (0..8).find(|slot| chip.bytes()[slot * 4096] != 0xff).unwrap() as u32;
        drop(log);
        let open = |seed| Log::open(open(chip.clone(), 4096), Capacity::heap(512), Options::new(1, seed));
        let mut log = open(3).ok().unwrap();
        assert!(log.append(1, b"behind").and_then(|_| log.sync()).is_ok());
        drop(log);
        chip.tear(slot * 4096 + end, &vec![1; write_unit.into()], Torn::Noise(3));
        match open(4) {
            Ok(log) => assert_eq!(log.last_sequence(), 2, "{write_unit}"),
            Err(error) => panic!("{write_unit}: {error}"),
        }
    }
}

/// One unit that could not be read cost salvage the 4 KiB that were read with it.
#[test]
fn salvage_loses_what_cannot_be_read_and_no_more() {
    let chip = chip(8).with_ecc();
    let mut log = create(&chip);
    let mut places = Vec::new();
    for _ in 0..20 {
        places.push(log.written_mark().end);
        assert!(log.append(1, &[7; 50]).is_ok());
    }
    assert!(log.sync().is_ok());
    drop(log);
    let slot = (0..8).find(|slot| chip.bytes()[slot * 4096] != 0xff).unwrap() as u32;
    chip.tear(slot * 4096 + places[10] + 32, &[1; 8], Torn::Noise(3));
    let mut found = Vec::new();
    let salvaged = salvage(&mut open(chip, 4096), Checksum::BITWISE, &mut |salvaged| {
        if let Salvaged::Record { record, .. } = salvaged {
            found.push(record.sequence);
        }
    });
    assert!(salvaged.is_ok());
    found.sort_unstable();
    assert_eq!(found, (1..=20).filter(|&at| at != 11).collect::<Vec<u64>>());
}

/// Where reads fail they are tried again in part, and in part of that: no more often than a constant number of times.
#[test]
fn an_open_of_what_cannot_be_read_is_linear() {
    let chip = chip(8).with_ecc();
    let mut log = create(&chip);
    assert!(log.append(1, b"before").and_then(|_| log.sync()).is_ok());
    let end = log.written_mark().end;
    drop(log);
    let slot = (0..8).find(|slot| chip.bytes()[slot * 4096] != 0xff).unwrap() as u32;
    for at in (end..4096 - 64).step_by(8) {
        chip.tear(slot * 4096 + at, &[1; 8], Torn::Noise(3));
    }
    let before = chip.counts().bytes_read;
    let opened = Log::open_read_only(open(chip.clone(), 4096), Capacity::heap(512), Options::new(1, 3));
    assert!(opened.is_ok());
    let read = chip.counts().bytes_read - before;
    assert!(read <= (2 * 8 + 40) * 4096, "{read} bytes");
}
