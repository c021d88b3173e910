//! A flash-like device: one array of bytes, cut into slots that are erased whole and programmed once.
//!
//! Knows of a segment only what its header says, so everything is found again after a restart. A slot that
//! is neither blank nor begins with a header that parses is unreadable.

use core::ops::ControlFlow;
use core::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use walstone_core::ram::RamError;
use walstone_core::segment::layout::HEADER_LEN;
use walstone_core::{Found, Storage};
use walstone_core::{Geometry, Mark, SegmentId};

use super::{SimError, gathered};

/// The device alone: what is left when the program that used it is gone. Clones are the same device.
#[derive(Clone, Debug)]
pub struct SlotMedium {
    flash: Arc<Mutex<Flash>>,
}

#[derive(Debug)]
struct Flash {
    bytes: Vec<u8>,
    /// One per write unit, since the last erase of its slot.
    programmed: Vec<bool>,
    geometry: Geometry,
    erased: u8,
    erase_counts: Vec<u64>,
    /// Programs of a unit and halves of an erase that still succeed, if power is to fail.
    steps_left: Option<u64>,
    off: bool,
}

impl SlotMedium {
    /// A blank device with `slot_count` slots of one segment each.
    ///
    /// # Panics
    /// Where the geometry has no erased state: such a device cannot tell a blank slot.
    #[must_use]
    pub fn new(geometry: Geometry, slot_count: u32) -> Self {
        let erased = geometry.erased().expect("a flash device has an erased state");
        let len = geometry.segment_len() as usize * slot_count as usize;
        Self {
            flash: Arc::new(Mutex::new(Flash {
                bytes: vec![erased; len],
                programmed: vec![false; len / geometry.write_unit() as usize],
                geometry,
                erased,
                erase_counts: vec![0; slot_count as usize],
                steps_left: None,
                off: false,
            })),
        }
    }

    fn flash(&self) -> MutexGuard<'_, Flash> {
        self.flash.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `steps` more steps succeed; the next one is done half and ends everything until
    /// [`SlotMedium::restore_power`]. A step is the program of one unit or half an erase.
    pub fn cut_power_after(&self, steps: u64) {
        self.flash().steps_left = Some(steps);
    }

    /// Makes the device answer again, with what it holds.
    pub fn restore_power(&self) {
        let mut flash = self.flash();
        flash.steps_left = None;
        flash.off = false;
    }

    /// A copy of the whole device.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.flash().bytes.clone()
    }

    /// Changes bytes behind the back of the storage.
    pub fn damage(&self, change: impl FnOnce(&mut [u8])) {
        change(&mut self.flash().bytes);
    }

    /// How often each slot was erased.
    #[must_use]
    pub fn erase_counts(&self) -> Vec<u64> {
        self.flash().erase_counts.clone()
    }
}

impl Flash {
    fn slot_count(&self) -> u32 {
        self.erase_counts.len() as u32
    }

    fn range(&self, slot: u32) -> Range<usize> {
        let len = self.geometry.segment_len() as usize;
        slot as usize * len..(slot as usize + 1) * len
    }

    fn is_blank(&self, slot: u32) -> bool {
        self.bytes[self.range(slot)].iter().all(|&byte| byte == self.erased)
    }

    /// Counts one step; false if power fails within it.
    fn step(&mut self) -> Result<bool, SimError> {
        match &mut self.steps_left {
            _ if self.off => Err(SimError::Crashed),
            Some(0) => {
                self.off = true;
                Ok(false)
            }
            Some(steps) => {
                *steps -= 1;
                Ok(true)
            }
            None => Ok(true),
        }
    }

    fn erase(&mut self, slot: u32) -> Result<(), SimError> {
        let whole = self.range(slot);
        let unit = self.geometry.write_unit() as usize;
        let middle = whole.start + (whole.len() / 2).next_multiple_of(unit);
        self.erase_counts[slot as usize] += 1;
        for half in [whole.start..middle, middle..whole.end] {
            let done = self.step()?;
            // Power lost within an erase leaves cells of every kind; every other byte shows that.
            let stride = if done { 1 } else { 2 };
            self.bytes[half.clone()]
                .iter_mut()
                .step_by(stride)
                .for_each(|byte| *byte = self.erased);
            if !done {
                return Err(SimError::Crashed);
            }
            self.programmed[half.start / unit..half.end / unit].fill(false);
        }
        Ok(())
    }

    fn program(&mut self, slot: u32, segment: SegmentId, offset: u32, bytes: &[u8]) -> Result<(), SimError> {
        let unit = self.geometry.write_unit() as usize;
        let start = self.range(slot).start + offset as usize;
        for (index, new) in bytes.chunks_exact(unit).enumerate() {
            let at = start + index * unit;
            let done = self.step()?;
            if std::mem::replace(&mut self.programmed[at / unit], true) {
                let offset = offset + (index * unit) as u32;
                return Err(RamError::Overwritten { segment, offset }.into());
            }
            let len = if done { unit } else { unit / 2 };
            self.bytes[at..at + len].copy_from_slice(&new[..len]);
            if !done {
                return Err(SimError::Crashed);
            }
        }
        Ok(())
    }
}

/// A storage on a [`SlotMedium`]. Reads copy.
#[derive(Clone, Debug)]
pub struct SlotStorage {
    medium: SlotMedium,
    geometry: Geometry,
    parse: fn(&[u8]) -> Option<SegmentId>,
}

