//! What is known of a region beside its records: retained segments, tables of a segment, and the payloads that
//! state them (manifest, seal). Knows nothing of storage.

use core::num::NonZeroU64;

use crate::capacity::BLOCKS;
use crate::frame::{self, Binding, Header, Kind};
use crate::geometry::SegmentId;
use crate::record::{Malformed, Void};
use crate::segment::cuts::{Cut, Cuts};
use crate::segment::layout::MAX_CUTS;
use crate::wire;

/// A segment behind the active one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retained {
    pub(crate) id: u64,
    /// The sequence of the first record appended to it or behind it.
    pub(crate) first_sequence: u64,
    /// Its exact end.
    pub(crate) end: u32,
    /// Bytes of the seal frame in front of `end` (0: not sealed) in the low 24 bits, a [`State`] above.
    tail: u32,
}

/// What is to become of a retained segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum State {
    /// Holds, or may hold, live records.
    Live = 0,
    /// Holds no live record; the next manifest omits it.
    Dead = 1,
    /// Omitted by the newest manifest; removed once that is durable.
    Omitted = 2,
    /// Found at open below the newest segment, whose manifest does not list it; removed once that is durable.
    Leftover = 3,
    /// As those, but removing it failed: it takes its place until the next open tries again.
    Stuck = 4,
}

const TAIL_BITS: u32 = 24;
const SEAL_MASK: u32 = (1 << TAIL_BITS) - 1;

impl Retained {
    pub(crate) const fn new(id: u64, first_sequence: u64, end: u32, seal_len: u32) -> Self {
        Self {
            id,
            first_sequence,
            end,
            tail: seal_len & SEAL_MASK,
        }
    }

    pub(crate) const fn segment(&self) -> SegmentId {
        SegmentId(self.id)
    }

    pub(crate) const fn seal_len(&self) -> u32 {
        self.tail & SEAL_MASK
    }

    pub(crate) const fn state(&self) -> State {
        match self.tail >> TAIL_BITS {
            0 => State::Live,
            1 => State::Dead,
            2 => State::Omitted,
            3 => State::Leftover,
            _ => State::Stuck,
        }
    }

    pub(crate) fn set_state(&mut self, state: State) {
        self.tail = self.seal_len() | (state as u32) << TAIL_BITS;
    }

    /// Whether it is to be removed.
    pub(crate) const fn is_to_go(&self) -> bool {
        matches!(self.state(), State::Omitted | State::Leftover)
    }

    /// Whether its records may still be read.
    pub(crate) const fn is_listed(&self) -> bool {
        matches!(self.state(), State::Live | State::Dead)
    }
}

/// A segment made ahead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spare {
    id: NonZeroU64,
    pub(crate) seed: u32,
    pub(crate) claimed: u32,
}

impl Spare {
    /// None has the id 0.
    pub(crate) fn new(id: SegmentId, seed: u32) -> Option<Self> {
        Some(Self {
            id: NonZeroU64::new(id.0)?,
            seed,
            claimed: 0,
        })
    }

    pub(crate) const fn id(&self) -> SegmentId {
        SegmentId(self.id.get())
    }
}

/// The records of one table in one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct TableRange {
    /// The table.
    pub table: u64,
    /// The sequence of its first record here.
    pub first: u64,
    /// The sequence of its last record here.
    pub last: u64,
    /// Its records here, deleted ones included.
    pub count: u32,
    /// The least and greatest record index, where records carry one.
    pub index: Option<(u64, u64)>,
    /// A bit for each sixty-fourth of the segment in which a frame with its records starts.
    pub(crate) blocks: u64,
}

impl TableRange {
    /// The range of a table whose first record is yet to be taken in.
    #[must_use]
    pub const fn starting(table: u64, first: u64) -> Self {
        Self {
            table,
            first,
            last: first,
            count: 0,
            index: None,
            blocks: 0,
        }
    }

    /// Takes in a record behind all others.
    pub fn take_in(&mut self, sequence: u64, index: Option<u64>) {
        self.last = sequence;
        self.count = self.count.saturating_add(1);
        if let Some(index) = index {
            let (min, max) = self.index.unwrap_or((index, index));
            self.index = Some((min.min(index), max.max(index)));
        }
    }
}

/// Bytes of a manifest's payload in front of its items.
pub(crate) const MANIFEST_HEAD_LEN: usize = 16;
/// Bytes of a manifest's item: a retained segment or a void.
pub(crate) const MANIFEST_ITEM_LEN: usize = 24;
const SEAL_HEAD_LEN: usize = 32;
const SEAL_CUT_LEN: usize = 8;
const SEAL_TABLE_LEN: usize = 28;
const SEAL_INDEX_LEN: usize = 4 * BLOCKS;

