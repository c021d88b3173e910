//! Opening a region: a machine that reads, decides for the whole region, and only then changes anything.
//! Does no I/O: [`Recovery::need`] says what is wanted, the other methods take the answer.

mod begin;
mod newest;

use core::ops::ControlFlow;

use crate::checksum::Checksum;
use crate::error::{Error, Refusal};
use crate::facts::{Retained, State};
use crate::frame::Binding;
use crate::geometry::{Geometry, SegmentId};
use crate::recover::newest::Newest;
use crate::region::{Room, Spare};
use crate::report::{Corruption, Reason};
use crate::scan::{End, Event, Limit, Scan};
use crate::segment::header;
use crate::segment::layout::Layout;
use crate::storage::Found;

/// What a host gives beside storage and room.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The region's number; stored in every segment.
    pub region: u64,
    /// Drawn from entropy at each open. Salts come from it: they keep bytes of removed segments, and bytes that
    /// users choose, from ever being taken for frames.
    pub seed: u64,
    /// The checksum implementation.
    pub checksum: Checksum,
}

impl Options {
    /// Options with the smallest checksum implementation.
    #[must_use]
    pub const fn new(region: u64, seed: u64) -> Self {
        Self {
            region,
            seed,
            checksum: Checksum::BITWISE,
        }
    }
}

/// What the machine wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// A listing, told to [`Recovery::found`].
    List,
    /// Bytes of a segment: at least `min`, at best `len`.
    Read {
        id: SegmentId,
        offset: u32,
        min: u32,
        len: u32,
    },
    /// The extent of a segment.
    Extent {
        id: SegmentId,
    },
    Settle {
        id: SegmentId,
        from: u32,
        to: u32,
    },
    Remove {
        id: SegmentId,
    },
    Release {
        slot: u32,
    },
    /// Nothing: [`Recovery::finish`] gives the region.
    Nothing,
}

/// What an open is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Changes nothing.
    ReadOnly,
    Open,
    /// Makes the region; changes nothing where there is one.
    Create,
    OpenOrCreate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// Is there a manifest?
    Probe,
    /// The walk over the newest segment.
    Newest,
    /// Is there evidence that this segment had a manifest?
    Above,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    List,
    Check {
        at: usize,
    },
    Open {
        at: usize,
        why: Why,
    },
    Extent {
        at: usize,
        why: Why,
    },
    Walk {
        at: usize,
        why: Why,
        offset: u32,
        min: u32,
    },
    Settle,
    Remove,
    ListSlots,
    Release {
        slot: u32,
    },
    /// There is no region: what an interrupted create left is listed,
    Clear,
    /// and goes.
    Clearing {
        leftover: Found,
    },
    Done,
}

/// The machine.
#[derive(Debug)]
pub(crate) struct Recovery<'w> {
    options: Options,
    geometry: Geometry,
    layout: Layout,
    room: Room<'w>,
    mode: Mode,
    phase: Phase,
    /// The walk in hand.
    scan: Option<Scan>,
    binding: Option<Binding>,
    found: usize,
    unreadable: u32,
    /// What the last listing met that is to go.
    met: Option<Found>,
    duplicate: Option<SegmentId>,
    manifest_end: u32,
    /// Id and first sequence of the segment that the manifest listed last.
    last: (u64, u64),
    /// Start of the batch whose records are being walked.
    frame: u32,
    newest: Option<Newest>,
    spares: [Option<Spare>; 2],
    abandoned: Option<SegmentId>,
    next_id: u64,
    removed: u32,
    released: u32,
    settled: u32,
}

