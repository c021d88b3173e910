//! Segments of a write-ahead log in files, by raw system calls: no std, no C library, no heap.
//!
//! ```text
//!  LinuxStorage          a handle: walstone-core's Storage
//!  RegionFiles           what handles share: gathered writes, open files, two locks
//!  Root                  the lock, region directories          names   what is called how
//!  sys                   one instruction, and a function for each call that is made
//! ```
//!
//! Directories, names and bytes are those of the `walstone` crate, and so is the lock: what one writes the other opens,
//! and while one has a root open for writing the other is refused.
//!
//! # Durability
//!
//! Writes are gathered in memory. [`hand_over`](walstone_core::Storage::hand_over) gives them to the kernel, after which
//! they survive the death of the process; [`sync`](walstone_core::Storage::sync) makes them survive power loss. On
//! [`WritePath::Direct`] a sync of bytes that nobody handed over is one system call, `pwritev2` with `RWF_DSYNC` on a file
//! opened with `O_DIRECT`; it vouches for its own bytes only, so where earlier ones were handed over a
//! `fdatasync` follows. Blocks are written again while they fill up: like every log that packs records into blocks
//! this counts on the device to keep the old or the new content of a sector when power is lost in the middle. Where
//! it may not, give the geometry a `sync_unit`.
//!
//! Where more is appended between two syncs than a buffer holds, whole buffers are sent on their way without being waited
//! for (io_submit(2)), up to three at a time. The next hand-over, sync or read of their bytes waits, and so does whatever
//! ends the use of the files: the lock on a root outlives every write. A kernel that has no such writes, or may not give
//! them, is told of by [`Stats`], and large writes go one by one.
//!
//! # Without a heap
//!
//! ```
//! use walstone_core::{Checksum, Geometry, Log, Options, Workspace};
//! use walstone_linux::{LinuxStorage, Memory, Root, WritePath};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::TempDir::new()?;
//! # let path = std::ffi::CString::new(dir.path().join("wal").to_str().unwrap())?;
//! let root = Root::open(&path)?;
//! let geometry = Geometry::new(1 << 20)?;
//! let options = Options::new(7, walstone_linux::random_seed()?);
//! let mut workspace = Workspace::<16, 16, 4, 4096>::new();
//! let mut lent = vec![0; 64 << 10];
//!
//! root.create_region(7, geometry, WritePath::Direct, Memory::lend(&mut lent), |files| {
//!     // The region gets its name when this is durable.
//!     Log::create(LinuxStorage::new(files), workspace.lend(), options).map(drop)
//! })?;
//! let files = root.region(7, geometry, WritePath::Direct, Memory::lend(&mut lent))?;
//! let mut log = Log::open(LinuxStorage::new(&files), workspace.lend(), options)?;
//! log.append(1, b"value")?;
//! log.sync()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! `alloc`: [`SharedStorage`](walstone_core::Storage), handles for several threads and bytes lent from maps.
//!
//! # What it does not do
//!
//! It does not run on other systems than Linux, nor on processors other than x86-64, AArch64 and 64-bit RISC-V. It has no
//! threads: what may wait, waits in the call. Of a region 16 segments are open at once; another one takes the place of the
//! one that was not used for longest, whose maps stay. Only where calls in 16 segments are under way at the same moment a
//! call in another one is refused ([`Cause::TooManyOpen`]).

#![no_std]
#![deny(unsafe_code)]
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

#[cfg(not(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"),
    target_pointer_width = "64",
    target_endian = "little"
)))]
compile_error!(
    "walstone-linux makes system calls itself, and knows how on these targets only: \
     x86_64-*-linux-*, aarch64-*-linux-*, riscv64*-*-linux-*"
);

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod buffer;
mod directory;
mod error;
mod fill;
mod flights;
mod names;
#[cfg(feature = "alloc")]
mod pin;
mod region;
mod root;
mod slots;
mod staged;
mod stats;
mod storage;
pub mod sys;

pub use buffer::Memory;
pub use error::{Cause, Doing, LinuxError};
#[cfg(feature = "alloc")]
pub use pin::Pin;
pub use region::RegionFiles;
pub use root::{FoundRegion, Root};
pub use stats::{Stats, WritePath};
pub use storage::LinuxStorage;

/// A seed for the log's salts, from the kernel's generator of random numbers.
///
/// # Errors
/// Those of getrandom(2).
pub fn random_seed() -> Result<u64, sys::Errno> {
    let mut seed = [0; 8];
    sys::fill_random(&mut seed)?;
    Ok(u64::from_le_bytes(seed))
}
