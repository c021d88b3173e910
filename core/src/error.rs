//! Why the log refuses, in one type over the storage's own error.

use core::convert::Infallible;
use core::fmt;

use crate::fault::{Fault, StorageError};
use crate::geometry::Geometry;
use crate::report::Corruption;

/// What made a region refuse all further writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum PoisonCause {
    /// A write failed: the bytes are in doubt.
    Write,
    /// Handing written bytes over failed.
    HandOver,
    /// A sync failed: what it should have made durable may be lost, and no later sync can tell.
    Sync,
    /// Making recovered bytes durable failed.
    Settle,
}

impl fmt::Display for PoisonCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Write => "a write failed",
            Self::HandOver => "handing written bytes over failed",
            Self::Sync => "a sync failed",
            Self::Settle => "making recovered bytes durable failed",
        })
    }
}

/// Why an operation was refused or failed. Lengths are in bytes. `E` is the storage's own error.
///
/// Only [`Error::Storage`] may leave a region poisoned; every other one left everything as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error<E> {
    /// The storage failed.
    Storage(E),
    /// No room for more data, on the storage or in the list of segments that was lent. Deleting and reclaiming still work.
    Full,
    /// Durable bytes are damaged.
    Corrupt(Corruption),
    /// An earlier failure; the region is to be opened anew.
    Poisoned(PoisonCause),
    /// The batch does not fit a segment.
    RecordTooLarge {
        /// Bytes of its payload.
        len: u64,
        /// The most that fit.
        max: u32,
    },
    /// The batch holds nothing.
    EmptyBatch,
    /// More deleted ranges than the workspace, or a manifest, can hold.
    TooManyVoids {
        /// The most it can hold.
        max: usize,
    },
    /// The workspace has room for fewer segments than there are, or than a log needs.
    TooManySegments {
        /// How many are needed.
        needed: usize,
    },
    /// The caller's buffer is too short.
    BufferTooSmall {
        /// How many bytes are needed.
        needed: usize,
    },
    /// The region was made with another geometry.
    GeometryMismatch {
        /// What the medium says.
        stored: Geometry,
        /// What the storage says.
        given: Geometry,
    },
    /// There is no region on this storage.
    NoRegion,
    /// There is a region on this storage already.
    RegionExists,
    /// All sequences are used up.
    SequenceExhausted,
    /// All incarnations are used up.
    IncarnationExhausted,
    /// Opened for reading only.
    ReadOnly,
    /// Closed.
    Closed,
    /// The position is of another log, or its record was deleted or reclaimed.
    NoRecord,
}

/// An error that no storage had a part in.
pub(crate) type Refusal = Error<Infallible>;

impl Refusal {
    /// The same error, beside those of a storage.
    pub(crate) fn on<E>(self) -> Error<E> {
        self.map_storage(|never| match never {})
    }
}

/// Why there is nothing to do towards a goal that is not reached. Small, for it is handed up from rule to rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Full,
    Poisoned(PoisonCause),
    IncarnationExhausted,
}

impl<E> From<Stop> for Error<E> {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Full => Self::Full,
            Stop::Poisoned(cause) => Self::Poisoned(cause),
            Stop::IncarnationExhausted => Self::IncarnationExhausted,
        }
    }
}

/// What ends a goal or a walk within the engine: no wider than the storage's own error, for it is handed up through many
/// frames, and each has room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Halt<E> {
    Storage(E),
    BufferTooSmall { needed: usize },
    Stop(Stop),
}

impl<E> From<Stop> for Halt<E> {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl<E> From<Halt<E>> for Error<E> {
    fn from(halt: Halt<E>) -> Self {
        match halt {
            Halt::Storage(error) => Self::Storage(error),
            Halt::BufferTooSmall { needed } => Self::BufferTooSmall { needed },
            Halt::Stop(stop) => stop.into(),
        }
    }
}

impl<E: StorageError> From<E> for Error<E> {
    fn from(error: E) -> Self {
        match error.fault() {
            Fault::Full => Self::Full,
            _ => Self::Storage(error),
        }
    }
}

impl<E> Error<E> {
    /// The same error, with the storage's own one translated.
    pub fn map_storage<F>(self, translate: impl FnOnce(E) -> F) -> Error<F> {
        match self {
            Self::Storage(error) => Error::Storage(translate(error)),
            Self::Full => Error::Full,
            Self::Corrupt(corruption) => Error::Corrupt(corruption),
            Self::Poisoned(cause) => Error::Poisoned(cause),
            Self::RecordTooLarge { len, max } => Error::RecordTooLarge { len, max },
            Self::EmptyBatch => Error::EmptyBatch,
            Self::TooManyVoids { max } => Error::TooManyVoids { max },
            Self::TooManySegments { needed } => Error::TooManySegments { needed },
            Self::BufferTooSmall { needed } => Error::BufferTooSmall { needed },
            Self::GeometryMismatch { stored, given } => Error::GeometryMismatch { stored, given },
            Self::NoRegion => Error::NoRegion,
            Self::RegionExists => Error::RegionExists,
            Self::SequenceExhausted => Error::SequenceExhausted,
            Self::IncarnationExhausted => Error::IncarnationExhausted,
            Self::ReadOnly => Error::ReadOnly,
            Self::Closed => Error::Closed,
            Self::NoRecord => Error::NoRecord,
        }
    }
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Storage(error) => write!(f, "storage failed: {error}"),
            Self::Full => f.write_str("no room for more data"),
            Self::Corrupt(corruption) => write!(f, "corrupt: {corruption}"),
            Self::Poisoned(cause) => write!(f, "poisoned since {cause}"),
            Self::RecordTooLarge { len, max } => write!(f, "{len} bytes in one batch, at most {max} fit"),
            Self::EmptyBatch => f.write_str("empty batch"),
            Self::TooManyVoids { max } => write!(f, "more than {max} deleted ranges"),
            Self::TooManySegments { needed } => write!(f, "room for {needed} segments is needed"),
            Self::BufferTooSmall { needed } => write!(f, "a buffer of {needed} bytes is needed"),
            Self::GeometryMismatch { stored, given } => {
                write!(f, "stored with {stored}; opened with {given}")
            }
            Self::NoRegion => f.write_str("no region on this storage"),
            Self::RegionExists => f.write_str("a region exists on this storage"),
            Self::SequenceExhausted => f.write_str("all sequences are used up"),
            Self::IncarnationExhausted => f.write_str("all incarnations are used up"),
            Self::ReadOnly => f.write_str("opened for reading only"),
            Self::Closed => f.write_str("closed"),
            Self::NoRecord => f.write_str("no such record in this log"),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for Error<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Storage(error) => Some(error),
            Self::Corrupt(corruption) => Some(corruption),
            _ => None,
        }
    }
}
