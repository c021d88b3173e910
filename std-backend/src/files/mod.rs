//! The files of a log: the lock, roots and regions as directories, segments as mapped files.
//!
//! Implements the storage that the engine works on; knows nothing of frames. Uses the operating system through
//! [`crate::seam`] alone.

mod cache;
mod error;
mod lock;
mod names;
mod root;
mod segment;
mod storage;
mod table;

pub use error::{Cause, Doing, FileError};
pub use lock::RootLock;
pub use root::{Root, RootListing, is_version_0};
pub use storage::{MapStorage, RegionListing};
