//! What others see of a segment: gathered bytes from memory, the rest from the file.

use core::ops::Range;

use walstone_core::SegmentId;
use walstone_core::segment::layout::Layout;

use super::{Guard, RegionFiles};
use crate::error::{Doing, LinuxError};
use crate::sys::{self, Errno};

impl<'m> RegionFiles<'m> {
    /// Where no data follows any more. Asked anew each time: beside one who reads another process may write.
    pub(crate) fn extent(&self, id: SegmentId) -> Result<u32, LinuxError> {
        self.check_process(Doing::Extent)?;
        let mut state = self.landed(id, 0..u32::MAX);
        let dirty = state.staged.dirty(id).end;
        let slot = self.open(&mut state, Doing::Extent, id)?;
        let data_end = slot.data_end().map_err(|errno| self.error(Doing::Extent, id, errno))?;
        Ok(data_end.max(dirty).min(self.geometry.segment_len()))
    }

    /// How far what was written up to `end` can be read: after a failed write up to what was handed over before, a whole
    /// number of frames. `end` itself where that would be nothing at all; reading tells why, then.
    #[must_use]
    pub fn held_end(&self, id: SegmentId, end: u32) -> u32 {
        if self.is_forked() {
            return end;
        }
        let state = self.landed(id, 0..end);
        // What is gathered when a sync fails is never written.
        let gathered = state.staged.dirty(id);
        let gathered = (state.broken && !gathered.is_empty()).then_some(gathered.start);
        let lost = state.lost.filter(|lost| lost.segment == id).map(|lost| lost.end);
        let Some(lost) = lost.into_iter().chain(gathered).min().filter(|lost| *lost < end) else {
            return end;
        };
        let held = if state.handed.segment == id {
            state.handed.end.min(lost)
        } else {
            lost
        };
        let start = Layout::new(self.geometry).frames_start();
        if held > start { held } else { end }
    }

    /// Refuses a range that the segment does not have.
    pub(crate) fn check_range(&self, id: SegmentId, offset: u32, len: u32) -> Result<(), LinuxError> {
        self.check_end(Doing::Read, id, u64::from(offset) + u64::from(len))
            .map(drop)
    }

    /// Copies bytes from `offset` on, all that fit into `buf`.
    pub(crate) fn read(&self, id: SegmentId, offset: u32, buf: &mut [u8]) -> Result<(), LinuxError> {
        self.check_process(Doing::Read)?;
        let end = self.check_end(Doing::Read, id, u64::from(offset) + buf.len() as u64)?;
        let mut state = self.landed(id, offset..end);
        self.check_held(&state, Doing::Read, id, end)?;
        let gathered = state.staged.copy_dirty(id, offset, buf);
        let entered = self.open(&mut state, Doing::Read, id)?.enter();
        drop(state);
        let mut read = |range: Range<u32>| {
            let part = (range.start - offset) as usize..(range.end - offset) as usize;
            let part = buf.get_mut(part).unwrap_or_default();
            match sys::read_at(entered.fd, part, u64::from(range.start)) {
                Ok(count) if count == part.len() => Ok(()),
                Ok(_) => Err(Errno::EIO),
                Err(errno) => Err(errno),
            }
        };
        let all = read(offset..gathered.start).and_then(|()| read(gathered.end..end));
        self.state.lock().slots.leave(entered);
        all.map_err(|errno| self.error(Doing::Read, id, errno))
    }

    /// The state at a moment when none of these bytes are on their way.
    pub(super) fn landed(&self, id: SegmentId, range: Range<u32>) -> Guard<'_, 'm> {
        loop {
            let state = self.state.lock();
            if !state.flies(id, range.clone()) {
                return state;
            }
            drop(state);
            // What failed is lost, and said to be.
            let _ = self.land(&mut self.flights.lock(), Doing::Read);
        }
    }

    /// Maps bytes that are written, once the file holds them; nothing is written below `to` any more.
    #[cfg(feature = "alloc")]
    pub(crate) fn map(&self, id: SegmentId, from: u32, to: u32) -> Result<alloc::sync::Arc<sys::FileMap>, LinuxError> {
        self.check_process(Doing::Read)?;
        self.check_end(Doing::Read, id, u64::from(to))?;
        let mut state = self.landed(id, from..to);
        while state.staged.dirty(id).start < to && !state.staged.dirty(id).is_empty() {
            drop(state);
            self.push(Doing::Write, None)?;
            state = self.landed(id, from..to);
        }
        self.check_held(&state, Doing::Read, id, to)?;
        let slot = self.open(&mut state, Doing::Open, id)?;
        let map = slot.map(self.geometry.segment_len());
        let map = alloc::sync::Arc::clone(map.map_err(|errno| self.error(Doing::Open, id, errno))?);
        state.lent = state.lent.max(walstone_core::Mark { segment: id, end: to });
        Ok(map)
    }
}
