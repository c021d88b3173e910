//! A device that is a slice of bytes: FRAM or battery-backed RAM in the address space, or a stand-in for flash.

use core::fmt;

use crate::fault::{Fault, StorageError};
use crate::flat::{Device, DeviceGeometry};

/// Bytes in memory.
#[derive(Debug)]
pub struct SliceDevice<'b> {
    bytes: &'b mut [u8],
    geometry: DeviceGeometry,
}

impl<'b> SliceDevice<'b> {
    /// A device of this geometry. One that is longer than `bytes` fails where they end.
    #[must_use]
    pub const fn new(bytes: &'b mut [u8], geometry: DeviceGeometry) -> Self {
        Self { bytes, geometry }
    }

    fn range(&mut self, offset: u32, len: usize) -> Result<&mut [u8], SliceError> {
        let start = offset as usize;
        let end = start.checked_add(len).ok_or(SliceError)?;
        self.bytes.get_mut(start..end).ok_or(SliceError)
    }
}

impl Device for SliceDevice<'_> {
    type Error = SliceError;

    fn geometry(&self) -> DeviceGeometry {
        self.geometry
    }

    fn may_forget(&self) -> bool {
        false
    }

    fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), SliceError> {
        let bytes = self.range(offset, buf.len())?;
        buf.copy_from_slice(bytes);
        Ok(())
    }

    fn program(&mut self, offset: u32, bytes: &[u8]) -> Result<(), SliceError> {
        self.range(offset, bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }

    fn erase(&mut self, offset: u32, len: u32) -> Result<(), SliceError> {
        let erased = self.geometry.erased().unwrap_or(0);
        self.range(offset, len as usize)?.fill(erased);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), SliceError> {
        Ok(())
    }
}

/// The bytes end before the device does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SliceError;

impl fmt::Display for SliceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes end before the device does")
    }
}

impl core::error::Error for SliceError {}

impl embedded_io::Error for SliceError {
    fn kind(&self) -> embedded_io::ErrorKind {
        embedded_io::ErrorKind::InvalidInput
    }
}

impl StorageError for SliceError {
    fn fault(&self) -> Fault {
        Fault::Device
    }
}
