//! One log on one medium beside its oracle, from open to crash.

use std::rc::Rc;

use walstone_core::{Batch, Capacity, Checksum, Error, Log, Mark, Options, PoisonCause, Report};

use super::history::Op;
use super::model::{Change, Line, Seen, State, Value, Wrong};
use super::setup::Setup;
use crate::medium::{Limits, Medium, MediumHandle};
use crate::storages::SimError;

/// The log under test.
pub type Subject = Log<'static, MediumHandle>;

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The planned crash came.
    Crashed,
    /// The planned failure of a sync came: the log takes no more writes.
    Poisoned,
    /// The log broke a promise.
    Violation(Violation),
}

/// A broken promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// What an open found is wrong.
    Recovered(Wrong),
    /// An open failed.
    Open(Error<SimError>),
    /// A record could not be read.
    Read(Error<SimError>),
    /// Reading one table shows other records than reading all.
    TableDiffers(u64),
    /// An operation failed that must not.
    Refused(Op, Error<SimError>),
    /// An append got other sequences than the next ones.
    Sequences {
        /// The one that was due.
        due: u64,
        /// The one it got.
        got: u64,
    },
    /// A failed sync did not poison the log.
    NotPoisoned,
    /// An open for reading changed the medium.
    ReadOnlyChanged,
    /// An open for writing found something else than one for reading.
    OpensDisagree,
    /// A planned crash did not come: the run is not the same twice.
    Unrepeatable,
    /// The log panicked.
    Panicked,
}

/// One life of a log: it ends with the process or with the power.
#[derive(Debug)]
pub struct Life {
    setup: Setup,
    handle: MediumHandle,
    log: Option<Subject>,
    line: Line,
    /// Since what `line` tells of, the power failed.
    powerless: bool,
    /// What must be durable for each append to be.
    marks: Vec<Mark>,
    values: u32,
    opens: u64,
    refusals: u32,
}

/// What is handed from one life to the next.
#[derive(Clone, Copy, Debug)]
pub struct Counters {
    /// Values appended so far.
    pub values: u32,
    /// Opens so far, each with its own seed.
    pub opens: u64,
    /// Appends refused for want of room so far.
    pub refusals: u32,
}

/// What a process must find: the appends of the life before it, and how that ended.
#[derive(Clone, Debug)]
pub struct Found {
    line: Line,
    powerless: bool,
}

impl Found {
    /// Only what was durable must be found.
    #[must_use]
    pub const fn after_power_loss(line: Line) -> Self {
        Self { line, powerless: true }
    }

    /// The states that may be found.
    #[must_use]
    pub fn possible(&self) -> &[Rc<State>] {
        if self.powerless {
            self.line.possible()
        } else {
            self.line.written()
        }
    }

    /// Which of the possible states was found.
    ///
    /// # Errors
    /// [`Violation::Recovered`].
    pub fn judge(&self, seen: &Seen) -> Result<Rc<State>, Violation> {
        let possible = self.possible();
        self.line.judge(possible, seen).map_err(Violation::Recovered)
    }
}

