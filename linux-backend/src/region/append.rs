//! The way of appended bytes: gathered, handed over, synced.

use core::ops::Range;

use walstone_core::{Mark, SegmentId};

use super::{Guard, RegionFiles, State};
use crate::buffer::Buffer;
use crate::error::{Cause, Doing, LinuxError};
use crate::staged::Put;
use crate::stats::count;
use crate::sys::{self, Durability, Errno};

/// Bytes that are loaded beside those that are needed, where a segment of an earlier life goes on.
const LOAD_LEN: u32 = 8 << 10;

impl<'m> RegionFiles<'m> {
    /// Gathers bytes; writes what was gathered before where there is no room.
    pub(crate) fn write(&self, id: SegmentId, offset: u32, parts: &[&[u8]]) -> Result<(), LinuxError> {
        self.check_writable(Doing::Write)?;
        let len: u64 = parts.iter().map(|part| part.len() as u64).sum();
        let filled = len.next_multiple_of(u64::from(self.geometry.write_unit()));
        let end = self.check_end(Doing::Write, id, u64::from(offset) + filled)?;
        let mut state = self.state.lock();
        self.check_state(&state, Doing::Write, id)?;
        let at = Mark {
            segment: id,
            end: offset,
        };
        if len > 0 && at < state.lent {
            return Err(self.error(Doing::Write, id, Cause::Lent { offset }));
        }
        self.decide_path(&mut state, Doing::Write, id)?;
        self.open(&mut state, Doing::Write, id)?;
        drop(state);
        let mut at = offset;
        const ZEROS: [u8; 256] = [0; 256];
        for part in parts {
            at = self.put(id, at, part)?;
        }
        while at < end {
            let zeros = ZEROS.get(..(end - at) as usize).unwrap_or(&ZEROS);
            at = self.put(id, at, zeros)?;
        }
        Ok(())
    }

    fn put(&self, id: SegmentId, mut at: u32, mut data: &[u8]) -> Result<u32, LinuxError> {
        let mut state = self.state.lock();
        while !data.is_empty() {
            match state.staged.put(id, at, data) {
                Put::Taken(count) => {
                    at += count as u32;
                    state.since_sync += count as u64;
                    data = data.get(count..).unwrap_or_default();
                    let layout = self.open(&mut state, Doing::Write, id)?.layout();
                    let layout = layout.map_err(|errno| self.error(Doing::Write, id, errno))?;
                    layout.blank_from = layout.blank_from.max(at);
                }
                Put::Load(range) => {
                    if let Err(error) = self.load(&mut state, id, range) {
                        // What was put shares a block with what could not be read.
                        state.broken = true;
                        return Err(error);
                    }
                }
                Put::Full => {
                    drop(state);
                    self.push(Doing::Write, None)?;
                    state = self.state.lock();
                }
            }
        }
        Ok(at)
    }

    /// Loads what the file holds into the window.
    fn load(&self, state: &mut State<'m>, id: SegmentId, range: Range<u32>) -> Result<(), LinuxError> {
        let io = |errno| self.error(Doing::Write, id, errno);
        let direct = state.staged.block() > 1;
        let slot = self.open(state, Doing::Write, id)?;
        let fd = slot.fd();
        let blank_from = slot.layout().map_err(io)?.blank_from;
        if range.start >= blank_from {
            state.staged.room(range.end).fill(0);
            state.staged.loaded(range.end);
            return Ok(());
        }
        let ahead = blank_from.min(range.start.saturating_add(LOAD_LEN));
        let to = if direct { range.end.max(ahead) } else { range.end };
        let to = to
            .next_multiple_of(state.staged.block())
            .min(self.geometry.segment_len());
        let room = state.staged.room(to);
        if sys::read_at(fd, room, u64::from(range.start)).map_err(io)? != room.len() {
            return Err(io(Errno::EIO));
        }
        let read = room.len() as u32;
        state.staged.loaded(range.start + read);
        Ok(())
    }

    /// On return, bytes before `to` are with the kernel.
    pub(crate) fn hand_over(&self, to: Mark) -> Result<(), LinuxError> {
        self.check_writable(Doing::Write)?;
        let state = self.state.lock();
        if state.broken {
            return Err(self.error(Doing::Write, to.segment, Cause::Broken));
        }
        // What was gathered in another segment went before; what is on its way is not there yet.
        let dirty = state.staged.dirty(to.segment);
        let flying = state.in_flight.as_ref();
        let flying = flying.is_some_and(|(id, range)| *id == to.segment && range.start < to.end);
        drop(state);
        if flying || (!dirty.is_empty() && dirty.start < to.end) {
            return self.push(Doing::Write, None);
        }
        Ok(())
    }

