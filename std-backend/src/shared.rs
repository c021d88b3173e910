//! One region as its handles share it: appends are short and under one lock, syncs happen outside it.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use walstone_core::segment::header::{HEADER_LEN, Header};
use walstone_core::{Entry, Log, Mark, PoisonCause, Report, SegmentId, SharedStorage, Snapshot};

use crate::ahead::Ahead;
use crate::background::{Background, Wanted};
use crate::checksum::HARDWARE;
use crate::error::{Error, Result};
use crate::files::{Cause, Doing, FileError, Files};
use crate::group::{Group, Progress};
use crate::mutation::{self, Mutation};
use crate::options::{Durability, Options};
use crate::readers::Readers;
use crate::region::Appended;
use crate::store::{Store, SyncGate};
use crate::worker::{Job, Worker};

/// What readers need, as it was when segments or deletions last changed.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) snapshot: Snapshot,
    version: u64,
    /// Where the active segment ends; frozen when newer facts take over.
    pub(crate) end: AtomicU32,
}

/// A region, shared by its handles.
pub(crate) struct Shared {
    pub(crate) id: u64,
    writer: Mutex<Writer>,
    /// A handle for syncing, creating and reading beside the appender.
    pub(crate) files: Files,
    facts: Mutex<Arc<Facts>>,
    /// The last sequence given.
    last: AtomicU64,
    pub(crate) readers: Arc<Readers>,
    syncs: Arc<SyncGate>,
    pub(crate) group: Group,
    pub(crate) report: Report,
    pub(crate) durability: Durability,
    background: Background,
    worker: Arc<Worker>,
    /// A preparation is queued.
    pub(crate) preparing: AtomicBool,
    /// Held by the preparation that runs.
    ahead: Mutex<()>,
    closed: AtomicBool,
    /// The salts of the segments that views may read on when the region was closed. Once the log gives up its lock,
    /// another may make a region of this number anew, and files of these names.
    left: OnceLock<BTreeMap<SegmentId, u64>>,
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

impl Shared {
    pub(crate) fn new(
        id: u64,
        log: Log<'static, Store>,
        files: Files,
        readers: Arc<Readers>,
        options: &Options,
        worker: &Arc<Worker>,
        read_only: bool,
    ) -> Self {
        let progress = if read_only {
            Progress {
                durable: log.durable_mark(),
                through: known_durable(&log, &files),
            }
        } else {
            // Recovery settled whatever it found.
            Progress {
                durable: log.written_mark(),
                through: log.last_sequence(),
            }
        };
        // What recovery removed is in no facts.
        readers.published();
        let facts = Arc::new(Facts::new(&log));
        let shared = Self {
            id,
            last: AtomicU64::new(log.last_sequence()),
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
            background: Background::new(options),
            worker: Arc::clone(worker),
            preparing: AtomicBool::new(false),
            ahead: Mutex::default(),
            closed: AtomicBool::new(false),
            left: OnceLock::new(),
            appends: AtomicU64::new(0),
        };
        shared.background.reset(shared.distance(progress.durable));
        shared
    }

    pub(crate) fn log(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(|panicked| {
            let mut log = panicked.into_inner();
            // Nobody knows how far the operation came. It may have removed segments that the facts still name, and
            // who looks for others would wait for ever.
            log.poison(PoisonCause::Write);
            self.publish_anew(&mut log);
            self.writer.clear_poison();
            log
        })
    }

    /// In a fork nobody may wait for locks that a thread of the parent held.
    pub(crate) fn check_process(&self) -> Result<()> {
        if self.is_forked() { Err(Error::Forked) } else { Ok(()) }
    }

    pub(crate) fn is_forked(&self) -> bool {
        self.files.is_forked()
    }

    pub(crate) fn last_sequence(&self) -> u64 {
        self.last.load(Ordering::Acquire)
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
            facts.end.store(writer.log.written_mark().end, Ordering::Release);
            // Behind the end, so that who sees the sequence sees the record.
            self.last.store(writer.log.last_sequence(), Ordering::Release);
            self.readers.published();
        } else {
            self.publish_anew(writer);
        }
    }

