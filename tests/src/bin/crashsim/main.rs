//! Proofs of crash safety that take longer than a test, one subcommand each.
//!
//! ```text
//! crashsim exhaustive [--ci] [--part I/N] [--pairs N] [--most N] [--seed N] [--seconds N]
//! crashsim faults [--ci] [--raw] [--seconds N]
//! crashsim files [--ci] [--raw] [--lies] [--seconds N]
//! crashsim flash [--ci] [--seed N] [--seconds N] [--on NAME]...
//! crashsim flips [--ci] [--seconds N]
//! crashsim kill [--rounds N] [--seed N] [--strace]
//! crashsim mutants [--ci]
//! crashsim random [--seed N] [--count N] [--on NAME]... [--seconds N]
//! ```
//!
//! What ends a run early, `--seconds`, `--most` pairs or its memory, ends it in the middle of whatever it does, and is told:
//! `complete: no`, and how much of each kind was done to its end.
//!
//! `exhaustive` goes on with random histories until it has seen `--pairs`. A complete run is one of 10^9 pairs and
//! more: `--part I/N` takes every N-th word of each kind, so that the parts can run one after the other or on several
//! machines. Each part has a summary of its own; a pair that two of them meet is counted by both.
//!
//! Each ends with one line that sums up, and exits with 0 only if all is well.

mod arguments;
mod exhaustive;
mod faults;
mod files;
mod flash;
mod flips;
mod kill;
mod mutants;
mod random;

use std::process::ExitCode;

use arguments::Arguments;

/// Whether all is well, or why the command line makes no sense.
type Outcome = Result<bool, String>;

type Command = fn(&mut Arguments) -> Outcome;

/// The subcommands by name.
const COMMANDS: &[(&str, Command)] = &[
    ("exhaustive", exhaustive::run),
    ("faults", faults::run),
    ("files", files::run),
    ("flash", flash::run),
    ("flips", flips::run),
    ("kill", kill::run),
    ("kill-child", kill::child),
    ("mutants", mutants::run),
    ("random", random::run),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::of_process();
    let asked = arguments.next();
    let command = COMMANDS.iter().find(|(name, _)| Some(*name) == asked.as_deref());
    let Some((_, run)) = command else {
        let names: Vec<&str> = COMMANDS.iter().map(|(name, _)| *name).collect();
        eprintln!("crashsim wants one of: {}", names.join(", "));
        return ExitCode::from(2);
    };
    match run(&mut arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}
