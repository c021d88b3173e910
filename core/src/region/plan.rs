//! Every decision about what to do next, as a pure function of the state.

use crate::error::Stop;
use crate::facts::{self, Retained, SealFacts, State};
use crate::geometry::{Mark, SegmentId};
use crate::mutation::{self, Mutation};
use crate::region::build::Control;
use crate::region::{Region, Session};
use crate::segment::layout::{Purpose, align_up};

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
    /// Give up the segment at this place of the list, whatever it holds.
    Drop { at: usize },
}

/// Who decides. Rules pass on to one another by value and not by a call: else the deepest of them would stand on the stack
/// of all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    Begin,
    Append {
        payload_len: u32,
        purpose: Purpose,
    },
    /// Leaves the active segment. `strict`: for user data, which may not take the last spare.
    Rotate {
        strict: bool,
    },
    /// Goes on in the spare.
    Succeed,
    Reclaim,
    /// Makes room for user data by what is dead, where there is no other.
    ReclaimFirst,
    /// Makes room in a full ring: by what is dead, else by giving up the oldest segment.
    Round,
}

/// What a rule says that names no step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoStep {
    Stop(Stop),
    /// This rule decides.
    Ask(Rule),
}

impl From<Stop> for NoStep {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

/// Voids for which a new spare has room beside those of its day.
const SPARE_SLACK: usize = 64;

impl Region<'_> {
    /// What to do next towards `goal`.
    #[cfg_attr(feature = "alloc", inline)]
    #[cfg_attr(not(feature = "alloc"), inline(never))]
    pub(crate) fn plan(&self, goal: Goal) -> Result<Step, Stop> {
        if let Some(cause) = self.poisoned {
            return Err(Stop::Poisoned(cause));
        }
        if self.aside.room_first
            && let Some(step) = self.make_room()
        {
            return Ok(step);
        }
        let ready = Step::Ready {
            offset: self.active.tail,
        };
        let begun = matches!(self.session, Session::Open { .. });
        if !begun && matches!(goal, Goal::Sync | Goal::Close) && self.session != Session::Beginning {
            return Ok(ready);
        }
        // Where an append finds no room.
        let mut last_resort = None;
        let mut rule = match goal {
            _ if !begun => Rule::Begin,
            _ if self.is_sealed() => Rule::Succeed,
            Goal::Append { payload_len, purpose } => {
                last_resort = Some(if self.aside.ring && purpose == Purpose::User {
                    Rule::Round
                } else {
                    Rule::ReclaimFirst
                });
                Rule::Append { payload_len, purpose }
            }
            Goal::Sync => return Ok(self.sync_step().or_else(|| self.remove_step()).unwrap_or(ready)),
            Goal::Close => {
                return Ok(match self.session {
                    Session::Open { closed: false } => self.sync_step().unwrap_or_else(|| self.close_step()),
                    _ => self.sync_step().or_else(|| self.remove_step()).unwrap_or(ready),
                });
            }
            Goal::Reclaim => Rule::Reclaim,
            Goal::Begin => return Ok(ready),
        };
        loop {
            rule = match (self.ask(rule), last_resort) {
                (Ok(step), _) => return Ok(step),
                (Err(NoStep::Ask(next)), _) => next,
                (Err(NoStep::Stop(Stop::Full)), Some(next)) => {
                    last_resort = None;
                    next
                }
                (Err(NoStep::Stop(stop)), _) => return Err(stop),
            };
        }
    }

    #[cfg_attr(feature = "alloc", inline)]
    fn ask(&self, rule: Rule) -> Result<Step, NoStep> {
        match rule {
            Rule::Begin => self.begin(),
            Rule::Append { payload_len, purpose } => self.append(payload_len, purpose),
            Rule::Rotate { strict } => self.rotate(strict),
            Rule::Succeed => self.succeed(),
            Rule::Reclaim => self.reclaim(),
            Rule::ReclaimFirst => match self.reclaim() {
                Ok(Step::Ready { .. }) => Err(NoStep::Stop(Stop::Full)),
                other => other,
            },
            Rule::Round => self.round(),
        }
    }