impl SlotStorage {
    /// Opens a device. `parse` gets the first 64 bytes of a slot and names the segment whose header they are.
    #[must_use]
    pub fn open(medium: &SlotMedium, parse: fn(&[u8]) -> Option<SegmentId>) -> Self {
        let geometry = medium.flash().geometry;
        Self {
            medium: medium.clone(),
            geometry,
            parse,
        }
    }

    /// The device, to be opened again.
    #[must_use]
    pub fn medium(&self) -> SlotMedium {
        self.medium.clone()
    }

    /// The segment of a slot, if its header parses.
    fn segment_in(&self, flash: &Flash, slot: u32) -> Option<SegmentId> {
        let start = flash.range(slot).start;
        (self.parse)(&flash.bytes[start..start + HEADER_LEN as usize])
    }

    fn powered(&self) -> Result<MutexGuard<'_, Flash>, SimError> {
        let flash = self.medium.flash();
        if flash.off { Err(SimError::Crashed) } else { Ok(flash) }
    }

    fn find(&self, flash: &Flash, id: SegmentId) -> Result<u32, SimError> {
        (0..flash.slot_count())
            .find(|&slot| self.segment_in(flash, slot) == Some(id))
            .ok_or(SimError::Rule(RamError::NotFound { segment: id }))
    }

    fn check_range(&self, offset: u32, len: u64) -> Result<(), SimError> {
        let segment_len = self.geometry.segment_len();
        if u64::from(offset) + len > u64::from(segment_len) {
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

    fn check_mark(&self, to: Mark) -> Result<(), SimError> {
        let flash = self.powered()?;
        self.find(&flash, to.segment)?;
        self.check_range(to.end, 0)
    }
}

impl Storage for SlotStorage {
    type Error = SimError;

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn segments(&mut self, visit: &mut dyn FnMut(Found) -> ControlFlow<()>) -> Result<(), SimError> {
        let flash = self.powered()?;
        for slot in 0..flash.slot_count() {
            let found = match self.segment_in(&flash, slot) {
                Some(id) => Found::Segment(id),
                None if flash.is_blank(slot) => continue,
                None => Found::Unreadable { slot },
            };
            if visit(found).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn create(&mut self, id: SegmentId, header: &[u8]) -> Result<(), SimError> {
        let mut flash = self.powered()?;
        if self.find(&flash, id).is_ok() {
            return Err(RamError::Exists { segment: id }.into());
        }
        let bytes = gathered(&[header], self.geometry.write_unit());
        self.check_range(0, bytes.len() as u64)?;
        let blank = (0..flash.slot_count()).filter(|&slot| flash.is_blank(slot));
        // The least worn, so that tests meet slots in an order other than that of the ids.
        let Some(slot) = blank.min_by_key(|&slot| flash.erase_counts[slot as usize]) else {
            return Err(SimError::Full);
        };
        flash.erase(slot)?;
        flash.program(slot, id, 0, &bytes)
    }

    fn claim(&mut self, id: SegmentId, end: u32) -> Result<(), SimError> {
        self.check_mark(Mark { segment: id, end })
    }

    fn extent(&mut self, id: SegmentId) -> Result<u32, SimError> {
        // Programmed cells can hold the erased value, so the device cannot tell.
        let flash = self.powered()?;
        self.find(&flash, id)?;
        Ok(self.geometry.segment_len())
    }

    fn read<'a>(&'a mut self, id: SegmentId, offset: u32, len: u32, buf: &'a mut [u8]) -> Result<&'a [u8], SimError> {
        let flash = self.powered()?;
        let slot = self.find(&flash, id)?;
        self.check_range(offset, u64::from(len))?;
        let len = buf.len().min(len as usize);
        let start = flash.range(slot).start + offset as usize;
        let filled = &mut buf[..len];
        filled.copy_from_slice(&flash.bytes[start..start + len]);
        Ok(filled)
    }

    fn write(&mut self, id: SegmentId, offset: u32, parts: &[&[u8]]) -> Result<(), SimError> {
        let unit = self.geometry.write_unit();
        let mut flash = self.powered()?;
        let slot = self.find(&flash, id)?;
        if !offset.is_multiple_of(unit) {
            return Err(RamError::Unaligned { offset, unit }.into());
        }
        let bytes = gathered(parts, unit);
        self.check_range(offset, bytes.len() as u64)?;
        flash.program(slot, id, offset, &bytes)
    }

    fn hand_over(&mut self, to: Mark) -> Result<(), SimError> {
        self.check_mark(to)
    }

    fn sync(&mut self, to: Mark) -> Result<(), SimError> {
        self.check_mark(to)
    }

    fn settle(&mut self, id: SegmentId, _from: u32, to: u32) -> Result<(), SimError> {
        self.check_mark(Mark { segment: id, end: to })
    }

    fn remove(&mut self, id: SegmentId) -> Result<(), SimError> {
        let mut flash = self.powered()?;
        let slot = self.find(&flash, id)?;
        flash.erase(slot)
    }

    fn release(&mut self, slot: u32) -> Result<(), SimError> {
        let mut flash = self.powered()?;
        let known = slot < flash.slot_count();
        if !known || flash.is_blank(slot) || self.segment_in(&flash, slot).is_some() {
            return Err(RamError::NoSlot { slot }.into());
        }
        flash.erase(slot)
    }
}
