//! A medium that outlives the log that uses it, even where an error of the log consumes its storage.

use core::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use walstone_core::{Found, SharedStorage, Storage};
use walstone_core::{Geometry, Mark, SegmentId};

use super::Medium;
use crate::storages::SimError;

/// A handle on a [`Medium`]; clones are handles on the same one. Reads copy, however the medium reads.
#[derive(Clone, Debug)]
pub struct MediumHandle {
    medium: Arc<Mutex<Medium>>,
    geometry: Geometry,
}

impl MediumHandle {
    /// A first handle.
    #[must_use]
    pub fn new(medium: Medium) -> Self {
        let geometry = medium.geometry;
        Self {
            medium: Arc::new(Mutex::new(medium)),
            geometry,
        }
    }

    /// The medium as it is now; later calls do not change the copy.
    #[must_use]
    pub fn medium(&self) -> Medium {
        self.lock().clone()
    }

    /// Plans a crash or a fault, or damages bytes, behind all handles.
    pub fn change<T>(&self, change: impl FnOnce(&mut Medium) -> T) -> T {
        change(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Medium> {
        self.medium.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for MediumHandle {
    type Error = SimError;

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn segments(&mut self, visit: &mut dyn FnMut(Found) -> ControlFlow<()>) -> Result<(), SimError> {
        self.lock().segments(visit)
    }

    fn create(&mut self, id: SegmentId, header: &[u8]) -> Result<(), SimError> {
        self.lock().create(id, header)
    }

    fn claim(&mut self, id: SegmentId, end: u32) -> Result<(), SimError> {
        self.lock().claim(id, end)
    }

    fn extent(&mut self, id: SegmentId) -> Result<u32, SimError> {
        self.lock().extent(id)
    }

    fn read<'a>(&'a mut self, id: SegmentId, offset: u32, len: u32, buf: &'a mut [u8]) -> Result<&'a [u8], SimError> {
        let medium = self.lock();
        medium.powered()?;
        let segment = medium.find(id)?;
        medium.check_range(offset, len as usize)?;
        let len = buf.len().min(len as usize);
        let filled = &mut buf[..len];
        filled.copy_from_slice(&segment.live.data()[offset as usize..][..len]);
        Ok(filled)
    }

    fn write(&mut self, id: SegmentId, offset: u32, parts: &[&[u8]]) -> Result<(), SimError> {
        self.lock().write(id, offset, parts)
    }

    fn hand_over(&mut self, to: Mark) -> Result<(), SimError> {
        self.lock().hand_over(to)
    }

    fn sync(&mut self, to: Mark) -> Result<(), SimError> {
        self.lock().sync(to)
    }

    fn settle(&mut self, id: SegmentId, from: u32, to: u32) -> Result<(), SimError> {
        self.lock().settle(id, from, to)
    }

    fn remove(&mut self, id: SegmentId) -> Result<(), SimError> {
        self.lock().remove(id)
    }

    fn release(&mut self, slot: u32) -> Result<(), SimError> {
        self.lock().release(slot)
    }
}

impl SharedStorage for MediumHandle {
    type Pin = Arc<[u8]>;

    fn pin(&self, id: SegmentId, from: u32, to: u32) -> Result<Arc<[u8]>, SimError> {
        let medium = self.lock();
        medium.powered()?;
        let len = to.saturating_sub(from) as usize;
        medium.check_range(from, len)?;
        let bytes = medium.find(id)?.live.data();
        Ok(Arc::from(&bytes[from as usize..][..len]))
    }
}
