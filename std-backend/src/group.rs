//! Group commit: one sync serves all that wrote before it. Knows marks and who waits for them; the sync itself is
//! the caller's.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;
use std::task::Waker;
use std::time::Duration;

use walstone_core::Mark;

use crate::error::{Error, Result};
use crate::sync::{AtomicU64, Condvar, Instant, Mutex, MutexGuard, Ordering, yield_now};

/// A leader stops waiting for the last group when nobody came for so long.
const QUIET: Duration = Duration::from_micros(40);

/// How far a sync brought the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Everything before it is durable.
    pub(crate) durable: Mark,
    /// The last durable sequence.
    pub(crate) through: u64,
}

/// Whom to tell that a mark is durable, or never will be.
pub(crate) enum Notify {
    Waker(Waker),
    Callback(Box<dyn FnOnce(Result<()>) + Send>),
}

/// Who waits for what.
pub(crate) struct Group {
    state: Mutex<State>,
    served: Condvar,
    /// Threads that ever came to wait, each after it wrote.
    arrived: AtomicU64,
    syncs: AtomicU64,
    yields: AtomicU64,
    /// As in `State::progress`, for who must not wait for the lock.
    durable_through: AtomicU64,
}

struct State {
    progress: Progress,
    failed: Option<Error>,
    leading: bool,
    /// Arrivals that the last sync covered.
    covered: u64,
    /// How many the next sync is likely to serve: those that the last one served, and those that came meanwhile.
    target: u64,
    /// A moving average of what a sync takes.
    sync_time: Duration,
    notify: Vec<(Mark, Notify)>,
}

