//! Sits in the seam of the std backend and takes down every change of the file system; those of raw system calls come from
//! `raw`.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use walstone::seam::{Call, Observer, Verdict};

#[cfg(target_os = "linux")]
use super::raw::{self, RawErrno, RawVerdict};
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
    pub fn new(base: &Path, background: bool) -> Arc<Self> {
        let recorder = Arc::new(Self {
            base: base.to_owned(),
            background,
            state: Mutex::default(),
        });
        #[cfg(target_os = "linux")]
        {
            let told: Arc<dyn raw::Told> = recorder.clone();
            raw::register(Arc::downgrade(&told));
        }
        recorder
    }

    /// Whether this thread must not make a step.
    fn refuses(&self, step: &Step) -> bool {
        let changes = !matches!(step, Step::Open { create: false, .. });
        !self.background && changes && thread::current().name() == Some("walstone")
    }

    /// A step is about to be done by this thread.
    fn begin(&self, step: &Step) {
        if step.is_sync() {
            let mut state = self.state();
            let begun = state.steps.len();
            state.begun.insert(thread::current().id(), begun);
        }
    }

    /// Where the sync that this thread is in began.
    fn begun(&self) -> usize {
        self.state()
            .begun
            .get(&thread::current().id())
            .copied()
            .unwrap_or_default()
    }

    /// A step was done.
    fn done(&self, step: Step) {
        self.state().steps.push(step);
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
        if let Some(step) = self.step(call, 0) {
            // What is opened for writing is there already, or is the lock.
            if !matches!(call, Call::Open { .. }) && self.refuses(&step) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.begin(&step);
        }
        Ok(Verdict::Proceed)
    }

    fn after(&self, call: &Call<'_>, outcome: Result<(), &io::Error>) {
        if outcome.is_err() {
            return;
        }
        if let Some(step) = self.step(call, self.begun()) {
            self.done(step);
        }
    }
}

#[cfg(target_os = "linux")]
impl raw::Told for Recorder {
    fn base(&self) -> &Path {
        &self.base
    }

    fn before(&self, step: &Step) -> Result<RawVerdict, RawErrno> {
        // What was sent arrives, whoever waits for it.
        if self.refuses(step) && !matches!(step, Step::Landed { .. }) {
            return Err(RawErrno::ENOSPC);
        }
        self.begin(step);
        Ok(RawVerdict::Proceed)
    }

    fn after(&self, mut step: Step, outcome: Result<(), RawErrno>) {
        if outcome.is_err() {
            return;
        }
        match &mut step {
            Step::SyncFile { begun, .. } | Step::SyncDir { begun, .. } => *begun = self.begun(),
            Step::SyncRange { begun, .. } => *begun = self.count(),
            _ => {}
        }
        self.done(step);
    }
}
