//! The oracle: what a log must hold after each change, and what may be found after a crash. Knows neither bytes,
//! frames nor segments.

use std::rc::Rc;

use crate::repeatable::Digest;

/// A value by its number: no two of one history are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Value {
    /// Unique in its history, over all its lives.
    pub number: u32,
    /// Bytes, at least four.
    pub len: u32,
}

impl Value {
    /// The bytes that are appended.
    #[must_use]
    pub fn bytes(self) -> Vec<u8> {
        let number = self.number.to_le_bytes();
        number.into_iter().chain(self.fill().iter().copied()).collect()
    }

    /// The value that these are the bytes of, if any.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (number, fill) = bytes.split_first_chunk()?;
        let value = Self {
            number: u32::from_le_bytes(*number),
            len: u32::try_from(bytes.len()).ok()?,
        };
        (fill.len() <= LONGEST && fill == value.fill()).then_some(value)
    }

    fn fill(self) -> &'static [u8] {
        let start = (self.number.wrapping_mul(31) % 251) as usize;
        &PATTERN[start..][..self.len as usize - 4]
    }
}

/// Bytes of the longest value, less its number.
const LONGEST: usize = 1 << 16;

/// A run of bytes that no shift by less than its period maps to itself.
static PATTERN: [u8; LONGEST + 251] = {
    let mut pattern = [0; LONGEST + 251];
    let mut at = 0;
    while at < pattern.len() {
        pattern[at] = (at % 251) as u8;
        at += 1;
    }
    pattern
};

/// One operation of an atomic append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A record of this table.
    Put(u64, Value),
    /// The records of this table up to this sequence are deleted.
    DeleteUpTo(u64, u64),
    /// The records of this table from this sequence on are deleted.
    TruncateFrom(u64, u64),
}

/// A record, as it must be or as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its sequence.
    pub sequence: u64,
    /// Its table.
    pub table: u64,
    /// Its value; `None` where its bytes are those of no value.
    pub value: Option<Value>,
}

/// What a log holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The last sequence given.
    pub last: u64,
    /// By rising sequence.
    pub live: Vec<Record>,
    digest: u64,
}

impl State {
    /// The state behind an atomic append.
    #[must_use]
    pub fn after(&self, changes: &[Change]) -> Self {
        let mut state = self.clone();
        for &change in changes {
            match change {
                Change::Put(table, value) => {
                    state.last += 1;
                    state.live.push(Record {
                        sequence: state.last,
                        table,
                        value: Some(value),
                    });
                }
                Change::DeleteUpTo(table, to) => state
                    .live
                    .retain(|record| record.table != table || record.sequence > to),
                Change::TruncateFrom(table, from) => state
                    .live
                    .retain(|record| record.table != table || record.sequence < from),
            }
        }
        let mut digest = Digest::default();
        digest.number(state.last);
        for record in &state.live {
            let Value { number, len } = record.value.unwrap_or_default();
            digest.number(record.sequence << 32 | record.table);
            digest.number(u64::from(number) << 32 | u64::from(len));
        }
        state.digest = digest.finish();
        state
    }

    /// The highest live sequence of a table.
    #[must_use]
    pub fn last_of(&self, table: u64) -> Option<u64> {
        let mut newest = self.live.iter().rev();
        newest
            .find(|record| record.table == table)
            .map(|record| record.sequence)
    }

    fn holds(&self, record: &Record) -> bool {
        let at = self.live.binary_search_by_key(&record.sequence, |held| held.sequence);
        at.is_ok_and(|at| self.live[at] == *record)
    }
}

/// What an opened log shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The last sequence given.
    pub last: u64,
    /// In the order of reading.
    pub records: Vec<Record>,
}

impl Seen {
    fn is(&self, state: &State) -> bool {
        self.last == state.last && self.records == state.live
    }

    /// Empties it.
    pub fn clear(&mut self) {
        self.last = 0;
        self.records.clear();
    }
}

/// The states that the issued appends of one life lead through, and how many of them no crash may undo.
#[derive(Clone, Debug)]
pub struct Line {
    /// First what the life began with, then what each append led to.
    states: Vec<Rc<State>>,
    /// Of those that the log said it took; the last one may be under way.
    answered: usize,
    durable: usize,
}

