//! The crash simulator's storage: for each segment what is durable and which unit writes are not yet, so
//! that every image which a power loss may leave can be named. Knows nothing of frames.
//!
//! Clones share bytes until one of them changes, so that millions of states stay cheap.

mod bytes;
mod handle;
mod storage;
mod survivors;

use std::collections::BTreeMap;
use std::sync::Arc;

use walstone_core::ram::RamError;
use walstone_core::{Geometry, Mark, SegmentId};

use crate::repeatable::{Digest, scramble};
use crate::storages::{SimError, gathered};
use bytes::Bytes;

pub use handle::MediumHandle;
pub use survivors::{CrashVisit, Limits, Outcome, Survival, TornKind};

/// A medium that knows what a loss of power may leave of it.
#[derive(Clone, Debug)]
pub struct Medium {
    geometry: Geometry,
    /// Writes become durable in aligned blocks of so many bytes, each by itself.
    unit: u32,
    lending: bool,
    write_through: bool,
    capacity_limit: Option<u64>,
    slots: Option<u32>,
    /// Lowest id first.
    segments: Vec<(u64, Segment)>,
    /// Unreadable slots, and the bytes each still holds claimed.
    unreadable: BTreeMap<u32, u64>,
    /// Program pages, by segment and offset, that an interrupted program may have disturbed without a trace: what is
    /// programmed there now may not stay.
    disturbed: Vec<(u64, u32)>,
    /// The bytes of the segment removed last, where a new one shows them.
    stale: Option<Arc<Bytes>>,
    write_count: u64,
    /// The number of the first write of this session.
    first_write: u64,
    call_count: u64,
    crash: Option<(u64, Phase)>,
    crashed: bool,
    cut: Option<Cut>,
    syncs_to_failure: Option<u64>,
    /// What a crash at each moment so far would have found, if that is asked for.
    moments: Option<Vec<Self>>,
}

/// Where in its last call a crash strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing of the call happened.
    Before,
    /// A write is pending whole, a create, remove or release is half done, a sync reached nothing.
    Inside,
    /// The call did its work and its answer was lost.
    After,
}

impl Phase {
    /// All of them, in order of time.
    pub const ALL: [Self; 3] = [Self::Before, Self::Inside, Self::After];
}

#[derive(Clone, Debug)]
struct Segment {
    /// Without the pending writes.
    durable: Arc<Bytes>,
    /// What reads see.
    live: Arc<Bytes>,
    /// In the order of the writes.
    pending: Arc<Vec<Pending>>,
    claimed: u32,
    durable_claimed: u32,
}

/// The part of one write that falls into one unit.
#[derive(Clone, Debug)]
struct Pending {
    /// Rises over all segments.
    number: u64,
    offset: u32,
    len: u32,
    write: Arc<[u8]>,
    /// Where this part starts within `write`.
    skip: u32,
    /// A sync of it failed: no later one tries again.
    lost: bool,
}

impl Pending {
    fn bytes(&self) -> &[u8] {
        &self.write[self.skip as usize..][..self.len as usize]
    }

    fn overlaps(&self, from: u32, to: u32) -> bool {
        self.offset < to && from < self.offset + self.len
    }
}

/// The call in which the crash fell, where it leaves a choice.
#[derive(Clone, Debug)]
enum Cut {
    Create(SegmentId, Segment),
    Remove(SegmentId),
    Release(u32),
    /// What the segment was before, and what goes where in it.
    Write(SegmentId, Segment, u32, Vec<u8>),
}

impl Medium {
    /// An empty medium whose writes become durable in aligned blocks of `unit` bytes: 1, or 512, or a page.
    ///
    /// # Panics
    /// Unless `unit` is a power of two that the segment is a multiple of.
    #[must_use]
    pub fn new(geometry: Geometry, unit: u32) -> Self {
        assert!(
            unit.is_power_of_two() && geometry.segment_len().is_multiple_of(unit),
            "{unit} bytes are not a unit of this geometry"
        );
        Self {
            geometry,
            unit,
            lending: false,
            write_through: false,
            capacity_limit: None,
            slots: None,
            segments: Vec::new(),
            unreadable: BTreeMap::new(),
            disturbed: Vec::new(),
            stale: None,
            write_count: 0,
            first_write: 0,
            call_count: 0,
            crash: None,
            crashed: false,
            cut: None,
            syncs_to_failure: None,
            moments: None,
        }
    }

