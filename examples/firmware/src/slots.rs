//! Stand-in for the slot adapter.
#![allow(missing_docs, reason = "stands in for the adapter of the engine")]

use core::ops::ControlFlow;
use embedded_storage::nor_flash::{NorFlash, NorFlashError};
use walstone_core::{Fault, Found, Geometry, Mark, SegmentId, Storage, StorageError};

use crate::nor::SECTOR_LEN as PAGE;

#[derive(Debug)]
pub enum Error {
    Full,
    Device,
    NotFound,
}
impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("slot")
    }
}
impl core::error::Error for Error {}
impl embedded_io::Error for Error {
    fn kind(&self) -> embedded_io::ErrorKind {
        embedded_io::ErrorKind::Other
    }
}
impl StorageError for Error {
    fn fault(&self) -> Fault {
        match self {
            Error::Full => Fault::Full,
            _ => Fault::Device,
        }
    }
}
impl<E: NorFlashError> From<E> for Error {
    fn from(_: E) -> Self {
        Error::Device
    }
}

#[derive(Debug)]
pub struct Slots<F> {
    flash: F,
    geometry: Geometry,
    next: u32,
}

impl<F: NorFlash> Slots<F> {
    pub fn new(flash: F) -> Option<Self> {
        let geometry = Geometry::new(PAGE as u32)
            .and_then(|geometry| geometry.with_write_unit(4))
            .and_then(|geometry| geometry.with_erased(Some(0xff)))
            .ok()?;
        Some(Self {
            flash,
            geometry,
            next: 0,
        })
    }
    fn count(&self) -> u32 {
        (self.flash.capacity() / PAGE) as u32
    }
    fn id_at(&mut self, slot: u32) -> Result<Option<SegmentId>, Error> {
        let mut id = [0; 8];
        self.flash.read(slot * PAGE as u32 + 40, &mut id)?;
        let id = u64::from_le_bytes(id);
        Ok((id != u64::MAX).then_some(SegmentId(id)))
    }
    fn find(&mut self, id: SegmentId) -> Result<u32, Error> {
        for slot in 0..self.count() {
            if self.id_at(slot)? == Some(id) {
                return Ok(slot * PAGE as u32);
            }
        }
        Err(Error::NotFound)
    }
}

impl<F: NorFlash> Storage for Slots<F> {
    type Error = Error;
    fn geometry(&self) -> Geometry {
        self.geometry
    }
    fn segments(&mut self, visit: &mut dyn FnMut(Found) -> ControlFlow<()>) -> Result<(), Error> {
        for slot in 0..self.count() {
            if let Some(id) = self.id_at(slot)?
                && visit(Found::Segment(id)).is_break()
            {
                break;
            }
        }
        Ok(())
    }
    fn create(&mut self, _id: SegmentId, header: &[u8]) -> Result<(), Error> {
        for _ in 0..self.count() {
            let slot = self.next;
            self.next = (slot + 1) % self.count();
            if self.id_at(slot)?.is_none() {
                self.flash.write(slot * PAGE as u32, header)?;
                return Ok(());
            }
        }
        Err(Error::Full)
    }
    fn claim(&mut self, _id: SegmentId, _end: u32) -> Result<(), Error> {
        Ok(())
    }
    fn extent(&mut self, _id: SegmentId) -> Result<u32, Error> {
        Ok(PAGE as u32)
    }
    fn read<'a>(&'a mut self, id: SegmentId, offset: u32, len: u32, buf: &'a mut [u8]) -> Result<&'a [u8], Error> {
        let at = self.find(id)?;
        let len = buf.len().min(len as usize);
        let buf = buf.get_mut(..len).ok_or(Error::Device)?;
        self.flash.read(at + offset, buf)?;
        Ok(buf)
    }
    fn write(&mut self, id: SegmentId, mut offset: u32, parts: &[&[u8]]) -> Result<(), Error> {
        offset += self.find(id)?;
        let mut unit = [0; 4];
        let mut filled = 0;
        for part in parts {
            for byte in *part {
                unit[filled & 3] = *byte;
                filled += 1;
                if filled == 4 {
                    self.flash.write(offset, &unit)?;
                    offset += 4;
                    filled = 0;
                    unit = [0; 4];
                }
            }
        }
        if filled > 0 {
            self.flash.write(offset, &unit)?;
        }
        Ok(())
    }
    fn hand_over(&mut self, _to: Mark) -> Result<(), Error> {
        Ok(())
    }
    fn sync(&mut self, _to: Mark) -> Result<(), Error> {
        Ok(())
    }
    fn settle(&mut self, _id: SegmentId, _from: u32, _to: u32) -> Result<(), Error> {
        Ok(())
    }
    fn remove(&mut self, id: SegmentId) -> Result<(), Error> {
        let at = self.find(id)?;
        self.flash.erase(at, at + PAGE as u32)?;
        Ok(())
    }
    fn release(&mut self, slot: u32) -> Result<(), Error> {
        self.flash.erase(slot * PAGE as u32, (slot + 1) * PAGE as u32)?;
        Ok(())
    }
}
