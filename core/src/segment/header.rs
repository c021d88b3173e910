//! The first 64 bytes of a segment: everything known before a segment is used. Durable before the segment's
//! name is, so a bad header under a final name is always damage.

use core::fmt;

use crate::checksum::Checksum;
use crate::frame::Binding;
use crate::geometry::{Geometry, GeometryError, SegmentId};
use crate::mutation::{self, Mutation};
use crate::segment::layout;
use crate::wire;

/// The first eight bytes of every segment.
pub const MAGIC: [u8; 8] = *b"WALSTONE";
/// The version of the format that this crate writes.
pub const VERSION: u16 = 1;
/// Bytes of a segment header.
pub const HEADER_LEN: usize = layout::HEADER_LEN as usize;

/// How a HoraeDB segment starts: its version byte and its magic.
const VERSION_0_START: [u8; 11] = *b"\0HoraeDBWAL";

mod field {
    use core::ops::Range;

    pub(super) const MAGIC: Range<usize> = 0..8;
    pub(super) const VERSION: Range<usize> = 8..10;
    pub(super) const WRITE_UNIT: Range<usize> = 10..12;
    pub(super) const SEGMENT_LEN: Range<usize> = 12..16;
    pub(super) const SYNC_UNIT: Range<usize> = 16..20;
    pub(super) const PAGE_LEN: Range<usize> = 20..24;
    pub(super) const SALT: Range<usize> = 24..32;
    pub(super) const REGION: Range<usize> = 32..40;
    pub(super) const SEGMENT: Range<usize> = 40..48;
    pub(super) const ERASED: Range<usize> = 48..50;
    pub(super) const ZERO: Range<usize> = 50..60;
    pub(super) const CRC: Range<usize> = 60..64;
    pub(super) const COVERED: Range<usize> = 0..60;
}

/// No byte value: the medium has no erased state.
const NOT_ERASED: u16 = 0x0100;

/// A segment header, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Header {
    /// The geometry under which the segment was made.
    pub geometry: Geometry,
    /// The region it belongs to.
    pub region: u64,
    /// Its own identity.
    pub segment: SegmentId,
    /// Drawn afresh for each created segment; taken in by every checksum of the segment.
    pub salt: u64,
}

/// Why bytes are not a segment header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum HeaderError {
    /// Fewer than 64 bytes.
    Short,
    /// The magic differs: not a Walstone segment.
    Magic,
    /// A HoraeDB segment, which is to be imported.
    Version0,
    /// A version that this crate does not know.
    Version(u16),
    /// The checksum does not verify.
    Checksum,
    /// A reserved byte is set, or a field holds what no writer puts there.
    Reserved,
    /// The geometry in it cannot work.
    Geometry(GeometryError),
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("segment header is cut short"),
            Self::Magic => f.write_str("not a Walstone segment"),
            Self::Version0 => f.write_str("a version 0 segment, which is to be imported"),
            Self::Version(version) => write!(f, "unknown format version {version}"),
            Self::Checksum => f.write_str("segment header does not verify"),
            Self::Reserved => f.write_str("segment header uses a reserved field"),
            Self::Geometry(error) => write!(f, "segment header holds an impossible geometry: {error}"),
        }
    }
}

impl core::error::Error for HeaderError {}

impl Header {
    /// The bytes of this header.
    #[must_use]
    pub fn encode(&self, checksum: Checksum) -> [u8; HEADER_LEN] {
        let mut out = [0u8; HEADER_LEN];
        let geometry = self.geometry;
        wire::put(&mut out, field::MAGIC, &MAGIC);
        wire::put(&mut out, field::VERSION, &VERSION.to_le_bytes());
        wire::put(
            &mut out,
            field::WRITE_UNIT,
            &(geometry.write_unit() as u16).to_le_bytes(),
        );
        wire::put(&mut out, field::SEGMENT_LEN, &geometry.segment_len().to_le_bytes());
        wire::put(&mut out, field::SYNC_UNIT, &geometry.sync_unit().to_le_bytes());
        wire::put(&mut out, field::PAGE_LEN, &geometry.page_len().to_le_bytes());
        wire::put(&mut out, field::SALT, &self.salt.to_le_bytes());
        wire::put(&mut out, field::REGION, &self.region.to_le_bytes());
        wire::put(&mut out, field::SEGMENT, &self.segment.0.to_le_bytes());
        let erased = geometry.erased().map_or(NOT_ERASED, u16::from);
        wire::put(&mut out, field::ERASED, &erased.to_le_bytes());
        let crc = checksum.of(out.get(field::COVERED).unwrap_or_default());
        wire::put(&mut out, field::CRC, &crc.to_le_bytes());
        out
    }

    /// The header at the start of `bytes`.
    ///
    /// # Errors
    /// [`HeaderError`] says what is wrong with it.
    pub fn decode(bytes: &[u8], checksum: Checksum) -> Result<Self, HeaderError> {
        if bytes.starts_with(&VERSION_0_START) {
            return Err(HeaderError::Version0);
        }
        let bytes = bytes.get(..HEADER_LEN).ok_or(HeaderError::Short)?;
        if !bytes.starts_with(&MAGIC) {
            return Err(HeaderError::Magic);
        }
        let half = |range| wire::u16_at(bytes, range).unwrap_or_default();
        let word = |range| wire::u32_at(bytes, range).unwrap_or_default();
        let long = |range| wire::u64_at(bytes, range).unwrap_or_default();
        if checksum.of(bytes.get(field::COVERED).unwrap_or_default()) != word(field::CRC) {
            return Err(HeaderError::Checksum);
        }
        if half(field::VERSION) != VERSION {
            return Err(HeaderError::Version(half(field::VERSION)));
        }
        if bytes.get(field::ZERO).unwrap_or_default().iter().any(|&byte| byte != 0) {
            return Err(HeaderError::Reserved);
        }
        let erased = match half(field::ERASED) {
            NOT_ERASED => None,
            value => Some(u8::try_from(value).map_err(|_| HeaderError::Reserved)?),
        };
        let geometry = Geometry::from_parts(
            word(field::SEGMENT_LEN),
            half(field::WRITE_UNIT),
            word(field::SYNC_UNIT),
            word(field::PAGE_LEN),
            erased,
        )
        .map_err(HeaderError::Geometry)?;
        Ok(Self {
            geometry,
            region: long(field::REGION),
            segment: SegmentId(long(field::SEGMENT)),
            salt: long(field::SALT),
        })
    }

    /// What ties the frames of this segment to it: every frame's checksum takes in salt, region and id first.
    #[must_use]
    pub fn binding(&self, checksum: Checksum) -> Binding {
        let mut bound = [0; 24];
        wire::put(&mut bound, 0..8, &self.salt.to_le_bytes());
        wire::put(&mut bound, 8..16, &self.region.to_le_bytes());
        wire::put(&mut bound, 16..24, &self.segment.0.to_le_bytes());
        let from = if mutation::is(Mutation::ChecksumWithoutSalt) {
            8
        } else {
            0
        };
        Binding::new(checksum, checksum.of(bound.get(from..).unwrap_or_default()))
    }
}
