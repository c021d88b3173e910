//! Opening files, their lengths, their blocks.

#![expect(unsafe_code, reason = "passes names and buffers to the kernel")]

use core::ffi::CStr;
use core::mem::MaybeUninit;
use core::ops::Range;

use linux_raw_sys::general::{
    __NR_fallocate, __NR_ftruncate, __NR_lseek, __NR_openat, __NR_statx, AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW,
    O_CLOEXEC, O_CREAT, O_DIRECT, O_DIRECTORY, O_EXCL, O_RDONLY, O_RDWR, SEEK_DATA, SEEK_HOLE, STATX_BLOCKS,
    STATX_DIOALIGN, STATX_SIZE, statx,
};

use super::arch::syscall;
use super::errno::Errno;
use super::fd::{Fd, FdNumber};
use super::watch::{Call, watched};
use super::{retried, signed};

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    Read,
    /// Reading and writing, through the page cache.
    Write,
    /// Reading and writing past the page cache.
    WriteDirect,
}

/// <https://man7.org/linux/man-pages/man2/openat.2.html>
fn openat(dir: usize, name: &CStr, flags: u32) -> Result<Fd, Errno> {
    let args = [dir, name.as_ptr() as usize, (flags | O_CLOEXEC) as usize, 0o644, 0, 0];
    let call = Call::Open {
        dir: dir as i32,
        name,
        directory: flags & O_DIRECTORY != 0,
        create: flags & O_CREAT != 0,
    };
    // SAFETY: `name` is a string with a NUL that is borrowed for the call; the kernel reads it alone.
    let make = || unsafe { syscall(__NR_openat, args) };
    retried(|| watched(call, make)).map(Fd::new)
}

/// Opens a file that is there.
///
/// # Errors
/// Those of openat(2); [`Errno::EINVAL`] where the file system has no direct access.
pub fn open(dir: &Fd, name: &CStr, access: Access) -> Result<Fd, Errno> {
    let flags = match access {
        Access::Read => O_RDONLY,
        Access::Write => O_RDWR,
        Access::WriteDirect => O_RDWR | O_DIRECT,
    };
    openat(dir.number().argument(), name, flags)
}

/// Makes a file that is not there yet, open for reading and writing.
///
/// Power loss: the name is there or not until the directory is synced.
///
/// # Errors
/// Those of openat(2) with `O_CREAT | O_EXCL`.
pub fn create(dir: &Fd, name: &CStr) -> Result<Fd, Errno> {
    openat(dir.number().argument(), name, O_RDWR | O_CREAT | O_EXCL)
}

/// Opens a file that may be missing, and then is made: for the lock.
///
/// # Errors
/// Those of openat(2) with `O_CREAT`.
pub fn open_or_create(dir: &Fd, name: &CStr) -> Result<Fd, Errno> {
    openat(dir.number().argument(), name, O_RDWR | O_CREAT)
}

/// Opens a directory: by its path from the working directory, or by its name in `dir`.
///
/// # Errors
/// Those of openat(2) with `O_DIRECTORY`.
pub fn open_dir(dir: Option<&Fd>, path: &CStr) -> Result<Fd, Errno> {
    let dir = dir.map_or(signed(AT_FDCWD), |dir| dir.number().argument());
    openat(dir, path, O_RDONLY | O_DIRECTORY)
}

/// <https://man7.org/linux/man-pages/man2/statx.2.html>
fn status(dir: usize, name: &CStr, flags: u32, mask: u32) -> Result<statx, Errno> {
    let mut status = MaybeUninit::<statx>::zeroed();
    let args = [
        dir,
        name.as_ptr() as usize,
        flags as usize,
        mask as usize,
        status.as_mut_ptr() as usize,
        0,
    ];
    // SAFETY: `name` is a string with a NUL, `status` is as large as the kernel's structure; both are borrowed for
    // the call, which reads the one and writes the other.
    retried(|| unsafe { syscall(__NR_statx, args) })?;
    // SAFETY: it was zeroed and then filled by the kernel, and its fields are integers, of which all bits are valid.
    Ok(unsafe { status.assume_init() })
}

