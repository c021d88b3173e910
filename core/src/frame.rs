//! Frames: the 24-byte header that stands in front of every payload, and what binds it to its place.
//! Knows nothing of storage.
//!
//! ```text
//! 0 kind  1 flags  2 incarnation (low 16 bits)  4 payload_len  8 sequence  12 watermark  16 payload_crc  20 header_crc
//! ```
//!
//! `header_crc` covers, in this order: region, segment id and salt (as in the segment header), the offset of
//! the frame, the whole 32-bit incarnation, and bytes 0..20. So a frame verifies only where and when it was
//! written: stale, copied and misdirected ones never do, and no length is believed before it.

use crate::checksum::Checksum;
use crate::mutation::{self, Mutation};
use crate::wire;

/// Bytes of a frame header.
pub const HEADER_LEN: usize = 24;

mod field {
    use core::ops::Range;

    pub(super) const INCARNATION: Range<usize> = 2..4;
    pub(super) const PAYLOAD_LEN: Range<usize> = 4..8;
    pub(super) const SEQUENCE: Range<usize> = 8..12;
    pub(super) const WATERMARK: Range<usize> = 12..16;
    pub(super) const PAYLOAD_CRC: Range<usize> = 16..20;
    pub(super) const HEADER_CRC: Range<usize> = 20..24;
    /// Kind, flags, incarnation and payload length as one word.
    pub(super) const START_AND_LEN: Range<usize> = 0..8;
    /// Sequence and watermark as one word.
    pub(super) const SEQUENCE_AND_WATERMARK: Range<usize> = 8..16;
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum Kind {
    /// An atomic batch of records.
    Batch = 1,
    /// The first frame of a segment. Its `sequence` field holds its whole incarnation.
    Manifest = 2,
    /// The footer of a full segment.
    Seal = 3,
    /// Evidence of how far the log was durable. No payload.
    Close = 4,
    /// The first frame of a session. No payload; its `payload_crc` field holds the offset from which
    /// everything in front of this frame is cut off.
    Resume = 5,
    /// Fills a sync unit. Its payload is never read.
    Pad = 6,
}

impl Kind {
    const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Batch,
            2 => Self::Manifest,
            3 => Self::Seal,
            4 => Self::Close,
            5 => Self::Resume,
            6 => Self::Pad,
            _ => return None,
        })
    }

    /// Whether the payload is covered by a checksum of its own.
    #[must_use]
    pub const fn has_payload(self) -> bool {
        matches!(self, Self::Batch | Self::Manifest | Self::Seal)
    }
}

/// The payload starts with an epoch.
const FLAG_EPOCH: u8 = 1;

/// A frame header, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Header {
    /// What the frame is.
    pub kind: Kind,
    /// Whether the payload starts with an epoch.
    pub with_epoch: bool,
    /// The session that wrote it.
    pub incarnation: u32,
    /// Bytes behind the header.
    pub payload_len: u32,
    /// The frame's first sequence less the segment's first one. (A manifest's own incarnation on the medium;
    /// 0 here.)
    pub sequence_delta: u32,
    /// Every byte of this segment before this offset, and every older segment, was durable when the frame was
    /// written. 0: nothing of this segment is known.
    pub watermark: u32,
    /// The CRC of the payload; for a resume frame the offset it cuts back to.
    pub payload_crc: u32,
}

/// Why bytes are not a frame header at this place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum HeaderError {
    /// The first byte names no kind.
    Kind,
    /// The checksum does not verify here.
    Checksum,
    /// The checksum verifies, but a reserved bit is set: written by a later version.
    Reserved,
}

impl core::fmt::Display for HeaderError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Kind => "not a frame kind",
            Self::Checksum => "frame header does not verify",
            Self::Reserved => "frame uses a reserved bit",
        })
    }
}

impl core::error::Error for HeaderError {}

/// What ties frames to their segment: a checksum that has already taken in region, segment id and salt.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    checksum: Checksum,
    seed: u32,
}

impl Binding {
    pub(crate) const fn new(checksum: Checksum, seed: u32) -> Self {
        Self { checksum, seed }
    }

    pub(crate) const fn seed(&self) -> u32 {
        self.seed
    }

    /// The checksum implementation in use.
    #[must_use]
    pub const fn checksum(&self) -> Checksum {
        self.checksum
    }

