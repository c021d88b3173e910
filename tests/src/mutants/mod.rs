//! Faults that are put into the log on purpose, and the checker that is to catch each: how the checkers show that they can fail.
//!
//! A fault is compiled in under `--cfg walstone_mutants` and put in at run time (`walstone_core::mutation`), one at a time. A
//! checker is caught sleeping if it visits [`MOST_STATES`] states without an alarm, or raises one where nothing was put in.

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
