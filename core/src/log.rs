//! The log on a storage that answers at once: performs the steps that the region and the recovery ask for.
//! Takes no decision of its own.

use core::ops::{ControlFlow, RangeBounds};

use crate::batch::{Batch, Heads};
use crate::capacity::{Buffer, Capacity};
use crate::checksum::Checksum;
use crate::error::{Error, PoisonCause};
use crate::examine;
use crate::geometry::{Mark, SegmentId};
use crate::media;
use crate::reads::{Position, Reads};
use crate::record::{EncodedHead, Head, NewRecord, Void, clamp_voids};
use crate::recover::{Failure, Need, Options, Recovery};
use crate::region::{Goal, Refusal, Region, Room, Step};
use crate::report::{Report, Tail};
use crate::segment::header;
use crate::segment::layout::{Layout, Purpose};
use crate::storage::{Fault, Found, Storage, StorageError};
use crate::voids::{self, Cover};

/// An append, as far as it went: *written*, not yet durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Appended {
    /// The sequence of the first record; of the next one to come where the batch only deletes.
    pub first: u64,
    /// The sequence of the last record; less than `first` where the batch only deletes.
    pub last: u64,
    /// Where the first record stands. Valid after reopening.
    pub position: Position,
    /// What is to be synced for the batch to be durable.
    pub mark: Mark,
}

/// One region of a storage, open.
///
/// Every method that writes says what is *written* when it returns: handed to the storage, lost with the power
/// until [`Log::sync`] returned. After a failed write or sync the log is poisoned: reading goes on, every later
/// write returns [`Error::Poisoned`].
#[derive(Debug)]
pub struct Log<'w, S> {
    pub(crate) region: Region<'w>,
    pub(crate) storage: S,
    pub(crate) buffer: Buffer<'w>,
    report: Report,
    read_only: bool,
    closed: bool,
}

/// What a batch will be, beside its bytes.
#[derive(Clone, Copy)]
struct Shape {
    payload_len: u32,
    crc: u32,
    with_epoch: bool,
}

/// One record, encoded and checksummed.
#[derive(Clone, Copy, Debug)]
pub struct Prepared<'a> {
    head: EncodedHead,
    value: &'a [u8],
    crc: u32,
    table: u64,
    index: Option<u64>,
}

impl<'a> Prepared<'a> {
    /// Encodes what stands in front of the value, and checksums both.
    #[must_use]
    pub fn new(record: &NewRecord<'a>, checksum: Checksum) -> Self {
        let head = EncodedHead::user(record, None);
        Self {
            crc: checksum.extend(checksum.of(head.as_slice()), record.value),
            head,
            value: record.value,
            table: record.table,
            index: record.index,
        }
    }
}

fn failed<E>(failure: Failure, given: crate::geometry::Geometry) -> Error<E> {
    match failure {
        Failure::Corrupt(corruption) => Error::Corrupt(corruption),
        Failure::NoRegion => Error::NoRegion,
        Failure::GeometryMismatch(stored) => Error::GeometryMismatch { stored, given },
        Failure::TooManySegments { needed } => Error::TooManySegments { needed },
        Failure::TooManyVoids { max } => Error::TooManyVoids { max },
    }
}

fn refused<E>(refusal: Refusal) -> Error<E> {
    match refusal {
        Refusal::Poisoned(cause) => Error::Poisoned(cause),
        Refusal::Full => Error::Full,
        Refusal::TooManySegments { needed } => Error::TooManySegments { needed },
        Refusal::IncarnationExhausted => Error::IncarnationExhausted,
    }
}

impl<'w, S: Storage> Log<'w, S> {
    /// Opens the region for writing: recovers it, makes what it recovered durable, removes what an interrupted
    /// session left behind.
    ///
    /// Power loss: the next open finds the same log.
    ///
    /// # Errors
    /// [`Error::NoRegion`], [`Error::Corrupt`], [`Error::GeometryMismatch`], [`Error::TooManySegments`],
    /// [`Error::TooManyVoids`], [`Error::BufferTooSmall`]: nothing was changed. [`Error::Storage`].
    pub fn open(storage: S, capacity: Capacity<'w>, options: Options) -> Result<Self, Error<S::Error>> {
        Self::recover(storage, capacity, options, false)
    }