    /// On return, bytes of this segment before `to` survive power loss.
    pub(crate) fn sync(&self, to: Mark) -> Result<(), LinuxError> {
        self.check_writable(Doing::Sync)?;
        self.check_state(&self.state.lock(), Doing::Sync, to.segment)?;
        self.push(Doing::Sync, Some(to))
    }

    /// Writes what is gathered; with `sync`, makes that segment durable up to there.
    pub(super) fn push(&self, doing: Doing, sync: Option<Mark>) -> Result<(), LinuxError> {
        let mut spare = self.flight.lock();
        let mut state = self.state.lock();
        let named = sync.map(|to| to.segment).or(state.staged.dirty_segment());
        // Also with nothing gathered: it may have been in the flight that failed while this one waited.
        if state.broken {
            let id = named.or(state.lost.map(|lost| lost.segment));
            return Err(self.error(doing, id.unwrap_or(SegmentId(0)), Cause::Broken));
        }
        let Some(named) = named else { return Ok(()) };
        let wanted = match sync {
            None => true,
            Some(to) => {
                let dirty = state.staged.dirty(to.segment);
                !dirty.is_empty() && dirty.start < to.end
            }
        };
        if wanted && let Some(id) = state.staged.dirty_segment() {
            let vouched =
                sync.is_some() && id == named && state.durable_writes && !self.open(&mut state, doing, id)?.unsynced;
            state = self.fly(state, &mut spare, doing, id, vouched)?;
        }
        let Some(to) = sync else { return Ok(()) };
        state.since_sync = 0;
        let slot = self.open(&mut state, doing, to.segment)?;
        if !slot.unsynced {
            return Ok(());
        }
        let entered = slot.enter();
        drop(state);
        let synced = sys::sync_data(entered.fd);
        count(&self.counters.syncs, 1);
        let mut state = self.state.lock();
        state.slots.leave(entered);
        match synced {
            // Nothing was written to it meanwhile: the flight is ours.
            Ok(()) => {
                if let Some(slot) = state.slots.find(to.segment) {
                    slot.unsynced = false;
                }
                Ok(())
            }
            Err(errno) => {
                state.broken = true;
                Err(self.error(doing, to.segment, errno))
            }
        }
    }

    /// Writes what is gathered, without the state lock.
    fn fly<'s>(
        &'s self,
        mut state: Guard<'s, 'm>,
        spare: &mut Buffer<'m>,
        doing: Doing,
        id: SegmentId,
        vouched: bool,
    ) -> Result<Guard<'s, 'm>, LinuxError> {
        let direct = state.direct.unwrap_or(false);
        let slot = self.open(&mut state, doing, id)?;
        let writer = slot
            .writer(&self.dir, direct)
            .map_err(|errno| self.error(doing, id, errno))?;
        let entered = slot.enter();
        let block = state.staged.block();
        let start = state.staged.dirty(id).start;
        let Some(flight) = state.staged.depart(spare) else {
            state.slots.leave(entered);
            return Ok(state);
        };
        state.in_flight = Some((id, flight.file.clone()));
        drop(state);

        let bytes = spare.get(flight.buffer).unwrap_or_default();
        let at = u64::from(flight.file.start);
        let mut durable = vouched;
        let mut written = Err(Errno::ENOSYS);
        if vouched {
            written = sys::write_at(writer, bytes, at, block, Durability::Durable);
            if matches!(written, Err(Errno::EOPNOTSUPP | Errno::ENOSYS)) {
                self.counters.refuse(&self.counters.durable_writes_refused);
                durable = false;
            }
        }
        if !durable {
            written = sys::write_at(writer, bytes, at, block, Durability::Written);
        }
        let counter = if durable {
            &self.counters.durable_writes
        } else {
            &self.counters.writes
        };
        count(counter, 1);
        count(&self.counters.written_bytes, bytes.len() as u64);

        let mut state = self.state.lock();
        state.in_flight = None;
        if vouched && !durable {
            state.durable_writes = false;
        }
        if let Some(slot) = state.slots.find(id) {
            slot.unsynced |= !durable;
        }
        state.slots.leave(entered);
        if let Err(errno) = written {
            state.lose(id, start);
            return Err(self.error(doing, id, errno));
        }
        Ok(state)
    }
}
