//! The least driver of a NOR flash, for the probes: memory in which programming clears bits and erasing sets them.

use core::future::poll_fn;
use core::mem::replace;
use core::task::Poll;

use embedded_storage::nor_flash::{
    ErrorType, MultiwriteNorFlash, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};
use embedded_storage_async::nor_flash as asynchronous;

/// Bytes that are erased together.
pub const SECTOR_LEN: usize = 4096;

/// The chip.
#[derive(Debug)]
pub struct Nor {
    cells: &'static mut [u8],
}

/// An address that the chip does not have.
#[derive(Clone, Copy, Debug)]
pub struct OutOfBounds;

impl NorFlashError for OutOfBounds {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::OutOfBounds
    }
}

impl Nor {
    /// A chip whose cells hold what they hold.
    pub fn new(cells: &'static mut [u8]) -> Self {
        Self { cells }
    }

    fn cells(&mut self, offset: u32, len: usize) -> Result<&mut [u8], OutOfBounds> {
        let at = offset as usize;
        self.cells.get_mut(at..at + len).ok_or(OutOfBounds)
    }
}

impl ErrorType for Nor {
    type Error = OutOfBounds;
}

impl ReadNorFlash for Nor {
    const READ_SIZE: usize = 1;

    #[inline(never)]
    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), OutOfBounds> {
        // Byte by byte: a copy of slices has a way to panic.
        let cells = self.cells(offset, bytes.len())?;
        for (byte, cell) in bytes.iter_mut().zip(cells) {
            *byte = *cell;
        }
        Ok(())
    }

    #[inline(never)]
    fn capacity(&self) -> usize {
        self.cells.len()
    }
}

impl NorFlash for Nor {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = SECTOR_LEN;

    #[inline(never)]
    fn erase(&mut self, from: u32, to: u32) -> Result<(), OutOfBounds> {
        self.cells(from, to.wrapping_sub(from) as usize)?.fill(0xff);
        Ok(())
    }

    #[inline(never)]
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), OutOfBounds> {
        for (cell, byte) in self.cells(offset, bytes.len())?.iter_mut().zip(bytes) {
            *cell &= byte;
        }
        Ok(())
    }
}

impl MultiwriteNorFlash for Nor {}

/// As a chip is: a driver whose futures are ready at once would cost less than any real one.
async fn busy() {
    let mut asked = false;
    poll_fn(|_| {
        if replace(&mut asked, true) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

impl asynchronous::ReadNorFlash for Nor {
    const READ_SIZE: usize = 1;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), OutOfBounds> {
        busy().await;
        ReadNorFlash::read(self, offset, bytes)
    }

    fn capacity(&self) -> usize {
        ReadNorFlash::capacity(self)
    }
}

impl asynchronous::NorFlash for Nor {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = SECTOR_LEN;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), OutOfBounds> {
        busy().await;
        NorFlash::erase(self, from, to)
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), OutOfBounds> {
        busy().await;
        NorFlash::write(self, offset, bytes)
    }
}

impl asynchronous::MultiwriteNorFlash for Nor {}
