//! The engine's log as a [`Subject`], behind whatever driver, on any storage that tells its planned faults apart.

use std::fmt::Debug;
use std::ops::RangeInclusive;

use walstone_core::{
    Appended, Batch, Checksum, Error, Log, Mark, Options, PoisonCause, Position, Report, SegmentId, Storage,
};

use super::machine::{Denied, Subject};
use super::model::{Change, Record, Seen, Value};
use crate::storages::SimError;

/// A log, and what it said of its appends.
#[derive(Debug)]
pub struct Subjected<L> {
    log: L,
    /// What must be durable for each append to be, and the last sequence of those that were given any.
    marks: Vec<(Mark, Option<u64>)>,
    positions: Vec<(Record, Position)>,
}

/// What is to be read: of one table or of all, and which sequences.
pub type Wanted = (Option<u64>, RangeInclusive<u64>);

/// An error of a storage that fails as planned.
pub trait Planned {
    /// The fault that was planned, if it is one.
    fn planned(&self) -> Option<SimError>;

    /// Whether the storage remembers a failed sync and refuses all later ones, so that one of a create, which the log
    /// itself survives, is the end of the session all the same.
    const LATCHES: bool;
}

impl Planned for SimError {
    fn planned(&self) -> Option<SimError> {
        Some(*self)
    }

    const LATCHES: bool = false;
}

/// What a call of a log answers.
type Answer<T, L> = Result<T, Error<<L as Driven>::Error>>;

/// A log behind its driver. The calls are those of the log.
#[expect(clippy::missing_errors_doc, reason = "they are said of the calls of the log")]
pub trait Driven {
    /// Of the storage.
    type Error: Planned + Debug;

    /// As [`Log::append`].
    fn append(&mut self, table: u64, value: &[u8]) -> Answer<Appended, Self>;
    /// As [`Log::append_batch`].
    fn append_batch(&mut self, batch: &Batch<'_>) -> Answer<Appended, Self>;
    /// As [`Log::delete_up_to`].
    fn delete_up_to(&mut self, table: u64, sequence: u64) -> Answer<Appended, Self>;
    /// As [`Log::truncate_from`].
    fn truncate_from(&mut self, table: u64, sequence: u64) -> Answer<Appended, Self>;
    /// As [`Log::sync`].
    fn sync(&mut self) -> Answer<(), Self>;
    /// As [`Log::hand_over`].
    fn hand_over(&mut self) -> Answer<(), Self>;
    /// As [`Log::reclaim`].
    fn reclaim(&mut self) -> Answer<(), Self>;
    /// As [`Log::close`].
    fn close(&mut self) -> Answer<(), Self>;
    /// Takes no more writes.
    fn poison(&mut self, cause: PoisonCause);
    /// As [`Log::poisoned`].
    fn poisoned(&self) -> Option<PoisonCause>;
    /// Reads the records of a table, or of all tables, in a range of sequences, until one is not taken; whether all were.
    fn read(&mut self, of: Wanted, take: &mut dyn FnMut(Record) -> bool) -> Answer<bool, Self>;
    /// As [`Log::read_at`].
    fn read_at(&mut self, position: Position) -> Answer<Record, Self>;
    /// As [`Storage::read`] below it; how many bytes, where that works.
    fn read_segment(&mut self, segment: SegmentId, buf: &mut [u8]) -> Option<usize>;
    /// As [`Log::oldest_sequence`].
    fn oldest_sequence(&self) -> u64;
    /// As [`Log::last_sequence`].
    fn last_sequence(&self) -> u64;
    /// As [`Log::durable_sequence`].
    fn durable_sequence(&self) -> u64;
    /// As [`Log::durable_mark`].
    fn durable_mark(&self) -> Mark;
    /// As [`Log::written_mark`].
    fn written_mark(&self) -> Mark;
    /// As [`Log::report`].
    fn report(&self) -> Report;
}

impl From<walstone_core::Record<'_>> for Record {
    fn from(record: walstone_core::Record<'_>) -> Self {
        Self {
            sequence: record.sequence,
            table: record.table,
            value: Value::parse(record.value),
        }
    }
}

