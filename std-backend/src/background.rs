//! When written records that nobody waits for are synced. Counts and decides; the sync itself is the caller's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::options::{BackgroundSync, Clock, Options};

/// Written records that no sync covers yet.
pub(crate) struct Background {
    policy: BackgroundSync,
    clock: Arc<dyn Clock>,
    writes: AtomicU32,
    /// Where the log stood at the last sync.
    synced: AtomicU64,
    /// When the first of them was written, in nanoseconds of the clock plus one; 0 for none.
    since: AtomicU64,
    /// The worker looks at `since` from time to time.
    watched: AtomicBool,
}

/// What a written append asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Nothing,
    /// Somebody shall [look](Background::look) from time to time.
    Watch,
    /// A sync, now.
    Sync,
}

impl Background {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            policy: options.background_sync,
            clock: Arc::clone(&options.clock),
            writes: AtomicU32::new(0),
            synced: AtomicU64::new(0),
            since: AtomicU64::new(0),
            watched: AtomicBool::new(false),
        }
    }

    /// A sync begins that covers the log up to here.
    pub(crate) fn reset(&self, synced: u64) {
        self.writes.store(0, Ordering::Relaxed);
        self.synced.store(synced, Ordering::Relaxed);
        self.since.store(0, Ordering::Release);
    }

    /// Records were written, and nobody waits for them; the log ends here now.
    pub(crate) fn written(&self, end: u64) -> Wanted {
        let due = match self.policy {
            BackgroundSync::Never => false,
            BackgroundSync::Writes(count) => self.writes.fetch_add(1, Ordering::Relaxed) + 1 >= count.get(),
            BackgroundSync::Bytes(bytes) => end.saturating_sub(self.synced.load(Ordering::Relaxed)) >= bytes.get(),
            BackgroundSync::Interval(_) => {
                let now = nanos(self.clock.now()) + 1;
                let first = self
                    .since
                    .compare_exchange(0, now, Ordering::AcqRel, Ordering::Relaxed)
                    .is_ok();
                if first && !self.watched.swap(true, Ordering::AcqRel) {
                    return Wanted::Watch;
                }
                false
            }
        };
        if due {
            self.reset(end);
            Wanted::Sync
        } else {
            Wanted::Nothing
        }
    }

    /// Syncs if the interval has passed. `None`: nothing waits, and the next written append asks to be watched; else how
    /// long to wait.
    pub(crate) fn look(&self, mut sync: impl FnMut()) -> Option<Duration> {
        let BackgroundSync::Interval(interval) = self.policy else {
            return None;
        };
        loop {
            if let Some(since) = self.since.load(Ordering::Acquire).checked_sub(1) {
                let waited = nanos(self.clock.now()).saturating_sub(since);
                let left = nanos(interval).saturating_sub(waited);
                if left > 0 {
                    return Some(Duration::from_nanos(left));
                }
                self.since.store(0, Ordering::Release);
                sync();
            }
            self.watched.store(false, Ordering::Release);
            // An append that came in between has seen that it is watched already.
            let waits = self.since.load(Ordering::Acquire) != 0;
            if !waits || self.watched.swap(true, Ordering::AcqRel) {
                return None;
            }
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX - 1)
}
