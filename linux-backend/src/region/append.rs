//! The way of appended bytes: gathered, handed over, synced.

use core::ops::Range;

use walstone_core::{Mark, SegmentId};

use super::{Guard, RegionFiles, State};
use crate::error::{Cause, Doing, LinuxError};
use crate::flights::{Flight, Flights};
use crate::staged::{Departed, Put};
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
                // Another place of a segment that was just left.
                Put::Load(range) if state.flies(id, range.start..u32::MAX) => {
                    drop(state);
                    self.land(&mut self.flights.lock(), Doing::Write)?;
                    state = self.state.lock();
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
                    self.make_room(Doing::Write)?;
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
        let flying = state.flies(to.segment, 0..to.end);
        drop(state);
        if flying || (!dirty.is_empty() && dirty.start < to.end) {
            self.push(Doing::Write, None)?;
        }
        self.note_handed(to);
        Ok(())
    }

    fn note_handed(&self, to: Mark) {
        let mut state = self.state.lock();
        state.handed = state.handed.max(to);
    }

    /// On return, bytes of this segment before `to` survive power loss.
    pub(crate) fn sync(&self, to: Mark) -> Result<(), LinuxError> {
        self.check_writable(Doing::Sync)?;
        self.check_state(&self.state.lock(), Doing::Sync, to.segment)?;
        self.push(Doing::Sync, Some(to))?;
        self.note_handed(to);
        Ok(())
    }

    /// Writes what is gathered; with `sync`, makes that segment durable up to there.
    pub(super) fn push(&self, doing: Doing, sync: Option<Mark>) -> Result<(), LinuxError> {
        self.push_by(&mut self.flights.lock(), doing, sync)
    }

    /// As [`Self::push`]; on return nothing is on its way.
    pub(super) fn push_by(
        &self,
        flights: &mut Flights<'m>,
        doing: Doing,
        sync: Option<Mark>,
    ) -> Result<(), LinuxError> {
        let state = self.state.lock();
        // Also with nothing gathered: it may have been in the flight that failed while this one waited.
        self.check_unbroken(&state, doing, sync)?;
        let wanted = match sync {
            None => true,
            Some(to) => {
                let dirty = state.staged.dirty(to.segment);
                !dirty.is_empty() && dirty.start < to.end
            }
        };
        if wanted && let Some(id) = state.staged.dirty_segment() {
            let mut state = self.cleared(state, flights, doing)?;
            let vouches = sync.is_some_and(|to| to.segment == id) && state.durable_writes;
            let manner = if vouches && !self.open(&mut state, doing, id)?.unsynced {
                Manner::Vouched
            } else {
                Manner::Awaited
            };
            self.fly(state, flights, doing, id, manner)?;
        } else {
            drop(state);
        }
        self.land(flights, doing)?;
        let Some(to) = sync else { return Ok(()) };
        let mut state = self.state.lock();
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
            // Nothing was written to it meanwhile: the flights are ours.
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

    /// Makes room where the buffer is full. Whole blocks past the page cache need not be waited for.
    fn make_room(&self, doing: Doing) -> Result<(), LinuxError> {
        let mut flights = self.flights.lock();
        let state = self.state.lock();
        self.check_unbroken(&state, doing, None)?;
        let Some(id) = state.staged.dirty_segment() else {
            return Ok(());
        };
        let whole = state.direct == Some(true) && state.staged.ends_block();
        if whole && flights.is_possible() {
            let state = self.cleared(state, &mut flights, doing)?;
            return self.fly(state, &mut flights, doing, id, Manner::Alone);
        }
        drop(state);
        if whole {
            self.counters.refuse(&self.counters.flights_refused);
        }
        self.push_by(&mut flights, doing, None)
    }

    fn check_unbroken(&self, state: &State<'m>, doing: Doing, sync: Option<Mark>) -> Result<(), LinuxError> {
        if !state.broken {
            return Ok(());
        }
        let lost = state.lost.map(|lost| lost.segment);
        let id = sync.map(|to| to.segment).or(state.staged.dirty_segment()).or(lost);
        Err(self.error(doing, id.unwrap_or(SegmentId(0)), Cause::Broken))
    }

    /// The state at a moment when a buffer is free for what is gathered, and nothing on its way shares a block with it.
    fn cleared<'s>(
        &'s self,
        state: Guard<'s, 'm>,
        flights: &mut Flights<'m>,
        doing: Doing,
    ) -> Result<Guard<'s, 'm>, LinuxError> {
        if !state.is_apart() {
            drop(state);
            self.land(flights, doing)?;
        } else if flights.free().is_none() {
            drop(state);
            self.land_one(flights, doing)?;
        } else {
            return Ok(state);
        }
        Ok(self.state.lock())
    }

    /// Sends what is gathered on its way, without the state lock.
    fn fly<'s>(
        &'s self,
        mut state: Guard<'s, 'm>,
        flights: &mut Flights<'m>,
        doing: Doing,
        id: SegmentId,
        manner: Manner,
    ) -> Result<(), LinuxError> {
        let direct = state.direct.unwrap_or(false);
        let slot = self.open(&mut state, doing, id)?;
        let io = |errno| self.error(doing, id, errno);
        let writer = slot.writer(&self.dir, direct).map_err(io)?;
        let entered = slot.enter();
        let new_from = state.staged.dirty(id).start;
        let departed = flights.free().and_then(|buffer| state.staged.depart(buffer));
        let Some(Departed { file, buffer: bytes }) = departed else {
            state.slots.leave(entered);
            return Ok(());
        };
        let vouched = manner == Manner::Vouched;
        if let Some(slot) = state.slots.find(id) {
            slot.unsynced |= !vouched;
        }
        let from = state.in_flight.as_ref().map_or(file.start, |(_, flying)| flying.start);
        state.in_flight = Some((id, from..file.end));
        let block = state.staged.block();
        drop(state);

        count(&self.counters.written_bytes, bytes.len() as u64);
        let flight = Flight {
            id,
            writer,
            new_from,
            file,
            bytes,
            block,
            entered,
        };
        if manner == Manner::Alone && flights.launch(&flight) {
            count(&self.counters.writes, 1);
            count(&self.counters.flights, 1);
            return Ok(());
        }
        let mut durable = vouched;
        let mut written = Err(Errno::ENOSYS);
        if vouched {
            written = flights.write(&flight, Durability::Durable);
            if matches!(written, Err(Errno::EOPNOTSUPP | Errno::ENOSYS)) {
                self.counters.refuse(&self.counters.durable_writes_refused);
                durable = false;
            }
        }
        if !durable {
            written = flights.write(&flight, Durability::Written);
        }
        let counter = if durable {
            &self.counters.durable_writes
        } else {
            &self.counters.writes
        };
        count(counter, 1);
        if vouched && !durable {
            let mut state = self.state.lock();
            state.durable_writes = false;
            if let Some(slot) = state.slots.find(id) {
                slot.unsynced = true;
            }
        }
        self.landed_flight(flights, doing, &flight, written)
    }

    /// Waits for everything that is on its way. The first failure, if any.
    pub(super) fn land(&self, flights: &mut Flights<'m>, doing: Doing) -> Result<(), LinuxError> {
        let mut landed = Ok(());
        while !flights.is_empty() {
            landed = landed.and(self.land_one(flights, doing));
        }
        landed
    }

    fn land_one(&self, flights: &mut Flights<'m>, doing: Doing) -> Result<(), LinuxError> {
        match flights.land() {
            None => Ok(()),
            Some((flight, written)) => self.landed_flight(flights, doing, &flight, written),
        }
    }

    /// Takes in how one ended.
    fn landed_flight(
        &self,
        flights: &Flights<'m>,
        doing: Doing,
        flight: &Flight,
        written: Result<(), Errno>,
    ) -> Result<(), LinuxError> {
        let mut state = self.state.lock();
        if flights.is_empty() {
            state.in_flight = None;
        }
        state.slots.leave(flight.entered);
        written.map_err(|errno| {
            state.lose(flight.id, flight.new_from);
            self.error(doing, flight.id, errno)
        })
    }
}

/// How gathered bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Nobody waits for them.
    Alone,
    /// Written on return.
    Awaited,
    /// Durable on return.
    Vouched,
}
