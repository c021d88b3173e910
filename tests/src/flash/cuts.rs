//! What a loss of power may leave of the steps since the last sync.

use std::fmt;
use std::ops::ControlFlow;

use super::{Cells, State, Step, Torn, TornErase};
use crate::images::Random;
use crate::medium::Limits;

/// Which of the pending steps were kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kept {
    /// Those whose bit is set.
    Bits(u64),
    /// The first so many.
    First(usize),
    /// All but the first so many.
    Last(usize),
    /// All but one.
    Without(usize),
    /// One.
    Only(usize),
    /// Half of them, by this seed.
    Random(u64),
    /// One is torn, those before it are kept, and those behind it if `all`.
    Torn {
        /// The one.
        at: usize,
        /// How.
        how: usize,
        /// Whether later ones are kept.
        all: bool,
    },
    /// One and what follows on it are torn at once, as the bytes of a page are that is programmed as a whole.
    Run(usize),
    /// None, or all of them; and what an earlier loss of power left half way reads as something else.
    Wavers {
        /// Whether they are kept.
        all: bool,
    },
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bits(bits) => write!(f, "kept {bits:#b}"),
            Self::First(count) => write!(f, "kept the first {count}"),
            Self::Last(from) => write!(f, "kept from {from} on"),
            Self::Without(at) => write!(f, "lost {at}"),
            Self::Only(at) => write!(f, "kept {at} alone"),
            Self::Random(seed) => write!(f, "kept half, seed {seed}"),
            Self::Run(at) => write!(f, "torn from {at} on"),
            Self::Wavers { all } => write!(f, "half of an earlier one wavers, kept: {all}"),
            Self::Torn { at, how, all } => write!(f, "torn {at} in way {how}, later ones kept: {all}"),
        }
    }
}

impl Kept {
    fn holds(self, index: usize) -> bool {
        match self {
            Self::Bits(bits) => bits >> index & 1 == 1,
            Self::First(count) => index < count,
            Self::Last(from) => index >= from,
            Self::Without(at) => index != at,
            Self::Only(at) => index == at,
            Self::Random(seed) => Random::new(seed ^ (index as u64) << 5).below(97).is_multiple_of(2),
            Self::Run(at) => index < at,
            Self::Wavers { all } => all,
            Self::Torn { at, all, .. } => index < at || (all && index > at),
        }
    }
}

/// Up to `count` places below `len`, evenly spread.
fn places(len: usize, count: usize) -> impl Iterator<Item = usize> {
    let taken = len.min(count);
    (0..taken).map(move |place| place * len / taken.max(1))
}

/// How often a step can be torn differently.
const fn ways(step: &Step) -> usize {
    match step {
        Step::Program { .. } => Torn::all(0).len(),
        Step::Erase { .. } => TornErase::all(0).len(),
        Step::TornProgram { .. } | Step::TornErase { .. } => 0,
    }
}

/// All combinations that are looked at.
fn combinations(pending: &[Step], limits: &Limits) -> Vec<Kept> {
    let len = pending.len();
    let mut all = Vec::new();
    if len <= limits.exhaustive {
        all.extend((0..1 << len).map(Kept::Bits));
    } else {
        all.extend([Kept::First(0), Kept::Last(0)]);
        for at in places(len, limits.places) {
            all.extend([Kept::First(at), Kept::Last(at), Kept::Without(at), Kept::Only(at)]);
        }
        all.extend((0..limits.random as u64).map(|nth| Kept::Random(limits.seed.wrapping_add(nth))));
    }
    if limits.torn {
        for at in places(len, limits.places) {
            for how in 0..ways(&pending[at]) {
                all.push(Kept::Torn { at, how, all: false });
                if at + 1 < len {
                    all.push(Kept::Torn { at, how, all: true });
                }
            }
            if run(pending, at) > 1 {
                all.push(Kept::Run(at));
            }
        }
    }
    all
}

/// How many steps follow each other without a gap from one on, as those of one program do.
fn run(pending: &[Step], from: usize) -> usize {
    let mut end = None;
    let follows = |step: &&Step| match step {
        Step::Program { offset, bytes, .. } => {
            let behind = end.replace(offset + bytes.len() as u32);
            behind.is_none_or(|end| end == *offset)
        }
        _ => false,
    };
    pending[from..].iter().take_while(follows).count()
}

impl State {
    /// Shows everything that is looked at of what a loss of power may leave now.
    pub(super) fn survivors(
        &self,
        limits: &Limits,
        visit: &mut dyn FnMut(Cells, Kept) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut all = combinations(&self.pending, limits);
        if limits.torn && !self.synced.are_steady() {
            all.extend([false, true].map(|all| Kept::Wavers { all }));
        }
        let run_of = |at: usize| at..at + run(&self.pending, at);
        for kept in all {
            let mut cells = self.synced.clone();
            if let Kept::Wavers { .. } = kept {
                cells.waver(limits.seed);
            }
            let mut whole = true;
            for (index, step) in self.pending.iter().enumerate() {
                match (kept, step) {
                    (Kept::Torn { at, how, .. }, Step::Program { offset, bytes, first }) if at == index => {
                        cells.tear(*offset, bytes, Torn::all(limits.seed)[how], *first);
                        whole = false;
                    }
                    (Kept::Torn { at, how, .. }, Step::Erase { offset }) if at == index => {
                        cells.tear_erase(*offset, TornErase::all(limits.seed)[how]);
                        whole = false;
                    }
                    (Kept::Run(at), Step::Program { offset, bytes, first }) if run_of(at).contains(&index) => {
                        cells.tear(*offset, bytes, Torn::Noise(limits.seed), *first);
                        whole = false;
                    }
                    // What left no trace was the last that began: where an earlier one is lost, it never did.
                    _ if kept.holds(index) && (whole || !cells.is_traceless(step)) => cells.apply(step),
                    _ => whole = false,
                }
            }
            visit(cells, kept)?;
        }
        ControlFlow::Continue(())
    }
}
