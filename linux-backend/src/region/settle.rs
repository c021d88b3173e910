//! Making durable what an earlier life left.

use walstone_core::SegmentId;

use super::RegionFiles;
use crate::error::{Doing, LinuxError};
use crate::fill::CACHED_FILL_LEN;
use crate::sys::{self, Durability, Errno};

impl<'m> RegionFiles<'m> {
    /// Writes a range again as it reads and syncs, so that what a failed sync left in the page cache alone reaches the
    /// device, or this fails.
    pub(crate) fn settle(&self, id: SegmentId, from: u32, to: u32) -> Result<(), LinuxError> {
        self.check_writable(Doing::Settle)?;
        self.check_end(Doing::Settle, id, u64::from(to))?;
        self.push(Doing::Settle, None)?;
        let mut spare = self.flight.lock();
        let mut state = self.state.lock();
        self.check_state(&state, Doing::Settle, id)?;
        let direct = self.decide_path(&mut state, Doing::Settle, id)?;
        let block = state.staged.block();
        let slot = self.open(&mut state, Doing::Settle, id)?;
        let writer = slot.writer(&self.dir, direct);
        let writer = writer.map_err(|errno| self.error(Doing::Settle, id, errno))?;
        let entered = slot.enter();
        drop(state);
        let range = from - from % block..to.next_multiple_of(block);
        let piece_len = if direct { spare.len() } else { CACHED_FILL_LEN as usize };
        let mut at = range.start;
        let mut settled = Ok(());
        while at < range.end && settled.is_ok() {
            let piece = piece_len - at as usize % piece_len;
            let piece = piece.min((range.end - at) as usize);
            let bytes = spare.get_mut(..piece).unwrap_or_default();
            settled = match sys::read_at(entered.fd, bytes, u64::from(at)) {
                Ok(count) if count == bytes.len() => {
                    sys::write_at(writer, bytes, u64::from(at), block, Durability::Written)
                }
                Ok(_) => Err(Errno::EIO),
                Err(errno) => Err(errno),
            };
            at += piece as u32;
        }
        let settled = settled.and_then(|()| sys::sync_data(entered.fd));
        let mut state = self.state.lock();
        state.slots.leave(entered);
        if let Some(slot) = state.slots.find(id) {
            slot.unsynced = settled.is_err();
        }
        settled.map_err(|errno| {
            state.broken = true;
            self.error(Doing::Settle, id, errno)
        })
    }
}
