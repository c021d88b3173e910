//! Memory from the kernel: anonymous pages, and files mapped for reading.

#![expect(unsafe_code, reason = "maps are memory that the compiler does not know of")]

use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use core::slice;
use core::sync::atomic::{AtomicU8, Ordering};

use linux_raw_sys::general::{
    __NR_madvise, __NR_mmap, __NR_munmap, MADV_WIPEONFORK, MAP_ANONYMOUS, MAP_PRIVATE, PROT_READ, PROT_WRITE,
};

use super::arch::syscall;
use super::errno::Errno;
use super::process::process_id;
use super::signed;

/// Pages of the process. <https://man7.org/linux/man-pages/man2/mmap.2.html>
#[derive(Debug)]
struct Pages {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: pages belong to the process, not to a thread, and this value is their only owner.
unsafe impl Send for Pages {}
// SAFETY: a shared `Pages` gives out its address alone; who reads or writes there proves that he may.
unsafe impl Sync for Pages {}

impl Pages {
    fn map(len: usize, protection: u32, flags: u32, fd: usize) -> Result<Self, Errno> {
        let args = [0, len, protection as usize, flags as usize, fd, 0];
        // SAFETY: the kernel chooses a range that nothing of this process lies in, so no memory in use changes.
        let start = unsafe { syscall(__NR_mmap, args) }?;
        let start = NonNull::new(start as *mut u8).ok_or(Errno::ENOMEM)?;
        Ok(Self { start, len })
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        let args = [self.start.as_ptr() as usize, self.len, 0, 0, 0, 0];
        // SAFETY: the range is this map, and every slice of it borrowed the value that is dropped now.
        let _ = unsafe { syscall(__NR_munmap, args) };
    }
}

/// Zeroed memory of this process, aligned to a page.
#[derive(Debug)]
pub struct AnonymousMap(Pages);

impl AnonymousMap {
    /// Maps `len` bytes; none are none.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn new(len: usize) -> Result<Self, Errno> {
        let pages = Pages::map(len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, signed(-1))?;
        Ok(Self(pages))
    }
}

impl Deref for AnonymousMap {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `len` bytes from `start` on are mapped for reading while `self` lives and were zeroed by the kernel;
        // they change only through `deref_mut`, which borrows `self` mutably.
        unsafe { slice::from_raw_parts(self.0.start.as_ptr(), self.0.len) }
    }
}

impl DerefMut for AnonymousMap {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, mapped for writing, too; `self` is borrowed mutably, so no other slice lives.
        unsafe { slice::from_raw_parts_mut(self.0.start.as_ptr(), self.0.len) }
    }
}

/// The first bytes of a file, mapped for reading. What is read is what the file holds: see `FileMap::bytes`.
#[cfg(feature = "alloc")]
#[derive(Debug)]
pub struct FileMap(Pages);

#[cfg(feature = "alloc")]
impl FileMap {
    /// Maps the first `len` bytes; the map outlives the opening.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn new(fd: &super::Fd, len: u32) -> Result<Self, Errno> {
        use linux_raw_sys::general::MAP_SHARED;
        let pages = Pages::map(len as usize, PROT_READ, MAP_SHARED, fd.number().argument())?;
        Ok(Self(pages))
    }

    /// The bytes `from..to`, if the map has them.
    ///
    /// # Safety
    /// Nobody changes these bytes of the file while the slice lives. (Writing what already stands there changes
    /// nothing.)
    pub(crate) unsafe fn bytes(&self, from: u32, to: u32) -> Option<&[u8]> {
        if from > to || to as usize > self.0.len {
            return None;
        }
        // SAFETY: `from <= len`, so the result lies in the map or one behind its end.
        let start = unsafe { self.0.start.as_ptr().add(from as usize) };
        // SAFETY: `from..to` lies within the map, which stays mapped while `self` is borrowed; any byte is a valid
        // u8; the caller promises that none of them changes.
        Some(unsafe { slice::from_raw_parts(start, (to - from) as usize) })
    }
}

/// Tells a forked child from its parent, for less than a system call.
/// <https://man7.org/linux/man-pages/man2/madvise.2.html>
#[derive(Debug)]
pub struct ForkMark {
    /// A page that the kernel hands to a child as zeros, where it can.
    page: Option<Pages>,
    process: u32,
}

/// One page of any size that Linux has here.
const PAGE_LEN: usize = 4096;

impl ForkMark {
    /// Remembers this process.
    #[must_use]
    pub fn new() -> Self {
        let mark = Self {
            page: Self::wiped_page().ok(),
            process: process_id(),
        };
        if let Some(byte) = mark.byte() {
            byte.store(1, Ordering::Relaxed);
        }
        mark
    }

    fn wiped_page() -> Result<Pages, Errno> {
        let pages = Pages::map(
            PAGE_LEN,
            PROT_READ | PROT_WRITE,
            MAP_PRIVATE | MAP_ANONYMOUS,
            signed(-1),
        )?;
        let args = [
            pages.start.as_ptr() as usize,
            pages.len,
            MADV_WIPEONFORK as usize,
            0,
            0,
            0,
        ];
        // SAFETY: the range is this map; the advice changes nothing in this process, and a child sees zeros.
        unsafe { syscall(__NR_madvise, args) }?;
        Ok(pages)
    }

    fn byte(&self) -> Option<&AtomicU8> {
        let page = self.page.as_ref()?;
        // SAFETY: the first byte of the page is mapped for reading and writing while `self` lives, and every access
        // to it is by this atomic.
        Some(unsafe { AtomicU8::from_ptr(page.start.as_ptr()) })
    }

    /// Whether this is the process that made the mark.
    #[must_use]
    #[inline]
    pub fn is_here(&self) -> bool {
        match self.byte() {
            Some(byte) => byte.load(Ordering::Relaxed) == 1,
            None => process_id() == self.process,
        }
    }
}

impl Default for ForkMark {
    fn default() -> Self {
        Self::new()
    }
}
