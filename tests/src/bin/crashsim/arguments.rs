//! The command line: names with values, in any order.

use std::env;
use std::str::FromStr;
use std::time::Duration;

use walstone_tests::crash::setup::Setup;
use walstone_tests::deadline::Deadline;

/// What is left of the command line.
#[derive(Debug)]
pub(crate) struct Arguments(env::Args);

impl Iterator for Arguments {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        self.0.next()
    }
}

impl Arguments {
    pub(crate) fn of_process() -> Self {
        let mut args = env::args();
        args.next();
        Self(args)
    }

    /// The value behind `name`.
    pub(crate) fn value<T: FromStr>(&mut self, name: &str) -> Result<T, String> {
        let value = self.next().ok_or_else(|| format!("{name} wants a value"))?;
        value.parse().map_err(|_| format!("{name} does not take {value}"))
    }

    /// The medium behind `name`.
    pub(crate) fn setup(&mut self, name: &str) -> Result<Setup, String> {
        let value: String = self.value(name)?;
        Setup::named(&value).ok_or_else(|| format!("no medium is called {value}"))
    }

    /// The end of so many seconds from now.
    pub(crate) fn end(&mut self, name: &str) -> Result<Deadline, String> {
        Ok(Deadline::in_time(Duration::from_secs(self.value(name)?)))
    }
}
