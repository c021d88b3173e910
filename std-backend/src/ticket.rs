//! An appended batch that is to become durable: waited for, polled, or told to a callback. Needs no runtime.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use walstone_core::Mark;

use crate::error::Result;
use crate::group::Notify;
use crate::options::Durability;
use crate::region::{Appended, Region};
use crate::worker::Job;

/// A submitted batch. Dropping the ticket changes nothing for the batch, but nobody syncs for its sake then.
///
/// A failed sync resolves every ticket that waits with its error.
#[must_use = "a batch is durable only once its ticket says so"]
pub struct Ticket {
    region: Region,
    appended: Appended,
    /// `None`: resolved when it was made.
    mark: Option<Mark>,
    /// Who is told already, so that polling again and again leaves no more behind.
    polled_by: Option<Waker>,
}

impl Ticket {
    pub(crate) fn new(region: &Region, appended: Appended, mark: Mark, durability: Durability) -> Self {
        Self {
            region: region.clone(),
            appended,
            mark: Some(mark).filter(|_| durability == Durability::Durable),
            polled_by: None,
        }
    }

    /// What was appended, durable or not.
    #[must_use]
    pub fn appended(&self) -> Appended {
        self.appended
    }

    /// Waits until the batch has the durability asked for.
    ///
    /// # Errors
    /// As [`Region::sync`](crate::Region::sync).
    pub fn wait(self) -> Result<Appended> {
        match self.mark {
            Some(mark) => self.region.shared.wait(mark).map(|()| self.appended),
            None => Ok(self.appended),
        }
    }

    /// Whether it is resolved, and how. Starts no sync.
    #[must_use]
    pub fn check(&self) -> Option<Result<Appended>> {
        let Some(mark) = self.mark else {
            return Some(Ok(self.appended));
        };
        if let Err(forked) = self.region.shared.check_process() {
            return Some(Err(forked));
        }
        let resolved = self.region.shared.group.check(mark)?;
        Some(resolved.map(|()| self.appended))
    }

    /// Calls `tell` when it is resolved, from the thread that resolves it: from this one where it is already. Keep
    /// it short; it must not call the log. A panic in it is reported by the panic hook and goes no further. Until then
    /// the log stays open, whatever handles are dropped.
    pub fn on_complete(self, tell: impl FnOnce(Result<Appended>) + Send + 'static) {
        let appended = self.appended;
        let Some(mark) = self.mark else {
            return tell(Ok(appended));
        };
        if let Err(forked) = self.region.shared.check_process() {
            return tell(Err(forked));
        }
        let region = self.region.clone();
        let callback = Notify::Callback(Box::new(move |result: Result<()>| {
            tell(result.map(|()| appended));
            drop(region);
        }));
        self.notify(mark, callback);
    }

    fn notify(&self, mark: Mark, notify: Notify) {
        if self.region.shared.group.notify(mark, notify) {
            self.region
                .shared
                .worker()
                .push(Job::Tickets(Arc::downgrade(&self.region.shared)));
        }
    }
}

impl Future for Ticket {
    type Output = Result<Appended>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(resolved) = self.check() {
            return Poll::Ready(resolved);
        }
        let waker = context.waker();
        if let Some(mark) = self.mark
            && !self.polled_by.as_ref().is_some_and(|told| told.will_wake(waker))
        {
            self.polled_by = Some(waker.clone());
            self.notify(mark, Notify::Waker(waker.clone()));
        }
        // A sync that ended in between has woken the task.
        Poll::Pending
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("appended", &self.appended)
            .field("resolved", &self.check().is_some())
            .finish_non_exhaustive()
    }
}
