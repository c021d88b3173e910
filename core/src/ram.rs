//! Segments in memory: a region without a medium, and a disk image for tests. A clone is a deep copy.
//!
//! Stricter than a medium has to be: bytes that were not claimed cannot be written, and on a geometry with
//! an erased state no unit can be written twice. Power loss takes everything, so `sync` has nothing to do.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::mem;
use core::ops::{ControlFlow, Range};

use crate::fault::{Fault, Found, StorageError};
use crate::geometry::{Geometry, Mark, SegmentId};
use crate::storage::Storage;

/// The segments of one region in memory. Reads lend.
#[derive(Clone, Debug)]
pub struct RamStorage {
    geometry: Geometry,
    segments: BTreeMap<u64, Segment>,
    capacity_limit: Option<u64>,
    /// What a new segment shows where there is no erased state: the bytes of the segment removed last.
    stale: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Segment {
    bytes: Vec<u8>,
    claimed: u32,
    /// One bit per write unit: those written with the erased value must not be taken for blank.
    written: Vec<u64>,
    written_end: u32,
}

impl RamStorage {
    /// No segments yet, and room for any number of them.
    #[must_use]
    pub const fn new(geometry: Geometry) -> Self {
        Self {
            geometry,
            segments: BTreeMap::new(),
            capacity_limit: None,
            stale: Vec::new(),
        }
    }

    /// Answers [`RamError::Full`] rather than let all claims together pass `limit` bytes.
    #[must_use]
    pub const fn with_capacity_limit(mut self, limit: u64) -> Self {
        self.capacity_limit = Some(limit);
        self
    }

    /// Changes or lifts the limit; what is already claimed stays.
    pub const fn set_capacity_limit(&mut self, limit: Option<u64>) {
        self.capacity_limit = limit;
    }

    /// Bytes claimed by all segments together.
    #[must_use]
    pub fn claimed_len(&self) -> u64 {
        self.segments.values().map(|segment| u64::from(segment.claimed)).sum()
    }

    /// The segments, lowest id first.
    pub fn ids(&self) -> impl Iterator<Item = SegmentId> + '_ {
        self.segments.keys().map(|&id| SegmentId(id))
    }

    /// The bytes of a segment.
    #[must_use]
    pub fn bytes(&self, id: SegmentId) -> Option<&[u8]> {
        self.segments.get(&id.0).map(|segment| segment.bytes.as_slice())
    }

    /// The bytes of a segment, to damage them or to cut them off. From then on, as after
    /// [`RamStorage::insert`], what may not be written again is what differs from the erased byte, and the extent is
    /// the whole segment: nobody can tell more.
    #[must_use]
    pub fn bytes_mut(&mut self, id: SegmentId) -> Option<&mut [u8]> {
        let segment = self.segments.get_mut(&id.0)?;
        segment.written.fill(0);
        segment.written_end = self.geometry.segment_len();
        Some(segment.bytes.as_mut_slice())
    }

    /// Puts a segment in place, or in the place of another, as if copied from elsewhere: all its space is
    /// claimed, and what differs from the erased byte counts as written. One that is not as long as the
    /// geometry says is met as [`RamError::WrongLength`].
    pub fn insert(&mut self, id: SegmentId, bytes: Vec<u8>) {
        let segment = Segment {
            claimed: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            written: self.blank_marks(),
            written_end: self.geometry.segment_len(),
            bytes,
        };
        self.segments.insert(id.0, segment);
    }

    fn blank_marks(&self) -> Vec<u64> {
        let units = self.geometry.segment_len().div_ceil(self.geometry.write_unit());
        vec![0; units.div_ceil(u64::BITS) as usize]
    }

    fn find(&mut self, id: SegmentId) -> Result<&mut Segment, RamError> {
        self.segments.get_mut(&id.0).ok_or(RamError::NotFound { segment: id })
    }

    fn check_mark(&mut self, to: Mark) -> Result<(), RamError> {
        let segment_len = self.geometry.segment_len();
        self.find(to.segment)?;
        if to.end > segment_len {
            return Err(RamError::OutOfBounds {
                offset: to.end,
                len: 0,
                segment_len,
            });
        }
        Ok(())
    }

    /// Whether `more` bytes can be claimed.
    fn check_room(&self, more: u32) -> Result<(), RamError> {
        match self.capacity_limit {
            Some(limit) if self.claimed_len() + u64::from(more) > limit => Err(RamError::Full { limit }),
            _ => Ok(()),
        }
    }

