//! One log on one machine beside its oracle, from open to crash.

use std::ops::{ControlFlow, Range};
use std::rc::Rc;

use walstone_core::Position;

use super::history::Op;
use super::machine::{Denied, How, Machine, Plan, Subject};
use super::model::{Change, Found, Line, Record, Seen, State, Value, Wrong};
use crate::medium::Limits;

/// Why a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The planned crash came.
    Crashed,
    /// The planned failure of a sync came: the log takes no more writes.
    Poisoned,
    /// The log broke a promise.
    Violation(Violation),
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// What an open found is wrong.
    Recovered(Wrong),
    /// An open failed.
    Open(Denied),
    /// A record could not be read, or one way of reading shows other records than another.
    Read(String),
    /// An operation failed that must not.
    Refused(Op, Denied),
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
pub struct Life<'m, M: Machine> {
    machine: &'m M,
    process: M::Process,
    log: Option<M::Log>,
    line: Line,
    /// What this process must find, until it opened.
    found: Option<Found>,
    counters: Counters,
    recording: bool,
    spans: Vec<Span>,
    seen: Seen,
    /// Where records of earlier sessions of this life stood.
    positions: Vec<(Record, Position)>,
}

/// The moments of one call of the log, and what a crash at one of them must leave.
#[derive(Clone, Debug)]
pub struct Span {
    /// As the machine numbers them.
    pub moments: Range<usize>,
    /// If the power fails.
    pub power_loss: Found,
    /// If the process dies.
    pub process_death: Found,
}

/// What is handed from one life to the next.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// Values appended so far.
    pub values: u32,
    /// Opens so far, each with its own seed.
    pub opens: u64,
    /// Appends refused for want of room so far.
    pub refusals: u32,
}

impl From<Violation> for Stop {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

/// What an open for reading shows; it must change nothing.
///
/// # Errors
/// [`Violation`].
pub fn observe_read_only<M: Machine>(
    machine: &M,
    image: M::Image,
    opens: u64,
    seen: &mut Seen,
) -> Result<(), Violation> {
    let mut process = machine.boot(image, true);
    let log = machine.open(&mut process, How::Read, opens);
    seen.clear();
    let mut log = log.map_err(Violation::Open)?;
    log.observe(seen).map_err(Violation::Read)?;
    if machine.moments(&process) > 0 {
        return Err(Violation::ReadOnlyChanged);
    }
    Ok(())
}

impl<'m, M: Machine> Life<'m, M> {
    /// A new log on an empty medium.
    ///
    /// # Errors
    /// [`Stop`].
    pub fn create(machine: &'m M) -> Result<Self, Stop> {
        let mut life = Self::unmade(machine);
        life.create_log()?;
        Ok(life)
    }

    /// A life on an empty medium; nothing is made yet.
    #[must_use]
    pub fn unmade(machine: &'m M) -> Self {
        Self::attach(
            machine,
            machine.blank(),
            &Found::only(Rc::default()),
            Counters::default(),
        )
    }

    /// The life of a process that finds this medium; nothing is opened yet.
    #[must_use]
    pub fn attach(machine: &'m M, image: M::Image, found: &Found, counters: Counters) -> Self {
        Self {
            machine,
            process: machine.boot(image, false),
            log: None,
            line: Line::new(Rc::default()),
            found: Some(found.clone()),
            counters,
            recording: false,
            spans: Vec::new(),
            seen: Seen::default(),
            positions: Vec::new(),
        }
    }

    /// From here on the moments are remembered at which a crash could fall.
    pub fn record(&mut self) {
        self.recording = true;
        self.machine.record(&mut self.process);
    }

    /// The moments since then, call by call. A moment lies behind what its call did to the medium.
    #[must_use]
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Makes the log, or opens it if it is there.
    ///
    /// # Errors
    /// [`Stop`].
    pub fn create_log(&mut self) -> Result<(), Stop> {
        self.open_as(How::Create)
    }

    /// Opens the log; what it finds is the beginning of this life.
    ///
    /// # Errors
    /// [`Stop`].
    pub fn open(&mut self) -> Result<(), Stop> {
        if let Some(log) = self.log.take() {
            self.found = Some(self.line.left(false));
            self.positions.extend(log.positions());
        }
        self.open_as(How::Write)
    }

    fn open_as(&mut self, how: How) -> Result<(), Stop> {
        self.counters.opens += 1;
        let log = self.machine.open(&mut self.process, how, self.counters.opens);
        self.called();
        let mut log = match log {
            // What cannot be removed keeps no log from opening; here nothing can, any more.
            Ok(_) if self.has_crashed() => return Err(Stop::Crashed),
            Ok(log) => log,
            Err(Denied::Crashed) => return Err(Stop::Crashed),
            Err(Denied::SyncFailed { .. }) => return Err(Stop::Poisoned),
            Err(denied) => return Err(Violation::Open(denied).into()),
        };
        self.seen.clear();
        log.observe(&mut self.seen).map_err(Violation::Read)?;
        let state = self.left(false).judge(&self.seen).map_err(Violation::Recovered)?;
        self.line = Line::new(state);
        self.found = None;
        self.log = Some(log);
        Ok(())
    }

