//! The log on a storage that answers at once: performs the steps that the region and the recovery ask for.
//! Takes no decision of its own.

use core::ops::{RangeBounds, RangeInclusive};

use super::reads::Reads;
use super::storage::Storage;
use super::unopened::Unopened;
use super::{CAN_BE_DROPPED, examine, media, twin};
use crate::batch::Batch;
use crate::capacity::Capacity;
use crate::engine::Engine;
use crate::engine::draft::{Appended, Draft, Prepared};
use crate::error::{Error, Halt, PoisonCause, Refusal};
use crate::geometry::{Mark, SegmentId};
use crate::mutation::{self, Mutation};
use crate::record::{EncodedHead, NewRecord, Void};
use crate::recover::{Mode, Need, Options};
use crate::region::plan::{Goal, Step};
use crate::report::Report;
use crate::segment::header;

/// One region of a storage, open.
///
/// Every method that writes says what is *written* when it returns: handed to the storage, lost with the power
/// until [`Log::sync`] returned. After a failed write or sync the log is poisoned: reading goes on, every later
/// write returns [`Error::Poisoned`].
#[derive(Debug)]
pub struct Log<'w, S> {
    pub(crate) engine: Engine<'w>,
    pub(crate) storage: S,
}

#[twin(AFIT)]
impl<'w, S: Storage> Log<'w, S> {
    /// Opens the region for writing: recovers it, makes what it recovered durable, removes what an interrupted
    /// session left behind.
    ///
    /// Power loss: the next open finds the same log.
    ///
    /// # Errors
    /// [`Error::NoRegion`], [`Error::Corrupt`], [`Error::GeometryMismatch`], [`Error::TooManySegments`],
    /// [`Error::TooManyVoids`], [`Error::BufferTooSmall`]: nothing was changed. [`Error::Storage`].
    pub async fn open(storage: S, capacity: Capacity<'w>, options: Options) -> Result<Self, Error<S::Error>> {
        Self::open_as(storage, capacity, options, Mode::Open).await
    }

    /// Opens the region for reading: changes nothing.
    ///
    /// # Errors
    /// As [`Log::open`].
    pub async fn open_read_only(storage: S, capacity: Capacity<'w>, options: Options) -> Result<Self, Error<S::Error>> {
        Self::open_as(storage, capacity, options, Mode::ReadOnly).await
    }

    /// Makes the region on a storage that holds none. On return it is durable.
    ///
    /// Power loss: there is a region or [`Log::open`] says [`Error::NoRegion`], and this may be tried again.
    ///
    /// # Errors
    /// [`Error::RegionExists`] where an open would find one; what else [`Log::open`] says of what is there, which is
    /// left alone; [`Error::Full`]; [`Error::Storage`].
    pub async fn create(storage: S, capacity: Capacity<'w>, options: Options) -> Result<Self, Error<S::Error>> {
        Self::open_as(storage, capacity, options, Mode::Create).await
    }

    /// Opens the region, or makes it where there is none.
    ///
    /// # Errors
    /// As [`Log::open`] and [`Log::create`].
    pub async fn open_or_create(storage: S, capacity: Capacity<'w>, options: Options) -> Result<Self, Error<S::Error>> {
        Self::open_as(storage, capacity, options, Mode::OpenOrCreate).await
    }

    #[cfg_attr(not(feature = "alloc"), inline(never))] // What it moves leaves the stack before the log is used.
    async fn open_as(
        storage: S,
        capacity: Capacity<'w>,
        options: Options,
        mode: Mode,
    ) -> Result<Self, Error<S::Error>> {
        let mut log = Unopened::new(storage, capacity, options);
        log.open_as(mode).await?;
        Ok(log.into_log())
    }