    /// Opens the region for reading: changes nothing.
    ///
    /// # Errors
    /// As [`Log::open`].
    pub fn open_read_only(storage: S, capacity: Capacity<'w>, options: Options) -> Result<Self, Error<S::Error>> {
        Self::recover(storage, capacity, options, true)
    }

    fn recover(
        mut storage: S,
        capacity: Capacity<'w>,
        options: Options,
        read_only: bool,
    ) -> Result<Self, Error<S::Error>> {
        let geometry = storage.geometry();
        let (room, mut buffer) = Room::new(capacity, Layout::new(geometry));
        let mut recovery = Recovery::new(options, geometry, room, read_only);
        drive(&mut storage, buffer.whole(), &mut recovery)?;
        Self::recovered(storage, buffer, recovery, read_only)
    }

    fn recovered(
        storage: S,
        buffer: Buffer<'w>,
        recovery: Recovery<'w>,
        read_only: bool,
    ) -> Result<Self, Error<S::Error>> {
        let geometry = storage.geometry();
        let (region, report) = recovery.finish().map_err(|failure| failed(failure, geometry))?;
        Ok(Self {
            region,
            storage,
            buffer,
            report,
            read_only,
            closed: false,
        })
    }

    /// Makes the region on a storage that holds none. On return it is durable.
    ///
    /// Power loss: there is a region or [`Log::open`] says [`Error::NoRegion`], and this may be tried again.
    ///
    /// # Errors
    /// [`Error::RegionExists`] where an open would find one; what else [`Log::open`] says of what is there, which is
    /// left alone; [`Error::Full`]; [`Error::Storage`].
    pub fn create(storage: S, capacity: Capacity<'w>, options: Options) -> Result<Self, Error<S::Error>> {
        Self::ensure(storage, capacity, options, true)
    }

    /// Opens the region, or makes it where there is none.
    ///
    /// # Errors
    /// As [`Log::open`] and [`Log::create`].
    pub fn open_or_create(storage: S, capacity: Capacity<'w>, options: Options) -> Result<Self, Error<S::Error>> {
        Self::ensure(storage, capacity, options, false)
    }

    fn ensure(
        mut storage: S,
        capacity: Capacity<'w>,
        options: Options,
        only_new: bool,
    ) -> Result<Self, Error<S::Error>> {
        let geometry = storage.geometry();
        let (room, mut buffer) = Room::new(capacity, Layout::new(geometry));
        let mut recovery = Recovery::new(options, geometry, room, only_new);
        drive(&mut storage, buffer.whole(), &mut recovery)?;
        if !recovery.is_absent() {
            if only_new {
                return Err(Error::RegionExists);
            }
            return Self::recovered(storage, buffer, recovery, false);
        }
        // What is there was never a region: an interrupted create left it.
        let (room, first) = recovery.into_room();
        loop {
            let mut leftover = None;
            let mut visit = |found| {
                leftover = Some(found);
                ControlFlow::Break(())
            };
            storage.segments(&mut visit).map_err(Error::Storage)?;
            match leftover {
                None => break,
                Some(Found::Unreadable { slot }) => storage.release(slot).map_err(Error::Storage)?,
                Some(Found::Segment(id)) => storage.remove(id).map_err(Error::Storage)?,
            }
        }
        let region = Region::new(options, geometry, room, first);
        let report = Report {
            region: options.region,
            geometry,
            newest: first,
            segments: 1,
            tail: Tail::New,
            last_sequence: 0,
            settled_bytes: 0,
            removed_segments: 0,
            released_slots: 0,
        };
        let mut log = Self {
            region,
            storage,
            buffer,
            report,
            read_only: false,
            closed: false,
        };
        log.run(Goal::Begin)?;
        Ok(log)
    }

