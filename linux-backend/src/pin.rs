//! Bytes lent from maps of segment files.

#![expect(
    unsafe_code,
    reason = "that the bytes stay as they are is known here and not to the compiler"
)]

use alloc::sync::Arc;
use core::ops::Deref;

use walstone_core::SegmentId;

use crate::error::LinuxError;
use crate::region::RegionFiles;
use crate::sys::FileMap;

/// Bytes of a segment; they stay mapped, and the same, while it lives.
///
/// A page that the device cannot read raises `SIGBUS` when it is looked at, as does a file that somebody shortens
/// meanwhile. On [`WritePath::Buffered`](crate::WritePath::Buffered), bytes lent before a sync failed are good only as long as the
/// kernel keeps their pages: once they were written past the page cache they are what the device answered.
#[derive(Clone, Debug)]
pub struct Pin {
    map: Arc<FileMap>,
    from: u32,
    to: u32,
}

impl Pin {
    pub(crate) fn new(files: &RegionFiles<'_>, id: SegmentId, from: u32, to: u32) -> Result<Self, LinuxError> {
        files.check_range(id, from, to.saturating_sub(from))?;
        let map = files.map(id, from, to)?;
        Ok(Self { map, from, to })
    }
}

impl Deref for Pin {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `RegionFiles::map` raised the lent mark to `to` of this segment at least, and `RegionFiles::write`,
        // the only way to other bytes, refuses what starts below that mark. It lends only bytes that the file holds:
        // none from the start of a failed write on, which the next opening may write. What else is written to these bytes of
        // the file is what they hold already: blocks that later bytes share, ranges that are settled. Claims
        // write zeros to holes alone, which read as zero, and never below what was claimed before. So no byte of the slice changes within this process; other
        // processes are kept out by the lock on the root, and what was lent before a region was closed and opened
        // again is kept by the log's own rule: it writes behind all that it reads back. That the kernel drops a cached
        // page which the device refused and reads it anew is, like `SIGBUS`, told of above.
        unsafe { self.map.bytes(self.from, self.to) }.unwrap_or_default()
    }
}
