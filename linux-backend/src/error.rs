//! What can go wrong with the files of a log, and what the log must do about it.

use core::fmt;

use walstone_core::{Fault, GeometryError, StorageError};

use crate::names::Name;
use crate::sys::Errno;

/// An operation on a file or directory of a log that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinuxError {
    doing: Doing,
    name: Name,
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
    /// Writing.
    Write,
    /// Making a file or directory durable.
    Sync,
    /// Writing again what an earlier life may not have made durable.
    Settle,
    /// Removing a file or directory.
    Remove,
}

/// Why it failed. Lengths and offsets are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The kernel said no.
    Errno(Errno),
    /// Another opening holds the lock, in this process or another.
    Locked,
    /// The root was opened for reading only.
    ReadOnly,
    /// The root was opened by another process, of which this one is a fork.
    Forked,
    /// The root was closed.
    Closed,
    /// A write or sync failed before: nobody knows what is durable, so nothing more is written.
    Broken,
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
    /// The bytes to write are lent to readers.
    Lent {
        /// Where they start.
        offset: u32,
    },
    /// As many segments as there is room for are in use at this moment.
    TooManyOpen,
    /// Something of this name is there already.
    Exists,
    /// The last listing had no such unreadable slot, or it was freed since.
    Slot {
        /// What was asked for.
        slot: u32,
    },
    /// Two names claim one number, and nobody can say which is right.
    TwoNames {
        /// The number.
        number: u64,
    },
    /// More names spell numbers in another way than we do than a log could have left behind.
    TooManyMisspelled,
    /// A region that has its name has a segment: all of this one are lost.
    NoSegments,
    /// A directory that is to be removed holds something that is not of the log.
    Foreign,
    /// The root of a HoraeDB log, version 0, which this log does not write.
    Version0,
    /// The geometry cannot work.
    Geometry(GeometryError),
    /// The geometry is not that of files: new segments read as zero there.
    Erased,
    /// The memory lent is too small to write from.
    Memory {
        /// Bytes lent.
        len: usize,
        /// Bytes that suffice.
        needed: usize,
    },
}

impl LinuxError {
    pub(crate) const fn new(doing: Doing, name: Name, cause: Cause) -> Self {
        Self { doing, name, cause }
    }

    /// What was tried.
    #[must_use]
    pub const fn doing(&self) -> Doing {
        self.doing
    }

    /// With which file or directory: its name, without the directory it is in.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// Why it failed.
    #[must_use]
    pub const fn cause(&self) -> Cause {
        self.cause
    }

    /// Whether another opening holds the lock of the root.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.cause == Cause::Locked
    }
}

impl From<Errno> for Cause {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl StorageError for LinuxError {
    fn fault(&self) -> Fault {
        // Only where the failed operation was undone or is harmless. From a sync or a write the same number means that
        // bytes are lost.
        let undone = matches!(self.doing, Doing::Create | Doing::Claim);
        match self.cause {
            Cause::Errno(errno) if undone && errno.is_full() => Fault::Full,
            _ => Fault::Device,
        }
    }
}

impl embedded_io::Error for LinuxError {
    fn kind(&self) -> embedded_io::ErrorKind {
        use embedded_io::ErrorKind as Kind;
        match self.cause {
            Cause::Errno(errno) => match errno {
                Errno::ENOENT => Kind::NotFound,
                Errno::EACCES | Errno::EPERM | Errno::EROFS => Kind::PermissionDenied,
                Errno::EEXIST => Kind::AlreadyExists,
                Errno::EINVAL => Kind::InvalidInput,
                Errno::EINTR => Kind::Interrupted,
                Errno::EOPNOTSUPP | Errno::ENOSYS => Kind::Unsupported,
                Errno::ENOMEM => Kind::OutOfMemory,
                _ => Kind::Other,
            },
            Cause::Exists => Kind::AlreadyExists,
            Cause::ReadOnly => Kind::PermissionDenied,
            Cause::Length { .. }
            | Cause::TwoNames { .. }
            | Cause::TooManyMisspelled
            | Cause::NoSegments
            | Cause::Version0 => Kind::InvalidData,
            Cause::Behind { .. } | Cause::Slot { .. } | Cause::Geometry(_) | Cause::Erased | Cause::Memory { .. } => {
                Kind::InvalidInput
            }
            Cause::Locked
            | Cause::Closed
            | Cause::Forked
            | Cause::Broken
            | Cause::Lent { .. }
            | Cause::TooManyOpen
            | Cause::Foreign => Kind::Other,
        }
    }
}

impl fmt::Display for LinuxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: ", self.doing, self.name())?;
        match self.cause {
            Cause::Errno(errno) => errno.fmt(f),
            Cause::Locked => f.write_str("it is locked by another opening of this root"),
            Cause::ReadOnly => f.write_str("the root was opened for reading only"),
            Cause::Forked => f.write_str("the root belongs to the process that this one was forked from"),
            Cause::Closed => f.write_str("the root was closed"),
            Cause::Broken => f.write_str("an earlier write or sync of this region failed"),
            Cause::Length { found, expected } => {
                write!(f, "it is {found} bytes long, and a segment has {expected}")
            }
            Cause::Behind { end, segment_len } => {
                write!(f, "bytes up to {end} were asked for, and a segment has {segment_len}")
            }
            Cause::Lent { offset } => write!(f, "readers may hold the bytes from {offset} on"),
            Cause::TooManyOpen => f.write_str("too many segments are in use at this moment"),
            Cause::Exists => f.write_str("it is there already"),
            Cause::Slot { slot } => write!(f, "there is no unreadable slot {slot}"),
            Cause::TwoNames { number } => write!(f, "another name claims the number {number} too"),
            Cause::TooManyMisspelled => f.write_str("too many names spell numbers in a strange way"),
            Cause::NoSegments => f.write_str("all of its segments are missing"),
            Cause::Foreign => f.write_str("it is not of the log"),
            Cause::Version0 => f.write_str("it is of version 0, to be imported first"),
            Cause::Geometry(error) => error.fmt(f),
            Cause::Erased => f.write_str("new segments in files read as zero, and the geometry says otherwise"),
            Cause::Memory { len, needed } => write!(f, "{len} bytes of memory were lent, and {needed} are needed"),
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

impl core::error::Error for LinuxError {}
