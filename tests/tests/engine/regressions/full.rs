//! Logs that are full.

use walstone_core::ram::RamStorage;
use walstone_core::segment::header::Header;
use walstone_core::{Capacity, Checksum, Geometry, Log, Options};

use super::{open, options, sequences};

/// The prepared segment that a rotation left behind had its header, but no room for a manifest. On a storage that was
/// full to the last byte the log then could not be reclaimed any more, and so never written again.
#[test]
fn a_full_storage_is_reclaimed_whatever_its_size() {
    let geometry = Geometry::new(2048).unwrap();
    let mut tried = 0;
    // Room for the active segment and two more.
    for limit in (3 * 2048..7 * 2048).step_by(8) {
        for (closed, shared_room) in [(false, false), (true, false), (false, true), (true, true)] {
            let options = Options {
                shared_room,
                ..options()
            };
            let storage = RamStorage::new(geometry).with_capacity_limit(limit);
            let Ok(mut log) = Log::create(storage, Capacity::heap(0), options) else {
                continue;
            };
            while log.append(1, &[9; 90]).is_ok() {}
            assert_eq!(log.poisoned(), None);
            let last = log.last_sequence();
            if last == 0 {
                continue;
            }
            if closed {
                log.close().unwrap();
            } else {
                log.sync().unwrap();
            }
            let mut log = Log::open(log.into_storage(), Capacity::heap(0), options).unwrap();
            assert_eq!(sequences(&mut log), (1..=last).collect::<Vec<_>>());
            log.delete_up_to(1, last).unwrap();
            log.reclaim()
                .unwrap_or_else(|error| panic!("{limit} bytes, {options:?}, closed {closed}: {error}"));
            log.sync().unwrap();
            let next = log
                .append(1, &[9; 90])
                .unwrap_or_else(|error| panic!("{limit} bytes, {options:?}, closed {closed}: {error}"));
            assert_eq!(next.first, last + 1);
            log.close().unwrap();
            assert_eq!(sequences(&mut open(log.into_storage())), [last + 1]);
            tried += 1;
        }
    }
    assert!(tried > 1000, "{tried}");
}

/// A device of few slots, full of live data. Deletions that freed nothing filled the reserve, and the next one took the
/// last slot: then no slot was left for the manifest that would have given segments up, whatever was deleted.
#[test]
fn deletions_do_not_take_the_last_slot_for_nothing() {
    use walstone_tests::storages::slots::{SlotMedium, SlotStorage};
    let parse = |bytes: &[u8]| {
        Header::decode(bytes, Checksum::BYTEWISE)
            .ok()
            .map(|header| header.segment)
    };
    let geometry = Geometry::new(2048).unwrap().with_write_unit(8).unwrap();
    let geometry = geometry.with_erased(Some(0xff)).unwrap();
    let mut stuck = Vec::new();
    for slots in 4..10 {
        for deletions in 0..12 {
            let medium = SlotMedium::new(geometry, slots);
            let storage = SlotStorage::open(&medium, parse);
            let mut log = Log::create(storage, Capacity::heap(4096), options()).unwrap();
            let mut table = 1;
            while log.append(table, &[9; 90]).is_ok() {
                table = 3 - table;
            }
            assert_eq!(log.poisoned(), None);
            let last = log.last_sequence();
            for sequence in 1..=deletions {
                if log.delete_up_to(2, 2 * sequence).is_err() {
                    break;
                }
            }
            let freed = log.delete_up_to(1, last).and_then(|_| log.delete_up_to(2, last));
            if freed.is_err() || log.reclaim().is_err() || log.append(1, b"room again").is_err() {
                stuck.push((slots, deletions));
            }
        }
    }
    assert_eq!(stuck, [], "(slots, deletions)");
}

/// A device of few slots, full of live data. Each start tried an append, which was refused, and the power failed: each
/// wrote a resume frame first, until the next session took the last slot. Then nothing could be given up any more.
#[test]
fn starts_on_a_full_device_do_not_take_the_last_slot() {
    use walstone_tests::storages::slots::{SlotMedium, SlotStorage};
    let parse = |bytes: &[u8]| {
        Header::decode(bytes, Checksum::BYTEWISE)
            .ok()
            .map(|header| header.segment)
    };
    let geometry = Geometry::new(2048).unwrap().with_write_unit(8).unwrap();
    let geometry = geometry.with_erased(Some(0xff)).unwrap();
    let mut stuck = Vec::new();
    for slots in 4..10 {
        for starts in [0, 1, 4, 8, 16, 32, 64] {
            let medium = SlotMedium::new(geometry, slots);
            let storage = SlotStorage::open(&medium, parse);
            let mut log = Log::create(storage, Capacity::heap(4096), options()).unwrap();
            while log.append(1, &[9; 90]).is_ok() {}
            let mut last = log.last_sequence();
            for _ in 0..starts {
                log = Log::open(SlotStorage::open(&medium, parse), Capacity::heap(4096), options()).unwrap();
                let _ = log.append(1, &[9; 90]);
                last = log.last_sequence();
            }
            let mut log = Log::open(SlotStorage::open(&medium, parse), Capacity::heap(4096), options()).unwrap();
            if log.delete_up_to(1, last).is_err() || log.reclaim().is_err() || log.append(1, b"room again").is_err() {
                stuck.push((slots, starts));
            }
        }
    }
    assert_eq!(stuck, [], "(slots, starts)");
}