/// Bytes of the largest manifest or seal frame for so many facts.
pub(crate) const fn control_frame_len(segments: usize, voids: usize, tables: usize) -> usize {
    let manifest = manifest_frame_len(segments + 1, voids);
    let seal = seal_frame_len(tables, false);
    if manifest > seal { manifest } else { seal }
}

/// Bytes of the longest seal frame for so many tables; `index`: with where blocks start.
pub(crate) const fn seal_frame_len(tables: usize, index: bool) -> usize {
    frame::HEADER_LEN + SealFacts::len(MAX_CUTS, tables, SEAL_RECORD_INDEX, index)
}

/// Bytes of a manifest frame.
pub(crate) const fn manifest_frame_len(segments: usize, voids: usize) -> usize {
    frame::HEADER_LEN + MANIFEST_HEAD_LEN + MANIFEST_ITEM_LEN * (segments + voids)
}

/// The first bytes of a manifest's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ManifestHead {
    pub(crate) first_sequence: u64,
    pub(crate) segments: u32,
    pub(crate) voids: u32,
}

impl ManifestHead {
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            first_sequence: wire::u64_at(bytes, 0..8)?,
            segments: wire::u32_at(bytes, 8..12)?,
            voids: wire::u32_at(bytes, 12..16)?,
        })
    }

    /// Bytes of the payload that it stands in front of.
    pub(crate) fn payload_len(&self) -> u64 {
        MANIFEST_HEAD_LEN as u64 + MANIFEST_ITEM_LEN as u64 * (u64::from(self.segments) + u64::from(self.voids))
    }
}

/// Writes fixed fields one behind the other into a buffer that is known to be long enough.
pub(crate) struct Filler<'a> {
    bytes: &'a mut [u8],
    len: usize,
}

impl<'a> Filler<'a> {
    pub(crate) fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, len: 0 }
    }

    pub(crate) fn put(&mut self, field: &[u8]) {
        let end = self.len + field.len();
        wire::put(self.bytes, self.len..end, field);
        self.len = end;
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

/// Encodes a manifest's payload; returns its length.
pub(crate) fn encode_manifest<'a>(
    out: &mut [u8],
    first_sequence: u64,
    segments: impl Iterator<Item = &'a Retained> + Clone,
    voids: impl Iterator<Item = &'a Void> + Clone,
) -> usize {
    let mut out = Filler::new(out);
    out.put(&first_sequence.to_le_bytes());
    out.put(&(segments.clone().count() as u32).to_le_bytes());
    out.put(&(voids.clone().count() as u32).to_le_bytes());
    for segment in segments {
        out.put(&segment.id.to_le_bytes());
        out.put(&segment.first_sequence.to_le_bytes());
        out.put(&segment.end.to_le_bytes());
        out.put(&segment.seal_len().to_le_bytes());
    }
    for void in voids {
        out.put(&void.table.to_le_bytes());
        out.put(&void.from.to_le_bytes());
        out.put(&void.to.to_le_bytes());
    }
    out.len()
}

/// A retained segment as a manifest lists it.
pub(crate) fn decode_retained(item: &[u8]) -> Option<Retained> {
    let seal_len = wire::u32_at(item, 20..24)?;
    (seal_len <= SEAL_MASK).then_some(())?;
    Some(Retained::new(
        wire::u64_at(item, 0..8)?,
        wire::u64_at(item, 8..16)?,
        wire::u32_at(item, 16..20)?,
        seal_len,
    ))
}

/// A void as a manifest lists it.
pub(crate) fn decode_void(item: &[u8]) -> Option<Void> {
    Some(Void {
        table: wire::u64_at(item, 0..8)?,
        from: wire::u64_at(item, 8..16)?,
        to: wire::u64_at(item, 16..24)?,
    })
}

const SEAL_PARTIAL: u8 = 1;
const SEAL_INDEX: u8 = 2;
const SEAL_RECORD_INDEX: u8 = 4;

/// What a seal states.
pub(crate) struct SealFacts<'a> {
    pub(crate) successor: SegmentId,
    pub(crate) next_sequence: u64,
    pub(crate) records: u32,
    pub(crate) cuts: &'a Cuts,
    /// `None`: more tables than could be remembered.
    pub(crate) tables: Option<&'a [TableRange]>,
    pub(crate) blocks: Option<&'a [u32; BLOCKS]>,
}

