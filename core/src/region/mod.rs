//! The state of one open region and how it changes. Does no I/O: [`Region::plan`] answers with a [`plan::Step`],
//! somebody performs it, and only then is the state told, so that memory and medium tell the same story.

pub(crate) mod build;
pub(crate) mod plan;

use embedded_io::ErrorKind;

use crate::capacity::{Aside, Facts, Lent, List};
use crate::checksum::Checksum;
use crate::error::PoisonCause;
use crate::facts::{Retained, Spare, State};
use crate::frame::{self, Binding};
use crate::geometry::{Geometry, Mark, SegmentId};
use crate::mutation::{self, Mutation};
use crate::record::Void;
use crate::recover::Options;
use crate::region::build::Control;
use crate::segment::cuts::{Cut, Cuts};
use crate::segment::header;
use crate::segment::layout::Layout;
use crate::tables::Tables;
use crate::voids::Voids;

/// The segment that is appended to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Active {
    pub(crate) id: SegmentId,
    /// Of its frames' checksums.
    pub(crate) seed: u32,
    pub(crate) first_sequence: u64,
    /// Where the next frame may stand.
    pub(crate) tail: u32,
    /// Everything before it survives power loss.
    pub(crate) durable: u32,
    pub(crate) claimed: u32,
}

impl Active {
    /// Ids start at 1: what stands in front of a region's first segment.
    const NONE: Self = Self {
        id: SegmentId(0),
        seed: 0,
        first_sequence: 1,
        tail: 0,
        durable: 0,
        claimed: 0,
    };

    pub(crate) const fn is_none(&self) -> bool {
        self.id.0 == 0
    }
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
    pub(crate) layout: Layout,
    pub(crate) checksum: Checksum,
    pub(crate) segments: List<'w, Retained>,
    pub(crate) voids: Voids<'w>,
    pub(crate) tables: Tables<'w>,
    pub(crate) active: Active,
    pub(crate) aside: Lent<'w, Aside>,
    pub(crate) next_sequence: u64,
    pub(crate) session: Session,
    pub(crate) poisoned: Option<PoisonCause>,
}

