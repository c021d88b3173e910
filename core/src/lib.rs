//! The engine of a write-ahead log for hosts of every size: record codec, segment and region state machine, recovery,
//! over one [`Storage`] trait. Without std, and without a heap unless asked for.
//!
//! ```text
//!              Log    Reads   Snapshot   salvage
//!   decides:   region  recover  scan                          no I/O
//!   codec:     record  frame  segment  manifest and footer    no I/O
//!              Storage: RAM, files, flash ...                 the host's
//! ```
//!
//! ```
//! # #[cfg(feature = "alloc")] {
//! use walstone_core::ram::RamStorage;
//! use walstone_core::{Geometry, Log, Options, Workspace};
//!
//! # type Error = Box<dyn std::error::Error>;
//! # fn main() -> Result<(), Error> {
//! let storage = RamStorage::new(Geometry::new(4096)?);
//! // Room for 8 segments, 8 deleted ranges, 4 tables, 1 KiB to read into: no heap.
//! let mut room = Workspace::<8, 8, 4, 1024>::new();
//! let mut log = Log::create(storage, room.lend(), Options::new(1, 0x5eed)).map_err(|error| error.to_string())?;
//! let at = log.append(7, b"value").map_err(|error| error.to_string())?; // written
//! log.sync().map_err(|error| error.to_string())?; // durable
//! let mut reads = log.read(Some(7), at.first..);
//! assert_eq!(reads.next().unwrap().map_err(|error| error.to_string())?.value, b"value");
//! # Ok(()) }
//! # main().unwrap(); }
//! ```
//!
//! # Durability
//!
//! *Written* ([`Log::append`] returned, and [`Log::hand_over`] where the storage gathers): survives the death of the
//! process. *Durable* ([`Log::sync`] returned): survives power loss. After a failed write or sync the log takes no more
//! writes, and no later sync pretends otherwise. Recovery makes durable what it shows.
//!
//! # Features
//!
//! * `alloc`: room that grows, [`SharedStorage`], snapshots, salvage, [`ram::RamStorage`].
//! * `defmt`: `defmt::Format` on public errors and reports. `defmt-log`: log statements besides, at level `debug`; the
//!   program needs a global logger.
//! * `embedded-storage`: [`flat::NorDevice`] and [`flat::ByteDevice`].
//! * `embedded-storage-async`: `asynch`, the same log for hosts that await their storage.
//!
//! None changes a stored byte.
//!
//! # What it does not do
//!
//! It opens no file, starts no thread, reads no clock, and knows no replication, compression or encryption. The on-disk
//! format is in [`format`](mod@format), the inner workings in [`architecture`].
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

// The sources of a driver are compiled here without `async` and `await`, and in `asynch` with them.
use maybe_async::must_be_sync as twin;
/// Whether an operation can end between two of its calls.
const CAN_BE_DROPPED: bool = false;

mod ahead;
#[cfg(feature = "embedded-storage-async")]
pub mod asynch;
mod batch;
mod capacity;
pub mod checksum;
mod engine;
mod error;
mod examine;
mod facts;
mod fault;
pub mod flat;
#[doc = include_str!("../docs/architecture.md")]
pub mod architecture {}
#[doc = include_str!("../docs/format.md")]
pub mod format {}
pub mod frame;
mod geometry;
mod log;
mod media;
#[doc(hidden)]
pub mod mutation;
mod position;
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
mod shared;
#[cfg(feature = "alloc")]
mod snapshot;
mod storage;
mod tables;
mod trace;
mod unopened;
pub mod v0;
mod voids;
mod wire;

pub use batch::{Batch, BatchFull};
pub use capacity::{Capacity, Workspace};
pub use checksum::Checksum;
pub use engine::draft::{Appended, Prepared};
pub use error::{Error, PoisonCause};
pub use facts::{Footer, TableRange};
pub use fault::{Fault, Found, StorageError};
pub use geometry::{Geometry, GeometryError, Mark, SegmentId};
pub use log::Log;
pub use position::Position;
pub use reads::Reads;
pub use record::{Entries, Entry, Malformed, NewRecord, Record, Void, sequences};
pub use recover::Options;
pub use report::{Corruption, Reason, Report, Tail};
#[cfg(feature = "alloc")]
pub use salvage::{Gap, Salvage, Salvaged, salvage};
#[cfg(feature = "alloc")]
pub use shared::SharedStorage;
#[cfg(feature = "alloc")]
pub use snapshot::{Frame, Frames, Segment, SegmentReader, Snapshot};
pub use storage::Storage;
pub use unopened::Unopened;
