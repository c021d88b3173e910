//! Raw system calls of this process, each told to whoever has the directory that it is below.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, OsStr};
use std::fmt::Debug;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use walstone_linux::sys::{Call, Errno, Watcher, watch};

use super::step::{Opening, Step};

pub(crate) use walstone_linux::sys::{Errno as RawErrno, Verdict as RawVerdict};

/// Is told of the steps that raw calls below a directory are.
pub(crate) trait Told: Debug + Send + Sync {
    /// The directory. Paths of steps are relative to it.
    fn base(&self) -> &Path;

    /// A step is about to be done.
    ///
    /// # Errors
    /// What is to be said in its place.
    fn before(&self, step: &Step) -> Result<RawVerdict, RawErrno>;

    /// It was done, or not. Behind a write that is durable when it returns comes the sync that it is, too. Where a sync began
    /// is not known here.
    fn after(&self, step: Step, outcome: Result<(), RawErrno>);
}

/// Who is told, and what is open below whom. A descriptor means what it was given for last.
#[derive(Debug, Default)]
struct Watched {
    told: Vec<Weak<dyn Told>>,
    opened: HashMap<i32, Opened>,
    /// Where writes on their way begin.
    flights: HashSet<(i32, u64)>,
    count: Opening,
}

#[derive(Clone, Debug)]
struct Opened {
    told: Weak<dyn Told>,
    file: Opening,
}

static WATCHED: LazyLock<Mutex<Watched>> = LazyLock::new(|| {
    watch(Watcher { before, after, next });
    Mutex::default()
});

thread_local! {
    static LAST_FIRST: Cell<bool> = const { Cell::new(false) };
}

/// From now on this thread is told of the writes on their way that ended in the order that they were sent in, or in the
/// opposite one.
pub(crate) fn end_in_order(last_first: bool) {
    LAST_FIRST.set(last_first);
}

fn next(count: usize) -> usize {
    if LAST_FIRST.get() { count.saturating_sub(1) } else { 0 }
}

/// Openings by raw calls are told from those of the seam.
const FIRST: Opening = 1 << 32;

/// From now on `told` is told of calls below its directory.
pub(crate) fn register(told: Weak<dyn Told>) {
    let mut watched = watched();
    watched.told.retain(|known| known.strong_count() > 0);
    watched.told.push(told);
}

fn watched() -> MutexGuard<'static, Watched> {
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watched {
    /// Who is told of a path, and its name there: of several processes of one directory the last one.
    fn below(&self, path: &Path) -> Option<(Arc<dyn Told>, PathBuf)> {
        let mut known = self.told.iter().rev().filter_map(Weak::upgrade);
        let told = known.find(|told| path.starts_with(told.base()))?;
        let relative = path.strip_prefix(told.base()).ok()?.to_owned();
        Some((told, relative))
    }

    /// Who is told of a call, and its step. Of a transfer `given` bytes got through.
    fn step(&self, call: &Call<'_>, given: Option<usize>) -> Option<(Arc<dyn Told>, Step)> {
        let opened = |file: i32| {
            let opened = self.opened.get(&file)?;
            Some((opened.told.upgrade()?, opened.file))
        };
        let named = |dir: i32, name: &CStr| self.below(&path(dir, name)?);
        Some(match *call {
            Call::Open { directory: true, .. } => return None,
            Call::Open { dir, name, create, .. } => {
                let (told, path) = named(dir, name)?;
                let file = FIRST + self.count;
                (told, Step::Open { path, file, create })
            }
            Call::SetLen { file, len } => {
                let (told, file) = opened(file)?;
                (told, Step::SetLen { file, len })
            }
            Call::Allocate { file, from, to } => {
                let (told, file) = opened(file)?;
                (told, Step::Allocate { file, from, to })
            }
            Call::Submit { file, offset, data } => {
                let (told, file) = opened(file)?;
                let data = data.to_owned();
                (told, Step::Submit { file, offset, data })
            }
            Call::Write { file, offset, data, .. } if self.flights.contains(&(file, offset)) => {
                let (told, file) = opened(file)?;
                let to = offset + given.unwrap_or(data.len()) as u64;
                (told, Step::Landed { file, from: offset, to })
            }
            Call::Write { file, offset, data, .. } => {
                let (told, file) = opened(file)?;
                let data = data[..given.unwrap_or(data.len())].to_owned();
                (told, Step::Write { file, offset, data })
            }
            Call::WriteZeros { file, offset, len } => {
                let (told, file) = opened(file)?;
                let data = vec![0; given.unwrap_or(len)];
                (told, Step::Write { file, offset, data })
            }
            Call::SyncData { file } => {
                let (told, file) = opened(file)?;
                (told, Step::SyncFile { file, begun: 0 })
            }
            Call::SyncDir { dir } => {
                let (told, path) = named(dir, c"")?;
                (told, Step::SyncDir { path, begun: 0 })
            }
            Call::MakeDir { dir, name } => {
                let (told, path) = named(dir, name)?;
                (told, Step::MakeDir(path))
            }
            Call::Remove { dir, name } => {
                let (told, path) = named(dir, name)?;
                (told, Step::Unlink(path))
            }
            Call::RemoveDir { dir, name } => {
                let (told, path) = named(dir, name)?;
                (told, Step::RemoveDir(path))
            }
            Call::Rename { dir, from, to } => {
                let (told, from) = named(dir, from)?;
                let (_, to) = named(dir, to)?;
                (told, Step::Rename { from, to })
            }
        })
    }

    /// Remembers what a descriptor stands for.
    fn open(&mut self, fd: i32, dir: i32, name: &CStr) {
        let file = FIRST + self.count;
        self.count += 1;
        self.flights.retain(|(of, _)| *of != fd);
        match path(dir, name).and_then(|path| self.below(&path)) {
            Some((told, _)) => {
                let told = Arc::downgrade(&told);
                self.opened.insert(fd, Opened { told, file });
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

fn before(call: &Call<'_>) -> Result<RawVerdict, Errno> {
    let found = watched().step(call, None);
    found.map_or(Ok(RawVerdict::Proceed), |(told, step)| told.before(&step))
}

fn after(call: &Call<'_>, outcome: Result<usize, Errno>) {
    let mut watched = watched();
    let found = watched.step(call, outcome.ok());
    match (*call, outcome) {
        (Call::Open { dir, name, .. }, Ok(fd)) => watched.open(fd as i32, dir, name),
        (Call::Submit { file, offset, .. }, Ok(_)) => drop(watched.flights.insert((file, offset))),
        (Call::Write { file, offset, .. }, _) => drop(watched.flights.remove(&(file, offset))),
        _ => {}
    }
    drop(watched);
    let Some((told, step)) = found else { return };
    let outcome = outcome.map(drop);
    // It was durable when it returned, and might not have been while it was under way.
    let sync = match (&step, call) {
        (Step::Write { file, offset, data }, Call::Write { durable: true, .. }) => Some(Step::SyncRange {
            file: *file,
            from: *offset,
            to: offset + data.len() as u64,
            begun: 0,
        }),
        _ => None,
    };
    told.after(step, outcome);
    if let Some(sync) = sync {
        told.after(sync, outcome);
    }
}
