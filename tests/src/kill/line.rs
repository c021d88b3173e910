//! What a child tells its parent, a line each. A line is one write to a pipe, so it arrives whole or not at all.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

/// The value of one record: nobody else ever appends the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Value {
    pub(super) life: u32,
    pub(super) thread: u32,
    pub(super) number: u32,
}

impl Value {
    /// Its bytes, of a length that depends on its number.
    pub(super) fn bytes(self) -> Vec<u8> {
        let head = [self.life, self.thread, self.number].map(u32::to_le_bytes).concat();
        let fill = (0..self.number.wrapping_mul(37) % 700).map(|at| (at ^ self.number) as u8);
        head.into_iter().chain(fill).collect()
    }

    /// The value that these are the bytes of, if any.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let value = Self {
            life: word(0)?,
            thread: word(4)?,
            number: word(8)?,
        };
        (value.bytes() == bytes).then_some(value)
    }
}

/// What a thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Appends values with these numbers to its table as one batch, which first deletes what the table holds up to
    /// `delete_to`.
    Put {
        region: u64,
        number: u32,
        count: u32,
        delete_to: u64,
    },
    /// Makes a region.
    Make(u64),
    /// Removes a region.
    Remove(u64),
    /// Gives up dead segments, syncs, or closes: nothing that is there changes.
    Keep,
}

/// One line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A thread begins a task.
    Begin(u32, Task),
    /// The task of a thread was acknowledged, with this first sequence where it appended.
    End(u32, u64),
}

impl Line {
    /// Tells it.
    pub(super) fn tell(self) {
        // Nobody listens: the parent is about to kill.
        let _ = io::stdout().write_all(format!("{self}\n").as_bytes());
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin(
                thread,
                Task::Put {
                    region,
                    number,
                    count,
                    delete_to,
                },
            ) => write!(f, "put {thread} {region} {number} {count} {delete_to}"),
            Self::Begin(thread, Task::Make(region)) => write!(f, "make {thread} {region}"),
            Self::Begin(thread, Task::Remove(region)) => write!(f, "remove {thread} {region}"),
            Self::Begin(thread, Task::Keep) => write!(f, "keep {thread}"),
            Self::End(thread, first) => write!(f, "end {thread} {first}"),
        }
    }
}

impl FromStr for Line {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let unknown = || format!("the child says {line:?}");
        let (word, rest) = line.split_once(' ').ok_or_else(unknown)?;
        let numbers: Result<Vec<u64>, _> = rest.split(' ').map(str::parse).collect();
        let numbers = numbers.map_err(|_| unknown())?;
        let thread = numbers[0] as u32;
        Ok(match (word, &numbers[1..]) {
            ("put", &[region, number, count, delete_to]) => {
                let (number, count) = (number as u32, count as u32);
                let put = Task::Put {
                    region,
                    number,
                    count,
                    delete_to,
                };
                Self::Begin(thread, put)
            }
            ("make", &[region]) => Self::Begin(thread, Task::Make(region)),
            ("remove", &[region]) => Self::Begin(thread, Task::Remove(region)),
            ("keep", &[]) => Self::Begin(thread, Task::Keep),
            ("end", &[first]) => Self::End(thread, first),
            _ => return Err(unknown()),
        })
    }
}
