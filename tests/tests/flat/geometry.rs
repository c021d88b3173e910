//! What a device may be cut into, and what is said of the rest.

use walstone_core::flat::{DeviceGeometry, FlatCapacity, FlatGeometry, FlatGeometryError, FlatStorage, OpenError};
use walstone_core::{Capacity, GeometryError, Log, Options, Workspace};
use walstone_tests::flash::Chip;

use crate::{devices, open};

const BOARD: Result<FlatGeometry, FlatGeometryError> =
    FlatGeometry::new(DeviceGeometry::flash(1 << 20, 4, 4096).with_page_len(256), 8192);

#[test]
fn a_geometry_is_judged_before_the_program_runs() {
    const { assert!(BOARD.is_ok()) };
    let board = BOARD.unwrap();
    assert_eq!((board.slot_len(), board.slot_count()), (8192, 128));
    assert_eq!(board.segment().segment_len(), 8192 - 64);
}

#[test]
fn what_cannot_work_is_named() {
    let flash = |write_unit, erase_unit| DeviceGeometry::flash(65536, write_unit, erase_unit);
    let check = |device, slot_len, expect| assert_eq!(FlatGeometry::new(device, slot_len), Err(expect), "{expect}");
    let unit = |write_unit| FlatGeometryError::Segment(GeometryError::WriteUnit { write_unit });
    check(flash(3, 4096), 4096, unit(3));
    check(flash(0, 4096), 4096, unit(0));
    check(flash(8192, 8192), 8192, unit(8192));
    let block = |erase_unit, unit| FlatGeometryError::EraseUnit { erase_unit, unit };
    check(flash(64, 96), 4096, block(96, 64));
    check(flash(1, 4), 4096, block(4, 8));
    let unaligned = |slot_len, step| FlatGeometryError::SlotUnaligned { slot_len, step };
    check(flash(4, 4096), 0, unaligned(0, 4096));
    check(flash(4, 4096), 6144, unaligned(6144, 4096));
    check(flash(4, 1024).with_page_len(2048), 5120, unaligned(5120, 1024));
    let small = |slot_len, min| FlatGeometryError::SlotTooSmall { slot_len, min };
    check(flash(4, 512), 512, small(512, 1088));
    check(flash(32, 1024), 1024, small(1024, 1088));
    let few = |slots| FlatGeometryError::TooFewSlots { slots, min: 3 };
    check(flash(4, 4096), 65536, few(1));
    check(flash(4, 4096), 32768, few(2));
    let page = |page_len| FlatGeometryError::Segment(GeometryError::PageLen { page_len });
    check(flash(4, 4096).with_page_len(1024), 4096, page(1024));
    let sync_unit = |sync_unit| FlatGeometryError::Segment(GeometryError::SyncUnit { sync_unit });
    let plain = DeviceGeometry::without_erase(65536);
    check(plain.with_sync_unit(24), 4080, sync_unit(24));
    check(flash(4, 4096).with_sync_unit(0), 4096, sync_unit(0));
    check(flash(4, 4096).with_sync_unit(384), 4096, sync_unit(384));
    check(flash(512, 4096).with_sync_unit(128), 4096, sync_unit(128));
}

/// Lengths were computed from units before the units were judged: some sums passed the end of 32 bits, and others were blamed
/// on what was not at fault.
#[test]
fn no_length_is_computed_from_units_that_cannot_be() {
    let lens = [
        0,
        1,
        7,
        64,
        384,
        4096,
        65536,
        1 << 30,
        3 << 30,
        1 << 31,
        u32::MAX - 1,
        u32::MAX,
    ];
    for (len, sync_unit, page_len) in lens
        .iter()
        .flat_map(|&len| lens.iter().flat_map(move |&sync| lens.map(|page| (len, sync, page))))
    {
        for (erase_unit, slot_len) in lens.iter().flat_map(|&erase| lens.map(|slot| (erase, slot))) {
            for write_unit in [1, 4096, 32768] {
                let device = match erase_unit {
                    0 => DeviceGeometry::without_erase(len).with_write_unit(write_unit),
                    _ => DeviceGeometry::flash(len, write_unit, erase_unit),
                };
                let device = device.with_sync_unit(sync_unit).with_page_len(page_len);
                match FlatGeometry::new(device, slot_len) {
                    Ok(made) => {
                        let end = u64::from(made.slot_len()) * u64::from(made.slot_count());
                        assert!(end <= u64::from(len), "{device:?}: {made:?}");
                    }
                    Err(error) => {
                        let blamed = matches!(error, FlatGeometryError::Segment(GeometryError::SyncUnit { .. }));
                        let fits = [1, 4096, 65536].contains(&sync_unit);
                        assert!(write_unit > 4096 || blamed != fits, "{device:?}: {error}");
                    }
                }
            }
        }
    }
}

/// A device was formatted for longer slots, and of the shorter ones that it had held before one stood behind the last: every
/// open from then on was told of another geometry.
#[test]
fn formatting_leaves_nothing_of_another_cut() {
    const LEN: u32 = 17 * 4096;
    for geometry in [DeviceGeometry::without_erase(LEN), DeviceGeometry::flash(LEN, 4, 4096)] {
        let chip = Chip::new(geometry);
        let Ok(mut log) = Log::create(open(chip.clone(), 4096), Capacity::heap(512), Options::new(1, 2)) else {
            panic!("no log");
        };
        while log.append(1, &[7; 1000]).is_ok() {}
        assert!(log.sync().is_ok());
        let formatted = FlatStorage::format(chip.clone(), 8192, FlatCapacity::heap(8, 64));
        assert!(formatted.is_ok());
        let opened = FlatStorage::open(chip, 8192, FlatCapacity::heap(8, 64));
        assert!(opened.is_ok(), "{opened:?}");
    }
}