    #[inline]
    fn writable(&self) -> Result<(), Error<S::Error>> {
        if self.closed {
            Err(Error::Closed)
        } else if self.read_only {
            Err(Error::ReadOnly)
        } else {
            Ok(())
        }
    }

    /// Performs steps until the goal is reached; the offset of an append's frame.
    fn run(&mut self, goal: Goal) -> Result<u32, Error<S::Error>> {
        self.region.refused = false;
        loop {
            match self.region.plan(goal).map_err(refused)? {
                Step::Ready { offset } => return Ok(offset),
                step => self.perform(step)?,
            }
        }
    }

    fn perform(&mut self, step: Step) -> Result<(), Error<S::Error>> {
        match step {
            Step::Ready { .. } => {}
            Step::Create { id } => {
                let header = self.region.header_of(id).encode(self.region.checksum);
                match self.storage.create(id, &header) {
                    Ok(()) => {
                        self.region.created(id);
                    }
                    Err(error) if error.fault() == Fault::Full => match self.region.make_room() {
                        Some(step) => self.perform(step)?,
                        None => self.region.refused = true,
                    },
                    Err(error) => {
                        // What became of it is met at the next open; the id is not tried again.
                        self.region.next_id = id.0.saturating_add(1);
                        return Err(Error::Storage(error));
                    }
                }
            }
            Step::Claim { id, end } => match self.storage.claim(id, end) {
                Ok(()) => self.region.claimed(id, end),
                Err(error) if error.fault() == Fault::Full => match self.region.make_room() {
                    Some(step) => self.perform(step)?,
                    None if self.region.is_second_spare(id) => self.region.refused = true,
                    None => return Err(Error::Full),
                },
                Err(error) => return Err(Error::Storage(error)),
            },
            Step::Write { id, offset, control } => {
                let needed = self.region.control_len(control);
                let out = self.buffer.at_least(needed).ok_or(Error::BufferTooSmall { needed })?;
                let len = self.region.build(control, offset, out);
                let frame = out.get(..len).unwrap_or_default();
                let written = self.storage.write(id, offset, &[frame]);
                self.checked(written, PoisonCause::Write)?;
                self.region.control_written(control, offset, len as u32);
            }
            Step::Sync(mark) => {
                let synced = self.storage.sync(mark);
                self.checked(synced, PoisonCause::Sync)?;
                self.region.synced(mark);
            }
            Step::Settle { id, from, to } => {
                let settled = self.storage.settle(id, from, to);
                self.checked(settled, PoisonCause::Settle)?;
                self.region.settled();
            }
            Step::Remove { id } => match self.storage.remove(id) {
                Ok(()) => self.region.removed(id),
                // It is not part of the log any more; the next open removes it.
                Err(_) => self.region.remove_failed = true,
            },
            Step::Examine { at } => {
                let dead = examine::is_dead(&mut self.storage, self.buffer.whole(), &self.region, at);
                self.region.examined(at, dead);
            }
        }
        Ok(())
    }

    fn checked(&mut self, outcome: Result<(), S::Error>, cause: PoisonCause) -> Result<(), Error<S::Error>> {
        outcome.map_err(|error| {
            self.region.poisoned = Some(cause);
            Error::Storage(error)
        })
    }

    /// Appends one record to `table`. On return it is written.
    ///
    /// # Errors
    /// [`Error::RecordTooLarge`] and [`Error::SequenceExhausted`]: nothing was written and no sequence used.
    /// [`Error::Full`]; [`Error::Poisoned`]; [`Error::ReadOnly`]; [`Error::Closed`]; [`Error::Storage`] poisons
    /// where a write or sync failed.
    pub fn append(&mut self, table: u64, value: &[u8]) -> Result<Appended, Error<S::Error>> {
        self.append_record(&NewRecord::new(table, value))
    }

    /// Appends one record with its optional fields. On return it is written.
    ///
    /// # Errors
    /// As [`Log::append`].
    pub fn append_record(&mut self, record: &NewRecord<'_>) -> Result<Appended, Error<S::Error>> {
        self.append_prepared(&Prepared::new(record, self.region.checksum))
    }

