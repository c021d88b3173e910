//! Names in directories.

#![expect(unsafe_code, reason = "passes names and buffers to the kernel")]

use core::ffi::CStr;

use linux_raw_sys::general::{
    __NR_fsync, __NR_getdents64, __NR_mkdirat, __NR_renameat2, __NR_unlinkat, AT_FDCWD, AT_REMOVEDIR, DT_DIR,
    DT_UNKNOWN,
};

use super::arch::syscall;
use super::errno::Errno;
use super::fd::Fd;
use super::file::open_dir;
use super::watch::{Call, watched};
use super::{retried, signed};

/// The names in a directory, one after the other, in no order.
/// <https://man7.org/linux/man-pages/man2/getdents64.2.html>
#[derive(Debug)]
pub struct Names {
    dir: Fd,
    buf: Records,
    at: usize,
    end: usize,
}

/// The kernel wants its records aligned.
#[derive(Debug)]
#[repr(align(8))]
struct Records([u8; 2048]);

/// Where a record of the kernel holds what.
mod field {
    use core::ops::Range;
    pub(super) const LEN: Range<usize> = 16..18;
    pub(super) const KIND: usize = 18;
    pub(super) const NAME: usize = 19;
}

impl Names {
    /// Begins a listing.
    ///
    /// # Errors
    /// Those of openat(2).
    pub fn list(dir: &Fd) -> Result<Self, Errno> {
        Ok(Self {
            dir: open_dir(Some(dir), c".")?,
            buf: Records([0; 2048]),
            at: 0,
            end: 0,
        })
    }

    /// The next name and whether it is a directory's; `None` at the end. `.` and `..` are left out.
    ///
    /// # Errors
    /// A listing that cannot be finished is an error, never a shorter list.
    pub fn next_name(&mut self) -> Result<Option<(&CStr, bool)>, Errno> {
        let (from, to, kind) = loop {
            if self.at >= self.end {
                self.end = self.fill()?;
                self.at = 0;
                if self.end == 0 {
                    return Ok(None);
                }
            }
            let record = self.buf.0.get(self.at..self.end).unwrap_or_default();
            let Some((len, kind)) = parse(record) else {
                return Err(Errno::EIO);
            };
            let (from, to) = (self.at + field::NAME, self.at + len);
            self.at = to;
            if !matches!(self.name(from, to)?.to_bytes(), b"." | b"..") {
                break (from, to, kind);
            }
        };
        let name = self.name(from, to)?;
        let is_dir = match u32::from(kind) {
            DT_DIR => true,
            // File systems that do not say are few.
            DT_UNKNOWN => open_dir(Some(&self.dir), name).is_ok(),
            _ => false,
        };
        Ok(Some((name, is_dir)))
    }

    fn name(&self, from: usize, to: usize) -> Result<&CStr, Errno> {
        let bytes = self.buf.0.get(from..to).unwrap_or_default();
        CStr::from_bytes_until_nul(bytes).map_err(|_| Errno::EIO)
    }

    fn fill(&mut self) -> Result<usize, Errno> {
        let buf = &mut self.buf.0;
        let args = [
            self.dir.number().argument(),
            buf.as_mut_ptr() as usize,
            buf.len(),
            0,
            0,
            0,
        ];
        // SAFETY: the kernel writes at most `buf.len()` bytes to `buf`, which is borrowed mutably for the call.
        retried(|| unsafe { syscall(__NR_getdents64, args) })
    }
}

/// The length of the first record and what it names.
fn parse(record: &[u8]) -> Option<(usize, u8)> {
    let len = record.get(field::LEN)?.try_into().ok()?;
    #[expect(clippy::host_endian_bytes, reason = "the kernel's own structure")]
    let len = usize::from(u16::from_ne_bytes(len));
    let kind = *record.get(field::KIND)?;
    (len > field::NAME && len <= record.len()).then_some((len, kind))
}

/// Makes a directory: by its path from the working directory, or by its name in `dir`.
/// <https://man7.org/linux/man-pages/man2/mkdir.2.html>
///
/// # Errors
/// Those of mkdirat(2).
pub fn make_dir(dir: Option<&Fd>, path: &CStr) -> Result<(), Errno> {
    let dir = dir.map_or(signed(AT_FDCWD), |dir| dir.number().argument());
    let args = [dir, path.as_ptr() as usize, 0o755, 0, 0, 0];
    let call = Call::MakeDir {
        dir: dir as i32,
        name: path,
    };
    // SAFETY: `path` is a string with a NUL that is borrowed for the call; the kernel reads it alone.
    let make = || unsafe { syscall(__NR_mkdirat, args) };
    retried(|| watched(call, make)).map(drop)
}

fn unlink(dir: &Fd, name: &CStr, flags: u32) -> Result<(), Errno> {
    let args = [dir.number().argument(), name.as_ptr() as usize, flags as usize, 0, 0, 0];
    let number = dir.number().raw();
    let call = match flags {
        AT_REMOVEDIR => Call::RemoveDir { dir: number, name },
        _ => Call::Remove { dir: number, name },
    };
    // SAFETY: `name` is a string with a NUL that is borrowed for the call; the kernel reads it alone.
    let make = || unsafe { syscall(__NR_unlinkat, args) };
    retried(|| watched(call, make)).map(drop)
}

/// Takes the name of a file away. <https://man7.org/linux/man-pages/man2/unlink.2.html>
///
/// Power loss: the name may come back until the directory is synced.
///
/// # Errors
/// Those of unlinkat(2).
pub fn remove(dir: &Fd, name: &CStr) -> Result<(), Errno> {
    unlink(dir, name, 0)
}

/// Removes an empty directory. <https://man7.org/linux/man-pages/man2/rmdir.2.html>
///
/// # Errors
/// Those of unlinkat(2).
pub fn remove_dir(dir: &Fd, name: &CStr) -> Result<(), Errno> {
    unlink(dir, name, AT_REMOVEDIR)
}

/// Gives a file or directory another name in the same directory.
/// <https://man7.org/linux/man-pages/man2/rename.2.html>
///
/// Power loss: both names, or either, until the directory is synced.
///
/// # Errors
/// Those of renameat2(2).
pub fn rename(dir: &Fd, from: &CStr, to: &CStr) -> Result<(), Errno> {
    let at = dir.number().argument();
    let args = [at, from.as_ptr() as usize, at, to.as_ptr() as usize, 0, 0];
    let dir = dir.number().raw();
    // SAFETY: both names are strings with a NUL that are borrowed for the call; the kernel reads them alone.
    let make = || unsafe { syscall(__NR_renameat2, args) };
    retried(|| watched(Call::Rename { dir, from, to }, make)).map(drop)
}

/// Makes the names in a directory durable. <https://man7.org/linux/man-pages/man2/fsync.2.html>
///
/// # Errors
/// Those of fsync(2), an interruption included.
pub fn sync_dir(dir: &Fd) -> Result<(), Errno> {
    let args = [dir.number().argument(), 0, 0, 0, 0, 0];
    let dir = dir.number().raw();
    // SAFETY: no memory is passed.
    let make = || unsafe { syscall(__NR_fsync, args) };
    watched(Call::SyncDir { dir }, make).map(drop)
}
