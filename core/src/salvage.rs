//! What can still be read of a damaged region: everything that verifies, with the gaps named. Changes nothing.
//!
//! Works on the bytes of one segment at a time, in two rounds: first every segment is shown to
//! [`Salvage::learn`], because a segment whose manifest is damaged can be dated by what others say of it; then
//! each is given to [`Salvage::segment`].

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cell::Cell;

use crate::checksum::Checksum;
use crate::error::Error;
use crate::facts::{Footer, MANIFEST_HEAD_LEN, MANIFEST_ITEM_LEN, ManifestHead, decode_retained};
use crate::fault::{Fault, Found, StorageError};
use crate::frame::{self, Binding, Header, HeaderError, Kind};
use crate::geometry::SegmentId;
use crate::record::{Entries, Entry, Record, Void};
use crate::report::Reason;
use crate::segment::cuts::Cuts;
use crate::segment::header;
use crate::segment::layout::Layout;
use crate::storage::Storage;

/// Something that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Salvaged<'a> {
    /// A record whose checksums verify, deleted or not.
    Record {
        /// The record. Where `dated` is false its sequence counts from the segment's first record as 1.
        record: Record<'a>,
        /// Whether its sequence is known.
        dated: bool,
    },
    /// A deletion of a batch. Those that only a manifest still states are not repeated here.
    Void(Void),
    /// Bytes that hold nothing that verifies, although something was there.
    Gap(Gap),
}

/// Bytes `from..to` of a segment do not verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Gap {
    /// The segment.
    pub segment: SegmentId,
    /// Where it starts, in bytes from the start of the segment.
    pub from: u32,
    /// Where the next thing that verifies starts, or the last byte that is not erased ends.
    pub to: u32,
    /// What does not hold at `from`.
    pub reason: Reason,
}

/// What the segments of a region say of each other.
#[derive(Debug)]
pub struct Salvage {
    checksum: Checksum,
    /// The first sequence of segments, as manifests and footers state it.
    first_sequences: BTreeMap<SegmentId, u64>,
    /// The ends of segments, as manifests state them.
    ends: BTreeMap<SegmentId, u32>,
    /// The incarnations of manifests, by segment: hints for those without.
    bases: BTreeMap<SegmentId, u32>,
}

/// How many times its own length a segment's damaged payloads may cost.
const PATIENCE: usize = 8;

/// One segment in hand.
struct Bytes<'a> {
    bytes: &'a [u8],
    layout: Layout,
    erased: Option<u8>,
    binding: Binding,
    base: u32,
    /// Bytes that payloads which do not verify may still cost.
    patience: Cell<usize>,
}

impl Salvage {
    /// Knows nothing yet.
    #[must_use]
    pub const fn new(checksum: Checksum) -> Self {
        Self {
            checksum,
            first_sequences: BTreeMap::new(),
            ends: BTreeMap::new(),
            bases: BTreeMap::new(),
        }
    }

    /// An incarnation from which those of a segment's frames count, as far as other segments tell.
    fn base_near(&self, id: SegmentId) -> Option<u32> {
        let below = self.bases.range(..id).next_back().map(|(_, &base)| base);
        // Incarnations rise with ids: those of the segment end at the one above, at the latest.
        let above = || self.bases.range(id..).next();
        below.or_else(|| above().map(|(_, base)| base.saturating_sub(u32::from(u16::MAX))))
    }