    /// As [`Log::append_record`], with a record that was prepared beforehand, outside any lock.
    ///
    /// # Errors
    /// As [`Log::append`].
    pub fn append_prepared(&mut self, record: &Prepared<'_>) -> Result<Appended, Error<S::Error>> {
        let head = record.head.as_slice();
        let shape = Shape {
            payload_len: self.payload_len(head.len() + record.value.len())?,
            crc: record.crc,
            with_epoch: false,
        };
        let offset = self.place(shape, 1, Purpose::User)?;
        let position = self.write_frame(offset, shape, [head, record.value])?;
        let appended = self.appended(position, 1);
        self.region.record_written(record.table, record.index, offset);
        Ok(appended)
    }

    /// Appends a batch: after a crash all of it is there, or nothing. On return it is written.
    ///
    /// # Errors
    /// As [`Log::append`], and [`Error::EmptyBatch`], [`Error::TooManyVoids`], [`Error::BufferTooSmall`] (a batch
    /// with deletions passes through the lent buffer).
    pub fn append_batch(&mut self, batch: &Batch<'_>) -> Result<Appended, Error<S::Error>> {
        let crc = if batch.deletions() == 0 {
            self.region.checksum.of(batch.payload())
        } else {
            0
        };
        self.append_encoded(batch, crc)
    }

    /// As [`Log::append_batch`], where the caller has computed the CRC of the payload beforehand, outside any
    /// lock. It is not used for a batch with deletions.
    ///
    /// # Errors
    /// As [`Log::append_batch`].
    pub fn append_encoded(&mut self, batch: &Batch<'_>, payload_crc: u32) -> Result<Appended, Error<S::Error>> {
        if batch.is_empty() {
            return Err(Error::EmptyBatch);
        }
        let mut shape = Shape {
            payload_len: self.payload_len(batch.payload_len())?,
            crc: payload_crc,
            with_epoch: batch.with_epoch(),
        };
        let count = batch.records();
        let purpose = if count == 0 { Purpose::Void } else { Purpose::User };
        if batch.deletions() == 0 {
            let offset = self.place(shape, count, purpose)?;
            let position = self.write_frame(offset, shape, [batch.payload(), &[]])?;
            let appended = self.appended(position, count);
            self.note(batch.entries(), offset);
            return Ok(appended);
        }
        self.voids_fit(batch)?;
        let offset = self.place(shape, count, purpose)?;
        let needed = batch.payload_len();
        let copy = self
            .buffer
            .at_least(needed)
            .and_then(|buffer| buffer.get_mut(..needed))
            .ok_or(Error::BufferTooSmall { needed })?;
        copy.copy_from_slice(batch.payload());
        if let Some(entries) = copy.get_mut(batch.entries_start()..) {
            // The batch was encoded by this crate.
            let _ = clamp_voids(entries, self.region.next_sequence);
        }
        shape.crc = self.region.checksum.of(copy);
        // The buffer stays as it is until it is noted.
        let buffer = core::mem::replace(&mut self.buffer, Buffer::Lent(&mut []));
        let payload = buffer.as_slice().get(..needed).unwrap_or_default();
        let written = self.write_frame(offset, shape, [payload, &[]]);
        let appended = written.map(|position| self.appended(position, count));
        if appended.is_ok() {
            self.note(payload.get(batch.entries_start()..).unwrap_or_default(), offset);
        }
        self.buffer = buffer;
        appended
    }

    /// Deletes the records of `table` up to `sequence`, that one included, as far as they were given. On return
    /// the deletion is written; when it is durable, no crash brings the records back.
    ///
    /// # Errors
    /// As [`Log::append_batch`]. Works on a full storage as long as the reserve of the segment lasts.
    pub fn delete_up_to(&mut self, table: u64, sequence: u64) -> Result<Appended, Error<S::Error>> {
        self.delete(Void {
            table,
            from: 1,
            to: sequence,
        })
    }

