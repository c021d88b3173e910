//! Short words exhaustively, long histories at random.

use walstone_tests::crash::history::{Op, PRELUDES, Words};
use walstone_tests::crash::rows::Row;
use walstone_tests::crash::setup::{SETUPS, Setup};

use crate::check;

/// Every word of one length behind every prelude, recovery cut short `depth` times.
fn all_words(setup: &Setup, len: u32, depth: u8) {
    let explorer = check(depth, |explorer| {
        for prelude in PRELUDES {
            Words::new(&Op::ALL, len)
                .all()
                .try_for_each(|word| explorer.word(setup, prelude, &word))?;
        }
        Ok(())
    });
    // What was never met was not tested.
    let rows = [
        Row::Clean,
        Row::Closed,
        Row::Torn,
        Row::Settled,
        Row::Removed,
        Row::SeveralSegments,
        Row::WentOn,
        Row::NewSegment,
    ];
    for row in rows {
        assert!(explorer.hits().of(row) > 0, "not met: {row}");
    }
}

fn named(name: &str) -> Setup {
    Setup::named(name).expect("the medium is known")
}

#[test]
fn a_crash_while_a_region_is_made_leaves_nothing_or_all_of_it() {
    for setup in &SETUPS {
        check(0, |explorer| explorer.creation(setup));
    }
}

#[test]
fn one_operation_cut_anywhere_with_its_recovery_cut_anywhere() {
    all_words(&named("flash"), 1, 1);
}

#[test]
fn one_operation_cut_anywhere_on_every_medium() {
    for setup in &SETUPS {
        all_words(setup, 1, 0);
    }
}

#[test]
fn two_operations_cut_anywhere() {
    all_words(&named("sectors"), 2, 0);
}

#[test]
fn long_histories_of_several_lives_and_failing_syncs() {
    let explorer = check(0, |explorer| {
        (1..=160).try_for_each(|seed| explorer.random(&SETUPS[seed as usize % SETUPS.len()], seed))
    });
    for row in [Row::Crashed, Row::Poisoned, Row::NewSegment, Row::Released, Row::Healed] {
        assert!(explorer.hits().of(row) > 0, "not met: {row}");
    }
}
