//! One segment file: opened and closed on demand, claims, stores, syncs, reads.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;

use walstone_core::SegmentId;

use super::claim::{Ahead, fill, is_full, piece_len, rewrite, round_up};
use super::error::{Cause, Doing, FileError};
use super::ground::{Ground, RegionDir};
use super::names;
use crate::seam::{AppendGate, AppendRight, FILL_LEN, File, Lending, Map, Pin, StoreError};

/// What must be known of a segment that nobody uses, when it is used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// Stores may go below this: there are written blocks. 0: not known since the root was opened.
    pub(crate) claimed: u32,
    /// Slices below this may be lent out, and stay valid whatever is closed.
    pub(crate) lent: u32,
}

/// One segment file, open or not. There is one value per file at a time, made from what the one before it knew.
#[derive(Debug)]
pub(crate) struct SegmentFile {
    id: SegmentId,
    dir: Arc<RegionDir>,
    len: u32,
    serial: u64,
    last_used: AtomicU64,
    /// As [`Known::claimed`]. Changed with `state` locked.
    claimed: AtomicU32,
    /// The file is removed. Changed with `state` locked.
    gone: AtomicBool,
    /// Held while blocks are written, so that `state` need not be.
    claiming: Mutex<()>,
    /// Write-back was started below this.
    written_back: AtomicU32,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(crate) struct State {
    file: Option<Arc<File>>,
    pub(crate) bytes: Lending,
    /// Not all of this file is known durable: the file stays open.
    dirty: bool,
    /// Counts failed syncs: each puts in doubt what a claim has filled meanwhile.
    failed_syncs: u32,
    /// Counts changes, so that a sync knows whether it covers the last one.
    changes: u64,
    /// Nothing is stored below this any more that was not stored already.
    stored_end: u32,
    /// Bytes that the next claim goes ahead; 0 before the first.
    step: u32,
    /// Bytes of one transfer of a claim.
    piece_len: u32,
    /// Whether the file system tells holes from data.
    tells_holes: Option<bool>,
}

/// What is dropped when a segment is closed.
#[expect(dead_code, reason = "held for their drop alone")]
#[derive(Debug)]
pub(crate) struct Opened(Option<Arc<File>>, Option<Arc<Map>>);

static NEXT_SERIAL: AtomicU64 = AtomicU64::new(0);

impl SegmentFile {
    /// A segment, closed.
    pub(crate) fn new(id: SegmentId, dir: Arc<RegionDir>, len: u32, known: Known, gate: AppendGate) -> Self {
        Self {
            id,
            dir,
            len,
            serial: NEXT_SERIAL.fetch_add(1, Ordering::Relaxed),
            last_used: AtomicU64::new(0),
            claimed: AtomicU32::new(known.claimed),
            gone: AtomicBool::new(false),
            claiming: Mutex::default(),
            written_back: AtomicU32::new(0),
            state: Mutex::new(State {
                file: None,
                bytes: Lending::resumed(gate, known.lent),
                dirty: false,
                failed_syncs: 0,
                changes: 0,
                stored_end: known.lent,
                step: 0,
                piece_len: FILL_LEN,
                tells_holes: None,
            }),
        }
    }

    pub(crate) fn id(&self) -> SegmentId {
        self.id
    }

    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    pub(crate) fn last_used(&self) -> u64 {
        self.last_used.load(Ordering::Relaxed)
    }

    pub(crate) fn used(&self, now: u64) {
        self.last_used.store(now, Ordering::Relaxed);
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join(names::segment(self.id))
    }

    pub(crate) fn error(&self, doing: Doing, cause: Cause) -> FileError {
        FileError::new(doing, self.path(), cause)
    }

    fn io(&self, doing: Doing) -> impl FnOnce(io::Error) -> FileError + '_ {
        move |error| self.error(doing, Cause::Io(error))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// The file is removed: closes it; what is lent stays mapped.
    pub(crate) fn removed(&self, ground: &Ground) {
        self.give_up(ground, self.lock());
    }

    /// Takes the name away, unless the file is removed already: with the state locked, so that the directory cannot
    /// be removed and made anew in between, with another file of this name.
    pub(crate) fn remove(&self, ground: &Ground, unlink: impl FnOnce() -> io::Result<()>) -> Result<(), FileError> {
        let state = self.lock();
        if self.is_gone() {
            return Err(self.error(Doing::Remove, Cause::Removed));
        }
        unlink().map_err(self.io(Doing::Remove))?;
        self.give_up(ground, state);
        Ok(())
    }

    fn give_up(&self, ground: &Ground, mut state: MutexGuard<'_, State>) {
        self.gone.store(true, Ordering::Release);
        state.dirty = false;
        ground.cache.leave(self);
        let opened = state.close();
        drop(state);
        drop(opened);
    }

