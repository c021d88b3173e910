//! Why a flat storage refuses, over the device's own error.

use core::fmt;

use crate::fault::{Fault, StorageError};
use crate::flat::FlatGeometryError;
use crate::geometry::{Geometry, SegmentId};

/// Why a call failed. What is neither of the device nor `Full` is a mistake of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum FlatError<E> {
    /// The device failed.
    Device(E),
    /// No slot is free.
    Full,
    /// An earlier sync failed, that of a create or a remove included: the device takes no other.
    SyncFailed,
    /// There is no such segment.
    NotFound {
        /// The segment asked for.
        segment: SegmentId,
    },
    /// There is such a segment already.
    Exists {
        /// The segment to be created.
        segment: SegmentId,
    },
    /// The bytes are not all within the segment.
    OutOfBounds {
        /// Where they start.
        offset: u32,
        /// How many they are.
        len: u32,
    },
    /// A write does not start at a write unit.
    Unaligned {
        /// Where it starts.
        offset: u32,
    },
    /// The last listing named no such unreadable slot.
    NoSlot {
        /// The slot asked for.
        slot: u32,
    },
}

impl<E> From<E> for FlatError<E> {
    fn from(error: E) -> Self {
        Self::Device(error)
    }
}

impl<E: fmt::Display> fmt::Display for FlatError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(error) => write!(f, "device failed: {error}"),
            Self::Full => f.write_str("no slot is free"),
            Self::SyncFailed => f.write_str("an earlier sync failed"),
            Self::NotFound { segment } => write!(f, "segment {segment} is not there"),
            Self::Exists { segment } => write!(f, "segment {segment} is there already"),
            Self::OutOfBounds { offset, len } => write!(f, "{len} bytes at {offset} pass the end of the segment"),
            Self::Unaligned { offset } => write!(f, "a write at {offset} does not start at a write unit"),
            Self::NoSlot { slot } => write!(f, "there is no unreadable slot {slot}"),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for FlatError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Device(error) => Some(error),
            _ => None,
        }
    }
}

impl<E: embedded_io::Error + 'static> embedded_io::Error for FlatError<E> {
    fn kind(&self) -> embedded_io::ErrorKind {
        match self {
            Self::Device(error) => error.kind(),
            Self::Full => embedded_io::ErrorKind::OutOfMemory,
            Self::SyncFailed => embedded_io::ErrorKind::Other,
            Self::NotFound { .. } | Self::NoSlot { .. } => embedded_io::ErrorKind::NotFound,
            Self::Exists { .. } => embedded_io::ErrorKind::AlreadyExists,
            Self::OutOfBounds { .. } | Self::Unaligned { .. } => embedded_io::ErrorKind::InvalidInput,
        }
    }
}

impl<E: StorageError + 'static> StorageError for FlatError<E> {
    fn fault(&self) -> Fault {
        match self {
            Self::Device(error) => error.fault(),
            Self::Full => Fault::Full,
            _ => Fault::Device,
        }
    }
}

/// Why a device cannot be opened. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum OpenError<E> {
    /// The device failed.
    Device(E),
    /// The device cannot be cut like that.
    Geometry(FlatGeometryError),
    /// The room lent is too small.
    Room {
        /// How many slots it must be for.
        slots: u32,
        /// How many bytes it must gather at least.
        gather: u32,
    },
    /// The device holds segments that were made with another geometry.
    Mismatch {
        /// What the device says.
        stored: Geometry,
        /// What was asked for.
        given: Geometry,
    },
    /// The device holds segments of this geometry beside the slots, and none whole in one: it does not begin where it did
    /// when they were written.
    Shifted,
}

impl<E: fmt::Display> fmt::Display for OpenError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(error) => write!(f, "device failed: {error}"),
            Self::Geometry(error) => error.fmt(f),
            Self::Room { slots, gather } => {
                write!(f, "room for {slots} slots and for gathering {gather} bytes is needed")
            }
            Self::Shifted => f.write_str("the segments of the device stand beside the slots"),
            Self::Mismatch { stored, given } => write!(f, "stored with {stored}; opened with {given}"),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for OpenError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Device(error) => Some(error),
            Self::Geometry(error) => Some(error),
            _ => None,
        }
    }
}
