//! A ring gives up its oldest segments, says which sequences went with them, and loses nothing else.

use std::ops::ControlFlow;
use std::ops::RangeInclusive;

use embedded_io::ErrorKind;
use walstone_core::flat::{FlatCapacity, FlatStorage};
use walstone_core::{Capacity, Error, Log, Options};
use walstone_tests::crash::explore::telling_limits;
use walstone_tests::crash::machine::Machine;
use walstone_tests::flash::{Chip, FlashSetup, setups};

type Ring = Log<'static, FlatStorage<'static, Chip>>;

fn open(setup: &FlashSetup, chip: Chip, ring: bool, seed: u64) -> Ring {
    let slots = (setup.device.len() / setup.slot_len) as usize;
    let storage = match FlatStorage::open(chip, setup.slot_len, FlatCapacity::heap(slots, 64)) {
        Ok(storage) => storage,
        Err(error) => panic!("{error}"),
    };
    let options = Options {
        ring,
        ..Options::new(7, seed)
    };
    match Log::open_or_create(storage, Capacity::heap(512), options) {
        Ok(log) => log,
        Err(error) => panic!("{error}"),
    }
}

/// The sequences that the log holds.
fn sequences(log: &mut Ring) -> Vec<u64> {
    let mut found = Vec::new();
    let mut reads = log.read(None, ..);
    while let Some(record) = reads.next() {
        match record {
            Ok(record) => {
                assert_eq!(
                    record.value,
                    record.sequence.to_le_bytes(),
                    "sequence {}",
                    record.sequence
                );
                found.push(record.sequence);
            }
            Err(error) => panic!("{error}"),
        }
    }
    found
}

fn append(log: &mut Ring) -> Result<u64, Error<impl Sized + use<>>> {
    let next = log.last_sequence() + 1;
    log.append(next % 3, &next.to_le_bytes()).map(|appended| appended.last)
}

#[test]
fn the_oldest_goes_and_is_named() {
    for setup in setups() {
        let mut log = open(&setup, setup.blank(), true, 1);
        let mut through = 0;
        for _ in 0..3_000 {
            assert!(append(&mut log).is_ok(), "{}", setup.name);
            if let Some(lost) = log.lost() {
                assert_eq!(*lost.start(), through + 1, "{}: ranges follow each other", setup.name);
                through = *lost.end();
            }
            assert_eq!(log.lost(), None);
        }
        if setup.name != "card" {
            assert!(through > 0, "{}: never full", setup.name);
        }
        assert_eq!(log.oldest_sequence(), through + 1, "{}", setup.name);
        assert_eq!(
            sequences(&mut log),
            (through + 1..=3_000).collect::<Vec<_>>(),
            "{}",
            setup.name
        );
        // A reader of another session finds the same, and a log that is no ring refuses again.
        assert!(log.sync().is_ok());
        let mut log = open(&setup, log.into_storage().into_device(), false, 2);
        assert_eq!(
            sequences(&mut log),
            (through + 1..=3_000).collect::<Vec<_>>(),
            "{}",
            setup.name
        );
        assert_eq!(log.oldest_sequence(), through + 1, "{}", setup.name);
        if setup.name != "card" {
            let refused = (0..3_000).find_map(|_| append(&mut log).err());
            assert!(matches!(refused, Some(Error::Full)), "{}", setup.name);
        }
        assert_eq!(log.lost(), None);
    }
}

