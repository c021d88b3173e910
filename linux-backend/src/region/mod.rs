//! The files of one region, shared by its handles: what is gathered, what is on its way, what is open.
//!
//! Two locks, taken in this order. *Flights*: held by whoever writes gathered bytes or syncs, so that no block has two
//! writes on their way; they own the buffers that are written from. *State*: held for a copy or a short call. An append
//! needs the second alone unless its buffer is full. Then past the page cache whole blocks are sent on their way and
//! not waited for, up to three buffers of them; everything else waits for what it wrote, and a sync for all.

mod append;
mod claim;
mod read;
mod settle;

use core::ops::Range;

use walstone_core::{Geometry, Mark, SegmentId};

use crate::buffer::{ALIGN, Memory};
use crate::error::{Cause, Doing, LinuxError};
use crate::flights::Flights;
use crate::names::{self, Name};
use crate::slots::{NotOpened, Slot, Slots};
use crate::staged::Staged;
use crate::stats::{Counters, Stats, WritePath};
use crate::sys::{self, DirectIo, Errno, Fd, ForkMark, Mutex};

/// The segments of one region, without a handle's own state. [`LinuxStorage`](crate::LinuxStorage) are handles on it.
#[derive(Debug)]
pub struct RegionFiles<'m> {
    dir: Fd,
    geometry: Geometry,
    path: WritePath,
    writable: bool,
    mark: ForkMark,
    state: Mutex<State<'m>>,
    flights: Mutex<Flights<'m>>,
    /// Held while blocks are written ahead: zeros of a slow claim must not come after bytes of a fast one.
    claiming: Mutex<u32>,
    counters: Counters,
}

#[derive(Debug)]
struct State<'m> {
    slots: Slots,
    staged: Staged<'m>,
    /// All that is on its way to the device lies in here, and is not yet to be read from the file.
    in_flight: Option<(SegmentId, Range<u32>)>,
    /// The write path, once it is known.
    direct: Option<bool>,
    durable_writes: bool,
    broken: bool,
    /// Bytes from here on never reached the file, or nobody knows: they are neither lent nor read any more.
    lost: Option<Mark>,
    /// Before this nothing can be lost any more: it was handed over.
    handed: Mark,
    /// Another opening of the region writes from now on.
    stopped: bool,
    /// Bytes gathered since the last sync.
    since_sync: u64,
    /// Readers may hold bytes before this.
    lent: Mark,
    dir_synced: bool,
}

impl State<'_> {
    /// Whether some of these bytes may be on their way.
    fn flies(&self, id: SegmentId, range: Range<u32>) -> bool {
        let flying = self.in_flight.as_ref().filter(|(flying, _)| *flying == id);
        flying.is_some_and(|(_, flying)| flying.start < range.end && range.start < flying.end)
    }

    /// Whether what is gathered goes on where all that is on its way ends, or behind.
    fn is_apart(&self) -> bool {
        let Some((flying, range)) = &self.in_flight else {
            return true;
        };
        let start = self.staged.dirty(*flying).start;
        self.staged.dirty_segment() == Some(*flying) && range.end <= start - start % self.staged.block()
    }

    /// Nothing is written any more, and what starts here is not in the file.
    fn lose(&mut self, segment: SegmentId, start: u32) {
        self.broken = true;
        let from = Mark { segment, end: start };
        self.lost = Some(self.lost.map_or(from, |lost| lost.min(from)));
    }
}

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
        let too_little = Cause::Memory { len: 0, needed };
        let mut buffers = memory.split()?.ok_or(too_little)?;
        let first = buffers.pop().ok_or(too_little)?;
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
                handed: nowhere,
                stopped: false,
                since_sync: 0,
                lent: nowhere,
                dir_synced: false,
            }),
            flights: Mutex::new(Flights::new(buffers)),
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

    /// Whether a write or sync failed, be it one of a claim: nothing is written any more.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        !self.is_forked() && self.state.lock().broken
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

    /// Ends all writing through these files, for another opening of the region: waits for what is on its way, and drops
    /// what is gathered. What was written stays readable.
    pub fn stop_writing(&self) {
        if self.is_forked() {
            return;
        }
        let mut flights = self.flights.lock();
        // A failure is kept in the state.
        let _ = self.land(&mut flights, Doing::Write);
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
        let mut flights = self.flights.lock();
        let _ = self.land(&mut flights, Doing::Write);
        let mut state = self.state.lock();
        state.staged.removed(id);
        state.slots.removed(id);
    }
}

type Guard<'s, 'm> = lock_api::MutexGuard<'s, sys::Futex, State<'m>>;
