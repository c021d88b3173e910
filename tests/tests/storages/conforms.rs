//! One line per storage and promise.

use std::ops::ControlFlow;

use walstone_core::ram::RamStorage;
use walstone_tests::conformance::{check_full, check_shared, check_storage, check_survival, parse_header};
use walstone_tests::medium::{Limits, Medium, MediumHandle};
use walstone_tests::storages::counting::Counting;
use walstone_tests::storages::faulty::Faulty;
use walstone_tests::storages::gather::GatherStorage;
use walstone_tests::storages::shared::SharedRam;
use walstone_tests::storages::slots::{SlotMedium, SlotStorage};

use crate::{flash, geometries};

#[test]
fn ram() {
    for geometry in geometries() {
        let limit = 3 * u64::from(geometry.segment_len()) + 100;
        check_storage(|| RamStorage::new(geometry));
        check_full(|| RamStorage::new(geometry).with_capacity_limit(limit));
    }
}

#[test]
fn slots() {
    for write_unit in [1, 4, 32, 4096] {
        let make = || SlotStorage::open(&SlotMedium::new(flash(write_unit), 5), parse_header);
        let reopen = |storage: SlotStorage| SlotStorage::open(&storage.medium(), parse_header);
        check_storage(make);
        check_full(make);
        check_survival(make, reopen, reopen);
    }
}

#[test]
fn gather() {
    for geometry in geometries() {
        let limit = 3 * u64::from(geometry.segment_len()) + 100;
        let make = || GatherStorage::new(RamStorage::new(geometry));
        let kill = |storage: GatherStorage<RamStorage>| GatherStorage::new(storage.kill());
        check_storage(make);
        check_full(|| GatherStorage::new(RamStorage::new(geometry).with_capacity_limit(limit)));
        check_survival(make, kill, kill);
        // A storage below that copies: what it returns is cut short.
        check_storage(|| GatherStorage::new(SharedRam::new(RamStorage::new(geometry))));
    }
}

#[test]
fn shared_ram() {
    for geometry in geometries() {
        let make = || SharedRam::new(RamStorage::new(geometry));
        check_storage(make);
        check_shared(make);
        check_shared(|| Counting::new(make()));
    }
}

#[test]
fn decorators_change_nothing() {
    for geometry in geometries() {
        let limit = 3 * u64::from(geometry.segment_len()) + 100;
        let ram = || RamStorage::new(geometry).with_capacity_limit(limit);
        check_storage(|| Counting::new(RamStorage::new(geometry)));
        check_full(|| Counting::new(ram()));
        check_storage(|| Faulty::new(RamStorage::new(geometry)));
        check_full(|| Faulty::new(ram()));
        check_survival(
            || Faulty::new(ram()),
            |storage| storage,
            |storage| Faulty::new(storage.reboot()),
        );
    }
}

/// The image in which nothing pending survived: the first that is shown.
fn worst(medium: &Medium) -> Medium {
    let mut worst = None;
    medium.crash_states(&Limits::default(), &mut |image, _| {
        worst = Some(image);
        ControlFlow::Break(())
    });
    worst.expect("at least one image")
}

#[test]
fn medium() {
    for geometry in geometries() {
        let limit = 3 * u64::from(geometry.segment_len()) + 100;
        for unit in [1, 32, 512, 4096] {
            let make = || Medium::new(geometry, unit).with_capacity_limit(20 * limit);
            let small = || Medium::new(geometry, unit).with_capacity_limit(limit);
            let die = |medium: Medium| medium.after_process_death().remove(0);
            check_storage(make);
            check_storage(|| make().lending());
            check_storage(|| make().write_through());
            check_full(small);
            check_survival(make, die, |medium| worst(&medium));
            check_survival(|| make().write_through(), die, |medium| worst(&medium));
            check_storage(|| GatherStorage::new(make()));
            check_storage(|| Counting::new(Faulty::new(make())));
            check_full(|| GatherStorage::new(small()));
        }
        check_storage(|| MediumHandle::new(Medium::new(geometry, 512)));
        check_shared(|| MediumHandle::new(Medium::new(geometry, 512)));
    }
}
