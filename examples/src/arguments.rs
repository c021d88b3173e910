//! Command-line arguments: `--name`, `--name value` and operands, in any order; `--` ends the options.

use std::error::Error;
use std::ffi::OsString;
use std::fmt::Display;
use std::process::ExitCode;
use std::str::FromStr;

/// What ends a program early, in words.
pub type Failure = Box<dyn Error + Send + Sync>;

/// One argument.
#[derive(Debug)]
pub enum Argument {
    /// `--name`, with its dashes.
    Option(String),
    /// Anything else.
    Operand(OsString),
}

/// The arguments that are left.
#[derive(Debug)]
pub struct Arguments<I> {
    rest: I,
    operands_only: bool,
}

impl Arguments<std::env::ArgsOs> {
    /// The arguments of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let mut rest = std::env::args_os();
        rest.next();
        Self {
            rest,
            operands_only: false,
        }
    }
}

impl<I: Iterator<Item = OsString>> Arguments<I> {
    /// The value of the option `name`: the argument behind it.
    ///
    /// # Errors
    /// There is none.
    pub fn value(&mut self, name: &str) -> Result<OsString, Failure> {
        self.rest.next().ok_or_else(|| format!("{name} needs a value").into())
    }

    /// The value of the option `name`, parsed.
    ///
    /// # Errors
    /// There is none, or it does not parse.
    pub fn parsed<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<T, Failure> {
        let value = self.value(name)?;
        let text = value.to_str().ok_or_else(|| format!("{name}: not a text"))?;
        text.parse().map_err(|error| format!("{name} {text}: {error}").into())
    }
}

impl<I: Iterator<Item = OsString>> Iterator for Arguments<I> {
    type Item = Argument;

    fn next(&mut self) -> Option<Argument> {
        let next = self.rest.next()?;
        match next.to_str() {
            Some("--") if !self.operands_only => {
                self.operands_only = true;
                self.next()
            }
            // A dash alone names the standard input.
            Some(text) if !self.operands_only && text.starts_with('-') && text != "-" => {
                Some(Argument::Option(text.to_owned()))
            }
            _ => Some(Argument::Operand(next)),
        }
    }
}

/// The error of an option that the program does not know.
#[must_use]
pub fn unknown(option: &str, usage: &str) -> Failure {
    format!("unknown option {option}\n{usage}").into()
}

/// Prints what ended the program and gives its exit code, 2. A reader of the output that went away is no failure.
#[must_use]
pub fn end(program: &str, failure: &Failure) -> ExitCode {
    let broken_pipe = |error: &std::io::Error| error.kind() == std::io::ErrorKind::BrokenPipe;
    if failure.downcast_ref().is_some_and(broken_pipe) {
        return ExitCode::SUCCESS;
    }
    eprintln!("{program}: {failure}");
    ExitCode::from(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_end_at_two_dashes() {
        let rest = ["--root", "x", "-", "file", "--", "--read", "--"].map(OsString::from);
        let mut arguments = Arguments {
            rest: rest.into_iter(),
            operands_only: false,
        };
        assert!(matches!(arguments.next(), Some(Argument::Option(name)) if name == "--root"));
        assert_eq!(arguments.value("--root").unwrap(), "x");
        for operand in ["-", "file", "--read", "--"] {
            assert!(matches!(arguments.next(), Some(Argument::Operand(found)) if found == operand));
        }
        assert!(arguments.next().is_none());
    }

    #[test]
    fn a_number_must_be_one() {
        let mut arguments = Arguments {
            rest: ["7", "x"].map(OsString::from).into_iter(),
            operands_only: false,
        };
        assert_eq!(arguments.parsed::<u64>("--region").unwrap(), 7);
        assert!(
            arguments
                .parsed::<u64>("--region")
                .unwrap_err()
                .to_string()
                .starts_with("--region x: ")
        );
        assert!(arguments.parsed::<u64>("--region").is_err());
    }
}
