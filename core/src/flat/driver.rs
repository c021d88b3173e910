//! Errors of drivers behind the `embedded-storage` traits, made into ones that the log can sort.

use core::fmt;

use embedded_storage::nor_flash::{NorFlashError, NorFlashErrorKind};

use crate::fault::{Fault, StorageError};

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
