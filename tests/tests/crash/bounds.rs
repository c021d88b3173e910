//! A run that ends early ends at once, in the middle of what it does, and says so.

use std::time::Duration;

use walstone_core::Geometry;
use walstone_tests::crash::explore::{Bound, Explorer, telling_limits};
use walstone_tests::crash::history::Op;
use walstone_tests::crash::setup::Setup;
use walstone_tests::crash::sweep::sweep;
use walstone_tests::damage::{self, sweep::Sweep};
use walstone_tests::deadline::Deadline;
use walstone_tests::faults::{Act, Tally, backend};
use walstone_tests::files::explore::Known;
use walstone_tests::files::life::SMALL;
use walstone_tests::files::survivors::Limits;
use walstone_tests::files::sweep::{Plan, explore, words};
use walstone_tests::images;

fn now() -> Deadline {
    Deadline::in_time(Duration::ZERO)
}

/// Sweeps one word within a bound; whether it came to its end, and the pairs that it met.
fn one_word(bound: Bound) -> (bool, usize) {
    let setup = Setup::named("sectors").expect("the medium is known");
    let mut explorer = Explorer::new(telling_limits(1), 1);
    explorer.bound = bound;
    let word = [Op::Batch, Op::Durable];
    let swept = sweep(&mut explorer, [word].into_iter(), |explorer, word| {
        explorer.word(&setup, &[], &word)
    });
    (swept.expect("nothing is wrong"), explorer.pairs())
}

#[test]
fn a_word_is_left_in_its_middle_once_there_are_enough_pairs() {
    let (whole, all) = one_word(Bound::NONE);
    assert!(whole && all > 40);
    let pairs = 20;
    assert_eq!(one_word(Bound { pairs, ..Bound::NONE }), (false, pairs));
    let deadline = now();
    assert_eq!(
        one_word(Bound {
            deadline,
            ..Bound::NONE
        }),
        (false, 0)
    );
}

/// The history of one word was explored to its end whatever the time: with a large record past the page cache that is hours.
#[test]
fn a_history_of_files_is_left_in_its_middle_once_the_time_is_over() {
    let plan = Plan {
        limits: Limits::SHORT,
        lie: None,
        threads: 2,
        deadline: now(),
    };
    let known = Known::default();
    let summary = explore(&words(SMALL, 1, 0), &plan, &known).expect("nothing was looked at");
    assert!(!summary.is_complete());
    assert_eq!((summary.tally.words, summary.tally.states, known.count()), (0, 0, 0));
}

#[test]
fn damages_and_faults_that_there_was_no_time_for_are_counted() {
    let image = images::many_sessions(Geometry::new(1536).expect("a small geometry"), true);
    let damages = damage::sectors_lost(&image, 64);
    let mut sweep = Sweep::new(&image);
    sweep.deadline = now();
    let tally = sweep.run(&damages);
    assert_eq!((tally.cases, tally.left_out), (0, damages.len() as u64));
    assert!(tally.to_string().contains("complete: no"), "{tally}");

    let tally = backend::of_word(SMALL, &[&[Act::Small]], now());
    let ways = tally.left_out;
    assert_eq!((tally.pairs, ways > 0), (0, true));
    let mut all = Tally::default();
    assert!(all.to_string().contains("complete: yes"), "{all}");
    all.add(tally);
    assert_eq!(all.left_out, ways);
    assert!(all.to_string().contains("complete: no"), "{all}");
}
