//! The crash simulator on simulated devices, as far as a test may take; `crashsim flash` goes on from here.

use walstone_core::flat::{FlatCapacity, FlatStorage};
use walstone_core::{Capacity, Error, Log, Options, Reason};
use walstone_tests::crash::explore::{Explorer, telling_limits};
use walstone_tests::crash::history::{Op, PRELUDES, Words};
use walstone_tests::crash::machine::Machine;
use walstone_tests::crash::rows::Row;
use walstone_tests::flash::{FlashSetup, setups};

#[test]
fn one_operation_on_every_device() {
    let mut explorer = Explorer::new(telling_limits(1), 0);
    for setup in setups() {
        let explored = explorer.creation(&setup).and_then(|()| {
            let mut words = PRELUDES
                .iter()
                .flat_map(|prelude| Words::new(&Op::ALL, 1).all().map(move |word| (prelude, word)));
            words.try_for_each(|(prelude, word)| explorer.word(&setup, prelude, &word))
        });
        if let Err(failure) = explored {
            panic!("{failure}");
        }
    }
    assert!(explorer.pairs() > 50_000, "{} pairs", explorer.pairs());
}

/// The one way in which a unit is programmed twice, which `format.md` tells: the same bytes, where the first program of a
/// session left no trace.
#[test]
fn only_the_first_program_of_a_session_is_repeated() {
    for setup in ["flash-1", "pages-64", "ecc-32"].map(|name| FlashSetup::named(name).unwrap()) {
        let mut explorer = Explorer::new(telling_limits(1), 1);
        if let Err(failure) = explorer.word(&setup, &[], &[Op::Durable]) {
            panic!("{failure}");
        }
        assert!(explorer.hits().of(Row::Repeated) > 0, "{}", setup.name);
    }
}

#[test]
fn random_histories() {
    let mut explorer = Explorer::new(telling_limits(1), 0);
    let setups = setups();
    for seed in 0..60 {
        if let Err(failure) = explorer.random(&setups[seed as usize % setups.len()], seed) {
            panic!("{failure}");
        }
    }
}

/// The same slot unreadable in two ways: as what a crash left it is freed, as damage to a listed segment it is named.
#[test]
fn the_manifest_decides_what_an_unreadable_slot_is() {
    let setup = FlashSetup::named("flash-4").unwrap();
    let slot_len = setup.slot_len as usize;
    let open = |chip| {
        let storage = FlatStorage::open(chip, setup.slot_len, FlatCapacity::heap(8, 64)).ok()?;
        Some(Log::open(storage, Capacity::heap(512), Options::new(7, 5)))
    };
    let chip = setup.blank();
    {
        let storage = FlatStorage::open(chip.clone(), setup.slot_len, FlatCapacity::heap(8, 64))
            .ok()
            .unwrap();
        let mut log = Log::create(storage, Capacity::heap(512), Options::new(7, 4))
            .ok()
            .unwrap();
        while log.written_mark().segment.0 < 3 {
            assert!(log.append(1, &[7; 100]).is_ok());
        }
        assert!(log.sync().is_ok());
    }
    let (mut missing, mut released) = (0, 0);
    for slot in 0..8 {
        let damaged = chip.copy();
        damaged.damage(|bytes| {
            for at in [slot * slot_len, (slot + 1) * slot_len - 64] {
                bytes[at..at + 64].fill(0x5a);
            }
        });
        let one_copy = chip.copy();
        one_copy.damage(|bytes| bytes[slot * slot_len..][..64].fill(0x5a));
        let whole = open(one_copy).unwrap();
        assert!(whole.is_ok(), "one copy of slot {slot} is enough: {:?}", whole.err());
        match open(damaged).unwrap() {
            Ok(log) => released += log.report().released_slots,
            Err(Error::Corrupt(corruption)) => {
                assert!(
                    matches!(
                        corruption.reason,
                        Reason::Missing | Reason::Manifest | Reason::SuccessorMissing
                    ),
                    "{corruption}"
                );
                missing += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    // Two listed ones, and the rest: free, prepared, or the newest, whose loss is that of an unfinished rotation.
    assert!(missing >= 2 && released >= 5, "{missing} missing, {released} released");
}
