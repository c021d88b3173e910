//! What a loss of power may leave on a chip: steps before the cut are whole, those behind it never were, and the one in
//! hand is torn.

use super::{Chip, Step, Unit};
use crate::images::Random;

/// How the program of one unit is torn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Torn {
    /// The first bytes are new.
    Prefix,
    /// Some of the bits that were to change have changed.
    Bits(u64),
    /// Anything.
    Noise(u64),
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
    pub const fn all(seed: u64) -> [Self; 3] {
        [Self::Prefix, Self::Bits(seed), Self::Noise(seed)]
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

impl Chip {
    /// Does a step whole.
    pub fn apply(&self, step: &Step) {
        let mut state = self.state.borrow_mut();
        let done = match step {
            Step::Program { offset, bytes } => state.program(*offset, bytes),
            Step::Erase { offset } => {
                let block = state.geometry.erase_unit().unwrap_or(0);
                state.erase(*offset, block)
            }
            Step::Sync => state.sync(),
        };
        done.expect("a chip that was not told to fail");
    }

    /// Tears the program of a unit.
    pub fn tear(&self, offset: u32, new: &[u8], torn: Torn) {
        let mut state = self.state.borrow_mut();
        let range = state.range(offset, new.len());
        let units = state.units(&range);
        state.units[units].fill(Unit::Torn);
        let old = &mut state.bytes[range];
        match torn {
            Torn::Prefix => {
                let half = new.len().div_ceil(2);
                old[..half].copy_from_slice(&new[..half]);
            }
            Torn::Bits(seed) => {
                let mut random = Random::new(seed ^ u64::from(offset));
                for (old, new) in old.iter_mut().zip(new) {
                    *old ^= (*old ^ new) & random.below(256) as u8;
                }
            }
            Torn::Noise(seed) => {
                let mut random = Random::new(seed ^ u64::from(offset) << 8);
                old.fill_with(|| random.below(256) as u8);
            }
        }
    }

    /// Tears the erase of a block.
    pub fn tear_erase(&self, offset: u32, torn: TornErase) {
        let mut state = self.state.borrow_mut();
        let block = state.geometry.erase_unit().unwrap_or(0);
        let erased = state.geometry.erased().unwrap_or(0);
        let range = state.range(offset, block as usize);
        let units = state.units(&range);
        state.units[units].fill(Unit::Worn);
        let old = &mut state.bytes[range];
        match torn {
            TornErase::Half => {
                let half = old.len() / 2;
                old[..half].fill(erased);
            }
            TornErase::Bits(seed) => {
                let mut random = Random::new(seed ^ u64::from(offset));
                for byte in old {
                    *byte ^= (*byte ^ erased) & random.below(256) as u8;
                }
            }
            TornErase::Nearly(seed) => {
                old.fill(erased);
                let mut random = Random::new(seed ^ u64::from(offset));
                for _ in 0..3 {
                    let at = random.below(old.len());
                    old[at] ^= 1 << random.below(8);
                }
            }
            TornErase::Weak => old.fill(erased),
            TornErase::Untouched => {}
        }
    }
}
