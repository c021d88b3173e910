//! Many histories, shared out among threads.

use std::io;
use std::ops::AddAssign;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::explore::{Explorer, Failure, Known, Tally};
use super::lie::Lie;
use super::life::{Op, PRELUDES, Setup};
use super::survivors::Limits;
use crate::deadline::Deadline;

/// One history to explore.
#[derive(Clone, Debug)]
pub struct History {
    /// What it runs with.
    pub setup: Setup,
    /// What is done before.
    pub prelude: &'static [Op],
    /// What is explored: the last operation, or all of them.
    pub word: Vec<Op>,
    /// All of them.
    pub all: bool,
    /// How often each recovery is cut short in turn.
    pub depth: u8,
}

/// How to go about it.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Which states of each crash are looked at.
    pub limits: Limits,
    /// What the disk lies about.
    pub lie: Option<Lie>,
    /// Explorers side by side.
    pub threads: usize,
    /// When to end, whatever is left.
    pub deadline: Deadline,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// What was explored.
    pub tally: Tally,
    /// There was time for all histories.
    pub finished: bool,
}

impl Summary {
    /// Every state of every crash of every history was looked at.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.finished && self.tally.sampled == 0
    }
}

impl AddAssign for Summary {
    fn add_assign(&mut self, other: Self) {
        self.tally += other.tally;
        self.finished &= other.finished;
    }
}

/// Every word of one length behind every prelude.
#[must_use]
pub fn words(setup: Setup, len: usize, depth: u8) -> Vec<History> {
    let count = Op::ALL.len();
    let behind = |prelude: &'static [Op]| {
        (0..count.pow(len as u32)).map(move |number| History {
            setup,
            prelude,
            word: (0..len as u32)
                .rev()
                .map(|digit| Op::ALL[number / count.pow(digit) % count])
                .collect(),
            all: false,
            depth,
        })
    };
    PRELUDES.iter().flat_map(|prelude| behind(prelude)).collect()
}

/// The shortest histories in which each kind of sync counts: those of an operation at most, and the removal of what an
/// unclean end left behind, cut short: that comes with the first sync of the next session.
#[must_use]
pub fn telling(setup: Setup) -> Vec<History> {
    let mut deep = words(setup, 1, 1);
    deep.retain(|history| history.word == [Op::Sync] && history.prelude.contains(&Op::Reopen));
    (0..=1).flat_map(|len| words(setup, len, 0)).chain(deep).collect()
}

/// Histories of `len` operations behind a large record, which sends several writes on their way in `setup`.
#[must_use]
pub fn behind_large(setup: Setup, len: usize, depth: u8) -> Vec<History> {
    let mut histories = words(setup, len + 1, depth);
    histories.retain(|history| history.prelude.is_empty() && history.word[0] == Op::Large);
    histories.iter_mut().for_each(|history| history.all = true);
    histories
}

/// Random words, each operation of which is explored.
#[must_use]
pub fn random(setup: Setup, seed: u64, count: usize, len: usize, depth: u8) -> Vec<History> {
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut op = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        Op::ALL[(random % Op::ALL.len() as u64) as usize]
    };
    let history = |_| History {
        setup,
        prelude: PRELUDES[0],
        word: (0..len).map(|_| op()).collect(),
        all: true,
        depth,
    };
    (0..count).map(history).collect()
}

/// Explores them all, but no pair that is known.
///
/// # Errors
/// The first [`Failure`].
///
/// # Panics
/// Where the system gives no directory.
pub fn explore(histories: &[History], plan: &Plan, known: &Known) -> Result<Summary, Failure> {
    let next = AtomicUsize::new(0);
    let stopped = AtomicBool::new(false);
    let work = || -> io::Result<Result<Tally, Failure>> {
        let mut explorer = Explorer::new(known, plan.limits, plan.lie)?;
        explorer.deadline = plan.deadline;
        while !stopped.load(Ordering::Relaxed) {
            let Some(history) = histories.get(next.fetch_add(1, Ordering::Relaxed)) else {
                break;
            };
            let History {
                setup,
                prelude,
                word,
                all,
                depth,
            } = history;
            if let Err(failure) = explorer.word(*setup, prelude, word, *all, *depth) {
                stopped.store(true, Ordering::Relaxed);
                return Ok(Err(failure));
            }
            if plan.deadline.has_passed() {
                stopped.store(true, Ordering::Relaxed);
            }
        }
        Ok(Ok(explorer.tally()))
    };
    let outcomes: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..plan.threads.max(1)).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .map(|worker| worker.join().expect("a panic of the log is caught"))
            .collect()
    });
    let mut tally = Tally::default();
    for outcome in outcomes {
        tally += outcome.expect("a directory to work in")?;
    }
    Ok(Summary {
        tally,
        finished: !stopped.into_inner(),
    })
}
