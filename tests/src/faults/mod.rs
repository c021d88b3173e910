//! One call fails: each call of a history in turn, in each way that it can. Whatever the log answers, what it acknowledged
//! stays, what it shows was written, and after a failed write or sync it takes nothing more.
//!
//! A failed sync drops what it should have made durable and keeps it readable, and later syncs say yes: only a loss of
//! power, or an eviction from the cache, shows what is gone.

pub mod backend;
pub mod engine;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use crate::crash::machine::{Denied, Subject};
use crate::crash::model::{Change, Line, Seen, State, Value};
use crate::deadline::Deadline;

/// One operation of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Appends a small record.
    Small,
    /// Appends a small record and waits until it is durable.
    Durable,
    /// Appends a record of half a segment.
    Large,
    /// Appends records and deletions of two tables at once.
    Batch,
    /// Syncs.
    Sync,
    /// Hands over to whoever outlives the process.
    HandOver,
    /// Deletes what table 1 was given.
    Delete,
    /// Gives up dead segments.
    Reclaim,
    /// Closes and opens again.
    Close,
}

impl Act {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Small,
        Self::Durable,
        Self::Large,
        Self::Batch,
        Self::Sync,
        Self::HandOver,
        Self::Delete,
        Self::Reclaim,
        Self::Close,
    ];

    /// All words of `len` of them.
    #[must_use]
    pub fn words(len: u32) -> Vec<Vec<Self>> {
        let base = Self::ALL.len();
        let letter = |number: usize, place: u32| Self::ALL[number / base.pow(place) % base];
        let word = |number: usize| (0..len).map(|place| letter(number, place)).collect();
        (0..base.pow(len)).map(word).collect()
    }
}

/// What is done first, so that little more fills a segment, rotates, and frees one.
pub const PRELUDES: [&[Act]; 2] = [&[], &[Act::Large, Act::Large, Act::Durable, Act::Delete, Act::Large]];

/// Where a log stands, one call of which is to fail.
pub trait Ground {
    /// The log.
    type Log: Subject;

    /// Opens the log, and makes it where there is none. [`Denied::SyncFailed`] is the planned fault, whatever it hit.
    ///
    /// # Errors
    /// [`Denied`].
    fn open(&mut self) -> Result<Self::Log, Denied>;

    /// Appends and waits until it is durable; `None`: appending and syncing is all there is.
    fn append_durably(&self, log: &mut Self::Log, changes: &[Change]) -> Option<Result<u64, Denied>>;

    /// Whether the planned fault came.
    fn has_failed(&self) -> bool;

    /// What is left when the power fails now.
    fn after_power_loss(&self) -> Self;

    /// What only the cache holds is gone, under a log that may be open.
    fn evict(&mut self);

    /// Bytes of half a segment.
    fn large_len(&self) -> u32;

    /// Whether bytes are gathered before they are written: those of an append that failed may then be nowhere.
    fn gathers(&self) -> bool {
        false
    }
}

/// What came of faults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Calls that failed, each in each of its ways.
    pub pairs: u64,
    /// Of these, after which the log took nothing more.
    pub poisoned: u64,
    /// Of these, that were an error and left the log as it was.
    pub refused: u64,
    /// Of these, that nobody noticed, since the call was tried again or not needed.
    pub unnoticed: u64,
    /// Broken promises.
    pub violations: Vec<String>,
    /// Words, each with one way to fail, that there was no time for.
    pub left_out: u64,
    deadline: Deadline,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} pairs of call and error: {} poisoned, {} refused, {} went unnoticed; {} violations",
            self.pairs,
            self.poisoned,
            self.refused,
            self.unnoticed,
            self.violations.len()
        )?;
        match self.left_out {
            0 => f.write_str(", complete: yes"),
            left_out => write!(f, ", complete: no, {left_out} words with one way to fail left out"),
        }
    }
}

impl Tally {
    /// Nothing yet, and no more than there is time for.
    #[must_use]
    pub fn until(deadline: Deadline) -> Self {
        Self {
            deadline,
            ..Self::default()
        }
    }

    /// Adds another one.
    pub fn add(&mut self, other: Self) {
        self.pairs += other.pairs;
        self.poisoned += other.poisoned;
        self.refused += other.refused;
        self.unnoticed += other.unnoticed;
        self.violations.extend(other.violations);
        self.left_out += other.left_out;
    }

