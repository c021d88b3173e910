//! One walk over the frames of one segment, fed with bytes: finds what is part of the log and where it ends.
//! Decides, does no I/O. Recovery, reading, reclaim and salvage all stand on this walk.
//!
//! The order is: manifest, then frames one behind the other. At the first offset that holds no frame of the
//! log, a look ahead over the rest of the segment decides between a resume frame that continues the log, a
//! clean end, a torn tail, and damage to bytes that a later watermark proves durable.

mod ahead;
mod payload;
mod window;

use crate::facts::{Cut, Cuts, ManifestHead, Retained};
use crate::frame::{self, Binding, Header, HeaderError, Kind};
use crate::geometry::SegmentId;
use crate::mutation::{self, Mutation};
use crate::record::Void;
use crate::report::Reason;
use crate::scan::ahead::LookAhead;
use crate::scan::window::{Take, Window};
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
    Frame { offset: u32, header: Header },
    /// A user record; its value stands at `value`.
    Record(RecordAt),
    /// Nothing more.
    End(End),
}

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// There is no manifest. `proven`: a later frame shows that there was a durable one. `blank`: nothing else is
    /// there either.
    NoManifest { proven: bool, blank: bool },
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
        header: Header,
        at: u32,
        crc: u32,
    },
    Manifest {
        at: u32,
        left: u32,
        voids: u32,
    },
    Epoch {
        header: Header,
    },
    Records {
        at: u32,
        end: u32,
        table: Option<u64>,
        epoch: Option<u64>,
    },
    Seal {
        header: Header,
    },
    LookAhead(LookAhead),
    Ended(End),
}

/// The walk.
#[derive(Clone, Debug)]
pub(crate) struct Scan {
    binding: Binding,
    layout: Layout,
    erased: Option<u8>,
    limit: Limit,
    /// The incarnation that frames count from: a hint until the manifest verified.
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
    phase: Phase,
}

impl Scan {
    /// A walk from the manifest on. `base`: an incarnation near that of the segment, for one whose manifest
    /// does not verify.
    pub(crate) fn new(binding: Binding, layout: Layout, erased: Option<u8>, limit: Limit, base: u32) -> Self {
        Self {
            binding,
            layout,
            erased,
            limit,
            base,
            incarnation: base,
            first_sequence: 0,
            sequence: 0,
            offset: layout.frames_start(),
            watermark: 0,
            closed: false,
            have_manifest: false,
            cuts: Cuts::default(),
            restarts: 0,
            phase: Phase::Header,
        }
    }

    /// The same walk, with cuts that are known beforehand.
    pub(crate) fn with_cuts(mut self, cuts: Cuts) -> Self {
        self.cuts = cuts;
        self
    }

    /// A walk that starts at a frame in the middle of a segment whose manifest and cuts are known.
    pub(crate) fn starting_at(mut self, offset: u32, start: Start) -> Self {
        self.have_manifest = true;
        self.offset = offset;
        self.base = start.base;
        self.incarnation = start.incarnation;
        self.first_sequence = start.first_sequence;
        self.sequence = start.sequence;
        self.cuts = start.cuts;
        self
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
                Phase::Payload { header, at, crc } => self.payload(&bytes, header, at, crc),
                Phase::Manifest { at, left, voids } => self.manifest(&bytes, at, left, voids),
                Phase::Epoch { header } => self.epoch(&bytes, header),
                Phase::Records { at, end, table, epoch } => self.record(&bytes, at, end, table, epoch),
                Phase::Seal { header } => self.seal(&bytes, header),
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
            Phase::Payload { header, .. } => header.payload_len,
            _ => 0,
        };
        let torn_end = self.offset + frame::HEADER_LEN as u32 + payload_len;
        self.phase = match self.limit {
            Limit::Probe(_) => Phase::Ended(End::NoManifest {
                proven: false,
                blank: false,
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
                    blank: false,
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
            return self.resume(header);
        } else if header.incarnation != self.incarnation && !mutation::is(Mutation::AcceptAnyIncarnation) {
            // Left over from a session that was cut off here.
            return self.invalid(Reason::FrameHeader);
        } else if self.first_sequence.checked_add(u64::from(header.sequence_delta)) != Some(self.sequence) {
            return self.damaged(Reason::Sequence);
        }
        if header.kind.has_payload() {
            self.phase = Phase::Payload {
                header,
                at: offset + frame::HEADER_LEN as u32,
                crc: 0,
            };
            return None;
        }
        Some(self.accept(header))
    }

    fn resume(&mut self, header: Header) -> Option<Event> {
        let from = header.payload_crc;
        if header.incarnation <= self.incarnation || from > self.offset {
            return self.invalid(Reason::FrameHeader);
        }
        if from < self.offset && !self.cuts.iter().any(|cut| cut.from == from && cut.to == self.offset) {
            // Frames read before are void: their session ended at `from`.
            return self.restart(Cut { from, to: self.offset });
        }
        self.incarnation = header.incarnation;
        if self.first_sequence.checked_add(u64::from(header.sequence_delta)) != Some(self.sequence) {
            return self.damaged(Reason::Sequence);
        }
        Some(self.accept(header))
    }

    fn restart(&mut self, cut: Cut) -> Option<Event> {
        if cut.from < self.layout.frames_start() || !self.cuts.push(cut) {
            return self.damaged(Reason::Resume);
        }
        if self.restarts >= MAX_RESTARTS {
            return self.damaged(Reason::Resume);
        }
        let (cuts, restarts) = (self.cuts, self.restarts + 1);
        *self = Self::new(self.binding, self.layout, self.erased, self.limit, self.base);
        (self.cuts, self.restarts) = (cuts, restarts);
        Some(Event::Restart)
    }

    /// Takes the frame in hand into the log and moves behind it.
    fn accept(&mut self, header: Header) -> Event {
        let offset = self.offset;
        // A pad behind a close frame fills its sync unit, so that it can be synced.
        self.closed = header.kind == Kind::Close || (self.closed && header.kind == Kind::Pad);
        self.watermark = self.watermark.max(header.watermark);
        self.offset = self.layout.frame_after(offset, header.payload_len);
        self.phase = Phase::Header;
        Event::Frame { offset, header }
    }
}

/// What is known of the place where a walk starts in the middle of a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    pub(crate) base: u32,
    pub(crate) incarnation: u32,
    pub(crate) first_sequence: u64,
    pub(crate) sequence: u64,
    pub(crate) cuts: Cuts,
}