    fn check_write(&mut self, id: SegmentId, offset: u32, len: u32) -> Result<Range<usize>, RamError> {
        let geometry = self.geometry;
        let unit = geometry.write_unit();
        let segment = self.find(id)?;
        if !offset.is_multiple_of(unit) {
            return Err(RamError::Unaligned { offset, unit });
        }
        let out_of_bounds = RamError::OutOfBounds {
            offset,
            len,
            segment_len: geometry.segment_len(),
        };
        let end = offset
            .checked_add(len)
            .and_then(|end| end.checked_next_multiple_of(unit))
            .filter(|&end| end <= geometry.segment_len())
            .ok_or(out_of_bounds)?;
        if end > segment.claimed {
            return Err(RamError::NotClaimed {
                end,
                claimed: segment.claimed,
            });
        }
        let range = offset as usize..end as usize;
        let old = segment.bytes.get(range.clone()).ok_or(out_of_bounds)?;
        if let Some(erased) = geometry.erased() {
            let units = offset / unit..end / unit;
            let marked = units.clone().find(|&index| segment.is_marked(index));
            let dirty = old.iter().position(|&byte| byte != erased);
            let dirty = dirty.and_then(|at| units.start.checked_add(u32::try_from(at).ok()? / unit));
            if let Some(index) = marked.or(dirty) {
                return Err(RamError::Overwritten {
                    segment: id,
                    offset: index * unit,
                });
            }
        }
        Ok(range)
    }
}

impl Segment {
    fn is_marked(&self, index: u32) -> bool {
        self.written
            .get((index / u64::BITS) as usize)
            .is_some_and(|word| word >> (index % u64::BITS) & 1 == 1)
    }

    /// Puts `parts` into a range that was checked, and zeros behind them to its end.
    fn put(&mut self, range: Range<usize>, parts: &[&[u8]], unit: u32) {
        let units = range.start as u32 / unit..(range.end as u32).div_ceil(unit);
        self.written_end = self.written_end.max(range.end as u32);
        let mut rest = self.bytes.get_mut(range).unwrap_or_default();
        for part in parts {
            // The range was made from the sum of the parts, so each has its room.
            let (place, behind) = mem::take(&mut rest).split_at_mut(part.len());
            place.copy_from_slice(part);
            rest = behind;
        }
        rest.fill(0);
        for index in units {
            if let Some(word) = self.written.get_mut((index / u64::BITS) as usize) {
                *word |= 1 << (index % u64::BITS);
            }
        }
    }
}

/// The bytes of all parts together, or `u32::MAX`, which no segment holds.
fn total_len(parts: &[&[u8]]) -> u32 {
    let sum = parts.iter().try_fold(0usize, |sum, part| sum.checked_add(part.len()));
    sum.and_then(|sum| u32::try_from(sum).ok()).unwrap_or(u32::MAX)
}

