//! The oracle: what a log must hold after each change, and what may be found after a crash. Knows neither bytes,
//! frames nor segments.

use std::collections::BTreeMap;
use std::rc::Rc;

/// A value by its number: no two of one history are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
        let fill = (4..self.len).map(|at| (self.number.wrapping_mul(31).wrapping_add(at) % 251) as u8);
        number.into_iter().chain(fill).collect()
    }
}

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

/// What a log holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    /// The last sequence given.
    pub last: u64,
    /// By sequence: table and value.
    pub live: BTreeMap<u64, (u64, Value)>,
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
                    state.live.insert(state.last, (table, value));
                }
                Change::DeleteUpTo(table, to) => state.live.retain(|&at, &mut (of, _)| of != table || at > to),
                Change::TruncateFrom(table, from) => state.live.retain(|&at, &mut (of, _)| of != table || at < from),
            }
        }
        state
    }

    /// The highest live sequence of a table.
    #[must_use]
    pub fn last_of(&self, table: u64) -> Option<u64> {
        let mut newest = self.live.iter().rev();
        newest.find(|(_, (of, _))| *of == table).map(|(&at, _)| at)
    }
}

/// What an opened log shows: its last sequence, and sequence, table and bytes of each record in the order of reading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The last sequence given.
    pub last: u64,
    /// Sequence, table, value.
    pub records: Vec<(u64, u64, Vec<u8>)>,
}

impl Seen {
    fn is(&self, state: &State) -> bool {
        self.last == state.last
            && self.records.len() == state.live.len()
            && self
                .records
                .iter()
                .zip(&state.live)
                .all(|(seen, (&sequence, &(table, value)))| {
                    seen.0 == sequence && seen.1 == table && seen.2 == value.bytes()
                })
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

    /// What may be found where the process died and the power stayed: all that the log took.
    #[must_use]
    pub fn written(&self) -> &[Rc<State>] {
        &self.states[self.answered..]
    }

    /// The states that may be found after a loss of power.
    #[must_use]
    pub fn possible(&self) -> &[Rc<State>] {
        &self.states[self.durable..]
    }

    /// Which of the possible states was found.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn judge(&self, possible: &[Rc<State>], seen: &Seen) -> Result<Rc<State>, Wrong> {
        // The longest first: equal states are the same whichever append led there.
        match possible.iter().rev().find(|state| seen.is(state)) {
            Some(state) => Ok(state.clone()),
            None => Err(self.name(possible, seen)),
        }
    }

    fn name(&self, possible: &[Rc<State>], seen: &Seen) -> Wrong {
        if seen.records.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
            return Wrong::Twice;
        }
        let known = |record: &(u64, u64, Vec<u8>), states: &[Rc<State>]| {
            states.iter().any(|state| {
                let known = state.live.get(&record.0);
                known.is_some_and(|(table, value)| *table == record.1 && value.bytes() == record.2)
            })
        };
        if seen.records.iter().any(|record| !known(record, &self.states)) {
            return Wrong::NeverWritten;
        }
        let kept = |sequence: &u64| possible.iter().all(|state| state.live.contains_key(sequence));
        let found = |sequence: &u64| seen.records.iter().any(|record| record.0 == *sequence);
        let mut durable = possible[0].live.keys();
        if durable.any(|sequence| kept(sequence) && !found(sequence)) {
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