    fn publish_anew(&self, writer: &mut Writer) {
        let mut facts = Facts::new(&writer.log);
        if writer.log.poisoned().is_some() {
            // What a failed operation was to delete is there.
            facts.snapshot = facts.snapshot.with_voids_of(&writer.facts.snapshot);
        }
        writer.facts = Arc::new(facts);
        *self.facts.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&writer.facts);
        self.last.store(writer.log.last_sequence(), Ordering::Release);
        self.readers.published();
    }

    /// Runs one operation on the log and publishes what it did.
    pub(crate) fn with_log<T>(
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
            // What was removed is in no facts that a view may begin with while nobody holds the log.
            self.publish(&mut log);
            drop(log);
            drop(self.ahead());
            log = self.log();
            result = operation(&mut log);
        }
        if result.is_ok() && log.version() != log.facts.version {
            // Readers are told of deletions, and of another segment, once no failed write can take them back: the frame
            // of a batch would be lost, and what it was to delete would be hidden all the same.
            let handed_over = log.hand_over();
            result = result.and_then(|value| handed_over.map(|()| value));
        }
        if result.is_err() && log.poisoned().is_none() && self.files.is_broken() {
            // The log takes a claim that failed for no more than that: the sync of its space failed, and none is tried again.
            log.poison(PoisonCause::Sync);
        }
        self.publish(&mut log);
        let poisoned = log.poisoned();
        let wants = log.ahead.is_short(&log) || log.wants_spare();
        if wants {
            let Writer { ahead, log, .. } = &mut *log;
            ahead.appended(log);
        }
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

    pub(crate) fn append(
        self: &Arc<Self>,
        durability: Durability,
        operation: impl FnMut(&mut Log<'static, Store>) -> Result<walstone_core::Appended, walstone_core::Error<FileError>>,
    ) -> Result<Appended> {
        let (appended, mark) = self.append_with(operation)?;
        match durability {
            Durability::Durable => self.wait(mark)?,
            Durability::Written => self.written(mark)?,
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
                let outcome = if mutation::is(Mutation::SkipGroupSync) {
                    Ok(())
                } else {
                    turn.sync(&mut self.files.clone(), mark)
                };
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

    /// Hands over what was appended up to here, and all that others appended meanwhile, and counts it towards the next
    /// background sync. Without the log locked: who comes late finds it done.
    pub(crate) fn written(self: &Arc<Self>, mark: Mark) -> Result<()> {
        if let Err(error) = self.files.hand_over_beside(mark) {
            let mut log = self.log();
            if self.is_closed() && log.durable_mark() >= mark {
                // A close was faster, and made it durable.
                return Ok(());
            }
            log.poison(PoisonCause::Write);
            drop(log);
            let cause = PoisonCause::Write;
            self.group.fail(Error::Poisoned { region: self.id, cause });
            return Err(error.into());
        }
        self.count_written(mark);
        Ok(())
    }

    /// Counts a written append towards the next background sync.
    fn count_written(self: &Arc<Self>, mark: Mark) {
        match self.background.written(self.distance(mark)) {
            Wanted::Nothing => {}
            Wanted::Watch => self.worker.push(Job::Watch(Arc::downgrade(self))),
            Wanted::Sync => self.worker.push(Job::Sync(Arc::downgrade(self))),
        }
    }

    /// Syncs if the interval has passed. `None`: nothing waits for a background sync, and the next written append
    /// asks to be watched; else how long to wait.
    pub(crate) fn sync_if_due(self: &Arc<Self>) -> Option<Duration> {
        // A failure poisons the region, which the next call tells.
        self.background.look(|| drop(self.sync()))
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
            through: log.durable_sequence(),
        };
        let closed = closed.map_err(|error| self.error(error));
        self.remember_segments();
        let why = closed.as_ref().err().cloned().unwrap_or(Error::Closed);
        // With the log locked: a leader that comes next is told that the log is closed, and that is not why.
        self.group.doom(progress, why.clone());
        drop(log);
        self.group.fail(why);
        closed
    }

    fn remember_segments(&self) {
        let (waiting, views) = self.readers.waiting();
        if views == 0 {
            return;
        }
        let facts = self.facts();
        let snapshot = &facts.snapshot;
        let listed = (0..snapshot.segment_count()).filter_map(|at| snapshot.segment(at));
        let ids = listed.map(|segment| segment.id).chain(waiting);
        let salt = |id| {
            let header = self.files.pin(id, 0, HEADER_LEN as u32).ok()?;
            Some((id, Header::decode(&header, HARDWARE).ok()?.salt))
        };
        let _ = self
            .left
            .set(ids.filter(|id| self.readers.may_read(*id)).filter_map(salt).collect());
    }

    /// Whether these bytes, read as a segment of this region, are those of the segment that it had.
    pub(crate) fn check_segment(&self, id: SegmentId, bytes: &[u8]) -> Result<()> {
        let Some(left) = self.left.get() else { return Ok(()) };
        let found = Header::decode(bytes, HARDWARE).ok().map(|header| header.salt);
        if found.is_some() && left.get(&id) == found.as_ref() {
            return Ok(());
        }
        Err(FileError::new(Doing::Read, &*self.files.dir(), Cause::Removed).into())
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

/// The last sequence that is durable for certain, where nothing was settled.
fn known_durable(log: &Log<'static, Store>, files: &Files) -> u64 {
    let snapshot = log.snapshot(false);
    let at = snapshot.segment_count() - 1;
    let Some(active) = snapshot.segment(at) else { return 0 };
    // Older segments are durable as a whole.
    let mut through = active.first_sequence.saturating_sub(1);
    let Ok(bytes) = files.pin(active.id, 0, active.end) else {
        return through;
    };
    let Ok(reader) = snapshot.reader(at, &bytes) else {
        return through;
    };
    let durable = log.durable_mark().end;
    let frames = reader.frames().map_while(Result::ok);
    for frame in frames.take_while(|frame| frame.offset() < durable) {
        for entry in frame.entries().into_iter().flatten() {
            if let Ok(Entry::Record(record)) = entry {
                through = record.sequence;
            }
        }
    }
    through
}

impl Facts {
    fn new(log: &Log<'static, Store>) -> Self {
        Self {
            snapshot: log.snapshot(false),
            version: log.version(),
            end: AtomicU32::new(log.written_mark().end),
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "linux", target_os = "linux"))]
mod tests;
