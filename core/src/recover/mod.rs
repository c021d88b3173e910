//! Opening a region: a machine that reads, decides for the whole region, and only then changes anything.
//! Does no I/O: [`Recovery::need`] says what is wanted, the other methods take the answer.

mod begin;
mod change;
mod newest;

use core::ops::ControlFlow;

use crate::checksum::Checksum;
use crate::error::{Error, Refusal};
use crate::facts::{MANIFEST_HEAD_LEN, Retained, Spare, State};
use crate::fault::Found;
use crate::frame;
use crate::geometry::SegmentId;
use crate::region::{Region, Session};
use crate::report::{Corruption, Reason, Tail};
use crate::scan::walk::Walk;
use crate::scan::{End, Event, Limit};
use crate::segment::cuts::Cuts;
use crate::segment::header;
use crate::segment::layout::align_up;

/// The newest segment and two that are prepared: a log with room for fewer could not be reclaimed.
const LEAST_SEGMENTS: usize = 3;

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
    /// Others take and give back room on this medium, as on a file system, so that a full one need not stay full: one
    /// segment is kept in hand for deleting and reclaiming. Else two are, for on a medium that the log has to itself
    /// nobody but the log makes room, and each loss of power may cost it one.
    pub shared_room: bool,
    /// A full log gives up its oldest segment, live records included, rather than refuse an append: see
    /// [`Log::lost`](crate::Log::lost).
    pub ring: bool,
}

impl Options {
    /// Options with the smallest checksum implementation.
    #[must_use]
    pub const fn new(region: u64, seed: u64) -> Self {
        Self {
            region,
            seed,
            checksum: Checksum::BITWISE,
            shared_room: false,
            ring: false,
        }
    }
}

/// What the machine wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// A listing, told to [`Recovery::found`].
    List,
    /// The header of a segment.
    Header {
        id: SegmentId,
    },
    /// The next event of [`Recovery::walk`].
    Walk,
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

/// The machine. It fills a region that knows nothing yet.
#[derive(Debug)]
pub(crate) struct Recovery<'r, 'w> {
    region: &'r mut Region<'w>,
    mode: Mode,
    phase: Phase,
    /// The walk in hand, and the seed of its segment's checksums.
    pub(crate) walk: &'r mut Walk,
    seed: u32,
    found: usize,
    /// How much of what the first listing met is yet to go: a storage that says so, and lists it again, is asked no more.
    left: usize,
    /// What the last listing met that is to go.
    met: Option<Found>,
    /// How much of what is to go cannot, and how much of that this listing passed.
    stuck: u32,
    passed: u32,
    duplicate: Option<SegmentId>,
    /// Of the segments above the newest, the one that its seal names; the lowest where that seal is torn.
    successor: Option<SegmentId>,
    /// Id and first sequence of the segment that the manifest listed last.
    last: (u64, u64),
}

impl<'r, 'w> Recovery<'r, 'w> {
    pub(crate) fn new(region: &'r mut Region<'w>, walk: &'r mut Walk, mode: Mode) -> Self {
        Self {
            walk,
            region,
            mode,
            phase: Phase::List,
            seed: 0,
            found: 0,
            left: 0,
            met: None,
            stuck: 0,
            passed: 0,
            duplicate: None,
            successor: None,
            last: (0, 0),
        }
    }

    /// Whether the newest segment is not known (yet).
    fn is_absent(&self) -> bool {
        self.region.active.is_none()
    }

    fn is_closed(&self) -> bool {
        self.region.aside.opened.tail == Tail::Closed
    }

    /// Takes one entry of a listing.
    #[cfg_attr(not(feature = "alloc"), inline(never))]
    pub(crate) fn found(&mut self, found: Found) -> ControlFlow<()> {
        if !matches!(self.phase, Phase::List) {
            // Prepared or sealed, a segment stays: only a slot that is neither goes, unless there is no region.
            if matches!(self.phase, Phase::ListSlots) && matches!(found, Found::Segment(_)) {
                return ControlFlow::Continue(());
            }
            if self.passed < self.stuck {
                self.passed += 1;
                return ControlFlow::Continue(());
            }
            self.met = Some(found);
            return ControlFlow::Break(());
        }
        match found {
            Found::Unreadable { .. } => self.left += 1,
            Found::Segment(id) => {
                self.found += 1;
                self.region.aside.next_id = self.region.aside.next_id.max(id.0.saturating_add(1));
                let list = self.region.segments.as_slice();
                let at = list.partition_point(|other| other.id < id.0);
                if list.get(at).is_some_and(|other| other.id == id.0) {
                    self.duplicate = Some(id);
                }
                let mut entry = Retained::new(id.0, 0, 0, 0);
                entry.set_state(State::Leftover);
                // Where there are too many, `found` tells when the listing is done.
                let _ = self.region.segments.insert(at, entry);
            }
        }
        ControlFlow::Continue(())
    }