    /// Recovers what an operation left whose future was dropped. The first thing that every other operation does.
    pub(crate) async fn resume(&mut self) -> Result<(), Error<S::Error>> {
        if CAN_BE_DROPPED && self.engine.interrupted && !mutation::is(Mutation::ForgetDropped) {
            self.engine.region.forget();
            let recovered = recover(&mut self.storage, &mut self.engine, Mode::Open).await;
            // What could not be made durable was read before that: the log is poisoned, and reading goes on.
            self.engine.interrupted = recovered.is_err() && self.engine.region.poisoned.is_none();
            recovered?;
        }
        Ok(())
    }

    /// Performs steps until the goal is reached; the offset of an append's frame.
    #[inline]
    async fn run(&mut self, goal: Goal) -> Result<u32, Halt<S::Error>> {
        run(&mut self.storage, &mut self.engine, goal).await
    }

    /// Writes a batch once there is a place for it.
    #[inline]
    async fn put(&mut self, draft: &mut Draft<'_>) -> Result<Appended, Error<S::Error>> {
        let offset = match self.engine.ready_at(draft) {
            Some(offset) => offset,
            None => self.run(draft.goal()).await?,
        };
        self.put_at(draft, offset).await
    }

    #[cfg_attr(feature = "alloc", inline)]
    #[cfg_attr(not(feature = "alloc"), inline(never))]
    async fn put_at(&mut self, draft: &mut Draft<'_>, offset: u32) -> Result<Appended, Error<S::Error>> {
        let header = self.engine.frame_header(draft, offset).map_err(Refusal::on)?;
        under_way(&mut self.engine, true);
        let [head, value] = self.engine.payload(draft);
        let written = self
            .storage
            .write(self.engine.active(), offset, &[&header, head, value])
            .await;
        under_way(&mut self.engine, false);
        self.engine.written(draft, offset, &header, written)
    }

    /// Appends one record to `table`. On return it is written.
    ///
    /// # Errors
    /// [`Error::RecordTooLarge`] and [`Error::SequenceExhausted`]: nothing was written and no sequence used.
    /// [`Error::Full`]; [`Error::Poisoned`]; [`Error::ReadOnly`]; [`Error::Closed`]; [`Error::Storage`] poisons
    /// where a write or sync failed.
    #[cfg_attr(not(feature = "alloc"), inline(never))]
    pub async fn append(&mut self, table: u64, value: &[u8]) -> Result<Appended, Error<S::Error>> {
        self.append_record(&NewRecord::new(table, value)).await
    }

    /// Appends one record with its optional fields. On return it is written.
    ///
    /// # Errors
    /// As [`Log::append`].
    #[inline]
    pub async fn append_record(&mut self, record: &NewRecord<'_>) -> Result<Appended, Error<S::Error>> {
        self.append_prepared(&Prepared::new(record, self.engine.region.checksum))
            .await
    }

    /// As [`Log::append_record`], with a record that was prepared beforehand, outside any lock.
    ///
    /// # Errors
    /// As [`Log::append`].
    pub async fn append_prepared(&mut self, record: &Prepared<'_>) -> Result<Appended, Error<S::Error>> {
        self.resume().await?;
        match self.engine.draft_record(record) {
            Ok(ref mut draft) => self.put(draft).await,
            Err(refusal) => Err(refusal.on()),
        }
    }

    /// Appends a batch: after a crash all of it is there, or nothing. On return it is written.
    ///
    /// # Errors
    /// As [`Log::append`], and [`Error::EmptyBatch`], [`Error::TooManyVoids`], [`Error::BufferTooSmall`] (a batch
    /// with deletions passes through the lent buffer).
    pub async fn append_batch(&mut self, batch: &Batch<'_>) -> Result<Appended, Error<S::Error>> {
        let crc = if batch.deletions() == 0 {
            self.engine.region.checksum.of(batch.payload())
        } else {
            0
        };
        self.append_encoded(batch, crc).await
    }

    /// As [`Log::append_batch`], where the caller has computed the CRC of the payload beforehand, outside any
    /// lock. It is not used for a batch with deletions.
    ///
    /// # Errors
    /// As [`Log::append_batch`].
    pub async fn append_encoded(&mut self, batch: &Batch<'_>, payload_crc: u32) -> Result<Appended, Error<S::Error>> {
        self.resume().await?;
        let mut draft = self.engine.draft_batch(batch, payload_crc).map_err(Refusal::on)?;
        self.put(&mut draft).await
    }

