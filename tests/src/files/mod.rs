//! The crash simulator of file backends: every state that a loss of power may leave of the files and names that a
//! backend really made, opened by that backend again: the std backend with its maps, and with segments written by raw
//! system calls, through the page cache and past it.
//!
//! A real file system hides most of these states: it commits names soon, in order, and with the data. The recorder
//! sits where the backend touches the system and takes down each change; the disk knows which of them are durable;
//! the explorer rebuilds what may be left in a directory in memory. The rules below are what a file system is allowed
//! to do, not what one of them does.
//!
//! # What a file system may lose
//!
//! 1. **Data** of a file, written or stored into a map, is durable once the file was synced *after* it. Before that
//!    each sector of 512 bytes is as it was, or as it was at any time since (write-back takes a page when it likes), or
//!    torn; in any combination with other sectors, written earlier or later. `fsync(2)`, `fdatasync(2)`, `msync(2)`;
//!    "arbitrary reordering" and "partial pages" in [ALICE].
//! 2. **Blocks**: a page that was a hole may be one again; one that has got a block reads as zero or as what was
//!    written. (File systems that show stale blocks instead, such as ext4 with `data=writeback`, are not covered: what
//!    they show looks like a torn write.)
//! 3. **Length**: any length the file had since the last sync, whatever became of the data. `fdatasync(2)` covers the
//!    length that reading back needs.
//! 4. **Names**: a sync of a file says nothing about its name: "Calling fsync() does not necessarily ensure that the
//!    entry in the directory containing the file has also reached disk" (`fsync(2)`). A name that was made, changed or
//!    taken away is durable once its *directory* was synced. Before that any subset of the changes is there, in
//!    whatever order they were made ([ALICE]: "directory operations are reordered").
//! 5. **Renaming** a file is two changes in that sense: both names, either, or neither. A directory has one name at any
//!    time: file systems keep their tree whole. A rename says nothing of the data of what is renamed, nor of the names in
//!    it.
//! 6. A directory that has its name may be empty: the names in it are its own, and durable once it was synced itself.
//! 7. A sync covers what was done before it *began*. It is one call that returns or does not; what it covers may be
//!    durable earlier.
//! 8. A write with `RWF_DSYNC` is durable when it returns, and says nothing of any other byte (`pwritev2(2)`). A crash may
//!    fall between the write and its becoming durable.
//! 9. A write that nobody waits for (`io_submit(2)`) may arrive from then on, each of its sectors for itself and whatever
//!    became of others on their way; a sync covers it only where it began after somebody was told that the write ended. No
//!    block is written again before that. The system ends what is on its way before the files of a dead process are closed.
//! 10. The death of the process alone loses nothing that was done, and makes nothing durable: a later loss of power may
//!     still take it. So whoever opens what an earlier process left must sync it before building on it.
//!
//! [ALICE]: https://www.usenix.org/conference/osdi14/technical-sessions/presentation/pillai
//!
//! # What must hold in each of them
//!
//! The log opens, for reading with no step, and for writing with the same records. Nothing reads as corruption. Each
//! region that was made is there, and none that was removed; in each, what was acknowledged durable (behind the death of
//! the process: written) is there, in a prefix of what was issued, nothing twice, nothing else, deleted stays deleted;
//! the next append gets the next sequence. Behind that append nothing of all this may be lost either. Each recovery is
//! crashed in turn.
//!
//! Not here: failing calls, and several appending threads.

pub mod content;
pub mod disk;
pub mod expect;
pub mod explore;
pub mod front;
pub mod lie;
pub mod life;
pub mod observe;
#[cfg(target_os = "linux")]
pub(crate) mod raw;
pub mod real;
pub mod recorder;
pub mod step;
pub mod survivors;
pub mod sweep;