    /// The listing is complete.
    #[cfg_attr(not(feature = "alloc"), inline(never))]
    pub(crate) fn listed(&mut self) -> Result<(), Refusal> {
        self.passed = 0;
        match (self.phase, self.met.take().filter(|_| self.left > 0)) {
            (Phase::ListSlots, Some(Found::Unreadable { slot })) => {
                self.phase = Phase::Release { slot };
                return Ok(());
            }
            (Phase::Clear, Some(leftover)) => {
                self.phase = Phase::Clearing { leftover };
                return Ok(());
            }
            (Phase::ListSlots, _) => {
                self.phase = Phase::Remove;
                return Ok(());
            }
            (Phase::Clear, _) => {
                self.phase = Phase::Done;
                return Ok(());
            }
            _ => {}
        }
        if let Some(segment) = self.duplicate {
            return Err(corrupt(segment, 0, Reason::Duplicate));
        }
        let too_few = self.mode != Mode::ReadOnly && self.region.segments.limit() < LEAST_SEGMENTS;
        if too_few || self.found > self.region.segments.len() {
            let needed = self.found.max(LEAST_SEGMENTS);
            return Err(Error::TooManySegments { needed });
        }
        self.phase = if self.found == 0 {
            self.absent()
        } else {
            Phase::Check { at: 0 }
        };
        Ok(())
    }

    #[cfg_attr(not(feature = "alloc"), inline(never))]
    fn id_at(&self, at: usize) -> SegmentId {
        let segment = self.region.segments.as_slice().get(at);
        segment.map_or(SegmentId(0), Retained::segment)
    }

