//! The lines of the input that the log does not hold, numbered from 1. Compares the others with what it holds.

use std::error::Error;
use std::fmt;
use std::io::{self, BufRead, Read};
use std::iter::Peekable;
use std::slice::Iter;

use walstone::Geometry;
use walstone_core::segment::layout::Layout;

use crate::held::Held;

/// Bytes in front of a line in its batch, at most: its length, the table, the flags, and its number.
const RECORD_HEAD_LEN: u32 = 5 + 1 + 1 + 10;

/// Bytes of the longest line that fits a segment, its end included.
pub(crate) const fn max_line_len(geometry: Geometry) -> u32 {
    Layout::new(geometry).max_payload_len().saturating_sub(RECORD_HEAD_LEN)
}

/// An input, and the lines of it that need no append.
pub(crate) struct Source<'h> {
    input: Box<dyn BufRead + Send>,
    held: Peekable<Iter<'h, (u64, &'h [u8])>>,
    last_held: u64,
    line: u64,
    bytes: u64,
    max_line_len: u32,
    ended: bool,
}

impl<'h> Source<'h> {
    pub(crate) fn new(input: Box<dyn BufRead + Send>, held: &'h Held<'h>, max_line_len: u32) -> Self {
        Self {
            input,
            last_held: held.lines().last().map_or(0, |&(number, _)| number),
            held: held.lines().peekable(),
            line: 0,
            bytes: 0,
            max_line_len,
            ended: false,
        }
    }

    /// Puts the next line that the log does not hold into `line`, with its end, and gives its number.
    ///
    /// After an error there are no more lines for anybody: what is left of a line that is too long is not one.
    pub(crate) fn next(&mut self, line: &mut Vec<u8>) -> Result<Option<u64>, InputError> {
        let next = self.next_missing(line);
        self.ended |= next.is_err();
        next
    }

    fn next_missing(&mut self, line: &mut Vec<u8>) -> Result<Option<u64>, InputError> {
        while !self.ended {
            line.clear();
            // One byte more than fits tells a line that does not, without holding all of it.
            let limit = u64::from(self.max_line_len) + 1;
            let len = (&mut self.input)
                .take(limit)
                .read_until(b'\n', line)
                .map_err(InputError::Io)?;
            if len == 0 {
                self.ended = true;
                if self.held.peek().is_some() {
                    return Err(InputError::Shorter {
                        lines: self.line,
                        held: self.last_held,
                    });
                }
                break;
            }
            self.line += 1;
            self.bytes += len as u64;
            if len as u64 == limit {
                return Err(InputError::TooLong {
                    line: self.line,
                    max: self.max_line_len,
                });
            }
            match self.held.next_if(|(number, _)| *number == self.line) {
                Some((_, held)) if held != line => return Err(InputError::Changed { line: self.line }),
                Some(_) => {}
                None => return Ok(Some(self.line)),
            }
        }
        Ok(None)
    }

    /// Gives out no more lines.
    pub(crate) fn stop(&mut self) {
        self.ended = true;
    }

    /// Bytes of the input that were read.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Why an input cannot be read into this log.
#[derive(Debug)]
pub(crate) enum InputError {
    Io(io::Error),
    TooLong { line: u64, max: u32 },
    Changed { line: u64 },
    Shorter { lines: u64, held: u64 },
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "cannot read the input: {error}"),
            Self::TooLong { line, max } => {
                write!(
                    f,
                    "line {line} is longer than {max} bytes, the most that fit a segment of this log"
                )
            }
            Self::Changed { line } => write!(
                f,
                "line {line} is not the one that the log holds: the input changed, or is another one, which needs a \
                 root or a region of its own"
            ),
            Self::Shorter { lines, held } => write!(
                f,
                "the input ends behind line {lines}, and the log holds line {held}: the input shrank, or is another \
                 one, which needs a root or a region of its own"
            ),
        }
    }
}

impl Error for InputError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}
