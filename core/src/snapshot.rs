//! What a reader beside the writer needs to know of a region: plain values that stay true while the log goes on.
//! Decodes bytes that somebody else holds; does no I/O.

use alloc::vec::Vec;

use crate::capacity::BLOCKS;
use crate::checksum::Checksum;
use crate::facts::{Footer, Retained, TableRange};
use crate::frame::{self, Binding, Header, Kind};
use crate::geometry::SegmentId;
use crate::log::Log;
use crate::position::Position;
use crate::record::{Entries, Void};
use crate::report::{Corruption, Reason};
use crate::segment::cuts::Cuts;
use crate::segment::header;
use crate::segment::layout::Layout;
use crate::voids;
use crate::wire;

/// A region as it was at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    layout: Layout,
    checksum: Checksum,
    segments: Vec<Retained>,
    active: Segment,
    active_cuts: Cuts,
    active_tables: Option<Vec<TableRange>>,
    voids: Vec<Void>,
    next_sequence: u64,
}

/// A segment with data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its id.
    pub id: SegmentId,
    /// The sequence of its first record, or of the next one to come.
    pub first_sequence: u64,
    /// The sequence behind its last record; of the active segment at the moment of the snapshot.
    pub next_sequence: u64,
    /// Bytes with frames, from the start of the segment; of the active segment at the moment of the snapshot.
    pub end: u32,
    /// Whether it has a footer.
    pub sealed: bool,
}

impl<S> Log<'_, S> {
    /// The region as it is now. `with_tables`: the tables of the active segment too.
    #[must_use]
    pub fn snapshot(&self, with_tables: bool) -> Snapshot {
        let region = &self.engine.region;
        let active = &region.active;
        let tables = region.tables.complete().filter(|_| with_tables);
        // Not one longer than it needs to be: there is one for each open region.
        let mut segments = Vec::with_capacity(region.listed().count());
        segments.extend(region.listed().copied());
        Snapshot {
            layout: region.layout,
            checksum: region.checksum,
            segments,
            active: Segment {
                id: active.id,
                first_sequence: active.first_sequence,
                next_sequence: region.next_sequence,
                end: region.active_end(),
                sealed: false,
            },
            active_cuts: region.aside.cuts,
            active_tables: tables.map(Vec::from),
            voids: Vec::from(region.voids.as_slice()),
            next_sequence: region.next_sequence,
        }
    }
}

impl Snapshot {
    /// The last sequence given.
    #[must_use]
    pub const fn last_sequence(&self) -> u64 {
        self.next_sequence - 1
    }

    /// How many segments there are, the active one included.
    #[must_use]
    pub fn segment_count(&self) -> usize {
        self.segments.len() + 1
    }

    /// The segment at `at`, by rising id; the active one is the last.
    #[must_use]
    pub fn segment(&self, at: usize) -> Option<Segment> {
        let Some(segment) = self.segments.get(at) else {
            return (at == self.segments.len()).then_some(self.active);
        };
        let next = self.segments.get(at + 1);
        Some(Segment {
            id: segment.segment(),
            first_sequence: segment.first_sequence,
            next_sequence: next.map_or(self.active.first_sequence, |next| next.first_sequence),
            end: segment.end,
            sealed: segment.seal_len() > 0,
        })
    }

    /// Where the segment with this id stands in the list.
    #[must_use]
    pub fn position_of(&self, id: SegmentId) -> Option<usize> {
        if id == self.active.id {
            return Some(self.segments.len());
        }
        self.segments.binary_search_by_key(&id.0, |segment| segment.id).ok()
    }

    /// Where the segment that holds `sequence`, or the first one behind it, stands in the list.
    #[must_use]
    pub fn position_for(&self, sequence: u64) -> usize {
        let behind = self
            .segments
            .partition_point(|segment| segment.first_sequence <= sequence);
        if self.active.first_sequence <= sequence {
            self.segments.len()
        } else {
            behind.saturating_sub(1)
        }
    }

    /// The deleted ranges, by table and start, disjoint.
    #[must_use]
    pub fn voids(&self) -> &[Void] {
        &self.voids
    }

    /// Whether a record is deleted.
    #[must_use]
    #[cfg_attr(feature = "alloc", inline)]
    pub fn is_deleted(&self, table: u64, sequence: u64) -> bool {
        voids::covers(&self.voids, table, sequence)
    }

    /// The tables of the active segment, where the snapshot was taken with them and they could all be remembered.
    #[must_use]
    pub fn active_tables(&self) -> Option<&[TableRange]> {
        self.active_tables.as_deref()
    }

    /// The same segments with the deleted ranges of an earlier snapshot: what was deleted since is not to be believed.
    #[must_use]
    pub fn with_voids_of(mut self, earlier: &Self) -> Self {
        self.voids.clone_from(&earlier.voids);
        self
    }

