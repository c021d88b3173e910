//! Which images a power loss may leave: every combination of pending units where they are few, the telling
//! ones where they are many, and torn units.

use core::ops::{ControlFlow, Range};
use std::collections::HashSet;
use std::sync::Arc;

use walstone_core::SegmentId;

use super::{Cut, Medium, Pending, of_segment};
use crate::repeatable::{Dice, Digest};

/// How far to go.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// All combinations of old and new up to so many pending unit writes. Above: none, all, each one
    /// missing, each one alone, all prefixes and suffixes in the order of the writes, and random ones.
    pub exhaustive: usize,
    /// The places of those patterns; with more units than this, so many of them, evenly spread.
    pub places: usize,
    /// Random combinations.
    pub random: usize,
    /// Torn units: each with each kind, twice. Once with all older writes kept and all newer ones lost,
    /// once with all others kept.
    pub torn: bool,
    /// Of everything random.
    pub seed: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            exhaustive: 16,
            places: 256,
            random: 32,
            torn: true,
            seed: 1,
        }
    }
}

/// How a unit can be neither old nor new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TornKind {
    /// The first bytes of what was written to it are new.
    Prefix,
    /// What was written to it is random bytes.
    Random,
    /// Of the bits that had to change some did. On media with program pages, or erased to other than zero.
    Bits,
    /// Every byte of its sync unit is random, older and never written ones included.
    SyncUnit,
    /// It reads as if it had never been written, but its program page must not be programmed any more. On media with
    /// program pages that have an erased state; not of the first write of a session, which is then as if that session
    /// had never been: nobody could know.
    Traceless,
}

/// What became of the call that the crash fell into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It left no choice, or nothing of it happened.
    Before,
    /// Its segment is unreadable.
    Unreadable,
    /// All of it happened.
    After,
}

/// How an image came to be, to name it in a failure.
#[derive(Clone, Copy, Debug)]
pub struct Survival {
    /// Of a create, remove or release that was cut short.
    pub outcome: Outcome,
    /// Unit writes that survived whole.
    pub kept: usize,
    /// Unit writes that were pending.
    pub pending: usize,
    /// The unit that is torn: its segment, its offset, and how.
    pub torn: Option<(SegmentId, u32, TornKind)>,
}

/// One unit with pending writes; its versions are the counts of writes applied to it in order.
#[derive(Debug)]
struct Unit<'a> {
    segment: SegmentId,
    start: u32,
    writes: Vec<&'a Pending>,
    /// How the digest of the medium changes with each version.
    deltas: Vec<u64>,
}

impl Unit<'_> {
    fn find_deltas(&mut self, medium: &Medium) {
        let Ok(segment) = medium.find(self.segment) else {
            return;
        };
        let grain = medium.unit.min(8);
        let reached = covered(&self.writes);
        let (from, to) = (reached.start / grain * grain, reached.end.next_multiple_of(grain));
        let mut bytes = segment.durable.data()[from as usize..to as usize].to_vec();
        let old = segment.durable.part(&bytes, from);
        for write in &self.writes {
            let at = (write.offset - from) as usize;
            bytes[at..at + write.len as usize].copy_from_slice(write.bytes());
            let delta = of_segment(self.segment.0, old ^ segment.durable.part(&bytes, from));
            self.deltas.push(delta);
        }
    }
}

impl Medium {
    /// Shows every image, within the limits, that a loss of power now may leave; none twice. Gives their number.
    ///
    /// An image is a medium with power, nothing pending, no plan to crash, and claims as they were last durable.
    pub fn crash_states(&self, limits: &Limits, visit: &mut dyn FnMut(Self, &Survival) -> ControlFlow<()>) -> usize {
        let mut seen = HashSet::new();
        let _ = self.clone().into_crash_images(limits, &mut |digest, survival, image| {
            if seen.insert(digest) {
                visit(image(), survival)
            } else {
                ControlFlow::Continue(())
            }
        });
        seen.len()
    }

