//! A handle on the segments of one region: [`Storage`] by raw system calls.

use core::fmt;
use core::marker::PhantomData;
use core::ops::{ControlFlow, Deref};

use walstone_core::{Found, Geometry, Mark, SegmentId, Storage};

use crate::error::LinuxError;
use crate::region::RegionFiles;

/// A handle on the segments of one region: `F` is a reference to its [`RegionFiles`], borrowed or counted. Copies of
/// the reference are handles on the same segments.
///
/// Writes are gathered until they are handed over or synced, or until the buffer is full: *written* means handed over.
/// Beside the one handle that appends the others may create, claim, hand over, sync, read and remove.
#[derive(Clone)]
pub struct LinuxStorage<'m, F> {
    files: F,
    memory: PhantomData<&'m [u8]>,
}

impl<'m, F: Deref<Target = RegionFiles<'m>>> LinuxStorage<'m, F> {
    /// A handle on these files.
    pub fn new(files: F) -> Self {
        Self {
            files,
            memory: PhantomData,
        }
    }

    /// The files.
    #[must_use]
    pub fn files(&self) -> &RegionFiles<'m> {
        &self.files
    }

    /// The reference to the files.
    #[must_use]
    pub fn into_files(self) -> F {
        self.files
    }

    /// As [`Storage::claim`], and no more than was asked for. `bulk`: much of the space will be used up between two syncs,
    /// so blocks are reserved and not written.
    ///
    /// # Errors
    /// As [`Storage::claim`].
    pub fn claim_exactly(&self, to: Mark, bulk: bool) -> Result<(), LinuxError> {
        self.files.claim(to.segment, to.end, true, bulk)
    }
}

impl<'m, F: Deref<Target = RegionFiles<'m>>> Storage for LinuxStorage<'m, F> {
    type Error = LinuxError;

    fn geometry(&self) -> Geometry {
        self.files.geometry()
    }

    fn segments(&mut self, visit: &mut dyn FnMut(Found) -> ControlFlow<()>) -> Result<(), LinuxError> {
        self.files.segments(visit)
    }

    fn create(&mut self, id: SegmentId, header: &[u8]) -> Result<(), LinuxError> {
        self.files.create(id, header)
    }

    fn claim(&mut self, id: SegmentId, end: u32) -> Result<(), LinuxError> {
        self.files.claim(id, end, false, false)
    }

    fn extent(&mut self, id: SegmentId) -> Result<u32, LinuxError> {
        self.files.extent(id)
    }

    fn read<'a>(&'a mut self, id: SegmentId, offset: u32, len: u32, buf: &'a mut [u8]) -> Result<&'a [u8], LinuxError> {
        self.files.check_range(id, offset, len)?;
        let count = buf.len().min(len as usize);
        let buf = buf.get_mut(..count).unwrap_or_default();
        self.files.read(id, offset, buf)?;
        Ok(buf)
    }

    fn write(&mut self, id: SegmentId, offset: u32, parts: &[&[u8]]) -> Result<(), LinuxError> {
        self.files.write(id, offset, parts)
    }

    fn hand_over(&mut self, to: Mark) -> Result<(), LinuxError> {
        self.files.hand_over(to)
    }

    fn sync(&mut self, to: Mark) -> Result<(), LinuxError> {
        self.files.sync(to)
    }

    fn settle(&mut self, id: SegmentId, from: u32, to: u32) -> Result<(), LinuxError> {
        self.files.settle(id, from, to)
    }

    fn remove(&mut self, id: SegmentId) -> Result<(), LinuxError> {
        self.files.remove(id)
    }

    fn release(&mut self, slot: u32) -> Result<(), LinuxError> {
        self.files.release(slot)
    }
}

#[cfg(feature = "alloc")]
impl<'m, F> walstone_core::SharedStorage for LinuxStorage<'m, F>
where
    F: Deref<Target = RegionFiles<'m>> + Clone + Send + Sync,
{
    type Pin = crate::pin::Pin;

    fn pin(&self, id: SegmentId, from: u32, to: u32) -> Result<Self::Pin, LinuxError> {
        crate::pin::Pin::new(&self.files, id, from, to)
    }
}

impl<'m, F: Deref<Target = RegionFiles<'m>>> fmt::Debug for LinuxStorage<'m, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinuxStorage")
            .field("geometry", &self.files.geometry())
            .field("stats", &self.files.stats())
            .finish_non_exhaustive()
    }
}