    /// A reader of the segment at `at`. `bytes` are the segment's from its start to its end; of the active segment
    /// as far as they were written when they were lent.
    ///
    /// # Errors
    /// [`Corruption`] where header or manifest do not verify.
    pub fn reader<'a>(&self, at: usize, bytes: &'a [u8]) -> Result<SegmentReader<'a>, Corruption> {
        let facts = self.segment(at).unwrap_or(self.active);
        let corrupt = |offset, reason| Corruption {
            segment: facts.id,
            offset,
            reason,
        };
        let header = header::Header::decode(bytes, self.checksum).map_err(|error| corrupt(0, Reason::Header(error)))?;
        if header.segment != facts.id {
            return Err(corrupt(0, Reason::Identity { found: header.segment }));
        }
        let binding = header.binding(self.checksum);
        let start = self.layout.frames_start();
        let manifest = decode_at(bytes, &binding, start, 0).filter(|header| header.kind == Kind::Manifest);
        let frames = manifest.and_then(|manifest| frame_behind(self.layout, start, &manifest, bytes.len()));
        let (Some(manifest), Some(frames)) = (manifest, frames) else {
            return Err(corrupt(start, Reason::Manifest));
        };
        let mut reader = SegmentReader {
            bytes,
            segment: facts.id,
            layout: self.layout,
            binding,
            base: manifest.incarnation,
            first_sequence: facts.first_sequence,
            start: frames,
            frames_end: bytes.len(),
            cuts: self.active_cuts,
            footer: None,
        };
        if let Some(retained) = self.segments.get(at) {
            // A damaged footer costs nothing but time: what it says is found in the frames.
            reader.frames_end = bytes.len().saturating_sub(retained.seal_len() as usize);
            let seal = bytes.get(reader.frames_end..).unwrap_or_default();
            reader.footer = Footer::of_frame(seal, &reader.binding, reader.frames_end as u32, reader.base);
            match &reader.footer {
                Some(footer) => footer.put_cuts(&mut reader.cuts),
                None => {
                    let behind = bytes.get(frames as usize..).unwrap_or_default();
                    reader.cuts = Cuts::NONE;
                    reader
                        .cuts
                        .find(behind, frames, self.layout, &reader.binding, reader.base);
                }
            }
        }
        Ok(reader)
    }
}

fn decode_at(bytes: &[u8], binding: &Binding, offset: u32, base: u32) -> Option<Header> {
    let bytes = bytes.get(offset as usize..)?.first_chunk()?;
    Header::decode(bytes, binding, offset, base).ok()
}

/// Where the frame behind one that must end before `end` may start.
#[cfg_attr(feature = "alloc", inline)]
fn frame_behind(layout: Layout, offset: u32, header: &Header, end: usize) -> Option<u32> {
    let room = end.checked_sub(offset as usize + frame::HEADER_LEN)?;
    (header.payload_len as usize <= room).then(|| layout.frame_after(offset, header.payload_len))
}

/// Reads the frames of one segment from bytes in memory.
#[derive(Clone, Copy, Debug)]
pub struct SegmentReader<'a> {
    bytes: &'a [u8],
    segment: SegmentId,
    layout: Layout,
    binding: Binding,
    base: u32,
    first_sequence: u64,
    start: u32,
    /// Where the footer starts.
    frames_end: usize,
    cuts: Cuts,
    footer: Option<Footer<'a>>,
}

impl<'a> SegmentReader<'a> {
    /// The footer, where there is one that verifies.
    #[must_use]
    pub const fn footer(&self) -> Option<&Footer<'a>> {
        self.footer.as_ref()
    }

    /// All frames with records.
    #[must_use]
    pub fn frames(&self) -> Frames<'a> {
        Frames {
            reader: *self,
            offset: self.start,
            sequence: None,
            has_cuts: self.cuts.len() > 0,
            blocks: u64::MAX,
            failed: false,
        }
    }

    /// The frames with records from the one on that holds `sequence`, found with the footer's index where there is
    /// one. `table`: frames that hold no record of it may be left out.
    #[must_use]
    pub fn frames_from(&self, sequence: u64, table: Option<u64>) -> Frames<'a> {
        let mut frames = self.frames();
        let Some(footer) = &self.footer else { return frames };
        frames.blocks = match table.map(|table| footer.table(table)) {
            Some(Some(range)) => range.blocks,
            Some(None) if footer.is_complete() => 0,
            _ => u64::MAX,
        };
        // Every frame before one whose first sequence is not behind the wanted one can be left out.
        let starts = (0..BLOCKS).filter_map(|block| footer.block_start(block));
        for start in starts {
            match decode_at(self.bytes, &self.binding, start, self.base) {
                Some(header) if self.first_sequence.saturating_add(header.sequence_delta.into()) <= sequence => {
                    frames.offset = start;
                }
                _ => break,
            }
        }
        frames
    }

    /// The frame that a position names; `None` where it is of another log, or was cut off.
    #[must_use]
    pub fn frame_at(&self, position: &Position) -> Option<Result<Frame<'a>, Corruption>> {
        (!self.cuts.hold(position.offset)).then_some(())?;
        let header_bytes = self.bytes.get(position.offset as usize..)?;
        let header = decode_at(self.bytes, &self.binding, position.offset, self.base)?;
        (header.kind == Kind::Batch && position.matches(header_bytes)).then_some(())?;
        let mut frames = self.frames();
        frames.offset = position.offset;
        frames.next()
    }
}

