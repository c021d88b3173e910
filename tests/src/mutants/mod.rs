//! Faults that are put into the log on purpose, and the checker that is to catch each: how the checkers show that they can fail.
//!
//! A fault is compiled in under `--cfg walstone_mutants` and put in at run time (`walstone_core::mutation`), one at a time. A
//! checker is caught sleeping if it visits [`MOST_STATES`] states without an alarm, or raises one where nothing was put in.
//!
//! # Faults made by a machine
//!
//! `cargo mutants` changes one operator or result after the other. All of its changes of batch, frame, scan, recovery and
//! region were tried, at the commit `9f0a779`, with tests that take seconds. The log and the tests of core alone take 15 s of
//! processor time to build; so what `cargo mutants --list --json` names was compiled in at once, each change behind a number
//! that is chosen at run time, and each ran only against the tests that come by it, the fastest first: the tests of core,
//! `engine`, then `damage`, `flat` and `storages` as far as a test takes seconds. One change alone:
//!
//! ```text
//! cargo mutants -p walstone-core --features alloc,embedded-storage -F 'replace < with <= in Layout::void_frames' -- --test format
//! ```
//!
//! Columns: changes; do not compile; not run (constants, and what prints); caught (some by running for ever); survived and
//! killed since; change nothing; survived.
//!
//! | | changes | no build | not run | caught | killed | nothing | survived |
//! |---|---|---|---|---|---|---|---|
//! | `recover` | 223 | 18 | 0 | 155 | 0 | 0 | 50 |
//! | `region` | 379 | 40 | 2 | 281 | 0 | 6 | 50 |
//! | `scan` | 286 | 22 | 0 | 216 | 11 | 19 | 18 |
//! | `segment` | 197 | 7 | 2 | 151 | 27 | 8 | 2 |
//! | `frame`, `record`, `wire` | 204 | 18 | 7 | 169 | 1 | 7 | 2 |
//! | `batch`, `checksum` | 62 | 7 | 3 | 52 | 0 | 0 | 0 |
//! | `voids`, `tables` | 109 | 11 | 7 | 75 | 0 | 9 | 7 |
//! | `facts` | 224 | 15 | 9 | 143 | 0 | 6 | 51 |
//! | `engine` | 87 | 23 | 0 | 51 | 0 | 1 | 12 |
//! | all | 1771 | 161 | 30 | 1293 | 39 | 56 | 192 |
//!
//! Killed since: the places of a segment by `core/tests/format.rs`, made-up records and what is met behind the end by
//! `tests/tests/damage/made_up.rs`.
//!
//! Change nothing, as far as reading tells:
//!
//! * Bits that are disjoint, joined by `^` in place of `|`: 9.
//! * Bounds at which both arms give the same, or that are never met: 13.
//! * Guards of the faults of [`table`], which are not compiled in: 17.
//! * Counters of the tests' own: 4.
//! * Shortcuts that only save work (`ready_at`, block starts, erased runs, when deleted ranges are joined, what is looked at
//!   before a header is decoded): 13.
//!
//! Survived, by what would have to be tried; none was tried with the long sweeps, which take minutes each, nor looked at one
//! by one:
//!
//! * `region`: what two spares and facts at their limit need, and what a host asks that creates ahead: full storages of many
//!   sizes, `crashsim random`, and the std backend.
//! * `recover`: what an interrupted create leaves, slots that are released, manifests that verify and lie: `flat` at length,
//!   `damage` on hostile images, `crashsim exhaustive`.
//! * `scan`: the bounds of the look ahead and of made-up frames: `damage` on hostile and random images.
//! * `facts`: how long a footer may get in little room, and whether its index is used: `flat` with lent room, and counted
//!   reads.
//! * `engine`, `voids`, `tables`, `record`, `segment`: calls of hosts that perform the steps themselves, ranges in lent room.
//!
//! The tests that nothing had made fail were seen to: all of `core/tests/{batch,errors,lent}.rs`, the tests of
//! what is removed in `engine`, and the shifted device of `flat`.

pub mod checkers;
pub mod made_up;
pub mod table;

use std::fmt;

pub use checkers::Checker;
pub use table::TABLE;

use walstone_core::mutation::Mutation;

use crate::files::lie::Lie;

/// A checker must have caught its fault before so many states.
pub const MOST_STATES: u64 = 1_000_000;

/// What is put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Into the engine.
    Core(Mutation),
    /// Into the std backend.
    Std(walstone::mutation::Mutation),
    /// Below the std backend, into the disk: a sync that is said to be done.
    Disk(Lie),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Core(mutation) => fmt::Debug::fmt(mutation, f),
            Self::Std(mutation) => fmt::Debug::fmt(mutation, f),
            Self::Disk(lie) => write!(f, "lie:{lie:?}"),
        }
    }
}

/// Puts a fault into the engine of this process. False where faults were not compiled in.
#[must_use]
pub fn put_in(fault: Fault) -> bool {
    #[cfg(walstone_mutants)]
    match fault {
        Fault::Core(mutation) => walstone_core::mutation::put_in(Some(mutation)),
        Fault::Std(mutation) => walstone::mutation::put_in(Some(mutation)),
        Fault::Disk(_) => {}
    }
    cfg!(walstone_mutants) || matches!(fault, Fault::Disk(_))
}

/// A fault and who is to notice it.
#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    /// The fault.
    pub fault: Fault,
    /// Who is to notice.
    pub checker: Checker,
}

impl Fault {
    /// What the disk lies about.
    #[must_use]
    pub const fn lie(self) -> Option<Lie> {
        match self {
            Self::Disk(lie) => Some(lie),
            Self::Core(_) | Self::Std(_) => None,
        }
    }
}