    /// Closes the file if nobody is at it and nothing would be lost.
    pub(crate) fn try_close(&self) -> Option<Opened> {
        let mut state = self.state.try_lock().ok()?;
        (!state.dirty).then(|| state.close())
    }

    /// What must be known when it is used again, if it is closed and wholly durable.
    pub(crate) fn put_away(&mut self) -> Option<Known> {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        (state.file.is_none() && !state.dirty).then_some(Known {
            claimed: *self.claimed.get_mut(),
            lent: state.bytes.lent(),
        })
    }

    /// The state of the open and mapped file, locked.
    pub(crate) fn opened(self: &Arc<Self>, ground: &Ground, doing: Doing) -> Result<MutexGuard<'_, State>, FileError> {
        let mut state = self.lock();
        if self.is_gone() {
            return Err(self.error(doing, Cause::Removed));
        }
        if state.file.is_some() {
            self.used(ground.cache.now());
        } else {
            // First, so that the limit holds while the file is opened; nobody closes it, for its state is locked.
            ground.cache.enter(self);
            if let Err(error) = self.open(ground, &mut state) {
                ground.cache.leave(self);
                return Err(error);
            }
        }
        Ok(state)
    }

    fn open(&self, ground: &Ground, state: &mut State) -> Result<(), FileError> {
        let writable = ground.lock.is_some();
        let seam = &ground.seam;
        let file = seam.open(&self.path(), writable).map_err(self.io(Doing::Open))?;
        let found = seam.len(&file).map_err(self.io(Doing::Open))?;
        if found != u64::from(self.len) {
            let expected = self.len;
            return Err(self.error(Doing::Open, Cause::Length { found, expected }));
        }
        let map = seam.map(&file, self.len, writable).map_err(self.io(Doing::Open))?;
        state.bytes.attach(map);
        state.file = Some(Arc::new(file));
        Ok(())
    }

    /// From here on the file holds something that is not known durable.
    #[inline]
    fn change(&self, ground: &Ground, state: &mut State) {
        state.changes += 1;
        if !state.dirty {
            state.dirty = true;
            ground.cache.leave(self);
        }
    }

    fn file(&self, state: &State, doing: Doing) -> Result<Arc<File>, FileError> {
        state.file.clone().ok_or_else(|| self.error(doing, Cause::Removed))
    }

    fn check_end(&self, doing: Doing, end: u64) -> Result<u32, FileError> {
        match u32::try_from(end) {
            Ok(end) if end <= self.len => Ok(end),
            _ => {
                let segment_len = self.len;
                Err(self.error(doing, Cause::Behind { end, segment_len }))
            }
        }
    }

    /// Stores `parts` one behind the other, below the claimed end only: a store into a hole of a full file
    /// system is not an error but a signal.
    pub(crate) fn write(
        self: &Arc<Self>,
        ground: &Ground,
        right: &mut AppendRight,
        offset: u32,
        parts: &[&[u8]],
    ) -> Result<(), FileError> {
        let len: u64 = parts.iter().map(|part| part.len() as u64).sum();
        let end = self.check_end(Doing::Write, u64::from(offset) + len)?;
        let mut state = self.opened(ground, Doing::Write)?;
        let claimed = self.claimed.load(Ordering::Relaxed);
        if end > claimed {
            return Err(self.error(Doing::Write, Cause::Unclaimed { end, claimed }));
        }
        self.change(ground, &mut state);
        // Before the store: what may be half stored counts as stored.
        state.stored_end = state.stored_end.max(end);
        let mut at = offset;
        for part in parts {
            ground
                .seam
                .store(&mut state.bytes, right, at, part)
                .map_err(|error| self.store_error(error, at))?;
            at += part.len() as u32;
        }
        // The next one is likely to be as long.
        state.bytes.expect_store(end, end - offset);
        Ok(())
    }

    fn store_error(&self, error: StoreError, offset: u32) -> FileError {
        let cause = match error {
            StoreError::Io(error) => Cause::Io(error),
            StoreError::Lent(lent) => Cause::Lent { offset, lent },
            StoreError::Right => Cause::NotAppender,
            StoreError::NotMapped => Cause::ReadOnly,
            StoreError::Behind => Cause::Behind {
                end: u64::from(offset),
                segment_len: self.len,
            },
        };
        self.error(Doing::Write, cause)
    }