    /// Runs a word on the ground whose call `nth` is to fail, for every `nth` until none fails. `what` names the fault.
    pub fn every_call<G: Ground>(&mut self, word: &[&[Act]], what: &str, ground: impl Fn(u64) -> G) {
        let (mut nth, mut evict) = (1, false);
        loop {
            if self.deadline.has_passed() {
                self.left_out += 1;
                return;
            }
            let run = catch_unwind(AssertUnwindSafe(|| Run::new(ground(nth)).live(&word.concat(), evict)));
            let name = || format!("{what}, call {nth} of {word:?}");
            match run {
                Ok(Ok(None)) => return,
                Ok(Ok(Some(came))) => {
                    self.pairs += 1;
                    match came {
                        // Once more, and then nobody reads from the cache what is lost.
                        Came::Poisoned if !evict => {
                            evict = true;
                            self.pairs -= 1;
                            continue;
                        }
                        Came::Poisoned => self.poisoned += 1,
                        Came::Refused => self.refused += 1,
                        Came::Unnoticed => self.unnoticed += 1,
                    }
                }
                Ok(Err(violation)) => self.violations.push(format!("{}: {violation}", name())),
                Err(_) => self.violations.push(format!("{}: panic", name())),
            }
            (nth, evict) = (nth + 1, false);
            // What goes wrong once goes wrong again and again.
            if self.violations.len() > MOST_VIOLATIONS {
                return;
            }
        }
    }
}

/// So many are told.
const MOST_VIOLATIONS: usize = 20;

enum Came {
    Poisoned,
    Refused,
    Unnoticed,
}

struct Run<G: Ground> {
    ground: G,
    /// Taken only to open it again.
    log: Option<G::Log>,
    line: Line,
    values: u32,
    refused: bool,
}

impl<G: Ground> Run<G> {
    fn new(ground: G) -> Self {
        Self {
            ground,
            log: None,
            line: Line::new(Rc::default()),
            values: 0,
            refused: false,
        }
    }

    /// What came of the fault; `None`: it did not come.
    fn live(mut self, word: &[Act], evict: bool) -> Result<Option<Came>, String> {
        self.open()?;
        let mut poisoned = false;
        for &act in word {
            match self.perform(act) {
                Ok(()) => {}
                Err(Denied::SyncFailed { poisoned: true }) => {
                    poisoned = true;
                    if act == Act::Close {
                        // Closed all the same, and nothing is read from it any more.
                        self.log = None;
                    } else {
                        self.takes_nothing_more()?;
                    }
                    break;
                }
                Err(Denied::Full | Denied::SyncFailed { poisoned: false }) if self.ground.has_failed() => {
                    self.line.refuse();
                    self.refused = true;
                }
                Err(denied) => return Err(format!("{act:?}: {denied:?}")),
            }
            let durable = self.log().durable_count();
            self.line.settle(durable);
        }
        if poisoned && self.log.is_some() {
            self.goes_on_reading()?;
        } else if self.log.is_some() {
            self.shows_all()?;
        }
        if !self.ground.has_failed() {
            return Ok(None);
        }
        let line = self.line.clone();
        let mut dark = self.ground.after_power_loss();
        if poisoned && evict {
            // Nobody is told which records are gone from the cache: each is right, or an error.
            self.ground.evict();
            if self.log.is_some() {
                self.shows_nothing_wrong()?;
            }
        }
        self.log = None;
        let came = match (poisoned, self.refused) {
            (true, _) => Came::Poisoned,
            (_, true) => Came::Refused,
            _ => Came::Unnoticed,
        };
        // The death of the process, and a loss of power: the one keeps all that was written, unless the cache is gone too.
        for (ground, power_loss) in [(&mut self.ground, poisoned && evict), (&mut dark, true)] {
            let mut log = ground.open().map_err(|denied| format!("open after it: {denied:?}"))?;
            let state = judged(&mut log, &line, power_loss).map_err(|wrong| format!("after it: {wrong}"))?;
            let mut after = Line::new(state);
            let change = [Change::Put(
                1,
                Value {
                    number: u32::MAX,
                    len: 8,
                },
            )];
            after.issue(&change);
            after.answer();
            let appended = log.append(&change).and_then(|_| log.sync());
            appended.map_err(|denied| format!("append after it: {denied:?}"))?;
            drop(log);
            let mut log = ground.open().map_err(|denied| format!("third open: {denied:?}"))?;
            judged(&mut log, &after, false).map_err(|wrong| format!("third open: {wrong}"))?;
            drop(log);
            // What was found is durable, be it that a sync of it had failed.
            // It goes with its files, which reading may open late.
            let mut last = ground.after_power_loss();
            let mut log = last
                .open()
                .map_err(|denied| format!("power loss at last: {denied:?}"))?;
            judged(&mut log, &after, false).map_err(|wrong| format!("power loss at last: {wrong}"))?;
        }
        Ok(Some(came))
    }

