//! Short words exhaustively, long histories at random.

use std::collections::HashSet;

use walstone_tests::crash::history::{Op, PRELUDES, Words, shrink};
use walstone_tests::crash::pairs::Pairs;
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
        Row::SeveralSegments,
        Row::WentOn,
        Row::NewSegment,
    ];
    // A removal that a crash kept from its end takes a reclaim and a sync.
    let removed = (len > 1).then_some(Row::Removed);
    for row in rows.into_iter().chain(removed) {
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

#[test]
fn a_history_that_fails_is_shrunk_to_what_it_takes() {
    // Fails wherever a 3 comes somewhere before a 7.
    let fails = |steps: &[u32]| {
        let three = steps.iter().position(|&step| step == 3)?;
        steps[three..].contains(&7).then_some(())
    };
    let steps: Vec<u32> = (0..50).collect();
    assert_eq!(shrink(&steps, fails), (vec![3, 7], Some(())));
    assert_eq!(shrink(&[3, 7], fails), (vec![3, 7], None), "nothing can be left out");
}

#[test]
fn some_words_of_all_are_each_another_one() {
    let words = Words::new(&Op::NAMED, 3);
    let all: HashSet<Vec<Op>> = words.all().collect();
    assert_eq!(all.len() as u64, words.count());
    for seed in 0..4 {
        let some: HashSet<Vec<Op>> = words.some(words.count(), seed).collect();
        assert_eq!(some, all);
    }
}

#[test]
fn the_parts_of_all_words_hold_each_word_once() {
    let words = Words::new(&Op::NAMED, 3);
    for of in [1, 2, 5, 97, 200] {
        let mut all: Vec<Vec<Op>> = (0..of).flat_map(|nth| words.part(nth, of)).collect();
        all.sort_unstable();
        let mut expected: Vec<Vec<Op>> = words.all().collect();
        expected.sort_unstable();
        assert_eq!(all, expected, "in {of} parts");
    }
}

#[test]
fn a_pair_counts_once_however_deep_it_is_explored() {
    let pairs = Pairs::default();
    assert!(pairs.insert(5, 0));
    assert!(!pairs.insert(5, 0));
    assert!(pairs.insert(5, 1), "deeper than before");
    assert!(!pairs.insert(5, 1));
    assert!(pairs.insert(6, 1));
    assert!(!pairs.insert(6, 0), "deeper already");
    assert_eq!(pairs.len(), 2);
}