    /// Deletes the records of `table` up to `sequence`, that one included, as far as they were given. On return
    /// the deletion is written; when it is durable, no crash brings the records back.
    ///
    /// # Errors
    /// As [`Log::append_batch`]. Works on a full storage as long as the reserve of the segment lasts.
    pub async fn delete_up_to(&mut self, table: u64, sequence: u64) -> Result<Appended, Error<S::Error>> {
        self.delete(Void {
            table,
            from: 1,
            to: sequence,
        })
        .await
    }

    /// Deletes the records of `table` from `sequence` on, that one included, that were given so far. On return
    /// the deletion is written.
    ///
    /// # Errors
    /// As [`Log::delete_up_to`].
    pub async fn truncate_from(&mut self, table: u64, sequence: u64) -> Result<Appended, Error<S::Error>> {
        self.delete(Void {
            table,
            from: sequence.max(1),
            to: u64::MAX,
        })
        .await
    }

    #[cfg_attr(not(feature = "alloc"), inline(never))]
    async fn delete(&mut self, void: Void) -> Result<Appended, Error<S::Error>> {
        self.resume().await?;
        let mut head = EncodedHead::EMPTY;
        match self.engine.draft_void(void, &mut head) {
            Ok(Some(ref mut draft)) => self.put(draft).await,
            Ok(None) => Ok(self.engine.nothing_appended()),
            Err(refusal) => Err(refusal.on()),
        }
    }

    /// Makes everything written durable, then removes what was reclaimed.
    ///
    /// # Errors
    /// [`Error::Storage`] where a sync failed: the log is poisoned, nothing written since the last sync may be relied
    /// on, and no later call says otherwise. [`Error::Poisoned`]; [`Error::ReadOnly`]; [`Error::Closed`].
    pub async fn sync(&mut self) -> Result<(), Error<S::Error>> {
        self.resume().await?;
        self.engine.writable().map_err(Refusal::on)?;
        self.run(Goal::Sync).await?;
        Ok(())
    }

    /// Hands everything written over to the storage's next owner, so that it survives the death of the process.
    ///
    /// # Errors
    /// As [`Log::sync`].
    pub async fn hand_over(&mut self) -> Result<(), Error<S::Error>> {
        self.resume().await?;
        let mark = self.engine.begin_hand_over().map_err(Refusal::on)?;
        under_way(&mut self.engine, true);
        let handed = self.storage.hand_over(mark).await;
        under_way(&mut self.engine, false);
        Ok(self.engine.checked(handed, PoisonCause::HandOver)?)
    }

    /// Gives up segments without a live record: begins a new segment whose manifest omits them, and removes them
    /// once it is durable. Does nothing where there is none. The segment that is appended to is never given up.
    ///
    /// # Errors
    /// As [`Log::append_batch`].
    pub async fn reclaim(&mut self) -> Result<(), Error<S::Error>> {
        self.resume().await?;
        self.engine.writable().map_err(Refusal::on)?;
        self.run(Goal::Reclaim).await?;
        Ok(())
    }

    /// Makes everything durable and writes down that it is; a second close, and one without a write since the
    /// open, writes nothing. The log takes no more writes; reading goes on.
    ///
    /// # Errors
    /// As [`Log::sync`]; the log is closed even so.
    pub async fn close(&mut self) -> Result<(), Error<S::Error>> {
        self.resume().await?;
        if !self.engine.is_to_close().map_err(Refusal::on)? {
            return Ok(());
        }
        let closed = self.run(Goal::Close).await;
        self.engine.abandon();
        closed?;
        Ok(())
    }

    /// Reads records of one table, or of all where `table` is `None`, with sequences in `range`, by rising sequence.
    pub fn read(&mut self, table: Option<u64>, range: impl RangeBounds<u64>) -> Reads<'_, 'w, S> {
        Reads::new(self, table, range)
    }

