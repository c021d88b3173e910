//! How a device is cut into slots: the one place where that is judged.

use core::fmt;

use crate::geometry::{self, Geometry, GeometryError};
use crate::segment::layout::{self, Layout};

/// Sizes and habits of a device, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct DeviceGeometry {
    len: u32,
    write_unit: u16,
    sync_unit: u32,
    page_len: u32,
    /// 0: there is no erase.
    erase_unit: u32,
    erased: u8,
}

impl DeviceGeometry {
    /// Flash: programmed in units of `write_unit`, once after each erase, erased in blocks of `erase_unit` to `0xff`.
    #[must_use]
    pub const fn flash(len: u32, write_unit: u16, erase_unit: u32) -> Self {
        Self {
            len,
            write_unit,
            sync_unit: 1,
            page_len: write_unit as u32,
            erase_unit,
            erased: 0xff,
        }
    }

    /// Bytes that are written in place: EEPROM, FRAM, battery-backed RAM, an SD card, a file.
    #[must_use]
    pub const fn without_erase(len: u32) -> Self {
        Self {
            len,
            write_unit: 1,
            sync_unit: 1,
            page_len: 1,
            erase_unit: 0,
            erased: 0,
        }
    }

    /// A device of `len` bytes that holds segments of this geometry, and the length of its slots. Enough to read a copy of
    /// it: what an erase covered is not stored and taken for a slot.
    #[must_use]
    pub const fn of_segments(segment: Geometry, len: u32) -> (Self, u32) {
        let mut device = Self::without_erase(len)
            .with_write_unit(segment.write_unit() as u16)
            .with_sync_unit(segment.sync_unit())
            .with_page_len(segment.page_len());
        let slot_len = segment.segment_len() + layout::align_up(layout::HEADER_LEN, device.unit());
        if let Some(erased) = segment.erased() {
            device.erase_unit = slot_len;
            device.erased = erased;
        }
        (device, slot_len)
    }

    /// Writes start at and span multiples of `write_unit` bytes: a power of two in 1..=4096.
    #[must_use]
    pub const fn with_write_unit(mut self, write_unit: u16) -> Self {
        self.write_unit = write_unit;
        if self.page_len < write_unit as u32 {
            self.page_len = write_unit as u32;
        }
        self
    }

    /// As [`Geometry::with_sync_unit`]: the sector of an SD card or a disk.
    #[must_use]
    pub const fn with_sync_unit(mut self, sync_unit: u32) -> Self {
        self.sync_unit = sync_unit;
        self
    }

    /// As [`Geometry::with_page_len`]: the program page of a flash chip.
    #[must_use]
    pub const fn with_page_len(mut self, page_len: u32) -> Self {
        self.page_len = page_len;
        self
    }

    /// What a byte reads as after an erase.
    #[must_use]
    pub const fn with_erased(mut self, erased: u8) -> Self {
        self.erased = erased;
        self
    }

    /// Bytes of the device.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Whether the device has no bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that a write starts at and spans multiples of.
    #[must_use]
    pub const fn write_unit(&self) -> u16 {
        self.write_unit
    }

    /// Bytes of a block that a later write may tear as a whole; 1 for none.
    #[must_use]
    pub const fn sync_unit(&self) -> u32 {
        self.sync_unit
    }

    /// Bytes of a block that is erased as a whole; `None`: there is no erase.
    #[must_use]
    pub const fn erase_unit(&self) -> Option<u32> {
        match self.erase_unit {
            0 => None,
            unit => Some(unit),
        }
    }

    /// What a byte reads as after an erase, if there is one.
    #[must_use]
    pub const fn erased(&self) -> Option<u8> {
        match self.erase_unit {
            0 => None,
            _ => Some(self.erased),
        }
    }

    /// Slots start at multiples of this.
    #[must_use]
    pub const fn slot_step(&self) -> u32 {
        if self.erase_unit > 0 {
            self.erase_unit
        } else {
            self.unit()
        }
    }

    /// What frames are laid on, and headers apart.
    const fn unit(&self) -> u32 {
        let unit = if self.sync_unit > self.write_unit as u32 {
            self.sync_unit
        } else {
            self.write_unit as u32
        };
        if unit < 8 { 8 } else { unit }
    }
}

/// A device cut into slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct FlatGeometry {
    segment: Geometry,
    slot_len: u32,
    slot_count: u32,
}

/// Slots that a log cannot do without: one to append to, and two to go on in.
const MIN_SLOTS: u32 = 3;

