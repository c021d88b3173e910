//! One change of the file system, whichever system call made it.

use std::path::PathBuf;

/// One opening of one file.
pub type Opening = u64;

/// A change that was done. Paths are relative to the directory that is simulated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A file was made, empty, or one that was there was opened.
    Open {
        /// Its name.
        path: PathBuf,
        /// The opening.
        file: Opening,
        /// It was made if it was not there.
        create: bool,
    },
    /// Bytes were written, by a transfer or by a store into a shared map.
    Write {
        /// The opening.
        file: Opening,
        /// Bytes from the start of the file.
        offset: u64,
        /// What was written.
        data: Vec<u8>,
    },
    /// Bytes were sent to a file past the page cache, and nobody waits for them yet.
    Submit {
        /// The opening.
        file: Opening,
        /// Bytes from the start of the file.
        offset: u64,
        /// What is on its way.
        data: Vec<u8>,
    },
    /// Bytes that were on their way have arrived.
    Landed {
        /// The opening.
        file: Opening,
        /// The first byte.
        from: u64,
        /// The byte behind the last.
        to: u64,
    },
    /// The length was set; what was added is a hole.
    SetLen {
        /// The opening.
        file: Opening,
        /// The new length in bytes.
        len: u64,
    },
    /// Blocks that read as zero were given to holes.
    Allocate {
        /// The opening.
        file: Opening,
        /// The first byte.
        from: u64,
        /// The byte behind the last.
        to: u64,
    },
    /// A file or directory got another name.
    Rename {
        /// The old name.
        from: PathBuf,
        /// The new name.
        to: PathBuf,
    },
    /// The name of a file was taken away.
    Unlink(PathBuf),
    /// A directory was made.
    MakeDir(PathBuf),
    /// An empty directory was removed.
    RemoveDir(PathBuf),
    /// A file was synced.
    SyncFile {
        /// The opening.
        file: Opening,
        /// So many steps had been done when the sync began: these it covers.
        begun: usize,
    },
    /// The blocks of a range of a file were synced, as by a write that is durable when it returns.
    SyncRange {
        /// The opening.
        file: Opening,
        /// The first byte.
        from: u64,
        /// The byte behind the last.
        to: u64,
        /// So many steps had been done when the sync began: these it covers.
        begun: usize,
    },
    /// A directory was synced.
    SyncDir {
        /// The directory.
        path: PathBuf,
        /// So many steps had been done when the sync began: these it covers.
        begun: usize,
    },
}

impl Step {
    /// Whether it makes something durable. Every other step only adds to what a crash may leave.
    #[must_use]
    pub const fn is_sync(&self) -> bool {
        matches!(
            self,
            Self::SyncFile { .. } | Self::SyncRange { .. } | Self::SyncDir { .. }
        )
    }
}
