//! What can go wrong with the files of a log, and what the log must do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use walstone_core::{Fault, StorageError};

/// An operation on a file or directory of a log that failed.
#[derive(Debug)]
pub struct FileError {
    doing: Doing,
    path: PathBuf,
    cause: Cause,
}

/// What was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Doing {
    /// Taking the lock of a root.
    Lock,
    /// Making a file or directory.
    Create,
    /// Opening or mapping a file.
    Open,
    /// Listing a directory.
    List,
    /// Allocating and writing blocks ahead of the log's end.
    Claim,
    /// Finding the end of a file's data.
    Extent,
    /// Reading.
    Read,
    /// Writing or storing.
    Write,
    /// Making a file or directory durable.
    Sync,
    /// Writing again what an earlier life may not have made durable.
    Settle,
    /// Removing a file or directory.
    Remove,
}

/// Why it failed. Lengths and offsets are in bytes.
#[derive(Debug)]
#[non_exhaustive]
pub enum Cause {
    /// The operating system said no.
    Io(io::Error),
    /// Another opening holds the lock, in this process or another.
    Locked,
    /// The root was opened for reading only.
    ReadOnly,
    /// The root was opened by another process, of which this one is a fork.
    Forked,
    /// The root was closed.
    Closed,
    /// The file is not as long as its segment.
    Length {
        /// What the file has.
        found: u64,
        /// What a segment has.
        expected: u32,
    },
    /// The bytes asked for end behind the segment.
    Behind {
        /// Where they end.
        end: u64,
        /// What a segment has.
        segment_len: u32,
    },
    /// The bytes to write end behind what was claimed.
    Unclaimed {
        /// Where they end.
        end: u32,
        /// How far there is space.
        claimed: u32,
    },
    /// The bytes to write are lent to readers.
    Lent {
        /// Where they start.
        offset: u32,
        /// Readers may hold bytes below this.
        lent: u32,
    },
    /// Another handle on the region appends.
    NotAppender,
    /// The segment was removed.
    Removed,
    /// Something of this name is there already.
    Exists,
    /// No such unreadable slot in the last listing of this handle.
    Slot {
        /// What was asked for.
        slot: u32,
    },
    /// Two names claim one number, and nobody can say which is right.
    TwoNames {
        /// The number.
        number: u64,
        /// The other name.
        other: PathBuf,
    },
    /// A directory that is to be removed holds something that is not of the log.
    Foreign,
    /// The segment length that the caller gave cannot work.
    Geometry(walstone_core::GeometryError),
}

impl FileError {
    pub(crate) fn new(doing: Doing, path: impl Into<PathBuf>, cause: Cause) -> Self {
        Self {
            doing,
            path: path.into(),
            cause,
        }
    }

    pub(crate) fn io(doing: Doing, path: impl Into<PathBuf>, error: io::Error) -> Self {
        Self::new(doing, path, Cause::Io(error))
    }

    /// What was tried.
    #[must_use]
    pub fn doing(&self) -> Doing {
        self.doing
    }

    /// With which file or directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Why it failed.
    #[must_use]
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// Whether another opening holds the lock of the root.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        matches!(self.cause, Cause::Locked)
    }

    /// Whether a name that should be there is not.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        match &self.cause {
            Cause::Io(error) => error.kind() == io::ErrorKind::NotFound,
            Cause::Removed => true,
            _ => false,
        }
    }
}

impl StorageError for FileError {
    fn fault(&self) -> Fault {
        let Cause::Io(error) = &self.cause else {
            return Fault::Device;
        };
        // Only where the failed operation was undone or is harmless. From a sync or a write the same number
        // means that bytes are lost.
        let undone = matches!(self.doing, Doing::Create | Doing::Claim);
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge if undone => {
                Fault::Full
            }
            _ => Fault::Device,
        }
    }
}

impl embedded_io::Error for FileError {
    fn kind(&self) -> embedded_io::ErrorKind {
        use embedded_io::ErrorKind as To;
        use io::ErrorKind as From;
        match &self.cause {
            Cause::Io(error) => match error.kind() {
                From::NotFound => To::NotFound,
                From::PermissionDenied => To::PermissionDenied,
                From::AlreadyExists => To::AlreadyExists,
                From::InvalidInput => To::InvalidInput,
                From::InvalidData => To::InvalidData,
                From::TimedOut => To::TimedOut,
                From::Interrupted => To::Interrupted,
                From::Unsupported => To::Unsupported,
                From::OutOfMemory => To::OutOfMemory,
                From::WriteZero => To::WriteZero,
                _ => To::Other,
            },
            Cause::Exists => To::AlreadyExists,
            Cause::ReadOnly => To::PermissionDenied,
            Cause::Removed => To::NotFound,
            Cause::Length { .. } | Cause::TwoNames { .. } => To::InvalidData,
            Cause::Behind { .. } | Cause::Unclaimed { .. } | Cause::Slot { .. } | Cause::Geometry(_) => {
                To::InvalidInput
            }
            Cause::Locked
            | Cause::Closed
            | Cause::Forked
            | Cause::Lent { .. }
            | Cause::NotAppender
            | Cause::Foreign => To::Other,
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: ", self.doing, self.path.display())?;
        match &self.cause {
            Cause::Io(error) => error.fmt(f),
            Cause::Locked => f.write_str("it is locked by another opening of this root"),
            Cause::ReadOnly => f.write_str("the root was opened for reading only"),
            Cause::Closed => f.write_str("the root was closed"),
            Cause::Forked => f.write_str("the root belongs to the process that this one was forked from"),
            Cause::Length { found, expected } => {
                write!(f, "it is {found} bytes long, and a segment has {expected}")
            }
            Cause::Behind { end, segment_len } => {
                write!(f, "bytes up to {end} were asked for, and a segment has {segment_len}")
            }
            Cause::Unclaimed { end, claimed } => {
                write!(f, "the write ends at {end}, and space is claimed up to {claimed}")
            }
            Cause::Lent { offset, lent } => {
                write!(
                    f,
                    "the write starts at {offset}, and readers may hold bytes up to {lent}"
                )
            }
            Cause::NotAppender => f.write_str("another handle on the region appends"),
            Cause::Removed => f.write_str("the segment was removed"),
            Cause::Exists => f.write_str("it is there already"),
            Cause::Slot { slot } => write!(f, "the last listing has no unreadable slot {slot}"),
            Cause::TwoNames { number, other } => {
                write!(f, "{} claims the number {number} too", other.display())
            }
            Cause::Foreign => f.write_str("it is not of the log"),
            Cause::Geometry(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lock => "lock",
            Self::Create => "create",
            Self::Open => "open",
            Self::List => "list",
            Self::Claim => "claim space in",
            Self::Extent => "find the end of",
            Self::Read => "read",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::Settle => "settle",
            Self::Remove => "remove",
        })
    }
}

impl std::error::Error for FileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.cause {
            Cause::Io(error) => Some(error),
            Cause::Geometry(error) => Some(error),
            _ => None,
        }
    }
}