    /// Reads lend whole ranges in place of copying what the buffer holds.
    #[must_use]
    pub const fn lending(mut self) -> Self {
        self.lending = true;
        self
    }

    /// Every write is durable when it returns, and the extent is not known: a device without a cache.
    #[must_use]
    pub const fn write_through(mut self) -> Self {
        self.write_through = true;
        self
    }

    /// Full rather than let all claims together pass `limit` bytes. Unreadable slots keep their claims.
    #[must_use]
    pub const fn with_capacity_limit(mut self, limit: u64) -> Self {
        self.capacity_limit = Some(limit);
        self
    }

    /// Full rather than have more than `slots` segments and unreadable slots together.
    #[must_use]
    pub const fn with_slots(mut self, slots: u32) -> Self {
        self.slots = Some(slots);
        self
    }

    /// Makes the `nth` mutating call from now the last one, 1 being the next. Mutating are all calls but
    /// `segments`, `extent` and `read`.
    pub const fn crash_after(&mut self, nth: u64, phase: Phase) {
        self.crash = Some((self.call_count + nth, phase));
    }

    /// Makes the `nth` sync from now fail, 1 being the next. Its writes stay readable and may or may not
    /// survive, and later syncs say yes without trying them again.
    pub const fn fail_sync(&mut self, nth: u64) {
        self.syncs_to_failure = Some(nth);
    }

    /// Takes back what was planned and did not come yet.
    pub const fn forget_plans(&mut self) {
        self.crash = None;
        self.syncs_to_failure = None;
    }

    /// Remembers from here on, in [`Medium::moments`], the medium behind each call that changed it, and within each
    /// call that leaves a choice when it is cut short.
    pub fn record(&mut self) {
        self.moments = Some(Vec::new());
    }

    /// What was remembered.
    #[must_use]
    pub fn moments(&self) -> &[Self] {
        self.moments.as_deref().unwrap_or_default()
    }

    fn remember(&mut self, moment: Self) {
        if let Some(moments) = &mut self.moments {
            moments.push(moment);
        }
    }

    /// As it is now, without the moments.
    pub(crate) fn now(&mut self) -> Self {
        let moments = self.moments.take();
        let now = self.clone();
        self.moments = moments;
        now
    }

    /// A session begins: the first write from here on is its first one.
    pub const fn begin_session(&mut self) {
        self.first_write = self.write_count;
    }

    /// Mutating calls so far.
    #[must_use]
    pub const fn call_count(&self) -> u64 {
        self.call_count
    }

    /// Whether the crash happened.
    #[must_use]
    pub const fn has_crashed(&self) -> bool {
        self.crashed
    }

    /// Unit writes that no sync made durable yet.
    #[must_use]
    pub fn pending_count(&self) -> usize {
        self.segments.iter().map(|(_, segment)| segment.pending.len()).sum()
    }

