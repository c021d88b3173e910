//! What sits in the seam in these tests: a recorder, and a fault at a chosen call.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};

use walstone::seam::{Call, FileId, Observer, Verdict};

/// One call that changes something, and was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Create(PathBuf, FileId),
    Open(PathBuf, FileId),
    SetLen(FileId, u64),
    Write(FileId, u64, Vec<u8>),
    Store(FileId, u64, Vec<u8>),
    SyncFile(FileId),
    SyncDir(PathBuf),
    Rename(PathBuf, PathBuf),
    Unlink(PathBuf),
    MakeDir(PathBuf),
    RemoveDir(PathBuf),
}

#[derive(Debug, Default)]
pub(crate) struct Recorder {
    steps: Mutex<Vec<Step>>,
    /// Calls that changed something or could have.
    writable: AtomicUsize,
}

impl Recorder {
    pub(crate) fn take(&self) -> Vec<Step> {
        std::mem::take(&mut *self.steps.lock().unwrap())
    }

    pub(crate) fn writable_calls(&self) -> usize {
        self.writable.load(Ordering::Relaxed)
    }
}

impl Observer for Recorder {
    fn before(&self, call: &Call<'_>) -> io::Result<Verdict> {
        let harmless = matches!(
            call,
            Call::Open { writable: false, .. }
                | Call::Map { writable: false, .. }
                | Call::Len { .. }
                | Call::Read { .. }
                | Call::FindData { .. }
                | Call::ListDir { .. }
                | Call::Exists { .. }
        );
        if !harmless {
            self.writable.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Verdict::Proceed)
    }

    fn after(&self, call: &Call<'_>, outcome: Result<(), &io::Error>) {
        if outcome.is_err() {
            return;
        }
        let step = match *call {
            Call::Create { path, file } => Step::Create(path.into(), file),
            Call::Open { path, file, .. } => Step::Open(path.into(), file),
            Call::SetLen { file, len } => Step::SetLen(file, len),
            Call::Write { file, offset, data } => Step::Write(file, offset, data.into()),
            Call::Store { file, offset, data } => Step::Store(file, offset.into(), data.into()),
            Call::SyncFile { file } => Step::SyncFile(file),
            Call::SyncDir { path } => Step::SyncDir(path.into()),
            Call::Rename { from, to } => Step::Rename(from.into(), to.into()),
            Call::Unlink { path } => Step::Unlink(path.into()),
            Call::MakeDir { path } => Step::MakeDir(path.into()),
            Call::RemoveDir { path } => Step::RemoveDir(path.into()),
            _ => return,
        };
        self.steps.lock().unwrap().push(step);
    }
}

/// The first change of a name that no later sync of its directory covers. Names in directories that are gone
/// later need none, nor do temporaries that are gone.
pub(crate) fn unsynced_name(steps: &[Step]) -> Option<PathBuf> {
    let mut pending: Vec<PathBuf> = Vec::new();
    for step in steps {
        match step {
            // A temporary counts under its final name only.
            Step::Create(..) => {}
            Step::MakeDir(path) => pending.push(path.clone()),
            Step::Unlink(path) => pending.push(path.clone()),
            Step::Rename(from, to) => {
                pending.retain(|path| path != from);
                for path in &mut pending {
                    if let Ok(rest) = path.strip_prefix(from) {
                        *path = to.join(rest);
                    }
                }
                pending.push(to.clone());
            }
            Step::RemoveDir(path) => {
                pending.retain(|inside| !inside.starts_with(path));
                pending.push(path.clone());
            }
            Step::SyncDir(dir) => pending.retain(|path| path.parent() != Some(dir)),
            _ => {}
        }
    }
    pending.into_iter().next()
}

/// Files as the recorded calls made them: names, and bytes as a process sees them.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    names: BTreeMap<PathBuf, usize>,
    files: Vec<Vec<u8>>,
    openings: BTreeMap<FileId, usize>,
}

impl Replay {
    pub(crate) fn of(steps: &[Step]) -> Self {
        let mut replay = Self::default();
        for step in steps {
            replay.apply(step);
        }
        replay
    }