impl Group {
    pub(crate) fn new(progress: Progress) -> Self {
        Self {
            state: Mutex::new(State {
                progress,
                failed: None,
                leading: false,
                covered: 0,
                target: 0,
                sync_time: Duration::ZERO,
                notify: Vec::new(),
            }),
            served: Condvar::new(),
            arrived: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
            yields: AtomicU64::new(0),
            durable_through: AtomicU64::new(progress.through),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Syncs made by leaders.
    pub(crate) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    /// Times that a leader gave its processor away to let a group gather.
    pub(crate) fn yields(&self) -> u64 {
        self.yields.load(Ordering::Relaxed)
    }

    /// The last sequence known durable.
    pub(crate) fn durable_through(&self) -> u64 {
        self.durable_through.load(Ordering::Acquire)
    }

    /// Whether `mark` is durable; the failure if it never will be.
    pub(crate) fn check(&self, mark: Mark) -> Option<Result<()>> {
        self.state().check(mark)
    }

    /// Waits until `mark` is durable. `sync` is called by whoever leads.
    pub(crate) fn wait(&self, mark: Mark, mut sync: impl FnMut() -> Result<Progress>) -> Result<()> {
        let mut counted = false;
        let mut state = self.state();
        loop {
            if let Some(result) = state.check(mark) {
                return result;
            }
            if !counted {
                counted = true;
                self.arrived.fetch_add(1, Ordering::AcqRel);
            }
            if state.leading {
                state = self.served.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.leading = true;
            // Those that the last sync served have to arrive anew: only who waits now counts.
            let (target, cap) = (state.covered + state.target, state.sync_time);
            drop(state);
            self.gather(target, cap);
            self.lead(&mut sync);
            state = self.state();
        }
    }

    /// Leads one sync for whoever waits by ticket, unless somebody leads already.
    pub(crate) fn lead_for_tickets(&self, mut sync: impl FnMut() -> Result<Progress>) {
        let mut state = self.state();
        while !state.notify.is_empty() && state.failed.is_none() {
            if state.leading {
                state = self.served.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.leading = true;
            drop(state);
            self.lead(&mut sync);
            state = self.state();
        }
    }

    /// Gives the threads of the last group time to come back, so that two halves do not take turns.
    fn gather(&self, target: u64, cap: Duration) {
        let mut seen = self.arrived.load(Ordering::Acquire);
        if seen >= target {
            return;
        }
        let start = Instant::now();
        let mut last_arrival = start;
        while seen < target {
            yield_now();
            self.yields.fetch_add(1, Ordering::Relaxed);
            let now = Instant::now();
            let arrived = self.arrived.load(Ordering::Acquire);
            if arrived > seen {
                last_arrival = now;
            }
            seen = arrived;
            if now - last_arrival > QUIET || now - start > cap {
                return;
            }
        }
    }

    fn lead(&self, sync: &mut impl FnMut() -> Result<Progress>) {
        // Whatever becomes of the sync, a panic in it included, the next one can lead.
        let mut leading = Leading {
            group: self,
            covers: self.arrived.load(Ordering::Acquire),
            outcome: None,
        };
        let start = Instant::now();
        let outcome = sync();
        self.syncs.fetch_add(1, Ordering::Relaxed);
        leading.outcome = Some((outcome, start.elapsed()));
    }

    /// The log is durable up to here and never will be behind it. Tells nobody: [`Group::fail`] does, which comes soon.
    pub(crate) fn doom(&self, progress: Progress, error: Error) {
        let mut state = self.state();
        state.advance(progress);
        state.failed.get_or_insert(error);
    }

    /// Nothing that is not durable yet ever will be.
    pub(crate) fn fail(&self, error: Error) {
        let mut state = self.state();
        state.failed.get_or_insert(error);
        self.finish(state);
    }

    /// Tells `notify` when `mark` is durable or failed; at once where it is known. True: somebody must lead.
    pub(crate) fn notify(&self, mark: Mark, notify: Notify) -> bool {
        let mut state = self.state();
        match state.check(mark) {
            Some(result) => {
                drop(state);
                notify.tell(result);
                false
            }
            None => {
                state.notify.push((mark, notify));
                true
            }
        }
    }

    fn finish(&self, mut state: MutexGuard<'_, State>) {
        self.durable_through.store(state.progress.through, Ordering::Release);
        let mut told = Vec::new();
        let mut at = 0;
        while let Some((mark, _)) = state.notify.get(at) {
            match state.check(*mark) {
                Some(result) => told.push((state.notify.swap_remove(at).1, result)),
                None => at += 1,
            }
        }
        drop(state);
        self.served.notify_all();
        for (notify, result) in told {
            notify.tell(result);
        }
    }
}

impl State {
    fn check(&self, mark: Mark) -> Option<Result<()>> {
        if self.progress.durable >= mark {
            Some(Ok(()))
        } else {
            self.failed.clone().map(Err)
        }
    }

    fn advance(&mut self, progress: Progress) {
        if progress.durable > self.progress.durable {
            self.progress.durable = progress.durable;
        }
        self.progress.through = self.progress.through.max(progress.through);
    }
}

/// Ends a lead when dropped.
struct Leading<'g> {
    group: &'g Group,
    /// Arrivals before the sync: all of them wrote before it.
    covers: u64,
    outcome: Option<(Result<Progress>, Duration)>,
}

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        let mut state = self.group.state();
        state.leading = false;
        // Those it served are likely to come back, beside those that came while it ran.
        state.target = self.group.arrived.load(Ordering::Acquire) - state.covered;
        state.covered = self.covers;
        match self.outcome.take() {
            Some((Ok(progress), took)) => {
                state.advance(progress);
                state.sync_time = (state.sync_time * 7 + took) / 8;
            }
            Some((Err(error), _)) => {
                state.failed.get_or_insert(error);
            }
            // The sync panicked: others may try.
            None => {}
        }
        self.group.finish(state);
    }
}

impl Notify {
    /// A panic in what the user gave ends here: others wait to be told, and the background thread has to go on.
    fn tell(self, result: Result<()>) {
        let _ = catch_unwind(AssertUnwindSafe(|| match self {
            Self::Waker(waker) => waker.wake(),
            Self::Callback(callback) => callback(result),
        }));
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("durable_through", &self.durable_through())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, walstone_loom))]
mod models;
