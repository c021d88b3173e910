//! Faults that are put in on purpose, so that the checkers of the test suite can show that they catch them: as those of
//! [`walstone_core::mutation`], for what only this backend does.

#[cfg(walstone_mutants)]
use std::sync::atomic::{AtomicU8, Ordering};

/// One fault. The name says what is done in place of what is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mutation {
    /// A write that transferred a part counts as done.
    SwallowShortWrite = 1,
    /// Who waits for a sync is answered without one.
    SkipGroupSync,
}

/// The fault of this process: 0, or one of [`Mutation`].
#[cfg(walstone_mutants)]
static PRESENT: AtomicU8 = AtomicU8::new(0);

/// Puts a fault in, or takes it out again.
#[cfg(walstone_mutants)]
pub fn put_in(mutation: Option<Mutation>) {
    PRESENT.store(mutation.map_or(0, |mutation| mutation as u8), Ordering::Relaxed);
}

/// Whether this fault was put in.
#[cfg(walstone_mutants)]
pub(crate) fn is(mutation: Mutation) -> bool {
    PRESENT.load(Ordering::Relaxed) == mutation as u8
}

/// Whether this fault was put in.
#[cfg(not(walstone_mutants))]
#[inline(always)]
pub(crate) const fn is(_: Mutation) -> bool {
    false
}