    /// Deletes the records of `table` from `sequence` on, that one included, that were given so far. On return
    /// the deletion is written.
    ///
    /// # Errors
    /// As [`Log::delete_up_to`].
    pub fn truncate_from(&mut self, table: u64, sequence: u64) -> Result<Appended, Error<S::Error>> {
        self.delete(Void {
            table,
            from: sequence.max(1),
            to: u64::MAX,
        })
    }

    fn delete(&mut self, void: Void) -> Result<Appended, Error<S::Error>> {
        self.writable()?;
        let void = Void {
            to: void.to.min(self.region.next_sequence - 1),
            ..void
        };
        let nothing = void.from > void.to
            || voids::cover(self.region.voids.as_slice(), void.table, void.from, void.to) == Cover::All;
        if nothing && self.region.poisoned.is_none() {
            return Ok(self.nothing_appended());
        }
        self.void_fits(void)?;
        let head = EncodedHead::void(void);
        let head = head.as_slice();
        let shape = Shape {
            payload_len: head.len() as u32,
            crc: self.region.checksum.of(head),
            with_epoch: false,
        };
        let offset = self.place(shape, 0, Purpose::Void)?;
        let position = self.write_frame(offset, shape, [head, &[]])?;
        let appended = self.appended(position, 0);
        self.region.void_written(void);
        Ok(appended)
    }

    fn nothing_appended(&self) -> Appended {
        Appended {
            first: self.region.next_sequence,
            last: self.region.next_sequence - 1,
            position: Position::default(),
            mark: self.written_mark(),
        }
    }

    fn payload_len(&self, len: usize) -> Result<u32, Error<S::Error>> {
        self.writable()?;
        let max = self.region.layout.max_payload_len();
        u32::try_from(len)
            .ok()
            .filter(|&len| len <= max)
            .ok_or(Error::RecordTooLarge { len: len as u64, max })
    }

    fn voids_fit(&self, batch: &Batch<'_>) -> Result<(), Error<S::Error>> {
        let mut growth = 0;
        for head in Heads::new(batch.entries()) {
            if let Ok(Head::Void(void)) = head {
                growth += self.region.voids.growth(void).max(0);
            }
        }
        self.growth_fits(growth)
    }

    fn void_fits(&self, void: Void) -> Result<(), Error<S::Error>> {
        self.growth_fits(self.region.voids.growth(void))
    }

    fn growth_fits(&self, growth: isize) -> Result<(), Error<S::Error>> {
        if growth <= 0 || self.region.facts_fit(growth) {
            Ok(())
        } else {
            Err(Error::TooManyVoids {
                max: self.region.max_voids(),
            })
        }
    }

    fn place(&mut self, shape: Shape, count: u32, purpose: Purpose) -> Result<u32, Error<S::Error>> {
        if self.region.next_sequence.checked_add(u64::from(count)).is_none() {
            return Err(Error::SequenceExhausted);
        }
        let goal = Goal::Append {
            payload_len: shape.payload_len,
            purpose,
        };
        if let Some(offset) = self.region.ready_at(shape.payload_len, purpose) {
            debug_assert_eq!(
                self.region.plan(goal),
                Ok(Step::Ready { offset }),
                "the short way is the same way"
            );
            return Ok(offset);
        }
        self.run(goal)
    }

    fn write_frame(&mut self, offset: u32, shape: Shape, payload: [&[u8]; 2]) -> Result<Position, Error<S::Error>> {
        let active = &self.region.active;
        let segment = active.id;
        let header = self
            .region
            .batch_header(shape.payload_len, shape.crc, shape.with_epoch)
            .encode(&active.binding, offset);
        let written = self.storage.write(segment, offset, &[&header, payload[0], payload[1]]);
        self.checked(written, PoisonCause::Write)?;
        self.region.batch_written(offset, shape.payload_len);
        Ok(Position::of(segment, offset, &header))
    }

    fn appended(&self, position: Position, count: u32) -> Appended {
        let first = self.region.next_sequence;
        Appended {
            first,
            last: first + u64::from(count) - 1,
            position,
            mark: self.written_mark(),
        }
    }

