//! The state of one open region and every decision about what to do next. Does no I/O: [`Region::plan`] answers
//! with a [`Step`], somebody performs it, and the state changes only after it succeeded.

use crate::capacity::Capacity;
use crate::checksum::Checksum;
use crate::error::PoisonCause;
use crate::facts::{self, Cut, Cuts, Retained, SealFacts, State};
use crate::frame::{self, Binding, Header, Kind};
use crate::geometry::{Geometry, Mark, SegmentId};
use crate::record::Void;
use crate::recover::Options;
use crate::segment::header;
use crate::segment::layout::{Layout, MAX_CUTS, Purpose};
use crate::tables::Tables;
use crate::voids::{self, Cover, Voids};

/// What is to be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Room for a frame with this payload.
    Append { payload_len: u32, purpose: Purpose },
    /// Everything written is durable.
    Sync,
    /// Everything is durable and says so.
    Close,
    /// Segments without a live record are given up.
    Reclaim,
    /// The session has begun.
    Begin,
}

/// The next thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The goal is reached; an append writes its frame at `offset`.
    Ready { offset: u32 },
    /// Create a segment.
    Create { id: SegmentId },
    /// Claim space.
    Claim { id: SegmentId, end: u32 },
    /// Build this control frame and write it at `offset`.
    Write {
        id: SegmentId,
        offset: u32,
        control: Control,
    },
    /// Sync.
    Sync(Mark),
    /// Settle what was recovered.
    Settle { id: SegmentId, from: u32, to: u32 },
    /// Remove a segment that a durable manifest omits.
    Remove { id: SegmentId },
    /// Find out whether the segment at this place of the list holds a live record.
    Examine { at: usize },
}

/// A frame that is not a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    Manifest,
    Seal,
    Close,
    Resume { from: u32 },
    Pad { payload_len: u32 },
}

/// Why there is no next thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Poisoned(PoisonCause),
    Full,
    TooManySegments { needed: usize },
    IncarnationExhausted,
}

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
    pub(crate) segments: crate::capacity::List<'w, Retained>,
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
    pub(crate) segments: crate::capacity::List<'w, Retained>,
    pub(crate) voids: Voids<'w>,
    pub(crate) tables: Tables<'w>,
}

