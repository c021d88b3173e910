//! Making durable what an earlier life left.

use walstone_core::SegmentId;

use super::RegionFiles;
use crate::buffer::ALIGN;
use crate::error::{Doing, LinuxError};
use crate::fill::CACHED_FILL_LEN;
use crate::sys::{self, AnonymousMap, Durability, Errno, Fd};

impl<'m> RegionFiles<'m> {
    /// Writes a range again as it reads and syncs, so that what a failed sync left in the page cache alone reaches the
    /// device. Then it reads the range past the page cache, where the file system can: what the device does not
    /// hold is not settled.
    pub(crate) fn settle(&self, id: SegmentId, from: u32, to: u32) -> Result<(), LinuxError> {
        self.check_writable(Doing::Settle)?;
        self.check_end(Doing::Settle, id, u64::from(to))?;
        let io = |errno| self.error(Doing::Settle, id, errno);
        let mut flights = self.flights.lock();
        self.push_by(&mut flights, Doing::Settle, None)?;
        let mut state = self.state.lock();
        self.check_state(&state, Doing::Settle, id)?;
        let direct = self.decide_path(&mut state, Doing::Settle, id)?;
        let block = state.staged.block();
        let slot = self.open(&mut state, Doing::Settle, id)?;
        let writer = slot.writer(&self.dir, direct).map_err(io)?;
        let judge = slot.past_cache(&self.dir, self.geometry.segment_len()).map_err(io)?;
        let entered = slot.enter();
        drop(state);
        let settled = (|| {
            let scratch = flights.free().ok_or(Errno::ENOMEM)?;
            let mut again = AnonymousMap::new(scratch.len() + ALIGN)?;
            let piece_len = if direct {
                scratch.len()
            } else {
                CACHED_FILL_LEN as usize
            };
            let end = to.next_multiple_of(block);
            let mut at = from - from % block;
            while at < end {
                let len = (scratch.len() - at as usize % scratch.len()).min((end - at) as usize);
                let bytes = scratch.get_mut(..len).unwrap_or_default();
                if sys::read_at(entered.fd, bytes, u64::from(at))? != len {
                    return Err(Errno::EIO);
                }
                for (piece, start) in bytes.chunks(piece_len).zip((u64::from(at)..).step_by(piece_len)) {
                    sys::write_at(writer, piece, start, block, Durability::Written)?;
                }
                if let Some(judge) = &judge {
                    compare(judge, bytes, at, &mut again)?;
                }
                at += len as u32;
            }
            sys::sync_data(entered.fd)
        })();
        let mut state = self.state.lock();
        state.slots.leave(entered);
        if let Some(slot) = state.slots.find(id) {
            slot.unsynced = settled.is_err();
        }
        settled.map_err(|errno| {
            state.broken = true;
            io(errno)
        })
    }
}

/// Whether the device holds these bytes at `at`. Bytes that are still in the page cache alone go to it first.
fn compare(judge: &Fd, bytes: &[u8], at: u32, again: &mut [u8]) -> Result<(), Errno> {
    let skipped = at as usize % ALIGN;
    let whole = (skipped + bytes.len()).next_multiple_of(ALIGN);
    let room = again.get_mut(..whole).unwrap_or_default();
    sys::read_at(judge.number(), room, u64::from(at) - skipped as u64)?;
    match room.get(skipped..skipped + bytes.len()) {
        Some(found) if found == bytes => Ok(()),
        _ => Err(Errno::EIO),
    }
}
