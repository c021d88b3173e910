//! Power cuts in a row on a small device: what each leaves behind must not eat it.

use std::ops::ControlFlow;

use walstone_core::{Capacity, Log};
use walstone_tests::crash::log::options;
use walstone_tests::crash::setup::Setup;
use walstone_tests::medium::{Limits, Medium, MediumHandle};
use walstone_tests::repeatable::Dice;

const CUTS: u64 = 1000;
const SLOTS: u32 = 8;
/// Segments whose data stay; what the last session appended is live in one more.
const KEPT_IN: u32 = 4;

const KEPT: u64 = 1;
const PASSING: u64 = 2;

fn open(handle: &MediumHandle, nth: u64) -> Log<'static, MediumHandle> {
    let capacity = Capacity::heap(4096);
    Log::open_or_create(handle.clone(), capacity, options(nth)).unwrap_or_else(|error| panic!("open {nth}: {error}"))
}

fn values(log: &mut Log<'static, MediumHandle>, table: u64) -> Vec<Vec<u8>> {
    let mut values = Vec::new();
    let mut reads = log.read(Some(table), ..);
    while let Some(record) = reads.next() {
        values.push(record.expect("the record is whole").value.to_vec());
    }
    values
}

/// One of the images with a torn unit that a loss of power may leave now.
fn torn(medium: &Medium, dice: &mut Dice) -> Medium {
    let mut images = Vec::new();
    let limits = Limits {
        seed: dice.number(),
        ..Limits::default()
    };
    medium.crash_states(&limits, &mut |image, survival| {
        if survival.torn.is_some() {
            images.push(image);
        }
        ControlFlow::Continue(())
    });
    let chosen = dice.below(images.len() as u64) as usize;
    images.swap_remove(chosen)
}

fn check(setup: &str) {
    let setup = Setup::named(setup).expect("the medium is known");
    let mut dice = Dice::new(&[1]);
    let mut handle = MediumHandle::new(setup.medium().with_slots(SLOTS));
    let mut log = open(&handle, 0);
    let mut kept = Vec::new();
    while log.report().segments < KEPT_IN {
        kept.push(vec![kept.len() as u8; setup.largest_len() as usize]);
        log.append(KEPT, &kept[kept.len() - 1]).unwrap();
        log.close().unwrap();
        log = open(&handle, kept.len() as u64);
    }
    drop(log);
    for cut in 0..CUTS {
        let mut log = open(&handle, 100 + cut);
        assert_eq!(values(&mut log, KEPT), kept, "cut {cut} on {}", setup.name);
        let passing = values(&mut log, PASSING);
        assert!(cut == 0 || passing.first().is_some_and(|value| *value == (cut - 1).to_le_bytes()));
        let deleted = log.delete_up_to(PASSING, u64::MAX);
        deleted.unwrap_or_else(|error| panic!("deletion behind cut {cut} on {}: {error}", setup.name));
        let appended = log.append(PASSING, &cut.to_le_bytes());
        appended.unwrap_or_else(|error| panic!("append behind cut {cut} on {}: {error}", setup.name));
        log.sync().unwrap();
        log.append(PASSING, &vec![0x77; setup.two_units_len() as usize])
            .unwrap();
        drop(log);
        handle = MediumHandle::new(torn(&handle.medium(), &mut dice));
    }
}

/// With live data in five of eight segments, appending works behind each of a thousand torn writes: what a cut leaves
/// is given back at the latest when the room is needed.
#[test]
fn a_thousand_torn_power_cuts_do_not_eat_a_device_of_eight_segments() {
    for setup in ["words", "flash", "pages", "sectors", "stale"] {
        check(setup);
    }
}
