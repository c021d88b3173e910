//! Locks of openings. <https://man7.org/linux/man-pages/man2/flock.2.html>

#![expect(unsafe_code, reason = "a system call")]

use linux_raw_sys::general::{__NR_flock, LOCK_EX, LOCK_NB, LOCK_UN};

use super::arch::syscall;
use super::errno::Errno;
use super::fd::Fd;
use super::retried;

fn flock(fd: &Fd, operation: u32) -> Result<(), Errno> {
    let args = [fd.number().argument(), operation as usize, 0, 0, 0, 0];
    // SAFETY: no memory is passed.
    retried(|| unsafe { syscall(__NR_flock, args) }).map(drop)
}

/// Locks a file for this opening alone; `false` where another opening holds it, in this process or not.
///
/// # Errors
/// Those of flock(2) but `EWOULDBLOCK`.
pub fn try_lock(fd: &Fd) -> Result<bool, Errno> {
    match flock(fd, LOCK_EX | LOCK_NB) {
        Ok(()) => Ok(true),
        Err(Errno::EAGAIN) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Gives the lock back, for all who share this opening.
///
/// # Errors
/// Those of flock(2).
pub fn unlock(fd: &Fd) -> Result<(), Errno> {
    flock(fd, LOCK_UN)
}
