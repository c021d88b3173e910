//! Every word up to a length on every medium, cut at every moment.

use std::time::Instant;

use walstone_tests::crash::explore::{Explorer, Failure, telling_limits};
use walstone_tests::crash::history::{Op, PRELUDES, Words};
use walstone_tests::crash::setup::{SETUPS, Setup};

use crate::Outcome;
use crate::arguments::Arguments;

pub(crate) fn run(arguments: &mut Arguments) -> Outcome {
    let (mut len, mut deep, mut setups, mut until) = (3, 1, Vec::new(), None);
    while let Some(name) = arguments.next() {
        match name.as_str() {
            "--depth" => len = arguments.value(&name)?,
            "--deep" => deep = arguments.value(&name)?,
            "--on" => setups.push(arguments.setup(&name)?),
            "--seconds" => until = Some(arguments.end(&name)?),
            _ => return Err(format!("exhaustive has no option {name}")),
        }
    }
    if setups.is_empty() {
        setups.extend(SETUPS);
    }
    let mut explorer = Explorer::new(telling_limits(1), deep);
    let start = Instant::now();
    let outcome = explore(&mut explorer, &setups, len, until);
    Ok(sum_up(&explorer, start, outcome))
}

/// Whether everything was explored.
fn explore(explorer: &mut Explorer, setups: &[Setup], len: usize, until: Option<Instant>) -> Result<bool, Failure> {
    setups.iter().try_for_each(|setup| explorer.creation(setup))?;
    for len in 1..=len {
        for setup in setups {
            for prelude in PRELUDES {
                for word in Words::new(&Op::ALL, len) {
                    if until.is_some_and(|until| Instant::now() > until) {
                        return Ok(false);
                    }
                    explorer.word(setup, prelude, &word)?;
                }
            }
        }
        println!("words of {len}: {} pairs", explorer.pairs());
    }
    Ok(true)
}

pub(crate) fn sum_up(explorer: &Explorer, start: Instant, outcome: Result<bool, Failure>) -> bool {
    for (outcome, hits) in explorer.hits() {
        println!("{outcome}: {hits}");
    }
    let pairs = explorer.pairs();
    println!("{pairs} distinct pairs of image and obligations");
    println!("{:.0} pairs per second", pairs as f64 / start.elapsed().as_secs_f64());
    match outcome {
        Ok(complete) => {
            println!("complete: {}", if complete { "yes" } else { "no" });
            true
        }
        Err(failure) => {
            println!("complete: no\nfailed: {failure}");
            false
        }
    }
}
