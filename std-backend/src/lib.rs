//! A write-ahead log for applications: regions, group commit, tickets, snapshots that lend from memory maps.
//!
//! ```text
//! Wal > Region > append, append_batch, submit, delete_up_to, view      this crate
//!   group commit | views | worker                                      this crate
//!   walstone_core::Log: frames, segments, recovery                     core
//!   files: maps, lock, names                                           this crate
//! ```
//!
//! ```
//! use walstone::{Batch, Durability, Options, Wal};
//!
//! # fn main() -> walstone::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path();
//! const TABLE: u64 = 1;
//! let options = Options::builder().segment_len(1 << 20).build().unwrap();
//! let wal = Wal::open(path, options)?;
//! let region = wal.region_or_create(7)?;
//! let at = region.append(TABLE, b"value")?; // durable on return
//!
//! let mut batch = Batch::new(); // atomic
//! batch.push(TABLE, b"a");
//! batch.delete_up_to(TABLE, at.last);
//! region.append_batch_with(&batch, Durability::Written)?;
//!
//! let view = region.view()?;
//! for record in view.read(TABLE, ..) {
//!     assert_eq!(record?.value, b"a");
//! }
//! wal.close()
//! # }
//! ```
//!
//! # Durability
//!
//! [`Durability::Durable`] is acknowledged when the record survives a power cut; [`Durability::Written`] when it
//! survives the death of the process. After a failed sync a region takes no more writes: see [`Error::Poisoned`].
//! Nothing that a failed or interrupted call tried to append is promised to be there or not to be there.
//!
//! # Features
//!
//! `serde`: [`Options`] to and from configuration files. `linux`: segments written by raw system calls, past the page
//! cache or through it, chosen by `OptionsBuilder::write_path`.
//!
//! # What it does not do
//!
//! No replication, no compression, no encryption, no second writer process. Built and tested on Linux; other systems
//! are never built.
#![deny(unsafe_code)]
#![deny(clippy::missing_errors_doc, clippy::missing_panics_doc)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used))]

mod ahead;
mod background;
mod checksum;
mod error;
#[doc(hidden)]
pub mod files;
mod group;
#[doc(hidden)]
pub mod mutation;
mod options;
mod readers;
mod region;
#[doc(hidden)]
pub mod seam;
mod shared;
mod stats;
mod store;
mod sync;
mod ticket;
mod view;
mod wal;
mod worker;

pub use error::{Error, Infallible, Result};
#[cfg(all(feature = "linux", target_os = "linux"))]
pub use options::WritePath;
pub use options::{BackgroundSync, Clock, Durability, Options, OptionsBuilder, OptionsError};
pub use region::{Appended, Counters, Region};
pub use stats::{RegionStats, SegmentState, SegmentStats, Stats, TableStats};
pub use ticket::Ticket;
pub use view::{Records, View};
pub use wal::{Wal, WalReport};
pub use walstone_core::{
    Batch, Corruption, Gap, Geometry, NewRecord, PoisonCause, Position, Reason, Record, Report, Salvaged, SegmentId,
    TableRange, Tail,
};
