//! One walk over the frames of one segment, fed with bytes: finds what is part of the log and where it ends.
//! Decides, does no I/O. Recovery, reading, reclaim and salvage all stand on this walk.
//!
//! The order is: manifest, then frames one behind the other. At the first offset that holds no frame of the
//! log, a look ahead over the rest of the segment decides between a resume frame that continues the log, a
//! clean end, a torn tail, and damage to bytes that a later watermark proves durable.

mod ahead;
mod payload;
pub(crate) mod walk;
mod window;

use crate::checksum::Checksum;
use crate::facts::Retained;
use crate::frame::{self, Binding, Header, HeaderError, Kind};
use crate::geometry::SegmentId;
use crate::mutation::{self, Mutation};
use crate::record::Void;
use crate::report::Reason;
use crate::scan::ahead::LookAhead;
use crate::scan::window::Window;
use crate::segment::cuts::{Cut, Cuts};
use crate::segment::layout::Layout;

/// What a walk may meet. Fits a register: what there is to say of it stands in the scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Bytes are wanted: those of [`Scan::wanted`].
    More,
    /// A cut was met that reaches back over frames already reported: forget them all, the walk starts anew.
    Restart,
    /// The manifest verified.
    Manifest,
    /// The manifest lists a segment: [`Scan::retained`].
    Retained,
    /// A range is dead, [`Scan::void`]: listed by the manifest, or deleted by a batch.
    Void { listed: bool },
    /// A frame of the log, at [`Scan::frame`]; the records of a batch follow.
    Frame { kind: Kind },
    /// A user record, the one at [`Scan::record`].
    Record,
    /// Nothing more: see [`Scan::end`].
    End,
}

/// Where a record stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordAt {
    pub(crate) table: u64,
    pub(crate) sequence: u64,
    pub(crate) value: u32,
    pub(crate) value_len: u32,
    pub(crate) timestamp: Option<u64>,
    pub(crate) index: Option<u64>,
    pub(crate) epoch: Option<u64>,
}

impl RecordAt {
    const NONE: Self = Self {
        table: 0,
        sequence: 0,
        value: 0,
        value_len: 0,
        timestamp: None,
        index: None,
        epoch: None,
    };
}

/// How a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// There is no manifest. `proven`: a later frame shows that there was a durable one. What else was ever written ends
    /// at `dirty_end`, as far as that can be told.
    NoManifest { proven: bool, dirty_end: u32 },
    /// Nothing was ever written behind `offset`.
    Clean { offset: u32 },
    /// What stands in `offset..dirty_end` was never acknowledged as durable. `sealed`: a seal is among it.
    Torn { offset: u32, dirty_end: u32, sealed: bool },
    /// The footer, verified; the log goes on in [`Scan::successor`].
    Sealed { offset: u32, end: u32 },
    /// The end that a manifest records was reached.
    Exact,
    /// Durable bytes are damaged.
    Damaged { offset: u32, damage: Damage },
}

/// What does not hold: the reasons of a corruption that one segment shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    Manifest,
    FrameHeader,
    FrameLength,
    Payload,
    Record,
    Sequence,
    Resume,
    Seal,
    Unsupported,
}

impl From<Damage> for Reason {
    fn from(damage: Damage) -> Self {
        match damage {
            Damage::Manifest => Self::Manifest,
            Damage::FrameHeader => Self::FrameHeader,
            Damage::FrameLength => Self::FrameLength,
            Damage::Payload => Self::Payload,
            Damage::Record => Self::Record,
            Damage::Sequence => Self::Sequence,
            Damage::Resume => Self::Resume,
            Damage::Seal => Self::Seal,
            Damage::Unsupported => Self::Unsupported,
        }
    }
}

/// How far the walk goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// The newest segment: bytes from here on read as erased.
    Extent(u32),
    /// A segment whose end a manifest records; everything before it was durable.
    Exact(u32),
    /// Only as far as the manifest, which may not be there.
    Probe(u32),
}

impl Limit {
    const fn end(self) -> u32 {
        match self {
            Self::Extent(end) | Self::Exact(end) | Self::Probe(end) => end,
        }
    }
}

/// The most bytes that a walk ever wants in one piece.
pub(crate) const MAX_WANTED_LEN: usize = 64;

/// How often a walk starts anew. Each time is a session that did not read what reads back now; beyond that the frames
/// were made up, and would cost a walk each, or name a place that no walk comes by, again and again.
const MAX_RESTARTS: u8 = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Header,
    Payload,
    Manifest,
    Epoch,
    Records,
    Seal,
    LookAhead,
    Ended,
}

