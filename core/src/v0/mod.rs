//! Format version 0: the segments of HoraeDB's local-disk log, so that its logs can be read, imported and written.
//!
//! Knows nothing of storage, regions or of version 1. A caller hands in the bytes of one segment file and gets its
//! records, or the bytes of one record.
//!
//! A segment of either layout is `00`, `HoraeDBWAL`, then records back to back. Integers are big-endian.
//!
//! ```text
//! Layout::Final   version u8 | crc u32 |              table u64 | sequence u64 | value_len u32 | value
//! Layout::First   version u8 | crc u32 | length u32 | table u64 | sequence u64 | value_len u32 | value
//! ```
//!
//! The CRC is CRC-32/ISO-HDLC. What it covers differs:
//!
//! - `Final`: table, sequence and value length as three **little-endian u64**, then the value. The length went into
//!   the hash as a machine word, so files made by a 32-bit build have other CRCs; they fail with
//!   [`DecodeError::Checksum`] here.
//! - `First`: the stored bytes behind `length`. `length` counts those bytes and is not covered; it repeats what
//!   `value_len` says, and decoding refuses a record in which the two disagree.
//!
//! The record version is covered in neither layout; any value but 0 is refused. So no bit of a record can change
//! unseen.
//!
//! # What the format cannot tell
//!
//! A `Final` file ends in zeros and a `First` file with its last record. Anything else behind the last valid record
//! is a torn write, damage, or bytes of an earlier life that were never wiped: the format has nothing to tell
//! these apart. [`Records`] therefore stops at the first invalid byte and never looks for records behind it.
//! Old records that happen to line up behind a newer one do verify; their sequences do not rise, which is for the
//! reader of a whole region to judge.
//!
//! ```
//! use walstone_core::v0::{self, Layout, Record, Records};
//!
//! let mut segment = [0; 128];
//! let start = v0::encode_segment_header(&mut segment)?;
//! let record = Record { table: 7, sequence: 1, value: b"\0payload" };
//! record.encode(Layout::Final, &mut segment[start..])?;
//!
//! let mut records = Records::new(Layout::Final, &segment);
//! assert_eq!(records.next(), Some(Ok(record)));
//! assert_eq!(records.next(), None);
//! assert_eq!(records.offset(), 11 + 25 + 8);
//! assert!(records.rest_is_zero());
//! # Ok::<(), v0::EncodeError>(())
//! ```

mod record;
mod segment;

pub use record::{DecodeError, EncodeError, Record};
pub use segment::{Records, SEGMENT_HEADER_LEN, SegmentError, decode_segment_header, encode_segment_header};

/// Which of the two published record layouts a segment has. Only its file name tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Layout {
    /// The first one published, in files `segment_<id>.wal` that end with their last record.
    First,
    /// The one that replaced it for good, in files `seg_<id>` of a fixed length with zeros behind the last record.
    Final,
}

/// The layout and the segment id that a file name states, or `None` where it names no segment.
///
/// An id has one spelling, decimal without sign or leading zeros, so that no two files of a directory claim one id.
///
/// ```
/// use walstone_core::v0::{Layout, parse_file_name};
///
/// assert_eq!(parse_file_name("seg_12"), Some((Layout::Final, 12)));
/// assert_eq!(parse_file_name("segment_0.wal"), Some((Layout::First, 0)));
/// assert_eq!(parse_file_name("seg_012"), None);
/// ```
#[must_use]
pub fn parse_file_name(name: &str) -> Option<(Layout, u64)> {
    let (layout, id) = match name.strip_prefix("seg_") {
        Some(id) => (Layout::Final, id),
        None => (Layout::First, name.strip_prefix("segment_")?.strip_suffix(".wal")?),
    };
    let canonical = id == "0" || !id.starts_with(['0', '+']);
    let id = id.parse().ok()?;
    canonical.then_some((layout, id))
}
