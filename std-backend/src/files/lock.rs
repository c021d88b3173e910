//! The lock of a root: one writing opening, in this process or any other.

use std::path::Path;

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
    _file: File,
    mark: ForkMark,
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
            _file: file,
            mark: ForkMark::new(),
        })
    }

    /// Whether this process took the lock, and is not a fork of the one that did. Costs one load.
    #[must_use]
    pub fn owned_by_this_process(&self) -> bool {
        self.mark.is_here()
    }
}