impl<S: Storage<Error: Planned>> Driven for Log<'static, S> {
    type Error = S::Error;

    fn append(&mut self, table: u64, value: &[u8]) -> Answer<Appended, Self> {
        self.append(table, value)
    }

    fn append_batch(&mut self, batch: &Batch<'_>) -> Answer<Appended, Self> {
        self.append_batch(batch)
    }

    fn delete_up_to(&mut self, table: u64, sequence: u64) -> Answer<Appended, Self> {
        self.delete_up_to(table, sequence)
    }

    fn truncate_from(&mut self, table: u64, sequence: u64) -> Answer<Appended, Self> {
        self.truncate_from(table, sequence)
    }

    fn sync(&mut self) -> Answer<(), Self> {
        self.sync()
    }

    fn hand_over(&mut self) -> Answer<(), Self> {
        self.hand_over()
    }

    fn reclaim(&mut self) -> Answer<(), Self> {
        self.reclaim()
    }

    fn close(&mut self) -> Answer<(), Self> {
        self.close()
    }

    fn poison(&mut self, cause: PoisonCause) {
        self.poison(cause);
    }

    fn poisoned(&self) -> Option<PoisonCause> {
        self.poisoned()
    }

    fn read(&mut self, (table, range): Wanted, take: &mut dyn FnMut(Record) -> bool) -> Answer<bool, Self> {
        let mut reads = self.read(table, range);
        while let Some(record) = reads.next() {
            if !take(record?.into()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn read_at(&mut self, position: Position) -> Answer<Record, Self> {
        self.read_at(position).map(Record::from)
    }

    fn read_segment(&mut self, segment: SegmentId, buf: &mut [u8]) -> Option<usize> {
        let len = buf.len() as u32;
        let mut held = vec![0; buf.len()];
        let bytes = self.storage_mut().read(segment, 0, len, &mut held).ok()?;
        buf[..bytes.len()].copy_from_slice(bytes);
        Some(bytes.len())
    }

    fn oldest_sequence(&self) -> u64 {
        self.oldest_sequence()
    }

    fn last_sequence(&self) -> u64 {
        self.last_sequence()
    }

    fn durable_sequence(&self) -> u64 {
        self.durable_sequence()
    }

    fn durable_mark(&self) -> Mark {
        self.durable_mark()
    }

    fn written_mark(&self) -> Mark {
        self.written_mark()
    }

    fn report(&self) -> Report {
        self.report()
    }
}

/// Changes that are appended at once.
#[must_use]
pub fn batch(changes: &[Change]) -> Batch<'static> {
    let mut batch = Batch::new();
    for &change in changes {
        match change {
            Change::Put(table, value) => batch.push(table, &value.bytes()),
            Change::DeleteUpTo(table, to) => batch.delete_up_to(table, to),
            Change::TruncateFrom(table, from) => batch.truncate_from(table, from),
        }
    }
    batch
}

/// Options with the entropy of the `nth` open.
#[must_use]
pub fn options(nth: u64) -> Options {
    Options {
        checksum: Checksum::new(crc32c::crc32c_append),
        ..Options::new(7, nth.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
}

impl<L: Driven> Subjected<L> {
    /// What an open gave.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn new(opened: Result<L, Error<L::Error>>) -> Result<Self, Denied> {
        let log = opened.map_err(|error| denied(error, false))?;
        Ok(Self {
            log,
            marks: Vec::new(),
            positions: Vec::new(),
        })
    }

    /// The log itself.
    pub const fn log(&mut self) -> &mut L {
        &mut self.log
    }

    fn told<T>(&mut self, outcome: Result<T, Error<L::Error>>) -> Result<T, Denied> {
        outcome.map_err(|error| {
            let by_sync = matches!(&error, Error::Storage(fault) if fault.planned() == Some(SimError::SyncFailed));
            if by_sync && L::Error::LATCHES {
                self.log.poison(PoisonCause::Sync);
            }
            denied(error, self.log.poisoned().is_some())
        })
    }

    /// Reads what is wanted; it must be those of these records.
    fn read(&mut self, of: Wanted, all: &[Record]) -> Result<(), String> {
        let (table, range) = of.clone();
        let is_wanted =
            |record: &&Record| table.is_none_or(|table| record.table == table) && range.contains(&record.sequence);
        let mut expected = all.iter().filter(is_wanted);
        match self
            .log
            .read(of.clone(), &mut |record| expected.next() == Some(&record))
        {
            Ok(true) if expected.next().is_none() => Ok(()),
            Ok(_) => Err(format!("reading {of:?} shows other records than reading all")),
            Err(error) => Err(format!("{error:?}")),
        }
    }
}

fn denied<E: Planned + Debug>(error: Error<E>, poisoned: bool) -> Denied {
    match error {
        Error::Full | Error::TooManyVoids { .. } if !poisoned => Denied::Full,
        Error::Poisoned(_) | Error::Closed => Denied::Ended,
        Error::Storage(ref fault) => match fault.planned() {
            Some(SimError::Crashed) => Denied::Crashed,
            Some(SimError::SyncFailed) => Denied::SyncFailed { poisoned },
            _ => Denied::Other(format!("{error:?}")),
        },
        error => Denied::Other(format!("{error:?}")),
    }
}

impl<L: Driven> Subject for Subjected<L> {
    fn append(&mut self, changes: &[Change]) -> Result<u64, Denied> {
        let log = &mut self.log;
        let appended = match *changes {
            [Change::Put(table, value)] => log.append(table, &value.bytes()),
            [Change::DeleteUpTo(table, to)] => log.delete_up_to(table, to),
            [Change::TruncateFrom(table, from)] => log.truncate_from(table, from),
            _ => log.append_batch(&batch(changes)),
        };
        let appended = self.told(appended)?;
        let given = (appended.first <= appended.last).then_some(appended.last);
        self.marks.push((appended.mark, given));
        let puts = changes.iter().filter_map(|change| match *change {
            Change::Put(table, value) => Some((table, Some(value))),
            _ => None,
        });
        for (nth, (table, value)) in (0..).zip(puts) {
            let record = Record {
                sequence: appended.first + u64::from(nth),
                table,
                value,
            };
            self.positions.push((record, appended.position.plus(nth)));
        }
        Ok(appended.last)
    }

    fn sync(&mut self) -> Result<(), Denied> {
        let outcome = self.log.sync();
        self.told(outcome)
    }

    fn hand_over(&mut self) -> Result<(), Denied> {
        let outcome = self.log.hand_over();
        self.told(outcome)
    }

    fn reclaim(&mut self) -> Result<(), Denied> {
        let outcome = self.log.reclaim();
        self.told(outcome)
    }

    fn close(&mut self) -> Result<(), Denied> {
        let outcome = self.log.close();
        self.told(outcome)
    }

    fn observe(&mut self, seen: &mut Seen) -> Result<(), String> {
        let records = &mut seen.records;
        let read = self.log.read((None, 0..=u64::MAX), &mut |record| {
            records.push(record);
            true
        });
        read.map_err(|error| format!("{error:?}"))?;
        // Behind the reading, which is what recovers where a future was dropped.
        seen.last = self.log.last_sequence();
        Ok(())
    }

    fn compare(&mut self, seen: &Seen) -> Result<(), String> {
        for table in [1, 2] {
            self.read((Some(table), 0..=u64::MAX), &seen.records)?;
        }
        // Both sides of a record in the middle, and it alone, of another table in turn.
        let middle = seen.records.get(seen.records.len() / 2);
        let middle = middle.map_or(seen.last, |record| record.sequence);
        let ranges = [middle..=u64::MAX, 0..=middle, middle..=middle];
        for (range, nth) in ranges.into_iter().zip(seen.last..) {
            let table = [None, Some(1), Some(2)][(nth % 3) as usize];
            self.read((table, range), &seen.records)?;
        }
        let (oldest, durable) = (self.log.oldest_sequence(), self.log.durable_sequence());
        let first = seen.records.first().map_or(seen.last + 1, |record| record.sequence);
        if oldest == 0 || oldest > first || durable > seen.last || self.log.report().last_sequence > seen.last {
            let report = self.log.report();
            return Err(format!(
                "oldest {oldest}, durable {durable} and {report:?} of a log from {first} to {}",
                seen.last
            ));
        }
        Ok(())
    }

    fn positions(&self) -> &[(Record, Position)] {
        &self.positions
    }

    fn compare_at(&mut self, at: &[(Record, Position)], seen: &Seen) -> Result<(), String> {
        for &(record, position) in at {
            let found = match self.log.read_at(position) {
                Ok(found) => Some(found),
                Err(Error::NoRecord) => None,
                Err(error) => return Err(format!("{record:?} at {position:?}: {error:?}")),
            };
            let expected = seen.records.contains(&record).then_some(record);
            if found != expected {
                return Err(format!(
                    "{record:?} at {position:?}: found {found:?}, expected {expected:?}"
                ));
            }
        }
        Ok(())
    }

    fn forget_appends(&mut self) {
        self.marks.clear();
    }

    fn durable_count(&self) -> usize {
        let durable = self.log.durable_mark();
        let through = self.log.durable_sequence();
        let is_durable =
            |&(mark, given): &(Mark, Option<u64>)| mark <= durable || given.is_some_and(|last| last <= through);
        self.marks.iter().rposition(is_durable).map_or(0, |last| last + 1)
    }

    fn report(&self) -> Option<Report> {
        Some(self.log.report())
    }

    fn moved_on(&self) -> bool {
        self.log.report().newest != self.log.written_mark().segment
    }

    fn is_healed(&mut self) -> bool {
        // A resume frame that names an offset before its own, by the format document; for counting only, so its
        // checksum does not matter.
        let end = self.log.written_mark();
        let mut buffer = [0; 4096];
        let len = buffer.len().min(end.end as usize);
        let Some(len) = self.log.read_segment(end.segment, &mut buffer[..len]) else {
            return false;
        };
        let bytes = &buffer[..len];
        let (grains, _) = bytes.as_chunks::<8>();
        let mut frames = grains.windows(3).zip((0u32..).step_by(8));
        frames.any(|(frame, at)| {
            let [kind, flags, ..] = frame[0];
            let [a, b, c, d, ..] = frame[2];
            let from = u32::from_le_bytes([a, b, c, d]);
            (kind, flags) == (5, 0) && frame[0][4..] == [0; 4] && 64 <= from && from < at
        })
    }
}
