//! Logs on flat devices: every adapter, every kind of device, and a chip that is strict about how it is treated.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics fails")]

mod awaited;
mod capacity;
mod chip;
mod conforms;
mod crash;
mod devices;
mod errors;
mod geometry;
mod hostile;
mod overhead;
mod ring;
mod wear;

use walstone_core::flat::{Device, DeviceGeometry, FlatCapacity, FlatStorage};
use walstone_core::segment::header::{HEADER_LEN, Header};
use walstone_core::{Checksum, SegmentId, Storage};
use walstone_tests::flash::Chip;

/// Devices by name, each with the length of its slots. Five slots at least.
fn devices(slots: u32) -> Vec<(&'static str, DeviceGeometry, u32)> {
    let flash = |slot_len: u32, write_unit, erase_unit| DeviceGeometry::flash(slots * slot_len, write_unit, erase_unit);
    let plain = |slot_len: u32| DeviceGeometry::without_erase(slots * slot_len);
    vec![
        ("flash of single bytes", flash(2048, 1, 1024), 2048),
        ("flash of 2 bytes", flash(4096, 2, 4096), 4096),
        ("serial flash", flash(4096, 4, 4096).with_page_len(256), 4096),
        ("flash of 8 bytes, blocks of 512", flash(4096, 8, 512), 4096),
        ("flash that erases to zeros", flash(4096, 16, 2048).with_erased(0), 4096),
        (
            "flash that erases to 0x39",
            flash(4096, 4, 4096).with_erased(0x39),
            4096,
        ),
        ("flash with ECC", flash(8192, 32, 8192), 8192),
        ("flash of pages", flash(65536, 512, 65536), 65536),
        ("FRAM", plain(2048), 2048),
        ("EEPROM in words", plain(4096).with_write_unit(4), 4096),
        ("EEPROM in pages", plain(4096).with_sync_unit(128), 4096),
        ("SD card", plain(16384).with_sync_unit(512), 16384),
        (
            "SD card in sectors",
            plain(16384).with_write_unit(512).with_sync_unit(512),
            16384,
        ),
    ]
}

fn open<D: Device>(device: D, slot_len: u32) -> FlatStorage<'static, D> {
    let unit = usize::from(device.geometry().write_unit());
    let slots = device.geometry().len() / slot_len;
    match FlatStorage::open(device, slot_len, FlatCapacity::heap(slots as usize, unit)) {
        Ok(storage) => storage,
        Err(error) => panic!("{error}"),
    }
}

fn chip(geometry: DeviceGeometry, slot_len: u32) -> FlatStorage<'static, Chip> {
    open(Chip::new(geometry), slot_len)
}

/// A header that the storage reads.
fn header_for<S: Storage>(storage: &S) -> impl Fn(SegmentId) -> [u8; HEADER_LEN] + use<S> {
    let geometry = storage.geometry();
    move |segment| {
        let header = Header {
            geometry,
            region: 7,
            segment,
            salt: segment.0 ^ 0x5a17,
        };
        header.encode(Checksum::BYTEWISE)
    }
}
