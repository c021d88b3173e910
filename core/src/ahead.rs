//! What a host with threads does beside the log: syncs, creates, claims and removes of its own, told to the log afterwards.

use crate::error::{Error, PoisonCause, Refusal};
use crate::geometry::{Mark, SegmentId};
use crate::log::{self, Log};
use crate::region::plan::Step;
use crate::segment::header;
use crate::storage::Storage;

impl<S: Storage> Log<'_, S> {
    /// Begins a sync that the host performs itself, beside appends that go on: what is to be synced, or `None` where
    /// everything is durable. Tell the outcome to [`Log::synced`] or [`Log::poison`].
    ///
    /// # Errors
    /// As [`Log::sync`].
    pub fn begin_sync(&mut self) -> Result<Option<Mark>, Error<S::Error>> {
        while let Some(step) = self.engine.sync_step().map_err(Refusal::on)? {
            match step {
                Step::Sync(mark) => return Ok(Some(mark)),
                step => log::perform(&mut self.storage, &mut self.engine, step)?,
            }
        }
        Ok(None)
    }

    /// Takes in that everything before the mark is durable.
    pub fn synced(&mut self, mark: Mark) {
        self.engine.region.synced(mark);
    }

    /// Takes in that a write or sync of the host's own failed: the log refuses all further writes.
    pub fn poison(&mut self, cause: PoisonCause) {
        let poisoned = &mut self.engine.region.poisoned;
        // A sync that fails beside appends may make one fail before it is told of here; it was the first even so.
        if poisoned.is_none() || cause == PoisonCause::Sync {
            *poisoned = Some(cause);
        }
    }

    /// Removes one segment that a durable manifest omits; false where there is none.
    pub fn remove_one(&mut self) -> bool {
        match self.engine.remove_step() {
            Some(step) => log::perform(&mut self.storage, &mut self.engine, step).is_ok(),
            None => false,
        }
    }

    /// A segment to create ahead with this header, so that a rotation need not wait for it; `None` while enough are
    /// in hand or the log has not begun to write. Tell a success to [`Log::created_ahead`]; after a failure the log
    /// creates one itself when it must.
    pub fn begin_create(&mut self) -> Option<(SegmentId, [u8; header::HEADER_LEN])> {
        let id = self.engine.region.begin_create()?;
        Some((id, self.engine.header(id)))
    }

    /// Takes in that a segment was created ahead. False: it came too late and is to be removed.
    pub fn created_ahead(&mut self, id: SegmentId) -> bool {
        self.engine.region.aside.creating = false;
        self.engine.region.created(id)
    }

    /// Whether a segment should be created ahead: the active one is past half full and there is one spare only.
    #[cfg_attr(feature = "alloc", inline)]
    pub fn wants_spare(&self) -> bool {
        let region = &self.engine.region;
        region.aside.spares[1].is_none()
            && !region.aside.creating
            && region.active.tail > region.layout.segment_len() / 2
    }

    /// Takes in that creating ahead failed.
    pub fn create_ahead_failed(&mut self) {
        self.engine.region.aside.creating = false;
    }

    /// Space of the active segment that is claimed, and of the segment after it: where a host may claim ahead.
    pub fn claimed(&self) -> [Option<Mark>; 2] {
        let active = &self.engine.region.active;
        let mark = |segment, end| Mark { segment, end };
        [
            Some(mark(active.id, active.claimed)),
            self.engine.region.aside.spares[0].map(|spare| mark(spare.id(), spare.claimed)),
        ]
    }

    /// Takes in that the host claimed space ahead.
    pub fn claimed_ahead(&mut self, to: Mark) {
        self.engine.region.claimed(to.segment, to.end);
    }

    /// Changes whenever anything but appended records did: segments or deleted ranges.
    #[cfg_attr(feature = "alloc", inline)]
    pub fn version(&self) -> u64 {
        self.engine.region.aside.version.into()
    }

    /// Takes no more writes, without making anything durable: the region is to be removed.
    pub const fn abandon(&mut self) {
        self.engine.abandon();
    }
}