    /// The same with a digest in front of each image, so that only those are made that are wanted; some are shown
    /// twice. The digest of an image with torn bytes names their place and their kind, not the bytes.
    pub fn into_crash_images(self, limits: &Limits, visit: &mut CrashVisit<'_>) -> ControlFlow<()> {
        self.outcomes().into_iter().try_for_each(|(outcome, medium)| {
            let pending: Vec<_> = medium
                .segments
                .iter()
                .map(|(id, of)| (*id, of.pending.clone()))
                .collect();
            Images::new(medium, &pending, outcome).enumerate(limits, visit)
        })
    }

    /// The medium with power and without plans, once for each outcome of a call that was cut short.
    pub(super) fn outcomes(self) -> Vec<(Outcome, Self)> {
        let mut before = self;
        before.crash = None;
        before.crashed = false;
        before.call_count = 0;
        before.syncs_to_failure = None;
        before.moments = None;
        let cut = before.cut.take();
        let cut = match cut {
            None | Some(Cut::Write(..)) => return vec![(Outcome::Before, before)],
            Some(cut) => cut,
        };
        let mut outcomes = vec![(Outcome::Before, before.clone())];
        let mut after = before.clone();
        match cut {
            Cut::Write(..) => {}
            Cut::Create(id, segment) => {
                before.leave_unreadable(u64::from(segment.claimed));
                after.insert(id, segment);
                outcomes.push((Outcome::Unreadable, before));
            }
            Cut::Remove(id) => {
                if let Ok(segment) = before.take(id) {
                    before.leave_unreadable(u64::from(segment.claimed));
                }
                let _ = after.take(id);
                outcomes.push((Outcome::Unreadable, before));
            }
            Cut::Release(slot) => {
                after.unreadable.remove(&slot);
            }
        }
        outcomes.push((Outcome::After, after));
        outcomes
    }
}

/// What to do with each image, by its digest.
pub type CrashVisit<'a> = dyn FnMut(u64, &Survival, &mut dyn FnMut() -> Medium) -> ControlFlow<()> + 'a;

struct Images<'a> {
    /// Without any pending write.
    oldest: Medium,
    digest: u64,
    /// The number of the first write of the session that ends.
    first_write: u64,
    outcome: Outcome,
    units: Vec<Unit<'a>>,
    /// The index of its unit, for each pending write in the order of the writes.
    order: Vec<usize>,
}

impl<'a> Images<'a> {
    fn new(mut oldest: Medium, pending: &'a [(u64, Arc<Vec<Pending>>)], outcome: Outcome) -> Self {
        for (_, segment) in &mut oldest.segments {
            segment.pending = Arc::default();
            segment.live = segment.durable.clone();
            segment.claimed = segment.durable_claimed;
        }
        let mut writes: Vec<(u64, &Pending)> = Vec::new();
        for (id, pending) in pending {
            writes.extend(pending.iter().map(|write| (*id, write)));
        }
        writes.sort_unstable_by_key(|(_, write)| write.number);
        let mut units: Vec<Unit<'a>> = Vec::new();
        let mut order = Vec::with_capacity(writes.len());
        for (id, write) in writes {
            let start = write.offset / oldest.unit * oldest.unit;
            let known = units
                .iter()
                .rposition(|unit| (unit.segment.0, unit.start) == (id, start));
            let index = known.unwrap_or_else(|| {
                units.push(Unit {
                    segment: SegmentId(id),
                    start,
                    writes: Vec::new(),
                    deltas: vec![0],
                });
                units.len() - 1
            });
            units[index].writes.push(write);
            order.push(index);
        }
        units.iter_mut().for_each(|unit| unit.find_deltas(&oldest));
        let first_write = oldest.first_write;
        oldest.begin_session();
        Self {
            digest: oldest.durable_digest(),
            first_write,
            oldest,
            outcome,
            units,
            order,
        }
    }

    /// Whether this one of the pending writes is the first of its session.
    fn is_first(&self, nth: usize) -> bool {
        let unit = self.order[nth];
        let version = self.order[..nth].iter().filter(|&&before| before == unit).count();
        self.units[unit].writes[version].number <= self.first_write
    }

    fn newest(&self) -> Vec<usize> {
        self.units.iter().map(|unit| unit.writes.len()).collect()
    }

    /// Versions after the first `count` writes.
    fn prefix(&self, count: usize) -> Vec<usize> {
        let mut versions = vec![0; self.units.len()];
        self.order[..count].iter().for_each(|&unit| versions[unit] += 1);
        versions
    }

