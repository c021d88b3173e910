//! The same behaviour on every storage, with room on the heap and lent; the same bytes where the geometry is the same.

use walstone_core::ram::RamStorage;
use walstone_core::segment::header::Header;
use walstone_core::{Checksum, Geometry, SegmentId};
use walstone_tests::behaviour::{Room, check_log, fixed_bytes};
use walstone_tests::storages::counting::Counting;
use walstone_tests::storages::faulty::Faulty;
use walstone_tests::storages::gather::GatherStorage;
use walstone_tests::storages::shared::SharedRam;
use walstone_tests::storages::slots::{SlotMedium, SlotStorage};

fn geometry(segment_len: u32) -> Geometry {
    Geometry::new(segment_len).unwrap()
}

fn flash(write_unit: u16) -> Geometry {
    let geometry = geometry(4096).with_write_unit(write_unit).unwrap();
    geometry.with_erased(Some(0xff)).unwrap()
}

fn ram(geometry: Geometry) -> RamStorage {
    RamStorage::new(geometry).with_capacity_limit(12 * u64::from(geometry.segment_len()))
}

fn parse(bytes: &[u8]) -> Option<SegmentId> {
    let header = Header::decode(bytes, Checksum::BYTEWISE).ok()?;
    Some(header.segment)
}

fn slots(geometry: Geometry) -> SlotStorage {
    SlotStorage::open(&SlotMedium::new(geometry, 12), parse)
}

#[test]
fn memory() {
    for len in [4096, 2048, 65536] {
        check_log(|| ram(geometry(len)), &mut Room::Heap(0));
        check_log(|| ram(geometry(len)), &mut Room::lent());
    }
}

#[test]
fn memory_with_every_geometry() {
    let synced = geometry(8192).with_sync_unit(512).unwrap();
    let paged = flash(4).with_page_len(256).unwrap();
    for geometry in [
        geometry(4096).with_erased(None).unwrap(),
        synced,
        synced.with_erased(None).unwrap(),
        paged,
        geometry(65536).with_write_unit(512).unwrap(),
    ] {
        check_log(|| ram(geometry), &mut Room::Heap(0));
        check_log(|| ram(geometry), &mut Room::lent());
    }
}

#[test]
fn flash_slots() {
    for unit in [4, 32] {
        check_log(|| slots(flash(unit)), &mut Room::Heap(512));
        check_log(|| slots(flash(unit)), &mut Room::lent());
    }
}

#[test]
fn gathered_writes() {
    let gather = || GatherStorage::new(ram(geometry(4096)));
    check_log(gather, &mut Room::Heap(0));
    check_log(gather, &mut Room::lent());
}

#[test]
fn shared_memory() {
    let shared = || SharedRam::new(ram(geometry(4096)));
    check_log(shared, &mut Room::Heap(512));
    check_log(shared, &mut Room::lent());
}

/// Nothing but geometry, seed and operations decides the bytes.
#[test]
fn the_same_bytes_on_every_storage() {
    for room in [|| Room::Heap(512), Room::lent] {
        let plain = geometry(4096);
        let expect = fixed_bytes(ram(plain), &mut room());
        assert!(expect.len() >= 3, "{} segments", expect.len());
        assert!(fixed_bytes(GatherStorage::new(ram(plain)), &mut room()) == expect);
        assert!(fixed_bytes(SharedRam::new(ram(plain)), &mut room()) == expect);
        assert!(fixed_bytes(Counting::new(ram(plain)), &mut room()) == expect);
        assert!(fixed_bytes(Faulty::new(ram(plain)), &mut room()) == expect);
        for unit in [4, 32] {
            let on_flash = fixed_bytes(slots(flash(unit)), &mut room());
            assert!(fixed_bytes(ram(flash(unit)), &mut room()) == on_flash, "unit {unit}");
        }
    }
}
