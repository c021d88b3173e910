//! What the segments of a root share: the way to the system, the lock, the limit of open files; and those of a region,
//! where they are.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::cache::Cache;
use super::error::Cause;
use super::lock::RootLock;
use crate::seam::{ForkMark, Seam};

/// What all regions of a root share.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) seam: Seam,
    pub(crate) process: Arc<ForkMark>,
    /// None where the root was opened for reading only.
    pub(crate) lock: Option<RootLock>,
    pub(crate) cache: Cache,
}

impl Ground {
    /// Whether this is the process that opened the root, and not a fork of it: in a fork, locks may be held by threads
    /// that are not there.
    #[inline]
    pub(crate) fn is_forked(&self) -> bool {
        !self.process.is_here()
    }

    /// Whether this process may change the root.
    #[inline]
    pub(crate) fn check_writable(&self) -> Result<(), Cause> {
        match &self.lock {
            None => Err(Cause::ReadOnly),
            Some(lock) if lock.owned_by_this_process() => Ok(()),
            Some(lock) if lock.is_released() => Err(Cause::Closed),
            Some(_) => Err(Cause::Forked),
        }
    }
}

/// Where a region's files are. A region that is being made gets its final name last.
#[derive(Debug)]
pub(crate) struct RegionDir(Mutex<Arc<Path>>);

impl RegionDir {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(Mutex::new(path.into()))
    }

    pub(crate) fn path(&self) -> Arc<Path> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn moved_to(&self, path: PathBuf) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = path.into();
    }
}