    /// Where a frame may be written at once: what [`Region::plan`] says of most appends, found without the rest of it.
    #[cfg_attr(feature = "alloc", inline)]
    pub(crate) fn ready_at(&self, payload_len: u32, purpose: Purpose) -> Option<u32> {
        let open = matches!(self.session, Session::Open { .. }) && self.poisoned.is_none();
        let spare_in_hand = self.aside.spares[0].is_some_and(|spare| spare.claimed > 0);
        let waits = purpose == Purpose::User && (!spare_in_hand || self.wants_second() || !self.takes_user_data());
        if !open || self.is_sealed() || waits {
            return None;
        }
        let offset = self.layout.place(self.active.tail, payload_len, purpose)?;
        self.claim_step(offset, payload_len, purpose)
            .is_none()
            .then_some(offset)
    }

    pub(super) fn close_step(&self) -> Step {
        match self.layout.place(self.active.tail, 0, Purpose::Close) {
            Some(offset) => self.write(offset, Control::Close),
            // The reserve is used up: everything is durable, only the evidence of it is not written.
            None => Step::Ready {
                offset: self.active.tail,
            },
        }
    }

    pub(super) fn write(&self, offset: u32, control: Control) -> Step {
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
            Some(payload_len) if !self.is_sealed() => self.write(self.active.tail, Control::Pad { payload_len }),
            _ => Step::Sync(self.written_mark()),
        })
    }

    /// A segment to remove, once it is durable that it is not part of the log: the manifest that omits it, and the first
    /// frame of the session. Before that a torn seal may turn out whole, and name it.
    pub(crate) fn remove_step(&self) -> Option<Step> {
        let in_doubt = self.active.durable == 0 && !mutation::is(Mutation::RemoveBeforeSync);
        if in_doubt || !matches!(self.session, Session::Open { .. }) {
            return None;
        }
        self.to_go().next().map(|id| Step::Remove { id })
    }

    fn to_go(&self) -> impl Iterator<Item = SegmentId> {
        let segments = self.segments.as_slice().iter();
        segments.filter(|segment| segment.is_to_go()).map(Retained::segment)
    }

    /// What no watermark covers of what was recovered, to the end of its sync unit: a write that the last process began
    /// behind the tail may be under way still, and tear what shares that unit.
    pub(crate) fn unsettled(&self) -> (u32, u32) {
        let to = align_up(self.active.tail, self.layout.geometry().sync_unit());
        (self.active.durable, to)
    }

    #[cfg_attr(not(feature = "alloc"), inline(never))]
    fn begin(&self) -> Result<Step, NoStep> {
        let in_doubt = self.active.durable < self.active.tail && !mutation::is(Mutation::ResumeBeforeSettle);
        if in_doubt && self.session != Session::Beginning {
            let (from, to) = self.unsettled();
            return Ok(Step::Settle {
                id: self.active.id,
                from,
                to,
            });
        }
        match self.session {
            Session::Resume { at, from } => {
                if self.aside.incarnation == u32::MAX {
                    return Err(NoStep::Stop(Stop::IncarnationExhausted));
                }
                // Claims of a session that did not sync are forgotten.
                let write = self.write(at, Control::Resume { from });
                Ok(self.claim_step(at, 0, Purpose::Resume).unwrap_or(write))
            }
            Session::Successor => {
                if self.aside.incarnation == u32::MAX {
                    return Err(NoStep::Stop(Stop::IncarnationExhausted));
                }
                Err(NoStep::Ask(Rule::Succeed))
            }
            _ => Ok(self.sync_step().unwrap_or(Step::Sync(self.written_mark()))),
        }
    }

    /// Creates the next spare, unless the storage had no room for it, or the next open had none for one more.
    pub(super) fn create_step(&self) -> Result<Step, Stop> {
        // The last id is never used: nothing could follow it.
        if self.aside.refused || self.aside.next_id == u64::MAX {
            return Err(Stop::Full);
        }
        if self.on_medium() >= self.segments.limit() {
            return self.make_room().ok_or(Stop::Full);
        }
        Ok(Step::Create {
            id: SegmentId(self.aside.next_id),
        })
    }

    /// What gives room where the storage had none: removing what no manifest lists any more, after making the manifest
    /// durable that omits it. A session that cannot begin without takes the last of what was prepared, for a seal names
    /// one that was made before that.
    pub(crate) fn make_room(&self) -> Option<Step> {
        match self.session {
            Session::Resume { .. } | Session::Successor => {
                let mut to_go = self.to_go();
                to_go
                    .find(|&id| self.aside.expendable == Some(id))
                    .map(|id| Step::Remove { id })
            }
            _ => self
                .to_go()
                .next()
                .and_then(|_| self.remove_step().or_else(|| self.sync_step())),
        }
    }

    /// Makes sure that there is a spare that can take the manifest that would be written now.
    pub(super) fn spare_step(&self, slack: usize) -> Result<Option<Step>, Stop> {
        match &self.aside.spares[0] {
            None => self.create_step().map(Some),
            Some(spare) => {
                let end = self.spare_end(slack);
                Ok((spare.claimed < end).then_some(Step::Claim { id: spare.id(), end }))
            }
        }
    }

    pub(super) fn spare_end(&self, slack: usize) -> u32 {
        let needed = self
            .manifest_frame_len(1, slack)
            .min(self.longest_manifest_len() as usize) as u32;
        self.layout
            .claim_for(self.layout.frame_at(self.layout.frames_start() + needed))
    }

    #[cfg_attr(feature = "alloc", inline)]
    #[cfg_attr(not(feature = "alloc"), inline(never))]
    fn append(&self, payload_len: u32, purpose: Purpose) -> Result<Step, NoStep> {
        if purpose == Purpose::User {
            if !self.takes_user_data() {
                return Err(NoStep::Stop(Stop::Full));
            }
            if let Some(step) = self.spare_first(SPARE_SLACK)? {
                return Ok(step);
            }
            if self.wants_second()
                && let Some(step) = self.second_spare_step()
            {
                return step.map_err(NoStep::Stop);
            }
        }
        let Some(offset) = self.layout.place(self.active.tail, payload_len, purpose) else {
            return Err(NoStep::Ask(Rule::Rotate {
                strict: purpose == Purpose::User,
            }));
        };
        let ready = Step::Ready { offset };
        Ok(self.claim_step(offset, payload_len, purpose).unwrap_or(ready))
    }

    /// Claims the space of a frame, and of those of later purposes behind it.
    #[cfg_attr(feature = "alloc", inline)]
    pub(super) fn claim_step(&self, offset: u32, payload_len: u32, purpose: Purpose) -> Option<Step> {
        let end = self.layout.frame_after(offset, payload_len) + self.layout.room_behind(purpose);
        (end > self.active.claimed).then_some(Step::Claim {
            id: self.active.id,
            end,
        })
    }

    /// From the first append on a spare is in hand. Its slack is claimed once, when it is new.
    #[cfg_attr(feature = "alloc", inline)]
    pub(super) fn spare_first(&self, slack: usize) -> Result<Option<Step>, Stop> {
        match &self.aside.spares[0] {
            Some(spare) if spare.claimed > 0 => Ok(None),
            _ => self.spare_step(slack),
        }
    }

    /// Whether user data waits for a second spare. A session that finds no room to resume takes one, and leaves a
    /// segment with records behind; the next one leaves a segment without, which its own manifest omits. So with two in
    /// hand deleting and reclaiming work on a full storage after any number of losses of power. Where others make room,
    /// too, one is enough, but nobody makes room in a full list.
    #[cfg_attr(feature = "alloc", inline)]
    fn wants_second(&self) -> bool {
        self.segments.len() > 0
            && self.aside.spares[1].is_none_or(|spare| spare.claimed == 0)
            && (!self.aside.shared_room || self.on_medium() >= self.segments.limit())
    }

    /// Bytes of the manifest that the next segment would start with, with `more` segments and `slack` voids beside
    /// what must be listed now.
    #[cfg_attr(not(feature = "alloc"), inline(never))]
    pub(super) fn manifest_frame_len(&self, more: usize, slack: usize) -> usize {
        facts::manifest_frame_len(self.live_count() + more, self.voids.as_slice().len() + slack)
    }

    fn live_count(&self) -> usize {
        let segments = self.segments.as_slice().iter();
        segments.filter(|segment| segment.state() == State::Live).count()
    }

    /// Bytes of the longest manifest that user data may lead to. A quarter of the items, two in the least segment, is kept
    /// for deletions: each may need a range of its own before reclaim can shorten the list.
    #[cfg_attr(not(feature = "alloc"), inline(never))]
    const fn user_manifest_len(&self) -> usize {
        let max = self.layout.max_manifest_len() as usize;
        max - max / 4 / facts::MANIFEST_ITEM_LEN * facts::MANIFEST_ITEM_LEN
    }

    /// Bytes of the longest manifest: one item more than deletions may lead to, for records that come with them.
    const fn longest_manifest_len(&self) -> u32 {
        self.layout.max_manifest_len() + facts::MANIFEST_ITEM_LEN as u32
    }

    /// Whether user data may stand in the active segment: the manifest of the one behind it lists it then, and still
    /// has the items that are kept for deletions. Asked for each append, not for each new segment, because a session
    /// that finds no room to resume goes on in a new segment without asking.
    #[cfg_attr(feature = "alloc", inline)]
    pub(super) fn takes_user_data(&self) -> bool {
        let most = self.user_manifest_len();
        // The live ones are counted only where all of them would be too many. What a ring gave up makes room once a manifest
        // omits it: until then it comes back with the next open, though it was told to be lost.
        facts::manifest_frame_len(self.segments.len() + 1, self.voids.as_slice().len()) <= most
            || (self.manifest_frame_len(1, 0) <= most && !(self.aside.ring && self.has_dead()))
    }

    /// The most voids that fit the next manifest.
    pub(crate) fn max_voids(&self) -> usize {
        let segments = self.live_count() + usize::from(self.active_as_retained().is_some());
        let room = (self.layout.max_manifest_len() as usize).saturating_sub(facts::manifest_frame_len(segments, 0));
        (room / facts::MANIFEST_ITEM_LEN).min(self.voids.limit())
    }

    #[cfg_attr(not(feature = "alloc"), inline(never))]
    fn rotate(&self, strict: bool) -> Result<Step, NoStep> {
        if let Some(step) = self.examine_step() {
            return Ok(step);
        }
        if strict && self.aside.ring && !self.has_dead() {
            // Where the last new segment cost an old one the next does too, or the list is full with it: given up now,
            // the old one costs no rotation of its own.
            let is_tight = self.aside.tight || self.on_medium() >= self.segments.limit();
            if is_tight && let Some(step) = self.make_room().or_else(|| self.drop_step()) {
                return Ok(step);
            }
        }
        let more = usize::from(self.active_as_retained().is_some());
        let fits = if strict {
            self.manifest_frame_len(more + 1, 0) <= self.user_manifest_len()
        } else {
            self.manifest_frame_len(more, 0) <= self.longest_manifest_len() as usize
        };
        if !fits {
            return Err(NoStep::Stop(Stop::Full));
        }
        if let Some(step) = self.spare_step(0)? {
            return Ok(step);
        }
        if let Some(step) = self.second_spare_step() {
            return match step {
                Err(Stop::Full) if !strict => self.sync_step().ok_or(NoStep::Ask(Rule::Succeed)),
                other => other.map_err(NoStep::Stop),
            };
        }
        match self.layout.place(self.active.tail, SealFacts::LEAST_LEN, Purpose::Seal) {
            Some(offset) => Ok(self.write(offset, Control::Seal)),
            // Another writer kept no reserve: the manifest states the end all the same.
            None => Err(NoStep::Ask(Rule::Succeed)),
        }
    }

    /// Makes sure of a second spare with room for a manifest, so that a torn manifest in the first one never leaves
    /// the log without a way on, and the log that has gone on in the first can still be reclaimed when the storage
    /// is full.
    pub(super) fn second_spare_step(&self) -> Option<Result<Step, Stop>> {
        match &self.aside.spares[1] {
            _ if mutation::is(Mutation::OneSpare) => None,
            None => Some(self.create_step()),
            Some(spare) if spare.claimed > 0 => None,
            Some(_) if self.aside.refused => Some(Err(Stop::Full)),
            Some(spare) => Some(Ok(Step::Claim {
                id: spare.id(),
                end: self.spare_end(SPARE_SLACK),
            })),
        }
    }

    /// Whether this is the second spare, which the log can do without.
    pub(crate) fn is_second_spare(&self, id: SegmentId) -> bool {
        self.aside.spares[1].as_ref().is_some_and(|spare| spare.id() == id)
    }

    /// Goes on in the spare once everything in the active segment is durable. What its manifest omits is removed by then: a
    /// log that is never synced otherwise would keep all that it gave up.
    #[cfg_attr(not(feature = "alloc"), inline(never))]
    fn succeed(&self) -> Result<Step, NoStep> {
        if !mutation::is(Mutation::ManifestBeforeSync)
            && let Some(step) = self.sync_step().or_else(|| self.remove_step())
        {
            return Ok(step);
        }
        if let Some(step) = self.spare_step(0)? {
            return Ok(step);
        }
        let spare = self.aside.spares[0].as_ref().ok_or(Stop::Full)?;
        Ok(Step::Write {
            id: spare.id(),
            offset: self.layout.frames_start(),
            control: Control::Manifest,
        })
    }

    #[cfg_attr(not(feature = "alloc"), inline(never))]
    fn round(&self) -> Result<Step, NoStep> {
        if let Some(step) = self.make_room() {
            return Ok(step);
        }
        if self.has_dead() {
            return Err(NoStep::Ask(Rule::Rotate { strict: false }));
        }
        Ok(self.drop_step().ok_or(Stop::Full)?)
    }

    /// Gives up the oldest segment that is not given up yet. One that cannot be removed costs its room, and the next goes
    /// in its place; but after two in a row all would go for nothing: then only with a second spare to go on in.
    fn drop_step(&self) -> Option<Step> {
        if self.aside.stuck_in_a_row > 1 && self.aside.spares[1].is_none() {
            return None;
        }
        let at = self
            .segments
            .as_slice()
            .iter()
            .position(|segment| segment.state() == State::Live)?;
        Some(Step::Drop { at })
    }

    #[cfg_attr(not(feature = "alloc"), inline(never))]
    fn has_dead(&self) -> bool {
        self.segments
            .as_slice()
            .iter()
            .any(|segment| segment.state() == State::Dead)
    }

    #[cfg_attr(not(feature = "alloc"), inline(never))]
    pub(super) fn examine_step(&self) -> Option<Step> {
        let from = self.aside.examined as usize;
        let list = self.segments.as_slice();
        let (at, _) = list
            .iter()
            .enumerate()
            .skip(from)
            .find(|(_, segment)| segment.state() == State::Live)?;
        Some(Step::Examine { at })
    }

    #[cfg_attr(not(feature = "alloc"), inline(never))]
    fn reclaim(&self) -> Result<Step, NoStep> {
        if let Some(step) = self.examine_step() {
            return Ok(step);
        }
        if self.has_dead() {
            return Err(NoStep::Ask(Rule::Rotate { strict: false }));
        }
        Ok(self.make_room().unwrap_or(Step::Ready {
            offset: self.active.tail,
        }))
    }
}