    fn enumerate(&mut self, limits: &Limits, show: &mut CrashVisit<'_>) -> ControlFlow<()> {
        if self.order.len() <= limits.exhaustive {
            self.combinations(show)?;
        } else {
            self.patterns(limits, show)?;
        }
        if limits.torn {
            self.torn(limits, show)?;
        }
        ControlFlow::Continue(())
    }

    fn combinations(&self, show: &mut CrashVisit<'_>) -> ControlFlow<()> {
        let newest = self.newest();
        let mut versions = vec![0; newest.len()];
        loop {
            self.show(&versions, None, show)?;
            // Counts up, each unit being a digit.
            let Some(digit) = versions.iter().zip(&newest).position(|(now, last)| now < last) else {
                return ControlFlow::Continue(());
            };
            versions[..digit].fill(0);
            versions[digit] += 1;
        }
    }

    fn patterns(&self, limits: &Limits, show: &mut CrashVisit<'_>) -> ControlFlow<()> {
        let newest = self.newest();
        let none = vec![0; newest.len()];
        self.show(&none, None, show)?;
        self.show(&newest, None, show)?;
        for unit in spread(newest.len(), limits.places) {
            let (mut missing, mut alone) = (newest.clone(), none.clone());
            missing[unit] = 0;
            alone[unit] = newest[unit];
            self.show(&missing, None, show)?;
            self.show(&alone, None, show)?;
        }
        for count in spread(self.order.len(), limits.places) {
            let prefix = self.prefix(count);
            // A unit holds its newest version if one of its writes is among the last.
            let pairs = prefix.iter().zip(&newest);
            let suffix: Vec<usize> = pairs.map(|(&old, &new)| if old < new { new } else { 0 }).collect();
            self.show(&prefix, None, show)?;
            self.show(&suffix, None, show)?;
        }
        let mut dice = Dice::new(&[limits.seed]);
        for _ in 0..limits.random {
            let versions: Vec<usize> = newest
                .iter()
                .map(|&last| dice.below(last as u64 + 1) as usize)
                .collect();
            self.show(&versions, None, show)?;
        }
        ControlFlow::Continue(())
    }

