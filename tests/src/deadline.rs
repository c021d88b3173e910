//! When a run that could go on for hours is to end.

use std::time::{Duration, Instant};

/// An instant from which on nothing more is begun; or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// There is time for everything.
    pub const NEVER: Self = Self(None);

    /// So long from now.
    #[must_use]
    pub fn in_time(time: Duration) -> Self {
        Self(Instant::now().checked_add(time))
    }

    /// Whether it is over.
    #[must_use]
    pub fn has_passed(self) -> bool {
        self.0.is_some_and(|end| Instant::now() >= end)
    }
}
