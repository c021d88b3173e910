//! The promises of a storage, and the behaviour of a log, on every kind of device.

use walstone_tests::behaviour::{Room, check_log};
use walstone_tests::conformance::{check_full_with, check_storage_with, check_survival_with};

use crate::{chip, devices, header_for, open};

#[test]
fn every_device_keeps_the_promises_of_a_storage() {
    for (name, geometry, slot_len) in devices(5) {
        println!("{name}");
        let make = || chip(geometry, slot_len);
        let header = header_for(&make());
        check_storage_with(make, &header);
        check_full_with(make, &header);
        let reopen = |storage: walstone_core::flat::FlatStorage<'static, _>| open(storage.into_device(), slot_len);
        check_survival_with(make, reopen, reopen, &header);
    }
}

#[test]
fn every_device_carries_a_log() {
    for (name, geometry, slot_len) in devices(16) {
        println!("{name}");
        check_log(|| chip(geometry, slot_len), &mut Room::Heap(512));
        check_log(|| chip(geometry, slot_len), &mut Room::lent());
    }
}
