//! One region: the appending side. Appends are short and under one lock; syncs happen outside it.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use walstone_core::{Batch, Log, Mark, NewRecord, PoisonCause, Position, Prepared, Report, Snapshot};

use crate::ahead::Ahead;
use crate::checksum::HARDWARE;
use crate::error::{Error, Result};
use crate::files::{FileError, MapStorage};
use crate::group::{Group, Progress};
use crate::options::{BackgroundSync, Clock, Durability, Options};
use crate::readers::Readers;
use crate::store::{Store, SyncGate};
use crate::ticket::Ticket;
use crate::view::View;
use crate::worker::{Job, Lifeline, Worker};

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

/// What readers need, as it was when segments or deletions last changed.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) snapshot: Snapshot,
    version: u64,
    /// Where the active segment ends; frozen when newer facts take over.
    pub(crate) end: AtomicU32,
    pub(crate) last: AtomicU64,
}

/// A region, shared by its handles.
pub(crate) struct Shared {
    pub(crate) id: u64,
    writer: Mutex<Writer>,
    /// A handle for syncing, creating and reading beside the appender.
    pub(crate) files: MapStorage,
    facts: Mutex<Arc<Facts>>,
    pub(crate) readers: Arc<Readers>,
    syncs: Arc<SyncGate>,
    pub(crate) group: Group,
    pub(crate) report: Report,
    durability: Durability,
    background: Background,
    clock: Arc<dyn Clock>,
    worker: Arc<Worker>,
    /// A preparation is queued.
    pub(crate) preparing: AtomicBool,
    /// Held by the preparation that runs.
    ahead: Mutex<()>,
    closed: AtomicBool,
    pub(crate) appends: AtomicU64,
}

/// What is changed with the log locked.
pub(crate) struct Writer {
    log: Log<'static, Store>,
    /// The same as readers find: here so that an append need not ask for them.
    facts: Arc<Facts>,
    pub(crate) ahead: Ahead,
}

impl Deref for Writer {
    type Target = Log<'static, Store>;

    #[inline]
    fn deref(&self) -> &Self::Target {
        &self.log
    }
}

impl DerefMut for Writer {
    #[inline]
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.log
    }
}

/// Written records that no sync covers yet.
struct Background {
    policy: BackgroundSync,
    writes: AtomicU32,
    /// Where the log stood at the last sync.
    synced: AtomicU64,
    /// When the first of them was written, in nanoseconds of the clock plus one; 0 for none.
    since: AtomicU64,
    /// The worker looks at `since` from time to time.
    watched: AtomicBool,
}

impl Shared {
    pub(crate) fn new(
        id: u64,
        log: Log<'static, Store>,
        files: MapStorage,
        readers: Arc<Readers>,
        options: &Options,
        worker: &Arc<Worker>,
    ) -> Self {
        let progress = Progress {
            durable: log.durable_mark().max(log.written_mark()),
            through: log.last_sequence(),
        };
        // What recovery removed is in no facts.
        readers.published();
        let facts = Arc::new(Facts::new(&log));
        let shared = Self {
            id,
            facts: Mutex::new(Arc::clone(&facts)),
            report: log.report(),
            syncs: Arc::clone(log.storage().syncs()),
            writer: Mutex::new(Writer {
                facts,
                ahead: Ahead::new(&log),
                log,
            }),
            files,
            readers,
            group: Group::new(progress),
            durability: options.durability,
            background: Background {
                policy: options.background_sync,
                writes: AtomicU32::new(0),
                synced: AtomicU64::new(0),
                since: AtomicU64::new(0),
                watched: AtomicBool::new(false),
            },
            clock: Arc::clone(&options.clock),
            worker: Arc::clone(worker),
            preparing: AtomicBool::new(false),
            ahead: Mutex::default(),
            closed: AtomicBool::new(false),
            appends: AtomicU64::new(0),
        };
        shared.background.reset(shared.distance(progress.durable));
        shared
    }

    pub(crate) fn log(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(|panicked| {
            let mut log = panicked.into_inner();
            // Nobody knows how far the operation came.
            log.poison(PoisonCause::Write);
            log
        })
    }

    /// In a fork nobody may wait for locks that a thread of the parent held.
    fn check_process(&self) -> Result<()> {
        if self.files.is_forked() {
            Err(Error::Forked)
        } else {
            Ok(())
        }
    }

