//! A chip behind the traits of `embedded-storage` and `embedded-storage-async`, whose units are constants.

use embedded_storage::nor_flash::{self, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};
use embedded_storage_async::nor_flash as awaited;
use walstone_core::flat::{Device, DeviceGeometry};

use super::awaited::pending_once;
use super::{Chip, ChipError};

/// A chip with reads of `READ` bytes, programs of `WRITE`, erases of `ERASE`.
#[derive(Clone, Debug)]
pub struct NorChip<const READ: usize, const WRITE: usize, const ERASE: usize> {
    /// The chip.
    pub chip: Chip,
}

impl<const READ: usize, const WRITE: usize, const ERASE: usize> NorChip<READ, WRITE, ERASE> {
    /// A chip of `blocks` erase blocks.
    #[must_use]
    pub fn new(blocks: u32) -> Self {
        Self {
            chip: Chip::new(DeviceGeometry::flash(blocks * ERASE as u32, WRITE as u16, ERASE as u32)),
        }
    }
}

impl NorFlashError for ChipError {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}

impl<const READ: usize, const WRITE: usize, const ERASE: usize> nor_flash::ErrorType for NorChip<READ, WRITE, ERASE> {
    type Error = ChipError;
}

impl<const READ: usize, const WRITE: usize, const ERASE: usize> ReadNorFlash for NorChip<READ, WRITE, ERASE> {
    const READ_SIZE: usize = READ;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), ChipError> {
        let aligned = (offset as usize).is_multiple_of(READ) && bytes.len().is_multiple_of(READ);
        assert!(
            aligned,
            "a read of {} bytes at {offset} in units of {READ}",
            bytes.len()
        );
        self.chip.read(offset, bytes)
    }

    fn capacity(&self) -> usize {
        self.chip.geometry().len() as usize
    }
}

impl<const READ: usize, const WRITE: usize, const ERASE: usize> NorFlash for NorChip<READ, WRITE, ERASE> {
    const WRITE_SIZE: usize = WRITE;
    const ERASE_SIZE: usize = ERASE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), ChipError> {
        self.chip.erase(from, to - from)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), ChipError> {
        self.chip.program(offset, bytes)
    }
}

/// The same chip, whose calls are pending once.
#[derive(Clone, Debug)]
pub struct AwaitedNor<const READ: usize, const WRITE: usize, const ERASE: usize>(pub NorChip<READ, WRITE, ERASE>);

impl<const READ: usize, const WRITE: usize, const ERASE: usize> nor_flash::ErrorType
    for AwaitedNor<READ, WRITE, ERASE>
{
    type Error = ChipError;
}

impl<const READ: usize, const WRITE: usize, const ERASE: usize> awaited::ReadNorFlash
    for AwaitedNor<READ, WRITE, ERASE>
{
    const READ_SIZE: usize = READ;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), ChipError> {
        pending_once().await;
        self.0.read(offset, bytes)
    }

    fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

impl<const READ: usize, const WRITE: usize, const ERASE: usize> awaited::NorFlash for AwaitedNor<READ, WRITE, ERASE> {
    const WRITE_SIZE: usize = WRITE;
    const ERASE_SIZE: usize = ERASE;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), ChipError> {
        pending_once().await;
        self.0.erase(from, to)
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), ChipError> {
        pending_once().await;
        self.0.write(offset, bytes)
    }
}