    /// The segments, lowest id first.
    pub fn ids(&self) -> impl Iterator<Item = SegmentId> + '_ {
        self.segments.iter().map(|&(id, _)| SegmentId(id))
    }

    /// The bytes of a segment as reads see them.
    #[must_use]
    pub fn bytes(&self, id: SegmentId) -> Option<&[u8]> {
        self.find(id).ok().map(|segment| segment.live.data())
    }

    /// The bytes of a segment without the pending writes.
    #[must_use]
    pub fn durable_bytes(&self, id: SegmentId) -> Option<&[u8]> {
        self.find(id).ok().map(|segment| segment.durable.data())
    }

    /// Changes durable and readable bytes of a segment behind the back of the storage, and forgets which
    /// bytes that read as erased were written. Whether the segment is there.
    pub fn damage(&mut self, id: SegmentId, change: impl Fn(&mut [u8])) -> bool {
        let len = self.geometry.segment_len();
        let Ok(segment) = self.find_mut(id) else {
            return false;
        };
        for side in [&mut segment.durable, &mut segment.live] {
            let bytes = Arc::make_mut(side);
            bytes.change(0..len, &change);
            bytes.forget_written();
        }
        true
    }

    /// Adds a slot that is listed as unreadable, as a leftover of an earlier life.
    pub fn add_unreadable(&mut self) {
        self.leave_unreadable(0);
    }

    /// What a new process may find when the old one died, power still on: pending writes are seen and stay pending,
    /// a call that the crash cut short has each of its outcomes, and of a write that it cut short there is a front.
    #[must_use]
    pub fn after_process_death(&self) -> Vec<Self> {
        let mut media: Vec<Self> = self.clone().outcomes().into_iter().map(|(_, medium)| medium).collect();
        if let Some(Cut::Write(id, before, offset, bytes)) = &self.cut {
            let unit = self.geometry.write_unit() as usize;
            let len = bytes.len();
            // One unit, a frame's header, half of it, all but one unit.
            let mut fronts = [unit, 24, len / 2, len.saturating_sub(unit)].map(|front| front / unit * unit);
            fronts.sort_unstable();
            let mut last = 0;
            for front in fronts.into_iter().filter(|&front| front < len) {
                if front > last {
                    let mut medium = media[0].clone();
                    if let Ok(segment) = medium.find_mut(*id) {
                        *segment = before.clone();
                    }
                    if medium.put(*id, *offset, bytes[..front].to_vec()).is_ok() {
                        if let Ok(segment) = medium.find_mut(*id) {
                            // Nobody can tell the part that holds the erased value from one never written.
                            Arc::make_mut(&mut segment.live).take_marks(&before.live);
                        }
                        media.push(medium);
                    }
                }
                last = front;
            }
        }
        media.iter_mut().for_each(Self::begin_session);
        media
    }

    /// Whether the crash fell into a write.
    #[must_use]
    pub const fn is_cut_in_write(&self) -> bool {
        matches!(self.cut, Some(Cut::Write(..)))
    }

    /// A number that is the same for equal content of media of one kind, in every run: for dropping states seen before.
    /// Space that is claimed and not used does not count.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut digest = self.durable_digest();
        for (id, segment) in &self.segments {
            for (at, write) in segment.pending.iter().enumerate() {
                let place = (at as u64) << 32 | u64::from(write.offset);
                digest ^= Digest::of(&[*id, place, u64::from(write.len), u64::from(write.lost)]);
            }
            if !segment.pending.is_empty() {
                digest ^= scramble(of_segment(*id, segment.live.digest()));
            }
        }
        digest
    }

    /// The digest without the pending writes. What a change of bytes changes it by depends on these bytes alone.
    fn durable_digest(&self) -> u64 {
        let slots = (1..=self.unreadable.len() as u64).map(|nth| scramble(!nth));
        let segments = self.segments.iter().map(|(id, segment)| {
            let new = scramble(id.wrapping_mul(2) + 1);
            new ^ of_segment(*id, segment.durable.digest())
        });
        let stale = self.stale.as_ref().map(|stale| of_segment(!0, stale.digest()));
        let disturbed = self
            .disturbed
            .iter()
            .map(|&(id, page)| Digest::of(&[id, u64::from(page)]));
        slots
            .chain(segments)
            .chain(stale)
            .chain(disturbed)
            .fold(0, |digest, part| digest ^ part)
    }

    fn leave_unreadable(&mut self, claimed: u64) {
        let slot = self.unreadable.keys().next_back().map_or(0, |last| last + 1);
        self.unreadable.insert(slot, claimed);
    }

    /// Counts a mutating call and lets the crash fall into it if it is the one.
    fn mutate(
        &mut self,
        act: impl FnOnce(&mut Self) -> Result<(), SimError>,
        inside: impl FnOnce(&mut Self),
    ) -> Result<(), SimError> {
        self.powered()?;
        self.call_count += 1;
        match self.crash {
            Some((last, phase)) if last == self.call_count => {
                match phase {
                    Phase::Before => {}
                    Phase::Inside => inside(self),
                    Phase::After => {
                        // The answer is what the crash takes away.
                        let _ = act(self);
                    }
                }
                self.crashed = true;
                Err(SimError::Crashed)
            }
            _ if self.moments.is_some() => {
                let mut within = self.now();
                inside(&mut within);
                if within.cut.is_some() {
                    self.remember(within);
                }
                act(self)?;
                let behind = self.now();
                self.remember(behind);
                Ok(())
            }
            _ => act(self),
        }
    }

    fn powered(&self) -> Result<(), SimError> {
        if self.crashed { Err(SimError::Crashed) } else { Ok(()) }
    }

    fn find(&self, id: SegmentId) -> Result<&Segment, SimError> {
        let mut segments = self.segments.iter();
        let found = segments.find(|(at, _)| *at == id.0);
        found
            .map(|(_, segment)| segment)
            .ok_or(SimError::Rule(RamError::NotFound { segment: id }))
    }

    fn find_mut(&mut self, id: SegmentId) -> Result<&mut Segment, SimError> {
        let mut segments = self.segments.iter_mut();
        let found = segments.find(|(at, _)| *at == id.0);
        found
            .map(|(_, segment)| segment)
            .ok_or(SimError::Rule(RamError::NotFound { segment: id }))
    }

    fn check_range(&self, offset: u32, len: usize) -> Result<(), SimError> {
        let segment_len = self.geometry.segment_len();
        if offset as usize + len > segment_len as usize {
            let len = u32::try_from(len).unwrap_or(u32::MAX);
            return Err(RamError::OutOfBounds {
                offset,
                len,
                segment_len,
            }
            .into());
        }
        Ok(())
    }

    fn check_room(&self, more: u32) -> Result<(), SimError> {
        let claimed = self.segments.iter().map(|(_, segment)| u64::from(segment.claimed));
        let used = claimed.sum::<u64>() + self.unreadable.values().sum::<u64>();
        match self.capacity_limit {
            Some(limit) if used + u64::from(more) > limit => Err(SimError::Full),
            _ => Ok(()),
        }
    }

    /// A new segment as it stands on the medium once its create returned.
    fn blank(&self, id: SegmentId, header: &[u8]) -> Result<Segment, SimError> {
        if self.find(id).is_ok() {
            return Err(RamError::Exists { segment: id }.into());
        }
        let header = gathered(&[header], self.geometry.write_unit());
        self.check_range(0, header.len())?;
        let taken = self.segments.len() + self.unreadable.len();
        if self.slots.is_some_and(|slots| taken >= slots as usize) {
            return Err(SimError::Full);
        }
        let claimed = header.len() as u32;
        self.check_room(claimed)?;
        let mut bytes = Bytes::blank(self.geometry, self.stale.as_deref(), self.unit.min(8));
        bytes.put(0, &header);
        let durable = Arc::new(bytes);
        Ok(Segment {
            live: durable.clone(),
            durable,
            pending: Arc::default(),
            claimed,
            durable_claimed: claimed,
        })
    }

    fn insert(&mut self, id: SegmentId, segment: Segment) {
        let at = self.segments.partition_point(|(at, _)| *at < id.0);
        self.segments.insert(at, (id.0, segment));
    }

    fn take(&mut self, id: SegmentId) -> Result<Segment, SimError> {
        self.find(id)?;
        let at = self.segments.partition_point(|(at, _)| *at < id.0);
        let (_, segment) = self.segments.remove(at);
        self.disturbed.retain(|(at, _)| *at != id.0);
        if self.geometry.erased().is_none() {
            self.stale = Some(segment.live.clone());
        }
        Ok(segment)
    }

    fn put(&mut self, id: SegmentId, offset: u32, bytes: Vec<u8>) -> Result<(), SimError> {
        let (geometry, unit) = (self.geometry, self.unit);
        self.find(id)?;
        self.check_range(offset, bytes.len())?;
        let mut number = self.write_count;
        let segment = self.find_mut(id)?;
        let end = offset + bytes.len() as u32;
        if !offset.is_multiple_of(geometry.write_unit()) {
            let unit = geometry.write_unit();
            return Err(RamError::Unaligned { offset, unit }.into());
        }
        if end > segment.claimed {
            let claimed = segment.claimed;
            return Err(RamError::NotClaimed { end, claimed }.into());
        }
        let page_len = geometry.page_len();
        let mut disturbed = self.disturbed.iter();
        let hit = disturbed.find(|(at, page)| *at == id.0 && *page < end && offset < *page + page_len);
        if let Some(&(_, offset)) = hit {
            return Err(RamError::Overwritten { segment: id, offset }.into());
        }
        let segment = self.find_mut(id)?;
        if let Some(offset) = segment.live.first_written(offset, end) {
            return Err(RamError::Overwritten { segment: id, offset }.into());
        }
        if bytes.is_empty() {
            return Ok(());
        }
        Arc::make_mut(&mut segment.live).put(offset, &bytes);
        let write: Arc<[u8]> = bytes.into();
        let pending = Arc::make_mut(&mut segment.pending);
        let mut at = offset;
        while at < end {
            let next = end.min((at / unit + 1) * unit);
            pending.push(Pending {
                number,
                offset: at,
                len: next - at,
                write: write.clone(),
                skip: at - offset,
                lost: false,
            });
            number += 1;
            at = next;
        }
        self.write_count = number;
        Ok(())
    }

    fn sync_now(&mut self, to: Mark) -> Result<(), SimError> {
        self.check_range(to.end, 0)?;
        let rewrites = self.geometry.erased().is_none();
        self.find(to.segment)?;
        let fails = match &mut self.syncs_to_failure {
            Some(left) => {
                *left = left.saturating_sub(1);
                *left == 0
            }
            None => false,
        };
        let segment = self.find_mut(to.segment)?;
        if fails {
            let pending = Arc::make_mut(&mut segment.pending);
            pending.iter_mut().for_each(|write| write.lost = true);
            self.syncs_to_failure = None;
            return Err(SimError::SyncFailed);
        }
        segment.persist(rewrites, |write| write.offset < to.end && !write.lost);
        segment.durable_claimed = segment.claimed;
        Ok(())
    }
}

