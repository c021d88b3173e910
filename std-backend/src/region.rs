//! A handle on one region: what users append with, delete and ask.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use walstone_core::{Batch, Log, NewRecord, PoisonCause, Position, Prepared, Report};

use crate::checksum::HARDWARE;
use crate::error::{Error, Result};
use crate::options::Durability;
use crate::shared::Shared;
use crate::ticket::Ticket;
use crate::view::View;
use crate::worker::Lifeline;

/// An acknowledged append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Appended {
    /// The sequence of the first record; of the next one to come where the batch only deletes.
    pub first: u64,
    /// The sequence of the last record; less than `first` where the batch only deletes.
    pub last: u64,
    /// Where the first record stands. Valid after reopening.
    pub position: Position,
}

/// What a region did since it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Appended batches and deletions.
    pub appends: u64,
    /// Syncs by group commit.
    pub syncs: u64,
    /// Times that a leader gave its processor away to let a group gather.
    pub yields: u64,
}

/// A handle on a region: clones are cheap, and may be used by many threads at once.
#[derive(Clone, Debug)]
pub struct Region {
    pub(crate) shared: Arc<Shared>,
    #[expect(dead_code, reason = "held for its drop alone")]
    pub(crate) lifeline: Arc<Lifeline>,
}

impl Region {
    /// The region's number.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.shared.id
    }

    /// Appends one value to `table`, with the durability of the options.
    ///
    /// # Errors
    /// [`Error::RecordTooLarge`], [`Error::Full`], [`Error::SequenceExhausted`]: nothing was written, no sequence
    /// used. [`Error::Poisoned`], [`Error::Closed`], [`Error::Forked`], [`Error::ReadOnly`]. [`Error::Storage`] where
    /// writing or syncing failed: the record may or may not be there after reopening.
    pub fn append(&self, table: u64, value: &[u8]) -> Result<Appended> {
        self.append_with(table, value, self.shared.durability)
    }

    /// Appends one value to `table`.
    ///
    /// # Errors
    /// As [`Region::append`].
    pub fn append_with(&self, table: u64, value: &[u8], durability: Durability) -> Result<Appended> {
        self.append_record_with(&NewRecord::new(table, value), durability)
    }

    /// Appends one record with its optional fields.
    ///
    /// # Errors
    /// As [`Region::append`].
    pub fn append_record_with(&self, record: &NewRecord<'_>, durability: Durability) -> Result<Appended> {
        let prepared = Prepared::new(record, HARDWARE);
        self.shared.append(durability, |log| log.append_prepared(&prepared))
    }

    /// Appends a batch with the durability of the options: after a crash all of it is there, or nothing.
    ///
    /// # Errors
    /// As [`Region::append`]; [`Error::EmptyBatch`]; [`Error::TooManyVoids`].
    pub fn append_batch(&self, batch: &Batch<'_>) -> Result<Appended> {
        self.append_batch_with(batch, self.shared.durability)
    }

    /// Appends a batch: after a crash all of it is there, or nothing.
    ///
    /// # Errors
    /// As [`Region::append_batch`].
    pub fn append_batch_with(&self, batch: &Batch<'_>, durability: Durability) -> Result<Appended> {
        let crc = payload_crc(batch);
        self.shared.append(durability, |log| log.append_encoded(batch, crc))
    }

    /// Appends a batch and does not wait until it is durable: the ticket tells when it has the durability asked for, and
    /// waiting for it or polling it is what makes it so. What is asked to be [`Durability::Written`] is when this returns.
    ///
    /// # Errors
    /// As [`Region::append_batch`].
    pub fn submit(&self, batch: &Batch<'_>, durability: Durability) -> Result<Ticket> {
        let crc = payload_crc(batch);
        let (appended, mark) = self.shared.append_with(|log| log.append_encoded(batch, crc))?;
        if durability == Durability::Written {
            self.shared.written(mark)?;
        }
        Ok(Ticket::new(self, appended, mark, durability))
    }

    /// Deletes the records of `table` up to `sequence`, that one included, with the durability of the options.
    /// Sequences that were not given yet are not touched.
    ///
    /// # Errors
    /// As [`Region::append_batch`]. Works on a full disk.
    pub fn delete_up_to(&self, table: u64, sequence: u64) -> Result<()> {
        self.delete_up_to_with(table, sequence, self.shared.durability)
    }

    /// Deletes the records of `table` up to `sequence`, that one included.
    ///
    /// # Errors
    /// As [`Region::delete_up_to`].
    pub fn delete_up_to_with(&self, table: u64, sequence: u64, durability: Durability) -> Result<()> {
        self.shared
            .append(durability, |log| log.delete_up_to(table, sequence))
            .map(drop)
    }

    /// Deletes the records of `table` from `sequence` on, that one included, that were given so far, with the
    /// durability of the options. Their sequences are not given again.
    ///
    /// # Errors
    /// As [`Region::delete_up_to`].
    pub fn truncate_from(&self, table: u64, sequence: u64) -> Result<()> {
        self.truncate_from_with(table, sequence, self.shared.durability)
    }

    /// Deletes the records of `table` from `sequence` on, that one included, that were given so far.
    ///
    /// # Errors
    /// As [`Region::delete_up_to`].
    pub fn truncate_from_with(&self, table: u64, sequence: u64, durability: Durability) -> Result<()> {
        self.shared
            .append(durability, |log| log.truncate_from(table, sequence))
            .map(drop)
    }

    /// Gives the space of segments without a live record back, now. Rotation does so on its own.
    ///
    /// # Errors
    /// As [`Region::append_batch`].
    pub fn reclaim(&self) -> Result<()> {
        self.shared.with_log(Log::reclaim)?;
        self.sync()
    }

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// [`Error::Storage`] where the sync failed: the region is poisoned. [`Error::Poisoned`]; [`Error::Closed`].
    pub fn sync(&self) -> Result<()> {
        self.shared.sync()
    }

    /// A stable snapshot for reading. Sees every append that returned before.
    ///
    /// # Errors
    /// [`Error::Closed`]; [`Error::Forked`]. Reading tells what is wrong with what it reads.
    pub fn view(&self) -> Result<View> {
        self.shared.check_process()?;
        if self.shared.is_closed() {
            return Err(Error::Closed);
        }
        let view = View::new(&self.shared);
        // A close that began meanwhile may not have met it among the views.
        if self.shared.is_closed() {
            return Err(Error::Closed);
        }
        Ok(view)
    }

    /// The last sequence given; 0 before the first.
    #[must_use]
    pub fn last_sequence(&self) -> u64 {
        self.shared.last_sequence()
    }

    /// The last sequence that is known durable; 0 before the first.
    #[must_use]
    pub fn durable_through(&self) -> u64 {
        self.shared.group.durable_through()
    }

    /// What the region did since it was opened. Costs two loads and a sum; [`Wal::stats`](crate::Wal::stats) tells more.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            appends: self.shared.appends.load(Ordering::Relaxed),
            syncs: self.shared.group.syncs(),
            yields: self.shared.group.yields(),
        }
    }

    /// What opening the region found and did.
    #[must_use]
    pub fn report(&self) -> Report {
        self.shared.report
    }

    /// Why the region takes no more writes, if it does. A forked child, which has none to take, is told nothing.
    #[must_use]
    pub fn poisoned(&self) -> Option<PoisonCause> {
        self.shared.check_process().ok()?;
        self.shared.log().poisoned()
    }
}

fn payload_crc(batch: &Batch<'_>) -> u32 {
    if batch.deletions() == 0 {
        HARDWARE.of(batch.payload())
    } else {
        0
    }
}