/// The least slot that is accepted carries a log, whatever the units.
#[test]
fn the_least_slot_carries_a_log() {
    for (name, device, _) in devices(64) {
        let found = |&slot_len: &u32| FlatGeometry::new(device, slot_len).is_ok();
        let steps = (1..).map(|count| count * device.slot_step());
        let slot_len = steps.take(1 << 16).find(found).unwrap();
        let mut room = Workspace::<64, 8, 4, 2048>::new();
        let storage = open(Chip::new(device), slot_len);
        let Ok(mut log) = Log::create(storage, room.lend(), Options::new(1, 2)) else {
            panic!("no log on {name} with slots of {slot_len}");
        };
        for at in 0..300 {
            if at % 10 == 9 {
                assert!(log.delete_up_to(1, at).is_ok(), "{name} with slots of {slot_len}");
                assert!(log.reclaim().is_ok(), "{name} with slots of {slot_len}");
            }
            let appended = log.append(1, b"record");
            assert!(appended.is_ok(), "{name} with slots of {slot_len}: {appended:?}");
        }
    }
}

#[test]
fn room_that_is_too_small_says_what_is_needed() {
    let device = DeviceGeometry::flash(8 * 4096, 32, 4096);
    for (slots, gather) in [(7, 32), (8, 31), (0, 0)] {
        let opened = FlatStorage::open(Chip::new(device), 4096, FlatCapacity::heap(slots, gather));
        match opened {
            Err(OpenError::Room { slots: 8, gather: 32 }) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// A device that was cut at other places is refused, whatever can be seen through the new cut.
#[test]
fn another_geometry_than_that_on_the_device_is_named() {
    let device = DeviceGeometry::flash(16 * 4096, 4, 2048);
    let stored_as = FlatGeometry::new(device, 4096).unwrap().segment();
    for (slot_len, device) in [
        (8192, device),
        (12288, device),
        (2048, device),
        (4096, device.with_page_len(256)),
        (4096, DeviceGeometry::flash(16 * 4096, 8, 4096)),
    ] {
        // The log starts in a slot that the other cut does not look at, or in one it does.
        for skip in [0, 1] {
            let chip = Chip::new(DeviceGeometry::flash(16 * 4096, 4, 2048));
            let mut room = Workspace::<16, 8, 4, 512>::new();
            {
                let storage = open(chip.clone(), 4096);
                let Ok(mut log) = Log::create(storage, room.lend(), Options::new(1, 2)) else {
                    panic!("no log");
                };
                for _ in 0..skip * 100 {
                    assert!(log.append(1, &[7; 64]).is_ok());
                }
                assert!(log.delete_up_to(1, u64::MAX).and_then(|_| log.reclaim()).is_ok());
                assert!(log.close().is_ok());
            }
            let again = Chip::from_bytes(device, &chip.bytes());
            let count = 16 * 4096 / slot_len;
            let given = FlatGeometry::new(device, slot_len).unwrap().segment();
            let opened = FlatStorage::open(again, slot_len, FlatCapacity::heap(count as usize, 8));
            let Err(OpenError::Mismatch { stored, given: asked }) = opened else {
                panic!("{opened:?}");
            };
            assert_eq!((stored, asked), (stored_as, given));
        }
    }
}

/// A partition was moved by two erase blocks, which made no slot begin where one had: every slot looked blank, and the log
/// that was to be opened was erased for a new one. Moved by exactly one block, each slot showed one copy of the header of
/// the segment beside it, and the rest of that was taken for damage, or for nothing.
#[test]
fn a_shifted_device_is_not_an_empty_one() {
    let mut shifts = 0;
    for (name, geometry, slot_len) in devices(5) {
        let segment_len = FlatGeometry::new(geometry, slot_len).unwrap().segment().segment_len();
        let (block, copy_len) = (geometry.erase_unit().unwrap_or(512), slot_len - segment_len);
        for records in [0, 100] {
            let chip = Chip::new(geometry);
            let storage = open(chip.clone(), slot_len);
            let Ok(mut log) = Log::create(storage, Capacity::heap(512), Options::new(1, 2)) else {
                panic!("{name}");
            };
            for _ in 0..records {
                let _ = log.append(1, &[7; 40]);
            }
            for step in [block, 2 * block, slot_len - block, copy_len, slot_len - copy_len] {
                if step % geometry.slot_step() != 0 || step % slot_len == 0 {
                    continue;
                }
                let mut bytes = chip.bytes().to_vec();
                bytes.rotate_right(step as usize);
                let shifted = Chip::from_bytes(geometry, &bytes);
                let room = FlatCapacity::heap(5, usize::from(geometry.write_unit()));
                let opened = FlatStorage::open(shifted, slot_len, room).map(drop);
                assert_eq!(
                    opened.unwrap_err(),
                    OpenError::Shifted,
                    "{name} by {step}, {records} records"
                );
                shifts += 1;
            }
        }
    }
    assert!(shifts > 40, "{shifts}");
}

/// Behind an unclean end a session skips a page, for an interrupted program may leave no trace. Chips that take single bytes
/// had none to skip.
#[test]
fn flash_of_any_unit_has_a_page_to_skip() {
    for write_unit in [1, 2, 4, 8, 16, 32] {
        let device = DeviceGeometry::flash(8 * 4096, write_unit, 4096);
        let segment = FlatGeometry::new(device, 4096).unwrap().segment();
        assert!(segment.page_len() > 1, "{write_unit}");
    }
}