/// Options with the entropy of the `nth` open.
#[must_use]
pub fn options(nth: u64) -> Options {
    Options {
        checksum: Checksum::BYTEWISE,
        ..Options::new(7, nth.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
}

/// Everything that a log shows.
///
/// # Errors
/// [`Violation::Read`], [`Violation::TableDiffers`].
pub fn observe(log: &mut Subject) -> Result<Seen, Violation> {
    let records = read(log, None)?;
    for of in [1, 2] {
        let of_table = read(log, Some(of))?;
        let mut expected = records.iter().filter(|(_, table, _)| *table == of);
        if of_table.iter().any(|record| expected.next() != Some(record)) || expected.next().is_some() {
            return Err(Violation::TableDiffers(of));
        }
    }
    Ok(Seen {
        last: log.last_sequence(),
        records,
    })
}

fn read(log: &mut Subject, table: Option<u64>) -> Result<Vec<(u64, u64, Vec<u8>)>, Violation> {
    let mut records = Vec::new();
    let mut reads = log.read(table, ..);
    while let Some(record) = reads.next() {
        let record = record.map_err(Violation::Read)?;
        records.push((record.sequence, record.table, record.value.to_vec()));
    }
    Ok(records)
}

/// What an open for reading shows; it must change nothing.
///
/// # Errors
/// [`Stop::Violation`].
pub fn observe_read_only(medium: &Medium, setup: &Setup, opens: u64) -> Result<Seen, Violation> {
    let before = medium.digest();
    let handle = MediumHandle::new(medium.clone());
    let capacity = Capacity::heap(setup.geometry.segment_len() as usize);
    let log = Log::open_read_only(handle.clone(), capacity, options(opens));
    let seen = observe(&mut log.map_err(Violation::Open)?)?;
    if handle.medium().digest() != before {
        return Err(Violation::ReadOnlyChanged);
    }
    Ok(seen)
}

impl From<Violation> for Stop {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl Life {
    /// A new log on an empty medium.
    ///
    /// # Errors
    /// [`Stop`].
    pub fn create(setup: &Setup) -> Result<Self, Stop> {
        let mut life = Self::attach(
            setup,
            setup.medium(),
            &Found::after_power_loss(Line::new(Rc::default())),
            Counters {
                values: 0,
                opens: 0,
                refusals: 0,
            },
        );
        life.create_log()?;
        Ok(life)
    }

    /// The life of a process that finds this medium; nothing is opened yet.
    #[must_use]
    pub fn attach(setup: &Setup, medium: Medium, found: &Found, counters: Counters) -> Self {
        Self {
            setup: *setup,
            handle: MediumHandle::new(medium),
            log: None,
            line: found.line.clone(),
            powerless: found.powerless,
            marks: Vec::new(),
            values: counters.values,
            opens: counters.opens,
            refusals: counters.refusals,
        }
    }

    /// Makes the log, or opens it if it is there.
    ///
    /// # Errors
    /// [`Stop`].
    pub fn create_log(&mut self) -> Result<(), Stop> {
        self.opens += 1;
        let capacity = Capacity::heap(self.setup.geometry.segment_len() as usize);
        let log = Log::open_or_create(self.handle.clone(), capacity, options(self.opens));
        self.opened(log)
    }

    /// Opens the log; what it finds is the beginning of this life.
    ///
    /// # Errors
    /// [`Stop`].
    pub fn open(&mut self) -> Result<(), Stop> {
        self.log = None;
        self.opens += 1;
        let capacity = Capacity::heap(self.setup.geometry.segment_len() as usize);
        let log = Log::open(self.handle.clone(), capacity, options(self.opens));
        self.opened(log)
    }

    fn opened(&mut self, log: Result<Subject, Error<SimError>>) -> Result<(), Stop> {
        let mut log = match log {
            Ok(log) => log,
            Err(Error::Storage(SimError::Crashed)) => return Err(Stop::Crashed),
            Err(Error::Storage(SimError::SyncFailed)) => return Err(Stop::Poisoned),
            Err(error) => return Err(Violation::Open(error).into()),
        };
        let seen = observe(&mut log)?;
        let state = self.found().judge(&seen)?;
        self.line = Line::new(state);
        self.powerless = false;
        self.marks.clear();
        self.log = Some(log);
        Ok(())
    }

    /// The appends of this life.
    #[must_use]
    pub const fn line(&self) -> &Line {
        &self.line
    }

    fn found(&self) -> Found {
        Found {
            line: self.line.clone(),
            powerless: self.powerless,
        }
    }

    /// What the next process must find if this one ends now.
    #[must_use]
    pub fn left(&self, power_loss: bool) -> Found {
        Found {
            line: self.line.clone(),
            powerless: self.powerless || power_loss,
        }
    }

    /// What the open did.
    #[must_use]
    pub fn report(&self) -> Option<Report> {
        self.log.as_ref().map(|log| *log.report())
    }

    /// Where the log stands.
    #[must_use]
    pub fn written_mark(&self) -> Option<Mark> {
        self.log.as_ref().map(Log::written_mark)
    }

    /// The medium as it is now.
    #[must_use]
    pub fn medium(&self) -> Medium {
        self.handle.medium()
    }

    /// The medium, to plan its faults.
    #[must_use]
    pub const fn handle(&self) -> &MediumHandle {
        &self.handle
    }

    /// What the next life goes on from.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        Counters {
            values: self.values,
            opens: self.opens,
            refusals: self.refusals,
        }
    }

    fn value(&mut self, len: u32) -> Value {
        self.values += 1;
        Value {
            number: self.values,
            len,
        }
    }

    fn changes(&mut self, op: Op) -> Vec<Change> {
        let state = self.line.newest().clone();
        let of_first = state.last_of(1).unwrap_or(state.last).max(1);
        match op {
            Op::Small | Op::Durable => vec![Change::Put(1, self.value(8))],
            Op::TwoUnits => vec![Change::Put(1, self.value(self.setup.two_units_len()))],
            Op::Largest => vec![Change::Put(1, self.value(self.setup.largest_len()))],
            Op::Batch => vec![
                Change::Put(1, self.value(8)),
                Change::Put(2, self.value(9)),
                Change::Put(1, self.value(21)),
            ],
            Op::BatchWithVoids => vec![
                Change::Put(2, self.value(8)),
                Change::DeleteUpTo(1, of_first),
                Change::TruncateFrom(2, state.last + 1),
                Change::Put(1, self.value(8)),
            ],
            Op::DeletePrefix => vec![Change::DeleteUpTo(1, of_first)],
            Op::DeleteFirst => vec![Change::DeleteUpTo(1, state.last.max(1))],
            Op::TruncateSuffix => vec![Change::TruncateFrom(1, of_first)],
            Op::DeleteOther => vec![Change::DeleteUpTo(2, state.last.max(1))],
            _ => Vec::new(),
        }
    }

    /// Performs one operation.
    ///
    /// # Errors
    /// [`Stop`].
    pub fn perform(&mut self, op: Op) -> Result<(), Stop> {
        match op {
            Op::Sync => self.control(op, Log::sync),
            Op::Reclaim => self.control(op, Log::reclaim),
            Op::CloseReopen => {
                self.control(op, Log::close)?;
                self.open()
            }
            Op::Reopen => self.open(),
            Op::PowerLoss => self.lose_power(),
            Op::FailSync => {
                self.handle.change(|medium| medium.fail_sync(2));
                Ok(())
            }
            Op::Durable => {
                self.append(op)?;
                self.control(Op::Sync, Log::sync)
            }
            _ => self.append(op),
        }
    }

    fn lose_power(&mut self) -> Result<(), Stop> {
        let limits = Limits {
            exhaustive: 6,
            places: 16,
            random: 0,
            ..Limits::default()
        };
        let mut images = Vec::new();
        self.handle.medium().crash_states(&limits, &mut |image, _| {
            images.push(image);
            std::ops::ControlFlow::Continue(())
        });
        let image = images.swap_remove(images.len() / 2);
        self.handle = MediumHandle::new(image);
        self.powerless = true;
        self.open()
    }

    fn control(&mut self, op: Op, act: impl FnOnce(&mut Subject) -> Result<(), Error<SimError>>) -> Result<(), Stop> {
        let Some(log) = &mut self.log else {
            return Err(Stop::Poisoned);
        };
        let acted = act(log);
        let synced = acted.is_ok() && matches!(op, Op::Sync | Op::CloseReopen);
        self.settle(synced);
        match acted {
            Ok(()) => Ok(()),
            Err(error) => self.refused(op, error),
        }
    }

    /// Takes down what the log says is durable.
    fn settle(&mut self, synced: bool) {
        if synced {
            self.line.settle(self.line.answered());
        } else if let Some(log) = &self.log {
            let durable = log.durable_mark();
            let count = self.marks.iter().take_while(|&&mark| mark <= durable).count();
            self.line.settle(count);
        }
    }

    fn refused(&mut self, op: Op, error: Error<SimError>) -> Result<(), Stop> {
        let poisoned = self.log.as_ref().and_then(Log::poisoned);
        match error {
            Error::Storage(SimError::Crashed) => Err(Stop::Crashed),
            Error::Storage(SimError::SyncFailed) if poisoned == Some(PoisonCause::Sync) => self.stays_poisoned(),
            Error::Storage(SimError::SyncFailed) => Err(Violation::NotPoisoned.into()),
            Error::Full | Error::TooManyVoids { .. } if poisoned.is_none() => {
                self.line.refuse();
                self.refusals += 1;
                Ok(())
            }
            error => Err(Violation::Refused(op, error).into()),
        }
    }

    /// Nothing is acknowledged after a failed sync.
    fn stays_poisoned(&mut self) -> Result<(), Stop> {
        let Some(log) = &mut self.log else {
            return Err(Stop::Poisoned);
        };
        let refusals = [
            log.append(1, b"never").map(drop),
            log.sync(),
            log.reclaim(),
            log.hand_over(),
            log.close(),
        ];
        let refused =
            |outcome: &Result<(), _>| matches!(outcome, Err(Error::Poisoned(PoisonCause::Sync) | Error::Closed));
        if !refusals.iter().all(refused) {
            return Err(Violation::NotPoisoned.into());
        }
        self.settle(false);
        Err(Stop::Poisoned)
    }

    fn append(&mut self, op: Op) -> Result<(), Stop> {
        let changes = self.changes(op);
        self.line.issue(&changes);
        let due = self.line.newest().clone();
        let Some(log) = &mut self.log else {
            return Err(Stop::Poisoned);
        };
        match append_to(log, &changes) {
            Ok((last, mark)) => {
                self.line.answer();
                self.marks.push(mark);
                self.settle(false);
                if last == due.last {
                    Ok(())
                } else {
                    let due = due.last;
                    Err(Violation::Sequences { due, got: last }.into())
                }
            }
            Err(error) => {
                self.settle(false);
                self.refused(op, error)
            }
        }
    }

    /// Appends a record and makes it durable; what every recovered log must be able to do.
    ///
    /// # Errors
    /// [`Stop`].
    pub fn probe(&mut self) -> Result<(), Stop> {
        let before = self.refusals;
        self.perform(Op::Durable)?;
        if self.refusals == before {
            return Ok(());
        }
        // A full log takes records again once its own are deleted.
        let room = [Op::DeleteFirst, Op::DeleteOther, Op::Reclaim, Op::Durable];
        for op in room {
            self.refusals = before;
            self.perform(op)?;
        }
        if self.refusals == before {
            Ok(())
        } else {
            Err(Violation::Refused(Op::Durable, Error::Full).into())
        }
    }
}

/// The last sequence and what makes it durable.
fn append_to(log: &mut Subject, changes: &[Change]) -> Result<(u64, Mark), Error<SimError>> {
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
    }?;
    Ok((appended.last, appended.mark))
}

/// What a log holds that was never written to.
#[must_use]
pub fn nothing() -> Rc<State> {
    Rc::default()
}
