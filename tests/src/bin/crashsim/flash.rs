//! As `exhaustive`, on simulated flash and other flat devices below the slot adapter.

use std::ops::Range;

use walstone_tests::crash::explore::{Bound, Explorer, Failure, telling_limits};
use walstone_tests::crash::history::{Op, PRELUDES, Words};
use walstone_tests::flash::{Awaiting, FlashSetup, drops, setups};

use crate::Outcome;
use crate::arguments::Arguments;
use crate::exhaustive::Sum;

pub(crate) fn run(arguments: &mut Arguments) -> Outcome {
    let (mut ci, mut seed, mut chosen, mut bound) = (false, 1, Vec::new(), Bound::NONE);
    while let Some(name) = arguments.next() {
        match name.as_str() {
            "--ci" => ci = true,
            "--on" => {
                let value: String = arguments.value(&name)?;
                let setup = FlashSetup::named(&value).ok_or_else(|| format!("no device is called {value}"))?;
                chosen.push(setup);
            }
            "--seed" => seed = arguments.value(&name)?,
            "--seconds" => bound.deadline = arguments.end(&name)?,
            _ => return Err(format!("flash has no option {name}")),
        }
    }
    if chosen.is_empty() {
        chosen.extend(setups());
    }
    let mut sum = Sum::new(telling_limits(seed), bound);
    let outcome = explore(&mut sum, &chosen, ci, seed);
    Ok(sum.up(outcome))
}

/// Length of the words, how often recoveries are cut short, and whether something happened before.
type Phase = (u32, u8, bool);

const SHORT: [Phase; 3] = [(1, 1, false), (1, 0, true), (2, 0, false)];
const LONG: [Phase; 3] = [(1, 1, true), (2, 1, false), (3, 0, false)];

/// The short form, and then the rest: a run that ends early has seen something of everything.
fn explore(sum: &mut Sum, setups: &[FlashSetup], ci: bool, seed: u64) -> Result<(), Failure> {
    let creation = |explorer: &mut Explorer, setup: FlashSetup| explorer.creation(&setup);
    sum.sweep(
        "making a region on each device",
        setups.iter().copied(),
        usize::MAX,
        creation,
    )?;
    // The short form cuts recoveries on every fourth device.
    words(sum, setups, &SHORT, if ci { 4 } else { 1 })?;
    dropped_futures(sum, setups, true)?;
    histories(sum, setups, seed..seed + 500)?;
    if ci {
        return Ok(());
    }
    histories(sum, setups, seed + 500..seed + 20_000)?;
    dropped_futures(sum, setups, false)?;
    words(sum, setups, &LONG, 1)
}

fn words(sum: &mut Sum, setups: &[FlashSetup], phases: &[Phase], step_when_cut: usize) -> Result<(), Failure> {
    for &(len, cuts, prepared) in phases {
        sum.set_depth(cuts);
        let (alphabet, preludes): (&'static [Op], &'static [&'static [Op]]) = if prepared {
            (&Op::ALL, &PRELUDES)
        } else {
            (&Op::NAMED, &[&[]])
        };
        let step = if cuts > 0 { step_when_cut } else { 1 };
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
    Ok(())
}

fn histories(sum: &mut Sum, setups: &[FlashSetup], seeds: Range<u64>) -> Result<(), Failure> {
    sum.set_depth(0);
    sum.sweep("random histories", seeds, usize::MAX, |explorer, seed| {
        explorer.random(&setups[seed as usize % setups.len()], seed)
    })
}

/// The driver that is awaited: its futures dropped at every call, once and again in the recovery that follows.
fn dropped_futures(sum: &mut Sum, setups: &[FlashSetup], ci: bool) -> Result<(), Failure> {
    sum.set_depth(0);
    let making = |explorer: &mut Explorer, setup| {
        explorer.creation(&Awaiting(setup))?;
        drops(explorer, &Awaiting(setup), &[], &[], !ci)
    };
    sum.sweep("making a region, awaited", setups.iter().copied(), usize::MAX, making)?;
    let jobs = |len, preludes: &'static [&'static [Op]], step: usize| {
        // Each device behind some of the beginnings, each beginning on some of the devices.
        let pairs = setups.iter().enumerate().flat_map(move |(at, setup)| {
            let chosen = preludes
                .iter()
                .enumerate()
                .filter(move |(nth, _)| (at + nth) % step == 4 % step);
            chosen.map(move |(_, prelude)| (*setup, *prelude))
        });
        pairs.flat_map(move |(setup, prelude)| Words::new(&Op::ALL, len).all().map(move |word| (setup, prelude, word)))
    };
    let (once, twice) = if ci { (3, 6) } else { (1, 1) };
    sum.sweep(
        "futures dropped, words of 1",
        jobs(1, &PRELUDES, once),
        usize::MAX,
        |explorer, (setup, prelude, word)| drops(explorer, &Awaiting(setup), prelude, &word, false),
    )?;
    sum.sweep(
        "futures dropped, and again in the recovery, words of 1",
        jobs(1, if ci { &[&[]] } else { &PRELUDES }, twice),
        usize::MAX,
        |explorer, (setup, prelude, word)| drops(explorer, &Awaiting(setup), prelude, &word, true),
    )?;
    if ci {
        return Ok(());
    }
    sum.sweep(
        "futures dropped, words of 2",
        jobs(2, &[&[]], 1),
        usize::MAX,
        |explorer, (setup, prelude, word)| drops(explorer, &Awaiting(setup), prelude, &word, false),
    )
}
