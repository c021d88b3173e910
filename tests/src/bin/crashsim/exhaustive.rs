//! Every short word on every medium, cut at every moment; then some longer words, and long random histories.

use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use walstone_tests::crash::explore::{Bound, Explorer, Failure, full_limits, telling_limits};
use walstone_tests::crash::history::{Op, PRELUDES, Words};
use walstone_tests::crash::setup::{SETUPS, Setup};
use walstone_tests::crash::sweep::sweep;
use walstone_tests::medium::Limits;

use crate::Outcome;
use crate::arguments::Arguments;

/// Words of one length.
struct Phase {
    on: On,
    alphabet: &'static [Op],
    preludes: &'static [&'static [Op]],
    len: u32,
    /// How often a recovery is cut short.
    cuts: u8,
}

/// Which media words run on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum On {
    Main,
    Others,
    All,
}

/// The media that the longest words run on: their units are 512 and 32 bytes.
const MAIN: [&str; 2] = ["sectors", "words"];

impl On {
    fn setups(self) -> Vec<Setup> {
        let is_main = |setup: &Setup| MAIN.contains(&setup.name);
        let is_meant = |setup: &Setup| self == Self::All || is_main(setup) == (self == Self::Main);
        SETUPS.into_iter().filter(is_meant).collect()
    }
}

const fn named(on: On, len: u32, cuts: u8) -> Phase {
    Phase {
        on,
        alphabet: &Op::NAMED,
        preludes: &[&[]],
        len,
        cuts,
    }
}

/// Words behind something that happened before, and of operations beside the named ones.
const fn prepared(on: On, len: u32, cuts: u8) -> Phase {
    Phase {
        on,
        alphabet: &Op::ALL,
        preludes: &PRELUDES,
        len,
        cuts,
    }
}

const SHORT: &[Phase] = &[
    named(On::Main, 1, 1),
    named(On::Main, 2, 1),
    named(On::Others, 1, 0),
    prepared(On::All, 1, 0),
];

/// What says most of a run that ends early stands first.
const LONG: &[Phase] = &[
    named(On::Main, 1, 1),
    named(On::Main, 2, 1),
    named(On::Main, 3, 1),
    named(On::Main, 4, 0),
    named(On::Others, 1, 1),
    named(On::Others, 2, 0),
    named(On::Others, 3, 0),
    prepared(On::All, 1, 1),
    prepared(On::All, 2, 0),
];

/// Behind some of the words of 6.
const LONGEST: &[Phase] = &[named(On::Main, 4, 1), named(On::Main, 5, 0)];

/// One of so many parts of a run: each takes words of its own.
#[derive(Clone, Copy)]
struct Part {
    nth: u64,
    of: u64,
}

impl FromStr for Part {
    type Err = ();

    fn from_str(part: &str) -> Result<Self, ()> {
        let (nth, of) = part.split_once('/').ok_or(())?;
        let (nth, of): (u64, u64) = (nth.parse().map_err(drop)?, of.parse().map_err(drop)?);
        if (1..=of).contains(&nth) {
            Ok(Self { nth: nth - 1, of })
        } else {
            Err(())
        }
    }
}

pub(crate) fn run(arguments: &mut Arguments) -> Outcome {
    let (mut pairs, mut bound, mut seed) = (100_000_000, Bound::NONE, 1);
    let (mut phases, mut longest, mut part) = (LONG, LONGEST, Part { nth: 0, of: 1 });
    while let Some(name) = arguments.next() {
        match name.as_str() {
            "--ci" => (phases, longest, pairs) = (SHORT, &[], 1_000_000),
            "--pairs" => pairs = arguments.value(&name)?,
            "--most" => bound.pairs = arguments.value(&name)?,
            "--part" => part = arguments.value(&name)?,
            "--seed" => seed = arguments.value(&name)?,
            "--seconds" => bound.deadline = arguments.end(&name)?,
            _ => return Err(format!("exhaustive has no option {name}")),
        }
    }
    let mut sum = Sum::new(full_limits(seed), bound);
    let outcome = sum.explore([phases, longest], part, pairs, seed);
    Ok(sum.up(outcome))
}

/// What was explored so far, and what to say of it.
pub(crate) struct Sum {
    explorer: Explorer,
    start: Instant,
    /// Of the whole run.
    bound: Bound,
    complete: bool,
}

impl Sum {
    pub(crate) fn new(limits: Limits, bound: Bound) -> Self {
        Self {
            explorer: Explorer::new(limits, 0),
            start: Instant::now(),
            bound,
            complete: true,
        }
    }

    fn explore(
        &mut self,
        [phases, longest]: [&[Phase]; 2],
        part: Part,
        pairs: usize,
        seed: u64,
    ) -> Result<(), Failure> {
        println!("{:>12} {:>12} {:>8}", "pairs", "per second", "complete");
        if part.nth == 0 {
            self.sweep(
                "making a region on each medium",
                SETUPS.into_iter(),
                usize::MAX,
                |explorer, setup| explorer.creation(&setup),
            )?;
        }
        self.phases(phases, part)?;
        self.some(part, pairs, seed)?;
        self.phases(longest, part)?;
        let seeds = (seed..seed + 1_000_000).filter(|seed| seed % part.of == part.nth);
        let complete = self.complete;
        self.random(seeds, &SETUPS, pairs)?;
        self.forget_rest(complete);
        Ok(())
    }

