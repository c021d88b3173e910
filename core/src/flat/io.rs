//! A device that is anything which reads, writes and seeks: an SD card's partition, a file.

use core::fmt;

use embedded_io::{ErrorType, Read, ReadExactError, Seek, SeekFrom, Write};

use crate::fault::{Fault, StorageError};
use crate::flat::{Device, DeviceGeometry};

/// Bytes behind [`Read`], [`Write`] and [`Seek`], which say nothing about power loss: a hook does.
pub struct IoDevice<T, F> {
    io: T,
    geometry: DeviceGeometry,
    durable: F,
}

impl<T, F> IoDevice<T, F>
where
    T: Read + Write + Seek,
    F: FnMut(&mut T) -> Result<(), T::Error>,
{
    /// `durable` is called after `flush`; when it returns, what was written survives power loss.
    pub const fn new(io: T, geometry: DeviceGeometry, durable: F) -> Self {
        Self { io, geometry, durable }
    }

    /// Gives the bytes back.
    pub fn into_inner(self) -> T {
        self.io
    }

    fn seek(&mut self, offset: u32) -> Result<(), IoError<T::Error>> {
        let reached = self.io.seek(SeekFrom::Start(u64::from(offset))).map_err(IoError::Io)?;
        if reached == u64::from(offset) {
            Ok(())
        } else {
            Err(IoError::Short)
        }
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), IoError<T::Error>> {
        self.seek(offset)?;
        self.write_on(bytes)
    }

    /// Writes where it stands. Not by `write_all`, which panics where nothing more is taken.
    fn write_on(&mut self, mut bytes: &[u8]) -> Result<(), IoError<T::Error>> {
        while !bytes.is_empty() {
            let written = self.io.write(bytes).map_err(IoError::Io)?;
            bytes = match bytes.get(written..) {
                Some(rest) if written > 0 => rest,
                _ => return Err(IoError::Short),
            };
        }
        Ok(())
    }
}

impl<T, F> fmt::Debug for IoDevice<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IoDevice({:?})", self.geometry)
    }
}

impl<T, F> Device for IoDevice<T, F>
where
    T: Read + Write + Seek,
    T::Error: 'static,
    F: FnMut(&mut T) -> Result<(), T::Error>,
{
    type Error = IoError<<T as ErrorType>::Error>;

    fn geometry(&self) -> DeviceGeometry {
        self.geometry
    }

    fn may_forget(&self) -> bool {
        // It may be a file, and takes any bytes again.
        true
    }

    fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), Self::Error> {
        self.seek(offset)?;
        self.io.read_exact(buf).map_err(|error| match error {
            ReadExactError::UnexpectedEof => IoError::Short,
            ReadExactError::Other(error) => IoError::Io(error),
        })
    }

    fn program(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        self.write(offset, bytes)
    }

    fn erase(&mut self, offset: u32, len: u32) -> Result<(), Self::Error> {
        let erased = [self.geometry.erased().unwrap_or(0); 64];
        let mut left = len;
        self.seek(offset)?;
        while left > 0 {
            let step = left.min(erased.len() as u32);
            let bytes = erased.get(..step as usize).unwrap_or_default();
            self.write_on(bytes)?;
            left -= step;
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Self::Error> {
        self.io.flush().map_err(IoError::Io)?;
        (self.durable)(&mut self.io).map_err(IoError::Io)
    }
}

/// Why reading or writing failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum IoError<E> {
    /// It failed itself.
    Io(E),
    /// The bytes end before the device does.
    Short,
}

impl<E: fmt::Display> fmt::Display for IoError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Short => f.write_str("the bytes end before the device does"),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for IoError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Io(error) => error.source(),
            Self::Short => None,
        }
    }
}

impl<E: embedded_io::Error + 'static> embedded_io::Error for IoError<E> {
    fn kind(&self) -> embedded_io::ErrorKind {
        match self {
            Self::Io(error) => error.kind(),
            Self::Short => embedded_io::ErrorKind::InvalidData,
        }
    }
}

impl<E: embedded_io::Error + 'static> StorageError for IoError<E> {
    fn fault(&self) -> Fault {
        Fault::Device
    }
}
