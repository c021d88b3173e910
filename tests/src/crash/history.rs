//! What a history is made of: operations, words of them, random ones, and the shortest one that still fails.

use super::machine::Plan;
use crate::medium::Phase;
use crate::repeatable::Dice;

/// One operation of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// Appends a small record, written only.
    Small,
    /// Appends a record of about two units, written only.
    TwoUnits,
    /// Appends the largest record there is, for which the rest of most segments is too short.
    Largest,
    /// Appends three records of two tables at once.
    Batch,
    /// Appends records and deletions of two tables at once.
    BatchWithVoids,
    /// Appends a small record and syncs.
    Durable,
    /// Syncs.
    Sync,
    /// Deletes what table 1 holds.
    DeletePrefix,
    /// Deletes what table 1 was ever given.
    DeleteFirst,
    /// Deletes the newest record of table 1.
    TruncateSuffix,
    /// Deletes what table 2 was ever given.
    DeleteOther,
    /// Gives up dead segments.
    Reclaim,
    /// Closes and opens again.
    CloseReopen,
    /// Opens again without closing: the process died, the power stayed.
    Reopen,
    /// The power fails and comes back; of what was pending the middle one of all possible images stays.
    PowerLoss,
    /// Nothing yet: the next sync fails. It may or may not reach what it should make durable, reads still show it, and
    /// no later sync tries again.
    FailSync,
}

impl Op {
    /// The alphabet of the complete exploration.
    pub const NAMED: [Self; 11] = [
        Self::Durable,
        Self::TwoUnits,
        Self::Largest,
        Self::Batch,
        Self::BatchWithVoids,
        Self::Sync,
        Self::Small,
        Self::DeletePrefix,
        Self::TruncateSuffix,
        Self::CloseReopen,
        Self::Reopen,
    ];

    /// All that a word may be made of.
    pub const ALL: [Self; 15] = [
        Self::Durable,
        Self::TwoUnits,
        Self::Largest,
        Self::Batch,
        Self::BatchWithVoids,
        Self::Sync,
        Self::Small,
        Self::DeletePrefix,
        Self::TruncateSuffix,
        Self::CloseReopen,
        Self::Reopen,
        Self::DeleteOther,
        Self::Reclaim,
        Self::PowerLoss,
        Self::FailSync,
    ];
}

/// What happened before a word begins; not explored itself.
pub const PRELUDES: [&[Op]; 6] = [
    &[],
    // A segment that is full.
    &[Op::Largest, Op::Durable, Op::Small],
    // Two segments, the older of which is dead, and a third one that holds little.
    &[Op::Largest, Op::Largest, Op::Sync, Op::DeletePrefix, Op::Durable],
    // A session that cut off a torn tail.
    &[
        Op::Durable,
        Op::TwoUnits,
        Op::TwoUnits,
        Op::PowerLoss,
        Op::Durable,
        Op::Batch,
    ],
    // Deletions that a later manifest must carry.
    &[
        Op::Batch,
        Op::DeletePrefix,
        Op::Largest,
        Op::TruncateSuffix,
        Op::Sync,
        Op::CloseReopen,
    ],
    // As much as a small medium takes.
    &[Op::Largest, Op::Largest, Op::Largest, Op::Largest, Op::Largest],
];

/// All words of one length over an alphabet, in its order.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    alphabet: &'static [Op],
    len: u32,
}

impl Words {
    /// Those of `len` operations.
    #[must_use]
    pub const fn new(alphabet: &'static [Op], len: u32) -> Self {
        Self { alphabet, len }
    }

    /// How many there are.
    #[must_use]
    pub const fn count(self) -> u64 {
        (self.alphabet.len() as u64).pow(self.len)
    }

    /// The one of this number.
    #[must_use]
    pub fn nth(self, mut number: u64) -> Vec<Op> {
        let base = self.alphabet.len() as u64;
        let mut word = Vec::new();
        for _ in 0..self.len {
            word.push(self.alphabet[(number % base) as usize]);
            number /= base;
        }
        word.reverse();
        word
    }

    /// All of them.
    pub fn all(self) -> impl Iterator<Item = Vec<Op>> {
        self.part(0, 1)
    }

