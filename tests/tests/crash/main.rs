//! The crash simulator in short form. The same in long form: `cargo run --release -p walstone-tests --bin crashsim`.

mod bounds;
mod cuts;
mod files;
mod kill;
mod regressions;
mod words;

use walstone_tests::crash::explore::{Explorer, Failure, telling_limits};

/// Runs a part of an exploration; panics with the history that breaks a promise.
fn check(depth: u8, act: impl FnOnce(&mut Explorer) -> Result<(), Failure>) -> Explorer {
    let mut explorer = Explorer::new(telling_limits(1), depth);
    if let Err(failure) = act(&mut explorer) {
        panic!("{failure}");
    }
    explorer
}
