//! One walk over the frames of one segment, fed with bytes: finds what is part of the log and where it ends.
//! Decides, does no I/O. Recovery, reading, reclaim and salvage all stand on this walk.
//!
//! The order is: manifest, then frames one behind the other. At the first offset that holds no frame of the
//! log, a look ahead over the rest of the segment decides between a resume frame that continues the log, a
//! clean end, a torn tail, and damage to bytes that a later watermark proves durable.

mod ahead;
mod payload;
mod window;

use crate::checksum::Checksum;
use crate::facts::{ManifestHead, Retained};
use crate::frame::{self, Binding, Header, HeaderError, Kind};
use crate::geometry::SegmentId;
use crate::mutation::{self, Mutation};
use crate::record::Void;
use crate::report::Reason;
use crate::scan::ahead::LookAhead;
use crate::scan::window::{Take, Window};
use crate::segment::cuts::{Cut, Cuts};
use crate::segment::layout::Layout;

/// What a walk may meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Bytes from here are wanted, at least `len` of them.
    More { offset: u32, len: u32 },
    /// A cut was met that reaches back over frames already reported: forget them all, the walk starts anew.
    Restart,
    /// The manifest verified.
    Manifest { head: ManifestHead, incarnation: u32 },
    /// The manifest lists a segment.
    Retained(Retained),
    /// A range is dead: listed by the manifest, or deleted by a batch.
    Void { void: Void, listed: bool },
    /// A frame of the log; the records of a batch follow.
    Frame { offset: u32, kind: Kind },
    /// A user record, the one at [`Scan::record`].
    Record,
    /// Nothing more.
    End(End),
}

/// Where a record stands.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RecordAt {
    pub(crate) table: u64,
    pub(crate) sequence: u64,
    pub(crate) value: u32,
    pub(crate) value_len: u32,
    pub(crate) timestamp: Option<u64>,
    pub(crate) index: Option<u64>,
    pub(crate) epoch: Option<u64>,
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
    /// The footer, verified; the log goes on in `successor`.
    Sealed {
        offset: u32,
        end: u32,
        successor: SegmentId,
    },
    /// The end that a manifest records was reached.
    Exact,
    /// Durable bytes are damaged.
    Damaged { offset: u32, reason: Reason },
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

#[derive(Clone, Copy, Debug)]
enum Phase {
    Header,
    Payload {
        at: u32,
        crc: u32,
    },
    Manifest {
        at: u32,
        left: u32,
        voids: u32,
    },
    Epoch,
    /// `first`: no user record of the batch was met yet.
    Records {
        at: u32,
        end: u32,
        first: bool,
    },
    Seal,
    LookAhead(LookAhead),
    Ended(End),
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
    /// Of the frame in hand.
    header: Header,
    /// The record met last.
    record: RecordAt,
    phase: Phase,
}

impl Scan {
    /// A walk over nothing yet.
    pub(crate) fn new(layout: Layout, checksum: Checksum) -> Self {
        Self {
            binding: Binding::new(checksum, 0),
            layout,
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
            header: Header::NONE,
            record: RecordAt::default(),
            phase: Phase::Header,
        }
    }

