//! Shared maps of files, stores into them and slices lent from them: the only unsafe code of the backend.
//!
//! What makes lending sound within this process:
//!
//! - A byte of a file changes here only through [`Lending::store`] (and through `pwrite` of what already reads
//!   there). There is one [`Lending`] per file and opening of its region at a time, behind a lock, however often
//!   the file is mapped anew; the next one begins with the lent end of the one before it.
//! - A store needs the [`AppendRight`] of the file's region, of which there is one. Slices that the holder of
//!   the right reads for itself borrow the right, so that they end before its next store.
//! - Everybody else gets slices only below the *lent end* of the file, and no store goes below it.
//!
//! What was lent before a region was closed and opened again is kept by the log's own rule: it writes behind all
//! that it reads back. Other processes are kept out by the lock on the root. One that ignores it, shortens a
//! file or stores into it breaks this, as with any map of a file: access behind a shortened end raises `SIGBUS`,
//! and so does a page that the device cannot read.

#![expect(unsafe_code, reason = "maps are memory that the compiler does not know of")]

use std::fs;
use std::io;
use std::ops::Deref;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use memmap2::{MmapOptions, MmapRaw};

use super::call::FileId;

/// The first bytes of a file in memory, shared with the page cache. Unmapped on drop.
#[derive(Debug)]
pub struct Map {
    raw: MmapRaw,
    len: u32,
    file: FileId,
    writable: bool,
}

impl Map {
    pub(super) fn new(file: &fs::File, id: FileId, len: u32, writable: bool) -> io::Result<Self> {
        let mut options = MmapOptions::new();
        options.len(len as usize);
        let raw = if writable {
            options.map_raw(file)?
        } else {
            options.map_raw_read_only(file)?
        };
        Ok(Self {
            raw,
            len,
            file: id,
            writable,
        })
    }

    /// Asks the kernel to make `from..to` ready for stores at once, instead of by a fault for each page
    /// (measured: 140 us per MiB against 240). No more than a hint; it changes no byte.
    pub fn prefault(&self, from: u32, to: u32) {
        #[cfg(target_os = "linux")]
        if from < to && to <= self.len {
            let advice = memmap2::Advice::PopulateWrite;
            let _ = self.raw.advise_range(advice, from as usize, (to - from) as usize);
        }
        #[cfg(not(target_os = "linux"))]
        let _ = (from, to);
    }

    /// Takes whole pages out of the page tables of this process, all at once; the next access finds them in the page
    /// cache. Write-back would else protect one by one what is mapped, and interrupt every other processor for each:
    /// measured, 400 ns on each append of 256 bytes meanwhile. Changes no byte.
    pub fn unmap_pages(&self, from: u32, to: u32) {
        #[cfg(target_os = "linux")]
        if from < to && to <= self.len {
            let advice = memmap2::UncheckedAdvice::DontNeed;
            // SAFETY: the map is shared and of a file, so that the pages it lets go of stay what they are, dirty or
            // not, in the page cache: every later access, through a lent slice too, reads the same bytes.
            let _ = unsafe {
                self.raw
                    .unchecked_advise_range(advice, from as usize, (to - from) as usize)
            };
        }
        #[cfg(not(target_os = "linux"))]
        let _ = (from, to);
    }

    /// The bytes `from..to`, if the map has them.
    ///
    /// # Safety
    /// Nothing stores into these bytes while the slice lives.
    unsafe fn bytes(&self, from: u32, to: u32) -> Option<&[u8]> {
        if from > to || to > self.len {
            return None;
        }
        // SAFETY: `from <= len`, so the result lies in the map or one behind its end, and a map is one
        // allocation of at most `isize::MAX` bytes.
        let start = unsafe { self.raw.as_ptr().add(from as usize) };
        // SAFETY: `from..to` lies within the map, which stays mapped while `self` is borrowed; any byte is a
        // valid u8; the caller promises that nothing stores into the range while the slice lives.
        Some(unsafe { slice::from_raw_parts(start, (to - from) as usize) })
    }
}

/// Whose turn it is to append to one region: there is one right, and it is taken or not. Clones are the same gate.
#[derive(Clone, Debug, Default)]
pub struct AppendGate {
    taken: Arc<AtomicBool>,
}

impl AppendGate {
    /// Takes the right, unless somebody has it.
    #[must_use]
    pub fn take(&self) -> Option<AppendRight> {
        self.taken
            .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
            .ok()
            .map(|_| AppendRight {
                gate: self.clone(),
                reading: None,
            })
    }
}

