//! Starting other programs beside tests that count free bytes.
//!
//! Until it runs its own program, a child holds all files that were open here, removed ones too: their space is not free,
//! and what they are mounted from is busy.

use std::cell::Cell;
use std::io;
use std::process::{Command, Output, Stdio};
use std::sync::{PoisonError, RwLock, RwLockWriteGuard};

/// Held by whoever starts a program, until that runs; by one alone where no child may be.
static STARTING: RwLock<()> = RwLock::new(());

thread_local! {
    static IS_ALONE: Cell<bool> = const { Cell::new(false) };
}

/// As long as this lives, no other thread starts a program by way of [`run`].
pub(crate) struct Alone(#[expect(dead_code, reason = "held for its drop alone")] RwLockWriteGuard<'static, ()>);

impl Alone {
    pub(crate) fn wait() -> Self {
        let alone = STARTING.write().unwrap_or_else(PoisonError::into_inner);
        IS_ALONE.set(true);
        Self(alone)
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        IS_ALONE.set(false);
    }
}

/// As [`Command::output`].
pub(crate) fn run(command: &mut Command) -> io::Result<Output> {
    let command = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = {
        let _starting = (!IS_ALONE.get()).then(|| STARTING.read());
        command.spawn()?
    };
    child.wait_with_output()
}
