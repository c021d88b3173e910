//! Long random histories of many lives.

use std::time::Instant;

use walstone_tests::crash::explore::{Explorer, Failure, telling_limits};
use walstone_tests::crash::setup::{SETUPS, Setup};

use crate::Outcome;
use crate::arguments::Arguments;
use crate::exhaustive::sum_up;

pub(crate) fn run(arguments: &mut Arguments) -> Outcome {
    let (mut first, mut count, mut setups, mut until) = (1u64, 1000, Vec::new(), None);
    while let Some(name) = arguments.next() {
        match name.as_str() {
            "--seed" => first = arguments.value(&name)?,
            "--count" => count = arguments.value(&name)?,
            "--on" => setups.push(arguments.setup(&name)?),
            "--seconds" => until = Some(arguments.end(&name)?),
            _ => return Err(format!("random has no option {name}")),
        }
    }
    if setups.is_empty() {
        setups.extend(SETUPS);
    }
    let mut explorer = Explorer::new(telling_limits(1), 1);
    let start = Instant::now();
    let outcome = explore(&mut explorer, &setups, first..first + count, until);
    Ok(sum_up(&explorer, start, outcome))
}

/// Whether all seeds were explored.
fn explore(
    explorer: &mut Explorer,
    setups: &[Setup],
    seeds: std::ops::Range<u64>,
    until: Option<Instant>,
) -> Result<bool, Failure> {
    for seed in seeds {
        if until.is_some_and(|until| Instant::now() > until) {
            return Ok(false);
        }
        explorer.random(&setups[seed as usize % setups.len()], seed)?;
    }
    Ok(true)
}
