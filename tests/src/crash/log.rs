//! The engine's blocking log as a [`Subject`], on any storage that tells its planned faults apart.

use walstone_core::{Batch, Checksum, Error, Log, Mark, Options, PoisonCause, Position, Report, Storage};

use super::machine::{Denied, Subject};
use super::model::{Change, Record, Seen, Value};
use crate::storages::SimError;

/// A log, and what it said of its appends.
#[derive(Debug)]
pub struct Subjected<S: Storage> {
    log: Log<'static, S>,
    /// What must be durable for each append to be.
    marks: Vec<Mark>,
    positions: Vec<(Record, Position)>,
}

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

/// Options with the entropy of the `nth` open.
#[must_use]
pub fn options(nth: u64) -> Options {
    Options {
        checksum: Checksum::new(crc32c::crc32c_append),
        ..Options::new(7, nth.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
}

impl<S: Storage<Error: Planned>> Subjected<S> {
    /// What an open gave.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn new(opened: Result<Log<'static, S>, Error<S::Error>>) -> Result<Self, Denied> {
        let log = opened.map_err(|error| denied::<S>(error, false))?;
        Ok(Self {
            log,
            marks: Vec::new(),
            positions: Vec::new(),
        })
    }

    /// The log itself.
    pub const fn log(&mut self) -> &mut Log<'static, S> {
        &mut self.log
    }

    fn told<T>(&mut self, outcome: Result<T, Error<S::Error>>) -> Result<T, Denied> {
        outcome.map_err(|error| {
            let by_sync = matches!(&error, Error::Storage(fault) if fault.planned() == Some(SimError::SyncFailed));
            if by_sync && S::Error::LATCHES {
                self.log.poison(PoisonCause::Sync);
            }
            denied::<S>(error, self.log.poisoned().is_some())
        })
    }

    fn read(&mut self, table: Option<u64>, mut take: impl FnMut(Record) -> bool) -> Result<(), String> {
        let mut reads = self.log.read(table, ..);
        while let Some(record) = reads.next() {
            let record = record.map_err(|error| format!("{error:?}"))?;
            let record = Record {
                sequence: record.sequence,
                table: record.table,
                value: Value::parse(record.value),
            };
            if !take(record) {
                return Err(format!("reading table {table:?} shows other records than reading all"));
            }
        }
        Ok(())
    }
}

fn denied<S: Storage<Error: Planned>>(error: Error<S::Error>, poisoned: bool) -> Denied {
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

impl<S: Storage<Error: Planned>> Subject for Subjected<S> {
    fn append(&mut self, changes: &[Change]) -> Result<u64, Denied> {
        let log = &mut self.log;
        let appended = match *changes {
            [Change::Put(table, value)] => log.append(table, &value.bytes()),
            [Change::DeleteUpTo(table, to)] => log.delete_up_to(table, to),
            [Change::TruncateFrom(table, from)] => log.truncate_from(table, from),
            _ => {
                let mut batch = Batch::new();
                for &change in changes {
                    match change {
                        Change::Put(table, value) => batch.push(table, &value.bytes()),
                        Change::DeleteUpTo(table, to) => batch.delete_up_to(table, to),
                        Change::TruncateFrom(table, from) => batch.truncate_from(table, from),
                    }
                }
                log.append_batch(&batch)
            }
        };
        let appended = self.told(appended)?;
        self.marks.push(appended.mark);
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
        seen.last = self.log.last_sequence();
        let records = &mut seen.records;
        self.read(None, |record| {
            records.push(record);
            true
        })
    }

    fn compare(&mut self, seen: &Seen) -> Result<(), String> {
        for table in [1, 2] {
            let mut expected = seen.records.iter().filter(|record| record.table == table);
            self.read(Some(table), |record| expected.next() == Some(&record))?;
            if expected.next().is_some() {
                return Err(format!("reading table {table} shows fewer records than reading all"));
            }
        }
        Ok(())
    }

    fn positions(&self) -> &[(Record, Position)] {
        &self.positions
    }

    fn compare_at(&mut self, at: &[(Record, Position)], seen: &Seen) -> Result<(), String> {
        for &(record, position) in at {
            let found = match self.log.read_at(position) {
                Ok(found) => Some(Record {
                    sequence: found.sequence,
                    table: found.table,
                    value: Value::parse(found.value),
                }),
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

    fn durable_count(&self) -> usize {
        let durable = self.log.durable_mark();
        self.marks.iter().take_while(|&&mark| mark <= durable).count()
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
        let len = end.end.min(buffer.len() as u32);
        let Ok(bytes) = self.log.storage_mut().read(end.segment, 0, len, &mut buffer) else {
            return false;
        };
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
