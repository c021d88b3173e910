//! A version-0 segment as bytes: its header, and its records one after another up to the first byte that is none.

use core::fmt;
use core::iter::FusedIterator;

use super::{DecodeError, EncodeError, Layout, Record};

const VERSION: u8 = 0;
const MAGIC: &[u8; 10] = b"HoraeDBWAL";

/// Bytes of the segment header, the same in both layouts.
pub const SEGMENT_HEADER_LEN: usize = 1 + MAGIC.len();

/// Checks the segment header at the front of `bytes` and says how many bytes it takes.
///
/// # Errors
///
/// [`DecodeError::Truncated`], [`DecodeError::BadSegmentVersion`] or [`DecodeError::BadMagic`]. A file that lost its
/// creator before the header was written is empty or all zero, which is `Truncated` or `BadMagic`.
pub fn decode_segment_header(bytes: &[u8]) -> Result<usize, DecodeError> {
    let truncated = DecodeError::Truncated {
        needed: SEGMENT_HEADER_LEN,
        available: bytes.len(),
    };
    let header: &[u8; SEGMENT_HEADER_LEN] = bytes.first_chunk().ok_or(truncated)?;
    let (version, magic) = header.split_first().ok_or(truncated)?;
    // The name first: bytes that are no segment at all should not be told to have a wrong version.
    if magic != MAGIC {
        return Err(DecodeError::BadMagic);
    }
    if *version != VERSION {
        return Err(DecodeError::BadSegmentVersion { found: *version });
    }
    Ok(SEGMENT_HEADER_LEN)
}

/// Encodes the segment header to the front of `buf` and says how many bytes it takes.
///
/// # Errors
///
/// [`EncodeError::BufferTooSmall`]; `buf` is as it was.
pub fn encode_segment_header(buf: &mut [u8]) -> Result<usize, EncodeError> {
    let too_small = EncodeError::BufferTooSmall {
        needed: SEGMENT_HEADER_LEN,
        available: buf.len(),
    };
    let header: &mut [u8; SEGMENT_HEADER_LEN] = buf.first_chunk_mut().ok_or(too_small)?;
    let (version, magic) = header.split_first_mut().ok_or(too_small)?;
    *version = VERSION;
    magic.copy_from_slice(MAGIC);
    Ok(SEGMENT_HEADER_LEN)
}

/// The records of one segment, in the order of the file.
///
/// Ends without an error at a clean end: zeros up to the end of a [`Layout::Final`] segment, the end of the bytes of a
/// [`Layout::First`] one. Otherwise yields one [`SegmentError`] and then ends, because nothing behind the first
/// invalid byte can be told from what an earlier life left there. An invalid segment header is such an error, at
/// offset 0. The work is linear in the bytes.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    layout: Layout,
    rest: &'a [u8],
    offset: usize,
    at: Place,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Header,
    Record,
    End,
}

impl<'a> Records<'a> {
    /// The records of the segment file whose bytes are `segment`.
    #[must_use]
    pub const fn new(layout: Layout, segment: &'a [u8]) -> Self {
        Self {
            layout,
            rest: segment,
            offset: 0,
            at: Place::Header,
        }
    }

    /// The end, in bytes from the segment's start, of what was read so far: after the last record, the end of the
    /// valid bytes.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// The bytes behind [`offset`](Self::offset). After an error: what could not be read.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether every byte behind [`offset`](Self::offset) is zero, so that no record can be there.
    ///
    /// After an error, `true` means that a `First` segment has a zero tail, or that a segment is empty and has no
    /// header: in either case nothing was lost that can be seen.
    #[must_use]
    pub fn rest_is_zero(&self) -> bool {
        self.rest.iter().all(|&byte| byte == 0)
    }

    /// Moves over `len` bytes that were just decoded from the front of `rest`.
    fn advance(&mut self, len: usize) {
        self.rest = self.rest.get(len..).unwrap_or_default();
        self.offset += len;
    }

    fn fail(&mut self, reason: DecodeError) -> SegmentError {
        self.at = Place::End;
        SegmentError {
            offset: self.offset,
            reason,
        }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, SegmentError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Place::Header = self.at {
            match decode_segment_header(self.rest) {
                Ok(len) => self.advance(len),
                Err(reason) => return Some(Err(self.fail(reason))),
            }
            self.at = Place::Record;
        }
        if let Place::End = self.at {
            return None;
        }
        if self.rest.is_empty() {
            self.at = Place::End;
            return None;
        }
        match Record::decode(self.layout, self.rest) {
            Ok((record, len)) => {
                self.advance(len);
                Some(Ok(record))
            }
            // Asked only here, where the segment ends anyway: zeros never decode, and the tail is read once.
            Err(_) if self.layout == Layout::Final && self.rest_is_zero() => {
                self.at = Place::End;
                None
            }
            Err(reason) => Some(Err(self.fail(reason))),
        }
    }
}

impl FusedIterator for Records<'_> {}

/// Where a segment stops being valid, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct SegmentError {
    /// Where the invalid header or record starts, in bytes from the segment's start.
    pub offset: usize,
    /// What is wrong with it.
    pub reason: DecodeError,
}

impl fmt::Display for SegmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid version-0 bytes at offset {}", self.offset)
    }
}

impl core::error::Error for SegmentError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.reason)
    }
}
