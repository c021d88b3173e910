//! What a storage is made of, in numbers: the one place where a geometry is judged.

use core::fmt;

use crate::segment::layout;

/// The identity of a segment within its region. Ids rise along the log and are never used twice
/// for segments that held data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SegmentId(pub u64);

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Every byte of `segment` before `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Mark {
    /// The segment meant.
    pub segment: SegmentId,
    /// Bytes from the start of the segment.
    pub end: u32,
}

/// Sizes and habits of a medium. Stored in every segment header and compared when a region is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Geometry {
    segment_len: u32,
    write_unit: u16,
    sync_unit: u32,
    page_len: u32,
    erased: Option<u8>,
}

impl Geometry {
    /// Of nothing: stands where the geometry is not known yet.
    pub(crate) const NONE: Self = Self {
        segment_len: 0,
        write_unit: 1,
        sync_unit: 1,
        page_len: 1,
        erased: None,
    };

    /// A geometry with segments of `segment_len` bytes on a medium that takes single bytes, never
    /// disturbs what is already durable, and whose new segments read as zero: files on Linux.
    ///
    /// # Errors
    /// As [`Geometry::with_write_unit`].
    pub const fn new(segment_len: u32) -> Result<Self, GeometryError> {
        Self::from_parts(segment_len, 1, 1, 1, Some(0))
    }

    /// All of it at once, judged.
    pub(crate) const fn from_parts(
        segment_len: u32,
        write_unit: u16,
        sync_unit: u32,
        page_len: u32,
        erased: Option<u8>,
    ) -> Result<Self, GeometryError> {
        let geometry = Self {
            segment_len,
            write_unit,
            sync_unit,
            page_len,
            erased,
        };
        geometry.checked()
    }

    /// Writes start at and span multiples of `write_unit` bytes. Between `create` and `remove` the log
    /// writes no unit twice, unless the medium has no erased state.
    ///
    /// # Errors
    /// [`GeometryError::WriteUnit`] unless a power of two in 1..=4096; [`GeometryError::SyncUnit`] where it does not
    /// divide the sync unit; [`GeometryError::SegmentTooSmall`].
    pub const fn with_write_unit(mut self, write_unit: u16) -> Result<Self, GeometryError> {
        self.write_unit = write_unit;
        if self.page_len < write_unit as u32 {
            self.page_len = write_unit as u32;
        }
        self.checked()
    }

    /// Power lost during a write may tear every byte of the `sync_unit`-byte blocks it touches, older
    /// bytes included, so the log pads to such a block before each sync. 1: older bytes are never harmed.
    ///
    /// # Errors
    /// [`GeometryError::SyncUnit`] unless 1 or a power of two in 128..=65536 that `write_unit` divides;
    /// [`GeometryError::SegmentTooSmall`].
    pub const fn with_sync_unit(mut self, sync_unit: u32) -> Result<Self, GeometryError> {
        self.sync_unit = sync_unit;
        self.checked()
    }

    /// What a byte of a new segment reads as; `None` where stale bytes shine through (EEPROM, FRAM).
    /// Without an erased state units may be written again.
    ///
    /// # Errors
    /// [`GeometryError::SegmentTooSmall`].
    pub const fn with_erased(mut self, erased: Option<u8>) -> Result<Self, GeometryError> {
        self.erased = erased;
        self.checked()
    }

    /// An interrupted program may leave the aligned block of `page_len` bytes behind the last bytes that
    /// read as written disturbed although it still reads as erased; after an unclean end the log skips it.
    /// 1 (or the write unit): there is no such block, as on files.
    ///
    /// # Errors
    /// [`GeometryError::PageLen`] unless the write unit, or a power of two above it and at most an eighth of
    /// the segment; [`GeometryError::SegmentTooSmall`].
    pub const fn with_page_len(mut self, page_len: u32) -> Result<Self, GeometryError> {
        self.page_len = page_len;
        self.checked()
    }

    const fn checked(self) -> Result<Self, GeometryError> {
        let (write_unit, sync_unit, page_len) = (self.write_unit, self.sync_unit, self.page_len);
        if let Err(error) = check_units(write_unit, sync_unit) {
            return Err(error);
        }
        let programmable =
            page_len.is_power_of_two() && page_len > write_unit as u32 && page_len <= self.segment_len / 8;
        if page_len != write_unit as u32 && !programmable {
            return Err(GeometryError::PageLen { page_len });
        }
        let min = layout::min_segment_len(self.write_unit, self.sync_unit);
        if self.segment_len < min {
            return Err(GeometryError::SegmentTooSmall {
                segment_len: self.segment_len,
                min,
            });
        }
        if self.segment_len > layout::MAX_SEGMENT_LEN {
            return Err(GeometryError::SegmentTooLarge {
                segment_len: self.segment_len,
                max: layout::MAX_SEGMENT_LEN,
            });
        }
        let step = layout::align_up(8, if sync_unit > 1 { sync_unit } else { write_unit as u32 });
        if self.segment_len & (step - 1) != 0 {
            return Err(GeometryError::Unaligned {
                segment_len: self.segment_len,
                step,
            });
        }
        Ok(self)
    }

    /// Bytes of one segment.
    #[must_use]
    #[cfg_attr(feature = "alloc", inline)]
    pub const fn segment_len(self) -> u32 {
        self.segment_len
    }

    /// Bytes that a write starts at and spans multiples of.
    #[must_use]
    pub const fn write_unit(self) -> u32 {
        self.write_unit as u32
    }

    /// Bytes of a block that a later write may tear as a whole; 1 for none.
    #[must_use]
    pub const fn sync_unit(self) -> u32 {
        self.sync_unit
    }

    /// Bytes of a block that an interrupted program may disturb invisibly.
    #[must_use]
    pub const fn page_len(self) -> u32 {
        self.page_len
    }

    /// What a byte of a new segment reads as, if that is known.
    #[must_use]
    pub const fn erased(self) -> Option<u8> {
        self.erased
    }
}

/// Whether lengths can be computed from these units at all.
pub(crate) const fn check_units(write_unit: u16, sync_unit: u32) -> Result<(), GeometryError> {
    if !write_unit.is_power_of_two() || write_unit > 4096 {
        return Err(GeometryError::WriteUnit { write_unit });
    }
    let writable = sync_unit.is_power_of_two() && sync_unit >= 128 && sync_unit <= 65536;
    if sync_unit != 1 && (!writable || sync_unit < write_unit as u32) {
        return Err(GeometryError::SyncUnit { sync_unit });
    }
    Ok(())
}

impl fmt::Display for Geometry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "segments of {} bytes", self.segment_len)?;
        write!(
            f,
            ", write unit {}, sync unit {}, page {}",
            self.write_unit, self.sync_unit, self.page_len
        )?;
        match self.erased {
            Some(byte) => write!(f, ", erased to {byte:#04x}"),
            None => f.write_str(", no erased state"),
        }
    }
}

/// Why a geometry cannot work. Lengths are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum GeometryError {
    /// The write unit is not a power of two in 1..=4096.
    WriteUnit {
        /// What was asked for.
        write_unit: u16,
    },
    /// The sync unit is neither 1 nor a power of two in 128..=65536 of at least the write unit.
    SyncUnit {
        /// What was asked for.
        sync_unit: u32,
    },
    /// The page is not a power of two between the write unit and an eighth of the segment.
    PageLen {
        /// What was asked for.
        page_len: u32,
    },
    /// The segment has no room for its header, manifest, reserve and one record.
    SegmentTooSmall {
        /// What was asked for.
        segment_len: u32,
        /// The least that works with these units.
        min: u32,
    },
    /// Offsets would not fit.
    SegmentTooLarge {
        /// What was asked for.
        segment_len: u32,
        /// The most that works.
        max: u32,
    },
    /// The segment is not a multiple of the unit that frames are laid on.
    Unaligned {
        /// What was asked for.
        segment_len: u32,
        /// The segment length must be a multiple of this.
        step: u32,
    },
}

impl fmt::Display for GeometryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::WriteUnit { write_unit } => {
                write!(f, "write unit of {write_unit} bytes is not a power of two in 1..=4096")
            }
            Self::SyncUnit { sync_unit } => write!(
                f,
                "sync unit of {sync_unit} bytes is neither 1 nor a power of two in 128..=65536 of at least the write unit"
            ),
            Self::PageLen { page_len } => write!(
                f,
                "page of {page_len} bytes is not a power of two between the write unit and an eighth of the segment"
            ),
            Self::SegmentTooSmall { segment_len, min } => {
                write!(
                    f,
                    "segment of {segment_len} bytes is smaller than the {min} bytes its reserve needs"
                )
            }
            Self::SegmentTooLarge { segment_len, max } => {
                write!(f, "segment of {segment_len} bytes is larger than {max} bytes")
            }
            Self::Unaligned { segment_len, step } => {
                write!(f, "segment of {segment_len} bytes is not a multiple of {step} bytes")
            }
        }
    }
}

impl core::error::Error for GeometryError {}

#[cfg(test)]
mod tests {
    use super::{Geometry, SegmentId};
    use crate::checksum::Checksum;
    use crate::segment::header::Header;

    /// A write unit above the limit of pages, and a sync unit set before a larger write unit, once gave
    /// geometries whose own segment headers did not decode.
    #[test]
    fn every_geometry_that_is_accepted_is_read_back_from_a_header() {
        let mut accepted = 0;
        let units = || (0..=12).map(|shift| 1u16 << shift);
        for len in [1024, 2048, 4096, 5120, 40960, 65536, 1 << 20] {
            let Ok(plain) = Geometry::new(len) else { continue };
            for sync_unit in [1, 128, 512, 4096, 65536] {
                for write_unit in units() {
                    for page_len in units().map(u32::from) {
                        let made = plain
                            .with_sync_unit(sync_unit)
                            .and_then(|geometry| geometry.with_write_unit(write_unit));
                        let Ok(made) = made else { continue };
                        let geometry = made.with_page_len(page_len).unwrap_or(made);
                        accepted += 1;
                        let header = Header {
                            geometry,
                            region: 1,
                            segment: SegmentId(1),
                            salt: 3,
                        };
                        let encoded = header.encode(Checksum::BYTEWISE);
                        assert_eq!(Header::decode(&encoded, Checksum::BYTEWISE), Ok(header));
                    }
                }
            }
        }
        assert!(accepted > 1000, "{accepted}");
    }
}
