//! The log on a storage that answers at once: performs the steps that the region and the recovery ask for.
//! Takes no decision of its own.

use core::ops::RangeBounds;

use crate::batch::{Batch, Heads};
use crate::capacity::{Buffer, Capacity};
use crate::error::{Error, PoisonCause};
use crate::examine;
use crate::geometry::{Mark, SegmentId};
use crate::media;
use crate::reads::{Position, Reads};
use crate::record::{EncodedHead, Head, NewRecord, Void, clamp_voids};
use crate::recover::{Failure, Need, Options, Recovery};
use crate::region::{Control, Goal, Refusal, Region, Room, Session, Step};
use crate::report::Report;
use crate::segment::layout::{Layout, Purpose};
use crate::storage::{Fault, Storage, StorageError};
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

    fn recover(mut storage: S, capacity: Capacity<'w>, options: Options, read_only: bool) -> Result<Self, Error<S::Error>> {
        let geometry = storage.geometry();
        let (room, mut buffer) = Room::new(capacity, Layout::new(geometry));
        let mut recovery = Recovery::new(options, geometry, room, read_only);
        let fail = |failure| failed(failure, geometry);
        loop {
            match recovery.need() {
                Need::Nothing => break,
                Need::List => {
                    storage
                        .segments(&mut |found| recovery.found(found))
                        .map_err(Error::Storage)?;
                    recovery.listed().map_err(fail)?;
                }
                Need::Read { id, offset, min, len } => {
                    let bytes = media::read(&mut storage, buffer.whole(), id, offset, min, len)?;
                    recovery.read(bytes).map_err(fail)?;
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
        let (region, report) = recovery.finish().map_err(fail)?;
        Ok(Self {
            region,
            storage,
            buffer,
            report,
            read_only,
            closed: false,
        })
    }

    /// Makes the region on a storage without segments. On return it is durable.
    ///
    /// Power loss: there is a region or [`Log::open`] says [`Error::NoRegion`], and this may be tried again.
    ///
    /// # Errors
    /// [`Error::RegionExists`] where an open would find one; [`Error::Full`]; [`Error::Storage`].
    pub fn create(mut storage: S, mut capacity: Capacity<'w>, options: Options) -> Result<Self, Error<S::Error>> {
        let geometry = storage.geometry();
        // What an interrupted create left is removed; anything that was ever a region is not touched.
        let mut next_id = 1;
        loop {
            let mut leftover = None;
            let mut visit = |found| {
                leftover = Some(found);
                core::ops::ControlFlow::Break(())
            };
            storage.segments(&mut visit).map_err(Error::Storage)?;
            match leftover {
                None => break,
                Some(crate::storage::Found::Unreadable { slot }) => storage.release(slot).map_err(Error::Storage)?,
                Some(crate::storage::Found::Segment(id)) => {
                    media::blank_region(&mut storage, &mut capacity, options)?;
                    storage.remove(id).map_err(Error::Storage)?;
                    next_id = next_id.max(id.0.saturating_add(1));
                }
            }
        }
        let (room, buffer) = Room::new(capacity, Layout::new(geometry));
        let region = Region::new(options, geometry, room, SegmentId(next_id));
        let report = region.report_new();
        let mut log = Self {
            region,
            storage,
            buffer,
            report,
            read_only: false,
            closed: false,
        };
        let id = SegmentId(next_id);
        let header = log.region.header_of(id).encode(options.checksum);
        log.storage.create(id, &header)?;
        let mark = {
            let region = &mut log.region;
            let needed = region.control_len(Control::FirstManifest);
            let out = log
                .buffer
                .at_least(needed)
                .ok_or(Error::BufferTooSmall { needed })?;
            let offset = region.layout.frames_start();
            let len = region.build(Control::FirstManifest, offset, out);
            let end = region.layout.claim_for(offset + len as u32);
            log.storage.claim(id, end)?;
            let frame = out.get(..len).unwrap_or_default();
            log.storage.write(id, offset, &[frame]).map_err(Error::Storage)?;
            region.claimed(id, end);
            region.control_written(Control::FirstManifest, offset, len as u32);
            Mark {
                segment: id,
                end: region.active.tail,
            }
        };
        log.storage.sync(mark).map_err(Error::Storage)?;
        log.region.synced(mark);
        Ok(log)
    }

    /// Opens the region, or makes it where there is none.
    ///
    /// # Errors
    /// As [`Log::open`] and [`Log::create`].
    pub fn open_or_create(storage: S, capacity: Capacity<'w>, options: Options) -> Result<Self, Error<S::Error>>
    where
        S: Clone,
        Capacity<'w>: Clone,
    {
        match Self::open(storage.clone(), capacity.clone(), options) {
            Err(Error::NoRegion) => Self::create(storage, capacity, options),
            other => other,
        }
    }

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
                    Ok(()) => self.region.created(id),
                    Err(error) if error.fault() == Fault::Full => self.region.refused = true,
                    Err(error) => {
                        // What became of it is met at the next open; the id is not tried again.
                        self.region.next_id = id.0.saturating_add(1);
                        return Err(Error::Storage(error));
                    }
                }
            }
            Step::Claim { id, end } => {
                self.storage.claim(id, end)?;
                self.region.claimed(id, end);
            }
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
        let head = EncodedHead::user(record, None);
        let head = head.as_slice();
        let crc = self.region.checksum.of(head);
        let shape = Shape {
            payload_len: self.payload_len(head.len() + record.value.len())?,
            crc: self.region.checksum.extend(crc, record.value),
            with_epoch: false,
        };
        let at = self.place(shape, 1, Purpose::User)?;
        self.write_frame(at, shape, [head, record.value])?;
        let appended = self.appended(at, 1);
        self.region.record_written(record.table, record.index, at.offset);
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
            let at = self.place(shape, count, purpose)?;
            self.write_frame(at, shape, [batch.payload(), &[]])?;
            let appended = self.appended(at, count);
            self.note(batch.entries(), at.offset);
            return Ok(appended);
        }
        // Rotation may use the buffer, so the payload is copied behind it.
        self.voids_fit(batch)?;
        let at = self.place(shape, count, purpose)?;
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
        let written = self.write_frame(at, shape, [buffer.as_slice().get(..needed).unwrap_or_default(), &[]]);
        let appended = self.appended(at, count);
        if written.is_ok() {
            let entries = buffer.as_slice().get(batch.entries_start()..needed);
            self.note(entries.unwrap_or_default(), at.offset);
        }
        self.buffer = buffer;
        written.map(|()| appended)
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
        let at = self.place(shape, 0, Purpose::Void)?;
        self.write_frame(at, shape, [head, &[]])?;
        let appended = self.appended(at, 0);
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

    fn place(&mut self, shape: Shape, count: u32, purpose: Purpose) -> Result<At, Error<S::Error>> {
        self.writable()?;
        if self.region.next_sequence.checked_add(u64::from(count)).is_none() {
            return Err(Error::SequenceExhausted);
        }
        let offset = self.run(Goal::Append {
            payload_len: shape.payload_len,
            purpose,
        })?;
        Ok(At { offset, check: 0 })
    }

    fn write_frame(&mut self, at: At, shape: Shape, payload: [&[u8]; 2]) -> Result<(), Error<S::Error>> {
        let header = self
            .region
            .batch_header(shape.payload_len, shape.crc, shape.with_epoch)
            .encode(&self.region.active.binding, at.offset);
        self.check = crate::wire::u32_at(&header, 20..24).unwrap_or_default();
        let written = self
            .storage
            .write(self.region.active.id, at.offset, &[&header, payload[0], payload[1]]);
        self.checked(written, PoisonCause::Write)?;
        self.region.batch_written(at.offset, shape.payload_len);
        Ok(())
    }
}
