//! Faults that are put into the log on purpose, and the checker that is to catch each: how the checkers show that they can fail.
//!
//! A fault is compiled in under `--cfg walstone_mutants` and put in at run time (`walstone_core::mutation`), one at a time. A
//! checker is caught sleeping if it visits [`MOST_STATES`] states without an alarm, or raises one where nothing was put in.
//!
//! # Faults made by a machine
//!
//! `cargo mutants` changes one operator or result after the other. Codec, frames, segments and scans (`batch`, `checksum`,
//! `frame`, `record`, `wire`, `segment/*`, `scan/*`: 733 changes) were sampled with the tests of core alone, which take seconds:
//!
//! ```text
//! cargo mutants -p walstone-core -f core/src/frame.rs .. -f 'core/src/scan/*.rs' --shard 0/8 --sharding round-robin \
//!     --features alloc,embedded-storage -- --lib --test format --test v0
//! ```
//!
//! | of 93 | |
//! |---|---|
//! | 50 | caught |
//! | 4 | run for ever: caught |
//! | 5 | do not compile |
//! | 6 | survived, and have a test since: `core/tests/batch.rs` and `errors.rs`, `tests/tests/damage/made_up.rs` |
//! | 5 | change nothing: a head buffer longer than any head, bits that are disjoint, and three guards of faults of the table |
//! | 23 | survived the tests of core, and were not tried with slower suites: layout 9, look ahead 7, scan 4, cuts 3 |
//!
//! Not sampled: the other seven parts of eight, `recover` (210 changes) and `region` (369).

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
