//! What a history is made of: operations, words of them, and how many there are.

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
    /// The next sync but one fails: it loses what it should have made durable and reads still show it.
    FailSync,
}

impl Op {
    /// The alphabet of exhaustive exploration.
    pub const ALL: [Self; 14] = [
        Self::Small,
        Self::TwoUnits,
        Self::Largest,
        Self::Batch,
        Self::BatchWithVoids,
        Self::Durable,
        Self::Sync,
        Self::DeletePrefix,
        Self::TruncateSuffix,
        Self::DeleteOther,
        Self::Reclaim,
        Self::CloseReopen,
        Self::Reopen,
        Self::PowerLoss,
    ];
}

/// What happened before a word begins; not explored itself.
pub const PRELUDES: [&[Op]; 5] = [
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
];

/// All words of one length over an alphabet.
#[derive(Clone, Debug)]
pub struct Words<'a> {
    alphabet: &'a [Op],
    digits: Vec<usize>,
    done: bool,
}

impl<'a> Words<'a> {
    /// From the first to the last in the order of the alphabet.
    #[must_use]
    pub fn new(alphabet: &'a [Op], len: usize) -> Self {
        Self {
            alphabet,
            digits: vec![0; len],
            done: alphabet.is_empty(),
        }
    }
}

impl Iterator for Words<'_> {
    type Item = Vec<Op>;

    fn next(&mut self) -> Option<Vec<Op>> {
        if self.done {
            return None;
        }
        let word = self.digits.iter().map(|&digit| self.alphabet[digit]).collect();
        self.done = true;
        for digit in self.digits.iter_mut().rev() {
            if *digit + 1 < self.alphabet.len() {
                *digit += 1;
                self.done = false;
                break;
            }
            *digit = 0;
        }
        Some(word)
    }
}