/// What a recovery did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wrong {
    /// A record that was never appended, or not with these bytes at this sequence.
    NeverWritten,
    /// A sequence twice, or out of order.
    Twice,
    /// The last sequence lies before one that was durable.
    WentBack,
    /// A durable record is missing.
    DurableLost,
    /// A record whose deletion was durable.
    DeletedCameBack,
    /// Each record is right, but they are no prefix of what was issued, or a batch is there in part.
    NotAPrefix,
}

impl Line {
    /// A life that begins with `state`, all of it durable.
    #[must_use]
    pub fn new(state: Rc<State>) -> Self {
        Self {
            states: vec![state],
            answered: 0,
            durable: 0,
        }
    }

    /// What was issued last leads here.
    #[must_use]
    pub fn newest(&self) -> &Rc<State> {
        &self.states[self.states.len() - 1]
    }

    /// Appends that the log took.
    #[must_use]
    pub const fn answered(&self) -> usize {
        self.answered
    }

    /// An append is under way.
    pub fn issue(&mut self, changes: &[Change]) {
        let state = self.newest().after(changes);
        self.states.push(Rc::new(state));
    }

    /// The log took it.
    pub const fn answer(&mut self) {
        self.answered = self.states.len() - 1;
    }

    /// The log refused it and is as it was.
    pub fn refuse(&mut self) {
        self.states.truncate(self.answered + 1);
    }

    /// The first `count` appends are durable.
    pub fn settle(&mut self, count: usize) {
        self.durable = self.durable.max(count);
    }

    /// What the next process must find if this one ends now: by a loss of power, which may take what is not durable,
    /// or by a death that takes nothing which the log took.
    #[must_use]
    pub fn left(&self, power_loss: bool) -> Found {
        let found = Found::new(self.states.clone().into(), self.durable, self.answered);
        if power_loss { found.after_power_loss() } else { found }
    }
}

/// What a process must find: one of the last states of the life before it.
#[derive(Clone, Debug)]
pub struct Found {
    states: Rc<[Rc<State>]>,
    /// The first state that a loss of power may lead back to.
    durable: usize,
    from: usize,
    digest: u64,
}

impl Found {
    fn new(states: Rc<[Rc<State>]>, durable: usize, from: usize) -> Self {
        let mut digest = Digest::default();
        digest.number((from - durable) as u64);
        states[durable..].iter().for_each(|state| digest.number(state.digest));
        Self {
            digest: digest.finish(),
            states,
            durable,
            from,
        }
    }

    /// The same, behind an atomic append to whichever it is.
    #[must_use]
    pub fn after(&self, changes: &[Change]) -> Self {
        let states = self.possible().iter().map(|state| Rc::new(state.after(changes)));
        Self::new(states.collect(), 0, 0)
    }

    /// The same, if the power fails before a process opened the log.
    #[must_use]
    pub fn after_power_loss(&self) -> Self {
        Self::new(self.states.clone(), self.durable, self.durable)
    }

    /// Only this.
    #[must_use]
    pub fn only(state: Rc<State>) -> Self {
        Self::new([state].into(), 0, 0)
    }

    /// The states that may be found.
    #[must_use]
    pub fn possible(&self) -> &[Rc<State>] {
        &self.states[self.from..]
    }

    /// The same for the same possible states.
    #[must_use]
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    /// Which of the possible states was found.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn judge(&self, seen: &Seen) -> Result<Rc<State>, Wrong> {
        // The longest first: equal states are the same whichever append led there.
        match self.possible().iter().rev().find(|state| seen.is(state)) {
            Some(state) => Ok(state.clone()),
            None => Err(self.name(seen)),
        }
    }

    fn name(&self, seen: &Seen) -> Wrong {
        let possible = self.possible();
        if seen.records.windows(2).any(|pair| pair[0].sequence >= pair[1].sequence) {
            return Wrong::Twice;
        }
        let known = |record: &Record, states: &[Rc<State>]| states.iter().any(|state| state.holds(record));
        if seen.records.iter().any(|record| !known(record, &self.states)) {
            return Wrong::NeverWritten;
        }
        let kept = |record: &&Record| possible.iter().all(|state| state.holds(record));
        let mut durable = possible[0].live.iter().filter(kept);
        if durable.any(|record| !seen.records.contains(record)) {
            return Wrong::DurableLost;
        }
        if seen.records.iter().any(|record| !known(record, possible)) {
            return Wrong::DeletedCameBack;
        }
        if seen.last < possible[0].last {
            return Wrong::WentBack;
        }
        Wrong::NotAPrefix
    }
}
