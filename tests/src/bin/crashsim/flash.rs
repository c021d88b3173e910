//! As `exhaustive`, on simulated flash and other flat devices below the slot adapter.

use walstone_tests::crash::explore::{Explorer, Failure, telling_limits};
use walstone_tests::crash::history::{Op, PRELUDES, Words};
use walstone_tests::flash::{FlashSetup, setups};

use crate::Outcome;
use crate::arguments::Arguments;
use crate::exhaustive::Sum;

pub(crate) fn run(arguments: &mut Arguments) -> Outcome {
    let (mut ci, mut seed, mut chosen, mut until) = (false, 1, Vec::new(), None);
    while let Some(name) = arguments.next() {
        match name.as_str() {
            "--ci" => ci = true,
            "--on" => {
                let value: String = arguments.value(&name)?;
                let setup = FlashSetup::named(&value).ok_or_else(|| format!("no device is called {value}"))?;
                chosen.push(setup);
            }
            "--seed" => seed = arguments.value(&name)?,
            "--seconds" => until = Some(arguments.end(&name)?),
            _ => return Err(format!("flash has no option {name}")),
        }
    }
    if chosen.is_empty() {
        chosen.extend(setups());
    }
    let mut sum = Sum::with_limits(telling_limits(seed), until);
    let outcome = explore(&mut sum, &chosen, ci, seed);
    Ok(sum.up(outcome))
}

fn explore(sum: &mut Sum, setups: &[FlashSetup], ci: bool, seed: u64) -> Result<(), Failure> {
    let creation = |explorer: &mut Explorer, setup: FlashSetup| explorer.creation(&setup);
    sum.sweep(
        "making a region on each device",
        setups.iter().copied(),
        usize::MAX,
        creation,
    )?;
    // Length of the words, how often recoveries are cut short, and whether something happened before.
    let phases: &[(u32, u8, bool)] = if ci {
        &[(1, 1, false), (1, 0, true), (2, 0, false)]
    } else {
        &[(1, 1, true), (2, 1, false), (3, 0, false)]
    };
    for &(len, cuts, prepared) in phases {
        sum.set_depth(cuts);
        let (alphabet, preludes): (&'static [Op], &'static [&'static [Op]]) = if prepared {
            (&Op::ALL, &PRELUDES)
        } else {
            (&Op::NAMED, &[&[]])
        };
        // The short form cuts recoveries on every fourth device.
        let step = if ci && cuts > 0 { 4 } else { 1 };
        let jobs = setups.iter().step_by(step).flat_map(|&setup| {
            let words = Words::new(alphabet, len).all();
            words.flat_map(move |word| preludes.iter().map(move |&prelude| (setup, prelude, word.clone())))
        });
        let name = format!(
            "words of {len}, {} cuts deep, on {} devices",
            cuts + 1,
            setups.len().div_ceil(step)
        );
        sum.sweep(&name, jobs, usize::MAX, |explorer, (setup, prelude, word)| {
            explorer.word(&setup, prelude, &word)
        })?;
    }
    let count = if ci { 500 } else { 20_000 };
    sum.sweep("random histories", seed..seed + count, usize::MAX, |explorer, seed| {
        explorer.random(&setups[seed as usize % setups.len()], seed)
    })
}
