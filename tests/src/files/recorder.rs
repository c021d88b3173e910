//! Sits in the seam of the std backend and takes down every change of the file system.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use walstone::seam::{Call, Observer, Verdict};

use super::step::Step;

/// Records what is changed below one directory.
#[derive(Debug)]
pub struct Recorder {
    base: PathBuf,
    background: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    steps: Vec<Step>,
    /// Where the sync of each thread began.
    begun: HashMap<ThreadId, usize>,
}

impl Recorder {
    /// For changes below `base`. Without `background` the log's own thread is refused every change, so that a
    /// history makes the same steps each time: what that thread prepares the appender then does itself.
    #[must_use]
    pub fn new(base: &Path, background: bool) -> Self {
        Self {
            base: base.to_owned(),
            background,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The steps so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.state().steps.len()
    }

    /// Everything recorded.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        self.state().steps.clone()
    }

    /// None for what lies beside the base: it is taken as durable.
    fn relative(&self, path: &Path) -> Option<PathBuf> {
        path.strip_prefix(&self.base).ok().map(Path::to_owned)
    }

    /// The step that a call is; none where it changes nothing.
    fn step(&self, call: &Call<'_>, begun: usize) -> Option<Step> {
        Some(match *call {
            Call::Create { path, file } => Step::Open {
                path: self.relative(path)?,
                file: file.0,
                create: true,
            },
            Call::Open { path, file, writable } => Step::Open {
                path: self.relative(path)?,
                file: file.0,
                create: writable,
            },
            Call::SetLen { file, len } => Step::SetLen { file: file.0, len },
            Call::Write { file, offset, data } => Step::Write {
                file: file.0,
                offset,
                data: data.to_owned(),
            },
            Call::Store { file, offset, data } => Step::Write {
                file: file.0,
                offset: offset.into(),
                data: data.to_owned(),
            },
            Call::Rename { from, to } => Step::Rename {
                from: self.relative(from)?,
                to: self.relative(to)?,
            },
            Call::Unlink { path } => Step::Unlink(self.relative(path)?),
            Call::MakeDir { path } => Step::MakeDir(self.relative(path)?),
            Call::RemoveDir { path } => Step::RemoveDir(self.relative(path)?),
            Call::SyncFile { file } => Step::SyncFile { file: file.0, begun },
            Call::SyncDir { path } => Step::SyncDir {
                path: self.relative(path)?,
                begun,
            },
            Call::Lock { .. }
            | Call::Unlock { .. }
            | Call::Len { .. }
            | Call::Read { .. }
            | Call::FindData { .. }
            | Call::Map { .. }
            | Call::StartWriteBack { .. }
            | Call::ListDir { .. }
            | Call::Exists { .. } => return None,
            // A new call changes something until somebody says that it does not.
            ref unknown => panic!("the simulator does not know {unknown:?}"),
        })
    }
}

impl Observer for Recorder {
    fn before(&self, call: &Call<'_>) -> io::Result<Verdict> {
        let step = self.step(call, 0);
        let changes = step.as_ref().is_some_and(|step| !matches!(step, Step::Open { .. }));
        let creates = matches!(call, Call::Create { .. });
        if !self.background && (changes || creates) && thread::current().name() == Some("walstone") {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if step.is_some_and(|step| step.is_sync()) {
            let mut state = self.state();
            let begun = state.steps.len();
            state.begun.insert(thread::current().id(), begun);
        }
        Ok(Verdict::Proceed)
    }

    fn after(&self, call: &Call<'_>, outcome: Result<(), &io::Error>) {
        if outcome.is_err() {
            return;
        }
        let mut state = self.state();
        let begun = state.begun.get(&thread::current().id()).copied().unwrap_or_default();
        state.steps.extend(self.step(call, begun));
    }
}