impl SealFacts<'_> {
    /// Bytes of a payload that states no table.
    pub(crate) const LEAST_LEN: u32 = (SEAL_HEAD_LEN + SEAL_CUT_LEN * MAX_CUTS) as u32;

    /// Encodes as much as fits `out`: all, without the index, or without the tables. Returns the length.
    pub(crate) fn encode(&self, out: &mut [u8]) -> usize {
        let mut flags = 0;
        let mut tables = self.tables.unwrap_or_default();
        let mut blocks = self.blocks;
        if tables.iter().any(|range| range.index.is_some()) {
            flags |= SEAL_RECORD_INDEX;
        }
        if Self::len(self.cuts.len(), tables.len(), flags, blocks.is_some()) > out.len() {
            blocks = None;
        }
        if self.tables.is_none() || Self::len(self.cuts.len(), tables.len(), flags, false) > out.len() {
            flags = SEAL_PARTIAL;
            tables = &[];
            blocks = None;
        }
        if blocks.is_some() {
            flags |= SEAL_INDEX;
        }
        let mut out = Filler::new(out);
        out.put(&self.successor.0.to_le_bytes());
        out.put(&self.next_sequence.to_le_bytes());
        out.put(&(tables.len() as u32).to_le_bytes());
        out.put(&self.records.to_le_bytes());
        out.put(&[flags, self.cuts.len() as u8, 0, 0, 0, 0, 0, 0]);
        for cut in self.cuts.iter() {
            out.put(&cut.from.to_le_bytes());
            out.put(&cut.to.to_le_bytes());
        }
        for start in blocks.into_iter().flatten() {
            out.put(&start.to_le_bytes());
        }
        for range in tables {
            out.put(&range.table.to_le_bytes());
            out.put(&range.first.to_le_bytes());
            out.put(&range.last.to_le_bytes());
            out.put(&range.count.to_le_bytes());
            if blocks.is_some() {
                out.put(&range.blocks.to_le_bytes());
            }
            if flags & SEAL_RECORD_INDEX != 0 {
                // A table without indexes states an empty range.
                let (min, max) = range.index.unwrap_or((u64::MAX, 0));
                out.put(&min.to_le_bytes());
                out.put(&max.to_le_bytes());
            }
        }
        out.len()
    }

    const fn len(cuts: usize, tables: usize, flags: u8, index: bool) -> usize {
        let mut table_len = SEAL_TABLE_LEN;
        let mut len = SEAL_HEAD_LEN + SEAL_CUT_LEN * cuts;
        if index {
            table_len += 8;
            len += SEAL_INDEX_LEN;
        }
        if flags & SEAL_RECORD_INDEX != 0 {
            table_len += 16;
        }
        len + table_len * tables
    }

    /// The most tables that a seal frame of `frame_len` bytes can state.
    pub(crate) const fn max_tables(frame_len: u32) -> usize {
        (frame_len as usize).saturating_sub(frame::HEADER_LEN + SEAL_HEAD_LEN + SEAL_CUT_LEN * MAX_CUTS)
            / SEAL_TABLE_LEN
    }
}

/// Takes in the cuts that a seal lists; false where they are not rising and disjoint, or too many.
#[cfg_attr(not(feature = "alloc"), inline(never))]
fn decode_cuts(bytes: &[u8], cuts: &mut Cuts) -> bool {
    *cuts = Cuts::NONE;
    bytes.chunks_exact(SEAL_CUT_LEN).all(|cut| {
        let from = wire::u32_at(cut, 0..4).unwrap_or_default();
        let to = wire::u32_at(cut, 4..8).unwrap_or_default();
        from < to && cuts.push(Cut { from, to })
    }) && cuts.len() * SEAL_CUT_LEN == bytes.len()
}

fn are_cuts(bytes: &[u8]) -> bool {
    decode_cuts(bytes, &mut Cuts::default())
}

/// A seal's payload, checked once, decoded on demand.
#[derive(Clone, Copy, Debug)]
pub struct Footer<'a> {
    successor: SegmentId,
    next_sequence: u64,
    records: u32,
    flags: u8,
    cuts: &'a [u8],
    blocks: &'a [u8],
    tables: &'a [u8],
}

impl<'a> Footer<'a> {
    /// The footer in a seal frame that was read at `offset`, if it verifies.
    #[cfg(feature = "alloc")]
    pub(crate) fn of_frame(frame: &'a [u8], binding: &Binding, offset: u32, base: u32) -> Option<Self> {
        Self::parse(Self::verified(frame, binding, offset, base)?)
    }

