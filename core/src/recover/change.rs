//! What an open changes once everything is read: it settles, releases what is unreadable, removes what no manifest lists.

use crate::error::{Error, PoisonCause, Refusal};
use crate::facts::{Retained, State};
use crate::fault::{Found, StorageError};
use crate::geometry::SegmentId;
use crate::mutation::{self, Mutation};
use crate::recover::{Mode, Phase, Recovery};

impl Recovery<'_, '_> {
    /// Everything is read; from here on things change.
    #[cfg_attr(not(feature = "alloc"), inline(never))]
    pub(super) fn decided(&mut self) -> Phase {
        if self.is_absent() {
            return self.absent();
        }
        let closed = self.is_closed();
        let (active, spares) = (&self.region.active, &self.region.aside.spares);
        self.region.segments.retain(&mut |segment| {
            let id = segment.segment();
            id != active.id && spares.iter().flatten().all(|spare| spare.id() != id)
        });
        self.region.aside.expendable = None;
        let mut listed = 0;
        for segment in self.region.segments.as_mut_slice() {
            // Prepared for a session that never came. They go when one does: until its first frame is durable, a seal
            // that reads torn today and whole tomorrow may name one of them.
            if segment.id > active.id.0 && !mutation::is(Mutation::RemoveTornSuccessor) {
                segment.set_state(State::Omitted);
                self.region.aside.expendable = Some(segment.segment()).filter(|&id| Some(id) != self.successor);
            }
            listed += u32::from(segment.is_listed());
        }
        let (newest, last_sequence) = (active.id, self.region.next_sequence - 1);
        let opened = &mut self.region.aside.opened;
        opened.newest = newest;
        opened.segments = listed + 1;
        opened.last_sequence = last_sequence;
        if matches!(self.mode, Mode::ReadOnly | Mode::Create) {
            Phase::Done
        } else if !closed
            && self.region.active.durable < self.region.active.tail
            && !mutation::is(Mutation::ResumeBeforeSettle)
        {
            // What a close frame covers is durable; the frame itself is settled when the next session begins.
            Phase::Settle
        } else {
            self.after_settle()
        }
    }

    /// There is no region: what is there an interrupted create left.
    pub(super) fn absent(&mut self) -> Phase {
        match self.mode {
            Mode::ReadOnly | Mode::Open => Phase::Done,
            Mode::Create | Mode::OpenOrCreate => {
                self.region.segments.clear();
                self.left += self.found;
                self.region.aside.opened.newest = SegmentId(self.region.aside.next_id);
                Phase::Clear
            }
        }
    }

    const fn after_settle(&self) -> Phase {
        if self.left > 0 { Phase::ListSlots } else { Phase::Remove }
    }

    /// Settling failed: what was recovered may be lost, and no second try can tell.
    #[cfg_attr(not(feature = "alloc"), inline(never))]
    pub(crate) fn settle_failed<E>(&mut self, error: E) -> Error<E> {
        self.region.poisoned = Some(PoisonCause::Settle);
        Error::Storage(error)
    }

    /// What was recovered is settled.
    #[cfg_attr(not(feature = "alloc"), inline(never))]
    pub(crate) fn settled(&mut self) {
        let active = &self.region.active;
        self.region.aside.opened.settled_bytes = active.tail - active.durable;
        self.region.settled();
        self.phase = self.after_settle();
    }

    /// What was to go went, or did not: then it costs its own room, and not the log.
    #[cfg_attr(not(feature = "alloc"), inline(never))]
    pub(crate) fn removed<E: StorageError>(&mut self, outcome: Result<(), E>) {
        let outcome = outcome.map_err(|error| error.kind());
        let opened = &mut self.region.aside.opened;
        match (self.phase, outcome) {
            (Phase::Remove, outcome) => {
                let Some(id) = self.leftover().map(Retained::segment) else {
                    return;
                };
                match outcome {
                    Ok(()) => {
                        self.region.removed(id);
                        self.region.aside.opened.removed_segments += 1;
                    }
                    Err(error) => self.region.remove_failed(id, error),
                }
                return;
            }
            (
                Phase::Release { .. }
                | Phase::Clearing {
                    leftover: Found::Unreadable { .. },
                },
                Ok(()),
            ) => opened.released_slots += 1,
            (_, Ok(())) => opened.removed_segments += 1,
            (_, Err(error)) => {
                opened.not_removed(error);
                self.stuck += 1;
            }
        }
        self.left -= 1;
        self.phase = match self.phase {
            Phase::Clearing { .. } => Phase::Clear,
            _ => Phase::ListSlots,
        };
    }
}

impl Recovery<'_, '_> {
    /// Whether there is now a region to open, once nothing is needed any more.
    #[cfg_attr(not(feature = "alloc"), inline(never))]
    pub(crate) fn finish(self) -> Result<(), Refusal> {
        // What did not go at the open says nothing of what this session gives up.
        self.region.aside.stuck_in_a_row = 0;
        match (self.mode, self.is_absent()) {
            (Mode::Open | Mode::ReadOnly, true) => Err(Error::NoRegion),
            (Mode::Create, false) => Err(Error::RegionExists),
            _ => Ok(()),
        }
    }
}