    fn torn(&self, limits: &Limits, show: &mut CrashVisit<'_>) -> ControlFlow<()> {
        let geometry = self.oldest.geometry;
        let flash = geometry
            .erased()
            .is_some_and(|erased| erased != 0 || geometry.page_len() > 1);
        if geometry.erased().is_some() && geometry.page_len() > 1 {
            for count in spread(self.order.len(), limits.places) {
                let (unit, seed) = (self.order[count], limits.seed);
                let kind = TornKind::Traceless;
                if self.is_first(count) {
                    continue;
                }
                self.show(&self.prefix(count), Some(Torn { unit, kind, seed }), show)?;
            }
        }
        for unit in spread(self.units.len(), limits.places) {
            let writes = &self.units[unit].writes;
            let first = self.order.iter().position(|&written| written == unit).unwrap_or(0);
            let kinds = [
                (TornKind::Prefix, covered(writes).len() > 1),
                (TornKind::Random, true),
                (TornKind::Bits, flash),
                (TornKind::SyncUnit, geometry.sync_unit() > 1),
            ];
            for (kind, _) in kinds.into_iter().filter(|(_, possible)| *possible) {
                for mut versions in [self.prefix(first), self.newest()] {
                    versions[unit] = 0;
                    let seed = limits.seed;
                    self.show(&versions, Some(Torn { unit, kind, seed }), show)?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn show(&self, versions: &[usize], torn: Option<Torn>, show: &mut CrashVisit<'_>) -> ControlFlow<()> {
        let pairs = self.units.iter().zip(versions);
        let deltas = pairs.clone().map(|(unit, &version)| unit.deltas[version]);
        let name = torn.map_or(0, |torn| {
            let unit = &self.units[torn.unit];
            let written = unit.deltas[unit.writes.len()];
            Digest::of(&[unit.segment.0, u64::from(unit.start), torn.kind as u64, written])
        });
        let survival = Survival {
            outcome: self.outcome,
            kept: versions.iter().sum(),
            pending: self.order.len(),
            torn: torn.map(|torn| (self.units[torn.unit].segment, self.units[torn.unit].start, torn.kind)),
        };
        let mut image = || {
            let mut image = self.oldest.clone();
            for (unit, &version) in pairs.clone() {
                for write in &unit.writes[..version] {
                    apply(&mut image, unit.segment, write.offset, write.bytes());
                }
            }
            if let Some(torn) = torn {
                tear(&mut image, &self.units[torn.unit], torn);
            }
            for (_, segment) in &mut image.segments {
                segment.live = segment.durable.clone();
            }
            image
        };
        let digest = deltas.fold(self.digest ^ name, |digest, delta| digest ^ delta);
        show(digest, &survival, &mut image)
    }
}

/// A unit that is neither old nor new.
#[derive(Clone, Copy, Debug)]
struct Torn {
    /// Its index.
    unit: usize,
    kind: TornKind,
    seed: u64,
}

/// `count` places below `len`, or all of them, evenly spread from the first to the last.
fn spread(len: usize, count: usize) -> impl Iterator<Item = usize> {
    let count = len.min(count);
    (0..count).map(move |at| if count > 1 { at * (len - 1) / (count - 1) } else { 0 })
}

/// The bytes of a unit that pending writes reach, from the first to the last.
fn covered(writes: &[&Pending]) -> Range<u32> {
    let start = writes.iter().map(|write| write.offset).min().unwrap_or(0);
    let end = writes.iter().map(|write| write.offset + write.len).max();
    start..end.unwrap_or(start)
}

fn apply(image: &mut Medium, id: SegmentId, offset: u32, bytes: &[u8]) {
    let unit = image.geometry.write_unit();
    if let Ok(segment) = image.find_mut(id) {
        // Not marked as written: after a loss of power nobody can tell a lost unit from one that holds
        // the erased value, so the log may be asked for no more than to spare what reads as written.
        let end = offset + bytes.len() as u32;
        Arc::make_mut(&mut segment.durable).change(offset..end, |data| data.copy_from_slice(bytes));
        // What is written has its space, whatever became of the claim.
        segment.claimed = segment.claimed.max(end.next_multiple_of(unit));
        segment.durable_claimed = segment.claimed;
    }
}

fn tear(image: &mut Medium, unit: &Unit<'_>, torn: Torn) {
    let id = unit.segment;
    if torn.kind == TornKind::Traceless {
        let page_len = image.geometry.page_len();
        let reached = covered(&unit.writes);
        let pages = reached.start / page_len..reached.end.div_ceil(page_len);
        image.disturbed.extend(pages.map(|page| (id.0, page * page_len)));
        return;
    }
    let mut dice = Dice::new(&[torn.seed, id.0, u64::from(unit.start), torn.kind as u64]);
    let reached = covered(&unit.writes);
    let Some(old) = image.durable_bytes(id) else {
        return;
    };
    let old = old[reached.start as usize..reached.end as usize].to_vec();
    for write in &unit.writes {
        apply(image, id, write.offset, write.bytes());
    }
    let sync_unit = image.geometry.sync_unit();
    let Ok(segment) = image.find_mut(id) else {
        return;
    };
    let bytes = Arc::make_mut(&mut segment.durable);
    let mut noise = |data: &mut [u8]| data.iter_mut().for_each(|byte| *byte = dice.number() as u8);
    match torn.kind {
        TornKind::Prefix => {
            let kept = 1 + dice.below(reached.len() as u64 - 1) as u32;
            bytes.change(reached.start + kept..reached.end, |data| {
                data.copy_from_slice(&old[kept as usize..]);
            });
        }
        TornKind::Random => {
            for write in &unit.writes {
                bytes.change(write.offset..write.offset + write.len, &mut noise);
            }
        }
        TornKind::Bits => bytes.change(reached, |data| {
            for (byte, old) in data.iter_mut().zip(&old) {
                *byte = old ^ ((old ^ *byte) & dice.number() as u8);
            }
        }),
        TornKind::SyncUnit => {
            let start = reached.start / sync_unit * sync_unit;
            bytes.change(start..reached.end.next_multiple_of(sync_unit), noise);
        }
        TornKind::Traceless => {}
    }
}
