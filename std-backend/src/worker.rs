//! The background thread of a log: syncs for tickets and for written records, prepares segments ahead. Decides
//! nothing; a log works without it, only slower.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::seam::ForkMark;
use crate::shared::Shared;

/// Something to do beside the appenders.
#[derive(Debug)]
pub(crate) enum Job {
    /// Make a region durable.
    Sync(Weak<Shared>),
    /// Resolve tickets.
    Tickets(Weak<Shared>),
    /// Prepare segments and space ahead.
    Prepare(Weak<Shared>),
    /// Look whether the interval of a region has passed, again and again until it was synced.
    Watch(Weak<Shared>),
}

/// The thread, started with the first job.
pub(crate) struct Worker {
    process: Arc<ForkMark>,
    state: Mutex<State>,
    pushed: Condvar,
    /// One looks at the watched regions at a time: who looks beside another would find none.
    looking: Mutex<()>,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    watched: Vec<Weak<Shared>>,
    /// Regions are watched that the thread has not looked at yet.
    unseen: bool,
    thread: Option<JoinHandle<()>>,
    stopped: bool,
}

/// Ends the thread when the last one who may ask for its work is gone: the log, handles on regions, tickets.
#[derive(Debug)]
pub(crate) struct Lifeline(pub(crate) Arc<Worker>);

impl Drop for Lifeline {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Worker {
    pub(crate) fn new(process: &Arc<ForkMark>) -> Self {
        Self {
            process: Arc::clone(process),
            state: Mutex::default(),
            pushed: Condvar::new(),
            looking: Mutex::new(()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a job. After [`Worker::stop`] jobs are done by nobody.
    pub(crate) fn push(self: &Arc<Self>, job: Job) {
        let mut state = self.state();
        if state.stopped {
            return;
        }
        match job {
            Job::Watch(region) => {
                state.watched.push(region);
                state.unseen = true;
            }
            job => state.jobs.push_back(job),
        }
        if state.thread.is_none() {
            let worker = Arc::clone(self);
            let thread = thread::Builder::new().name("walstone".into());
            // Without a thread, tickets are still resolved by whoever waits or syncs.
            state.thread = thread.spawn(move || worker.work()).ok();
        }
        drop(state);
        self.pushed.notify_one();
    }

    /// Whether somebody waits for the thread, or may soon.
    pub(crate) fn is_wanted(&self) -> bool {
        let state = self.state();
        !state.jobs.is_empty() || !state.watched.is_empty() || state.unseen || state.stopped
    }

    /// Syncs the regions whose interval has passed.
    pub(crate) fn tick(&self) {
        if !self.process.is_here() {
            return;
        }
        if self.look().is_some() {
            // The thread may have looked while the regions were here.
            self.state().unseen = true;
            self.pushed.notify_one();
        }
    }

    /// As [`Worker::tick`]; how long until the next interval has passed.
    fn look(&self) -> Option<Duration> {
        let _looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        let watched = {
            let mut state = self.state();
            state.unseen = false;
            std::mem::take(&mut state.watched)
        };
        let mut next: Option<Duration> = None;
        for region in watched {
            let Some(left) = region.upgrade().and_then(|region| region.sync_if_due()) else {
                continue;
            };
            next = Some(next.map_or(left, |next| next.min(left)));
            self.state().watched.push(region);
        }
        next
    }

    fn work(&self) {
        loop {
            let wait = self.look();
            let mut state = self.state();
            while state.jobs.is_empty() && !state.stopped && !state.unseen {
                let Some(wait) = wait else {
                    state = self.pushed.wait(state).unwrap_or_else(PoisonError::into_inner);
                    continue;
                };
                let wait = wait.max(Duration::from_micros(100));
                let woken = self.pushed.wait_timeout(state, wait);
                let (woken, timeout) = woken.unwrap_or_else(PoisonError::into_inner);
                state = woken;
                if timeout.timed_out() {
                    break;
                }
            }
            if state.stopped {
                return;
            }
            let job = state.jobs.pop_front();
            drop(state);
            if let Some(job) = job {
                job.run();
            }
        }
    }

    /// Ends the thread and waits for it. A forked child has the handle but not the thread, nor whoever held the locks.
    pub(crate) fn stop(&self) {
        if !self.process.is_here() {
            return;
        }
        let thread = {
            let mut state = self.state();
            state.stopped = true;
            state.jobs.clear();
            state.thread.take()
        };
        self.pushed.notify_all();
        if let Some(thread) = thread
            && thread.thread().id() != thread::current().id()
        {
            // It holds no lock that a panic in it could have left.
            let _ = thread.join();
        }
    }
}

impl Job {
    fn run(self) {
        match self {
            Self::Sync(region) => {
                if let Some(region) = region.upgrade() {
                    // A failure poisons the region, which the next call tells.
                    let _ = region.sync();
                }
            }
            Self::Tickets(region) => {
                if let Some(region) = region.upgrade() {
                    region.group.lead_for_tickets(|| region.sync_once());
                }
            }
            Self::Prepare(region) => {
                if let Some(region) = region.upgrade()
                    && region.prepare()
                {
                    region.prepare_soon();
                }
            }
            Self::Watch(_) => {}
        }
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}
