//! Sits between the log and the operating system: counts, holds and breaks calls.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use walstone::seam::{Call, FileId, Observer, Verdict};

/// An observer that does nothing until it is told.
#[derive(Default)]
pub(crate) struct Watch {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    names: HashMap<FileId, PathBuf>,
    syncs: Vec<PathBuf>,
    /// Calls that change a file, a name or what is durable.
    changes: Vec<String>,
    fails: Option<String>,
    /// Only the next one fails.
    fails_once: bool,
    fails_stores: bool,
    holds: Option<String>,
    held: usize,
}

/// Longer than anything here takes; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

impl Watch {
    /// File syncs so far.
    pub(crate) fn syncs(&self) -> usize {
        self.state.lock().unwrap().syncs.len()
    }

    /// File syncs so far of files whose path contains `part`.
    pub(crate) fn syncs_of(&self, part: &str) -> usize {
        let state = self.state.lock().unwrap();
        state.syncs.iter().filter(|path| contains(path, part)).count()
    }

    /// Whatever changed anything so far.
    pub(crate) fn changes(&self) -> Vec<String> {
        self.state.lock().unwrap().changes.clone()
    }

    /// From now on file syncs fail where the path contains `part`.
    pub(crate) fn fail_syncs(&self, part: &str) {
        self.state.lock().unwrap().fails = Some(part.into());
    }

    /// The next file sync fails where the path contains `part`; later ones say yes, as the system would.
    pub(crate) fn fail_syncs_once(&self, part: &str) {
        let mut state = self.state.lock().unwrap();
        state.fails = Some(part.into());
        state.fails_once = true;
    }

    /// From now on stores fail.
    pub(crate) fn fail_stores(&self) {
        self.state.lock().unwrap().fails_stores = true;
    }

    pub(crate) fn fail_nothing(&self) {
        let mut state = self.state.lock().unwrap();
        state.fails = None;
        state.fails_stores = false;
    }

    /// From now on file syncs wait where the path contains `part`.
    pub(crate) fn hold_syncs(&self, part: &str) {
        self.state.lock().unwrap().holds = Some(part.into());
    }

    /// Lets held syncs go on.
    pub(crate) fn release(&self) {
        self.state.lock().unwrap().holds = None;
        self.changed.notify_all();
    }

    /// Waits until nothing was changed for a while: the background thread is done, if it gets to run at all.
    pub(crate) fn wait_quiet(&self) {
        let (mut seen, mut looks) = (0, 0);
        while looks < 4 {
            std::thread::sleep(Duration::from_millis(30));
            let changes = self.state.lock().unwrap().changes.len();
            looks = if changes == seen { looks + 1 } else { 0 };
            seen = changes;
        }
    }

    /// Waits until so many calls are held.
    pub(crate) fn wait_held(&self, count: usize) {
        let state = self.state.lock().unwrap();
        let waits = |state: &mut State| state.held < count;
        let (_state, timeout) = self.changed.wait_timeout_while(state, PATIENCE, waits).unwrap();
        assert!(!timeout.timed_out(), "nobody syncs");
    }

    /// Waits until there were so many file syncs.
    pub(crate) fn wait_syncs(&self, count: usize) {
        let state = self.state.lock().unwrap();
        let waits = |state: &mut State| state.syncs.len() < count;
        let (state, timeout) = self.changed.wait_timeout_while(state, PATIENCE, waits).unwrap();
        assert!(!timeout.timed_out(), "{} syncs, not {count}", state.syncs.len());
    }
}

fn contains(path: &Path, part: &str) -> bool {
    path.to_string_lossy().contains(part)
}

/// The path behind a rename of itself or of a directory above it.
fn moved(path: &Path, from: &Path, to: &Path) -> Option<PathBuf> {
    let rest = path.strip_prefix(from).ok()?;
    Some(if rest.as_os_str().is_empty() {
        to.into()
    } else {
        to.join(rest)
    })
}

impl Observer for Watch {
    fn before(&self, call: &Call<'_>) -> io::Result<Verdict> {
        let mut state = self.state.lock().unwrap();
        let name = |state: &State, file: &FileId| state.names.get(file).cloned().unwrap_or_default();
        match call {
            Call::Create { path, file } | Call::Open { path, file, .. } => {
                state.names.insert(*file, path.to_path_buf());
            }
            Call::Rename { from, to } => {
                for path in state.names.values_mut() {
                    if let Some(to) = moved(path, from, to) {
                        *path = to;
                    }
                }
            }
            _ => {}
        }
        match call {
            Call::Create { .. }
            | Call::SetLen { .. }
            | Call::Write { .. }
            | Call::Store { .. }
            | Call::SyncFile { .. }
            | Call::SyncDir { .. }
            | Call::Rename { .. }
            | Call::Unlink { .. }
            | Call::MakeDir { .. }
            | Call::RemoveDir { .. } => state.changes.push(format!("{call:?}")),
            _ => {}
        }
        if state.fails_stores && matches!(call, Call::Store { .. }) {
            return Err(io::Error::from_raw_os_error(5));
        }
        let Call::SyncFile { file } = call else {
            return Ok(Verdict::Proceed);
        };
        let path = name(&state, file);
        state.syncs.push(path.clone());
        let hit = |part: &Option<String>| part.as_ref().is_some_and(|part| contains(&path, part));
        if hit(&state.holds) {
            state.held += 1;
            self.changed.notify_all();
            let held = |state: &mut State| hit(&state.holds);
            state = self.changed.wait_timeout_while(state, PATIENCE, held).unwrap().0;
            state.held -= 1;
        }
        self.changed.notify_all();
        if hit(&state.fails) {
            if state.fails_once {
                state.fails = None;
            }
            return Err(io::Error::from_raw_os_error(5));
        }
        Ok(Verdict::Proceed)
    }
}
