//! Exploration on all processors: each takes the next job until there is none.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use super::explore::{Explorer, Failure};

/// Does all `jobs` until one fails or the explorer's bound is reached. Whether all were done, to their ends.
///
/// # Errors
/// The first [`Failure`].
pub fn sweep<J: Send>(
    explorer: &mut Explorer,
    jobs: impl Iterator<Item = J> + Send,
    act: impl Fn(&mut Explorer, J) -> Result<(), Failure> + Sync,
) -> Result<bool, Failure> {
    let jobs = Mutex::new(jobs.fuse());
    let outcome = Mutex::new(Ok(true));
    let work = |mut explorer: Explorer| {
        while let Some(job) = next(&jobs) {
            if explorer.is_over() {
                end(&outcome, Ok(false));
            } else if let Err(failure) = act(&mut explorer, job) {
                end(&outcome, Err(failure));
            } else if explorer.is_cut_short() {
                end(&outcome, Ok(false));
            }
            if !matches!(*lock(&outcome), Ok(true)) {
                break;
            }
        }
        explorer
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let forks: Vec<Explorer> = (0..threads).map(|_| explorer.fork()).collect();
        let running: Vec<_> = forks.into_iter().map(|fork| scope.spawn(|| work(fork))).collect();
        for thread in running {
            match thread.join() {
                Ok(fork) => explorer.join(&fork),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    outcome.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn next<J>(jobs: &Mutex<impl Iterator<Item = J>>) -> Option<J> {
    lock(jobs).next()
}

/// The first failure stays.
fn end(outcome: &Mutex<Result<bool, Failure>>, how: Result<bool, Failure>) {
    let mut outcome = lock(outcome);
    if outcome.is_ok() {
        *outcome = how;
    }
}
