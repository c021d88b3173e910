//! The one place where the backend touches the operating system.
//!
//! Everything below is a single system call, or a loop over one; nothing here knows what a segment is. A
//! recorder or a fault injector sits in it as an [`Observer`]. Not part of the public API: it may change in
//! any release.

mod call;
mod map;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::mutation::{self, Mutation};

pub use call::{Call, FileId, Observer, Verdict};
pub use map::{AppendGate, AppendRight, ForkMark, Lending, Map, Pin, StoreError};

/// Bytes of one transfer when zeros are written ahead. Larger ones leave large folios in the page cache, and
/// then each durable store of a few bytes writes a whole folio to the device: measured, 340 us instead of 103.
pub const FILL_LEN: u32 = 4096;

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
static NEXT_FILE: AtomicU64 = AtomicU64::new(1);

/// The way to the operating system. Clones share the observer.
#[derive(Clone, Debug, Default)]
pub struct Seam {
    observer: Option<Arc<dyn Observer>>,
}

/// An open file.
#[derive(Debug)]
pub struct File {
    file: fs::File,
    id: FileId,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name alone, without the directory.
    pub name: OsString,
    /// Whether it is a directory.
    pub is_dir: bool,
}

impl File {
    /// How calls name this opening.
    #[must_use]
    pub fn id(&self) -> FileId {
        self.id
    }
}

fn next_file() -> FileId {
    FileId(NEXT_FILE.fetch_add(1, Ordering::Relaxed))
}

fn short_write() -> io::Error {
    io::Error::new(io::ErrorKind::WriteZero, "the device took no byte")
}

impl Seam {
    /// A seam with nobody in it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A seam with an observer in it.
    #[must_use]
    pub fn observed(observer: Arc<dyn Observer>) -> Self {
        Self {
            observer: Some(observer),
        }
    }

    /// One attempt, seen by the observer.
    fn once<T>(&self, call: &Call<'_>, mut act: impl FnMut(Verdict) -> io::Result<T>) -> io::Result<T> {
        let Some(observer) = &self.observer else {
            return act(Verdict::Proceed);
        };
        let result = observer.before(call).and_then(act);
        observer.after(call, result.as_ref().map(|_| ()));
        result
    }

    /// Attempts until none is interrupted.
    fn retried<T>(&self, call: &Call<'_>, mut act: impl FnMut(Verdict) -> io::Result<T>) -> io::Result<T> {
        loop {
            match self.once(call, &mut act) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// Tells of a sync that is made by other means than this seam's. Where this fails it is not to be made.
    ///
    /// # Errors
    /// Those of the observer.
    #[cfg(all(feature = "linux", target_os = "linux"))]
    pub(crate) fn announce_sync(&self, path: &Path) -> io::Result<()> {
        let file = next_file();
        let open = Call::Open {
            path,
            file,
            writable: true,
        };
        self.once(&open, |_| Ok(()))?;
        self.once(&Call::SyncFile { file }, |_| Ok(()))
    }

    /// Whether somebody is in it.
    #[cfg(all(feature = "linux", target_os = "linux"))]
    pub(crate) fn is_observed(&self) -> bool {
        self.observer.is_some()
    }

    /// Makes a file that is not there yet, open for reading and writing.
    ///
    /// Power loss: the name is there or not until the directory is synced.
    ///
    /// # Errors
    /// Those of `open(2)` with `O_CREAT | O_EXCL`.
    pub fn create(&self, path: &Path) -> io::Result<File> {
        let id = next_file();
        let file = self.retried(&Call::Create { path, file: id }, |_| {
            fs::OpenOptions::new()
                .read(true)
                .write(true)
                .create_new(true)
                .open(path)
        })?;
        Ok(File { file, id })
    }

    /// Opens a file that is there.
    ///
    /// # Errors
    /// Those of `open(2)`.
    pub fn open(&self, path: &Path, writable: bool) -> io::Result<File> {
        let id = next_file();
        let call = Call::Open {
            path,
            file: id,
            writable,
        };
        let file = self.retried(&call, |_| fs::OpenOptions::new().read(true).write(writable).open(path))?;
        Ok(File { file, id })
    }

    /// Opens a file that may be missing, and then is made: for the lock.
    ///
    /// # Errors
    /// Those of `open(2)` with `O_CREAT`.
    pub fn open_or_create(&self, path: &Path) -> io::Result<File> {
        let id = next_file();
        let call = Call::Open {
            path,
            file: id,
            writable: true,
        };
        let file = self.retried(&call, |_| {
            fs::OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)
        })?;
        Ok(File { file, id })
    }

    /// Locks a file for this opening alone; `false` where another opening holds it, in this process or not.
    ///
    /// # Errors
    /// Those of `flock(2)` but `EWOULDBLOCK`.
    pub fn try_lock(&self, file: &File) -> io::Result<bool> {
        self.retried(&Call::Lock { file: file.id }, |_| match file.file.try_lock() {
            Ok(()) => Ok(true),
            Err(fs::TryLockError::WouldBlock) => Ok(false),
            Err(fs::TryLockError::Error(error)) => Err(error),
        })
    }

    /// Gives the lock back, for all who share this opening.
    ///
    /// # Errors
    /// Those of `flock(2)`.
    pub fn unlock(&self, file: &File) -> io::Result<()> {
        self.retried(&Call::Unlock { file: file.id }, |_| file.file.unlock())
    }

    /// The length of an open file in bytes.
    ///
    /// # Errors
    /// Those of `fstat(2)`.
    pub fn len(&self, file: &File) -> io::Result<u64> {
        self.retried(&Call::Len { file: file.id }, |_| Ok(file.file.metadata()?.len()))
    }

    /// Sets the length; what is added reads as zero and has no block behind it.
    ///
    /// # Errors
    /// Those of `ftruncate(2)`.
    pub fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
        self.retried(&Call::SetLen { file: file.id, len }, |_| file.file.set_len(len))
    }

