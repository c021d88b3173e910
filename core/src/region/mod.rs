//! The state of one open region and how it changes. Does no I/O: [`Region::plan`] answers with a [`plan::Step`],
//! somebody performs it, and only then is the state told, so that memory and medium tell the same story.

pub(crate) mod build;
pub(crate) mod plan;

use crate::capacity::{Buffer, Capacity, List};
use crate::checksum::Checksum;
use crate::error::PoisonCause;
use crate::facts::{Cut, Cuts, Retained, SealFacts, State};
use crate::frame::{self, Binding};
use crate::geometry::{Geometry, Mark, SegmentId};
use crate::record::Void;
use crate::recover::Options;
use crate::region::build::Control;
use crate::segment::header;
use crate::segment::layout::Layout;
use crate::tables::Tables;
use crate::voids::Voids;

/// The segment that is appended to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Active {
    pub(crate) id: SegmentId,
    pub(crate) binding: Binding,
    /// The incarnation of its manifest.
    pub(crate) base: u32,
    pub(crate) first_sequence: u64,
    /// Where the next frame may stand.
    pub(crate) tail: u32,
    /// Everything before it survives power loss.
    pub(crate) durable: u32,
    pub(crate) claimed: u32,
    /// Where its manifest ends.
    pub(crate) manifest_end: u32,
    pub(crate) cuts: Cuts,
    /// Start and end of its seal.
    pub(crate) seal: Option<(u32, u32)>,
}

/// A segment made ahead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spare {
    pub(crate) id: SegmentId,
    pub(crate) binding: Binding,
    pub(crate) claimed: u32,
}

/// How far the writing session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Session {
    /// Not begun; a resume frame at `at` begins it.
    Resume { at: u32, from: u32 },
    /// Not begun; a new segment begins it, whose manifest states the end of the active one.
    Successor,
    /// The first frame is written, not yet durable.
    Beginning,
    /// Under way. `closed`: the last frame is a close frame.
    Open { closed: bool },
}

/// One open region.
#[derive(Debug)]
pub(crate) struct Region<'w> {
    pub(crate) id: u64,
    pub(crate) geometry: Geometry,
    pub(crate) layout: Layout,
    pub(crate) checksum: Checksum,
    pub(crate) seed: u64,
    pub(crate) segments: List<'w, Retained>,
    pub(crate) voids: Voids<'w>,
    pub(crate) tables: Tables<'w>,
    pub(crate) active: Active,
    pub(crate) spares: [Option<Spare>; 2],
    /// The successor that a seal names although the log cannot go on in it.
    pub(crate) abandoned: Option<SegmentId>,
    pub(crate) next_id: u64,
    pub(crate) incarnation: u32,
    pub(crate) next_sequence: u64,
    pub(crate) session: Session,
    /// Up to where the list was examined since the last deletion; `None`: nothing to examine.
    pub(crate) examine: Option<usize>,
    /// The storage had no room for a second spare.
    pub(crate) refused: bool,
    /// Removing failed; the next open tries again.
    pub(crate) remove_failed: bool,
    pub(crate) poisoned: Option<PoisonCause>,
    /// A segment is being created ahead.
    pub(crate) creating: bool,
    /// Counts changes of segments and voids.
    pub(crate) version: u64,
    /// The last sequence when all that was written was durable last.
    pub(crate) durable_sequence: u64,
}

/// The parts of a region that are lent.
#[derive(Debug)]
pub(crate) struct Room<'w> {
    pub(crate) segments: List<'w, Retained>,
    pub(crate) voids: Voids<'w>,
    pub(crate) tables: Tables<'w>,
}

impl<'w> Room<'w> {
    pub(crate) fn new(capacity: Capacity<'w>, layout: Layout) -> (Self, Buffer<'w>) {
        let mut segments = capacity.segments;
        segments.clear();
        let mut voids = Voids::new(capacity.voids);
        voids.clear();
        let room = Self {
            segments,
            voids,
            tables: Tables::new(
                capacity.tables,
                capacity.blocks,
                SealFacts::max_tables(layout.max_seal_len()),
                layout.segment_len(),
            ),
        };
        (room, capacity.buffer)
    }
}

