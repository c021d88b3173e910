//! What a region did and what it had to do without.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How writes reach the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WritePath {
    /// Through the page cache, made durable by `fdatasync`.
    #[default]
    Buffered,
    /// Past the page cache (`O_DIRECT`) in whole blocks, made durable by the write itself (`RWF_DSYNC`). Where the file
    /// system or the kernel cannot, as [`WritePath::Buffered`] as far as needed; [`Stats`] tell.
    Direct,
}

/// Counters of a region since it was opened. Bytes are those handed to the kernel, whole blocks included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Writes go past the page cache. Not known before the first one.
    pub direct: bool,
    /// Bytes of a block on this path; 1 through the page cache.
    pub block: u32,
    /// Direct writes were asked for, and the file system or the segment length does not allow them.
    pub direct_refused: bool,
    /// The kernel has no durable writes: each is a write and a sync.
    pub durable_writes_refused: bool,
    /// The file system cannot reserve blocks: they are written without.
    pub allocate_refused: bool,
    /// The kernel has no writes that nobody waits for, or may not give them: large ones go one by one.
    pub flights_refused: bool,
    /// Writes that promise nothing.
    pub writes: u64,
    /// Those of them that were not waited for before the next.
    pub flights: u64,
    /// Writes that were durable on return.
    pub durable_writes: u64,
    /// Bytes of both.
    pub written_bytes: u64,
    /// Syncs of files.
    pub syncs: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) direct_refused: AtomicBool,
    pub(crate) durable_writes_refused: AtomicBool,
    pub(crate) allocate_refused: AtomicBool,
    pub(crate) flights_refused: AtomicBool,
    pub(crate) flights: AtomicU64,
    pub(crate) writes: AtomicU64,
    pub(crate) durable_writes: AtomicU64,
    pub(crate) written_bytes: AtomicU64,
    pub(crate) syncs: AtomicU64,
}

impl Counters {
    pub(crate) fn refuse(&self, what: &AtomicBool) {
        what.store(true, Ordering::Relaxed);
    }

    pub(crate) fn read(&self, direct: bool, block: u32) -> Stats {
        Stats {
            direct,
            block,
            direct_refused: self.direct_refused.load(Ordering::Relaxed),
            durable_writes_refused: self.durable_writes_refused.load(Ordering::Relaxed),
            allocate_refused: self.allocate_refused.load(Ordering::Relaxed),
            flights_refused: self.flights_refused.load(Ordering::Relaxed),
            flights: self.flights.load(Ordering::Relaxed),
            writes: self.writes.load(Ordering::Relaxed),
            durable_writes: self.durable_writes.load(Ordering::Relaxed),
            written_bytes: self.written_bytes.load(Ordering::Relaxed),
            syncs: self.syncs.load(Ordering::Relaxed),
        }
    }
}

pub(crate) fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}
