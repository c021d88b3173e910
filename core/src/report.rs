//! What recovery found, in values: clean end, torn tail and corruption are three different things.

use core::fmt;

use embedded_io::ErrorKind;

use crate::geometry::{Geometry, SegmentId};
use crate::segment::header;

/// Damage to bytes that were durable. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Corruption {
    /// Where.
    pub segment: SegmentId,
    /// Bytes from the start of the segment.
    pub offset: u32,
    /// What does not hold there.
    pub reason: Reason,
}

/// What does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Reason {
    /// The segment header.
    Header(header::HeaderError),
    /// The segment belongs to another region.
    Region {
        /// The region in its header.
        found: u64,
    },
    /// The header names another segment.
    Identity {
        /// The id in its header.
        found: SegmentId,
    },
    /// Two segments claim this id.
    Duplicate,
    /// The manifest, although a later frame shows that there was one.
    Manifest,
    /// A frame header, although a later frame shows that it was durable.
    FrameHeader,
    /// A verified frame header with a length that no writer gives.
    FrameLength,
    /// A payload, although a later frame shows that it was durable.
    Payload,
    /// A verified payload that does not decode.
    Record,
    /// A verified frame whose sequence does not follow.
    Sequence,
    /// A verified resume frame that names an impossible place.
    Resume,
    /// The footer.
    Seal,
    /// A verified frame that uses a reserved bit.
    Unsupported,
    /// The newest manifest lists this segment; it is not there.
    Missing,
    /// The newest segment is sealed and names this successor; it is not there.
    SuccessorMissing,
    /// There are segments, but none with a manifest that verifies.
    NoManifest,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(error) => error.fmt(f),
            Self::Region { found } => write!(f, "segment belongs to region {found}"),
            Self::Identity { found } => write!(f, "header names segment {found}"),
            Self::Duplicate => f.write_str("two segments claim this id"),
            Self::Manifest => f.write_str("manifest does not verify"),
            Self::FrameHeader => f.write_str("frame header does not verify"),
            Self::FrameLength => f.write_str("frame length is impossible"),
            Self::Payload => f.write_str("payload does not verify"),
            Self::Record => f.write_str("record does not decode"),
            Self::Sequence => f.write_str("sequence does not follow"),
            Self::Resume => f.write_str("resume frame names an impossible place"),
            Self::Seal => f.write_str("footer does not decode"),
            Self::Unsupported => f.write_str("frame of a later version"),
            Self::Missing => f.write_str("segment is listed but missing"),
            Self::SuccessorMissing => f.write_str("successor of a sealed segment is missing"),
            Self::NoManifest => f.write_str("no segment has a manifest that verifies"),
        }
    }
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "segment {} at {}: {}", self.segment, self.offset, self.reason)
    }
}

impl core::error::Error for Corruption {}

/// Where a log ended when it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Tail {
    /// The region was made by this open.
    New,
    /// The last session closed the log.
    Closed,
    /// The last session did not close the log; nothing stands behind its last frame.
    Clean,
    /// Bytes behind the last frame do not verify, and nothing shows that they were ever durable: a write
    /// that was under way when the power failed, or damage to the last group.
    Torn {
        /// Bytes from the start of the newest segment.
        offset: u32,
        /// Bytes dropped.
        bytes: u32,
    },
}

/// What an open found and did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Report {
    /// The region.
    pub region: u64,
    /// The geometry it is stored with.
    pub geometry: Geometry,
    /// The newest segment.
    pub newest: SegmentId,
    /// Segments with data, the newest included.
    pub segments: u32,
    /// Where the log ended.
    pub tail: Tail,
    /// The last sequence recovered; 0 for none.
    pub last_sequence: u64,
    /// Bytes of the newest segment that were found not known durable and were made so; 0 for a read-only open.
    pub settled_bytes: u32,
    /// Segments that were removed: reclaimed ones that came back, and what an interrupted create left.
    pub removed_segments: u32,
    /// Unreadable slots that were released.
    pub released_slots: u32,
    /// Segments that could not be removed and slots that could not be released, at the open and since. Each costs its
    /// room until the next open tries again.
    pub not_removed: u32,
    /// What the storage said of the last of them.
    pub remove_error: Option<ErrorKind>,
}

/// What of a report cannot be told later from the region itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opened {
    pub(crate) newest: SegmentId,
    pub(crate) last_sequence: u64,
    pub(crate) segments: u32,
    pub(crate) tail: Tail,
    pub(crate) settled_bytes: u32,
    pub(crate) removed_segments: u32,
    pub(crate) released_slots: u32,
    pub(crate) not_removed: u32,
    pub(crate) remove_error: Option<ErrorKind>,
}

impl Opened {
    /// The region is yet to be made.
    pub(crate) const NEW: Self = Self {
        newest: SegmentId(1),
        last_sequence: 0,
        segments: 1,
        tail: Tail::New,
        settled_bytes: 0,
        removed_segments: 0,
        released_slots: 0,
        not_removed: 0,
        remove_error: None,
    };

    /// A segment or slot is to go and does not.
    pub(crate) const fn not_removed(&mut self, error: ErrorKind) {
        self.not_removed = self.not_removed.saturating_add(1);
        self.remove_error = Some(error);
    }
}
