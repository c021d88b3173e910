//! A NOR flash chip that loses its power at a chosen byte, and that no program may mistreat.

use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};

/// Bytes that are programmed together, and once after each erase: a double word with its ECC.
pub const UNIT_LEN: usize = 8;
/// Bytes that are erased together.
pub const SECTOR_LEN: usize = 2048;

/// The power is off, or the driver was asked for what the chip cannot do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ChipError {
    /// Nothing works until [`Chip::power_up`].
    PowerLost,
    /// Not whole units or sectors.
    NotAligned,
    /// Bytes that the chip does not have.
    OutOfBounds,
}

impl NorFlashError for ChipError {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::PowerLost => NorFlashErrorKind::Other,
            Self::NotAligned => NorFlashErrorKind::NotAligned,
            Self::OutOfBounds => NorFlashErrorKind::OutOfBounds,
        }
    }
}

/// The chip: cells, and what was done to them.
#[derive(Debug)]
pub struct Chip {
    cells: &'static mut [u8],
    /// A mark for each unit that was programmed since its last erase.
    programmed: &'static mut [u8],
    /// The unit whose program the power failed in and that reads as erased all the same, and what it was to hold. The next
    /// life finds nothing there, and may program the same bytes; no others.
    traceless: Option<(usize, [u8; UNIT_LEN])>,
    /// Bytes that can still be programmed or erased; the next one is done in part.
    bytes_left: u32,
    has_power: bool,
    noise: Noise,
}

/// A source of arbitrary bits: xorshift (Marsaglia 2003).
#[derive(Clone, Debug)]
pub struct Noise(u32);

impl Noise {
    /// Bits that follow from `seed`.
    #[must_use]
    pub const fn new(seed: u32) -> Self {
        Self(seed | 1)
    }

    /// The next 32 of them.
    pub const fn bits(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }
}

impl Chip {
    /// A chip with worn cells: nothing in it is erased yet.
    ///
    /// # Panics
    /// Where the memory is not made of whole sectors, or `programmed` has not one byte for each unit.
    pub fn new(cells: &'static mut [u8], programmed: &'static mut [u8], seed: u32) -> Self {
        assert!(cells.len().is_multiple_of(SECTOR_LEN) && programmed.len() == cells.len() / UNIT_LEN);
        let mut noise = Noise::new(seed);
        cells.fill_with(|| noise.bits() as u8);
        programmed.fill(1);
        Self {
            cells,
            programmed,
            traceless: None,
            bytes_left: 0,
            has_power: false,
            noise,
        }
    }

    /// Power, for so many more bytes.
    pub const fn power_up(&mut self, bytes_left: u32) {
        self.bytes_left = bytes_left;
        self.has_power = true;
    }

    /// Whether there is power.
    #[must_use]
    pub const fn has_power(&self) -> bool {
        self.has_power
    }

    fn check(&self, offset: u32, len: usize, unit: usize) -> Result<usize, ChipError> {
        let at = offset as usize;
        if !self.has_power {
            Err(ChipError::PowerLost)
        } else if !at.is_multiple_of(unit) || !len.is_multiple_of(unit) {
            Err(ChipError::NotAligned)
        } else if at.checked_add(len).is_none_or(|end| end > self.cells.len()) {
            Err(ChipError::OutOfBounds)
        } else {
            Ok(at)
        }
    }

    /// Moves one byte to what it is to become; all the way, or some bits of it as the power fails.
    fn change(&mut self, at: usize, to: u8) -> Result<(), ChipError> {
        if self.bytes_left == 0 {
            let reached = self.noise.bits() as u8;
            self.cells[at] = (self.cells[at] & !reached) | (to & reached);
            self.has_power = false;
            return Err(ChipError::PowerLost);
        }
        self.bytes_left -= 1;
        self.cells[at] = to;
        Ok(())
    }
}

impl ErrorType for Chip {
    type Error = ChipError;
}

impl ReadNorFlash for Chip {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), ChipError> {
        let at = self.check(offset, bytes.len(), 1)?;
        bytes.copy_from_slice(&self.cells[at..at + bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.cells.len()
    }
}

impl NorFlash for Chip {
    const WRITE_SIZE: usize = UNIT_LEN;
    const ERASE_SIZE: usize = SECTOR_LEN;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), ChipError> {
        let len = to.checked_sub(from).ok_or(ChipError::OutOfBounds)? as usize;
        let start = self.check(from, len, SECTOR_LEN)?;
        for at in start..start + len {
            self.change(at, 0xff)?;
        }
        // Only a whole erase makes cells programmable.
        self.programmed[start / UNIT_LEN..(start + len) / UNIT_LEN].fill(0);
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), ChipError> {
        let start = self.check(offset, bytes.len(), UNIT_LEN)?;
        for (at, unit) in (start..).step_by(UNIT_LEN).zip(bytes.chunks_exact(UNIT_LEN)) {
            let mark = &mut self.programmed[at / UNIT_LEN];
            let again = self
                .traceless
                .is_some_and(|(place, tried)| place == at && tried == unit);
            assert!(
                *mark == 0 || again,
                "a unit is programmed twice, or without a whole erase"
            );
            *mark = 1;
            self.traceless = None;
            let done = (at..).zip(unit).try_for_each(|(at, &byte)| self.change(at, byte));
            if done.is_err() && self.cells[at..at + UNIT_LEN] == [0xff; UNIT_LEN] {
                self.traceless = unit.try_into().ok().map(|tried| (at, tried));
            }
            done?;
        }
        Ok(())
    }
}