/// Draws the salt of a segment from the host's entropy: the finaliser of SplitMix64 (Steele, Lea, Flood 2014).
pub(crate) fn salt(seed: u64, id: SegmentId) -> u64 {
    let mut mixed = seed ^ id.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl<'w> Region<'w> {
    /// A region without any segment: its first session begins with segment `first`.
    pub(crate) fn new(options: Options, geometry: Geometry, room: Room<'w>, first: SegmentId) -> Self {
        Self {
            id: options.region,
            geometry,
            layout: Layout::new(geometry),
            checksum: options.checksum,
            seed: options.seed,
            segments: room.segments,
            voids: room.voids,
            tables: room.tables,
            active: Active {
                id: NO_SEGMENT,
                binding: Binding::new(options.checksum, 0),
                base: 0,
                first_sequence: 1,
                tail: 0,
                durable: 0,
                claimed: 0,
                manifest_end: 0,
                cuts: Cuts::default(),
                seal: None,
            },
            spares: [None, None],
            abandoned: None,
            next_id: first.0,
            incarnation: 0,
            next_sequence: 1,
            session: Session::Successor,
            examine: None,
            refused: false,
            remove_failed: false,
            poisoned: None,
            creating: false,
            version: 0,
            durable_sequence: 0,
        }
    }

    /// Everything written to the newest segment.
    #[cfg_attr(feature = "alloc", inline)]
    pub(crate) const fn written_mark(&self) -> Mark {
        Mark {
            segment: self.active.id,
            end: self.active.tail,
        }
    }

    /// The header of a segment that is to be created.
    pub(crate) fn header_of(&self, id: SegmentId) -> header::Header {
        header::Header {
            geometry: self.geometry,
            region: self.id,
            segment: id,
            salt: salt(self.seed, id),
        }
    }

    /// Segments that hold data, the active one not included.
    pub(crate) fn listed(&self) -> impl Iterator<Item = &Retained> + Clone {
        self.segments.as_slice().iter().filter(|segment| segment.is_listed())
    }

    /// The segment at `at` of the list was examined.
    pub(crate) fn examined(&mut self, at: usize, dead: bool) {
        if let Some(segment) = self.segments.as_mut_slice().get_mut(at)
            && dead
        {
            segment.set_state(State::Dead);
        }
        self.examine = Some(at + 1);
        if self.examine_step().is_none() {
            self.examine = None;
        }
    }

    /// The id of a segment to create ahead.
    pub(crate) fn begin_create(&mut self) -> Option<SegmentId> {
        let begun = matches!(self.session, Session::Open { .. }) && self.poisoned.is_none();
        if !begun || self.creating || self.spares[1].is_some() || self.next_id == u64::MAX {
            return None;
        }
        let id = SegmentId(self.next_id);
        self.next_id = id.0.saturating_add(1);
        self.creating = true;
        Some(id)
    }

    /// A segment was created. False where a later one is in hand already: ids rise along the log.
    pub(crate) fn created(&mut self, id: SegmentId) -> bool {
        self.creating = false;
        self.next_id = self.next_id.max(id.0.saturating_add(1));
        let spare = Spare {
            id,
            binding: self.header_of(id).binding(self.checksum),
            claimed: 0,
        };
        let rises = id > self.active.id && self.spares.iter().flatten().all(|other| other.id < id);
        match self.spares.iter_mut().find(|slot| slot.is_none()) {
            Some(slot) if rises => {
                *slot = Some(spare);
                true
            }
            _ => false,
        }
    }

    /// Space was claimed.
    #[cfg_attr(feature = "alloc", inline)]
    pub(crate) fn claimed(&mut self, id: SegmentId, end: u32) {
        if self.active.id == id {
            self.active.claimed = self.active.claimed.max(end);
        }
        for spare in self.spares.iter_mut().flatten() {
            if spare.id == id {
                spare.claimed = spare.claimed.max(end);
            }
        }
    }

    /// A control frame was written, the one at the start of `built`.
    pub(crate) fn control_written(&mut self, control: Control, offset: u32, built: &[u8]) {
        let payload_len = match control {
            Control::Pad { payload_len } => payload_len,
            Control::Manifest | Control::Seal => frame::payload_len(built),
            Control::Close | Control::Resume { .. } => 0,
        };
        match control {
            Control::Manifest => {
                self.moved_on(payload_len);
                return;
            }
            Control::Seal => self.active.seal = Some((offset, offset + frame::HEADER_LEN as u32 + payload_len)),
            Control::Close => self.session = Session::Open { closed: true },
            Control::Resume { from } => {
                self.incarnation += 1;
                if from < offset {
                    self.active.cuts.push(Cut { from, to: offset });
                }
                self.session = Session::Beginning;
            }
            Control::Pad { .. } => {}
        }
        self.active.tail = self.layout.frame_after(offset, payload_len);
    }

    fn moved_on(&mut self, payload_len: u32) {
        let Some(spare) = self.spares[0].take() else { return };
        self.spares.swap(0, 1);
        self.version += 1;
        let oldest = self.oldest_sequence();
        let left = self.active_as_retained();
        for segment in self.segments.as_mut_slice() {
            if segment.state() == State::Dead {
                segment.set_state(State::Omitted);
            }
        }
        let left = left.unwrap_or_else(|| {
            let mut omitted = Retained::new(self.active.id.0, self.active.first_sequence, self.active.tail, 0);
            omitted.set_state(State::Omitted);
            omitted
        });
        if self.active.id != NO_SEGMENT {
            // The list was known to have room before the manifest was written.
            let _ = self.segments.push(left);
        }
        self.voids.forget_before(oldest);
        self.tables.clear();
        if self.session == Session::Successor {
            self.incarnation += 1;
            self.session = Session::Beginning;
        }
        let manifest_end = self.layout.frame_after(self.layout.frames_start(), payload_len);
        self.active = Active {
            id: spare.id,
            binding: spare.binding,
            base: self.incarnation,
            first_sequence: self.next_sequence,
            tail: manifest_end,
            durable: 0,
            claimed: spare.claimed,
            manifest_end,
            cuts: Cuts::default(),
            seal: None,
        };
    }

    /// Bytes before the mark are durable.
    pub(crate) fn synced(&mut self, mark: Mark) {
        if mark.segment == self.active.id {
            self.active.durable = self.active.durable.max(mark.end);
            if self.active.durable >= self.active.tail {
                self.durable_sequence = self.next_sequence - 1;
            }
            if self.session == Session::Beginning && self.active.durable >= self.active.tail {
                self.session = Session::Open { closed: false };
            }
        }
    }

    /// Recovered bytes are durable.
    pub(crate) fn settled(&mut self) {
        self.active.durable = self.active.tail;
    }

    /// A segment is gone.
    pub(crate) fn removed(&mut self, id: SegmentId) {
        self.segments
            .retain(|segment| segment.id != id.0 || segment.is_listed());
        if self.abandoned == Some(id) {
            self.abandoned = None;
        }
        self.refused = false;
    }

    /// A batch was written at `offset`; its records are noted one by one.
    #[cfg_attr(feature = "alloc", inline)]
    pub(crate) fn batch_written(&mut self, offset: u32, payload_len: u32) {
        self.session = Session::Open { closed: false };
        self.active.tail = self.layout.frame_after(offset, payload_len);
        self.tables.note_frame(offset);
    }

    /// A record of the batch at `offset`.
    #[cfg_attr(feature = "alloc", inline)]
    pub(crate) fn record_written(&mut self, table: u64, index: Option<u64>, offset: u32) {
        self.tables.note_record(table, self.next_sequence, index, offset);
        self.next_sequence += 1;
    }

    /// A void of a written batch.
    pub(crate) fn void_written(&mut self, void: Void) {
        if !void.is_empty() {
            self.voids.add(void);
            self.examine = Some(0);
            self.version += 1;
        }
    }
}

/// Ids start at 1; this stands in front of a region's first segment.
const NO_SEGMENT: SegmentId = SegmentId(0);