    /// Walks a segment from the manifest on. `base`: an incarnation near that of the segment, for one whose manifest
    /// does not verify; 0 where none is known. `cuts`: those that are known beforehand.
    pub(crate) fn begin(&mut self, seed: u32, limit: Limit, base: u32, cuts: Cuts) {
        self.binding = Binding::new(self.binding.checksum(), seed);
        self.limit = limit;
        self.base = base;
        self.cuts = cuts;
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

    pub(crate) fn binding(&self) -> &Binding {
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
                Phase::Payload { at, crc } => self.payload(&bytes, at, crc),
                Phase::Manifest { at, left, voids } => self.manifest(&bytes, at, left, voids),
                Phase::Epoch => self.epoch(&bytes),
                Phase::Records { at, end, first } => self.next_record(&bytes, at, end, first),
                Phase::Seal => self.seal(&bytes),
                Phase::LookAhead(ahead) => self.look_ahead(&bytes, ahead),
                Phase::Ended(end) => Some(Event::End(end)),
            };
            if let Some(event) = step {
                return event;
            }
        }
    }

    /// The offset does not hold a frame of the log.
    fn invalid(&mut self, reason: Reason) -> Option<Event> {
        let payload_len = match self.phase {
            Phase::Payload { .. } => self.header.payload_len,
            _ => 0,
        };
        let torn_end = self.offset + frame::HEADER_LEN as u32 + payload_len;
        self.phase = match self.limit {
            Limit::Probe(_) => Phase::Ended(End::NoManifest {
                proven: false,
                dirty_end: self.offset,
            }),
            Limit::Exact(_) | Limit::Extent(_) => Phase::LookAhead(LookAhead {
                reason,
                at: if mutation::is(Mutation::NoLookAhead) {
                    self.limit.end()
                } else {
                    self.offset
                },
                dirty_end: self.offset,
                torn_end,
                cut: None,
                proven: false,
                sealed: false,
                successor: SegmentId(0),
            }),
        };
        None
    }

    /// The offset holds a verified frame that no crash explains.
    fn damaged(&mut self, reason: Reason) -> Option<Event> {
        self.phase = Phase::Ended(End::Damaged {
            offset: self.offset,
            reason,
        });
        None
    }

    fn header(&mut self, bytes: &Window<'_>) -> Option<Event> {
        if let Some(cut) = self.cuts.at(self.offset) {
            self.offset = cut.to;
        }
        let offset = self.offset;
        if let Limit::Exact(end) = self.limit
            && offset >= end
        {
            self.phase = Phase::Ended(if self.have_manifest {
                End::Exact
            } else {
                End::NoManifest {
                    proven: true,
                    dirty_end: offset,
                }
            });
            return None;
        }
        let header = match bytes.take(offset, frame::HEADER_LEN as u32) {
            Take::Bytes(header)
                if mutation::is(Mutation::LengthBeforeChecksum)
                    && bytes.is_short_of(offset, frame::payload_len(header)) =>
            {
                let len = frame::payload_len(header);
                return Some(Event::More { offset, len });
            }
            Take::Bytes(bytes) => bytes.first_chunk().map_or(Err(HeaderError::Kind), |bytes| {
                if !self.have_manifest && self.base == 0 {
                    // Nothing else tells near which incarnation later frames are, should the manifest not verify. Those
                    // verify under the right one alone, so a wrong hint proves nothing.
                    self.base = frame::stated_incarnation(bytes);
                }
                Header::decode(bytes, &self.binding, offset, self.base)
            }),
            Take::More(more) => return Some(more),
            Take::Beyond => Err(HeaderError::Kind),
        };
        let header = match header {
            Ok(header) => header,
            Err(HeaderError::Reserved) => return self.damaged(Reason::Unsupported),
            Err(_) => return self.invalid(Reason::FrameHeader),
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
            return self.damaged(Reason::FrameLength);
        }
        if !self.have_manifest {
            if header.kind != Kind::Manifest {
                return self.invalid(Reason::Manifest);
            }
        } else if header.kind == Kind::Manifest {
            return self.damaged(Reason::Manifest);
        } else if header.kind == Kind::Resume {
            return self.resume();
        } else if header.incarnation != self.incarnation && !mutation::is(Mutation::AcceptAnyIncarnation) {
            // Left over from a session that was cut off here.
            return self.invalid(Reason::FrameHeader);
        } else if self.first_sequence.checked_add(u64::from(header.sequence_delta)) != Some(self.sequence) {
            return self.damaged(Reason::Sequence);
        }
        if header.kind.has_payload() {
            self.phase = Phase::Payload {
                at: offset + frame::HEADER_LEN as u32,
                crc: 0,
            };
            return None;
        }
        Some(self.accept())
    }

    fn resume(&mut self) -> Option<Event> {
        let header = &self.header;
        let from = header.payload_crc;
        if header.incarnation <= self.incarnation || from > self.offset {
            return self.invalid(Reason::FrameHeader);
        }
        if from < self.offset && !self.cuts.iter().any(|cut| cut.from == from && cut.to == self.offset) {
            // Frames read before are void: their session ended at `from`.
            return self.restart(Cut { from, to: self.offset });
        }
        self.incarnation = header.incarnation;
        if self.first_sequence.checked_add(u64::from(self.header.sequence_delta)) != Some(self.sequence) {
            return self.damaged(Reason::Sequence);
        }
        Some(self.accept())
    }

    fn restart(&mut self, cut: Cut) -> Option<Event> {
        if cut.from < self.layout.frames_start() || !self.cuts.push(cut) {
            return self.damaged(Reason::Resume);
        }
        if self.restarts >= MAX_RESTARTS {
            return self.damaged(Reason::Resume);
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
        self.phase = Phase::Header;
        Event::Frame {
            offset,
            kind: self.header.kind,
        }
    }
}