    /// Goes on with the same log behind an operation that ended in the middle, the process being alive; opened or
    /// made anew where it was that. `first` is the first thing that the log is asked for, and appends `changes`.
    ///
    /// # Errors
    /// [`Stop`].
    pub fn resume(
        &mut self,
        changes: &[Change],
        first: impl FnOnce(&mut M::Log) -> Result<(), Denied>,
    ) -> Result<(), Stop> {
        let mut found = self.left(false);
        let Some(log) = &mut self.log else {
            return self.create_log();
        };
        log.forget_appends();
        match first(log) {
            Ok(()) if !changes.is_empty() => found = found.after(changes),
            Ok(()) | Err(Denied::Full) => {}
            Err(Denied::Crashed) => {
                self.found = Some(found);
                return Err(Stop::Crashed);
            }
            Err(denied) => return Err(Violation::Open(denied).into()),
        }
        self.seen.clear();
        log.observe(&mut self.seen).map_err(Violation::Read)?;
        let state = found.judge(&self.seen).map_err(Violation::Recovered)?;
        self.line = Line::new(state);
        self.found = None;
        Ok(())
    }

    /// Reads what the open found by all other ways.
    ///
    /// # Errors
    /// [`Violation::Read`].
    pub fn compare(&mut self) -> Result<(), Violation> {
        let Some(log) = &mut self.log else { return Ok(()) };
        log.compare(&self.seen).map_err(Violation::Read)?;
        log.compare_at(&self.positions, &self.seen).map_err(Violation::Read)
    }

    /// Takes down what a crash within the last call of the log must leave.
    fn called(&mut self) {
        let before = self.spans.last().map_or(0, |span| span.moments.end);
        let now = self.machine.moments(&self.process);
        if self.recording && now > before {
            self.spans.push(Span {
                moments: before..now,
                power_loss: self.left(true),
                process_death: self.left(false),
            });
        }
    }

    /// The state that the appends of this life led to.
    #[must_use]
    pub fn newest(&self) -> &Rc<State> {
        self.line.newest()
    }

    /// What the next process must find if this one ends now.
    #[must_use]
    pub fn left(&self, power_loss: bool) -> Found {
        match &self.found {
            Some(found) if power_loss => found.after_power_loss(),
            Some(found) => found.clone(),
            None => self.line.left(power_loss),
        }
    }

    /// The log, once it is open.
    #[must_use]
    pub const fn log(&self) -> Option<&M::Log> {
        self.log.as_ref()
    }

    /// The log, to ask it what changes nothing.
    pub const fn log_mut(&mut self) -> Option<&mut M::Log> {
        self.log.as_mut()
    }

    /// The process, for what it may leave.
    #[must_use]
    pub const fn process(&self) -> &M::Process {
        &self.process
    }

    /// Plans a crash or a fault.
    pub fn plan(&mut self, plan: Plan) {
        self.machine.plan(&mut self.process, plan);
    }

    /// Whether the planned crash came.
    #[must_use]
    pub fn has_crashed(&self) -> bool {
        self.machine.has_crashed(&self.process)
    }

    /// What the next life goes on from.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    fn value(&mut self, len: u32) -> Value {
        self.counters.values += 1;
        Value {
            number: self.counters.values,
            len,
        }
    }

