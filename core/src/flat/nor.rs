//! Devices behind the `embedded-storage` traits.

use core::fmt;

use super::embedded::nor_flash::NorFlash;
use super::{Device, embedded, twin};
use crate::flat::{ByteError, DeviceGeometry, NorError};
use crate::wire;

/// NOR flash behind [`NorFlash`]. The driver is given buffers of any alignment, and to program even such as stand in flash:
/// one that moves bytes by DMA may have to copy them.
#[derive(Debug)]
pub struct NorDevice<F: NorFlash> {
    flash: F,
    page_len: u32,
    erased: u8,
    unreadable: fn(&F::Error) -> bool,
}

/// The longest read unit: what is read and thrown away stands on the stack.
const MAX_READ_SIZE: usize = 32;

#[twin(AFIT)]
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

    async fn read_aligned(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), NorError<F::Error>> {
        let read = self.flash.read(offset, buf).await;
        read.map_err(|error| self.failed(error))
    }
}

#[twin(AFIT)]
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

    async fn read(&mut self, mut offset: u32, buf: &mut [u8]) -> Result<(), Self::Error> {
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
                self.read_aligned(offset, head).await?;
            } else {
                let mut held = [0; MAX_READ_SIZE];
                let held = held.get_mut(..unit).unwrap_or_default();
                self.read_aligned(offset - skipped as u32, held).await?;
                wire::put(head, 0..taken, held.get(skipped..skipped + taken).unwrap_or_default());
            }
            offset += taken as u32;
            rest = behind;
        }
        Ok(())
    }

    async fn program(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        let written = self.flash.write(offset, bytes).await;
        written.map_err(|error| self.failed(error))
    }

    async fn erase(&mut self, offset: u32, len: u32) -> Result<(), Self::Error> {
        let erased = self.flash.erase(offset, offset + len).await;
        erased.map_err(|error| self.failed(error))
    }

    async fn sync(&mut self) -> Result<(), Self::Error> {
        // A flash driver returns when the flash is done.
        Ok(())
    }
}

/// EEPROM or FRAM behind [`embedded::Storage`], whose writes return when they are durable.
#[derive(Debug)]
pub struct ByteDevice<S> {
    storage: S,
    geometry: DeviceGeometry,
}

#[twin(AFIT)]
impl<S: embedded::Storage> ByteDevice<S> {
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

#[twin(AFIT)]
impl<S: embedded::Storage> Device for ByteDevice<S>
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

    async fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), Self::Error> {
        self.storage
            .read(offset, buf)
            .await
            .map_err(|error| ByteError { error })
    }

    async fn program(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        self.storage
            .write(offset, bytes)
            .await
            .map_err(|error| ByteError { error })
    }

    async fn erase(&mut self, mut offset: u32, mut len: u32) -> Result<(), Self::Error> {
        // Where the geometry says that there is an erase, it is a write of what an erase leaves.
        let erased = [self.geometry.erased().unwrap_or(0); 64];
        while len > 0 {
            let step = len.min(erased.len() as u32);
            self.program(offset, erased.get(..step as usize).unwrap_or_default())
                .await?;
            offset += step;
            len -= step;
        }
        Ok(())
    }

    async fn sync(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}
