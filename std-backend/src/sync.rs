//! Locks, atomics and time as group commit and readers use them. With `--cfg walstone_loom` the unit tests get those
//! of a model checker instead, which takes every turn that threads may take.

#[cfg(not(all(test, walstone_loom)))]
mod chosen {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
    pub(crate) use std::thread::yield_now;
    pub(crate) use std::time::Instant;
}

#[cfg(all(test, walstone_loom))]
mod chosen {
    use std::cell::Cell;
    use std::ops::Sub;
    use std::time::Duration;

    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
    pub(crate) use loom::thread::yield_now;

    /// What a look at the clock takes: a few looks use a leader's patience up, so that models end.
    const LOOK: Duration = Duration::from_micros(25);

    thread_local! {
        /// All threads of a model are one thread of the system; models beside it have clocks of their own.
        static LOOKS: Cell<u32> = const { Cell::new(0) };
    }

    /// A clock that the schedule alone moves on: the same turns see the same time.
    #[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
    pub(crate) struct Instant(u32);

    impl Instant {
        pub(crate) fn now() -> Self {
            Self(LOOKS.replace(LOOKS.get().wrapping_add(1)))
        }

        pub(crate) fn elapsed(&self) -> Duration {
            Self::now() - *self
        }
    }

    impl Sub for Instant {
        type Output = Duration;

        fn sub(self, earlier: Self) -> Duration {
            LOOK * self.0.wrapping_sub(earlier.0)
        }
    }
}

pub(crate) use chosen::*;
