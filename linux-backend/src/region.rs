//! The files of one region, shared by its handles: what is gathered, what is on its way, what is open.
//!
//! Two locks, taken in this order. *Flight*: held by whoever writes gathered bytes or syncs, for as long as the device
//! takes, so that no block has two writes on their way; it owns the buffer that is written from. *State*: held
//! for a copy or a short call. An append needs the second alone unless its buffer is full.

use core::ops::Range;

use walstone_core::{Geometry, Mark, SegmentId};

use crate::buffer::{ALIGN, Buffer, Memory};
use crate::claim::{Ahead, Filler};
use crate::error::{Cause, Doing, LinuxError};
use crate::names::{self, Name};
use crate::slots::{NotOpened, Slot, Slots};
use crate::staged::{Put, Staged};
use crate::stats::{Counters, Stats, WritePath, count};
use crate::sys::{self, DirectIo, Durability, Errno, Fd, ForkMark, Mutex};

/// The segments of one region, without a handle's own state. [`LinuxStorage`](crate::LinuxStorage) are handles on it.
#[derive(Debug)]
pub struct RegionFiles<'m> {
    dir: Fd,
    geometry: Geometry,
    path: WritePath,
    writable: bool,
    mark: ForkMark,
    state: Mutex<State<'m>>,
    flight: Mutex<Buffer<'m>>,
    /// Held while blocks are written ahead: zeros of a slow claim must not come after bytes of a fast one.
    claiming: Mutex<u32>,
    counters: Counters,
}

#[derive(Debug)]
struct State<'m> {
    slots: Slots,
    staged: Staged<'m>,
    /// What is on its way to the device, and not yet to be read from the file.
    in_flight: Option<(SegmentId, Range<u32>)>,
    /// The write path, once it is known.
    direct: Option<bool>,
    durable_writes: bool,
    broken: bool,
    /// Bytes from here on never reached the file, or nobody knows: they are neither lent nor read any more.
    lost: Option<Mark>,
    /// Another opening of the region writes from now on.
    stopped: bool,
    /// Bytes gathered since the last sync.
    since_sync: u64,
    /// Readers may hold bytes before this.
    lent: Mark,
    dir_synced: bool,
}

impl State<'_> {
    /// Nothing is written any more, and what starts here is not in the file.
    fn lose(&mut self, segment: SegmentId, start: u32) {
        self.broken = true;
        let from = Mark { segment, end: start };
        self.lost = Some(self.lost.map_or(from, |lost| lost.min(from)));
    }
}

/// Bytes that are loaded beside those that are needed, where a segment of an earlier life goes on.
const LOAD_LEN: u32 = 8 << 10;

/// From so many bytes on between two syncs, blocks to come are only reserved.
const BULK_LEN: u64 = 512 << 10;

/// Bytes of zeros written with one call, past the page cache and through it.
const DIRECT_FILL_LEN: u32 = 1 << 20;
const CACHED_FILL_LEN: u32 = 4096;

impl<'m> RegionFiles<'m> {
    pub(crate) fn new(
        dir: Fd,
        geometry: Geometry,
        path: WritePath,
        memory: Memory<'m>,
        writable: bool,
    ) -> Result<Self, Cause> {
        if geometry.erased() != Some(0) {
            return Err(Cause::Erased);
        }
        let needed = 3 * ALIGN;
        let buffers = memory.split()?.ok_or(Cause::Memory { len: 0, needed })?;
        let [first, second] = buffers;
        let nowhere = Mark {
            segment: SegmentId(0),
            end: 0,
        };
        Ok(Self {
            dir,
            geometry,
            path,
            writable,
            mark: ForkMark::new(),
            state: Mutex::new(State {
                slots: Slots::default(),
                staged: Staged::new(first, 1),
                in_flight: None,
                direct: None,
                durable_writes: matches!(path, WritePath::Direct),
                broken: false,
                lost: None,
                stopped: false,
                since_sync: 0,
                lent: nowhere,
                dir_synced: false,
            }),
            flight: Mutex::new(second),
            claiming: Mutex::new(0),
            counters: Counters::default(),
        })
    }

    pub(crate) fn geometry(&self) -> Geometry {
        self.geometry
    }

    pub(crate) fn dir(&self) -> &Fd {
        &self.dir
    }

    /// Whether this process is a fork of the one that opened the region. Costs one load.
    #[must_use]
    pub fn is_forked(&self) -> bool {
        !self.mark.is_here()
    }

    /// What the region did, and what it had to do without.
    #[must_use]
    pub fn stats(&self) -> Stats {
        if self.is_forked() {
            return Stats::default();
        }
        let (direct, block) = {
            let state = self.state.lock();
            (state.direct.unwrap_or(false), state.staged.block())
        };
        self.counters.read(direct, block)
    }

    fn error(&self, doing: Doing, id: SegmentId, cause: impl Into<Cause>) -> LinuxError {
        LinuxError::new(doing, names::segment(id), cause.into())
    }

    /// In a fork nobody may wait for locks that a thread of the parent held.
    pub(crate) fn check_process(&self, doing: Doing) -> Result<(), LinuxError> {
        if self.is_forked() {
            return Err(LinuxError::new(doing, Name::region(), Cause::Forked));
        }
        Ok(())
    }

    pub(crate) fn check_writable(&self, doing: Doing) -> Result<(), LinuxError> {
        self.check_process(doing)?;
        if self.writable {
            Ok(())
        } else {
            Err(LinuxError::new(doing, Name::region(), Cause::ReadOnly))
        }
    }

