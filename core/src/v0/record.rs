//! One version-0 record as bytes, in either layout. Knows nothing of segments.
#![allow(clippy::big_endian_bytes, reason = "version 0 is defined with big-endian integers")]

use core::fmt;

use crc::{CRC_32_ISO_HDLC, Crc, Table};

use super::Layout;

static CRC: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISO_HDLC);

const VERSION: u8 = 0;
/// Bytes of table, sequence and value length: what stands between the CRC's field, or `length`, and the value.
const KEY_LEN: usize = 8 + 8 + 4;
/// Bytes of version and CRC.
const PREFIX_LEN: usize = 1 + 4;

impl Layout {
    /// Bytes of a record in front of its value.
    #[must_use]
    pub const fn record_header_len(self) -> usize {
        match self {
            Self::First => PREFIX_LEN + 4 + KEY_LEN,
            Self::Final => PREFIX_LEN + KEY_LEN,
        }
    }

    /// Bytes of the longest value that the length fields can state.
    #[must_use]
    pub const fn max_value_len(self) -> u32 {
        match self {
            Self::First => u32::MAX - KEY_LEN as u32,
            Self::Final => u32::MAX,
        }
    }
}

/// One record. `value` is lent from the bytes it was decoded from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Record<'a> {
    /// The table within the region.
    pub table: u64,
    /// The region-wide sequence number.
    pub sequence: u64,
    /// The value as stored: HoraeDB put one byte of its own, a payload version, in front of the payload.
    pub value: &'a [u8],
}

impl<'a> Record<'a> {
    /// Decodes the record at the front of `bytes` and says how many bytes it takes.
    ///
    /// Lengths are compared with `bytes` before they are used, and nothing is handed out that the CRC does not
    /// vouch for. All-zero bytes are never a record.
    ///
    /// # Errors
    ///
    /// Every variant of [`DecodeError`] but those of the segment header.
    pub fn decode(layout: Layout, bytes: &'a [u8]) -> Result<(Self, usize), DecodeError> {
        let header_len = layout.record_header_len();
        let truncated = DecodeError::Truncated {
            needed: header_len,
            available: bytes.len(),
        };

        let (&[version], rest) = bytes.split_first_chunk().ok_or(truncated)?;
        if version != VERSION {
            return Err(DecodeError::BadVersion { found: version });
        }
        let (&stored, rest) = rest.split_first_chunk().ok_or(truncated)?;
        let stored = u32::from_be_bytes(stored);
        let (length, rest) = match layout {
            Layout::First => {
                let (&length, rest) = rest.split_first_chunk().ok_or(truncated)?;
                (Some(u32::from_be_bytes(length)), rest)
            }
            Layout::Final => (None, rest),
        };
        let (&key, rest) = rest.split_first_chunk().ok_or(truncated)?;
        let (table, sequence, value_len) = decode_key(&key).ok_or(truncated)?;

        if let Some(length) = length
            && u64::from(length) != KEY_LEN as u64 + u64::from(value_len)
        {
            return Err(DecodeError::LengthMismatch { length, value_len });
        }
        let value = usize::try_from(value_len).ok().and_then(|len| rest.get(..len));
        let value = value.ok_or(DecodeError::LengthOutOfBounds {
            value_len,
            available: rest.len(),
        })?;

        let record = Self { table, sequence, value };
        let computed = record.crc(layout, value_len);
        if computed != stored {
            return Err(DecodeError::Checksum { stored, computed });
        }
        // Cannot overflow: both parts lie within `bytes`.
        Ok((record, header_len + value.len()))
    }

    /// Bytes that [`encode`](Self::encode) writes.
    #[must_use]
    pub const fn encoded_len(&self, layout: Layout) -> usize {
        layout.record_header_len().saturating_add(self.value.len())
    }

    /// Encodes the record to the front of `buf` and says how many bytes it takes. Bytes behind them keep their
    /// values; after an error all do.
    ///
    /// # Errors
    ///
    /// [`EncodeError::ValueTooLong`] if the layout's fields cannot state the value's length,
    /// [`EncodeError::BufferTooSmall`] if `buf` is shorter than [`encoded_len`](Self::encoded_len).
    pub fn encode(&self, layout: Layout, buf: &mut [u8]) -> Result<usize, EncodeError> {
        let too_long = EncodeError::ValueTooLong {
            len: self.value.len(),
            max: layout.max_value_len(),
        };
        let value_len = u32::try_from(self.value.len()).map_err(|_| too_long)?;
        if value_len > layout.max_value_len() {
            return Err(too_long);
        }
        let needed = self.encoded_len(layout);
        let too_small = EncodeError::BufferTooSmall {
            needed,
            available: buf.len(),
        };
        let mut out = buf.get_mut(..needed).ok_or(too_small)?;

        let crc = self.crc(layout, value_len).to_be_bytes();
        let length = (KEY_LEN as u32).saturating_add(value_len).to_be_bytes();
        let length: &[u8] = match layout {
            Layout::First => &length,
            Layout::Final => &[],
        };
        let (table, sequence) = (self.table.to_be_bytes(), self.sequence.to_be_bytes());
        let parts: [&[u8]; 7] = [
            &[VERSION],
            &crc,
            length,
            &table,
            &sequence,
            &value_len.to_be_bytes(),
            self.value,
        ];
        for part in parts {
            // The parts add up to `needed`, so each finds its place.
            let (place, rest) = out.split_at_mut_checked(part.len()).ok_or(too_small)?;
            place.copy_from_slice(part);
            out = rest;
        }
        Ok(needed)
    }