    /// Takes the written entries of the batch at `offset` into the state.
    fn note(&mut self, entries: &[u8], offset: u32) {
        for head in Heads::new(entries).flatten() {
            match head {
                Head::User { table, index, .. } => self.region.record_written(table, index, offset),
                Head::Void(void) => self.region.void_written(void),
            }
        }
    }

    /// Makes everything written durable, then removes what was reclaimed.
    ///
    /// # Errors
    /// [`Error::Storage`] where a sync failed: the log is poisoned, nothing written since the last sync may be relied
    /// on, and no later call says otherwise. [`Error::Poisoned`]; [`Error::ReadOnly`]; [`Error::Closed`].
    pub fn sync(&mut self) -> Result<(), Error<S::Error>> {
        self.writable()?;
        self.run(Goal::Sync).map(drop)
    }

    /// Begins a sync that the host performs itself, beside appends that go on: what is to be synced, or `None` where
    /// everything is durable. Tell the outcome to [`Log::synced`] or [`Log::poison`].
    ///
    /// # Errors
    /// As [`Log::sync`].
    pub fn begin_sync(&mut self) -> Result<Option<Mark>, Error<S::Error>> {
        self.writable()?;
        loop {
            match self.region.plan(Goal::Sync).map_err(refused)? {
                Step::Sync(mark) => return Ok(Some(mark)),
                step @ Step::Write { .. } => self.perform(step)?,
                _ => return Ok(None),
            }
        }
    }

    /// Takes in that everything before the mark is durable.
    pub fn synced(&mut self, mark: Mark) {
        self.region.synced(mark);
    }

    /// Takes in that a write or sync of the host's own failed: the log refuses all further writes.
    pub fn poison(&mut self, cause: PoisonCause) {
        self.region.poisoned.get_or_insert(cause);
    }

    /// Removes one segment that a durable manifest omits; false where there is none.
    pub fn remove_one(&mut self) -> bool {
        match self.region.remove_step() {
            Some(step) if !self.closed && !self.read_only && self.region.poisoned.is_none() => {
                let _ = self.perform(step);
                true
            }
            _ => false,
        }
    }

    /// A segment to create ahead with this header, so that a rotation need not wait for it; `None` while enough are
    /// in hand or the log has not begun to write. Tell a success to [`Log::created_ahead`]; after a failure the log
    /// creates one itself when it must.
    pub fn begin_create(&mut self) -> Option<(SegmentId, [u8; header::HEADER_LEN])> {
        self.region
            .begin_create()
            .map(|id| (id, self.region.header_of(id).encode(self.region.checksum)))
    }

    /// Takes in that a segment was created ahead. False: it came too late and is to be removed.
    pub fn created_ahead(&mut self, id: SegmentId) -> bool {
        self.region.created(id)
    }

    /// Whether a segment should be created ahead: the active one is past half full and there is one spare only.
    #[inline]
    pub fn wants_spare(&self) -> bool {
        let region = &self.region;
        region.spares[1].is_none() && !region.creating && region.active.tail > region.geometry.segment_len() / 2
    }

    /// Takes in that creating ahead failed.
    pub fn create_ahead_failed(&mut self) {
        self.region.creating = false;
    }

    /// Space of the active segment that is claimed, and of the segment after it: where a host may claim ahead.
    pub fn claimed(&self) -> [Option<Mark>; 2] {
        let active = &self.region.active;
        let mark = |segment, end| Mark { segment, end };
        [
            Some(mark(active.id, active.claimed)),
            self.region.spares[0].map(|spare| mark(spare.id, spare.claimed)),
        ]
    }

    /// Takes in that the host claimed space ahead.
    pub fn claimed_ahead(&mut self, to: Mark) {
        self.region.claimed(to.segment, to.end);
    }

    /// Changes whenever anything but appended records did: segments or deleted ranges.
    #[inline]
    pub const fn version(&self) -> u64 {
        self.region.version
    }

    /// Hands everything written over to the storage's next owner, so that it survives the death of the process.
    ///
    /// # Errors
    /// As [`Log::sync`].
    pub fn hand_over(&mut self) -> Result<(), Error<S::Error>> {
        self.writable()?;
        if let Some(cause) = self.region.poisoned {
            return Err(Error::Poisoned(cause));
        }
        let handed = self.storage.hand_over(self.written_mark());
        self.checked(handed, PoisonCause::HandOver)
    }