    /// Opens; where the fault comes then, once more. What is found is where the history goes on.
    fn open(&mut self) -> Result<(), String> {
        self.log = None;
        let mut opened = self.ground.open();
        if matches!(opened, Err(Denied::SyncFailed { .. } | Denied::Full)) && self.ground.has_failed() {
            self.refused = true;
            opened = self.ground.open();
        }
        self.log = Some(opened.map_err(|denied| format!("open: {denied:?}"))?);
        let state = self.shows_all()?;
        self.line = Line::new(state);
        Ok(())
    }

    /// Reads everything; where the fault comes then, once more.
    fn shows_all(&mut self) -> Result<Rc<State>, String> {
        let (line, failed) = (self.line.clone(), self.ground.has_failed());
        let shown = judged(self.log(), &line, false);
        if shown.is_err() && !failed && self.ground.has_failed() {
            self.refused = true;
            return judged(self.log(), &line, false);
        }
        shown
    }

    fn log(&mut self) -> &mut G::Log {
        self.log.as_mut().expect("it was opened")
    }

    fn value(&mut self, len: u32) -> Value {
        self.values += 1;
        let number = self.values;
        Value { number, len }
    }

    fn perform(&mut self, act: Act) -> Result<(), Denied> {
        let last = self.line.newest().last.max(1);
        let changes = match act {
            Act::Small | Act::Durable => vec![Change::Put(1, self.value(8))],
            Act::Large => vec![Change::Put(1, self.value(self.ground.large_len()))],
            Act::Batch => vec![
                Change::Put(2, self.value(8)),
                Change::DeleteUpTo(1, last),
                Change::Put(1, self.value(9)),
            ],
            Act::Delete => vec![Change::DeleteUpTo(1, last)],
            Act::Sync => {
                self.log().sync()?;
                self.line.settle(self.line.answered());
                return Ok(());
            }
            Act::HandOver => return self.log().hand_over(),
            Act::Reclaim => return self.log().reclaim(),
            Act::Close => return self.close(),
        };
        self.line.issue(&changes);
        let durably = if act == Act::Durable {
            let log = self.log.as_mut().expect("it was opened");
            self.ground.append_durably(log, &changes)
        } else {
            None
        };
        let whole = durably.is_some();
        durably.unwrap_or_else(|| self.log().append(&changes))?;
        self.line.answer();
        if act == Act::Durable {
            if !whole {
                self.log().sync()?;
            }
            self.line.settle(self.line.answered());
        }
        Ok(())
    }

    /// A close that fails has closed all the same.
    fn close(&mut self) -> Result<(), Denied> {
        let closed = self.log().close();
        match &closed {
            Ok(()) => self.line.settle(self.line.answered()),
            Err(Denied::SyncFailed { poisoned: true }) => return closed,
            Err(_) => self.refused = true,
        }
        self.open().map_err(Denied::Other)
    }

    fn takes_nothing_more(&mut self) -> Result<(), String> {
        let never = [Change::Put(
            1,
            Value {
                number: u32::MAX - 1,
                len: 8,
            },
        )];
        let log = self.log();
        let refusals = [
            log.append(&never).map(drop),
            log.sync(),
            log.reclaim(),
            log.hand_over(),
            log.append(&never).map(drop),
        ];
        match refusals.iter().find(|refusal| !matches!(refusal, Err(Denied::Ended))) {
            None => Ok(()),
            Some(taken) => Err(format!("poisoned, and yet: {taken:?}")),
        }
    }

    /// All that was acknowledged is shown, and of the append that failed all or nothing. Where bytes are gathered there may be
    /// an error in its place.
    fn goes_on_reading(&mut self) -> Result<(), String> {
        if !self.ground.gathers() {
            return self.shows_all().map(drop);
        }
        let (mut seen, left) = (Seen::default(), self.line.left(false));
        let outcome = self.log().observe(&mut seen);
        if left.possible().iter().any(|state| state.live == seen.records) {
            return Ok(());
        }
        Err(format!("{:?} shown, {outcome:?}", seen.records))
    }

    fn shows_nothing_wrong(&mut self) -> Result<(), String> {
        let (mut seen, left) = (Seen::default(), self.line.left(true));
        // What was read up to an error is in `seen`.
        let _ = self.log().observe(&mut seen);
        let known = |record| left.possible().iter().any(|state| state.live.contains(record));
        match seen.records.iter().find(|record| !known(record)) {
            None => Ok(()),
            Some(wrong) => Err(format!("behind the cache: {wrong:?}")),
        }
    }
}

fn judged<L: Subject>(log: &mut L, line: &Line, power_loss: bool) -> Result<Rc<State>, String> {
    let mut seen = Seen::default();
    log.observe(&mut seen)?;
    log.compare(&seen)?;
    line.left(power_loss).judge(&seen).map_err(|wrong| format!("{wrong:?}"))
}
