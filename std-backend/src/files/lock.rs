//! The lock of a root: one writing opening, in this process or any other.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::{Cause, Doing, FileError};
use super::names;
use crate::seam::{File, ForkMark, Seam};

/// Holds `<root>/LOCK` until dropped.
///
/// It is a lock of the opening (`flock`), so that a second one in the same process conflicts too. A forked child
/// shares the opening: it keeps the root locked while it lives, and [`RootLock::owned_by_this_process`] tells it
/// that the root is not its own.
#[derive(Debug)]
pub struct RootLock {
    seam: Seam,
    file: File,
    process: Arc<ForkMark>,
    released: AtomicBool,
}

impl RootLock {
    /// Takes the lock or fails at once.
    ///
    /// # Errors
    /// [`Cause::Locked`] when another opening holds it; [`Cause::Io`].
    pub fn acquire(seam: &Seam, root: &Path) -> Result<Self, FileError> {
        let path = root.join(names::LOCK);
        let io = |error| FileError::io(Doing::Lock, &path, error);
        let file = seam.open_or_create(&path).map_err(io)?;
        if !seam.try_lock(&file).map_err(io)? {
            return Err(FileError::new(Doing::Lock, &path, Cause::Locked));
        }
        Ok(Self {
            seam: seam.clone(),
            file,
            process: Arc::default(),
            released: AtomicBool::new(false),
        })
    }

    /// Whether this process took the lock and still holds it, and is not a fork of the one that did. Costs two loads.
    #[must_use]
    #[inline]
    pub fn owned_by_this_process(&self) -> bool {
        self.process.is_here() && !self.is_released()
    }

    /// Tells the process that took the lock from its forks.
    pub(crate) fn process(&self) -> &Arc<ForkMark> {
        &self.process
    }

    /// Gives the lock up while handles that read go on living. Nothing may be written from then on.
    ///
    /// Unlocks instead of leaving it to the closing of the file: a child that was forked just now, on its way
    /// to another program, still shares the opening, and the next opener here would find it locked.
    pub fn release(&self) {
        if self.process.is_here() && !self.released.swap(true, Ordering::AcqRel) {
            let _ = self.seam.unlock(&self.file);
        }
    }

    /// Whether it was given up.
    #[must_use]
    #[inline]
    pub fn is_released(&self) -> bool {
        self.released.load(Ordering::Acquire)
    }
}

impl Drop for RootLock {
    fn drop(&mut self) {
        self.release();
    }
}
