//! The cells of a chip: what they hold, what may be done with them, and how what is done is torn.

use std::collections::BTreeMap;
use std::ops::Range;

use walstone_core::flat::DeviceGeometry;

use crate::images::Random;

/// The cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cells {
    geometry: DeviceGeometry,
    bytes: Vec<u8>,
    units: Vec<Unit>,
    /// Of a unit that was to take a session's first program, which left no trace: these bytes, and no others, may be
    /// programmed again.
    tried: BTreeMap<usize, Vec<u8>>,
    /// Of all words, each hashed with its place, so that a change costs no more than what it changes.
    digest: u64,
}

/// What is known of one write unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Unit {
    /// Erased whole, and not programmed since.
    Fresh,
    /// Programmed.
    Written,
    /// A program was interrupted: where there is ECC, it fails.
    Torn,
    /// The same, and its cells stand between two values: it reads as something else behind each loss of power.
    Unsteady,
    /// A program was interrupted and left no trace: reads as erased, and was programmed all the same.
    Traceless,
    /// An erase was interrupted: must be erased again, whatever it reads as.
    Worn,
    /// The same, and it reads as neither what it held nor as erased: where there is ECC, it fails.
    Garbled,
}

/// One step that a loss of power can interrupt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Units that are programmed as one.
    Program {
        /// Where they start.
        offset: u32,
        /// What is written.
        bytes: Vec<u8>,
        /// It belongs to the first program of a session.
        first: bool,
    },
    /// One block is erased.
    Erase {
        /// Where it starts.
        offset: u32,
    },
    /// Units whose program ended in the middle, the power staying on.
    TornProgram {
        /// Where they start.
        offset: u32,
        /// What was to be written.
        bytes: Vec<u8>,
        /// How far it came.
        torn: Torn,
        /// It belongs to the first program of a session.
        first: bool,
    },
    /// One block whose erase did.
    TornErase {
        /// Where it starts.
        offset: u32,
        /// How far it came.
        torn: TornErase,
    },
}

impl Step {
    /// What is left of a program where these bytes are programmed again.
    pub(super) fn outside(&self, again: &Range<u32>) -> Vec<Self> {
        let Self::Program { offset, bytes, first } = self else {
            return vec![self.clone()];
        };
        let part = |from: u32, to: u32| {
            let bytes = bytes.get((from - offset) as usize..(to - offset) as usize)?;
            (!bytes.is_empty()).then(|| Self::Program {
                offset: from,
                bytes: bytes.to_vec(),
                first: *first,
            })
        };
        let end = offset + bytes.len() as u32;
        let before = part(*offset, again.start.clamp(*offset, end));
        let behind = part(again.end.clamp(*offset, end), end);
        match again.start < end && *offset < again.end {
            true => before.into_iter().chain(behind).collect(),
            false => vec![self.clone()],
        }
    }
}

/// How the program of some units is torn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Torn {
    /// The first bytes are new.
    Prefix,
    /// Some of the bits that were to change have changed.
    Bits(u64),
    /// Anything.
    Noise(u64),
    /// Nothing shows yet.
    Untouched,
}

/// How the erase of one block is torn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TornErase {
    /// The first half is erased.
    Half,
    /// Some bits are erased.
    Bits(u64),
    /// All but a few bits are.
    Nearly(u64),
    /// It reads as erased, and would not last.
    Weak,
    /// Nothing shows yet.
    Untouched,
}

impl Torn {
    /// All of them, with this seed.
    #[must_use]
    pub const fn all(seed: u64) -> [Self; 4] {
        [Self::Prefix, Self::Bits(seed), Self::Noise(seed), Self::Untouched]
    }
}

impl TornErase {
    /// All of them, with this seed.
    #[must_use]
    pub const fn all(seed: u64) -> [Self; 5] {
        [
            Self::Half,
            Self::Bits(seed),
            Self::Nearly(seed),
            Self::Weak,
            Self::Untouched,
        ]
    }
}

