//! Raw system calls of this process, each told to the recorder below whose directory it is.

use std::collections::HashMap;
use std::ffi::{CStr, OsStr};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use walstone_linux::sys::{Call, Errno, Watcher, watch};

use super::recorder::Recorder;
use super::step::{Opening, Step};

/// Who records, and what is open below whom. A descriptor means what it was given for last.
#[derive(Debug, Default)]
struct Watched {
    recorders: Vec<Weak<Recorder>>,
    opened: HashMap<i32, Opened>,
    count: Opening,
}

#[derive(Clone, Debug)]
struct Opened {
    recorder: Weak<Recorder>,
    file: Opening,
}

static WATCHED: LazyLock<Mutex<Watched>> = LazyLock::new(|| {
    watch(Watcher { before, after });
    Mutex::default()
});

/// Openings by raw calls are told from those of the seam.
const FIRST: Opening = 1 << 32;

/// From now on calls below the directory of `recorder` are its.
pub(super) fn register(recorder: &Arc<Recorder>) {
    let mut watched = watched();
    watched.recorders.retain(|known| known.strong_count() > 0);
    watched.recorders.push(Arc::downgrade(recorder));
}

fn watched() -> MutexGuard<'static, Watched> {
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watched {
    /// The recorder of a path: of several processes of one directory the last one.
    fn recorder(&self, path: &Path) -> Option<Arc<Recorder>> {
        let mut known = self.recorders.iter().rev().filter_map(Weak::upgrade);
        known.find(|recorder| path.starts_with(recorder.base()))
    }

    /// The recorder that a call is for, and its step. Of a transfer `given` bytes got through.
    fn step(&self, call: &Call<'_>, given: Option<usize>) -> Option<(Arc<Recorder>, Step)> {
        let opened = |file: i32| {
            let opened = self.opened.get(&file)?;
            Some((opened.recorder.upgrade()?, opened.file))
        };
        let named = |dir: i32, name: &CStr| {
            let path = path(dir, name)?;
            let recorder = self.recorder(&path)?;
            let relative = recorder.relative(&path)?;
            Some((recorder, relative))
        };
        Some(match *call {
            Call::Open { directory: true, .. } => return None,
            Call::Open { dir, name, create, .. } => {
                let (recorder, path) = named(dir, name)?;
                let file = FIRST + self.count;
                (recorder, Step::Open { path, file, create })
            }
            Call::SetLen { file, len } => {
                let (recorder, file) = opened(file)?;
                (recorder, Step::SetLen { file, len })
            }
            Call::Allocate { file, from, to } => {
                let (recorder, file) = opened(file)?;
                (recorder, Step::Allocate { file, from, to })
            }
            // It is written when it has ended.
            Call::Submit { .. } => return None,
            Call::Write { file, offset, data, .. } => {
                let (recorder, file) = opened(file)?;
                let data = data[..given.unwrap_or(data.len())].to_owned();
                (recorder, Step::Write { file, offset, data })
            }
            Call::WriteZeros { file, offset, len } => {
                let (recorder, file) = opened(file)?;
                let data = vec![0; given.unwrap_or(len)];
                (recorder, Step::Write { file, offset, data })
            }
            Call::SyncData { file } => {
                let (recorder, file) = opened(file)?;
                let begun = recorder.begun();
                (recorder, Step::SyncFile { file, begun })
            }
            Call::SyncDir { dir } => {
                let (recorder, path) = named(dir, c"")?;
                let begun = recorder.begun();
                (recorder, Step::SyncDir { path, begun })
            }
            Call::MakeDir { dir, name } => {
                let (recorder, path) = named(dir, name)?;
                (recorder, Step::MakeDir(path))
            }
            Call::Remove { dir, name } => {
                let (recorder, path) = named(dir, name)?;
                (recorder, Step::Unlink(path))
            }
            Call::RemoveDir { dir, name } => {
                let (recorder, path) = named(dir, name)?;
                (recorder, Step::RemoveDir(path))
            }
            Call::Rename { dir, from, to } => {
                let (recorder, from) = named(dir, from)?;
                let (_, to) = named(dir, to)?;
                (recorder, Step::Rename { from, to })
            }
        })
    }

    /// Remembers what a descriptor stands for.
    fn open(&mut self, fd: i32, dir: i32, name: &CStr) {
        let file = FIRST + self.count;
        self.count += 1;
        match path(dir, name).and_then(|path| self.recorder(&path)) {
            Some(recorder) => {
                let recorder = Arc::downgrade(&recorder);
                self.opened.insert(fd, Opened { recorder, file });
            }
            None => drop(self.opened.remove(&fd)),
        }
    }
}

/// Where a name in a directory is now: directories are renamed while they are open.
fn path(dir: i32, name: &CStr) -> Option<PathBuf> {
    let name = Path::new(OsStr::from_bytes(name.to_bytes()));
    if name.is_absolute() {
        return Some(name.to_owned());
    }
    Some(fs::read_link(format!("/proc/self/fd/{dir}")).ok()?.join(name))
}

fn before(call: &Call<'_>) -> Result<(), Errno> {
    let Some((recorder, step)) = watched().step(call, None) else {
        return Ok(());
    };
    if recorder.refuses(&step) {
        return Err(Errno::ENOSPC);
    }
    recorder.begin(&step);
    Ok(())
}

fn after(call: &Call<'_>, given: usize) {
    let mut watched = watched();
    let step = watched.step(call, Some(given));
    if let Call::Open { dir, name, .. } = *call {
        watched.open(given as i32, dir, name);
    }
    drop(watched);
    let Some((recorder, step)) = step else { return };
    // It was durable when it returned, and might not have been while it was under way.
    let synced = match (&step, call) {
        (Step::Write { file, offset, data }, Call::Write { durable: true, .. }) => {
            Some((*file, *offset, data.len() as u64))
        }
        _ => None,
    };
    recorder.done(step);
    if let Some((file, from, len)) = synced {
        let begun = recorder.count();
        let to = from + len;
        recorder.done(Step::SyncRange { file, from, to, begun });
    }
}
