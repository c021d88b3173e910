//! Which images a power loss may leave: every combination of pending units where they are few, the telling
//! ones where they are many, and torn units.

use core::ops::{ControlFlow, Range};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use walstone_core::SegmentId;

use super::bytes::Random;
use super::{Cut, Medium, Pending};

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
}

impl Medium {
    /// Shows every image, within the limits, that a loss of power now may leave; none twice. Gives their number.
    ///
    /// An image is a medium with power, nothing pending, no plan to crash, and claims as they were last durable.
    pub fn crash_states(&self, limits: &Limits, visit: &mut dyn FnMut(Self, &Survival) -> ControlFlow<()>) -> usize {
        let mut seen = HashSet::new();
        for (outcome, medium) in self.outcomes() {
            let mut images = Images::new(&medium, outcome);
            let flow = images.enumerate(limits, &mut |image, survival| {
                if seen.insert(image.digest()) {
                    visit(image, survival)
                } else {
                    ControlFlow::Continue(())
                }
            });
            if flow.is_break() {
                break;
            }
        }
        seen.len()
    }

    /// The medium with power and without plans, once for each outcome of a call that was cut short.
    pub(super) fn outcomes(&self) -> Vec<(Outcome, Self)> {
        let mut before = self.clone();
        before.crash = None;
        before.crashed = false;
        before.call_count = 0;
        before.syncs_to_failure = None;
        before.moments = None;
        let cut = before.cut.take();
        let mut outcomes = vec![(Outcome::Before, before.clone())];
        let mut after = before.clone();
        match cut {
            None => return outcomes,
            Some(Cut::Create(id, segment)) => {
                before.leave_unreadable(u64::from(segment.claimed));
                after.segments.insert(id.0, segment);
                outcomes.push((Outcome::Unreadable, before));
            }
            Some(Cut::Remove(id)) => {
                if let Ok(segment) = before.take(id) {
                    before.leave_unreadable(u64::from(segment.claimed));
                }
                let _ = after.take(id);
                outcomes.push((Outcome::Unreadable, before));
            }
            Some(Cut::Release(slot)) => {
                after.unreadable.remove(&slot);
            }
        }
        outcomes.push((Outcome::After, after));
        outcomes
    }
}

/// What to do with each image; the medium of it is handed over.
type Show<'a> = dyn FnMut(Medium, &Survival) -> ControlFlow<()> + 'a;

struct Images<'a> {
    /// Without any pending write.
    oldest: Medium,
    outcome: Outcome,
    units: Vec<Unit<'a>>,
    /// The index of its unit, for each pending write in the order of the writes.
    order: Vec<usize>,
}