impl FlatGeometry {
    /// Slots of `slot_len` bytes, as many as the device holds.
    ///
    /// # Errors
    /// [`FlatGeometryError`] says what cannot work.
    pub const fn new(device: DeviceGeometry, slot_len: u32) -> Result<Self, FlatGeometryError> {
        let write_unit = device.write_unit;
        if let Err(error) = geometry::check_units(write_unit, device.sync_unit) {
            return Err(FlatGeometryError::Segment(error));
        }
        let unit = device.unit();
        let erase_unit = device.erase_unit;
        if erase_unit > 0 && !erase_unit.is_multiple_of(unit) {
            return Err(FlatGeometryError::EraseUnit { erase_unit, unit });
        }
        let step = device.slot_step();
        if slot_len == 0 || !slot_len.is_multiple_of(step) || !slot_len.is_multiple_of(device.page_len) {
            return Err(FlatGeometryError::SlotUnaligned { slot_len, step });
        }
        let copy_len = layout::HEADER_LEN.next_multiple_of(unit);
        let min = layout::min_segment_len(write_unit, device.sync_unit);
        if slot_len < min || slot_len - min < copy_len {
            return Err(FlatGeometryError::SlotTooSmall {
                slot_len,
                min: min + copy_len,
            });
        }
        let slots = device.len / slot_len;
        if slots < MIN_SLOTS {
            return Err(FlatGeometryError::TooFewSlots { slots, min: MIN_SLOTS });
        }
        let segment_len = slot_len - copy_len;
        let erased = device.erased();
        // Bytes that are programmed one by one can be interrupted without a trace as well.
        let page_len = if erase_unit > 0 && device.page_len == 1 {
            2
        } else {
            device.page_len
        };
        match Geometry::from_parts(segment_len, write_unit, device.sync_unit, page_len, erased) {
            Ok(segment) => Ok(Self {
                segment,
                slot_len,
                slot_count: slots,
            }),
            Err(error) => Err(FlatGeometryError::Segment(error)),
        }
    }

    /// The geometry of one segment.
    #[must_use]
    pub const fn segment(&self) -> Geometry {
        self.segment
    }

    /// Bytes from one slot to the next.
    #[must_use]
    pub const fn slot_len(&self) -> u32 {
        self.slot_len
    }

    /// How many slots there are.
    #[must_use]
    pub const fn slot_count(&self) -> u32 {
        self.slot_count
    }

    /// Only what is erased has an erased value.
    pub(crate) const fn has_erase(&self) -> bool {
        self.segment.erased().is_some()
    }

    /// Bytes that the second copy of a header takes.
    pub(crate) const fn copy_len(&self) -> u32 {
        self.slot_len - self.segment.segment_len()
    }

    /// Whether a copy of a header stands at `at` of the device.
    pub(crate) const fn is_header_at(&self, at: u32) -> bool {
        let (Some(in_slot), Some(slot)) = (at.checked_rem(self.slot_len), at.checked_div(self.slot_len)) else {
            return false;
        };
        (in_slot == 0 || in_slot == self.segment.segment_len()) && slot < self.slot_count
    }

    pub(crate) const fn frames_start(&self) -> u32 {
        Layout::new(self.segment).frames_start()
    }
}

/// Why a device cannot be cut like that. Lengths are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum FlatGeometryError {
    /// No segment can have these units.
    Segment(GeometryError),
    /// An erase block is not made of whole units.
    EraseUnit {
        /// What an erase covers.
        erase_unit: u32,
        /// It must be a multiple of this.
        unit: u32,
    },
    /// A slot does not consist of whole erase blocks, pages or units.
    SlotUnaligned {
        /// What was asked for.
        slot_len: u32,
        /// It must be a multiple of this, and of the page.
        step: u32,
    },
    /// A slot has no room for its headers, manifest, reserve and one record.
    SlotTooSmall {
        /// What was asked for.
        slot_len: u32,
        /// The least that works with these units.
        min: u32,
    },
    /// The device holds too few slots to ever go on from one to the next.
    TooFewSlots {
        /// How many it holds.
        slots: u32,
        /// The least that works.
        min: u32,
    },
}

impl fmt::Display for FlatGeometryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Segment(error) => error.fmt(f),
            Self::EraseUnit { erase_unit, unit } => {
                write!(f, "erase block of {erase_unit} bytes is not a multiple of {unit} bytes")
            }
            Self::SlotUnaligned { slot_len, step } => {
                write!(
                    f,
                    "slot of {slot_len} bytes is not a multiple of {step} bytes and of the page"
                )
            }
            Self::SlotTooSmall { slot_len, min } => {
                write!(f, "slot of {slot_len} bytes is smaller than the {min} bytes it needs")
            }
            Self::TooFewSlots { slots, min } => write!(f, "{slots} slots on the device, at least {min} are needed"),
        }
    }
}

impl core::error::Error for FlatGeometryError {}