    fn crc(&self, layout: Layout, value_len: u32) -> u32 {
        let mut digest = CRC.digest();
        match layout {
            Layout::First => {
                digest.update(&self.table.to_be_bytes());
                digest.update(&self.sequence.to_be_bytes());
                digest.update(&value_len.to_be_bytes());
            }
            Layout::Final => {
                digest.update(&self.table.to_le_bytes());
                digest.update(&self.sequence.to_le_bytes());
                digest.update(&u64::from(value_len).to_le_bytes());
            }
        }
        digest.update(self.value);
        digest.finalize()
    }
}

/// Table, sequence and value length.
fn decode_key(key: &[u8; KEY_LEN]) -> Option<(u64, u64, u32)> {
    let (table, rest) = key.split_first_chunk()?;
    let (sequence, rest) = rest.split_first_chunk()?;
    let value_len = rest.first_chunk()?;
    Some((
        u64::from_be_bytes(*table),
        u64::from_be_bytes(*sequence),
        u32::from_be_bytes(*value_len),
    ))
}

/// Why bytes are not a version-0 segment header or record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end within the segment header or within the fixed part of a record.
    Truncated {
        /// Bytes that the fixed part takes.
        needed: usize,
        /// Bytes that are there.
        available: usize,
    },
    /// The segment states a version other than 0.
    BadSegmentVersion {
        /// The version it states.
        found: u8,
    },
    /// The segment does not carry the name `HoraeDBWAL`.
    BadMagic,
    /// The record states a version other than 0.
    BadVersion {
        /// The version it states.
        found: u8,
    },
    /// The two lengths of a record of [`Layout::First`] contradict each other.
    LengthMismatch {
        /// Bytes behind the field `length`, as it says.
        length: u32,
        /// Bytes of the value, as the record says; `length` must be 20 more.
        value_len: u32,
    },
    /// The value would reach beyond the bytes that are there: a torn write or a damaged length.
    LengthOutOfBounds {
        /// Bytes of the value, as the record says. Not verified.
        value_len: u32,
        /// Bytes that are there for it.
        available: usize,
    },
    /// The record does not have the CRC it states.
    Checksum {
        /// The CRC it states.
        stored: u32,
        /// The CRC it has.
        computed: u32,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Truncated { needed, available } => {
                write!(f, "the fixed part takes {needed} bytes, {available} are there")
            }
            Self::BadSegmentVersion { found } => write!(f, "segment version is {found}, not 0"),
            Self::BadMagic => f.write_str("segment header does not name HoraeDBWAL"),
            Self::BadVersion { found } => write!(f, "record version is {found}, not 0"),
            Self::LengthMismatch { length, value_len } => {
                write!(f, "record length {length} contradicts a value of {value_len} bytes")
            }
            Self::LengthOutOfBounds { value_len, available } => {
                write!(f, "the value takes {value_len} bytes, {available} are there")
            }
            Self::Checksum { stored, computed } => {
                write!(f, "record states checksum {stored:08x} and has {computed:08x}")
            }
        }
    }
}

impl core::error::Error for DecodeError {}

/// Why a record or a segment header could not be encoded. The buffer is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum EncodeError {
    /// The value is longer than the layout can state.
    ValueTooLong {
        /// Bytes of the value.
        len: usize,
        /// Bytes that a value can have.
        max: u32,
    },
    /// The buffer is too short.
    BufferTooSmall {
        /// Bytes that the encoding takes.
        needed: usize,
        /// Bytes of the buffer.
        available: usize,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ValueTooLong { len, max } => write!(f, "the value has {len} bytes, at most {max} can be stated"),
            Self::BufferTooSmall { needed, available } => {
                write!(f, "the encoding takes {needed} bytes, the buffer has {available}")
            }
        }
    }
}

impl core::error::Error for EncodeError {}