    /// The checksum over a header's place and all of it but the checksum. Takes words and puts each with one store: where
    /// one is read behind two stores that make it up, the processor waits until both are in the cache (measured: an
    /// eighth of a scan).
    #[cfg_attr(feature = "alloc", inline)]
    fn header_crc(&self, mut offset: u32, incarnation: u32, words: [u64; 2], payload_crc: u32) -> u32 {
        if mutation::is(Mutation::ChecksumWithoutPlace) {
            offset = 0;
        }
        let [first, second] = words;
        let place = u64::from(offset) | u64::from(incarnation) << 32;
        let mut covered = [0u8; 8 + field::HEADER_CRC.start];
        wire::put(&mut covered, 0..8, &place.to_le_bytes());
        wire::put(&mut covered, 8..16, &first.to_le_bytes());
        wire::put(&mut covered, 16..24, &second.to_le_bytes());
        wire::put(&mut covered, 24..28, &payload_crc.to_le_bytes());
        self.checksum.extend(self.seed, &covered)
    }
}

/// The length of the payload that an encoded header states.
pub(crate) fn payload_len(header: &[u8]) -> u32 {
    wire::u32_at(header, field::PAYLOAD_LEN).unwrap_or_default()
}

/// The incarnation that an encoded manifest states.
pub(crate) fn stated_incarnation(header: &[u8]) -> u32 {
    wire::u32_at(header, field::SEQUENCE).unwrap_or_default()
}

impl Header {
    /// Of no frame.
    pub(crate) const NONE: Self = Self {
        kind: Kind::Pad,
        with_epoch: false,
        incarnation: 0,
        payload_len: 0,
        sequence_delta: 0,
        watermark: 0,
        payload_crc: 0,
    };

    /// The bytes of this header at `offset`.
    #[must_use]
    #[cfg_attr(feature = "alloc", inline)]
    pub fn encode(&self, binding: &Binding, offset: u32) -> [u8; HEADER_LEN] {
        let mut out = [0u8; HEADER_LEN];
        let flags = if self.with_epoch { FLAG_EPOCH } else { 0 };
        let sequence = if self.kind == Kind::Manifest {
            self.incarnation
        } else {
            self.sequence_delta
        };
        let start = u32::from_le_bytes([
            self.kind as u8,
            flags,
            self.incarnation as u8,
            (self.incarnation >> 8) as u8,
        ]);
        let words = [
            u64::from(start) | u64::from(self.payload_len) << 32,
            u64::from(sequence) | u64::from(self.watermark) << 32,
        ];
        wire::put(&mut out, field::START_AND_LEN, &words[0].to_le_bytes());
        wire::put(&mut out, field::SEQUENCE_AND_WATERMARK, &words[1].to_le_bytes());
        wire::put(&mut out, field::PAYLOAD_CRC, &self.payload_crc.to_le_bytes());
        let crc = binding.header_crc(offset, self.incarnation, words, self.payload_crc);
        wire::put(&mut out, field::HEADER_CRC, &crc.to_le_bytes());
        out
    }

    /// The header in `bytes`, read at `offset` of a segment whose manifest has the incarnation `base`.
    ///
    /// # Errors
    /// [`HeaderError`]: there is no frame of this segment at this place.
    #[cfg_attr(feature = "alloc", inline)]
    pub fn decode(bytes: &[u8; HEADER_LEN], binding: &Binding, offset: u32, base: u32) -> Result<Self, HeaderError> {
        let kind = Kind::from_byte(bytes[0]).ok_or(HeaderError::Kind)?;
        let word = |range| wire::u32_at(bytes, range).unwrap_or_default();
        let low = wire::u16_at(bytes, field::INCARNATION).unwrap_or_default();
        let sequence = word(field::SEQUENCE);
        let (incarnation, sequence_delta) = if kind == Kind::Manifest {
            (sequence, 0)
        } else {
            (base.wrapping_add(u32::from(low.wrapping_sub(base as u16))), sequence)
        };
        let ignored = mutation::is(Mutation::IgnoreHeaderChecksum);
        let words = [field::START_AND_LEN, field::SEQUENCE_AND_WATERMARK];
        let words = words.map(|range| wire::u64_at(bytes, range).unwrap_or_default());
        let crc = binding.header_crc(offset, incarnation, words, word(field::PAYLOAD_CRC));
        if crc != word(field::HEADER_CRC) && !ignored {
            return Err(HeaderError::Checksum);
        }
        if bytes[1] & !FLAG_EPOCH != 0 {
            return Err(HeaderError::Reserved);
        }
        Ok(Self {
            kind,
            with_epoch: bytes[1] & FLAG_EPOCH != 0,
            incarnation,
            payload_len: word(field::PAYLOAD_LEN),
            sequence_delta,
            watermark: word(field::WATERMARK),
            payload_crc: word(field::PAYLOAD_CRC),
        })
    }
}