/// The walk.
#[derive(Clone, Debug)]
pub(crate) struct Scan {
    binding: Binding,
    layout: Layout,
    limit: Limit,
    /// The incarnation that frames count from: a hint until the manifest verified, 0 for none.
    base: u32,
    incarnation: u32,
    first_sequence: u64,
    sequence: u64,
    /// Start of the frame in hand, or where the next is expected.
    offset: u32,
    watermark: u32,
    closed: bool,
    have_manifest: bool,
    cuts: Cuts,
    restarts: u8,
    /// Start of the frame met last.
    frame: u32,
    /// Of the frame in hand.
    header: Header,
    /// The record, the segment and the void met last.
    record: RecordAt,
    retained: Retained,
    void: Void,
    /// Bytes that are wanted: where they start, and how many.
    wanted: (u32, u32),
    phase: Phase,
    /// Where the payload of the frame in hand is read on, and its checksum up to there.
    at: u32,
    crc: u32,
    /// Items of the manifest still to come; the last of them are voids.
    items: u32,
    voids: u32,
    /// Where the records of the batch end.
    records_end: u32,
    /// No user record of the batch was met yet.
    first: bool,
    ahead: LookAhead,
    end: End,
}

impl Scan {
    /// Of no segment.
    pub(crate) const fn new() -> Self {
        Self {
            binding: Binding::new(Checksum::BITWISE, 0),
            layout: Layout::NONE,
            limit: Limit::Exact(0),
            base: 0,
            incarnation: 0,
            first_sequence: 0,
            sequence: 0,
            offset: 0,
            watermark: 0,
            closed: false,
            have_manifest: false,
            cuts: Cuts::NONE,
            restarts: 0,
            frame: 0,
            header: Header::NONE,
            record: RecordAt::NONE,
            retained: Retained::new(0, 0, 0, 0),
            void: Void {
                table: 0,
                from: 0,
                to: 0,
            },
            wanted: (0, 0),
            phase: Phase::Header,
            at: 0,
            crc: 0,
            items: 0,
            voids: 0,
            records_end: 0,
            first: false,
            ahead: LookAhead::NONE,
            end: End::Exact,
        }
    }

    /// Takes segments of this layout.
    pub(crate) const fn fit(&mut self, layout: Layout, checksum: Checksum) {
        self.layout = layout;
        self.binding = Binding::new(checksum, 0);
    }

    /// Walks a segment from the manifest on. `base`: an incarnation near that of the segment, for one whose manifest
    /// does not verify; 0 where none is known. `cuts`: those that are known beforehand.
    pub(crate) fn begin(&mut self, seed: u32, limit: Limit, base: u32, cuts: &Cuts) {
        self.binding = Binding::new(self.binding.checksum(), seed);
        self.limit = limit;
        self.base = base;
        self.cuts = *cuts;
        self.restarts = 0;
        self.rewind();
    }

    fn rewind(&mut self) {
        self.incarnation = self.base;
        self.first_sequence = 0;
        self.sequence = 0;
        self.offset = self.layout.frames_start();
        self.watermark = 0;
        self.closed = false;
        self.have_manifest = false;
        self.phase = Phase::Header;
    }

    fn erased(&self) -> Option<u8> {
        self.layout.geometry().erased()
    }

    /// The record met last.
    pub(crate) fn record(&self) -> &RecordAt {
        &self.record
    }

    /// The segment that the manifest listed last.
    pub(crate) fn retained(&self) -> &Retained {
        &self.retained
    }

    /// The void met last.
    pub(crate) fn void(&self) -> Void {
        self.void
    }

    /// Voids that the manifest lists.
    pub(crate) fn listed_voids(&self) -> u32 {
        self.voids
    }

    /// Start of the frame met last.
    pub(crate) fn frame(&self) -> u32 {
        self.frame
    }

    /// Bytes that are wanted: where they start, and at least how many.
    pub(crate) fn wanted(&self) -> (u32, u32) {
        self.wanted
    }

    /// How the walk ended.
    pub(crate) fn end(&self) -> End {
        self.end
    }

    /// The segment that a verified seal names.
    pub(crate) fn successor(&self) -> SegmentId {
        self.ahead.successor
    }