/// Whether a name is there, whatever it names.
///
/// # Errors
/// Those of statx(2) but `ENOENT`.
pub fn exists(dir: &Fd, name: &CStr) -> Result<bool, Errno> {
    match status(dir.number().argument(), name, AT_SYMLINK_NOFOLLOW, 0) {
        Ok(_) => Ok(true),
        Err(Errno::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// How long a file is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileLen {
    /// To its end.
    pub len: u64,
    /// Of the blocks behind it.
    pub allocated: u64,
}

/// How long an open file is.
///
/// # Errors
/// Those of statx(2).
pub fn len(fd: &Fd) -> Result<FileLen, Errno> {
    let status = status(fd.number().argument(), c"", AT_EMPTY_PATH, STATX_SIZE | STATX_BLOCKS)?;
    Ok(FileLen {
        len: status.stx_size,
        allocated: status.stx_blocks.saturating_mul(512),
    })
}

/// What access past the page cache asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectIo {
    /// Offsets, lengths and addresses are multiples of this.
    Aligned(u32),
    /// There is none.
    No,
    /// The kernel does not say.
    Unknown,
}

/// What a file system says about access past the page cache.
///
/// # Errors
/// Those of statx(2).
pub fn direct_io(fd: &Fd) -> Result<DirectIo, Errno> {
    let status = status(fd.number().argument(), c"", AT_EMPTY_PATH, STATX_DIOALIGN)?;
    if status.stx_mask & STATX_DIOALIGN == 0 {
        return Ok(DirectIo::Unknown);
    }
    Ok(match status.stx_dio_offset_align.max(status.stx_dio_mem_align) {
        0 => DirectIo::No,
        align => DirectIo::Aligned(align),
    })
}

/// Sets the length; what is added reads as zero and has no block behind it.
/// <https://man7.org/linux/man-pages/man2/ftruncate.2.html>
///
/// # Errors
/// Those of ftruncate(2).
pub fn set_len(fd: &Fd, len: u64) -> Result<(), Errno> {
    let args = [fd.number().argument(), len as usize, 0, 0, 0, 0];
    let file = fd.number().raw();
    // SAFETY: no memory is passed.
    let make = || unsafe { syscall(__NR_ftruncate, args) };
    retried(|| watched(Call::SetLen { file, len }, make)).map(drop)
}

/// Reserves blocks for a range of a file, which reads as zero where it was a hole.
/// <https://man7.org/linux/man-pages/man2/fallocate.2.html>
///
/// # Errors
/// Those of fallocate(2); [`Errno::EOPNOTSUPP`] where the file system cannot.
pub fn allocate(fd: FdNumber, range: Range<u64>) -> Result<(), Errno> {
    let len = range.end.saturating_sub(range.start);
    let args = [fd.argument(), 0, range.start as usize, len as usize, 0, 0];
    let call = Call::Allocate {
        file: fd.raw(),
        from: range.start,
        to: range.end,
    };
    // SAFETY: no memory is passed.
    let make = || unsafe { syscall(__NR_fallocate, args) };
    retried(|| watched(call, make)).map(drop)
}

/// The next range at or behind `offset` that is not a hole; `None` when only a hole follows. A file system that
/// cannot tell answers that all is data. <https://man7.org/linux/man-pages/man2/lseek.2.html>
///
/// # Errors
/// Those of lseek(2).
pub fn next_data(fd: FdNumber, offset: u64) -> Result<Option<Range<u64>>, Errno> {
    let seek = |offset: u64, whence: u32| {
        let args = [fd.argument(), offset as usize, whence as usize, 0, 0, 0];
        // SAFETY: no memory is passed.
        retried(|| unsafe { syscall(__NR_lseek, args) })
    };
    let start = match seek(offset, SEEK_DATA) {
        Ok(start) => start as u64,
        Err(Errno::ENXIO) => return Ok(None),
        Err(error) => return Err(error),
    };
    let end = seek(start, SEEK_HOLE)? as u64;
    Ok(Some(start..end))
}