/// The right to store into the files of one region. Given back on drop.
#[derive(Debug)]
pub struct AppendRight {
    gate: AppendGate,
    /// What the last slice was lent from, so that it stays mapped while the right is borrowed.
    reading: Option<Arc<Map>>,
}

impl AppendRight {
    /// Lets go of the map that the last slice was read from.
    pub fn end_reading(&mut self) {
        self.reading = None;
    }
}

impl Drop for AppendRight {
    fn drop(&mut self) {
        self.gate.taken.store(false, Ordering::Release);
    }
}

/// Why a store was not done, or only in part.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// The file is not mapped for writing.
    NotMapped,
    /// The bytes lie behind the end of the map.
    Behind,
    /// Bytes below this offset are lent out.
    Lent(u32),
    /// The right is that of another region.
    Right,
    /// What an observer put in its place.
    Io(io::Error),
}

/// The bytes of one file: the current map, and how far slices of it, or of maps before it, are lent out.
#[derive(Debug)]
pub struct Lending {
    gate: AppendGate,
    map: Option<Arc<Map>>,
    lent: u32,
}

impl Lending {
    /// For a file of the region that has this gate, of which nothing was lent yet. Make one per file only.
    #[must_use]
    pub fn new(gate: AppendGate) -> Self {
        Self::resumed(gate, 0)
    }

    /// For a file whose last one of these is gone, with what was [lent](Self::lent) by it.
    #[must_use]
    pub fn resumed(gate: AppendGate, lent: u32) -> Self {
        Self { gate, map: None, lent }
    }

    /// Nothing is stored below this any more.
    #[must_use]
    pub fn lent(&self) -> u32 {
        self.lent
    }

    /// Uses this map from now on.
    pub fn attach(&mut self, map: Map) {
        self.map = Some(Arc::new(map));
    }

    /// Lets go of the map; what is lent stays mapped.
    pub fn detach(&mut self) -> Option<Arc<Map>> {
        self.map.take()
    }

    /// The opening that was mapped.
    #[must_use]
    pub fn file(&self) -> Option<FileId> {
        self.map.as_ref().map(|map| map.file)
    }

    /// Stores `data` at `offset`.
    ///
    /// # Errors
    /// All but [`StoreError::Io`]; nothing is stored then.
    #[inline]
    pub fn store(&mut self, right: &mut AppendRight, offset: u32, data: &[u8]) -> Result<(), StoreError> {
        let Some(map) = self.map.as_ref().filter(|map| map.writable) else {
            return Err(StoreError::NotMapped);
        };
        if !Arc::ptr_eq(&right.gate.taken, &self.gate.taken) {
            return Err(StoreError::Right);
        }
        if data.len() > map.len as usize || offset > map.len - data.len() as u32 {
            return Err(StoreError::Behind);
        }
        if offset < self.lent {
            return Err(StoreError::Lent(self.lent));
        }
        // SAFETY: `offset <= len`, so the result lies in the map or one behind its end.
        let to = unsafe { map.raw.as_mut_ptr().add(offset as usize) };
        // SAFETY: `data` is valid for reads of its length. `to` is valid for as many writes: the range lies in
        // the map (checked above), which is mapped for writing. No other store runs, for `right` is the only
        // one of this region and `self` is borrowed mutably. No slice of this range lives: those lent to
        // others end at or before `lent <= offset`, and those lent to the holder of the right borrowed it.
        // For the same reasons `data` is no slice of this range, so they do not overlap.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), to, data.len()) };
        Ok(())
    }

    /// Brings the `len` bytes from `from` on into the cache of this processor, to be stored into soon: space that
    /// another one prepared is in its cache, and the next lock would wait for each line (measured: a quarter of the
    /// time of an append of 256 bytes). A hint: changes nothing, and faults nowhere.
    #[inline]
    pub fn expect_store(&self, from: u32, len: u32) {
        #[cfg(target_arch = "x86_64")]
        if let Some(map) = &self.map {
            use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
            let end = from.saturating_add(len.min(1024)).min(map.len);
            for at in (from..end).step_by(64) {
                let line = map.raw.as_ptr().wrapping_add(at as usize);
                // SAFETY: a prefetch reads nothing, whatever the address; this one is in the map.
                unsafe { _mm_prefetch::<_MM_HINT_ET0>(line.cast()) };
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (from, len);
    }

    /// Lends `from..to` for as long as the pin lives; from now on nothing is stored below `to`.
    #[must_use]
    pub fn lend(&mut self, from: u32, to: u32) -> Option<Pin> {
        let map = self.map.as_ref().filter(|map| from <= to && to <= map.len)?;
        self.lent = self.lent.max(to);
        Some(Pin {
            map: Arc::clone(map),
            from,
            to,
        })
    }

    /// Lends `from..to` to the one who could store, until it does.
    #[must_use]
    pub fn lend_to<'a>(&mut self, right: &'a mut AppendRight, from: u32, to: u32) -> Option<&'a [u8]> {
        if !Arc::ptr_eq(&right.gate.taken, &self.gate.taken) {
            return None;
        }
        let map = self.map.as_ref()?;
        // Only where it is another one: reads come in runs, and counting is most of what they cost.
        if !right.reading.as_ref().is_some_and(|held| Arc::ptr_eq(held, map)) {
            right.reading = Some(Arc::clone(map));
        }
        let map = right.reading.as_ref()?;
        // SAFETY: a store into this file needs the right, which is borrowed mutably while the slice lives.
        unsafe { map.bytes(from, to) }
    }