    fn phases(&mut self, phases: &[Phase], part: Part) -> Result<(), Failure> {
        for phase in phases {
            self.explorer.depth = phase.cuts;
            self.sweep(
                &phase.to_string(),
                phase.words(part),
                usize::MAX,
                |explorer, (setup, prelude, word)| explorer.word(&setup, prelude, &word),
            )?;
        }
        Ok(())
    }

    /// Some words of 6: no more than half of what is left of the pairs, which is shared with the random histories.
    fn some(&mut self, part: Part, pairs: usize, seed: u64) -> Result<(), Failure> {
        let words = Words::new(&Op::NAMED, 6);
        let count = words.count() / 64;
        let setups = On::Main.setups();
        let jobs = words
            .some(count, seed)
            .skip(part.nth as usize)
            .step_by(part.of as usize)
            .flat_map(|word| setups.iter().map(move |setup| (*setup, word.clone())));
        self.explorer.depth = 0;
        let name = format!("{count} of the {} words of 6 on {}", words.count(), MAIN.join(", "));
        let (complete, left) = (self.complete, pairs.saturating_sub(self.explorer.pairs()));
        self.sweep(
            &name,
            jobs,
            self.explorer.pairs() + left / 2,
            |explorer, (setup, word)| explorer.word(&setup, &[], &word),
        )?;
        self.forget_rest(complete);
        Ok(())
    }

    /// What was done last was not meant to be complete, unless the whole run ended in it.
    fn forget_rest(&mut self, complete_before: bool) {
        self.explorer.bound = self.bound;
        self.complete = complete_before && !self.explorer.is_over();
    }

    /// Histories of so many seeds, each on one of the media.
    pub(crate) fn random(
        &mut self,
        seeds: impl Iterator<Item = u64> + Send,
        setups: &[Setup],
        pairs: usize,
    ) -> Result<(), Failure> {
        self.explorer.limits = telling_limits(self.explorer.limits.seed);
        self.sweep("random histories", seeds, pairs, |explorer, seed| {
            explorer.random(&setups[seed as usize % setups.len()], seed)
        })
    }

    /// How often recoveries are cut short from now on.
    pub(crate) const fn set_depth(&mut self, cuts: u8) {
        self.explorer.depth = cuts;
    }

    /// One kind of job, on all processors; where it ends early it says how far it came.
    pub(crate) fn sweep<J: Send>(
        &mut self,
        name: &str,
        jobs: impl Iterator<Item = J> + Send,
        pairs: usize,
        act: impl Fn(&mut Explorer, J) -> Result<(), Failure> + Sync,
    ) -> Result<(), Failure> {
        let (start, before) = (Instant::now(), self.explorer.pairs());
        self.explorer.bound = Bound {
            pairs: pairs.min(self.bound.pairs),
            ..self.bound
        };
        let (done, mut taken) = (AtomicU64::new(0), 0u64);
        let mut jobs = jobs.inspect(|_| taken += 1);
        let outcome = sweep(&mut self.explorer, jobs.by_ref(), |explorer, job| {
            act(explorer, job)?;
            done.fetch_add(u64::from(!explorer.is_cut_short()), Ordering::Relaxed);
            Ok(())
        });
        // Counts those that nobody took, too.
        jobs.for_each(drop);
        let new = self.explorer.pairs() - before;
        let complete = matches!(outcome, Ok(true));
        let rate = new as f64 / start.elapsed().as_secs_f64();
        if complete {
            println!("{new:>12} {rate:>12.0} {:>8}  {name}", "yes");
        } else {
            let (done, all) = (done.into_inner(), taken);
            println!("{new:>12} {rate:>12.0} {:>8}  {name}: {done} of {all}", "no");
        }
        self.complete &= complete;
        outcome.map(drop)
    }

    /// Says it; whether all is well.
    pub(crate) fn up(&self, outcome: Result<(), Failure>) -> bool {
        print!("{}", self.explorer.hits());
        let pairs = self.explorer.pairs();
        let rate = pairs as f64 / self.start.elapsed().as_secs_f64();
        let violations = u8::from(outcome.is_err());
        let complete = if self.complete { "yes" } else { "no" };
        if let Err(failure) = &outcome {
            println!("{failure}");
        }
        println!(
            "{pairs} distinct pairs of image and obligations, {rate:.0} per second, complete: {complete}, \
             violations: {violations}"
        );
        outcome.is_ok()
    }
}

impl Phase {
    fn words(&self, part: Part) -> impl Iterator<Item = (Setup, &'static [Op], Vec<Op>)> + Send + use<> {
        let (words, preludes) = (Words::new(self.alphabet, self.len), self.preludes);
        let setups = self.on.setups();
        words.part(part.nth, part.of).flat_map(move |word| {
            let on = |setup: Setup| preludes.iter().map(move |&prelude| (setup, prelude));
            let pairs: Vec<_> = setups.iter().copied().flat_map(on).collect();
            pairs
                .into_iter()
                .map(move |(setup, prelude)| (setup, prelude, word.clone()))
        })
    }
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let letters = self.alphabet.len();
        write!(f, "words of {} over {letters} operations, ", self.len)?;
        if self.preludes.len() > 1 {
            write!(f, "behind {} beginnings, ", self.preludes.len())?;
        }
        let names: Vec<&str> = self.on.setups().iter().map(|setup| setup.name).collect();
        write!(f, "{} cuts deep, on {}", self.cuts + 1, names.join(", "))
    }
}