    fn open<'a>(&self, id: SegmentId, bytes: &'a [u8]) -> Result<Bytes<'a>, Reason> {
        let header = header::Header::decode(bytes, self.checksum).map_err(Reason::Header)?;
        if header.segment != id {
            return Err(Reason::Identity { found: header.segment });
        }
        let mut bytes = Bytes {
            bytes,
            layout: Layout::new(header.geometry),
            erased: header.geometry.erased(),
            binding: header.binding(self.checksum),
            base: 0,
            patience: Cell::new(bytes.len().saturating_mul(PATIENCE)),
        };
        bytes.base = bytes
            .own_base()
            .or_else(|| self.base_near(id))
            .unwrap_or_else(|| bytes.stated_base());
        Ok(bytes)
    }

    /// Takes in what a segment says of itself and of others.
    pub fn learn(&mut self, id: SegmentId, bytes: &[u8]) {
        let Ok(segment) = self.open(id, bytes) else { return };
        let start = segment.layout.frames_start();
        if let Some(base) = segment.own_base() {
            self.bases.insert(id, base);
        }
        if let Some(payload) = segment.verified(start, Kind::Manifest)
            && let Some(head) = ManifestHead::decode(payload)
        {
            self.first_sequences.insert(id, head.first_sequence);
            let items = payload.get(MANIFEST_HEAD_LEN..).unwrap_or_default();
            for item in items.chunks_exact(MANIFEST_ITEM_LEN).take(head.segments as usize) {
                if let Some(retained) = decode_retained(item) {
                    let first = self.first_sequences.entry(retained.segment());
                    first.or_insert(retained.first_sequence);
                    self.ends.insert(retained.segment(), retained.end);
                }
            }
        }
        let mut at = start;
        while let Some(found) = segment.next_frame(at) {
            if let Ok(header) = segment.header(found)
                && header.kind == Kind::Seal
                && let Some(payload) = segment.verified(found, Kind::Seal)
                && let Ok(footer) = Footer::decode(payload)
            {
                let first = self.first_sequences.entry(footer.successor());
                first.or_insert(footer.next_sequence());
            }
            at = segment.behind(found);
        }
    }

    /// Shows everything in a segment that verifies, in order, and the gaps between.
    pub fn segment(&self, id: SegmentId, bytes: &[u8], visit: &mut dyn FnMut(Salvaged<'_>)) {
        let gap = |from, to, reason| {
            Salvaged::Gap(Gap {
                segment: id,
                from,
                to,
                reason,
            })
        };
        let segment = match self.open(id, bytes) {
            Ok(segment) => segment,
            Err(reason) => {
                visit(gap(0, bytes.len() as u32, reason));
                return;
            }
        };
        let first_sequence = self.first_sequences.get(&id).copied();
        let cuts = segment.cuts();
        let mut at = segment.layout.frames_start();
        loop {
            if let Some(cut) = cuts.at(at) {
                at = cut.to;
            }
            let found = segment.next_frame(at);
            let known_end = self.ends.get(&id).copied().unwrap_or(0).min(bytes.len() as u32);
            let end = found.unwrap_or_else(|| segment.dirty_end(at).max(known_end));
            if end > at {
                visit(gap(at, end, segment.reason(at)));
            }
            let Some(found) = found else { return };
            let Ok(header) = segment.header(found) else { return };
            at = segment.behind(found);
            if header.kind != Kind::Batch {
                if header.kind == Kind::Seal {
                    return;
                }
                continue;
            }
            let payload = segment.verified(found, Kind::Batch).unwrap_or_default();
            let first = first_sequence.unwrap_or(1).checked_add(header.sequence_delta.into());
            let Some(first) = first else {
                visit(gap(found, at, Reason::Sequence));
                continue;
            };
            let entries = Entries::new(payload, first, header.with_epoch);
            for entry in entries.into_iter().flatten() {
                match entry {
                    Ok(Entry::Record(record)) => visit(Salvaged::Record {
                        record,
                        dated: first_sequence.is_some(),
                    }),
                    Ok(Entry::Void(void)) => visit(Salvaged::Void(void)),
                    Err(_) => visit(gap(found, at, Reason::Record)),
                }
            }
        }
    }
}

impl<'a> Bytes<'a> {
    fn header(&self, offset: u32) -> Result<Header, HeaderError> {
        let bytes = self.bytes.get(offset as usize..).and_then(<[u8]>::first_chunk);
        bytes.map_or(Err(HeaderError::Kind), |bytes| {
            Header::decode(bytes, &self.binding, offset, self.base)
        })
    }

    /// The incarnation of the manifest, if its header verifies.
    fn own_base(&self) -> Option<u32> {
        let header = self.header(self.layout.frames_start()).ok()?;
        (header.kind == Kind::Manifest).then_some(header.incarnation)
    }

    /// What the manifest states although it does not verify: frames verify under the right incarnation alone, so a wrong
    /// one does no harm.
    fn stated_base(&self) -> u32 {
        let start = self.layout.frames_start() as usize;
        self.bytes.get(start..).map_or(0, frame::stated_incarnation)
    }