    /// The payload of such a frame, which [`Footer::parse`] takes.
    #[cfg_attr(not(feature = "alloc"), inline(never))]
    pub(crate) fn verified(frame: &'a [u8], binding: &Binding, offset: u32, base: u32) -> Option<&'a [u8]> {
        let (head, payload) = frame.split_first_chunk()?;
        let header = Header::decode(head, binding, offset, base).ok()?;
        let whole = header.kind == Kind::Seal && header.payload_len as usize == payload.len();
        (whole && binding.checksum().of(payload) == header.payload_crc).then_some(payload)
    }

    /// Decodes a verified payload.
    ///
    /// # Errors
    /// [`Malformed`] where it does not decode although its checksum verifies.
    pub fn decode(payload: &'a [u8]) -> Result<Self, Malformed> {
        Self::parse(payload).ok_or(Malformed)
    }

    pub(crate) fn parse(payload: &'a [u8]) -> Option<Self> {
        let (head, rest) = payload.split_at_checked(SEAL_HEAD_LEN)?;
        let &[flags, cut_count, 0, 0, 0, 0, 0, 0] = head.get(24..32)? else {
            return None;
        };
        if flags & !(SEAL_PARTIAL | SEAL_INDEX | SEAL_RECORD_INDEX) != 0 {
            return None;
        }
        let (cuts, rest) = rest.split_at_checked(usize::from(cut_count) * SEAL_CUT_LEN)?;
        are_cuts(cuts).then_some(())?;
        let index_len = if flags & SEAL_INDEX != 0 { SEAL_INDEX_LEN } else { 0 };
        let (blocks, tables) = rest.split_at_checked(index_len)?;
        let footer = Self {
            successor: SegmentId(wire::u64_at(head, 0..8)?),
            next_sequence: wire::u64_at(head, 8..16)?,
            records: wire::u32_at(head, 20..24)?,
            flags,
            cuts,
            blocks,
            tables,
        };
        let count = wire::u32_at(head, 16..20)? as usize;
        (footer.table_len().checked_mul(count)? == tables.len()).then_some(footer)
    }

    const fn table_len(&self) -> usize {
        let index = if self.flags & SEAL_INDEX != 0 { 8 } else { 0 };
        let record_index = if self.flags & SEAL_RECORD_INDEX != 0 { 16 } else { 0 };
        SEAL_TABLE_LEN + index + record_index
    }

    /// The segment that the log goes on in.
    #[must_use]
    pub const fn successor(&self) -> SegmentId {
        self.successor
    }

    /// The sequence of the first record behind this segment.
    #[must_use]
    pub const fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// User records in the segment, deleted ones included.
    #[must_use]
    pub const fn records(&self) -> u32 {
        self.records
    }

    /// Whether [`Footer::tables`] names every table of the segment.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.flags & SEAL_PARTIAL == 0
    }

    /// Gives the cuts of the segment.
    pub(crate) fn put_cuts(&self, cuts: &mut Cuts) {
        decode_cuts(self.cuts, cuts);
    }

    /// The tables with records in the segment, by rising table.
    pub fn tables(&self) -> impl Iterator<Item = TableRange> + use<'a> {
        let (flags, len) = (self.flags, self.table_len());
        self.tables
            .chunks_exact(len)
            .filter_map(move |bytes| decode_table(bytes, flags))
    }

    /// The sequences of each table with records in the segment: what would delete all of them.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = Void> + use<'a> {
        self.tables.chunks_exact(self.table_len()).filter_map(|bytes| {
            Some(Void {
                table: wire::u64_at(bytes, 0..8)?,
                from: wire::u64_at(bytes, 8..16)?,
                to: wire::u64_at(bytes, 16..24)?,
            })
        })
    }

    /// The range of one table.
    #[must_use]
    pub fn table(&self, table: u64) -> Option<TableRange> {
        let len = self.table_len();
        let (mut low, mut high) = (0, self.tables.len() / len);
        while low < high {
            let middle = low.midpoint(high);
            let bytes = self.tables.get(middle * len..(middle + 1) * len)?;
            match wire::u64_at(bytes, 0..8)?.cmp(&table) {
                core::cmp::Ordering::Less => low = middle + 1,
                core::cmp::Ordering::Greater => high = middle,
                core::cmp::Ordering::Equal => return decode_table(bytes, self.flags),
            }
        }
        None
    }

    /// Where the first frame of block `block` starts, if the segment has an index and such a frame.
    #[must_use]
    pub fn block_start(&self, block: usize) -> Option<u32> {
        let start = wire::u32_at(self.blocks, 4 * block..4 * block + 4)?;
        (start != 0).then_some(start)
    }
}

fn decode_table(bytes: &[u8], flags: u8) -> Option<TableRange> {
    let (blocks, rest) = if flags & SEAL_INDEX != 0 {
        (wire::u64_at(bytes, 28..36)?, 36)
    } else {
        (u64::MAX, 28)
    };
    let index = if flags & SEAL_RECORD_INDEX != 0 {
        let min = wire::u64_at(bytes, rest..rest + 8)?;
        let max = wire::u64_at(bytes, rest + 8..rest + 16)?;
        (min <= max).then_some((min, max))
    } else {
        None
    };
    Some(TableRange {
        table: wire::u64_at(bytes, 0..8)?,
        first: wire::u64_at(bytes, 8..16)?,
        last: wire::u64_at(bytes, 16..24)?,
        count: wire::u32_at(bytes, 24..28)?,
        index,
        blocks,
    })
}