/// What a part of the digest of one segment counts for in that of all.
const fn of_segment(id: u64, part: u64) -> u64 {
    part.rotate_left((id.wrapping_mul(11) % 64) as u32)
}

impl Segment {
    /// Makes durable the pending writes that `reaches` names, and earlier ones of the same bytes.
    fn persist(&mut self, rewrites: bool, reaches: impl Fn(&Pending) -> bool) {
        if self.pending.is_empty() {
            return;
        }
        let mut reached: Vec<bool> = self.pending.iter().map(&reaches).collect();
        if rewrites {
            // An older write that stayed pending would hide a newer one that is durable.
            for newer in (0..reached.len()).rev() {
                let end = self.pending[newer].offset + self.pending[newer].len;
                for older in 0..newer {
                    let hides = self.pending[older].overlaps(self.pending[newer].offset, end);
                    reached[older] |= reached[newer] && hides;
                }
            }
        }
        if reached.iter().all(|&reached| reached) {
            self.durable = self.live.clone();
            self.pending = Arc::default();
            return;
        }
        let durable = Arc::make_mut(&mut self.durable);
        let mut reached = reached.into_iter();
        Arc::make_mut(&mut self.pending).retain(|write| {
            let persists = reached.next() == Some(true);
            if persists {
                durable.put(write.offset, write.bytes());
            }
            !persists
        });
    }
}