impl<'a> Images<'a> {
    fn new(medium: &'a Medium, outcome: Outcome) -> Self {
        let mut oldest = medium.clone();
        for segment in oldest.segments.values_mut() {
            segment.pending = Arc::default();
            segment.live = segment.durable.clone();
            segment.claimed = segment.durable_claimed;
        }
        let mut writes: Vec<(u64, &Pending)> = Vec::new();
        for (&id, segment) in &medium.segments {
            writes.extend(segment.pending.iter().map(|write| (id, write)));
        }
        writes.sort_by_key(|(_, write)| write.number);
        let mut units: Vec<Unit<'a>> = Vec::new();
        let mut places = BTreeMap::new();
        let mut order = Vec::new();
        for (id, write) in writes {
            let start = write.offset / medium.unit * medium.unit;
            let index = *places.entry((id, start)).or_insert_with(|| {
                units.push(Unit {
                    segment: SegmentId(id),
                    start,
                    writes: Vec::new(),
                });
                units.len() - 1
            });
            units[index].writes.push(write);
            order.push(index);
        }
        Self {
            oldest,
            outcome,
            units,
            order,
        }
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

    fn enumerate(&mut self, limits: &Limits, show: &mut Show<'_>) -> ControlFlow<()> {
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

    fn combinations(&self, show: &mut Show<'_>) -> ControlFlow<()> {
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

    fn patterns(&self, limits: &Limits, show: &mut Show<'_>) -> ControlFlow<()> {
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
        let mut random = Random::new(&[limits.seed]);
        for _ in 0..limits.random {
            let versions: Vec<usize> = newest
                .iter()
                .map(|&last| random.below(last as u64 + 1) as usize)
                .collect();
            self.show(&versions, None, show)?;
        }
        ControlFlow::Continue(())
    }

    fn torn(&self, limits: &Limits, show: &mut Show<'_>) -> ControlFlow<()> {
        let geometry = self.oldest.geometry;
        let flash = geometry
            .erased()
            .is_some_and(|erased| erased != 0 || geometry.page_len() > 1);
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
                    self.show(&versions, Some((unit, kind, limits.seed)), show)?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn show(&self, versions: &[usize], torn: Option<(usize, TornKind, u64)>, show: &mut Show<'_>) -> ControlFlow<()> {
        let mut image = self.oldest.clone();
        for (unit, &version) in self.units.iter().zip(versions) {
            for write in &unit.writes[..version] {
                apply(&mut image, unit.segment, write.offset, write.bytes());
            }
        }
        if let Some((unit, kind, seed)) = torn {
            tear(&mut image, &self.units[unit], kind, seed);
        }
        for segment in image.segments.values_mut() {
            segment.live = segment.durable.clone();
        }
        let survival = Survival {
            outcome: self.outcome,
            kept: versions.iter().sum(),
            pending: self.order.len(),
            torn: torn.map(|(unit, kind, _)| (self.units[unit].segment, self.units[unit].start, kind)),
        };
        show(image, &survival)
    }
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
    if let Some(segment) = image.segments.get_mut(&id.0) {
        // Not marked as written: after a loss of power nobody can tell a lost unit from one that holds
        // the erased value, so the log may be asked for no more than to spare what reads as written.
        let data = Arc::make_mut(&mut segment.durable).data_mut();
        data[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        // What is written has its space, whatever became of the claim.
        let end = (offset + bytes.len() as u32).next_multiple_of(unit);
        segment.claimed = segment.claimed.max(end);
        segment.durable_claimed = segment.claimed;
    }
}

fn tear(image: &mut Medium, unit: &Unit<'_>, kind: TornKind, seed: u64) {
    let id = unit.segment;
    let mut random = Random::new(&[seed, id.0, u64::from(unit.start), kind as u64]);
    let reached = covered(&unit.writes);
    let Some(old) = image.durable_bytes(id).map(<[u8]>::to_vec) else {
        return;
    };
    for write in &unit.writes {
        apply(image, id, write.offset, write.bytes());
    }
    let sync_unit = image.geometry.sync_unit();
    let Some(segment) = image.segments.get_mut(&id.0) else {
        return;
    };
    let data = Arc::make_mut(&mut segment.durable).data_mut();
    match kind {
        TornKind::Prefix => {
            let kept = 1 + random.below(reached.len() as u64 - 1) as u32;
            let rest = (reached.start + kept) as usize..reached.end as usize;
            data[rest.clone()].copy_from_slice(&old[rest]);
        }
        TornKind::Random => {
            for write in &unit.writes {
                let bytes = &mut data[write.offset as usize..(write.offset + write.len) as usize];
                bytes.iter_mut().for_each(|byte| *byte = random.number() as u8);
            }
        }
        TornKind::Bits => {
            for at in reached.start as usize..reached.end as usize {
                data[at] = old[at] ^ ((old[at] ^ data[at]) & random.number() as u8);
            }
        }
        TornKind::SyncUnit => {
            let start = (reached.start / sync_unit * sync_unit) as usize;
            let end = reached.end.next_multiple_of(sync_unit) as usize;
            data[start..end]
                .iter_mut()
                .for_each(|byte| *byte = random.number() as u8);
        }
    }
}