    /// Writes all of `data`.
    ///
    /// Power loss before the next sync: each byte is old or new.
    ///
    /// # Errors
    /// Those of `pwrite(2)`; a part may be written then.
    pub fn write_at(&self, file: &File, mut offset: u64, mut data: &[u8]) -> io::Result<()> {
        while !data.is_empty() {
            let call = Call::Write {
                file: file.id,
                offset,
                data,
            };
            let done = self.retried(&call, |verdict| file.file.write_at(up_to(data, verdict), offset))?;
            if done == 0 {
                return Err(short_write());
            }
            if mutation::is(Mutation::SwallowShortWrite) {
                return Ok(());
            }
            data = data.get(done..).unwrap_or_default();
            offset += done as u64;
        }
        Ok(())
    }

    /// Writes zeros to `from..to` in pieces of `piece_len` bytes that are aligned to it, 64 KiB at most: the pages of
    /// one piece share a folio.
    ///
    /// # Errors
    /// Those of `pwrite(2)`; a part may be written then.
    pub fn fill_zero(&self, file: &File, from: u32, to: u32, piece_len: u32) -> io::Result<()> {
        let mut at = from;
        while at < to {
            let piece_end = (u64::from(at) + 1).next_multiple_of(u64::from(piece_len));
            let end = piece_end.min(u64::from(to)) as u32;
            let zeros = ZEROS.get(..(end - at) as usize).unwrap_or(&ZEROS);
            self.write_at(file, u64::from(at), zeros)?;
            at += zeros.len() as u32;
        }
        Ok(())
    }

    /// Starts writing dirty pages of a range to the device and does not wait for them. A hint: nothing is durable
    /// because of it, and whether it works is told by the next sync, as it would have been without.
    pub fn start_write_back(&self, file: &File, from: u32, to: u32) {
        let _ = self.once(
            &Call::StartWriteBack {
                file: file.id,
                from,
                to,
            },
            |_| {
                map::start_write_back(&file.file, from, to);
                Ok(())
            },
        );
    }

