//! Long random histories of many lives.

use walstone_tests::crash::explore::{Bound, full_limits};
use walstone_tests::crash::setup::SETUPS;

use crate::Outcome;
use crate::arguments::Arguments;
use crate::exhaustive::Sum;

pub(crate) fn run(arguments: &mut Arguments) -> Outcome {
    let (mut first, mut count, mut setups, mut bound) = (1u64, 1000, Vec::new(), Bound::NONE);
    while let Some(name) = arguments.next() {
        match name.as_str() {
            "--seed" => first = arguments.value(&name)?,
            "--count" => count = arguments.value(&name)?,
            "--on" => setups.push(arguments.setup(&name)?),
            "--seconds" => bound.deadline = arguments.end(&name)?,
            _ => return Err(format!("random has no option {name}")),
        }
    }
    if setups.is_empty() {
        setups.extend(SETUPS);
    }
    let mut sum = Sum::new(full_limits(first), bound);
    let outcome = sum.random(first..first + count, &setups, usize::MAX);
    Ok(sum.up(outcome))
}
