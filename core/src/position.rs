//! Where a record stands, as a value that outlives the open log.

use crate::frame;
use crate::geometry::SegmentId;
use crate::wire;

/// Where a record stands: plain data, valid after reopening. One of another log, or of a record that was deleted or
/// reclaimed, is refused; it never leads to other bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Position {
    pub(crate) segment: u64,
    pub(crate) offset: u32,
    pub(crate) record: u32,
    /// The checksum of the frame's header, which binds it to its log.
    pub(crate) check: u32,
}

impl Position {
    /// Bytes of a stored position.
    pub const LEN: usize = 20;

    #[cfg_attr(feature = "alloc", inline)]
    pub(crate) fn of(segment: SegmentId, offset: u32, header: &[u8; frame::HEADER_LEN]) -> Self {
        Self {
            segment: segment.0,
            offset,
            record: 0,
            check: wire::u32_at(header, 20..24).unwrap_or_default(),
        }
    }

    /// The segment it stands in.
    #[must_use]
    pub const fn segment(&self) -> SegmentId {
        SegmentId(self.segment)
    }

    /// Where its frame starts, in bytes from the start of the segment.
    #[must_use]
    pub const fn offset(&self) -> u32 {
        self.offset
    }

    /// Which record of the frame it is, from 0.
    #[must_use]
    pub const fn record(&self) -> u32 {
        self.record
    }

    /// The `n`-th record behind this one in the same batch.
    #[must_use]
    pub const fn plus(self, n: u32) -> Self {
        Self {
            record: self.record.saturating_add(n),
            ..self
        }
    }

    /// The position as bytes, for storing.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        wire::put(&mut out, 0..8, &self.segment.to_le_bytes());
        wire::put(&mut out, 8..12, &self.offset.to_le_bytes());
        wire::put(&mut out, 12..16, &self.record.to_le_bytes());
        wire::put(&mut out, 16..20, &self.check.to_le_bytes());
        out
    }

    /// The position that was stored. Any bytes are taken; a wrong one is refused when it is read.
    #[must_use]
    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        let word = |range| wire::u32_at(&bytes, range).unwrap_or_default();
        Self {
            segment: wire::u64_at(&bytes, 0..8).unwrap_or_default(),
            offset: word(8..12),
            record: word(12..16),
            check: word(16..20),
        }
    }

    /// Whether `header`, read at its place, is the one it was made from.
    pub(crate) fn matches(&self, header: &[u8]) -> bool {
        wire::u32_at(header, 20..24) == Some(self.check)
    }
}
