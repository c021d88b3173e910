//! Blocks for bytes to come, beside the one who appends.

use walstone_core::SegmentId;

use super::{RegionFiles, State};
use crate::error::{Doing, LinuxError};
use crate::fill::{Ahead, CACHED_FILL_LEN, DIRECT_FILL_LEN, Filler};
use crate::sys;

/// From so many bytes on between two syncs, blocks to come are only reserved.
const BULK_LEN: u64 = 512 << 10;

impl<'m> RegionFiles<'m> {
    /// Makes written blocks for every byte before `end`, and for some behind it unless `exactly`.
    ///
    /// Data is never overwritten: only holes are filled, and none below what was claimed before, so that no write goes
    /// where this one fills. So any handle may claim, ahead of the one that appends. They are durable on return, so that the next sync has nothing more to do,
    /// unless they are only reserved.
    pub(crate) fn claim(&self, id: SegmentId, end: u32, exactly: bool, bulk: bool) -> Result<(), LinuxError> {
        self.check_writable(Doing::Claim)?;
        let io = |errno| self.error(Doing::Claim, id, errno);
        let end = self.check_end(Doing::Claim, id, u64::from(end))?;
        self.check_state(&self.state.lock(), Doing::Claim, id)?;
        let is_done = |state: &mut State<'m>| -> Result<bool, LinuxError> {
            let slot = self.open(state, Doing::Claim, id)?;
            Ok(end <= slot.layout().map_err(io)?.claimed)
        };
        if is_done(&mut self.state.lock())? {
            return Ok(());
        }
        let mut step = self.claiming.lock();
        let mut state = self.state.lock();
        if is_done(&mut state)? {
            return Ok(());
        }
        let direct = self.decide_path(&mut state, Doing::Claim, id)?;
        let reserve_only = bulk || state.since_sync > BULK_LEN;
        let slot = self.open(&mut state, Doing::Claim, id)?;
        let layout = *slot.layout().map_err(io)?;
        let filler = Filler {
            reader: slot.fd(),
            writer: slot.writer(&self.dir, direct).map_err(io)?,
            piece_len: if direct { DIRECT_FILL_LEN } else { CACHED_FILL_LEN },
            reserve_only,
        };
        // The kernel tells of a failure once to each opening: the sync beside this one must hear of it as well.
        let own = match reserve_only {
            true => None,
            false => Some(slot.another(&self.dir).map_err(io)?),
        };
        let entered = slot.enter();
        drop(state);

        let segment_len = self.geometry.segment_len();
        let least = Ahead::decide(layout.claimed, end, 0, segment_len).end;
        // The first claim of a segment is for what a spare needs.
        let begun = if layout.claimed <= CACHED_FILL_LEN { 0 } else { *step };
        let ahead = Ahead::decide(layout.claimed, end, begun, segment_len);
        let wanted = if exactly { least } else { ahead.end };
        let fill = |to| filler.fill(layout.claimed..to, layout).map(|refused| (to, refused));
        let filled = fill(wanted).or_else(|errno| {
            // Going ahead is a courtesy: what was asked for may still fit.
            if wanted > least && errno.is_full() {
                fill(least)
            } else {
                Err(errno)
            }
        });
        let synced = match &own {
            Some(own) if filled.is_ok() => sys::sync_data(own.number()),
            _ => Ok(()),
        };
        let mut state = self.state.lock();
        state.slots.leave(entered);
        if let Err(errno) = synced {
            state.broken = true;
            return Err(self.error(Doing::Sync, id, errno));
        }
        let (to, refused) = filled.map_err(io)?;
        if refused {
            self.counters.refuse(&self.counters.allocate_refused);
        }
        *step = ahead.step;
        let slot = self.open(&mut state, Doing::Claim, id)?;
        slot.unsynced |= reserve_only;
        let layout = slot.layout().map_err(io)?;
        layout.claimed = layout.claimed.max(to);
        Ok(())
    }
}