impl Cells {
    pub(super) fn blank(geometry: DeviceGeometry) -> Self {
        let len = geometry.len() as usize;
        let mut cells = Self {
            geometry,
            bytes: vec![geometry.erased().unwrap_or(0); len],
            units: vec![Unit::Fresh; len / usize::from(geometry.write_unit())],
            tried: BTreeMap::new(),
            digest: 0,
        };
        cells.digest = cells.hash_of(&(0..len));
        cells
    }

    pub(super) fn unknown(geometry: DeviceGeometry, bytes: &[u8]) -> Self {
        let mut cells = Self::blank(geometry);
        let (unit, blank) = (cells.unit(), cells.bytes[0]);
        for (at, new) in bytes.chunks(unit).enumerate() {
            if new.iter().any(|&byte| byte != blank) {
                let range = at * unit..at * unit + new.len();
                cells.change(range, Unit::Written, |old| old.copy_from_slice(new));
            }
        }
        cells
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Changes bytes behind the back of everybody.
    pub(super) fn damage(&mut self, damage: impl FnOnce(&mut [u8])) {
        damage(&mut self.bytes);
        self.digest = self.hash_of(&(0..self.bytes.len()));
    }

    /// The only way that cells change: whole units, to one state.
    fn change(&mut self, range: Range<usize>, state: Unit, new: impl FnOnce(&mut [u8])) {
        let units = self.units(&range);
        self.digest ^= self.hash_of(&range);
        self.tried.retain(|unit, _| !units.contains(unit));
        self.units[units].fill(state);
        new(&mut self.bytes[range.clone()]);
        self.digest ^= self.hash_of(&range);
    }

    /// All words that a range touches.
    fn hash_of(&self, range: &Range<usize>) -> u64 {
        const WORD: usize = 8;
        let unit = self.unit();
        let words = range.start / WORD..range.end.div_ceil(WORD);
        words.fold(0, |digest, word| {
            let bytes = word * WORD..self.bytes.len().min((word + 1) * WORD);
            let units = bytes.start / unit..bytes.end.div_ceil(unit);
            let tried = self.tried.range(units.clone()).flat_map(|(_, bytes)| bytes);
            let tried = tried.fold(0, |hash, &byte| mixed(hash ^ u64::from(byte)));
            let states = self.units[units].iter();
            let states = states.fold(tried ^ word as u64, |hash, &state| hash << 3 | state as u64);
            let content = self.bytes[bytes].iter();
            let content = content.fold(0, |hash, &byte| hash << 8 | u64::from(byte));
            digest ^ mixed(mixed(states) ^ content)
        })
    }

    fn unit(&self) -> usize {
        usize::from(self.geometry.write_unit())
    }

    /// Bytes that are programmed, kept and torn as one: single bytes would only make more of the same images.
    fn granule(&self) -> usize {
        self.unit().max(self.geometry.sync_unit() as usize).max(8)
    }

    fn range(&self, offset: u32, len: usize) -> Range<usize> {
        let range = offset as usize..offset as usize + len;
        let end = self.bytes.len();
        assert!(range.end <= end, "{range:?} passes the end of the chip at {end}");
        range
    }

    fn units(&self, range: &Range<usize>) -> Range<usize> {
        let unit = self.unit();
        assert!(
            range.start.is_multiple_of(unit) && range.end.is_multiple_of(unit),
            "{range:?} is not made of units of {unit} bytes"
        );
        range.start / unit..range.end / unit
    }

    pub(super) fn read(&self, offset: u32, buf: &mut [u8]) {
        buf.copy_from_slice(&self.bytes[self.range(offset, buf.len())]);
    }

    /// Whether the ECC of a unit in this range fails.
    pub(super) fn is_torn(&self, offset: u32, len: usize) -> bool {
        let range = self.range(offset, len);
        let units = range.start / self.unit()..range.end.div_ceil(self.unit());
        let fails = |unit: &Unit| matches!(unit, Unit::Torn | Unit::Unsteady | Unit::Garbled);
        !range.is_empty() && self.units[units].iter().any(fails)
    }

    /// The steps of a program, which must be allowed.
    pub(super) fn program_steps(&self, offset: u32, bytes: &[u8]) -> Vec<Step> {
        let range = self.range(offset, bytes.len());
        assert!(!range.is_empty(), "a program of nothing at {offset}");
        let units = self.units(&range);
        if self.geometry.erase_unit().is_some() {
            for (index, new) in units.zip(bytes.chunks(self.unit())) {
                let (at, state) = (index * self.unit(), self.units[index]);
                let again = self.tried.get(&index).is_some_and(|tried| tried == new);
                assert!(
                    state == Unit::Fresh || again,
                    "the unit at {at}, {state:?}, is programmed again"
                );
            }
        }
        let mut steps = Vec::new();
        let (mut at, mut rest) = (range.start, bytes);
        while !rest.is_empty() {
            let border = (at + 1).next_multiple_of(self.granule());
            let (head, behind) = rest.split_at(rest.len().min(border - at));
            steps.push(Step::Program {
                offset: at as u32,
                bytes: head.to_vec(),
                first: false,
            });
            at += head.len();
            rest = behind;
        }
        steps
    }

    /// The steps of an erase, which must be allowed.
    pub(super) fn erase_steps(&self, offset: u32, len: u32) -> Vec<Step> {
        let block = self.geometry.erase_unit().expect("a chip without erase is not erased");
        assert!(
            offset.is_multiple_of(block) && len.is_multiple_of(block),
            "an erase of {len} bytes at {offset} does not cover blocks of {block}"
        );
        self.range(offset, len as usize);
        let blocks = (offset..offset + len).step_by(block as usize);
        blocks.map(|offset| Step::Erase { offset }).collect()
    }

    fn block(&self, offset: u32) -> (Range<usize>, u8) {
        let block = self.geometry.erase_unit().unwrap_or(0);
        let erased = self.geometry.erased().unwrap_or(0);
        (self.range(offset, block as usize), erased)
    }

    pub(super) fn apply(&mut self, step: &Step) {
        match step {
            Step::Program { offset, bytes, .. } => {
                let range = self.range(*offset, bytes.len());
                self.change(range, Unit::Written, |old| old.copy_from_slice(bytes));
            }
            Step::Erase { offset } => {
                let (range, erased) = self.block(*offset);
                self.change(range, Unit::Fresh, |old| old.fill(erased));
            }
            Step::TornProgram {
                offset,
                bytes,
                torn,
                first,
            } => self.tear(*offset, bytes, *torn, *first),
            Step::TornErase { offset, torn } => self.tear_erase(*offset, *torn),
        }
    }

    /// Whether a step of a chip without erase changes nothing.
    pub(super) fn holds(&self, step: &Step) -> bool {
        match step {
            Step::Program { offset, bytes, .. } if self.geometry.erase_unit().is_none() => {
                self.bytes[self.range(*offset, bytes.len())] == **bytes
            }
            _ => false,
        }
    }

    /// Whether this is a program that leaves no trace.
    pub(super) fn is_traceless(&self, step: &Step) -> bool {
        let Step::TornProgram { offset, bytes, .. } = step else {
            return false;
        };
        let mut after = self.clone();
        after.apply(step);
        let range = self.range(*offset, bytes.len());
        after.bytes[range.clone()] == self.bytes[range]
    }

    /// Whether a unit here was to take the first program of a session, which left no trace.
    pub(super) fn was_tried(&self, offset: u32, len: usize) -> bool {
        let range = self.range(offset, len);
        self.tried.range(self.units(&range)).next().is_some()
    }

    /// Tears the program of some units; `first`: it is that of a session.
    pub(super) fn tear(&mut self, offset: u32, new: &[u8], torn: Torn, first: bool) {
        let mut range = self.range(offset, new.len());
        // As for segments in files: writing again what stands there is taken to leave it.
        if self.geometry.erase_unit().is_none() && self.bytes[range.clone()] == *new {
            return;
        }
        if let Torn::Noise(_) = torn {
            // What shares a sync unit with it is harmed too.
            let sync_unit = self.geometry.sync_unit() as usize;
            range = range.start / sync_unit * sync_unit..range.end.next_multiple_of(sync_unit);
        }
        let before = self.bytes[range.clone()].to_vec();
        let state = match torn {
            Torn::Noise(_) => Unit::Unsteady,
            _ => Unit::Torn,
        };
        let at = offset as usize - range.start;
        self.change(range.clone(), state, |old| match torn {
            Torn::Prefix => {
                let half = new.len().div_ceil(2);
                old[..half].copy_from_slice(&new[..half]);
            }
            Torn::Bits(seed) => {
                let mut random = Random::new(seed ^ u64::from(offset) << 3);
                for (old, new) in old.iter_mut().zip(new) {
                    *old ^= (*old ^ new) & random.below(256) as u8;
                }
            }
            Torn::Noise(seed) => {
                let mut random = Random::new(seed ^ u64::from(offset) << 8);
                old.fill_with(|| random.below(256) as u8);
                // None of these bytes is whole, so that nothing which holds one of them ever was.
                for (old, new) in old[at..].iter_mut().zip(new) {
                    *old = new ^ (1 + random.below(255) as u8);
                }
            }
            Torn::Untouched => {}
        });
        if self.geometry.erase_unit().is_some() && self.bytes[range.clone()] == before {
            let units = self.units(&range);
            self.change(range, Unit::Traceless, |_| {});
            // Of the first program of a session nobody can tell where it was tried: the next session finds what this one
            // found, and tries the same bytes at the same place. All later ones are stepped over.
            if first {
                let tried = new.chunks(self.unit()).map(<[u8]>::to_vec);
                self.tried.extend(units.zip(tried));
            }
        }
    }

    /// Tears the erase of a block.
    pub(super) fn tear_erase(&mut self, offset: u32, torn: TornErase) {
        let (range, erased) = self.block(offset);
        let before = self.bytes[range.clone()].to_vec();
        self.change(range.clone(), Unit::Worn, |old| match torn {
            TornErase::Half => {
                let half = old.len() / 2;
                old[..half].fill(erased);
            }
            TornErase::Bits(seed) => {
                let mut random = Random::new(seed ^ u64::from(offset) << 3);
                for byte in old {
                    *byte ^= (*byte ^ erased) & random.below(256) as u8;
                }
            }
            TornErase::Nearly(seed) => {
                old.fill(erased);
                let mut random = Random::new(seed ^ u64::from(offset) << 3);
                for _ in 0..3 {
                    let at = random.below(old.len());
                    old[at] ^= 1 << random.below(8);
                }
            }
            TornErase::Weak => old.fill(erased),
            TornErase::Untouched => {}
        });
        if matches!(torn, TornErase::Bits(_) | TornErase::Nearly(_)) {
            for at in range.step_by(self.unit()) {
                let unit = at..at + self.unit();
                let now = &self.bytes[unit.clone()];
                if *now != before[at - offset as usize..][..now.len()] && now.iter().any(|&byte| byte != erased) {
                    self.change(unit, Unit::Garbled, |_| {});
                }
            }
        }
    }

    /// Whether all cells read the same again and again.
    pub(super) fn are_steady(&self) -> bool {
        let steady = |unit: &Unit| matches!(unit, Unit::Fresh | Unit::Written | Unit::Torn);
        self.units.iter().all(steady)
    }

    /// What was interrupted half way reads as something else now.
    pub(super) fn waver(&mut self, seed: u64) {
        for at in 0..self.units.len() {
            let state = match self.units[at] {
                Unit::Fresh | Unit::Written | Unit::Torn => continue,
                Unit::Unsteady | Unit::Traceless => Unit::Unsteady,
                Unit::Worn | Unit::Garbled => Unit::Garbled,
            };
            let mut random = Random::new(seed ^ (at as u64) << 7);
            let range = at * self.unit()..(at + 1) * self.unit();
            self.change(range, state, |bytes| bytes.fill_with(|| random.below(256) as u8));
        }
    }

    /// A number for what they hold.
    pub(super) const fn digest(&self) -> u64 {
        self.digest
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014).
const fn mixed(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