    #[cfg_attr(not(feature = "alloc"), inline(never))]
    pub(crate) fn need(&self) -> Need {
        match self.phase {
            Phase::List | Phase::ListSlots | Phase::Clear => Need::List,
            Phase::Check { at } | Phase::Open { at, .. } => Need::Header { id: self.id_at(at) },
            Phase::Extent { at, .. } => Need::Extent { id: self.id_at(at) },
            Phase::Walk { .. } => Need::Walk,
            Phase::Settle => {
                let (from, to) = self.region.unsettled();
                Need::Settle {
                    id: self.region.active.id,
                    from,
                    to,
                }
            }
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
        let mut segments = self.region.segments.as_slice().iter();
        segments.find(|segment| segment.state() == State::Leftover)
    }

    /// Takes the extent that was asked for.
    #[cfg_attr(not(feature = "alloc"), inline(never))]
    pub(crate) fn extent(&mut self, extent: u32) {
        let Phase::Extent { at, why } = self.phase else { return };
        let segment_len = self.region.layout.segment_len();
        let limit = match why {
            Why::Probe => Limit::Probe(segment_len),
            Why::Newest | Why::Above => Limit::Extent(extent.min(segment_len)),
        };
        let (id, base) = (self.id_at(at), self.region.aside.incarnation);
        self.walk.begin(id, self.seed, limit, base, &Cuts::NONE);
        self.phase = Phase::Walk { at, why };
    }

    /// Takes the header that was asked for.
    #[cfg_attr(not(feature = "alloc"), inline(never))]
    pub(crate) fn header(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let (Phase::Check { at } | Phase::Open { at, .. }) = self.phase else {
            return Ok(());
        };
        let id = self.id_at(at);
        let header = header::Header::decode(bytes, self.region.checksum)
            .map_err(|error| corrupt(id, 0, Reason::Header(error)))?;
        self.check(id, &header)?;
        if let Phase::Open { why, .. } = self.phase {
            self.seed = header.binding(self.region.checksum).seed();
            self.phase = Phase::Extent { at, why };
            if why == Why::Probe {
                // The question is about the manifest alone, whatever the extent.
                self.extent(0);
            }
        } else if at + 1 < self.found {
            self.phase = Phase::Check { at: at + 1 };
        } else {
            self.phase = Phase::Open { at, why: Why::Probe };
        }
        Ok(())
    }

    fn check(&self, id: SegmentId, header: &header::Header) -> Result<(), Refusal> {
        if header.region != self.region.aside.region {
            return Err(corrupt(id, 0, Reason::Region { found: header.region }));
        }
        if header.segment != id {
            return Err(corrupt(id, 0, Reason::Identity { found: header.segment }));
        }
        let given = self.region.layout.geometry();
        if header.geometry != given {
            return Err(Error::GeometryMismatch {
                stored: header.geometry,
                given,
            });
        }
        Ok(())
    }

    /// Takes the event that was asked for.
    #[cfg_attr(not(feature = "alloc"), inline(never))]
    pub(crate) fn met(&mut self, event: Event) -> Result<(), Refusal> {
        let Phase::Walk { at, why } = self.phase else {
            return Ok(());
        };
        match event {
            Event::End => self.ended(at, why, self.walk.scan.end()),
            Event::Manifest if why == Why::Probe => {
                self.phase = Phase::Extent { at, why: Why::Newest };
                Ok(())
            }
            // Above the newest: a manifest that did not verify a moment ago, which the end of the walk tells.
            event => self.newest_event(self.id_at(at), event),
        }
    }

    fn ended(&mut self, at: usize, why: Why, end: End) -> Result<(), Refusal> {
        let id = self.id_at(at);
        match (why, end) {
            (_, End::Damaged { offset, damage }) => Err(corrupt(id, offset, damage.into())),
            (Why::Probe, _) => {
                // Prepared, never begun, or damaged: judged when the newest segment is known.
                match at.checked_sub(1) {
                    Some(at) => self.phase = Phase::Open { at, why: Why::Probe },
                    None => self.above(0),
                }
                Ok(())
            }
            (Why::Newest, End::NoManifest { .. } | End::Exact) => {
                Err(corrupt(id, self.region.layout.frames_start(), Reason::Manifest))
            }
            (Why::Newest, _) => {
                self.newest_ended(at, end)?;
                self.above(at + 1);
                Ok(())
            }
            (
                Why::Above,
                End::NoManifest {
                    proven: false,
                    dirty_end,
                },
            ) => {
                if self.is_absent() && dirty_end > self.first_manifest_end() {
                    return Err(corrupt(id, self.region.layout.frames_start(), Reason::NoManifest));
                }
                self.prepared(id, dirty_end == self.region.layout.frames_start());
                self.above(at + 1);
                Ok(())
            }
            (Why::Above, _) => Err(corrupt(id, self.region.layout.frames_start(), Reason::Manifest)),
        }
    }

    /// Where all ends that an interrupted create may have written: the manifest of a new region, and what shares its sync
    /// unit and page. It is durable before anything else is written, so what stands behind it was part of a log. Bytes that
    /// cannot be read are taken for written, up to a frame header in one piece: so much more is let pass.
    fn first_manifest_end(&self) -> u32 {
        let (layout, geometry) = (self.region.layout, self.region.layout.geometry());
        let end = layout.frames_start() + (2 * frame::HEADER_LEN + MANIFEST_HEAD_LEN) as u32;
        let unit = geometry.sync_unit().max(geometry.page_len());
        align_up(end, unit.max(layout.frame_align()))
    }

    /// A segment above the newest one holds no manifest. After a clean end a blank one is as good as new; others may
    /// hold what an interrupted write left, be it that of a session that came after the clean end.
    fn prepared(&mut self, id: SegmentId, blank: bool) {
        // What was begun there may be a manifest that states where the newest segment ends, and read whole at the next open.
        // Then it must not be the newest any more.
        if !blank {
            self.region.session = Session::Successor;
        }
        // Where an interrupted write may leave no trace, reading blank is not being blank.
        let geometry = self.region.layout.geometry();
        let telling = geometry.erased().is_some() && geometry.page_len() == 1;
        if self.is_closed()
            && blank
            && telling
            && let Some(slot) = self.region.aside.spares.iter_mut().find(|slot| slot.is_none())
        {
            *slot = Spare::new(id, self.seed);
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
}

fn corrupt(segment: SegmentId, offset: u32, reason: Reason) -> Refusal {
    Error::Corrupt(Corruption {
        segment,
        offset,
        reason,
    })
}