impl<'w> Room<'w> {
    pub(crate) fn new(capacity: Capacity<'w>, layout: Layout) -> (Self, crate::capacity::Buffer<'w>) {
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
        let mut segments = room.segments;
        segments.clear();
        Self {
            id: options.region,
            geometry,
            layout: Layout::new(geometry),
            checksum: options.checksum,
            seed: options.seed,
            segments,
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

    #[inline]
    fn active_mark(&self) -> Mark {
        Mark {
            segment: self.active.id,
            end: self.active.tail,
        }
    }

    /// What to do next towards `goal`.
    #[inline]
    pub(crate) fn plan(&self, goal: Goal) -> Result<Step, Refusal> {
        if let Some(cause) = self.poisoned {
            return Err(Refusal::Poisoned(cause));
        }
        let ready = Step::Ready {
            offset: self.active.tail,
        };
        let begun = matches!(self.session, Session::Open { .. });
        if !begun && matches!(goal, Goal::Sync | Goal::Close) && self.session != Session::Beginning {
            return Ok(ready);
        }
        if !begun {
            return self.begin();
        }
        if self.active.seal.is_some() {
            return self.open_successor();
        }
        match goal {
            Goal::Append { payload_len, purpose } => self.append(payload_len, purpose),
            Goal::Sync => Ok(self.sync_step().or_else(|| self.remove_step()).unwrap_or(ready)),
            Goal::Close => Ok(match self.session {
                Session::Open { closed: false } => self.sync_step().unwrap_or_else(|| self.close_step()),
                _ => self.sync_step().or_else(|| self.remove_step()).unwrap_or(ready),
            }),
            Goal::Reclaim => self.reclaim(),
            Goal::Begin => Ok(ready),
        }
    }

    /// Where a frame may be written at once: what [`Region::plan`] says of most appends, found without the rest of it.
    #[inline]
    pub(crate) fn ready_at(&self, payload_len: u32, purpose: Purpose) -> Option<u32> {
        let open = matches!(self.session, Session::Open { .. }) && self.poisoned.is_none();
        let spare_in_hand = self.spares[0].is_some_and(|spare| spare.claimed > 0);
        let waits = purpose == Purpose::User && (!spare_in_hand || self.is_last_resort());
        if !open || self.active.seal.is_some() || waits {
            return None;
        }
        let offset = self.layout.place(self.active.tail, payload_len, purpose)?;
        self.claim_step(offset, payload_len, purpose)
            .is_none()
            .then_some(offset)
    }

    fn close_step(&self) -> Step {
        match self.layout.place(self.active.tail, 0, Purpose::Close) {
            Some(offset) => self.write(offset, Control::Close),
            // The reserve is used up: everything is durable, only the evidence of it is not written.
            None => Step::Ready {
                offset: self.active.tail,
            },
        }
    }

    fn write(&self, offset: u32, control: Control) -> Step {
        Step::Write {
            id: self.active.id,
            offset,
            control,
        }
    }

    /// Fills the sync unit, then syncs.
    pub(crate) fn sync_step(&self) -> Option<Step> {
        if self.active.durable >= self.active.tail {
            return None;
        }
        Some(match self.layout.pad_at(self.active.tail) {
            Some(payload_len) if self.active.seal.is_none() => {
                self.write(self.active.tail, Control::Pad { payload_len })
            }
            _ => Step::Sync(self.active_mark()),
        })
    }

    /// A segment to remove, if the manifest that omits it is durable.
    pub(crate) fn remove_step(&self) -> Option<Step> {
        if self.remove_failed || self.active.durable < self.active.manifest_end {
            return None;
        }
        // The seal of the newest segment names it until the log has gone on elsewhere.
        let abandoned = self.abandoned.filter(|_| self.session != Session::Successor);
        self.segments
            .as_slice()
            .iter()
            .find(|segment| !segment.is_listed())
            .map(Retained::segment)
            .or(abandoned)
            .map(|id| Step::Remove { id })
    }

    fn begin(&self) -> Result<Step, Refusal> {
        if self.active.durable < self.active.tail && self.session != Session::Beginning {
            return Ok(Step::Settle {
                id: self.active.id,
                from: self.active.durable,
                to: self.active.tail,
            });
        }
        match self.session {
            Session::Resume { at, from } => {
                if self.incarnation == u32::MAX {
                    return Err(Refusal::IncarnationExhausted);
                }
                // Claims of a session that did not sync are forgotten.
                let write = self.write(at, Control::Resume { from });
                Ok(self.claim_step(at, 0, Purpose::Resume).unwrap_or(write))
            }
            Session::Successor => {
                if self.incarnation == u32::MAX {
                    return Err(Refusal::IncarnationExhausted);
                }
                self.open_successor()
            }
            _ => Ok(self.sync_step().unwrap_or(Step::Sync(self.active_mark()))),
        }
    }

    /// Creates the next spare, unless the storage had no room for it.
    fn create_step(&self) -> Result<Step, Refusal> {
        // The last id is never used: nothing could follow it.
        if self.refused || self.next_id == u64::MAX {
            return Err(Refusal::Full);
        }
        Ok(Step::Create {
            id: SegmentId(self.next_id),
        })
    }

    /// What gives room where the storage had none: removing what no manifest lists any more, after making the manifest
    /// durable that omits it.
    pub(crate) fn make_room(&self) -> Option<Step> {
        let to_remove = self.abandoned.is_some() || self.segments.as_slice().iter().any(|segment| !segment.is_listed());
        if to_remove && !self.remove_failed {
            self.remove_step().or_else(|| self.sync_step())
        } else {
            None
        }
    }

    /// Makes sure that there is a spare that can take the manifest that would be written now.
    fn spare_step(&self, slack: usize) -> Result<Option<Step>, Refusal> {
        match &self.spares[0] {
            None => self.create_step().map(Some),
            Some(spare) => {
                let end = self.spare_end(slack);
                Ok((spare.claimed < end).then_some(Step::Claim { id: spare.id, end }))
            }
        }
    }

    fn spare_end(&self, slack: usize) -> u32 {
        let needed = self
            .manifest_frame_len(1, slack)
            .min(self.longest_manifest_len() as usize) as u32;
        self.layout
            .claim_for(self.layout.frame_at(self.layout.frames_start() + needed))
    }

    #[inline]
    fn append(&self, payload_len: u32, purpose: Purpose) -> Result<Step, Refusal> {
        if purpose == Purpose::User {
            if self.is_last_resort() {
                return Err(Refusal::Full);
            }
            if let Some(step) = self.spare_first(SPARE_SLACK)? {
                return Ok(step);
            }
        }
        let Some(offset) = self.layout.place(self.active.tail, payload_len, purpose) else {
            return self.rotate(purpose == Purpose::User);
        };
        let ready = Step::Ready { offset };
        Ok(self.claim_step(offset, payload_len, purpose).unwrap_or(ready))
    }

    /// Claims the space of a frame, and of those of later purposes behind it.
    #[inline]
    fn claim_step(&self, offset: u32, payload_len: u32, purpose: Purpose) -> Option<Step> {
        let end = self.layout.frame_after(offset, payload_len) + self.layout.room_behind(purpose);
        (end > self.active.claimed).then_some(Step::Claim {
            id: self.active.id,
            end,
        })
    }

    /// From the first append on a spare is in hand. Its slack is claimed once, when it is new.
    #[inline]
    fn spare_first(&self, slack: usize) -> Result<Option<Step>, Refusal> {
        match &self.spares[0] {
            Some(spare) if spare.claimed > 0 => Ok(None),
            _ => self.spare_step(slack),
        }
    }

    /// Bytes of the manifest that the next segment would start with, with `more` segments and `slack` voids beside
    /// what must be listed now.
    fn manifest_frame_len(&self, more: usize, slack: usize) -> usize {
        let listed = self.listed().filter(|segment| segment.state() == State::Live).count();
        facts::manifest_frame_len(listed + more, self.voids.as_slice().len() + slack)
    }

    /// Whether facts would still fit the next manifest with `growth` more voids.
    pub(crate) fn facts_fit(&self, growth: isize) -> bool {
        let voids = self.voids.as_slice().len().saturating_add_signed(growth);
        voids <= self.voids.limit()
            && self.manifest_frame_len(1, growth.max(0) as usize) <= self.layout.max_manifest_len() as usize
    }

    /// Bytes of the longest manifest that user data may lead to. A quarter of the items, at least two, is kept for
    /// deletions: each may need a range of its own before reclaim can shorten the list.
    const fn user_manifest_len(&self) -> u32 {
        let max = self.layout.max_manifest_len();
        let kept = (max / 4) as usize / facts::MANIFEST_ITEM_LEN;
        max - (if kept < 2 { 2 } else { kept } * facts::MANIFEST_ITEM_LEN) as u32
    }

    /// Bytes of the longest manifest: one item more than deletions may lead to, so that deletions and reclaim find a
    /// way out of a segment whose reserve is used up while its facts are at their limit.
    const fn longest_manifest_len(&self) -> u32 {
        self.layout.max_manifest_len() + facts::MANIFEST_ITEM_LEN as u32
    }

    /// Whether the active segment was begun on that way out, and with user data could not be left again.
    #[inline]
    fn is_last_resort(&self) -> bool {
        let manifest_len = self.active.manifest_end - self.layout.frames_start();
        manifest_len > self.layout.max_manifest_len()
            && self.manifest_frame_len(1, 0) > self.longest_manifest_len() as usize
    }

    /// The most voids that fit.
    pub(crate) fn max_voids(&self) -> usize {
        let listed = self.listed().count() + 1;
        let room = (self.layout.max_manifest_len() as usize).saturating_sub(facts::manifest_frame_len(listed, 0));
        (room / facts::MANIFEST_ITEM_LEN).min(self.voids.limit())
    }

    /// Leaves the active segment. `strict`: for user data, which may not take the last spare.
    fn rotate(&self, strict: bool) -> Result<Step, Refusal> {
        if let Some(step) = self.examine_step() {
            return Ok(step);
        }
        let more = usize::from(self.active_as_retained().is_some());
        let most = if strict {
            self.user_manifest_len()
        } else {
            self.longest_manifest_len()
        };
        if self.manifest_frame_len(more, 0) > most as usize {
            return Err(Refusal::Full);
        }
        if let Some(step) = self.spare_step(0)? {
            return Ok(step);
        }
        if let Some(step) = self.second_spare_step() {
            return match step {
                Err(Refusal::Full) if !strict => self.sync_step().map_or_else(|| self.open_successor(), Ok),
                other => other,
            };
        }
        // With its manifest and reserve: else the log stands in its last segment and cannot even reclaim.
        if strict
            && let Some(second) = &self.spares[1]
            && second.claimed == 0
        {
            return Ok(Step::Claim {
                id: second.id,
                end: self.spare_end(SPARE_SLACK + 1),
            });
        }
        if self.segments.len() >= self.segments.limit() {
            return match self.remove_step() {
                Some(step) => Ok(step),
                None => Err(Refusal::TooManySegments {
                    needed: self.segments.len() + 1,
                }),
            };
        }
        match self.layout.place(self.active.tail, SealFacts::LEAST_LEN, Purpose::Seal) {
            Some(offset) => Ok(self.write(offset, Control::Seal)),
            // Another writer kept no reserve: the manifest states the end all the same.
            None => self.open_successor(),
        }
    }

    /// Makes sure of a second spare with room for a manifest, so that a torn manifest in the first one never leaves
    /// the log without a way on, and the log that has gone on in the first can still be reclaimed when the storage
    /// is full.
    fn second_spare_step(&self) -> Option<Result<Step, Refusal>> {
        match &self.spares[1] {
            None => Some(self.create_step()),
            Some(spare) if spare.claimed > 0 => None,
            Some(_) if self.refused => Some(Err(Refusal::Full)),
            Some(spare) => Some(Ok(Step::Claim {
                id: spare.id,
                end: self.spare_end(SPARE_SLACK),
            })),
        }
    }

    /// Whether this is the second spare, which the log can do without.
    pub(crate) fn is_second_spare(&self, id: SegmentId) -> bool {
        self.spares[1].as_ref().is_some_and(|spare| spare.id == id)
    }

    /// Goes on in the spare once everything in the active segment is durable.
    fn open_successor(&self) -> Result<Step, Refusal> {
        if let Some(step) = self.sync_step()
            && self.session != Session::Successor
        {
            return Ok(step);
        }
        if self.segments.len() >= self.segments.limit() {
            return match self.remove_step() {
                Some(step) => Ok(step),
                None => Err(Refusal::TooManySegments {
                    needed: self.segments.len() + 1,
                }),
            };
        }
        if let Some(step) = self.spare_step(0)? {
            return Ok(step);
        }
        let spare = self.spares[0].as_ref().ok_or(Refusal::Full)?;
        Ok(Step::Write {
            id: spare.id,
            offset: self.layout.frames_start(),
            control: Control::Manifest,
        })
    }

    fn examine_step(&self) -> Option<Step> {
        let from = self.examine?;
        let list = self.segments.as_slice();
        let (at, _) = list
            .iter()
            .enumerate()
            .skip(from)
            .find(|(_, segment)| segment.state() == State::Live)?;
        Some(Step::Examine { at })
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

    fn reclaim(&self) -> Result<Step, Refusal> {
        if let Some(step) = self.examine_step() {
            return Ok(step);
        }
        if self
            .segments
            .as_slice()
            .iter()
            .any(|segment| segment.state() == State::Dead)
        {
            return self.rotate(false);
        }
        let step = if self.segments.as_slice().iter().any(|segment| !segment.is_listed()) || self.abandoned.is_some() {
            self.remove_step().or_else(|| self.sync_step())
        } else {
            None
        };
        Ok(step.unwrap_or(Step::Ready {
            offset: self.active.tail,
        }))
    }

    /// Whether the active segment holds no live record, as far as its ranges tell.
    fn active_is_dead(&self) -> bool {
        self.tables.complete().is_some_and(|tables| {
            tables
                .iter()
                .all(|range| voids::cover(self.voids.as_slice(), range.table, range.first, range.last) == Cover::All)
        })
    }

    /// The active segment as the next manifest lists it; `None` where it need not be listed.
    fn active_as_retained(&self) -> Option<Retained> {
        if self.active_is_dead() {
            return None;
        }
        let (end, seal_len) = match self.active.seal {
            Some((start, end)) => (end, end - start),
            None => (self.active.tail, 0),
        };
        Some(Retained::new(
            self.active.id.0,
            self.active.first_sequence,
            end,
            seal_len,
        ))
    }

    /// The least sequence that a segment behind the next manifest can hold.
    fn oldest_sequence(&self) -> u64 {
        self.segments
            .as_slice()
            .iter()
            .find(|segment| segment.state() == State::Live)
            .map(|segment| segment.first_sequence)
            .or_else(|| self.active_as_retained().map(|segment| segment.first_sequence))
            .unwrap_or(self.next_sequence)
    }

    /// The incarnation of a frame of this kind.
    fn incarnation_of(&self, control: Control) -> u32 {
        match control {
            Control::Resume { .. } => self.incarnation + 1,
            Control::Manifest if self.session == Session::Successor => self.incarnation + 1,
            _ => self.incarnation,
        }
    }

    /// Bytes that building `control` needs.
    pub(crate) fn control_len(&self, control: Control) -> usize {
        match control {
            Control::Manifest => self.manifest_frame_len(1, 0),
            Control::Seal => self.layout.max_seal_len() as usize,
            _ => frame::HEADER_LEN,
        }
    }

    /// Builds a control frame in `out`; returns its length.
    pub(crate) fn build(&self, control: Control, offset: u32, out: &mut [u8]) -> usize {
        let (kind, payload_len, payload_crc) = match control {
            Control::Close => (Kind::Close, 0, 0),
            Control::Pad { payload_len } => (Kind::Pad, payload_len, 0),
            Control::Resume { from } => (Kind::Resume, 0, from),
            Control::Seal | Control::Manifest => {
                let payload = out.get_mut(frame::HEADER_LEN..).unwrap_or_default();
                let (kind, len) = if control == Control::Seal {
                    (Kind::Seal, self.build_seal(offset, payload))
                } else {
                    (Kind::Manifest, self.build_manifest(payload))
                };
                let crc = self.checksum.of(payload.get(..len).unwrap_or_default());
                (kind, len as u32, crc)
            }
        };
        let (binding, watermark) = match (control, &self.spares[0]) {
            (Control::Manifest, Some(spare)) => (&spare.binding, 0),
            _ => (&self.active.binding, self.active.durable),
        };
        let header = Header {
            kind,
            with_epoch: false,
            incarnation: self.incarnation_of(control),
            payload_len,
            sequence_delta: if kind == Kind::Manifest {
                0
            } else {
                (self.next_sequence - self.active.first_sequence) as u32
            },
            watermark,
            payload_crc,
        };
        let encoded = header.encode(binding, offset);
        crate::wire::put(out, 0..frame::HEADER_LEN, &encoded);
        match kind {
            Kind::Seal | Kind::Manifest => frame::HEADER_LEN + payload_len as usize,
            _ => frame::HEADER_LEN,
        }
    }

    fn build_manifest(&self, out: &mut [u8]) -> usize {
        let last = self.active_as_retained();
        let live = self
            .segments
            .as_slice()
            .iter()
            .filter(|segment| segment.state() == State::Live);
        let oldest = self.oldest_sequence();
        facts::encode_manifest(
            out,
            self.next_sequence,
            live.chain(last.as_ref()),
            self.voids.as_slice().iter().filter(|void| void.to >= oldest),
        )
    }

    fn build_seal(&self, offset: u32, out: &mut [u8]) -> usize {
        let room = (self.layout.segment_len() - offset).min(self.layout.max_seal_len()) as usize;
        let room = room.saturating_sub(frame::HEADER_LEN);
        let facts = SealFacts {
            successor: self.spares[0].map_or(SegmentId(0), |spare| spare.id),
            next_sequence: self.next_sequence,
            records: self.tables.records(),
            cuts: &self.active.cuts,
            tables: self.tables.complete(),
            blocks: self.tables.block_starts(),
        };
        let room = room.min(out.len());
        facts.encode(out.get_mut(..room).unwrap_or_default())
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
    #[inline]
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

    /// A control frame of `len` bytes was written.
    pub(crate) fn control_written(&mut self, control: Control, offset: u32, len: u32) {
        let payload_len = match control {
            Control::Pad { payload_len } => payload_len,
            _ => len - frame::HEADER_LEN as u32,
        };
        match control {
            Control::Manifest => {
                self.moved_on(payload_len);
                return;
            }
            Control::Seal => self.active.seal = Some((offset, offset + len)),
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

    /// The header of a batch at `offset`.
    #[inline]
    pub(crate) fn batch_header(&self, payload_len: u32, payload_crc: u32, with_epoch: bool) -> Header {
        Header {
            kind: Kind::Batch,
            with_epoch,
            incarnation: self.incarnation,
            payload_len,
            sequence_delta: (self.next_sequence - self.active.first_sequence) as u32,
            watermark: self.active.durable,
            payload_crc,
        }
    }

    /// A batch was written at `offset`; its records are noted one by one.
    #[inline]
    pub(crate) fn batch_written(&mut self, offset: u32, payload_len: u32) {
        self.session = Session::Open { closed: false };
        self.active.tail = self.layout.frame_after(offset, payload_len);
        self.tables.note_frame(offset);
    }

    /// A record of the batch at `offset`.
    #[inline]
    pub(crate) fn record_written(&mut self, table: u64, index: Option<u64>, offset: u32) {
        self.tables.note_record(table, self.next_sequence, index, offset);
        self.next_sequence += 1;
    }

    /// A void of a written batch.
    pub(crate) fn void_written(&mut self, void: Void) {
        if void.from <= void.to {
            self.voids.add(void);
            self.examine = Some(0);
            self.version += 1;
        }
    }
}

/// Ids start at 1; this stands in front of a region's first segment.
const NO_SEGMENT: SegmentId = SegmentId(0);

/// Voids for which a new spare has room beside those of its day.
const SPARE_SLACK: usize = 64;

/// Where a session begins behind what a walk over the newest segment found.
pub(crate) fn first_step(
    layout: Layout,
    erased: Option<u8>,
    base: u32,
    incarnation: u32,
    cuts: &Cuts,
    tail: TailFound,
) -> Session {
    let (from, at) = match tail {
        TailFound::Sealed => return Session::Successor,
        TailFound::End {
            offset,
            dirty_end,
            closed,
        } => {
            // On erase media a session that came after a clean end may have disturbed the page behind it, and left no
            // trace. Without an erased state a torn header at `offset` could be completed by equal bytes of what is
            // written over it, so that place is left alone unless a close frame shows that nothing was tried.
            let dirty_end = if erased.is_none() && !closed {
                dirty_end.max(offset + frame::HEADER_LEN as u32)
            } else {
                dirty_end
            };
            let unclean = erased.is_some();
            (offset, layout.resume_at(dirty_end, unclean))
        }
    };
    let cuts_left = cuts.len() + 1 < MAX_CUTS || at == from;
    let in_range = incarnation.saturating_add(1) - base <= u32::from(u16::MAX);
    if cuts_left && in_range && at < layout.segment_len() && layout.place(at, 0, Purpose::Resume) == Some(at) {
        Session::Resume { at, from }
    } else {
        Session::Successor
    }
}

/// How the newest segment ends, for [`first_step`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum TailFound {
    End { offset: u32, dirty_end: u32, closed: bool },
    Sealed,
}