    /// Gives up segments without a live record: begins a new segment whose manifest omits them, and removes them
    /// once it is durable. Does nothing where there is none. The segment that is appended to is never given up.
    ///
    /// # Errors
    /// As [`Log::append_batch`].
    pub fn reclaim(&mut self) -> Result<(), Error<S::Error>> {
        self.writable()?;
        self.run(Goal::Reclaim).map(drop)
    }

    /// Makes everything durable and writes down that it is; a second close, and one without a write since the
    /// open, writes nothing. The log takes no more writes; reading goes on.
    ///
    /// # Errors
    /// As [`Log::sync`]; the log is closed even so.
    pub fn close(&mut self) -> Result<(), Error<S::Error>> {
        if self.closed || self.read_only {
            // A close that failed is not made good by asking again.
            return match self.region.poisoned {
                Some(cause) => Err(Error::Poisoned(cause)),
                None => Ok(()),
            };
        }
        let closed = self.run(Goal::Close).map(drop);
        self.closed = true;
        closed
    }

    /// Takes no more writes, without making anything durable: the region is to be removed.
    pub const fn abandon(&mut self) {
        self.closed = true;
    }

    /// Reads records of one table, or of all where `table` is `None`, with sequences in `range`, by rising sequence.
    pub fn read(&mut self, table: Option<u64>, range: impl RangeBounds<u64>) -> Reads<'_, 'w, S> {
        Reads::new(self, table, range)
    }

    /// What the open found and did.
    pub const fn report(&self) -> &Report {
        &self.report
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

    /// The last sequence given; 0 before the first.
    #[inline]
    pub const fn last_sequence(&self) -> u64 {
        self.region.next_sequence - 1
    }

    /// The last sequence when a sync covered all that was written last, a sync by a rotation included; 0 before the
    /// first.
    pub const fn durable_sequence(&self) -> u64 {
        self.region.durable_sequence
    }

    /// Why the log refuses writes, if it does.
    #[inline]
    pub const fn poisoned(&self) -> Option<PoisonCause> {
        self.region.poisoned
    }

    /// Up to where the newest segment is written.
    #[inline]
    pub const fn written_mark(&self) -> Mark {
        Mark {
            segment: self.region.active.id,
            end: self.region.active.tail,
        }
    }

    /// Up to where the log is durable; every older segment is.
    #[inline]
    pub const fn durable_mark(&self) -> Mark {
        Mark {
            segment: self.region.active.id,
            end: self.region.active.durable,
        }
    }
}

/// Performs what a recovery asks for until it needs nothing more.
fn drive<S: Storage>(storage: &mut S, buffer: &mut [u8], recovery: &mut Recovery<'_>) -> Result<(), Error<S::Error>> {
    let geometry = storage.geometry();
    let fail = |failure| failed(failure, geometry);
    loop {
        match recovery.need() {
            Need::Nothing => return Ok(()),
            Need::List => {
                storage
                    .segments(&mut |found| recovery.found(found))
                    .map_err(Error::Storage)?;
                recovery.listed().map_err(fail)?;
            }
            Need::Read { id, offset, min, len } => {
                let read = |bytes: &[u8]| recovery.read(bytes);
                media::with_bytes(storage, buffer, (id, offset), (min, len), read)?.map_err(fail)?;
            }
            Need::Extent { id } => {
                let extent = storage.extent(id).map_err(Error::Storage)?;
                recovery.extent(extent).map_err(fail)?;
            }
            Need::Settle { id, from, to } => {
                storage.settle(id, from, to).map_err(Error::Storage)?;
                recovery.changed();
            }
            Need::Remove { id } => {
                storage.remove(id).map_err(Error::Storage)?;
                recovery.changed();
            }
            Need::Release { slot } => {
                storage.release(slot).map_err(Error::Storage)?;
                recovery.changed();
            }
        }
    }
}
