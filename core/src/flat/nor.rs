//! Devices of the `embedded-storage` traits, whose errors are made into ones that the log can sort.

use core::fmt;

use embedded_storage::nor_flash::{NorFlash, NorFlashError, NorFlashErrorKind};

use crate::flat::{Device, DeviceGeometry};
use crate::storage::{Fault, StorageError};

/// NOR flash behind [`NorFlash`].
#[derive(Debug)]
pub struct NorDevice<F: NorFlash> {
    flash: F,
    page_len: u32,
    erased: u8,
    unreadable: fn(&F::Error) -> bool,
}

/// The longest read unit: what is read and thrown away stands on the stack.
const MAX_READ_SIZE: usize = 32;

impl<F: NorFlash> NorDevice<F> {
    /// The whole flash. A part of it is a driver's `Partition`.
    pub const fn new(flash: F) -> Self {
        const { assert!(F::READ_SIZE.is_power_of_two() && F::READ_SIZE <= MAX_READ_SIZE) };
        const { assert!(F::WRITE_SIZE <= 4096) };
        Self {
            flash,
            page_len: F::WRITE_SIZE as u32,
            erased: 0xff,
            unreadable: |_| false,
        }
    }

    /// The program page of the chip, of which an interrupted program may disturb more than it wrote
    /// ([`Geometry::with_page_len`](crate::Geometry::with_page_len)): mostly 256 on serial flash.
    #[must_use]
    pub const fn with_page_len(mut self, page_len: u32) -> Self {
        self.page_len = page_len;
        self
    }

    /// What the chip reads as after an erase, where that is not `0xff`.
    #[must_use]
    pub const fn with_erased(mut self, erased: u8) -> Self {
        self.erased = erased;
        self
    }

    /// Which errors of a read mean that the ECC of these bytes failed, as it does for a unit that was torn.
    #[must_use]
    pub const fn with_unreadable(mut self, unreadable: fn(&F::Error) -> bool) -> Self {
        self.unreadable = unreadable;
        self
    }

    /// The flash.
    pub const fn flash(&self) -> &F {
        &self.flash
    }

    /// The flash, to be changed behind the back of the log.
    pub const fn flash_mut(&mut self) -> &mut F {
        &mut self.flash
    }

    /// Gives the flash back.
    pub fn into_inner(self) -> F {
        self.flash
    }

    fn failed(&self, error: F::Error) -> NorError<F::Error> {
        let unreadable = (self.unreadable)(&error);
        NorError { error, unreadable }
    }

    fn read_aligned(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), NorError<F::Error>> {
        let read = self.flash.read(offset, buf);
        read.map_err(|error| self.failed(error))
    }
}

impl<F: NorFlash> Device for NorDevice<F>
where
    F::Error: 'static,
{
    type Error = NorError<F::Error>;

    fn geometry(&self) -> DeviceGeometry {
        let len = u32::try_from(self.flash.capacity()).unwrap_or(u32::MAX);
        DeviceGeometry::flash(len, F::WRITE_SIZE as u16, F::ERASE_SIZE as u32)
            .with_page_len(self.page_len)
            .with_erased(self.erased)
    }

    fn may_forget(&self) -> bool {
        false
    }

    fn read(&mut self, mut offset: u32, buf: &mut [u8]) -> Result<(), Self::Error> {
        let unit = F::READ_SIZE;
        let mut rest = buf;
        while !rest.is_empty() {
            let skipped = offset as usize & (unit - 1);
            let whole = if skipped == 0 { rest.len() & !(unit - 1) } else { 0 };
            let taken = if whole > 0 {
                whole
            } else {
                rest.len().min(unit - skipped)
            };
            let Some((head, behind)) = rest.split_at_mut_checked(taken) else {
                break;
            };
            if whole > 0 {
                self.read_aligned(offset, head)?;
            } else {
                let mut held = [0; MAX_READ_SIZE];
                let held = held.get_mut(..unit).unwrap_or_default();
                self.read_aligned(offset - skipped as u32, held)?;
                if let Some(wanted) = held.get(skipped..skipped + taken) {
                    head.copy_from_slice(wanted);
                }
            }
            offset += taken as u32;
            rest = behind;
        }
        Ok(())
    }

    fn program(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        let written = self.flash.write(offset, bytes);
        written.map_err(|error| self.failed(error))
    }

    fn erase(&mut self, offset: u32, len: u32) -> Result<(), Self::Error> {
        let erased = self.flash.erase(offset, offset + len);
        erased.map_err(|error| self.failed(error))
    }

    fn sync(&mut self) -> Result<(), Self::Error> {
        // A flash driver returns when the flash is done.
        Ok(())
    }
}