    /// Starts at a frame in the middle of a segment whose first sequence and cuts are known. False where no sequence
    /// follows from them.
    pub(crate) fn start_at(&mut self, offset: u32, header: &Header, first_sequence: u64) -> bool {
        self.have_manifest = true;
        self.offset = offset;
        self.incarnation = header.incarnation;
        self.first_sequence = first_sequence;
        let sequence = first_sequence.checked_add(u64::from(header.sequence_delta));
        self.sequence = sequence.unwrap_or_default();
        sequence.is_some()
    }

    pub(crate) const fn binding(&self) -> &Binding {
        &self.binding
    }

    /// The sequence behind the last record.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.sequence
    }

    pub(crate) fn first_sequence(&self) -> u64 {
        self.first_sequence
    }

    pub(crate) fn incarnation(&self) -> u32 {
        self.incarnation
    }

    pub(crate) fn base(&self) -> u32 {
        self.base
    }

    /// How far frames of the log say it was durable.
    pub(crate) fn watermark(&self) -> u32 {
        self.watermark
    }

    /// Whether the last frame closes a session.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Start of the frame in hand, or where the next is expected.
    pub(crate) fn offset(&self) -> u32 {
        self.offset
    }

    /// Where reading ahead stops to be worth it: no frame starts behind this offset.
    pub(crate) fn limit(&self) -> u32 {
        self.limit.end()
    }

    pub(crate) fn cuts(&self) -> &Cuts {
        &self.cuts
    }

    /// For those that are found before the walk.
    pub(crate) fn cuts_mut(&mut self) -> &mut Cuts {
        &mut self.cuts
    }

    /// The next event, from a window of bytes that starts at `window_offset`.
    pub(crate) fn next(&mut self, window_offset: u32, window: &[u8]) -> Event {
        let limit = match self.limit {
            // After a loss of power nobody can tell erased bytes that a frame ends in from ones that were never
            // written, so a storage may place the extent inside a frame that verifies.
            Limit::Extent(_) => self.layout.segment_len(),
            Limit::Exact(end) | Limit::Probe(end) => end,
        };
        let bytes = Window {
            offset: window_offset,
            bytes: window,
            limit,
        };
        loop {
            let step = match self.phase {
                Phase::Header => self.header(&bytes),
                Phase::Payload => self.payload(&bytes),
                Phase::Manifest => self.manifest(&bytes),
                Phase::Epoch => self.epoch(&bytes),
                Phase::Records => self.next_record(&bytes),
                Phase::Seal => self.seal(&bytes),
                Phase::LookAhead => self.look_ahead(&bytes),
                Phase::Ended => Some(Event::End),
            };
            if let Some(event) = step {
                return event;
            }
        }
    }

    /// Exactly `len` bytes at `at`; `None` where they are not in hand, which is noted.
    #[cfg_attr(feature = "alloc", inline)]
    fn take<'a>(&mut self, bytes: &Window<'a>, at: u32, len: u32) -> Option<&'a [u8]> {
        self.wanted = (at, len);
        if bytes.ends_before(at, len) {
            return None;
        }
        bytes.behind(at)?.get(..len as usize)
    }

    /// Bytes that were to be taken are not in hand: more are wanted, or the frame reaches behind the end of all.
    fn short(&mut self, bytes: &Window<'_>, damage: Damage) -> Option<Event> {
        if bytes.ends_before(self.wanted.0, self.wanted.1) {
            self.damaged(damage)
        } else {
            Some(Event::More)
        }
    }

    /// The walk ends so.
    fn ends(&mut self, end: End) -> Option<Event> {
        self.end = end;
        self.phase = Phase::Ended;
        None
    }

    /// The offset does not hold a frame of the log.
    fn invalid(&mut self, damage: Damage) -> Option<Event> {
        let payload_len = match self.phase {
            Phase::Payload => self.header.payload_len,
            _ => 0,
        };
        let torn_end = self.offset + frame::HEADER_LEN as u32 + payload_len;
        if matches!(self.limit, Limit::Probe(_)) {
            return self.ends(End::NoManifest {
                proven: false,
                dirty_end: self.offset,
            });
        }
        self.ahead = LookAhead {
            damage,
            at: if mutation::is(Mutation::NoLookAhead) {
                self.limit.end()
            } else {
                self.offset
            },
            dirty_end: self.offset,
            torn_end,
            ..LookAhead::NONE
        };
        self.phase = Phase::LookAhead;
        None
    }

    /// The offset holds a verified frame that no crash explains.
    #[cfg_attr(not(feature = "alloc"), inline(never))]
    fn damaged(&mut self, damage: Damage) -> Option<Event> {
        self.ends(End::Damaged {
            offset: self.offset,
            damage,
        })
    }

    fn header(&mut self, bytes: &Window<'_>) -> Option<Event> {
        if let Some(cut) = self.cuts.at(self.offset) {
            self.offset = cut.to;
        }
        let offset = self.offset;
        if let Limit::Exact(end) = self.limit
            && offset >= end
        {
            return self.ends(if self.have_manifest {
                End::Exact
            } else {
                End::NoManifest {
                    proven: true,
                    dirty_end: offset,
                }
            });
        }
        let header = match self.take(bytes, offset, frame::HEADER_LEN as u32) {
            Some(header)
                if mutation::is(Mutation::LengthBeforeChecksum)
                    && bytes.is_short_of(offset, frame::payload_len(header)) =>
            {
                self.wanted.1 = frame::payload_len(header);
                return Some(Event::More);
            }
            Some(bytes) => bytes.first_chunk().map_or(Err(HeaderError::Kind), |bytes| {
                if !self.have_manifest && self.base == 0 {
                    // Nothing else tells near which incarnation later frames are, should the manifest not verify. Those
                    // verify under the right one alone, so a wrong hint proves nothing.
                    self.base = frame::stated_incarnation(bytes);
                }
                Header::decode(bytes, &self.binding, offset, self.base)
            }),
            None if bytes.ends_before(offset, frame::HEADER_LEN as u32) => Err(HeaderError::Kind),
            None => return Some(Event::More),
        };
        let header = match header {
            Ok(header) => header,
            Err(HeaderError::Reserved) => return self.damaged(Damage::Unsupported),
            Err(_) => return self.invalid(Damage::FrameHeader),
        };
        self.header = header;
        let end = offset
            .checked_add(frame::HEADER_LEN as u32)
            .and_then(|end| end.checked_add(header.payload_len));
        let in_bounds = end.is_some_and(|end| match self.limit {
            Limit::Exact(limit) => end <= limit,
            Limit::Extent(_) | Limit::Probe(_) => end <= self.layout.segment_len(),
        });
        if !in_bounds || header.watermark > offset {
            return self.damaged(Damage::FrameLength);
        }
        if !self.have_manifest {
            if header.kind != Kind::Manifest {
                return self.invalid(Damage::Manifest);
            }
        } else if header.kind == Kind::Manifest {
            return self.damaged(Damage::Manifest);
        } else if header.kind == Kind::Resume {
            return self.resume();
        } else if header.incarnation != self.incarnation && !mutation::is(Mutation::AcceptAnyIncarnation) {
            // Left over from a session that was cut off here.
            return self.invalid(Damage::FrameHeader);
        } else if self.first_sequence.checked_add(u64::from(header.sequence_delta)) != Some(self.sequence) {
            return self.damaged(Damage::Sequence);
        }
        if header.kind.has_payload() {
            self.at = offset + frame::HEADER_LEN as u32;
            self.crc = 0;
            self.phase = Phase::Payload;
            return None;
        }
        Some(self.accept())
    }

    fn resume(&mut self) -> Option<Event> {
        let header = &self.header;
        let from = header.payload_crc;
        if header.incarnation <= self.incarnation || from > self.offset {
            return self.invalid(Damage::FrameHeader);
        }
        if from < self.offset && !self.cuts.iter().any(|cut| cut.from == from && cut.to == self.offset) {
            // Frames read before are void: their session ended at `from`.
            return self.restart(Cut { from, to: self.offset });
        }
        self.incarnation = header.incarnation;
        if self.first_sequence.checked_add(u64::from(self.header.sequence_delta)) != Some(self.sequence) {
            return self.damaged(Damage::Sequence);
        }
        Some(self.accept())
    }

    fn restart(&mut self, cut: Cut) -> Option<Event> {
        if cut.from < self.layout.frames_start() || !self.cuts.push(cut) {
            return self.damaged(Damage::Resume);
        }
        if self.restarts >= MAX_RESTARTS {
            return self.damaged(Damage::Resume);
        }
        self.restarts += 1;
        self.rewind();
        Some(Event::Restart)
    }

    /// Takes the frame in hand into the log and moves behind it.
    fn accept(&mut self) -> Event {
        let (header, offset) = (&self.header, self.offset);
        // A pad behind a close frame fills its sync unit, so that it can be synced.
        self.closed = header.kind == Kind::Close || (self.closed && header.kind == Kind::Pad);
        self.watermark = self.watermark.max(header.watermark);
        self.offset = self.layout.frame_after(offset, header.payload_len);
        self.frame = offset;
        self.phase = Phase::Header;
        Event::Frame { kind: self.header.kind }
    }
}
