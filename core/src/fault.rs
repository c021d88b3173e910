//! What a storage answers beside bytes: what it found, and what kind of failure it met.

use crate::geometry::SegmentId;

/// What a listing meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Found {
    /// A segment whose header may be read.
    Segment(SegmentId),
    /// An interrupted create or remove, a leftover temporary, or damage. The region decides which.
    Unreadable {
        /// Numbered for this listing, for [`Storage::release`](crate::Storage::release).
        slot: u32,
    },
}

/// What kind of failure a storage met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Fault {
    /// No room. Nothing changed; nothing is poisoned.
    Full,
    /// These bytes do not verify (an ECC fault on read). Treated as invalid bytes, not as a dead device.
    Unreadable,
    /// Everything else.
    Device,
}

/// An error of a storage, sorted by what the log must do about it.
pub trait StorageError: embedded_io::Error {
    /// The kind of failure.
    fn fault(&self) -> Fault;
}