/// The error of a flash driver, of its own type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct NorError<E> {
    /// What the driver says.
    pub error: E,
    /// The ECC of these bytes failed.
    pub unreadable: bool,
}

impl<E: NorFlashError> fmt::Display for NorError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.error.kind() {
            _ if self.unreadable => "flash is unreadable here",
            NorFlashErrorKind::NotAligned => "flash driver was given something unaligned",
            NorFlashErrorKind::OutOfBounds => "flash driver was asked for something out of bounds",
            _ => "flash driver failed",
        })
    }
}

impl<E: NorFlashError> core::error::Error for NorError<E> {}

impl<E: NorFlashError> embedded_io::Error for NorError<E> {
    fn kind(&self) -> embedded_io::ErrorKind {
        match self.error.kind() {
            NorFlashErrorKind::NotAligned | NorFlashErrorKind::OutOfBounds => embedded_io::ErrorKind::InvalidInput,
            _ if self.unreadable => embedded_io::ErrorKind::InvalidData,
            _ => embedded_io::ErrorKind::Other,
        }
    }
}

impl<E: NorFlashError> StorageError for NorError<E> {
    fn fault(&self) -> Fault {
        if self.unreadable {
            Fault::Unreadable
        } else {
            Fault::Device
        }
    }
}

/// EEPROM or FRAM behind [`embedded_storage::Storage`], whose writes return when they are durable.
#[derive(Debug)]
pub struct ByteDevice<S> {
    storage: S,
    geometry: DeviceGeometry,
}

impl<S: embedded_storage::Storage> ByteDevice<S> {
    /// The whole storage. Set [`DeviceGeometry::with_sync_unit`] on what [`ByteDevice::with_geometry`] is given where
    /// an interrupted write may harm bytes beside those it writes, as within the page of some EEPROMs.
    pub fn new(storage: S) -> Self {
        let len = u32::try_from(storage.capacity()).unwrap_or(u32::MAX);
        Self {
            storage,
            geometry: DeviceGeometry::without_erase(len),
        }
    }

    /// As `geometry` says.
    #[must_use]
    pub const fn with_geometry(mut self, geometry: DeviceGeometry) -> Self {
        self.geometry = geometry;
        self
    }

    /// Gives the storage back.
    pub fn into_inner(self) -> S {
        self.storage
    }
}

impl<S: embedded_storage::Storage> Device for ByteDevice<S>
where
    S::Error: fmt::Debug + 'static,
{
    type Error = ByteError<S::Error>;

    fn geometry(&self) -> DeviceGeometry {
        self.geometry
    }

    fn may_forget(&self) -> bool {
        false
    }

    fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), Self::Error> {
        self.storage.read(offset, buf).map_err(|error| ByteError { error })
    }

    fn program(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        self.storage.write(offset, bytes).map_err(|error| ByteError { error })
    }

    fn erase(&mut self, _offset: u32, _len: u32) -> Result<(), Self::Error> {
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// The error of a storage driver, of its own type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ByteError<E> {
    /// What the driver says.
    pub error: E,
}

impl<E> fmt::Display for ByteError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("storage driver failed")
    }
}

impl<E: fmt::Debug> core::error::Error for ByteError<E> {}

impl<E: fmt::Debug> embedded_io::Error for ByteError<E> {
    fn kind(&self) -> embedded_io::ErrorKind {
        embedded_io::ErrorKind::Other
    }
}

impl<E: fmt::Debug> StorageError for ByteError<E> {
    fn fault(&self) -> Fault {
        Fault::Device
    }
}