/// One batch of a segment, verified.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    offset: u32,
    check: u32,
    segment: SegmentId,
    first_sequence: u64,
    with_epoch: bool,
    payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Bytes from the start of the segment.
    #[must_use]
    pub const fn offset(&self) -> u32 {
        self.offset
    }

    /// The position of its first record.
    #[must_use]
    pub const fn position(&self) -> Position {
        Position {
            segment: self.segment.0,
            offset: self.offset,
            record: 0,
            check: self.check,
        }
    }

    /// Its records and deletions.
    ///
    /// # Errors
    /// [`Corruption`] where they do not decode although their checksum verifies.
    #[cfg_attr(feature = "alloc", inline)]
    pub fn entries(&self) -> Result<Entries<'a>, Corruption> {
        Entries::new(self.payload, self.first_sequence, self.with_epoch).map_err(|_| self.malformed())
    }

    /// The error of entries that do not decode.
    #[must_use]
    #[cfg_attr(feature = "alloc", inline)]
    pub const fn malformed(&self) -> Corruption {
        Corruption {
            segment: self.segment,
            offset: self.offset,
            reason: Reason::Record,
        }
    }
}

/// The verified batches of a segment, in order. Ends after an error.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    reader: SegmentReader<'a>,
    offset: u32,
    /// The sequence that must come next, once a frame was seen.
    sequence: Option<u64>,
    has_cuts: bool,
    /// Blocks of the index in which frames that matter start.
    blocks: u64,
    failed: bool,
}

impl<'a> Frames<'a> {
    /// Moves over blocks of the index that hold nothing of interest; false where none is left.
    #[cfg_attr(feature = "alloc", inline)]
    fn skip_blocks(&mut self) -> bool {
        if self.blocks == u64::MAX {
            return true;
        }
        let block = self.offset / self.reader.layout.segment_len().div_ceil(BLOCKS as u32);
        let ahead = self.blocks.checked_shr(block).unwrap_or(0);
        if ahead & 1 == 1 {
            return true;
        }
        let next = block + ahead.trailing_zeros();
        let start = self.reader.footer.and_then(|footer| footer.block_start(next as usize));
        match start {
            _ if ahead == 0 => self.offset = self.reader.bytes.len() as u32,
            Some(start) if start > self.offset => self.offset = start,
            // An index that leads back, or nowhere, is not believed: frame by frame then.
            _ => self.blocks = u64::MAX,
        }
        ahead != 0
    }

    fn fail(&mut self, reason: Reason) -> Option<Result<Frame<'a>, Corruption>> {
        self.failed = true;
        Some(Err(Corruption {
            segment: self.reader.segment,
            offset: self.offset,
            reason,
        }))
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, Corruption>;

    #[cfg_attr(feature = "alloc", inline)]
    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        match self.step() {
            Ok(frame) => frame.map(Ok),
            Err(reason) => self.fail(reason),
        }
    }
}

impl<'a> Frames<'a> {
    #[cfg_attr(feature = "alloc", inline)]
    fn step(&mut self) -> Result<Option<Frame<'a>>, Reason> {
        while (self.offset as usize) < self.reader.frames_end && self.skip_blocks() {
            if self.has_cuts
                && let Some(cut) = self.reader.cuts.at(self.offset)
            {
                self.offset = cut.to;
            }
            // By reference: it is some hundred bytes long.
            let reader = &self.reader;
            let offset = self.offset;
            let at = reader.bytes.get(offset as usize..);
            let (head, rest) = at.and_then(<[u8]>::split_first_chunk).ok_or(Reason::FrameHeader)?;
            let header = Header::decode(head, &reader.binding, offset, reader.base).map_err(|_| Reason::FrameHeader)?;
            let next = frame_behind(reader.layout, offset, &header, reader.bytes.len()).ok_or(Reason::FrameLength)?;
            if header.kind != Kind::Batch {
                self.offset = if header.kind == Kind::Seal {
                    reader.bytes.len() as u32
                } else {
                    next
                };
                continue;
            }
            let first_sequence = reader
                .first_sequence
                .checked_add(header.sequence_delta.into())
                .ok_or(Reason::Sequence)?;
            let payload = rest.get(..header.payload_len as usize).ok_or(Reason::FrameLength)?;
            if reader.binding.checksum().of(payload) != header.payload_crc {
                return Err(Reason::Payload);
            }
            if self.sequence.is_some_and(|sequence| first_sequence < sequence) {
                return Err(Reason::Sequence);
            }
            let frame = Frame {
                offset,
                check: wire::u32_at(head, 20..24).unwrap_or_default(),
                segment: reader.segment,
                first_sequence,
                with_epoch: header.with_epoch,
                payload,
            };
            self.sequence = Some(first_sequence);
            self.offset = next;
            return Ok(Some(frame));
        }
        Ok(None)
    }
}
