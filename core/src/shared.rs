//! A storage that several threads use at once.

use core::ops::Deref;

use crate::geometry::SegmentId;
use crate::storage::Storage;

/// A storage whose clones are handles on the same segments.
///
/// One handle appends. Beside it others may create ids ahead, sync, hand over, remove what the region gave
/// up, and pin below an end that the appender published.
pub trait SharedStorage: Storage + Clone + Send + Sync {
    /// Bytes lent or copied, valid through rotation, removal and eviction.
    type Pin: Deref<Target = [u8]> + Clone + Send + Sync;

    /// Bytes `from..to` of a segment, all of them already written.
    ///
    /// # Errors
    /// The segment is not there, or cannot be read.
    fn pin(&self, id: SegmentId, from: u32, to: u32) -> Result<Self::Pin, Self::Error>;
}
