//! Why a log refuses, for applications.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use walstone_core::{Corruption, Geometry, PoisonCause};

use crate::files::{Cause, FileError};

/// The result of most calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation was refused or failed. Cheap to clone: every waiter of a failed sync gets it.
///
/// Only [`Error::Storage`] may leave a region poisoned; every other one left everything as it was.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// Another opening holds the root, in this process or another.
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The root is a file.
    NotADirectory {
        /// The root.
        path: PathBuf,
    },
    /// The root holds a HoraeDB log. The example `import` reads it into a new root.
    Version0 {
        /// The root.
        path: PathBuf,
    },
    /// No such region.
    NoRegion {
        /// Its number.
        region: u64,
    },
    /// There is such a region already.
    RegionExists {
        /// Its number.
        region: u64,
    },
    /// Durable bytes are damaged. Nothing was changed.
    Corrupt {
        /// The region.
        region: u64,
        /// Where, and what does not hold.
        corruption: Corruption,
    },
    /// The region was made with segments of another length.
    GeometryMismatch {
        /// The region.
        region: u64,
        /// What it was made with.
        stored: Geometry,
        /// What was asked for.
        given: Geometry,
    },
    /// An earlier write or sync failed; the region takes no more writes until it is opened anew. Views still show what was
    /// acknowledged, and of what failed all or nothing: a record that it was to delete is there, unless all of it is. A segment
    /// that it began may be an error in its place.
    Poisoned {
        /// The region.
        region: u64,
        /// The first failure.
        cause: PoisonCause,
    },
    /// No room for more data. Deleting and reclaiming still work.
    Full,
    /// The batch does not fit a segment. Nothing was written, no sequence used.
    RecordTooLarge {
        /// Bytes of its payload.
        len: u64,
        /// The most that fit.
        max: u32,
    },
    /// The batch holds nothing.
    EmptyBatch,
    /// A manifest has no room for more deleted ranges.
    TooManyVoids {
        /// The most it can hold.
        max: usize,
    },
    /// No such record: it was deleted or reclaimed, or the position is of another log.
    NoRecord,
    /// All sequences of the region are used up.
    SequenceExhausted,
    /// Opened for reading only.
    ReadOnly,
    /// The log or the region was closed.
    Closed,
    /// This process is a fork of the one that opened the log.
    Forked,
    /// An operation on a file or directory failed.
    Storage(Arc<FileError>),
    /// What cannot happen with files, as the engine put it.
    Engine(walstone_core::Error<Infallible>),
}

/// No value: the storage's errors stand in [`Error::Storage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Infallible {}

impl fmt::Display for Infallible {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl std::error::Error for Infallible {}

impl Error {
    pub(crate) fn of_region(region: u64, error: walstone_core::Error<FileError>) -> Self {
        use walstone_core::Error as Engine;
        match error {
            Engine::Storage(error) => error.into(),
            Engine::Full => Self::Full,
            Engine::Corrupt(corruption) => Self::Corrupt { region, corruption },
            Engine::Poisoned(cause) => Self::Poisoned { region, cause },
            Engine::RecordTooLarge { len, max } => Self::RecordTooLarge { len, max },
            Engine::EmptyBatch => Self::EmptyBatch,
            Engine::TooManyVoids { max } => Self::TooManyVoids { max },
            Engine::GeometryMismatch { stored, given } => Self::GeometryMismatch { region, stored, given },
            Engine::NoRegion => Self::NoRegion { region },
            Engine::RegionExists => Self::RegionExists { region },
            Engine::SequenceExhausted => Self::SequenceExhausted,
            Engine::ReadOnly => Self::ReadOnly,
            Engine::Closed => Self::Closed,
            Engine::NoRecord => Self::NoRecord,
            Engine::TooManySegments { needed } => Self::Engine(Engine::TooManySegments { needed }),
            Engine::BufferTooSmall { needed } => Self::Engine(Engine::BufferTooSmall { needed }),
            _ => Self::Engine(Engine::IncarnationExhausted),
        }
    }
}

impl From<FileError> for Error {
    fn from(error: FileError) -> Self {
        match error.cause() {
            Cause::Locked => Self::Locked {
                path: error.path().to_path_buf(),
            },
            Cause::Forked => Self::Forked,
            Cause::Closed => Self::Closed,
            Cause::ReadOnly => Self::ReadOnly,
            Cause::Io(io) if io.kind() == std::io::ErrorKind::NotADirectory => Self::NotADirectory {
                path: error.path().to_path_buf(),
            },
            _ => Self::Storage(Arc::new(error)),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked { path } => write!(f, "another opening holds the log: {}", path.display()),
            Self::NotADirectory { path } => write!(f, "not a directory: {}", path.display()),
            Self::Version0 { path } => write!(
                f,
                "a HoraeDB log (version 0) in {}: read it into a new root with the example `import`",
                path.display()
            ),
            Self::NoRegion { region } => write!(f, "no region {region}"),
            Self::RegionExists { region } => write!(f, "region {region} exists"),
            Self::Corrupt { region, corruption } => write!(f, "region {region} is corrupt: {corruption}"),
            Self::GeometryMismatch { region, stored, given } => {
                write!(f, "region {region} is stored with {stored}; opened with {given}")
            }
            Self::Poisoned { region, cause } => write!(f, "region {region} takes no more writes: {cause}"),
            Self::Full => f.write_str("no room for more data"),
            Self::RecordTooLarge { len, max } => write!(f, "{len} bytes in one batch, at most {max} fit"),
            Self::EmptyBatch => f.write_str("empty batch"),
            Self::TooManyVoids { max } => write!(f, "more than {max} deleted ranges"),
            Self::NoRecord => f.write_str("no such record in this log"),
            Self::SequenceExhausted => f.write_str("all sequences are used up"),
            Self::ReadOnly => f.write_str("opened for reading only"),
            Self::Closed => f.write_str("closed"),
            Self::Forked => f.write_str("the log belongs to the parent process"),
            Self::Storage(error) => error.fmt(f),
            Self::Engine(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Corrupt { corruption, .. } => Some(corruption),
            Self::Storage(error) => Some(&**error),
            Self::Engine(error) => Some(error),
            _ => None,
        }
    }
}