impl<'w> Recovery<'w> {
    pub(crate) fn new(options: Options, geometry: Geometry, room: Room<'w>, mode: Mode) -> Self {
        Self {
            options,
            geometry,
            layout: Layout::new(geometry),
            room,
            mode,
            phase: Phase::List,
            scan: None,
            binding: None,
            found: 0,
            unreadable: 0,
            met: None,
            duplicate: None,
            manifest_end: 0,
            last: (0, 0),
            frame: 0,
            newest: None,
            spares: [None, None],
            abandoned: None,
            next_id: 0,
            removed: 0,
            released: 0,
            settled: 0,
        }
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    /// Takes one entry of a listing.
    pub(crate) fn found(&mut self, found: Found) -> ControlFlow<()> {
        if !matches!(self.phase, Phase::List) {
            // Prepared or sealed, a segment stays: only a slot that is neither goes, unless there is no region.
            if matches!(self.phase, Phase::ListSlots) && matches!(found, Found::Segment(_)) {
                return ControlFlow::Continue(());
            }
            self.met = Some(found);
            return ControlFlow::Break(());
        }
        match found {
            Found::Unreadable { .. } => self.unreadable += 1,
            Found::Segment(id) => {
                self.found += 1;
                self.next_id = self.next_id.max(id.0.saturating_add(1));
                let list = self.room.segments.as_slice();
                let at = list.partition_point(|other| other.id < id.0);
                if list.get(at).is_some_and(|other| other.id == id.0) {
                    self.duplicate = Some(id);
                }
                let mut entry = Retained::new(id.0, 0, 0, 0);
                entry.set_state(State::Leftover);
                // Where there are too many, `found` tells when the listing is done.
                let _ = self.room.segments.insert(at, entry);
            }
        }
        ControlFlow::Continue(())
    }

    /// The listing is complete.
    pub(crate) fn listed(&mut self) -> Result<(), Refusal> {
        match (self.phase, self.met.take()) {
            (Phase::ListSlots, Some(Found::Unreadable { slot })) if self.released < self.unreadable => {
                self.phase = Phase::Release { slot };
                return Ok(());
            }
            (Phase::Clear, Some(leftover)) => {
                self.phase = Phase::Clearing { leftover };
                return Ok(());
            }
            (Phase::ListSlots | Phase::Clear, _) => {
                self.phase = Phase::Done;
                return Ok(());
            }
            _ => {}
        }
        if let Some(segment) = self.duplicate {
            return Err(corrupt(segment, 0, Reason::Duplicate));
        }
        if self.found > self.room.segments.len() {
            return Err(Error::TooManySegments { needed: self.found });
        }
        self.phase = if self.found == 0 {
            self.absent()
        } else {
            Phase::Check { at: 0 }
        };
        Ok(())
    }

    fn id_at(&self, at: usize) -> SegmentId {
        let segment = self.room.segments.as_slice().get(at);
        segment.map_or(SegmentId(0), Retained::segment)
    }

    pub(crate) fn need(&self) -> Need {
        let header = |at| Need::Read {
            id: self.id_at(at),
            offset: 0,
            min: header::HEADER_LEN as u32,
            len: header::HEADER_LEN as u32,
        };
        match self.phase {
            Phase::List | Phase::ListSlots | Phase::Clear => Need::List,
            Phase::Check { at } | Phase::Open { at, .. } => header(at),
            Phase::Extent { at, .. } => Need::Extent { id: self.id_at(at) },
            Phase::Walk { at, offset, min, .. } => {
                let limit = self.scan.as_ref().map_or(0, Scan::limit);
                Need::Read {
                    id: self.id_at(at),
                    offset,
                    min: min.min(crate::scan::MAX_WANTED_LEN as u32),
                    len: limit.saturating_sub(offset).max(min),
                }
            }
            Phase::Settle => self.newest.map_or(Need::Nothing, |newest| Need::Settle {
                id: newest.id,
                from: newest.watermark,
                to: newest.tail,
            }),
            Phase::Remove => match self.leftover() {
                Some(segment) => Need::Remove { id: segment.segment() },
                None => Need::Nothing,
            },
            Phase::Release { slot }
            | Phase::Clearing {
                leftover: Found::Unreadable { slot },
            } => Need::Release { slot },
            Phase::Clearing {
                leftover: Found::Segment(id),
            } => Need::Remove { id },
            Phase::Done => Need::Nothing,
        }
    }

    fn leftover(&self) -> Option<&Retained> {
        let mut segments = self.room.segments.as_slice().iter();
        segments.find(|segment| segment.state() == State::Leftover)
    }

    /// Takes the extent that was asked for.
    pub(crate) fn extent(&mut self, extent: u32) -> Result<(), Refusal> {
        let Phase::Extent { at, why } = self.phase else {
            return Ok(());
        };
        let segment_len = self.geometry.segment_len();
        let limit = match why {
            Why::Probe => Limit::Probe(segment_len),
            Why::Newest | Why::Above => Limit::Extent(extent.min(segment_len)),
        };
        let hint = self.newest.map_or(0, |newest| newest.incarnation);
        if let Some(binding) = self.binding {
            self.scan = Some(Scan::new(binding, self.layout, self.geometry.erased(), limit, hint));
        }
        self.walk(at, why, 0, &[])
    }

    /// Takes bytes that were asked for.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        match self.phase {
            Phase::Check { at } => {
                self.check(at, bytes)?;
                self.phase = if at + 1 < self.found {
                    Phase::Check { at: at + 1 }
                } else {
                    Phase::Open { at, why: Why::Probe }
                };
                Ok(())
            }
            Phase::Open { at, why } => {
                self.binding = Some(self.check(at, bytes)?.binding(self.options.checksum));
                self.phase = Phase::Extent { at, why };
                if why == Why::Probe {
                    // The question is about the manifest alone, whatever the extent.
                    return self.extent(0);
                }
                Ok(())
            }
            Phase::Walk { at, why, offset, .. } => self.walk(at, why, offset, bytes),
            _ => Ok(()),
        }
    }

    fn check(&self, at: usize, bytes: &[u8]) -> Result<header::Header, Refusal> {
        let id = self.id_at(at);
        let header = header::Header::decode(bytes, self.options.checksum)
            .map_err(|error| corrupt(id, 0, Reason::Header(error)))?;
        if header.region != self.options.region {
            return Err(corrupt(id, 0, Reason::Region { found: header.region }));
        }
        if header.segment != id {
            return Err(corrupt(id, 0, Reason::Identity { found: header.segment }));
        }
        if header.geometry != self.geometry {
            return Err(Error::GeometryMismatch {
                stored: header.geometry,
                given: self.geometry,
            });
        }
        Ok(header)
    }

    fn walk(&mut self, at: usize, why: Why, offset: u32, bytes: &[u8]) -> Result<(), Refusal> {
        let Some(mut scan) = self.scan.take() else {
            return Ok(());
        };
        loop {
            let event = scan.next(offset, bytes);
            match event {
                Event::More { offset, len } => {
                    self.scan = Some(scan);
                    self.phase = Phase::Walk {
                        at,
                        why,
                        offset,
                        min: len,
                    };
                    return Ok(());
                }
                Event::End(end) => return self.ended(at, why, end, &scan),
                Event::Manifest { .. } if why == Why::Probe => {
                    self.phase = Phase::Extent { at, why: Why::Newest };
                    return Ok(());
                }
                _ if why == Why::Newest => self.newest_event(self.id_at(at), event, &scan)?,
                // A manifest that did not verify a moment ago.
                _ => return Err(corrupt(self.id_at(at), self.layout.frames_start(), Reason::Manifest)),
            }
        }
    }

    fn ended(&mut self, at: usize, why: Why, end: End, scan: &Scan) -> Result<(), Refusal> {
        let id = self.id_at(at);
        match (why, end) {
            (_, End::Damaged { offset, reason }) => Err(corrupt(id, offset, reason)),
            (Why::Probe, _) => {
                // Prepared, never begun, or damaged: judged when the newest segment is known.
                match at.checked_sub(1) {
                    Some(at) => self.phase = Phase::Open { at, why: Why::Probe },
                    None => self.above(0),
                }
                Ok(())
            }
            (Why::Newest, End::NoManifest { .. } | End::Exact) => {
                Err(corrupt(id, self.layout.frames_start(), Reason::Manifest))
            }
            (Why::Newest, _) => {
                self.newest_ended(at, end, scan)?;
                self.above(at + 1);
                Ok(())
            }
            (Why::Above, End::NoManifest { proven: false, blank }) => {
                self.prepared(id, blank);
                self.above(at + 1);
                Ok(())
            }
            (Why::Above, _) => Err(corrupt(id, self.layout.frames_start(), Reason::Manifest)),
        }
    }

    /// A segment above the newest one holds no manifest. After a clean end a blank one is as good as new; others may
    /// hold what an interrupted write left, be it that of a session that came after the clean end.
    fn prepared(&mut self, id: SegmentId, blank: bool) {
        let closed = self.newest.is_some_and(|newest| newest.closed);
        // Where an interrupted write may leave no trace, reading blank is not being blank.
        let telling = self.geometry.erased().is_some() && self.geometry.page_len() == 1;
        if closed
            && blank
            && telling
            && let Some(slot) = self.spares.iter_mut().find(|slot| slot.is_none())
            && let Some(binding) = self.binding
        {
            *slot = Some(Spare {
                id,
                binding,
                claimed: 0,
            });
        }
    }

    /// Goes on with the segments above the newest, or with what follows them.
    fn above(&mut self, at: usize) {
        self.phase = if at < self.found {
            Phase::Open { at, why: Why::Above }
        } else {
            self.decided()
        };
    }

    /// Everything is read; from here on things change.
    fn decided(&mut self) -> Phase {
        let keep = [
            self.newest.map(|newest| newest.id),
            self.abandoned,
            self.spares[0].map(|spare| spare.id),
            self.spares[1].map(|spare| spare.id),
        ];
        self.room
            .segments
            .retain(|segment| !keep.contains(&Some(segment.segment())));
        if let Some(newest) = self.newest.filter(|newest| newest.closed) {
            // Prepared for a session that never came: they go when one does, so that opening a closed log changes
            // nothing.
            for segment in self.room.segments.as_mut_slice() {
                if segment.id > newest.id.0 {
                    segment.set_state(State::Omitted);
                }
            }
        }
        if self.newest.is_none() {
            return self.absent();
        }
        if matches!(self.mode, Mode::ReadOnly | Mode::Create) {
            return Phase::Done;
        }
        match self.newest {
            // What a close frame covers is durable; the frame itself is settled when the next session begins.
            Some(newest) if !newest.closed && newest.watermark < newest.tail => Phase::Settle,
            _ => self.after_settle(),
        }
    }

    /// There is no region: what is there an interrupted create left.
    fn absent(&mut self) -> Phase {
        match self.mode {
            Mode::ReadOnly | Mode::Open => Phase::Done,
            Mode::Create | Mode::OpenOrCreate => {
                self.room.segments.clear();
                Phase::Clear
            }
        }
    }

    fn after_settle(&self) -> Phase {
        if self.leftover().is_some() {
            Phase::Remove
        } else if self.unreadable > 0 {
            Phase::ListSlots
        } else {
            Phase::Done
        }
    }

    /// What [`Recovery::need`] asked to change is changed.
    pub(crate) fn changed(&mut self) {
        self.phase = match self.phase {
            Phase::Settle => {
                if let Some(newest) = &mut self.newest {
                    self.settled = newest.tail - newest.watermark;
                    newest.watermark = newest.tail;
                }
                self.after_settle()
            }
            Phase::Remove => {
                if let Some(gone) = self.leftover().copied() {
                    self.room.segments.retain(|segment| *segment != gone);
                    self.removed += 1;
                }
                self.after_settle()
            }
            Phase::Release { .. } => {
                self.released += 1;
                Phase::ListSlots
            }
            Phase::Clearing { .. } => Phase::Clear,
            phase => phase,
        };
    }
}

fn corrupt(segment: SegmentId, offset: u32, reason: Reason) -> Refusal {
    Error::Corrupt(Corruption {
        segment,
        offset,
        reason,
    })
}