    /// Reads until `buf` is full or the file ends; the bytes read.
    ///
    /// # Errors
    /// Those of `pread(2)`.
    pub fn read_at(&self, file: &File, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = offset + done as u64;
            let call = Call::Read {
                file: file.id,
                offset: at,
                len: rest.len(),
            };
            match self.retried(&call, |_| file.file.read_at(rest, at))? {
                0 => break,
                count => done += count,
            }
        }
        Ok(done)
    }

    /// The next range at or behind `offset` that is not a hole; `None` when only a hole follows. A file system
    /// that cannot tell answers that all is data.
    ///
    /// # Errors
    /// Those of `lseek(2)`.
    #[cfg(target_os = "linux")]
    pub fn next_data(&self, file: &File, offset: u64) -> io::Result<Option<Range<u64>>> {
        use rustix::fs::{SeekFrom, seek};
        self.retried(&Call::FindData { file: file.id, offset }, |_| {
            let start = match seek(&file.file, SeekFrom::Data(offset)) {
                Ok(start) => start,
                Err(rustix::io::Errno::NXIO) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            match seek(&file.file, SeekFrom::Hole(start)) {
                Ok(end) => Ok(Some(start..end)),
                Err(error) => Err(error.into()),
            }
        })
    }

    /// The next range at or behind `offset` that is not a hole: here nobody can tell, so all of it.
    ///
    /// # Errors
    /// Those of `fstat(2)`.
    #[cfg(not(target_os = "linux"))]
    pub fn next_data(&self, file: &File, offset: u64) -> io::Result<Option<Range<u64>>> {
        self.retried(&Call::FindData { file: file.id, offset }, |_| {
            let len = file.file.metadata()?.len();
            Ok((offset < len).then_some(offset..len))
        })
    }

    /// Bytes of the blocks behind a file.
    ///
    /// # Errors
    /// Those of `fstat(2)`.
    pub fn allocated_len(&self, file: &File) -> io::Result<u64> {
        use std::os::unix::fs::MetadataExt;
        self.retried(&Call::Len { file: file.id }, |_| {
            Ok(file.file.metadata()?.blocks().saturating_mul(512))
        })
    }

    /// Maps the first `len` bytes of a file, shared. The map outlives the opening.
    ///
    /// # Errors
    /// Those of `mmap(2)`.
    pub fn map(&self, file: &File, len: u32, writable: bool) -> io::Result<Map> {
        let call = Call::Map {
            file: file.id,
            len,
            writable,
        };
        self.retried(&call, |_| Map::new(&file.file, file.id, len, writable))
    }

    /// Stores into a map. Without an observer this costs one branch more than the store.
    ///
    /// Power loss before the next sync: each byte is old or new.
    ///
    /// # Errors
    /// [`StoreError::Io`] only from an observer; a part may be stored then. The others store nothing.
    #[inline]
    pub fn store(
        &self,
        bytes: &mut Lending,
        right: &mut AppendRight,
        offset: u32,
        data: &[u8],
    ) -> Result<(), StoreError> {
        if self.observer.is_none() {
            return bytes.store(right, offset, data);
        }
        self.store_observed(bytes, right, offset, data)
    }

    #[cold]
    fn store_observed(
        &self,
        bytes: &mut Lending,
        right: &mut AppendRight,
        mut offset: u32,
        mut data: &[u8],
    ) -> Result<(), StoreError> {
        while !data.is_empty() {
            let file = bytes.file().ok_or(StoreError::NotMapped)?;
            let mut refused = None;
            let done = self.retried(&Call::Store { file, offset, data }, |verdict| {
                let part = up_to(data, verdict);
                refused = bytes.store(right, offset, part).err();
                Ok(part.len())
            });
            if let Some(refused) = refused {
                return Err(refused);
            }
            match done {
                Ok(0) => return Err(StoreError::Io(short_write())),
                Ok(done) => {
                    data = data.get(done..).unwrap_or_default();
                    offset += done as u32;
                }
                Err(error) => return Err(StoreError::Io(error)),
            }
        }
        Ok(())
    }

    /// Makes what was written and stored durable: `fdatasync`, on Linux also for dirty pages of a map.
    ///
    /// Measured for stores of 256 bytes into a map: 127 us, `msync` of just that range 129 us, and 4.2 KiB to
    /// the device with either. So it is this one, which covers blocks and lengths that were written, too.
    ///
    /// # Errors
    /// After any error, an interruption included, nobody knows what is durable: a second try may say yes
    /// about bytes that are gone.
    pub fn sync_file(&self, file: &File) -> io::Result<()> {
        self.once(&Call::SyncFile { file: file.id }, |_| file.file.sync_data())
    }

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// Those of `open(2)` and `fsync(2)`, an interruption included.
    pub fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.once(&Call::SyncDir { path }, |_| fs::File::open(path)?.sync_all())
    }

    /// Gives a file or directory another name.
    ///
    /// Power loss: both names, or either, until the directory is synced.
    ///
    /// # Errors
    /// Those of `rename(2)`.
    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.retried(&Call::Rename { from, to }, |_| fs::rename(from, to))
    }

    /// Takes the name of a file away.
    ///
    /// Power loss: the name may come back until the directory is synced.
    ///
    /// # Errors
    /// Those of `unlink(2)`.
    pub fn unlink(&self, path: &Path) -> io::Result<()> {
        self.retried(&Call::Unlink { path }, |_| fs::remove_file(path))
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// Those of `mkdir(2)`.
    pub fn make_dir(&self, path: &Path) -> io::Result<()> {
        self.retried(&Call::MakeDir { path }, |_| fs::create_dir(path))
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// Those of `rmdir(2)`.
    pub fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.retried(&Call::RemoveDir { path }, |_| fs::remove_dir(path))
    }

    /// The names in a directory, in no order.
    ///
    /// # Errors
    /// A listing that cannot be finished is an error, never a shorter list.
    pub fn list_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.retried(&Call::ListDir { path }, |_| {
            fs::read_dir(path)?
                .map(|entry| {
                    let entry = entry?;
                    Ok(Entry {
                        name: entry.file_name(),
                        is_dir: entry.file_type()?.is_dir(),
                    })
                })
                .collect()
        })
    }

    /// Whether a name is there, whatever it names.
    ///
    /// # Errors
    /// Those of `lstat(2)` but `ENOENT`.
    pub fn exists(&self, path: &Path) -> io::Result<bool> {
        self.retried(&Call::Exists { path }, |_| match fs::symlink_metadata(path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        })
    }
}

/// What a verdict lets through.
fn up_to(data: &[u8], verdict: Verdict) -> &[u8] {
    match verdict {
        Verdict::Proceed => data,
        Verdict::Short(len) => data.get(..len).unwrap_or(data),
    }
}