    /// The payload of a frame of this kind, if it verifies.
    fn verified(&self, offset: u32, kind: Kind) -> Option<&'a [u8]> {
        let header = self.header(offset).ok().filter(|header| header.kind == kind)?;
        let rest = self.bytes.get(offset as usize + frame::HEADER_LEN..)?;
        let payload = rest.get(..header.payload_len as usize)?;
        // Headers that verify in front of payloads that do not, all of them long: each would cost the rest of the
        // segment. Damage alone costs its bytes once in each round.
        let left = self.patience.get().checked_sub(payload.len())?;
        if self.binding.checksum().of(payload) == header.payload_crc {
            return Some(payload);
        }
        self.patience.set(left);
        None
    }

    /// Whether a frame verifies at `offset`, payload and all.
    fn is_frame(&self, offset: u32) -> bool {
        match self.header(offset) {
            Ok(header) if header.kind.has_payload() => self.verified(offset, header.kind).is_some(),
            Ok(header) => {
                let room = (self.bytes.len() as u32).checked_sub(offset + frame::HEADER_LEN as u32);
                room.is_some_and(|room| header.payload_len <= room)
            }
            Err(_) => false,
        }
    }

    /// The first frame at `offset` or behind it.
    fn next_frame(&self, offset: u32) -> Option<u32> {
        let align = self.layout.frame_align();
        let mut at = self.layout.frame_at(offset);
        while (at as usize) < self.bytes.len() {
            let kind = self.bytes.get(at as usize).copied().unwrap_or_default();
            if (1..=Kind::Pad as u8).contains(&kind) && self.is_frame(at) {
                return Some(at);
            }
            at += align;
        }
        None
    }

    /// Where the frame behind the one at `offset` may start.
    fn behind(&self, offset: u32) -> u32 {
        let len = self.header(offset).map_or(0, |header| header.payload_len);
        self.layout.frame_after(offset, len)
    }

    /// The end of the last byte behind `offset` that was ever written, as far as that can be told.
    fn dirty_end(&self, offset: u32) -> u32 {
        let rest = self.bytes.get(offset as usize..).unwrap_or_default();
        let last = self
            .erased
            .and_then(|erased| rest.iter().rposition(|&byte| byte != erased));
        last.map_or(offset, |last| offset + last as u32 + 1)
    }

    fn reason(&self, offset: u32) -> Reason {
        match self.header(offset) {
            Ok(_) => Reason::Payload,
            Err(_) if offset == self.layout.frames_start() => Reason::Manifest,
            Err(_) => Reason::FrameHeader,
        }
    }

    /// What resume frames cut off: no part of the log although it may verify.
    fn cuts(&self) -> Cuts {
        let (mut cuts, start) = (Cuts::NONE, self.layout.frames_start());
        let frames = self.bytes.get(start as usize..).unwrap_or_default();
        cuts.find(frames, start, self.layout, &self.binding, self.base);
        cuts
    }
}

/// Salvages a whole storage: shows what verifies, segment by segment by rising id. A read that fails leaves a gap.
///
/// # Errors
/// [`Error::Storage`] where the segments cannot be listed, or the device fails other than by damaged bytes.
pub fn salvage<S: Storage>(
    storage: &mut S,
    checksum: Checksum,
    visit: &mut dyn FnMut(Salvaged<'_>),
) -> Result<(), Error<S::Error>> {
    let mut ids = Vec::new();
    storage
        .segments(&mut |found| {
            if let Found::Segment(id) = found {
                ids.push(id);
            }
            core::ops::ControlFlow::Continue(())
        })
        .map_err(Error::Storage)?;
    ids.sort_unstable();
    let mut salvage = Salvage::new(checksum);
    for &id in &ids {
        salvage.learn(id, &read_all(storage, id)?);
    }
    for &id in &ids {
        salvage.segment(id, &read_all(storage, id)?, visit);
    }
    Ok(())
}

/// The bytes of a segment; what the medium says is damaged reads as bytes that do not verify.
fn read_all<S: Storage>(storage: &mut S, id: SegmentId) -> Result<Vec<u8>, Error<S::Error>> {
    const PIECE: u32 = 4096;
    const LEAST_PIECE: u32 = 8;
    let len = storage.geometry().segment_len();
    let mut bytes = Vec::new();
    let mut buffer = [0; PIECE as usize];
    let (mut at, mut narrow_to) = (0, 0);
    while at < len {
        let piece = if at < narrow_to { LEAST_PIECE } else { PIECE }.min(len - at);
        match storage.read(id, at, piece, &mut buffer) {
            Ok(read) if !read.is_empty() => {
                let read = read.get(..piece as usize).unwrap_or(read);
                bytes.extend_from_slice(read);
                at += read.len() as u32;
                continue;
            }
            Ok(_) => {}
            // One bad unit is not to cost what stands around it.
            Err(error) if error.fault() == Fault::Unreadable && piece > LEAST_PIECE => {
                narrow_to = at + piece;
                continue;
            }
            Err(error) if error.fault() == Fault::Unreadable => {}
            Err(error) => return Err(Error::Storage(error)),
        }
        bytes.resize(bytes.len() + piece as usize, 0xa5);
        at += piece;
    }
    Ok(bytes)
}