/// Draws the salt of a segment from the host's entropy: the finaliser of SplitMix64 (Steele, Lea, Flood 2014).
pub(crate) fn salt(seed: u64, id: SegmentId) -> u64 {
    if mutation::is(Mutation::FixedSalt) {
        return 1;
    }
    let mut mixed = seed ^ id.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl<'w> Region<'w> {
    /// A region without any segment.
    pub(crate) fn new(options: &Options, geometry: Geometry, room: Facts<'w>) -> Self {
        let mut aside = room.aside;
        *aside = Aside {
            region: options.region,
            seed: options.seed,
            shared_room: options.shared_room,
            ring: options.ring,
            ..Aside::new()
        };
        let layout = Layout::new(geometry);
        Self {
            layout,
            checksum: options.checksum,
            segments: room.segments,
            voids: Voids::new(room.voids),
            tables: Tables::new(room.tables, room.blocks, layout),
            active: Active::NONE,
            aside,
            next_sequence: 1,
            session: Session::Successor,
            poisoned: None,
        }
    }

    /// As if it had not been recovered yet, but for what the medium cannot tell: ids never go back, for salts come from
    /// them, and what the host was told or has yet to be told stays true.
    pub(crate) fn forget(&mut self) {
        self.segments.clear();
        self.voids.clear();
        self.tables.clear();
        self.active = Active::NONE;
        let aside = &*self.aside;
        *self.aside = Aside {
            region: aside.region,
            seed: aside.seed,
            shared_room: aside.shared_room,
            ring: aside.ring,
            // One may be half made where nobody sees it.
            next_id: aside.next_id.saturating_add(1),
            durable_sequence: aside.durable_sequence,
            lost: aside.lost,
            version: aside.version.wrapping_add(1),
            ..Aside::new()
        };
        self.session = Session::Successor;
    }

    /// What ties frames to a segment whose checksums start with `seed`.
    #[cfg_attr(feature = "alloc", inline)]
    pub(crate) fn binding(&self, seed: u32) -> Binding {
        Binding::new(self.checksum, seed)
    }

    /// Whether the active segment has its footer.
    #[cfg_attr(feature = "alloc", inline)]
    pub(crate) fn is_sealed(&self) -> bool {
        self.aside.seal.1 != 0
    }

    /// Where the frames of the active segment end.
    pub(crate) fn active_end(&self) -> u32 {
        if self.is_sealed() {
            self.aside.seal.1
        } else {
            self.active.tail
        }
    }

    /// The active segment as a manifest would list it.
    pub(crate) fn active_entry(&self) -> Retained {
        let (start, end) = self.aside.seal;
        let active = &self.active;
        Retained::new(active.id.0, active.first_sequence, self.active_end(), end - start)
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
            geometry: self.layout.geometry(),
            region: self.aside.region,
            segment: id,
            salt: salt(self.aside.seed, id),
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
            self.aside.tight = false;
        }
        self.aside.examined = at as u32 + 1;
        if self.examine_step().is_none() {
            self.aside.examined = u32::MAX;
        }
    }

    /// The least sequence that a listed segment can hold.
    pub(crate) fn first_kept(&self) -> u64 {
        let mut listed = self.listed();
        listed
            .next()
            .map_or(self.active.first_sequence, |segment| segment.first_sequence)
    }

    /// The segment at `at` of the list is given up, whatever it holds: the next manifest omits it.
    pub(crate) fn dropped(&mut self, at: usize) {
        let mut behind = self
            .segments
            .as_slice()
            .iter()
            .skip(at + 1)
            .filter(|segment| segment.is_listed());
        let end = behind
            .next()
            .map_or(self.active.first_sequence, |next| next.first_sequence);
        if let Some(segment) = self.segments.as_mut_slice().get_mut(at) {
            segment.set_state(State::Dead);
            if self.aside.lost.1 < end {
                let first = if self.aside.lost.0 == 0 {
                    segment.first_sequence
                } else {
                    self.aside.lost.0
                };
                self.aside.lost = (first, end);
            }
        }
        self.aside.tight = true;
    }

    /// Segments that there are. The next open has an entry for each of them, whatever this session came to.
    pub(crate) fn on_medium(&self) -> usize {
        let spares = self.aside.spares.iter().flatten().count();
        self.segments.len() + usize::from(!self.active.is_none()) + spares + usize::from(self.aside.creating)
    }

    /// The id of a segment to create ahead.
    pub(crate) fn begin_create(&mut self) -> Option<SegmentId> {
        let begun = matches!(self.session, Session::Open { .. }) && self.poisoned.is_none();
        let last = self.aside.next_id == u64::MAX || self.on_medium() >= self.segments.limit();
        if !begun || self.aside.creating || self.aside.spares[1].is_some() || last {
            return None;
        }
        let id = SegmentId(self.aside.next_id);
        self.aside.next_id = id.0.saturating_add(1);
        self.aside.creating = true;
        Some(id)
    }

    /// A segment was created. False where a later one is in hand already: ids rise along the log.
    pub(crate) fn created(&mut self, id: SegmentId) -> bool {
        self.aside.next_id = self.aside.next_id.max(id.0.saturating_add(1));
        let seed = self.header_of(id).binding(self.checksum).seed();
        let rises = id > self.active.id && self.aside.spares.iter().flatten().all(|other| other.id() < id);
        match self.aside.spares.iter_mut().find(|slot| slot.is_none()) {
            Some(slot) if rises => {
                *slot = Spare::new(id, seed);
                slot.is_some()
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
        for spare in self.aside.spares.iter_mut().flatten() {
            if spare.id() == id {
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
            Control::Seal => self.aside.seal = (offset, offset + frame::HEADER_LEN as u32 + payload_len),
            Control::Close => self.session = Session::Open { closed: true },
            Control::Resume { from } => {
                if !mutation::is(Mutation::ResumeKeepsIncarnation) {
                    self.aside.incarnation += 1;
                }
                if from < offset {
                    self.aside.cuts.push(Cut { from, to: offset });
                }
                self.session = Session::Beginning;
            }
            Control::Pad { .. } => {}
        }
        self.active.tail = self.layout.frame_after(offset, payload_len);
    }

    fn moved_on(&mut self, payload_len: u32) {
        let Some(spare) = self.aside.spares[0].take() else {
            return;
        };
        self.aside.spares.swap(0, 1);
        self.aside.version = self.aside.version.wrapping_add(1);
        let oldest = self.oldest_sequence();
        let left = self.active_as_retained();
        for segment in self.segments.as_mut_slice() {
            if segment.state() == State::Dead {
                segment.set_state(State::Omitted);
            }
        }
        let left = left.unwrap_or_else(|| {
            let mut omitted = self.active_entry();
            omitted.set_state(State::Omitted);
            omitted
        });
        if !self.active.is_none() {
            // The list was known to have room before the manifest was written.
            let _ = self.segments.push(left);
        }
        self.voids.forget_before(oldest);
        self.tables.clear();
        if self.session == Session::Successor {
            self.aside.incarnation += 1;
            self.session = Session::Beginning;
        }
        let manifest_end = self.layout.frame_after(self.layout.frames_start(), payload_len);
        let durable = if mutation::is(Mutation::WatermarkOfOlderSegment) {
            self.active.durable.min(manifest_end)
        } else {
            0
        };
        self.active = Active {
            id: spare.id(),
            seed: spare.seed,
            first_sequence: self.next_sequence,
            tail: manifest_end,
            durable,
            claimed: spare.claimed,
        };
        self.aside.base = self.aside.incarnation;
        self.aside.seal = (0, 0);
        self.aside.cuts = Cuts::NONE;
    }

    /// Bytes before the mark are durable.
    pub(crate) fn synced(&mut self, mark: Mark) {
        if mark.segment == self.active.id {
            self.active.durable = self.active.durable.max(mark.end);
            if self.active.durable >= self.active.tail {
                self.aside.durable_sequence = self.next_sequence - 1;
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
            .retain(&mut |segment| segment.id != id.0 || segment.is_listed());
        self.aside.refused = false;
        self.aside.stuck_in_a_row = 0;
    }

    /// A segment cannot be removed. It is not part of the log any more, and costs its own room only: others are still
    /// removed.
    pub(crate) fn remove_failed(&mut self, id: SegmentId, error: ErrorKind) {
        let mut segments = self.segments.as_mut_slice().iter_mut();
        if let Some(segment) = segments.find(|segment| segment.id == id.0) {
            segment.set_state(State::Stuck);
        }
        self.aside.stuck_in_a_row = self.aside.stuck_in_a_row.saturating_add(1);
        self.aside.opened.not_removed(error);
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
            if mutation::is(Mutation::ReuseSequence) && void.to + 1 == self.next_sequence {
                self.next_sequence = void.from;
            }
            self.voids.add(void);
            self.aside.examined = 0;
            self.aside.version = self.aside.version.wrapping_add(1);
        }
    }
}