    fn changes(&mut self, op: Op) -> Vec<Change> {
        let state = self.line.newest().clone();
        let of_first = state.last_of(1).unwrap_or(state.last).max(1);
        match op {
            Op::Small | Op::Durable => vec![Change::Put(1, self.value(8))],
            Op::TwoUnits => vec![Change::Put(1, self.value(self.machine.two_units_len()))],
            Op::Largest => vec![Change::Put(1, self.value(self.machine.largest_len()))],
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
            Op::Sync => self.control(op, M::Log::sync),
            Op::Reclaim => self.control(op, M::Log::reclaim),
            Op::CloseReopen => {
                self.control(op, M::Log::close)?;
                self.open()?;
                Ok(self.compare()?)
            }
            Op::Reopen => {
                self.open()?;
                Ok(self.compare()?)
            }
            Op::PowerLoss => {
                self.lose_power()?;
                Ok(self.compare()?)
            }
            Op::FailSync => {
                self.plan(Plan::FailSync(1));
                Ok(())
            }
            Op::Durable => {
                self.append(op)?;
                self.control(Op::Sync, M::Log::sync)
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
        let count = self.power_loss_count(&limits);
        let (_, image) = self.image_after_power_loss(&limits, count / 2);
        self.found = Some(self.left(true));
        if let Some(log) = self.log.take() {
            self.positions.extend(log.positions());
        }
        self.process = self.machine.boot(image, self.recording);
        self.spans.clear();
        self.open()
    }

    /// How many images a loss of power now may leave; some may be the same.
    #[must_use]
    pub fn power_loss_count(&self, limits: &Limits) -> usize {
        let mut count = 0;
        let _ = self.machine.power_loss(&self.process, None, limits, &mut |_| {
            count += 1;
            ControlFlow::Continue(())
        });
        count
    }

    /// Image number `nth` of those that a loss of power now may leave, and how it came to be.
    ///
    /// # Panics
    /// Where there are fewer.
    #[must_use]
    pub fn image_after_power_loss(&self, limits: &Limits, nth: usize) -> (String, M::Image) {
        let mut left = nth;
        let mut image = None;
        let _ = self.machine.power_loss(&self.process, None, limits, &mut |found| {
            if left == 0 {
                image = Some((format!("{:?}", found.how), (found.image)()));
                return ControlFlow::Break(());
            }
            left -= 1;
            ControlFlow::Continue(())
        });
        image.expect("there are more images than this")
    }

    fn control(&mut self, op: Op, act: impl FnOnce(&mut M::Log) -> Result<(), Denied>) -> Result<(), Stop> {
        let Some(log) = &mut self.log else {
            return Err(Stop::Poisoned);
        };
        let acted = act(log);
        self.called();
        let synced = acted.is_ok() && matches!(op, Op::Sync | Op::CloseReopen);
        self.settle(synced);
        match acted {
            Ok(()) => Ok(()),
            Err(denied) => self.refused(op, denied),
        }
    }

    /// Takes down what the log says is durable.
    fn settle(&mut self, synced: bool) {
        if synced {
            self.line.settle(self.line.answered());
        } else if let Some(log) = &self.log {
            self.line.settle(log.durable_count());
        }
    }

    fn refused(&mut self, op: Op, denied: Denied) -> Result<(), Stop> {
        match denied {
            Denied::Crashed => Err(Stop::Crashed),
            Denied::SyncFailed { poisoned: true } => self.stays_poisoned(),
            Denied::SyncFailed { poisoned: false } => Err(Violation::NotPoisoned.into()),
            Denied::Full => {
                self.line.refuse();
                self.counters.refusals += 1;
                Ok(())
            }
            denied => Err(Violation::Refused(op, denied).into()),
        }
    }

    /// Nothing is acknowledged after a failed sync.
    fn stays_poisoned(&mut self) -> Result<(), Stop> {
        let Some(log) = &mut self.log else {
            return Err(Stop::Poisoned);
        };
        let never = Change::Put(1, Value { number: 0, len: 5 });
        let refusals = [
            log.append(&[never]).map(drop),
            log.sync(),
            log.reclaim(),
            log.hand_over(),
            log.close(),
        ];
        if !refusals.iter().all(|outcome| *outcome == Err(Denied::Ended)) {
            return Err(Violation::NotPoisoned.into());
        }
        self.settle(false);
        self.found = Some(self.line.left(false));
        self.log = None;
        Err(Stop::Poisoned)
    }

    /// Whether there is a log for it, or it makes one.
    #[must_use]
    pub const fn can_perform(&self, op: Op) -> bool {
        self.log.is_some() || matches!(op, Op::Reopen | Op::PowerLoss)
    }

    fn append(&mut self, op: Op) -> Result<(), Stop> {
        let changes = self.changes(op);
        self.line.issue(&changes);
        let due = self.line.newest().last;
        let Some(log) = &mut self.log else {
            return Err(Stop::Poisoned);
        };
        let appended = log.append(&changes);
        self.called();
        match appended {
            Ok(got) => {
                self.line.answer();
                self.settle(false);
                if got == due {
                    Ok(())
                } else {
                    Err(Violation::Sequences { due, got }.into())
                }
            }
            Err(denied) => {
                self.settle(false);
                self.refused(op, denied)
            }
        }
    }

    /// Appends a record and makes it durable; what every recovered log must be able to do.
    ///
    /// # Errors
    /// [`Stop`].
    pub fn probe(&mut self) -> Result<(), Stop> {
        let before = self.counters.refusals;
        self.perform(Op::Durable)?;
        if self.counters.refusals == before {
            return Ok(());
        }
        // A full log takes records again once its own are deleted.
        let room = [Op::DeleteFirst, Op::DeleteOther, Op::Reclaim, Op::Durable];
        for op in room {
            self.counters.refusals = before;
            self.perform(op)?;
        }
        if self.counters.refusals == before {
            self.counters.refusals += 1;
            Ok(())
        } else {
            Err(Violation::Refused(Op::Durable, Denied::Full).into())
        }
    }
}