    /// One of `of` parts, 0 being the first. Words that differ in the last operation alone share most of their images, and
    /// are of one part.
    pub fn part(self, nth: u64, of: u64) -> impl Iterator<Item = Vec<Op>> {
        let last = self.alphabet.len() as u64;
        let is_meant = move |number: &u64| number / last % of == nth;
        (0..self.count()).filter(is_meant).map(move |number| self.nth(number))
    }

    /// So many of them, each another one, spread over all by a seed.
    pub fn some(self, count: u64, seed: u64) -> impl Iterator<Item = Vec<Op>> {
        // A prime step meets every number once, unless the alphabet has that many letters.
        const STEP: u64 = 1_000_003;
        let start = Dice::new(&[seed]).below(self.count());
        let number = move |nth: u64| (start + nth * STEP) % self.count();
        (0..count.min(self.count())).map(move |nth| self.nth(number(nth)))
    }
}

/// One step of a random history.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// An operation, as long as the process lives.
    Do(Op),
    /// Something is to go wrong.
    Plan(Plan),
    /// The process ends, if it did not yet, and all that may be left is looked at. Another one finds some of it.
    End {
        /// By a loss of power, else by its death.
        power_loss: bool,
        /// Which of the images is found, modulo their number.
        choice: u64,
        /// Whether recoveries are cut short in turn.
        deep: bool,
        /// Where the open that follows is cut short.
        cut: Option<(u64, Phase)>,
    },
}

/// The most operations of a random history.
pub const LONGEST: u64 = 200;

/// The history of a seed: lives of some operations each.
#[must_use]
pub fn random(seed: u64) -> Vec<Step> {
    let mut dice = Dice::new(&[seed]);
    let mut steps = Vec::new();
    let lives = 1 + dice.below(8);
    for _ in 0..lives {
        let ops = dice.below(LONGEST / lives + 1);
        if !dice.one_in(4) {
            let cut = Plan::Crash(1 + dice.below(4 + 4 * ops), *dice.one_of(&Phase::ALL));
            steps.push(Step::Plan(cut));
        }
        if dice.one_in(3) {
            steps.push(Step::Plan(Plan::FailSync(1 + dice.below(5))));
        }
        steps.extend((0..ops).map(|_| Step::Do(*dice.one_of(&WEIGHTED))));
        loop {
            let cut = dice.one_in(4).then(|| (1 + dice.below(8), *dice.one_of(&Phase::ALL)));
            steps.push(Step::End {
                power_loss: !dice.one_in(3),
                choice: dice.number(),
                deep: dice.one_in(40),
                cut,
            });
            if cut.is_none() {
                break;
            }
        }
    }
    steps
}

/// Operations by how often they come.
const WEIGHTED: [Op; 24] = [
    Op::Small,
    Op::Small,
    Op::Small,
    Op::Small,
    Op::TwoUnits,
    Op::TwoUnits,
    Op::Largest,
    Op::Largest,
    Op::Batch,
    Op::Batch,
    Op::BatchWithVoids,
    Op::BatchWithVoids,
    Op::Durable,
    Op::Durable,
    Op::Sync,
    Op::Sync,
    Op::DeletePrefix,
    Op::DeletePrefix,
    Op::TruncateSuffix,
    Op::DeleteOther,
    Op::Reclaim,
    Op::CloseReopen,
    Op::Reopen,
    Op::PowerLoss,
];

/// A shorter history that still `fails`, without any step that can be left out.
pub fn shrink<T: Clone, F>(steps: &[T], mut fails: impl FnMut(&[T]) -> Option<F>) -> (Vec<T>, Option<F>) {
    let mut steps = steps.to_vec();
    let mut failure = None;
    let mut len = steps.len().div_ceil(2);
    while len > 0 {
        let mut shorter = false;
        let mut from = 0;
        while from < steps.len() {
            let mut rest = steps.clone();
            rest.drain(from..steps.len().min(from + len));
            match fails(&rest) {
                Some(found) => {
                    (steps, failure, shorter) = (rest, Some(found), true);
                }
                None => from += len,
            }
        }
        if len > 1 {
            len = len.div_ceil(2);
        } else if !shorter {
            break;
        }
    }
    (steps, failure)
}