impl Storage for RamStorage {
    type Error = RamError;

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn segments(&mut self, visit: &mut dyn FnMut(Found) -> ControlFlow<()>) -> Result<(), RamError> {
        for &id in self.segments.keys() {
            if visit(Found::Segment(SegmentId(id))).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn create(&mut self, id: SegmentId, header: &[u8]) -> Result<(), RamError> {
        let segment_len = self.geometry.segment_len();
        let unit = self.geometry.write_unit();
        if self.segments.contains_key(&id.0) {
            return Err(RamError::Exists { segment: id });
        }
        let len = total_len(&[header]);
        let claimed = len
            .checked_next_multiple_of(unit)
            .filter(|&end| end <= segment_len)
            .ok_or(RamError::OutOfBounds {
                offset: 0,
                len,
                segment_len,
            })?;
        self.check_room(claimed)?;
        let mut bytes = match self.geometry.erased() {
            Some(_) => Vec::new(),
            None => self.stale.clone(),
        };
        bytes.resize(segment_len as usize, self.geometry.erased().unwrap_or(0));
        let mut segment = Segment {
            bytes,
            claimed,
            written: self.blank_marks(),
            written_end: 0,
        };
        segment.put(0..claimed as usize, &[header], unit);
        self.segments.insert(id.0, segment);
        Ok(())
    }

    fn claim(&mut self, id: SegmentId, end: u32) -> Result<(), RamError> {
        self.check_mark(Mark { segment: id, end })?;
        let more = end.saturating_sub(self.find(id)?.claimed);
        if more > 0 {
            self.check_room(more)?;
            self.find(id)?.claimed = end;
        }
        Ok(())
    }

    fn extent(&mut self, id: SegmentId) -> Result<u32, RamError> {
        let geometry = self.geometry;
        let segment = self.find(id)?;
        if segment.bytes.len() != geometry.segment_len() as usize {
            return Err(RamError::WrongLength {
                len: segment.bytes.len(),
                segment_len: geometry.segment_len(),
            });
        }
        let Some(erased) = geometry.erased() else {
            return Ok(geometry.segment_len());
        };
        // Damage may stand behind what was written.
        let dirty = segment.bytes.iter().rposition(|&byte| byte != erased);
        let dirty_end = dirty.map_or(0, |at| at as u32 + 1);
        Ok(segment.written_end.max(dirty_end))
    }

    fn read<'a>(&'a mut self, id: SegmentId, offset: u32, len: u32, _buf: &'a mut [u8]) -> Result<&'a [u8], RamError> {
        let segment_len = self.geometry.segment_len();
        let segment = self.find(id)?;
        let start = offset as usize;
        let range = start.checked_add(len as usize).map(|end| start..end);
        range
            .and_then(|range| segment.bytes.get(range))
            .ok_or(RamError::OutOfBounds {
                offset,
                len,
                segment_len,
            })
    }

    fn write(&mut self, id: SegmentId, offset: u32, parts: &[&[u8]]) -> Result<(), RamError> {
        let range = self.check_write(id, offset, total_len(parts))?;
        let unit = self.geometry.write_unit();
        if !range.is_empty() {
            self.find(id)?.put(range, parts, unit);
        }
        Ok(())
    }

    fn hand_over(&mut self, to: Mark) -> Result<(), RamError> {
        self.check_mark(to)
    }

    fn sync(&mut self, to: Mark) -> Result<(), RamError> {
        self.check_mark(to)
    }

    fn settle(&mut self, id: SegmentId, _from: u32, to: u32) -> Result<(), RamError> {
        self.check_mark(Mark { segment: id, end: to })
    }

    fn remove(&mut self, id: SegmentId) -> Result<(), RamError> {
        let gone = self.segments.remove(&id.0);
        let gone = gone.ok_or(RamError::NotFound { segment: id })?;
        if self.geometry.erased().is_none() {
            self.stale = gone.bytes;
        }
        Ok(())
    }

    fn release(&mut self, slot: u32) -> Result<(), RamError> {
        Err(RamError::NoSlot { slot })
    }
}

/// Why memory refused. Everything but `Full` is a mistake of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum RamError {
    /// There is no such segment.
    NotFound {
        /// The segment asked for.
        segment: SegmentId,
    },
    /// There is such a segment already.
    Exists {
        /// The segment to be created.
        segment: SegmentId,
    },
    /// The bytes are not all within the segment.
    OutOfBounds {
        /// Where they start.
        offset: u32,
        /// How many they are.
        len: u32,
        /// Bytes of a segment.
        segment_len: u32,
    },
    /// A write does not start at a write unit.
    Unaligned {
        /// Where it starts.
        offset: u32,
        /// The write unit.
        unit: u32,
    },
    /// A write passes what was claimed.
    NotClaimed {
        /// Where the write ends.
        end: u32,
        /// Where the claim ends.
        claimed: u32,
    },
    /// The claims would pass the limit.
    Full {
        /// Bytes that all claims together may reach.
        limit: u64,
    },
    /// A unit would be written a second time.
    Overwritten {
        /// The segment of the unit.
        segment: SegmentId,
        /// The start of the unit.
        offset: u32,
    },
    /// An inserted segment is not as long as the geometry says.
    WrongLength {
        /// Bytes it has.
        len: usize,
        /// Bytes it should have.
        segment_len: u32,
    },
    /// The last listing named no such unreadable slot.
    NoSlot {
        /// The slot asked for.
        slot: u32,
    },
}

impl fmt::Display for RamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NotFound { segment } => write!(f, "segment {segment} is not there"),
            Self::Exists { segment } => write!(f, "segment {segment} is there already"),
            Self::OutOfBounds {
                offset,
                len,
                segment_len,
            } => write!(f, "{len} bytes at {offset} pass the segment's {segment_len} bytes"),
            Self::Unaligned { offset, unit } => {
                write!(f, "a write at {offset} does not start at a unit of {unit} bytes")
            }
            Self::NotClaimed { end, claimed } => {
                write!(f, "a write up to {end} passes the claim, which ends at {claimed}")
            }
            Self::Full { limit } => write!(f, "all {limit} bytes are claimed"),
            Self::Overwritten { segment, offset } => {
                write!(f, "the unit at {offset} of segment {segment} was written before")
            }
            Self::WrongLength { len, segment_len } => {
                write!(f, "a segment has {len} bytes in place of {segment_len}")
            }
            Self::NoSlot { slot } => write!(f, "there is no unreadable slot {slot}"),
        }
    }
}

impl core::error::Error for RamError {}

impl embedded_io::Error for RamError {
    fn kind(&self) -> embedded_io::ErrorKind {
        match self {
            Self::NotFound { .. } | Self::NoSlot { .. } => embedded_io::ErrorKind::NotFound,
            Self::Exists { .. } => embedded_io::ErrorKind::AlreadyExists,
            Self::Full { .. } => embedded_io::ErrorKind::OutOfMemory,
            Self::WrongLength { .. } => embedded_io::ErrorKind::InvalidData,
            _ => embedded_io::ErrorKind::InvalidInput,
        }
    }
}

impl StorageError for RamError {
    fn fault(&self) -> Fault {
        match self {
            Self::Full { .. } => Fault::Full,
            _ => Fault::Device,
        }
    }
}
