//! What goes through the seam, in values: enough to rebuild every state that a crash may leave.

use std::fmt;
use std::io;
use std::path::Path;

/// One opening of one file. A recorder learns from [`Call::Create`] and [`Call::Open`] which name it had then;
/// later renames move the name, never the opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u64);

/// An operation that is about to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Call<'a> {
    /// Make a file that is not there yet, empty, open for reading and writing.
    Create {
        /// Its name.
        path: &'a Path,
        /// How later calls name this opening.
        file: FileId,
    },
    /// Open a file that is there; the lock file is made if it is not.
    Open {
        /// Its name.
        path: &'a Path,
        /// How later calls name this opening.
        file: FileId,
        /// For writing too.
        writable: bool,
    },
    /// Lock a file for this opening alone, or fail at once.
    Lock {
        /// Which opening.
        file: FileId,
    },
    /// Give a lock back.
    Unlock {
        /// Which opening.
        file: FileId,
    },
    /// Ask for the length of an open file, or of its blocks.
    Len {
        /// Which opening.
        file: FileId,
    },
    /// Set the length of a file; what is added is a hole.
    SetLen {
        /// Which opening.
        file: FileId,
        /// The new length in bytes.
        len: u64,
    },
    /// One transfer into a file.
    Write {
        /// Which opening.
        file: FileId,
        /// Bytes from the start of the file.
        offset: u64,
        /// All that is left to transfer; fewer may get through.
        data: &'a [u8],
    },
    /// One transfer out of a file.
    Read {
        /// Which opening.
        file: FileId,
        /// Bytes from the start of the file.
        offset: u64,
        /// Bytes wanted.
        len: usize,
    },
    /// Ask where the next data of a sparse file stands.
    FindData {
        /// Which opening.
        file: FileId,
        /// Bytes from the start of the file.
        offset: u64,
    },
    /// Map a file, shared.
    Map {
        /// Which opening.
        file: FileId,
        /// Bytes from the start of the file.
        len: u32,
        /// For stores too.
        writable: bool,
    },
    /// Store into a shared map of a file. Nothing but [`Call::SyncFile`] makes it durable.
    Store {
        /// The opening that was mapped.
        file: FileId,
        /// Bytes from the start of the file.
        offset: u32,
        /// What is stored.
        data: &'a [u8],
    },
    /// Start write-back of a range. Makes nothing durable; an error in its place is ignored.
    StartWriteBack {
        /// Which opening.
        file: FileId,
        /// The first byte.
        from: u32,
        /// The byte behind the last.
        to: u32,
    },
    /// Make data of a file durable, with the length and allocation that reading it back needs.
    SyncFile {
        /// Which opening.
        file: FileId,
    },
    /// Make the names in a directory durable.
    SyncDir {
        /// The directory.
        path: &'a Path,
    },
    /// Give a file or directory another name.
    Rename {
        /// The old name.
        from: &'a Path,
        /// The new name.
        to: &'a Path,
    },
    /// Take the name of a file away.
    Unlink {
        /// The name.
        path: &'a Path,
    },
    /// Make a directory.
    MakeDir {
        /// Its name.
        path: &'a Path,
    },
    /// Remove an empty directory.
    RemoveDir {
        /// Its name.
        path: &'a Path,
    },
    /// List a directory.
    ListDir {
        /// The directory.
        path: &'a Path,
    },
    /// Ask whether a name is there.
    Exists {
        /// The name.
        path: &'a Path,
    },
}

/// What an observer lets happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Do it.
    Proceed,
    /// [`Call::Write`] and [`Call::Store`] transfer at most this many bytes, and come back for the rest as
    /// the kernel would have them do; zero is a device that takes nothing, an error. Others proceed.
    Short(usize),
}

/// Sits in the seam: records, counts, delays or breaks what the backend does.
///
/// Called on the thread that does the operation, sometimes with locks of the backend held: an observer never
/// calls the backend.
pub trait Observer: Send + Sync {
    /// The operation is about to be done. An error is returned in its place, and it is not done.
    ///
    /// An error of kind [`io::ErrorKind::Interrupted`] is tried again except for the syncs, as with the kernel.
    ///
    /// # Errors
    /// Whatever the operation shall return.
    fn before(&self, call: &Call<'_>) -> io::Result<Verdict>;

    /// The operation was done with this outcome, or replaced by this error.
    fn after(&self, call: &Call<'_>, outcome: Result<(), &io::Error>) {
        let _ = (call, outcome);
    }
}

impl fmt::Debug for dyn Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("dyn Observer")
    }
}
