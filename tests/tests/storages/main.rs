//! The conformance suite on every storage of this workspace that needs no operating system, and what the
//! storages made for tests do beyond it.

mod conforms;
mod decorators;
mod medium;
mod mutants;
mod ram;
mod slots;

use walstone_core::Geometry;

/// Files on Linux, EEPROM, FRAM with sync units, and three sorts of flash.
fn geometries() -> Vec<Geometry> {
    let plain = Geometry::new(4096).unwrap();
    vec![
        plain,
        plain.with_erased(None).unwrap(),
        plain.with_sync_unit(128).unwrap().with_erased(None).unwrap(),
        flash(1),
        flash(4),
        flash(32),
        Geometry::new(65536).unwrap().with_write_unit(512).unwrap(),
    ]
}

/// NOR flash with segments of 4 KiB, or of what its write unit needs.
fn flash(write_unit: u16) -> Geometry {
    let len = 4096.max(u32::from(write_unit) * 32);
    let geometry = Geometry::new(len).unwrap().with_write_unit(write_unit).unwrap();
    geometry.with_erased(Some(0xff)).unwrap()
}