    pub(crate) fn facts(&self) -> Arc<Facts> {
        Arc::clone(&self.facts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn error(&self, error: walstone_core::Error<FileError>) -> Error {
        Error::of_region(self.id, error)
    }

    /// Lets readers see what the log holds now.
    fn publish(&self, writer: &mut Writer) {
        if writer.facts.version == writer.log.version() {
            let facts = &writer.facts;
            facts.last.store(writer.log.last_sequence(), Ordering::Relaxed);
            facts.end.store(writer.log.written_mark().end, Ordering::Release);
        } else {
            writer.facts = Arc::new(Facts::new(&writer.log));
            *self.facts.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&writer.facts);
        }
        self.readers.published();
    }

    /// Runs one operation on the log and publishes what it did.
    fn with_log<T>(
        self: &Arc<Self>,
        mut operation: impl FnMut(&mut Log<'static, Store>) -> Result<T, walstone_core::Error<FileError>>,
    ) -> Result<T> {
        self.check_process()?;
        let mut log = self.log();
        let mut result = operation(&mut log);
        if matches!(result, Err(walstone_core::Error::Full)) {
            // The space of removed segments is free once nobody maps them: neither this handle, which read them last,
            // nor the background thread.
            log.log.storage_mut().end_reading();
            drop(log);
            drop(self.ahead());
            log = self.log();
            result = operation(&mut log);
        }
        self.publish(&mut log);
        let poisoned = log.poisoned();
        let wants = log.ahead.is_short(&log) || log.wants_spare();
        drop(log);
        if wants {
            self.prepare_soon();
        }
        match result {
            Ok(value) => Ok(value),
            Err(error) => {
                let error = self.error(error);
                if let Some(cause) = poisoned {
                    self.group.fail(Error::Poisoned { region: self.id, cause });
                }
                Err(error)
            }
        }
    }

    pub(crate) fn append_with(
        self: &Arc<Self>,
        mut operation: impl FnMut(
            &mut Log<'static, Store>,
        ) -> Result<walstone_core::Appended, walstone_core::Error<FileError>>,
    ) -> Result<(Appended, Mark)> {
        let appended = self.with_log(|log| {
            let appended = operation(log)?;
            log.hand_over()?;
            // With the log locked, so that nobody else counts.
            let appends = self.appends.load(Ordering::Relaxed);
            self.appends.store(appends + 1, Ordering::Relaxed);
            Ok(appended)
        })?;
        let public = Appended {
            first: appended.first,
            last: appended.last,
            position: appended.position,
        };
        Ok((public, appended.mark))
    }

    fn append(
        self: &Arc<Self>,
        durability: Durability,
        operation: impl FnMut(&mut Log<'static, Store>) -> Result<walstone_core::Appended, walstone_core::Error<FileError>>,
    ) -> Result<Appended> {
        let (appended, mark) = self.append_with(operation)?;
        match durability {
            Durability::Durable => self.wait(mark)?,
            Durability::Written => self.written(mark),
        }
        Ok(appended)
    }

    pub(crate) fn wait(self: &Arc<Self>, mark: Mark) -> Result<()> {
        self.check_process()?;
        self.group.wait(mark, || self.sync_once())
    }

    /// One sync of what is written now, outside the append lock.
    pub(crate) fn sync_once(&self) -> Result<Progress> {
        let mut log = self.log();
        let through = log.last_sequence();
        let mark = match log.begin_sync() {
            // A close was faster, and made all of it durable: who waits has what it waits for.
            Err(walstone_core::Error::Closed) if log.durable_mark() >= log.written_mark() => None,
            begun => begun.map_err(|error| self.error(error))?,
        };
        let synced = match mark {
            None => None,
            Some(mark) => {
                // With the log locked: what is written from here on is not covered by this sync.
                self.background.reset(self.distance(mark));
                let turn = self.syncs.turn();
                drop(log);
                let outcome = turn.sync(&mut self.files.clone(), mark);
                log = self.log();
                if let Err(error) = outcome {
                    log.poison(PoisonCause::Sync);
                    return Err(error.into());
                }
                log.synced(mark);
                Some(mark)
            }
        };
        if log.remove_one() {
            while log.remove_one() {}
            // What was read last may be a segment that is gone; its space is free once nobody maps it.
            log.log.storage_mut().end_reading();
        }
        self.publish(&mut log);
        Ok(Progress {
            durable: log.durable_mark().max(synced.unwrap_or(log.durable_mark())),
            // A rotation beside this sync made more durable than this sync.
            through: through.max(log.durable_sequence()),
        })
    }

    /// Counts a written append towards the next background sync.
    pub(crate) fn written(self: &Arc<Self>, mark: Mark) {
        let background = &self.background;
        let due = match background.policy {
            BackgroundSync::Never => false,
            BackgroundSync::Writes(count) => background.writes.fetch_add(1, Ordering::Relaxed) + 1 >= count.get(),
            BackgroundSync::Bytes(bytes) => {
                let unsynced = self
                    .distance(mark)
                    .saturating_sub(background.synced.load(Ordering::Relaxed));
                unsynced >= bytes.get()
            }
            BackgroundSync::Interval(_) => {
                let now = nanos(self.clock.now()) + 1;
                let first = background
                    .since
                    .compare_exchange(0, now, Ordering::AcqRel, Ordering::Relaxed)
                    .is_ok();
                if first && !background.watched.swap(true, Ordering::AcqRel) {
                    self.worker.push(Job::Watch(Arc::downgrade(self)));
                }
                false
            }
        };
        if due {
            background.reset(self.distance(mark));
            self.worker.push(Job::Sync(Arc::downgrade(self)));
        }
    }

    /// Bytes of log from the region's first segment to `mark`, the unused ends of segments included.
    fn distance(&self, mark: Mark) -> u64 {
        let segments = mark
            .segment
            .0
            .saturating_mul(u64::from(self.report.geometry.segment_len()));
        segments.saturating_add(u64::from(mark.end))
    }

    /// Makes everything written so far durable.
    pub(crate) fn sync(self: &Arc<Self>) -> Result<()> {
        self.check_process()?;
        let mark = {
            let log = self.log();
            if self.is_closed() {
                return Err(Error::Closed);
            }
            if let Some(cause) = log.poisoned() {
                return Err(Error::Poisoned { region: self.id, cause });
            }
            log.written_mark()
        };
        self.wait(mark)
    }

    /// Syncs if the interval has passed. `None`: nothing waits for a background sync, and the next written append
    /// asks to be watched; else how long to wait.
    pub(crate) fn sync_if_due(self: &Arc<Self>) -> Option<Duration> {
        let BackgroundSync::Interval(interval) = self.background.policy else {
            return None;
        };
        loop {
            if let Some(since) = self.background.since.load(Ordering::Acquire).checked_sub(1) {
                let waited = nanos(self.clock.now()).saturating_sub(since);
                let left = nanos(interval).saturating_sub(waited);
                if left > 0 {
                    return Some(Duration::from_nanos(left));
                }
                self.background.since.store(0, Ordering::Release);
                // A failure poisons the region, which the next call tells.
                let _ = self.sync();
            }
            self.background.watched.store(false, Ordering::Release);
            // An append that came in between has seen that it is watched already.
            let waits = self.background.since.load(Ordering::Acquire) != 0;
            if !waits || self.background.watched.swap(true, Ordering::AcqRel) {
                return None;
            }
        }
    }

    pub(crate) fn prepare_soon(self: &Arc<Self>) {
        // Most calls come while it is queued; a load does not take the line from the worker.
        if !self.preparing.load(Ordering::Relaxed) && !self.preparing.swap(true, Ordering::AcqRel) {
            self.worker.push(Job::Prepare(Arc::downgrade(self)));
        }
    }

    pub(crate) fn ahead(&self) -> MutexGuard<'_, ()> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends all writing. What was written is durable on return, if nothing failed.
    pub(crate) fn close(self: &Arc<Self>) -> Result<()> {
        self.check_process()?;
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        // A segment that came later would be one of the next opening.
        let _ahead = self.ahead();
        let mut log = self.log();
        let closed = log.close();
        self.publish(&mut log);
        // One that was under way when the region was poisoned must not meet the files of the next opening.
        drop(self.syncs.turn());
        log.storage_mut().stop_appending();
        let progress = Progress {
            durable: log.durable_mark(),
            through: log.last_sequence(),
        };
        drop(log);
        match closed {
            Ok(()) => {
                self.group.advance(progress);
                self.group.fail(Error::Closed);
                Ok(())
            }
            Err(error) => {
                let error = self.error(error);
                self.group.fail(error.clone());
                Err(error)
            }
        }
    }

    /// Ends all writing without making anything durable: the region is to be removed.
    pub(crate) fn abandon(&self) {
        self.closed.store(true, Ordering::Release);
        let _ahead = self.ahead();
        let mut log = self.log();
        log.abandon();
        log.storage_mut().stop_appending();
        drop(log);
        self.group.fail(Error::Closed);
    }

    pub(crate) fn worker(&self) -> &Arc<Worker> {
        &self.worker
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX - 1)
}

impl Background {
    fn reset(&self, synced: u64) {
        self.writes.store(0, Ordering::Relaxed);
        self.synced.store(synced, Ordering::Relaxed);
        self.since.store(0, Ordering::Release);
    }
}

impl Facts {
    fn new(log: &Log<'static, Store>) -> Self {
        Self {
            snapshot: log.snapshot(false),
            version: log.version(),
            end: AtomicU32::new(log.written_mark().end),
            last: AtomicU64::new(log.last_sequence()),
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region").field("id", &self.id).finish_non_exhaustive()
    }
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

    /// Appends a batch and returns once it is written; the ticket tells when it has the durability asked for.
    ///
    /// # Errors
    /// As [`Region::append_batch`].
    pub fn submit(&self, batch: &Batch<'_>, durability: Durability) -> Result<Ticket> {
        let crc = payload_crc(batch);
        let (appended, mark) = self.shared.append_with(|log| log.append_encoded(batch, crc))?;
        if durability == Durability::Written {
            self.shared.written(mark);
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
    /// [`Error::Closed`]. Reading tells what is wrong with what it reads.
    pub fn view(&self) -> Result<View> {
        if self.shared.is_closed() {
            return Err(Error::Closed);
        }
        Ok(View::new(&self.shared))
    }

    /// The last sequence given; 0 before the first.
    #[must_use]
    pub fn last_sequence(&self) -> u64 {
        self.shared.facts().last.load(Ordering::Acquire)
    }

    /// The last sequence that is known durable; 0 before the first.
    #[must_use]
    pub fn durable_through(&self) -> u64 {
        self.shared.group.progress().through
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

    /// Why the region takes no more writes, if it does.
    #[must_use]
    pub fn poisoned(&self) -> Option<PoisonCause> {
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
