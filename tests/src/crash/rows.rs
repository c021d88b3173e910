//! What recoveries met: the rows of the rules for the end of a log, and what goes with them.

use std::fmt;

/// One thing that may be met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Row {
    /// Rule 1: a resume frame cut off what an earlier session left.
    Healed,
    /// Rule 3 behind a close frame.
    Closed,
    /// Rule 3.
    Clean,
    /// Rule 4.
    Torn,
    /// The session after went on in the segment that the open found newest.
    WentOn,
    /// It began a new segment.
    NewSegment,
    /// Nothing was there: a region was made.
    Made,
    /// An interrupted making of a region was made good.
    MadeAgain,
    /// Bytes that were perhaps not durable were made so.
    Settled,
    /// Segments were removed.
    Removed,
    /// Unreadable slots were released.
    Released,
    /// The log had several segments.
    SeveralSegments,
    /// It was full, and took records again once some were deleted.
    Full,
    /// A planned crash came.
    Crashed,
    /// A failed sync poisoned the log.
    Poisoned,
    /// The future of an operation was dropped.
    Dropped,
    /// Flash was programmed where the first program of an earlier session had left no trace.
    Repeated,
}

impl Row {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Healed,
        Self::Closed,
        Self::Clean,
        Self::Torn,
        Self::WentOn,
        Self::NewSegment,
        Self::Made,
        Self::MadeAgain,
        Self::Settled,
        Self::Removed,
        Self::Released,
        Self::SeveralSegments,
        Self::Full,
        Self::Crashed,
        Self::Poisoned,
        Self::Dropped,
        Self::Repeated,
    ];
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Healed => "rule 1: a resume frame cuts a tail off",
            Self::Closed => "rule 3: clean end behind a close frame",
            Self::Clean => "rule 3: clean end",
            Self::Torn => "rule 4: torn tail",
            Self::WentOn => "the session went on in the segment",
            Self::NewSegment => "the session began a new segment",
            Self::Made => "a region was made",
            Self::MadeAgain => "a region was made again",
            Self::Settled => "bytes were settled",
            Self::Removed => "segments were removed",
            Self::Released => "unreadable slots were released",
            Self::SeveralSegments => "the log had several segments",
            Self::Full => "the log was full",
            Self::Crashed => "a planned crash came",
            Self::Poisoned => "a failed sync poisoned the log",
            Self::Dropped => "a future was dropped",
            Self::Repeated => "a program without a trace was repeated",
        })
    }
}

/// How often each was met.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hits([u64; Row::ALL.len()]);

impl Hits {
    /// Once more.
    pub const fn hit(&mut self, row: Row) {
        self.0[row as usize] += 1;
    }

    /// How often so far.
    #[must_use]
    pub const fn of(&self, row: Row) -> u64 {
        self.0[row as usize]
    }

    /// Takes in those of another thread.
    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(mine, more)| *mine += more);
    }
}

impl fmt::Display for Hits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = Row::ALL.iter();
        rows.try_for_each(|&row| writeln!(f, "{:>12}  {row}", self.of(row)))
    }
}
