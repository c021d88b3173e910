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
//! What survived those ran against `crashsim exhaustive --most 60000` and `crashsim random --count 100` as well, some seconds
//! each, and was read. Not tried: `crashsim flash`, `flips` and `faults`, nor the sweeps of `damage`, `flat` and `crash` that
//! take minutes.
//!
//! Columns: changes; do not compile; not run (constants, and what prints); caught (some by running for ever); caught by tests
//! written since; caught by `crashsim`; in conditions that decided nothing, and are gone since; change nothing.
//!
//! | | changes | no build | not run | caught | since | crashsim | gone | nothing |
//! |---|---|---|---|---|---|---|---|---|
//! | `recover` | 223 | 18 | 0 | 155 | 34 | 7 | 5 | 4 |
//! | `region` | 379 | 40 | 2 | 281 | 40 | 0 | 2 | 14 |
//! | `scan` | 286 | 22 | 0 | 216 | 24 | 2 | 2 | 20 |
//! | `segment` | 197 | 7 | 2 | 151 | 28 | 0 | 0 | 9 |
//! | `frame`, `record`, `wire` | 204 | 18 | 7 | 169 | 2 | 0 | 0 | 8 |
//! | `batch`, `checksum` | 62 | 7 | 3 | 52 | 0 | 0 | 0 | 0 |
//! | `voids`, `tables` | 109 | 11 | 7 | 75 | 8 | 0 | 0 | 8 |
//! | `facts` | 224 | 15 | 9 | 143 | 53 | 0 | 0 | 4 |
//! | `engine` | 87 | 23 | 0 | 51 | 9 | 0 | 3 | 1 |
//! | all | 1771 | 161 | 30 | 1293 | 198 | 9 | 12 | 68 |
//!
//! Since: the places of a segment, footers and the least buffer by `core/tests/format.rs`; manifests, reports, the limits of
//! facts and what hosts do beside the log by `core/tests/region.rs`; made-up records and what is met behind the end by
//! `tests/tests/damage/made_up.rs`; slots that do not go and where a session begins by `tests/tests/engine/opening.rs`;
//! spares, their claims and the limits of a list by `tests/tests/engine/room.rs`; a torn seal by `engine`'s regressions.
//!
//! Gone: one count in place of a sum of three that bounded what an open releases (4); whether a manifest that heals above the
//! newest segment is told at once or at the end of its walk (1); whether a refused deletion reclaims first, and whether a
//! session in a new segment syncs (2); what a candidate at the end itself proves, and the reason of a damaged manifest payload
//! (2); the item that records of a batch with deletions need (3). Of those below that change nothing, some stood in conditions
//! that went as well.
//!
//! Change nothing, as far as reading tells:
//!
//! * Bits that are disjoint, joined by `^` in place of `|`: 9.
//! * Bounds at which both arms give the same, or that are never met: 21.
//! * Guards of the faults of [`table`], which are not compiled in: 17.
//! * Counters of the tests' own: 4.
//! * Shortcuts that only save work (`ready_at`, erased runs, when deleted ranges are joined, what is looked at before a header
//!   is decoded, a listing or settling that finds nothing): 15.
//! * Which of several cuts is taken first, and whether the walk starts anew for one (`candidate`, `decide`): 2. It ends with
//!   the same cuts, after one round more or less.
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
