//! The lines that a log holds, by number.

use std::slice::Iter;

use walstone::View;
use walstone_examples::arguments::Failure;

use crate::LINES;

/// Lines by rising number, lent from the log.
#[derive(Debug)]
pub(crate) struct Held<'v> {
    lines: Vec<(u64, &'v [u8])>,
}

impl<'v> Held<'v> {
    /// Reads all lines of a region.
    pub(crate) fn of(view: &'v View) -> Result<Self, Failure> {
        let mut lines = Vec::new();
        for record in view.read(LINES, ..) {
            let record = record?;
            let number = record.index.filter(|&number| number > 0);
            let number =
                number.ok_or_else(|| format!("record {} is not a line: another program's log", record.sequence))?;
            lines.push((number, record.value));
        }
        // They stand nearly in order: appenders overtake each other by a few lines.
        lines.sort_by_key(|&(number, _)| number);
        let twice = lines.iter().zip(lines.iter().skip(1)).find(|(one, two)| one.0 == two.0);
        if let Some(((number, _), _)) = twice {
            return Err(format!("the log holds line {number} twice").into());
        }
        Ok(Self { lines })
    }

    pub(crate) fn count(&self) -> u64 {
        self.lines.len() as u64
    }

    pub(crate) fn lines(&self) -> Iter<'_, (u64, &'v [u8])> {
        self.lines.iter()
    }

    /// The first number that is missing before the last one.
    pub(crate) fn first_gap(&self) -> Option<u64> {
        let mut numbers = (1..).zip(&self.lines);
        numbers
            .find(|(expected, (number, _))| expected != number)
            .map(|(expected, _)| expected)
    }
}
