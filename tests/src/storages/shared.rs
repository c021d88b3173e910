//! Memory that several handles share: the least that is a `SharedStorage`.

use core::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use walstone_core::ram::{RamError, RamStorage};
use walstone_core::{Found, SharedStorage, Storage};
use walstone_core::{Geometry, Mark, SegmentId};

/// A handle on a [`RamStorage`]. Reads and pins copy.
#[derive(Clone, Debug)]
pub struct SharedRam {
    ram: Arc<Mutex<RamStorage>>,
    geometry: Geometry,
}

impl SharedRam {
    /// A first handle on `ram`.
    #[must_use]
    pub fn new(ram: RamStorage) -> Self {
        let geometry = ram.geometry();
        Self {
            ram: Arc::new(Mutex::new(ram)),
            geometry,
        }
    }

    /// A copy of everything, which no handle changes any more.
    #[must_use]
    pub fn image(&self) -> RamStorage {
        self.ram().clone()
    }

    /// Changes the memory behind all handles, to damage it or to limit it.
    pub fn change(&self, change: impl FnOnce(&mut RamStorage)) {
        change(&mut self.ram());
    }

    fn ram(&self) -> MutexGuard<'_, RamStorage> {
        self.ram.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for SharedRam {
    type Error = RamError;

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn segments(&mut self, visit: &mut dyn FnMut(Found) -> ControlFlow<()>) -> Result<(), RamError> {
        self.ram().segments(visit)
    }

    fn create(&mut self, id: SegmentId, header: &[u8]) -> Result<(), RamError> {
        self.ram().create(id, header)
    }

    fn claim(&mut self, id: SegmentId, end: u32) -> Result<(), RamError> {
        self.ram().claim(id, end)
    }

    fn extent(&mut self, id: SegmentId) -> Result<u32, RamError> {
        self.ram().extent(id)
    }

    fn read<'a>(&'a mut self, id: SegmentId, offset: u32, len: u32, buf: &'a mut [u8]) -> Result<&'a [u8], RamError> {
        let mut ram = self.ram();
        let bytes = ram.read(id, offset, len, &mut [])?;
        let filled_len = bytes.len().min(buf.len());
        let filled = &mut buf[..filled_len];
        filled.copy_from_slice(&bytes[..filled_len]);
        Ok(filled)
    }

    fn write(&mut self, id: SegmentId, offset: u32, parts: &[&[u8]]) -> Result<(), RamError> {
        self.ram().write(id, offset, parts)
    }

    fn hand_over(&mut self, to: Mark) -> Result<(), RamError> {
        self.ram().hand_over(to)
    }

    fn sync(&mut self, to: Mark) -> Result<(), RamError> {
        self.ram().sync(to)
    }

    fn settle(&mut self, id: SegmentId, from: u32, to: u32) -> Result<(), RamError> {
        self.ram().settle(id, from, to)
    }

    fn remove(&mut self, id: SegmentId) -> Result<(), RamError> {
        self.ram().remove(id)
    }

    fn release(&mut self, slot: u32) -> Result<(), RamError> {
        self.ram().release(slot)
    }
}

impl SharedStorage for SharedRam {
    type Pin = Arc<[u8]>;

    fn pin(&self, id: SegmentId, from: u32, to: u32) -> Result<Arc<[u8]>, RamError> {
        let len = to.saturating_sub(from);
        Ok(Arc::from(self.ram().read(id, from, len, &mut [])?))
    }
}
