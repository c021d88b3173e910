//! The command line.

use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Options {
    /// Where the scratch directory is made; the build's own one if `None`.
    pub(crate) dir: Option<PathBuf>,
    pub(crate) rounds: usize,
    /// How long one row runs in one round.
    pub(crate) window: Duration,
    filter: Option<String>,
}

impl Options {
    /// Reads the arguments behind the program's name. Without `--bench`, which `cargo bench` passes, the default is
    /// one short round: `cargo test --benches` then only shows that every row still runs.
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut dir = None;
        let mut rounds = None;
        let mut filter = None;
        let mut quick = false;
        let mut bench = false;
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--bench" => bench = true,
                "--quick" => quick = true,
                "--dir" => dir = Some(PathBuf::from(arguments.next().ok_or("--dir needs a directory")?)),
                "--rounds" => {
                    let count = arguments
                        .next()
                        .and_then(|count| count.parse().ok())
                        .filter(|count| *count > 0);
                    rounds = Some(count.ok_or("--rounds needs a number from 1")?);
                }
                option if option.starts_with('-') => {
                    return Err(format!(
                        "unknown option {option}; there are --dir DIR, --rounds N, --quick and a part of a row's name"
                    ));
                }
                _ if filter.is_some() => return Err(String::from("more than one filter")),
                _ => filter = Some(argument),
            }
        }
        let (default_rounds, window_ms) = match (bench, quick) {
            (false, _) => (1, 20),
            (true, true) => (3, 60),
            (true, false) => (9, 250),
        };
        Ok(Self {
            dir,
            rounds: rounds.unwrap_or(default_rounds),
            window: Duration::from_millis(window_ms),
            filter,
        })
    }

    /// Whether the filter is a part of this name, or absent.
    pub(crate) fn selects(&self, name: &str) -> bool {
        self.filter.as_ref().is_none_or(|filter| name.contains(filter.as_str()))
    }
}