    /// What the open found and did.
    pub fn report(&self) -> Report {
        self.engine.report()
    }

    /// The storage.
    pub const fn storage(&self) -> &S {
        &self.storage
    }

    /// The storage, for hosts that do I/O of their own beside the log. Writing to its segments breaks the log.
    pub const fn storage_mut(&mut self) -> &mut S {
        &mut self.storage
    }

    /// Ends the log without closing it.
    pub fn into_storage(self) -> S {
        self.storage
    }

    /// The sequences that went with the oldest segments since this was asked last, deleted ones among them; `None` where
    /// nothing went. Only with [`Options::ring`]. A loss of power before the next sync may bring them back.
    pub fn lost(&mut self) -> Option<RangeInclusive<u64>> {
        // What an append gave up that found no room even so is there until a manifest omits it.
        let kept = self.engine.region.first_kept();
        let lost = &mut self.engine.region.aside.lost;
        let (first, end) = *lost;
        let gone = end.min(kept);
        if first == 0 || gone <= first {
            return None;
        }
        lost.0 = if gone < end { gone } else { 0 };
        Some(first..=gone - 1)
    }

    /// The least sequence that a record of the log can have; the one after the last where it holds none.
    pub fn oldest_sequence(&self) -> u64 {
        self.engine.region.first_kept()
    }

    /// The last sequence given; 0 before the first.
    #[cfg_attr(feature = "alloc", inline)]
    pub const fn last_sequence(&self) -> u64 {
        self.engine.region.next_sequence - 1
    }

    /// The last sequence when a sync covered all that was written last, a sync by a rotation included; 0 before the
    /// first.
    pub fn durable_sequence(&self) -> u64 {
        self.engine.region.aside.durable_sequence
    }

    /// Why the log refuses writes, if it does.
    #[cfg_attr(feature = "alloc", inline)]
    pub const fn poisoned(&self) -> Option<PoisonCause> {
        self.engine.region.poisoned
    }

    /// Up to where the newest segment is written.
    #[cfg_attr(feature = "alloc", inline)]
    pub const fn written_mark(&self) -> Mark {
        self.engine.region.written_mark()
    }

    /// Up to where the log is durable; every older segment is.
    #[cfg_attr(feature = "alloc", inline)]
    pub const fn durable_mark(&self) -> Mark {
        Mark {
            segment: self.engine.region.active.id,
            end: self.engine.region.active.durable,
        }
    }
}

/// Recovers the region, and makes it durable where it is new.
#[twin(AFIT)]
pub(crate) async fn recover<S: Storage>(
    storage: &mut S,
    engine: &mut Engine<'_>,
    mode: Mode,
) -> Result<(), Error<S::Error>> {
    drive(storage, engine, mode).await?;
    if let Some(goal) = engine.first_goal() {
        run(storage, engine, goal).await?;
    }
    Ok(())
}

/// Performs steps until the goal is reached; the offset of an append's frame.
#[twin(AFIT)]
#[cfg_attr(not(feature = "alloc"), inline(never))]
async fn run<S: Storage>(storage: &mut S, engine: &mut Engine<'_>, goal: Goal) -> Result<u32, Halt<S::Error>> {
    engine.begin();
    loop {
        match engine.region.plan(goal) {
            Ok(Step::Ready { offset }) => return Ok(offset),
            Ok(Step::Examine { at }) => {
                // Reads alone: nothing is under way that could be in doubt.
                let dead = examine::is_dead(&mut engine.walk, storage, engine.buffer.whole(), &engine.region, at).await;
                engine.region.examined(at, dead);
            }
            Ok(step) => perform(storage, engine, step).await?,
            Err(stop) => return Err(Halt::Stop(stop)),
        }
    }
}

