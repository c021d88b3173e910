//! A file that holds the bytes of a device, read only.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use walstone_core::flat::{Device, DeviceGeometry};
use walstone_core::{Fault, StorageError};

/// The file.
#[derive(Debug)]
pub(crate) struct Image {
    file: File,
    geometry: DeviceGeometry,
}

impl Image {
    pub(crate) const fn new(file: File, geometry: DeviceGeometry) -> Self {
        Self { file, geometry }
    }

    /// The same bytes, seen as another device.
    pub(crate) fn with_geometry(self, geometry: DeviceGeometry) -> Self {
        Self { geometry, ..self }
    }
}

impl Device for Image {
    type Error = ImageError;

    fn geometry(&self) -> DeviceGeometry {
        self.geometry
    }

    fn may_forget(&self) -> bool {
        false
    }

    fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), ImageError> {
        self.file.read_exact_at(buf, u64::from(offset)).map_err(ImageError)
    }

    fn program(&mut self, _offset: u32, _bytes: &[u8]) -> Result<(), ImageError> {
        Err(ImageError(io::ErrorKind::ReadOnlyFilesystem.into()))
    }

    fn erase(&mut self, _offset: u32, _len: u32) -> Result<(), ImageError> {
        Err(ImageError(io::ErrorKind::ReadOnlyFilesystem.into()))
    }

    fn sync(&mut self) -> Result<(), ImageError> {
        Ok(())
    }
}

/// Why the file cannot be read.
#[derive(Debug)]
pub(crate) struct ImageError(io::Error);

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for ImageError {}

impl embedded_io::Error for ImageError {
    fn kind(&self) -> embedded_io::ErrorKind {
        match self.0.kind() {
            io::ErrorKind::NotFound => embedded_io::ErrorKind::NotFound,
            io::ErrorKind::PermissionDenied => embedded_io::ErrorKind::PermissionDenied,
            io::ErrorKind::UnexpectedEof => embedded_io::ErrorKind::InvalidData,
            io::ErrorKind::ReadOnlyFilesystem => embedded_io::ErrorKind::Unsupported,
            _ => embedded_io::ErrorKind::Other,
        }
    }
}

impl StorageError for ImageError {
    fn fault(&self) -> Fault {
        Fault::Device
    }
}