    /// Makes written blocks for every byte before `end`, and for some behind it.
    ///
    /// Data is never overwritten: only holes are filled, and no store goes where this one fills. So any handle
    /// may claim, ahead of the one that appends. Zeros that are lost read the same, so they alone keep no file open:
    /// else each region with space ahead would hold a descriptor.
    #[inline]
    pub(crate) fn claim(self: &Arc<Self>, ground: &Ground, end: u32) -> Result<(), FileError> {
        if end <= self.claimed.load(Ordering::Acquire) {
            return Ok(());
        }
        self.claim_with(ground, end, None)
    }

    /// As [`SegmentFile::claim`], and for none behind it. So many bytes are appended between two syncs.
    pub(crate) fn claim_ahead(self: &Arc<Self>, ground: &Ground, end: u32, unsynced: u32) -> Result<(), FileError> {
        self.claim_with(ground, end, Some(unsynced))
    }

    /// Waits while another handle fills: in short steps, the one asked for perhaps among them.
    fn claiming(&self, end: u32) -> Option<MutexGuard<'_, ()>> {
        for _ in 0..CLAIM_YIELDS {
            match self.claiming.try_lock() {
                Ok(claiming) => return Some(claiming),
                Err(TryLockError::Poisoned(panicked)) => return Some(panicked.into_inner()),
                Err(TryLockError::WouldBlock) => thread::yield_now(),
            }
            if end <= self.claimed.load(Ordering::Acquire) {
                return None;
            }
        }
        Some(self.claiming.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn claim_with(self: &Arc<Self>, ground: &Ground, end: u32, unsynced: Option<u32>) -> Result<(), FileError> {
        let end = self.check_end(Doing::Claim, u64::from(end))?;
        let Some(_claiming) = self.claiming(end) else {
            return Ok(());
        };
        if end <= self.claimed.load(Ordering::Acquire) {
            return Ok(());
        }
        let (file, map, step, piece_len, failed_syncs, from) = {
            let mut state = self.opened(ground, Doing::Claim)?;
            if let Some(unsynced) = unsynced {
                state.piece_len = piece_len(unsynced);
            }
            let map = state.bytes.map().cloned();
            let from = self.claimed.load(Ordering::Relaxed);
            (
                self.file(&state, Doing::Claim)?,
                map,
                state.step,
                state.piece_len,
                state.failed_syncs,
                from,
            )
        };
        let tells_holes = self.tells_holes(ground, &file, Doing::Claim)?;
        let least = round_up(end).min(self.len);
        let Ahead { end: ahead, step } = if unsynced.is_none() {
            Ahead::decide(from, end, step, self.len)
        } else {
            Ahead { end: least, step }
        };
        let fill = |to| fill(&ground.seam, &file, from..to, piece_len, tells_holes).map(|()| to);
        let filled = fill(ahead).or_else(|error| {
            // Going ahead is a courtesy: what was asked for may still fit.
            if ahead > least && is_full(&error) {
                fill(least)
            } else {
                Err(error)
            }
        });
        // Not what an earlier life filled: that may be the whole segment, and it would be written once more.
        if let (Ok(to), Some(map)) = (&filled, map)
            && from > 0
        {
            map.prefault(from, *to);
        }
        let mut state = self.lock();
        let to = filled.map_err(self.io(Doing::Claim))?;
        state.step = step;
        if state.failed_syncs == failed_syncs {
            self.claimed.store(to, Ordering::Release);
        }
        Ok(())
    }

    /// Starts write-back of what was stored below `to`, the page of `to` not included: it will be stored into again.
    pub(crate) fn start_write_back(self: &Arc<Self>, ground: &Ground, to: u32) {
        let begun = self.written_back.load(Ordering::Relaxed);
        let to = to - to % FILL_LEN;
        if to <= begun {
            return;
        }
        if let Ok(state) = self.opened(ground, Doing::Sync)
            && let Ok(file) = self.file(&state, Doing::Sync)
        {
            let map = state.bytes.map().cloned();
            drop(state);
            self.written_back.store(to, Ordering::Relaxed);
            if let Some(map) = map {
                map.unmap_pages(begun, to);
            }
            ground.seam.start_write_back(&file, begun, to);
        }
    }

    /// Whether holes can be told from data. Where they cannot all of the file seems to be data, more than there
    /// are blocks for.
    fn tells_holes(&self, ground: &Ground, file: &File, doing: Doing) -> Result<bool, FileError> {
        if let Some(known) = self.lock().tells_holes {
            return Ok(known);
        }
        let mut data = 0;
        let mut at = 0;
        while let Some(range) = ground.seam.next_data(file, at).map_err(self.io(doing))? {
            data += range.end - range.start;
            at = range.end;
        }
        let allocated = ground.seam.allocated_len(file).map_err(self.io(doing))?;
        let tells = data <= allocated + u64::from(FILL_LEN);
        self.lock().tells_holes = Some(tells);
        Ok(tells)
    }

    /// The end of the last data in the file.
    pub(crate) fn extent(self: &Arc<Self>, ground: &Ground) -> Result<u32, FileError> {
        let file = self.file(&*self.opened(ground, Doing::Extent)?, Doing::Extent)?;
        let found = ground.seam.len(&file).map_err(self.io(Doing::Extent))?;
        if found != u64::from(self.len) {
            let expected = self.len;
            return Err(self.error(Doing::Extent, Cause::Length { found, expected }));
        }
        if !self.tells_holes(ground, &file, Doing::Extent)? {
            return Ok(self.len);
        }
        let mut end = 0;
        while let Some(range) = ground.seam.next_data(&file, end).map_err(self.io(Doing::Extent))? {
            end = range.end;
        }
        Ok(u32::try_from(end).unwrap_or(self.len).min(self.len))
    }

    /// Makes durable what was stored before the call.
    pub(crate) fn sync(self: &Arc<Self>, ground: &Ground, doing: Doing) -> Result<(), FileError> {
        let (file, seen) = {
            let state = self.opened(ground, doing)?;
            (self.file(&state, doing)?, state.changes)
        };
        let synced = ground.seam.sync_file(&file);
        let mut state = self.lock();
        match synced {
            Ok(()) => {
                if state.dirty && state.changes == seen && !self.is_gone() {
                    state.dirty = false;
                    ground.cache.enter(self);
                }
                Ok(())
            }
            Err(error) => {
                // The kernel may have dropped pages, blocks ahead included.
                self.claimed.store(0, Ordering::Release);
                state.failed_syncs += 1;
                Err(self.error(doing, Cause::Io(error)))
            }
        }
    }

    /// Writes `from..to` again as it reads and syncs, so that pages which a failed sync left clean become dirty.
    /// Nobody stores meanwhile: the caller has the right to.
    pub(crate) fn settle(self: &Arc<Self>, ground: &Ground, from: u32, to: u32) -> Result<(), FileError> {
        self.check_end(Doing::Settle, u64::from(to))?;
        let file = {
            let mut state = self.opened(ground, Doing::Settle)?;
            self.change(ground, &mut state);
            self.file(&state, Doing::Settle)?
        };
        let rewritten = rewrite(&ground.seam, &file, from..to);
        let mut state = self.lock();
        self.change(ground, &mut state);
        drop(state);
        rewritten.map_err(self.io(Doing::Settle))?;
        self.sync(ground, Doing::Settle)
    }

    /// The bytes `from..to`, as long as nothing is written.
    pub(crate) fn read<'a>(
        self: &Arc<Self>,
        ground: &Ground,
        right: &'a mut AppendRight,
        from: u32,
        to: u64,
    ) -> Result<&'a [u8], FileError> {
        let to = self.check_end(Doing::Read, to)?;
        let mut state = self.opened(ground, Doing::Read)?;
        let behind = || self.error(Doing::Read, Cause::NotAppender);
        state.bytes.lend_to(right, from, to).ok_or_else(behind)
    }

    /// Copies the bytes `from..to` if they may still be stored into and `buf` has room; else nothing.
    pub(crate) fn copy<'a>(
        self: &Arc<Self>,
        ground: &Ground,
        from: u32,
        to: u64,
        buf: &'a mut [u8],
    ) -> Result<Option<&'a [u8]>, FileError> {
        let to = self.check_end(Doing::Read, to)?;
        let mut state = self.opened(ground, Doing::Read)?;
        let settled = self.claimed.load(Ordering::Relaxed) == 0 || to <= state.stored_end;
        let Some(buf) = buf.get_mut(..to.saturating_sub(from) as usize).filter(|_| !settled) else {
            return Ok(None);
        };
        Ok(state.bytes.copy(from, buf).map(|()| &*buf))
    }

    /// The bytes `from..to` for as long as the pin lives. Nothing is written below `to` any more.
    pub(crate) fn pin(self: &Arc<Self>, ground: &Ground, from: u32, to: u64) -> Result<Pin, FileError> {
        let to = self.check_end(Doing::Read, to)?;
        let mut state = self.opened(ground, Doing::Read)?;
        let segment_len = self.len;
        let behind = || {
            let end = u64::from(from);
            self.error(Doing::Read, Cause::Behind { end, segment_len })
        };
        state.bytes.lend(from, to).ok_or_else(behind)
    }
}

impl State {
    fn close(&mut self) -> Opened {
        Opened(self.file.take(), self.bytes.detach())
    }
}

/// Times that a claim looks again before it sleeps until another one has filled.
const CLAIM_YIELDS: usize = 256;