/// Deletions outlive the segments that they stand in, and are forgotten no sooner than what they delete.
#[test]
fn what_was_deleted_stays_deleted_while_the_ring_turns() {
    let setup = FlashSetup::named("flash-4").unwrap();
    let mut log = open(&setup, setup.blank(), true, 1);
    let (mut gone, mut through) = (Vec::<RangeInclusive<u64>>::new(), 0);
    for turn in 0..400 {
        for _ in 0..4 {
            assert!(append(&mut log).is_ok());
        }
        let last = log.last_sequence();
        // The newest record, of one of three tables.
        match log.truncate_from(last % 3, last) {
            Ok(_) => gone.push(last..=last),
            Err(Error::TooManyVoids { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        through = log.lost().map_or(through, |lost| *lost.end());
        if turn % 7 == 0 {
            assert!(log.sync().is_ok());
            log = open(&setup, log.into_storage().into_device(), true, turn);
        }
        let expect: Vec<_> = (through + 1..=last)
            .filter(|at| !gone.iter().any(|range| range.contains(at)))
            .collect();
        assert_eq!(sequences(&mut log), expect, "turn {turn}");
    }
    assert!(through > 0, "never full");
    assert!(gone.len() > 100, "{}", gone.len());
}

/// Whatever a loss of power leaves while the oldest segment is given up: no hole, nothing durable missing but what was
/// named, nothing back that a durable manifest gave up.
#[test]
fn a_crash_while_the_oldest_goes_leaves_it_or_not() {
    let limits = telling_limits(1);
    for setup in setups().into_iter().filter(|setup| setup.name != "card") {
        let mut log = open(&setup, setup.blank(), true, 1);
        while log.lost().is_none() {
            assert!(append(&mut log).is_ok());
        }
        let mut images = 0;
        // Until it turns once more.
        loop {
            assert!(log.sync().is_ok());
            let before = sequences(&mut log);
            let mut process = setup.boot(log.storage().device().clone(), true);
            let mut life = open(&setup, process.clone(), true, 3);
            setup.record(&mut process);
            assert!(append(&mut life).is_ok());
            let lost = life.lost();
            let (first, last) = (before[0], before[before.len() - 1]);
            let kept_from = lost.as_ref().map_or(first, |lost| *lost.end() + 1);
            for moment in 0..setup.moments(&process) {
                let _ = setup.power_loss(&process, Some(moment), &limits, &mut |left| {
                    let found = sequences(&mut open(&setup, (left.image)(), true, 4));
                    let (low, high) = (found[0], found[found.len() - 1]);
                    assert_eq!(found, (low..=high).collect::<Vec<_>>(), "{}: {left:?}", setup.name);
                    assert!(high == last || high == last + 1, "{}: {left:?}", setup.name);
                    // Segment by segment, from the oldest on.
                    assert!(low >= first && low <= kept_from, "{}: {low}, {left:?}", setup.name);
                    images += 1;
                    ControlFlow::Continue(())
                });
            }
            assert!(append(&mut log).is_ok());
            if lost.is_some() {
                break;
            }
        }
        assert!(images > 50, "{}: {images} images", setup.name);
    }
}

/// A ring that went around more than once, so that no slot is left that is to be erased before its use.
fn turned(setup: &FlashSetup) -> Ring {
    let mut log = open(setup, setup.blank(), true, 1);
    while log.written_mark().segment.0 < 20 {
        assert!(log.append(1, &[7; 100]).is_ok());
    }
    assert!(log.sync().is_ok());
    log.lost();
    log
}

fn held(log: &Ring) -> u64 {
    log.last_sequence() - log.oldest_sequence() + 1
}

/// How many of so many appends are refused; none for another reason than want of room.
fn refused(log: &mut Ring, appends: u32) -> usize {
    let refused = (0..appends).filter(|_| log.append(1, &[7; 100]).is_err()).count();
    assert!(log.poisoned().is_none() && log.sync().is_ok());
    refused
}

fn worn_slot(log: &Ring, setup: &FlashSetup, slot: u32) {
    let start = slot * setup.slot_len;
    log.storage().device().wear_out(start..start + setup.slot_len);
}

/// Nothing could be erased any more, so no room came back; the ring gave up the next segment, and the next, until appends
/// were refused with nothing left.
#[test]
fn what_cannot_be_erased_does_not_cost_the_whole_ring() {
    let setup = FlashSetup::named("flash-4").unwrap();
    let mut log = turned(&setup);
    let before = held(&log);
    log.storage().device().wear_out(0..setup.device.len());
    let full = (0..1000).any(|_| log.append(1, &[7; 100]).is_err());
    assert!(full && log.poisoned().is_none());
    let gone = log.lost().map_or(0, |lost| lost.end() - lost.start() + 1);
    // One record a segment; the first could have been the only one that stays.
    assert_eq!(gone, 2, "of {before}");
}

/// One slot could no longer be erased. No segment was removed any more after that, and the next open failed, and each one
/// after it: the slot cost the log.
#[test]
fn a_slot_that_cannot_be_erased_costs_that_slot() {
    let setup = FlashSetup::named("flash-4").unwrap();
    for slot in 0..8 {
        let mut log = turned(&setup);
        let before = held(&log);
        worn_slot(&log, &setup, slot);
        for life in 2..5 {
            // One call may be the one that finds out.
            let refused = refused(&mut log, 300);
            assert!(refused <= 1, "slot {slot}: {refused}");
            assert_eq!(
                log.report().not_removed as usize + refused,
                1,
                "slot {slot}, life {life}"
            );
            let held = held(&log);
            assert!(held + 2 > before, "slot {slot}: {held} of {before} records");
            log = open(&setup, log.into_storage().into_device(), true, life);
        }
        if log.report().not_removed > 0 {
            assert_eq!(log.report().remove_error, Some(ErrorKind::TimedOut));
        }
    }
}

/// Two slots could no longer be erased. Each open met both and took that for two that were given up in a row, after which
/// a ring gives up no more: until something else was removed, a full ring refused every record.
#[test]
fn slots_that_an_open_cannot_erase_are_none_that_the_ring_gave_up() {
    let setup = FlashSetup::named("flash-4").unwrap();
    let mut lives = 0;
    for (first, second) in (0..8).flat_map(|first| (first + 2..8).map(move |second| (first, second))) {
        let mut log = turned(&setup);
        let chip = log.storage().device().clone();
        for slot in [first, second] {
            worn_slot(&log, &setup, slot);
            assert!(refused(&mut log, 300) <= 1, "{first} and {second}");
        }
        lives += 1;
        // A session that removes what was prepared, and makes nothing anew.
        log = open(&setup, chip.clone(), true, 2);
        let oldest = log.oldest_sequence();
        assert!(log.delete_up_to(1, oldest).and_then(|_| log.sync()).is_ok());
        log = open(&setup, chip, true, 3);
        assert_eq!(log.report().not_removed, 2, "{first} and {second}");
        assert_eq!(refused(&mut log, 300), 0, "{first} and {second}");
    }
    assert!(lives > 10, "{lives}");
}
