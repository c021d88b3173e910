//! The lower edge: what the log asks of a medium. Knows segments and bytes, nothing of frames.

use core::ops::ControlFlow;

use super::twin;
use crate::fault::{Found, StorageError};
use crate::geometry::{Geometry, Mark, SegmentId};

/// The segments of one region.
///
/// No method has a default, so that a decorator that forgets one does not compile. An offset or length
/// is in bytes from the start of the segment.
///
/// After a `write`, `hand_over` or `sync` returned an error other than [`Fault::Full`](crate::Fault::Full) the log calls
/// neither of them again on this value.
#[twin(AFIT)]
#[allow(
    async_fn_in_trait,
    reason = "an executor of one core asks for no Send, and callers name their storage"
)]
pub trait Storage {
    /// The storage's own error.
    type Error: StorageError;

    /// Never changes during the life of the value.
    fn geometry(&self) -> Geometry;

    /// Visits each segment and each unreadable slot once, in any order; the visitor does not call the
    /// storage.
    ///
    /// # Errors
    /// An incomplete listing is an error, never a shorter list.
    async fn segments(&mut self, visit: &mut dyn FnMut(Found) -> ControlFlow<()>) -> Result<(), Self::Error>;

    /// Makes a blank segment that starts with `header` (64 bytes). On return it is whole and durable,
    /// name included. It may run ahead of its use.
    ///
    /// Power loss: the segment is absent, [`Found::Unreadable`], or whole.
    ///
    /// # Errors
    /// [`Fault::Full`](crate::Fault::Full) changes nothing.
    async fn create(&mut self, id: SegmentId, header: &[u8]) -> Result<(), Self::Error>;

    /// On return there is space for every byte before `end` (written ahead where that matters), and it
    /// survives with the next `sync`. Claiming less than before does nothing.
    ///
    /// Power loss: the space is there or not; no byte differs from the erased value because of it.
    ///
    /// # Errors
    /// [`Fault::Full`](crate::Fault::Full) changes nothing.
    async fn claim(&mut self, id: SegmentId, end: u32) -> Result<(), Self::Error>;

    /// No byte at or behind this offset was ever written; they read as erased. The segment length
    /// where the storage cannot tell (and always where there is no erased state). Saves reading holes.
    ///
    /// # Errors
    /// A file that is not as long as its segment is an error.
    async fn extent(&mut self, id: SegmentId) -> Result<u32, Self::Error>;

    /// A lending storage returns all `len` bytes of its map; a copying one the first
    /// min(`len`, `buf.len()`) of them in `buf`. Sees all earlier writes.
    ///
    /// # Errors
    /// [`Fault::Unreadable`](crate::Fault::Unreadable) where the medium says that these bytes are damaged.
    async fn read<'a>(
        &'a mut self,
        id: SegmentId,
        offset: u32,
        len: u32,
        buf: &'a mut [u8],
    ) -> Result<&'a [u8], Self::Error>;

    /// Writes `parts` one behind the other. `offset` is a multiple of the write unit; where the sum of
    /// the parts is not, the storage fills the last unit up with zeros.
    ///
    /// Power loss before the next `sync`: each unit written since the last one is old, new or torn, in any
    /// combination; no other byte changes outside a shared sync unit.
    ///
    /// # Errors
    /// After any error the bytes are in doubt; the log poisons itself.
    async fn write(&mut self, id: SegmentId, offset: u32, parts: &[&[u8]]) -> Result<(), Self::Error>;

    /// On return, bytes before `to` survive the death of the process (a storage that gathers writes
    /// hands them to the kernel here). Says nothing about power loss.
    ///
    /// # Errors
    /// After any error the bytes are in doubt; the log poisons itself.
    async fn hand_over(&mut self, to: Mark) -> Result<(), Self::Error>;

    /// On return, bytes of this segment before `to` survive power loss.
    ///
    /// # Errors
    /// After any error never called again: a second try may say yes about bytes that are gone.
    async fn sync(&mut self, to: Mark) -> Result<(), Self::Error>;

    /// Makes durable what reads back in this range, even if a sync in an earlier life failed. (Cached
    /// files: write the same bytes again and sync, or read past the cache; elsewhere: sync.)
    ///
    /// # Errors
    /// The range is not known durable.
    async fn settle(&mut self, id: SegmentId, from: u32, to: u32) -> Result<(), Self::Error>;

    /// On return the segment is gone for good.
    ///
    /// Power loss: whole, [`Found::Unreadable`] or gone.
    ///
    /// # Errors
    /// The segment may be any of the three; it is met again at the next listing.
    async fn remove(&mut self, id: SegmentId) -> Result<(), Self::Error>;

    /// Frees an unreadable slot of the last listing. Storages never do so unasked.
    ///
    /// # Errors
    /// The slot stays unreadable.
    async fn release(&mut self, slot: u32) -> Result<(), Self::Error>;
}
