//! Walstone core.
#![no_std]
#![forbid(unsafe_code)]
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::missing_errors_doc,
    clippy::missing_panics_doc,
    clippy::std_instead_of_core
)]
#![cfg_attr(
    test,
    allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that panics fails")
)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod batch;
mod capacity;
pub mod checksum;
mod error;
mod examine;
mod facts;
#[doc = include_str!("../docs/format.md")]
pub mod format {}
pub mod frame;
mod geometry;
mod log;
mod media;
#[cfg(feature = "alloc")]
pub mod ram;
mod reads;
mod record;
mod recover;
mod region;
mod report;
#[cfg(feature = "alloc")]
mod salvage;
mod scan;
pub mod segment;
#[cfg(feature = "alloc")]
mod snapshot;
mod storage;
mod tables;
pub mod v0;
mod voids;
mod wire;

pub use batch::{Batch, BatchFull};
pub use capacity::{Capacity, Workspace};
pub use checksum::Checksum;
pub use error::{Error, PoisonCause};
pub use facts::{Footer, TableRange};
pub use geometry::{Geometry, GeometryError, Mark, SegmentId};
pub use log::{Appended, Log, Prepared};
pub use reads::{Position, Reads};
pub use record::{Entries, Entry, Malformed, NewRecord, Record, Void};
pub use recover::Options;
pub use report::{Corruption, Reason, Report, Tail};
#[cfg(feature = "alloc")]
pub use salvage::{Gap, Salvage, Salvaged, salvage};
#[cfg(feature = "alloc")]
pub use snapshot::{Frame, Frames, Segment, SegmentReader, Snapshot};
#[cfg(feature = "alloc")]
pub use storage::SharedStorage;
pub use storage::{Fault, Found, Storage, StorageError};
