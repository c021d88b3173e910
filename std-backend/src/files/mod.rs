//! The files of a log: the lock, roots and regions as directories, segments as mapped files.
//!
//! Implements the storage that the engine works on; knows nothing of frames. Uses the operating system through
//! [`crate::seam`] alone.

#[cfg(all(feature = "linux", target_os = "linux"))]
mod backing;
mod cache;
mod claim;
mod error;
mod ground;
mod lock;
mod names;
mod root;
mod segment;
mod storage;
mod table;

#[cfg(all(feature = "linux", target_os = "linux"))]
pub use backing::{Files, FilesPin};
pub use error::{Cause, Doing, FileError};
pub use lock::RootLock;
pub use root::{Root, RootListing, is_version_0};
pub use storage::{MapStorage, RegionListing};

/// The segments of one region: mapped, since nothing else is built in.
#[cfg(not(all(feature = "linux", target_os = "linux")))]
pub type Files = MapStorage;