    /// Copies the bytes from `from` on into `buf`, all that fit.
    #[must_use]
    pub fn copy(&mut self, from: u32, buf: &mut [u8]) -> Option<()> {
        let map = self.map.as_ref()?;
        let to = u32::try_from(buf.len()).ok()?.checked_add(from)?;
        // SAFETY: a store into this file needs `&mut self`, which is borrowed until this slice is gone.
        buf.copy_from_slice(unsafe { map.bytes(from, to) }?);
        Some(())
    }

    /// The map, for as long as the caller keeps it.
    #[must_use]
    pub fn map(&self) -> Option<&Arc<Map>> {
        self.map.as_ref()
    }
}

/// Bytes lent from a map; they stay mapped, and the same, while it lives.
#[derive(Clone, Debug)]
pub struct Pin {
    map: Arc<Map>,
    from: u32,
    to: u32,
}

impl Deref for Pin {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: a pin is made by `Lending::lend` only, which raised the lent end to `to` at least; no store
        // goes below it from then on.
        unsafe { self.map.bytes(self.from, self.to) }.unwrap_or_default()
    }
}

/// `sync_file_range(2)`, which only starts: it waits for nothing, and leaves errors to the next sync.
pub(super) fn start_write_back(file: &fs::File, from: u32, to: u32) {
    #[cfg(target_os = "linux")]
    {
        use std::ffi::{c_int, c_uint};
        use std::os::fd::AsRawFd;

        unsafe extern "C" {
            fn sync_file_range(fd: c_int, offset: i64, len: i64, flags: c_uint) -> c_int;
        }
        const WRITE: c_uint = 2;
        // SAFETY: the declaration is that of the C library that std links on Linux, whose `off64_t` is 64 bits wide
        // everywhere; the descriptor is open while `file` is borrowed, and no memory is passed.
        let _ = unsafe { sync_file_range(file.as_raw_fd(), from.into(), to.saturating_sub(from).into(), WRITE) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (file, from, to);
}

/// Tells a forked child from its parent, for less than a system call.
#[derive(Debug)]
pub struct ForkMark {
    /// A page that the kernel hands to a child as zeros, where it can.
    page: Option<memmap2::MmapMut>,
    process: u32,
}

impl ForkMark {
    /// Remembers this process.
    #[must_use]
    pub fn new() -> Self {
        Self {
            page: Self::wiped_page(),
            process: std::process::id(),
        }
    }

    #[cfg(target_os = "linux")]
    fn wiped_page() -> Option<memmap2::MmapMut> {
        let len = 4096;
        let mut page = memmap2::MmapMut::map_anon(len).ok()?;
        *page.first_mut()? = 1;
        // SAFETY: the range is this map, page-aligned and wholly ours; the advice changes nothing in this
        // process, and a child sees zeros, which are valid bytes.
        unsafe { rustix::mm::madvise(page.as_mut_ptr().cast(), len, rustix::mm::Advice::LinuxWipeOnFork) }.ok()?;
        Some(page)
    }

    #[cfg(not(target_os = "linux"))]
    fn wiped_page() -> Option<memmap2::MmapMut> {
        None
    }

    /// Whether this is the process that made the mark.
    #[must_use]
    #[inline]
    pub fn is_here(&self) -> bool {
        match &self.page {
            // The compiler must not keep the byte over a fork.
            Some(page) => std::hint::black_box(page).first() == Some(&1),
            None => std::process::id() == self.process,
        }
    }
}

impl Default for ForkMark {
    fn default() -> Self {
        Self::new()
    }
}