    fn check_state(&self, state: &State<'m>, doing: Doing, id: SegmentId) -> Result<(), LinuxError> {
        let cause = match state {
            State { broken: true, .. } => Cause::Broken,
            State { stopped: true, .. } => Cause::Closed,
            _ => return Ok(()),
        };
        Err(self.error(doing, id, cause))
    }

    /// Refuses bytes that the file may never have got.
    fn check_held(&self, state: &State<'m>, doing: Doing, id: SegmentId, end: u32) -> Result<(), LinuxError> {
        if state.lost.is_some_and(|lost| Mark { segment: id, end } > lost) {
            return Err(self.error(doing, id, Cause::Broken));
        }
        Ok(())
    }

    fn check_end(&self, doing: Doing, id: SegmentId, end: u64) -> Result<u32, LinuxError> {
        let segment_len = self.geometry.segment_len();
        match u32::try_from(end) {
            Ok(end) if end <= segment_len => Ok(end),
            _ => Err(self.error(doing, id, Cause::Behind { end, segment_len })),
        }
    }

    fn open<'s>(&self, state: &'s mut State<'m>, doing: Doing, id: SegmentId) -> Result<&'s mut Slot, LinuxError> {
        let State { slots, broken, .. } = state;
        let opened = slots.open(&self.dir, id, self.geometry.segment_len(), self.writable);
        opened.map_err(|refused| match refused {
            NotOpened::Cause(cause) => self.error(doing, id, cause),
            NotOpened::Sync(errno) => {
                *broken = true;
                self.error(Doing::Sync, id, errno)
            }
        })
    }

    /// Names that a listing finds are durable from here on: one that an earlier life did not make durable may vanish
    /// after something was built on it.
    pub(crate) fn sync_names(&self) -> Result<(), LinuxError> {
        let mut state = self.state.lock();
        if self.writable && !state.dir_synced {
            sys::sync_dir(&self.dir).map_err(|errno| LinuxError::new(Doing::List, Name::region(), errno.into()))?;
            state.dir_synced = true;
        }
        Ok(())
    }

    /// Settles how writes go, by what the file system says of this file.
    fn decide_path(&self, state: &mut State<'m>, doing: Doing, id: SegmentId) -> Result<bool, LinuxError> {
        if let Some(direct) = state.direct {
            return Ok(direct);
        }
        let mut block = 1;
        if matches!(self.path, WritePath::Direct) {
            let segment_len = self.geometry.segment_len();
            let slot = self.open(state, doing, id)?;
            let io = |errno| self.error(doing, id, errno);
            let asked = match slot.direct_io().map_err(io)? {
                DirectIo::Aligned(align) => align.next_power_of_two().max(512),
                DirectIo::Unknown => ALIGN as u32,
                DirectIo::No => u32::MAX,
            };
            let possible = asked <= ALIGN as u32 && segment_len.is_multiple_of(asked);
            match possible.then(|| slot.writer(&self.dir, true)) {
                Some(Ok(_)) => block = asked,
                Some(Err(errno)) if errno != Errno::EINVAL => return Err(io(errno)),
                _ => self.counters.refuse(&self.counters.direct_refused),
            }
        }
        state.staged.set_block(block);
        state.direct = Some(block > 1);
        Ok(block > 1)
    }

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
    fn push(&self, doing: Doing, sync: Option<Mark>) -> Result<(), LinuxError> {
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

    /// Where no data follows any more. Asked anew each time: beside one who reads another process may write.
    pub(crate) fn extent(&self, id: SegmentId) -> Result<u32, LinuxError> {
        self.check_process(Doing::Extent)?;
        let mut state = self.landed(id, 0..u32::MAX);
        let dirty = state.staged.dirty(id).end;
        let slot = self.open(&mut state, Doing::Extent, id)?;
        let data_end = slot.data_end().map_err(|errno| self.error(Doing::Extent, id, errno))?;
        Ok(data_end.max(dirty).min(self.geometry.segment_len()))
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
    fn landed(&self, id: SegmentId, range: Range<u32>) -> Guard<'_, 'm> {
        loop {
            let state = self.state.lock();
            let flying = state.in_flight.as_ref().filter(|(flying, _)| *flying == id);
            if !flying.is_some_and(|(_, flight)| flight.start < range.end && range.start < flight.end) {
                return state;
            }
            drop(state);
            drop(self.flight.lock());
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
        state.lent = state.lent.max(Mark { segment: id, end: to });
        Ok(map)
    }

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

    /// Ends all writing through these files, for another opening of the region: waits for what is on its way, and drops
    /// what is gathered. What was written stays readable.
    pub fn stop_writing(&self) {
        if self.is_forked() {
            return;
        }
        let _flight = self.flight.lock();
        let mut state = self.state.lock();
        state.stopped = true;
        if let Some(id) = state.staged.dirty_segment() {
            let start = state.staged.dirty(id).start;
            state.lose(id, start);
            state.staged.removed(id);
        }
    }

    /// Forgets a segment that is no more; waits for bytes on their way to it.
    pub(crate) fn forget(&self, id: SegmentId) {
        let _flight = self.flight.lock();
        let mut state = self.state.lock();
        state.staged.removed(id);
        state.slots.removed(id);
    }
}

type Guard<'s, 'm> = lock_api::MutexGuard<'s, sys::Futex, State<'m>>;