/// Performs a step.
#[twin(AFIT)]
#[cfg_attr(not(feature = "alloc"), inline(never))] // Beside the planning, not on top of it.
pub(crate) async fn perform<S: Storage>(
    storage: &mut S,
    engine: &mut Engine<'_>,
    step: Step,
) -> Result<(), Halt<S::Error>> {
    let len = engine.build(step).map_err(|needed| Halt::BufferTooSmall { needed })?;
    let outcome = act(storage, engine, step, len).await;
    engine.performed(step, outcome)
}

/// Makes the call that a step names. `len`: of what was built for it.
#[twin(AFIT)]
#[cfg_attr(not(feature = "alloc"), inline(never))]
async fn act<S: Storage>(storage: &mut S, engine: &mut Engine<'_>, step: Step, len: usize) -> Result<(), S::Error> {
    under_way(engine, true);
    let outcome = match step {
        Step::Ready { .. } | Step::Examine { .. } | Step::Drop { .. } => Ok(()),
        Step::Create { id } => storage.create(id, engine.built(len)).await,
        Step::Claim { id, end } => storage.claim(id, end).await,
        Step::Write { id, offset, .. } => storage.write(id, offset, &[engine.built(len)]).await,
        Step::Sync(mark) => sync(storage, engine, mark).await,
        Step::Settle { id, from, to } => settle(storage, id, from, to).await,
        Step::Remove { id } => storage.remove(id).await,
    };
    under_way(engine, false);
    outcome
}

/// Notes that a call is under way: where that is the last word, its future was dropped.
const fn under_way(engine: &mut Engine<'_>, is: bool) {
    if CAN_BE_DROPPED {
        engine.interrupted = is;
    }
}

#[twin(AFIT)]
async fn sync<S: Storage>(storage: &mut S, engine: &mut Engine<'_>, mut mark: Mark) -> Result<(), S::Error> {
    if mutation::is(Mutation::SkipSync) {
        return Ok(());
    }
    if mutation::is(Mutation::CountBeforeSync) {
        engine.region.synced(mark);
    }
    if mutation::is(Mutation::SyncWrongSegment)
        && let Some(spare) = engine.region.aside.spares[0]
    {
        mark.segment = spare.id();
    }
    let outcome = storage.sync(mark).await;
    if outcome.is_err() && mutation::is(Mutation::RetrySync) {
        return storage.sync(mark).await;
    }
    outcome
}

#[twin(AFIT)]
async fn settle<S: Storage>(storage: &mut S, id: SegmentId, from: u32, to: u32) -> Result<(), S::Error> {
    if mutation::is(Mutation::SkipSettle) {
        return Ok(());
    }
    storage.settle(id, from, to).await
}

/// Performs what the recovery asks for until it needs nothing more.
#[twin(AFIT)]
#[inline(never)] // The recovery leaves the stack before the log is used.
async fn drive<S: Storage>(storage: &mut S, engine: &mut Engine<'_>, mode: Mode) -> Result<(), Error<S::Error>> {
    let (mut recovery, buffer) = engine.recovery(mode);
    loop {
        match recovery.need() {
            Need::Nothing => return recovery.finish().map_err(Refusal::on),
            Need::List => {
                storage
                    .segments(&mut |found| recovery.found(found))
                    .await
                    .map_err(Error::Storage)?;
                recovery.listed().map_err(Refusal::on)?;
            }
            Need::Header { id } => {
                let bytes = media::header(storage, buffer, id, 0, header::HEADER_LEN).await?;
                recovery.header(bytes).map_err(Refusal::on)?;
            }
            Need::Walk => {
                let event = media::next(recovery.walk, storage, buffer).await?;
                recovery.met(event).map_err(Refusal::on)?;
            }
            Need::Extent { id } => {
                let extent = storage.extent(id).await.map_err(Error::Storage)?;
                recovery.extent(extent);
            }
            Need::Settle { id, from, to } => {
                let settled = settle(storage, id, from, to).await;
                settled.map_err(|error| recovery.settle_failed(error))?;
                recovery.settled();
            }
            Need::Remove { id } => recovery.removed(storage.remove(id).await),
            Need::Release { slot } => recovery.removed(storage.release(slot).await),
        }
    }
}