    pub(crate) fn bytes(&self, path: &Path) -> &[u8] {
        &self.files[self.names[path]]
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Create(path, file) => {
                self.files.push(Vec::new());
                self.names.insert(path.clone(), self.files.len() - 1);
                self.openings.insert(*file, self.files.len() - 1);
            }
            Step::Open(path, file) => {
                if let Some(index) = self.names.get(path) {
                    self.openings.insert(*file, *index);
                }
            }
            Step::SetLen(file, len) => {
                let index = self.openings[file];
                self.files[index].resize(*len as usize, 0);
            }
            Step::Write(file, offset, data) | Step::Store(file, offset, data) => {
                let index = self.openings[file];
                let start = *offset as usize;
                self.files[index][start..start + data.len()].copy_from_slice(data);
            }
            Step::Rename(from, to) => {
                let moved: Vec<_> = self
                    .names
                    .iter()
                    .filter_map(|(path, index)| {
                        let rest = path.strip_prefix(from).ok()?;
                        let path_now = if rest.as_os_str().is_empty() {
                            to.clone()
                        } else {
                            to.join(rest)
                        };
                        Some((path.clone(), path_now, *index))
                    })
                    .collect();
                for (path, path_now, index) in moved {
                    self.names.remove(&path);
                    self.names.insert(path_now, index);
                }
            }
            Step::Unlink(path) => {
                self.names.remove(path);
            }
            _ => {}
        }
    }
}

/// How a call goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// This error number.
    Errno(i32),
    /// A transfer of this many bytes.
    Short(usize),
}

/// Breaks one call, or every call of a kind.
pub(crate) struct Breaker {
    count: AtomicUsize,
    hits: AtomicUsize,
    trouble: Mutex<Option<Trouble>>,
    applies: fn(&Call<'_>) -> bool,
    nth: Option<usize>,
}

impl Breaker {
    /// At the `nth` call that applies, from the time it is armed.
    pub(crate) fn nth(nth: usize, applies: fn(&Call<'_>) -> bool) -> Self {
        Self {
            count: AtomicUsize::new(0),
            hits: AtomicUsize::new(0),
            trouble: Mutex::new(None),
            applies,
            nth: Some(nth),
        }
    }

    /// At every call that applies, while armed.
    pub(crate) fn every(applies: fn(&Call<'_>) -> bool) -> Self {
        Self {
            nth: None,
            ..Self::nth(0, applies)
        }
    }

    pub(crate) fn arm(&self, trouble: Option<Trouble>) {
        self.count.store(0, Ordering::Relaxed);
        *self.trouble.lock().unwrap() = trouble;
    }

    pub(crate) fn hits(&self) -> usize {
        self.hits.load(Ordering::Relaxed)
    }
}

impl Observer for Breaker {
    fn before(&self, call: &Call<'_>) -> io::Result<Verdict> {
        let Some(trouble) = *self.trouble.lock().unwrap() else {
            return Ok(Verdict::Proceed);
        };
        if !(self.applies)(call) {
            return Ok(Verdict::Proceed);
        }
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        if self.nth.is_some_and(|nth| nth != count) {
            return Ok(Verdict::Proceed);
        }
        self.hits.fetch_add(1, Ordering::Relaxed);
        match trouble {
            Trouble::Errno(errno) => Err(io::Error::from_raw_os_error(errno)),
            Trouble::Short(len) => Ok(Verdict::Short(len)),
        }
    }
}

/// Holds one call back until it is let go.
pub(crate) struct Gate {
    applies: fn(&Call<'_>) -> bool,
    armed: AtomicBool,
    entered: Barrier,
    left: Barrier,
}

impl Gate {
    pub(crate) fn new(applies: fn(&Call<'_>) -> bool) -> Self {
        Self {
            applies,
            armed: AtomicBool::new(false),
            entered: Barrier::new(2),
            left: Barrier::new(2),
        }
    }

    /// Runs `held` on another thread until its call is at the gate, and `meanwhile` before it goes on.
    pub(crate) fn during(&self, held: impl FnOnce() + Send, meanwhile: impl FnOnce()) {
        self.armed.store(true, Ordering::Relaxed);
        std::thread::scope(|scope| {
            scope.spawn(held);
            self.entered.wait();
            meanwhile();
            self.left.wait();
        });
    }
}

impl Observer for Gate {
    fn before(&self, call: &Call<'_>) -> io::Result<Verdict> {
        if (self.applies)(call) && self.armed.swap(false, Ordering::Relaxed) {
            self.entered.wait();
            self.left.wait();
        }
        Ok(Verdict::Proceed)
    }
}
