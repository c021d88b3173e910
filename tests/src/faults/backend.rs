//! The std backend on files, one call to the system fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use tempfile::TempDir;
use walstone::seam::{Call, Observer, Verdict};
use walstone::{Durability, Error, Region, Wal};
use walstone_core::segment::layout::Layout;
use walstone_core::{Geometry, Report};

use super::{Act, Ground, PRELUDES, Tally};
use crate::crash::machine::{Denied, Subject};
use crate::crash::model::{Change, Seen};
use crate::deadline::Deadline;
use crate::files::front;
use crate::files::life::{SMALL, Setup};
#[cfg(target_os = "linux")]
use crate::files::raw::{self, RawErrno, RawVerdict};
#[cfg(target_os = "linux")]
use crate::files::step::Step;

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// With this number.
    Errno(i32),
    /// It transfers so many bytes and no more; the next one goes on.
    Short(usize),
    /// With an error of the device, behind a write that was to be durable when it returns: only reads show it.
    Late,
}

const REGION: u64 = 7;

/// EIO, ENOSPC, EINTR, EMFILE, and transfers of one byte, of a few, and of none.
const WAYS: [Way; 7] = [
    Way::Errno(5),
    Way::Errno(28),
    Way::Errno(4),
    Way::Errno(24),
    Way::Short(1),
    Way::Short(30),
    Way::Short(0),
];

/// Every call of every word of `len`, in each way that it can fail, where segments are mapped.
///
/// # Panics
/// Where the system gives no directory.
#[must_use]
pub fn sweep(len: u32, deadline: Deadline) -> Tally {
    of_setup(SMALL, len, deadline)
}

/// The same where raw system calls write them: through the page cache, durable by themselves, and several on their way.
///
/// # Panics
/// As [`sweep`].
#[cfg(target_os = "linux")]
#[must_use]
pub fn sweep_raw(len: u32, deadline: Deadline) -> Tally {
    use crate::files::life::{BUFFERED, DURABLE_WRITES, FLIGHTS};
    let mut tally = Tally::default();
    for setup in [BUFFERED, DURABLE_WRITES, FLIGHTS] {
        tally.add(of_setup(setup, len, deadline));
    }
    tally
}

fn of_setup(setup: Setup, len: u32, deadline: Deadline) -> Tally {
    let mut tally = Tally::default();
    for prelude in PRELUDES {
        for word in Act::words(len) {
            tally.add(of_word(setup, &[prelude, &word], deadline));
        }
    }
    tally
}

/// Every call of one word.
///
/// # Panics
/// As [`sweep`].
#[must_use]
pub fn of_word(setup: Setup, word: &[&[Act]], deadline: Deadline) -> Tally {
    let mut tally = Tally::until(deadline);
    for way in WAYS.into_iter().chain([Way::Late]) {
        let what = format!("{way:?}, {}", setup.name);
        tally.every_call(word, &what, |nth| Files::new(setup, nth, way));
    }
    tally
}

/// A root, one call on which fails.
#[derive(Debug)]
pub struct Files {
    setup: Setup,
    dir: TempDir,
    breaker: Arc<Breaker>,
    opens: u64,
}

impl Files {
    fn new(setup: Setup, nth: u64, way: Way) -> Self {
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() {
            TempDir::with_prefix_in("walstone-", memory)
        } else {
            TempDir::with_prefix("walstone-")
        };
        let dir = dir.expect("a directory to work in");
        let breaker = Arc::new(Breaker {
            base: dir.path().to_owned(),
            way,
            calls_left: AtomicU64::new(nth),
            disk: Mutex::default(),
        });
        #[cfg(target_os = "linux")]
        {
            let told: Arc<dyn raw::Told> = breaker.clone();
            raw::register(Arc::downgrade(&told));
            raw::end_in_order(setup.last_first);
        }
        Self {
            setup,
            dir,
            breaker,
            opens: 0,
        }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("wal")
    }
}

/// Fails one call, and knows what of each file is durable.
#[derive(Debug)]
struct Breaker {
    base: PathBuf,
    way: Way,
    /// 0: it came.
    calls_left: AtomicU64,
    disk: Mutex<Disk>,
}

/// What the system would keep without power. Names are taken for durable: they have a simulator of their own.
#[derive(Debug, Default)]
struct Disk {
    names: BTreeMap<u64, PathBuf>,
    durable: BTreeMap<PathBuf, Vec<u8>>,
    /// Bytes that a failed sync dropped and that reads show still; no later sync writes them.
    lost: BTreeMap<PathBuf, BTreeSet<usize>>,
    /// Openings of files that a sync through another one failed for: the system tells each of them, once.
    untold: BTreeSet<u64>,
    /// Openings that hear of it now.
    hearing: BTreeSet<u64>,
    /// Calls under way, be it on the log's own thread.
    under_way: usize,
}

impl Disk {
    fn read(path: &Path) -> Vec<u8> {
        fs::read(path).unwrap_or_default()
    }

    /// A file was synced, or a part of it, or that failed.
    fn synced(&mut self, file: u64, range: Range<usize>, is_done: bool) {
        let Some(path) = self.names.get(&file) else { return };
        if !is_done && !self.hearing.remove(&file) {
            let others = self
                .names
                .iter()
                .filter(|&(other, name)| *other != file && name == path);
            self.untold.extend(others.map(|(other, _)| *other));
        }
        let now = Self::read(path);
        let durable = self.durable.entry(path.clone()).or_default();
        let lost = self.lost.entry(path.clone()).or_default();
        durable.resize(now.len().max(durable.len()), 0);
        for at in range.start..range.end.min(now.len()) {
            if durable[at] == now[at] || lost.contains(&at) {
                continue;
            }
            if is_done {
                durable[at] = now[at];
            } else {
                lost.insert(at);
            }
        }
    }

    /// Whether a sync through this opening is to hear of one that failed through another.
    fn is_to_hear(&mut self, file: u64) -> bool {
        self.untold.remove(&file) && self.hearing.insert(file)
    }

    /// What is written anew is no longer lost.
    fn written(&mut self, file: u64, offset: u64, len: usize) {
        if let Some(lost) = self.names.get(&file).and_then(|path| self.lost.get_mut(path)) {
            let range = offset as usize..offset as usize + len;
            lost.retain(|at| !range.contains(at));
        }
    }

    fn unlinked(&mut self, path: &Path) {
        self.durable.remove(path);
        self.lost.remove(path);
    }

    fn renamed(&mut self, from: &Path, to: &Path) {
        let moved = |path: &Path| path.strip_prefix(from).ok().map(|rest| to.join(rest));
        let moved = |path: &Path| moved(path).map(|path| path.components().collect::<PathBuf>());
        for path in self.names.values_mut() {
            if let Some(to) = moved(path) {
                *path = to;
            }
        }
        for path in self.durable.keys().cloned().collect::<Vec<_>>() {
            if let Some(to) = moved(&path)
                && let Some(bytes) = self.durable.remove(&path)
            {
                self.durable.insert(to, bytes);
            }
        }
    }
}

impl Breaker {
    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The disk between two calls: while this is held, none begins.
    fn disk_at_rest(&self) -> MutexGuard<'_, Disk> {
        loop {
            let disk = self.disk();
            if disk.under_way == 0 {
                return disk;
            }
            drop(disk);
            thread::yield_now();
        }
    }

    fn has_failed(&self) -> bool {
        self.calls_left.load(Ordering::Relaxed) == 0
    }

    fn is_next(&self) -> bool {
        let left = self.calls_left.load(Ordering::Relaxed);
        left > 0 && self.calls_left.fetch_sub(1, Ordering::Relaxed) == 1
    }
}

impl Observer for Breaker {
    fn before(&self, call: &Call<'_>) -> io::Result<Verdict> {
        let mut disk = self.disk();
        disk.under_way += 1;
        if matches!(call, Call::SyncFile { file } if disk.is_to_hear(file.0)) {
            return Err(io::Error::from_raw_os_error(5));
        }
        drop(disk);
        let transfer = matches!(call, Call::Write { .. } | Call::Store { .. });
        match self.way {
            Way::Short(len) if transfer && self.is_next() => Ok(Verdict::Short(len)),
            Way::Errno(errno) if self.is_next() => Err(io::Error::from_raw_os_error(errno)),
            _ => Ok(Verdict::Proceed),
        }
    }

    fn after(&self, call: &Call<'_>, outcome: Result<(), &io::Error>) {
        let mut disk = self.disk();
        disk.under_way -= 1;
        match (*call, outcome) {
            (Call::Create { path, file } | Call::Open { path, file, .. }, Ok(())) => {
                disk.names.insert(file.0, path.to_owned());
            }
            (Call::Write { file, offset, data }, _) => disk.written(file.0, offset, data.len()),
            (Call::Store { file, offset, data }, _) => disk.written(file.0, u64::from(offset), data.len()),
            (Call::SyncFile { file }, outcome) => disk.synced(file.0, 0..usize::MAX, outcome.is_ok()),
            (Call::Rename { from, to }, Ok(())) => disk.renamed(from, to),
            (Call::Unlink { path }, Ok(())) => disk.unlinked(path),
            _ => {}
        }
    }
}

#[cfg(target_os = "linux")]
impl raw::Told for Breaker {
    fn base(&self) -> &Path {
        &self.base
    }

    fn before(&self, step: &Step) -> Result<RawVerdict, RawErrno> {
        let mut disk = self.disk();
        disk.under_way += 1;
        if matches!(step, Step::SyncFile { file, .. } if disk.is_to_hear(*file)) {
            return Err(RawErrno::EIO);
        }
        drop(disk);
        let transfer = matches!(step, Step::Write { .. } | Step::Landed { .. });
        match self.way {
            Way::Short(len) if transfer && self.is_next() => Ok(RawVerdict::Short(len)),
            Way::Late if transfer && self.is_next() => Ok(RawVerdict::Fail(RawErrno::EIO)),
            Way::Errno(number) if self.is_next() => Err(match number {
                4 => RawErrno::EINTR,
                24 => RawErrno::EMFILE,
                28 => RawErrno::ENOSPC,
                _ => RawErrno::EIO,
            }),
            _ => Ok(RawVerdict::Proceed),
        }
    }

    fn after(&self, step: Step, outcome: Result<(), RawErrno>) {
        let mut disk = self.disk();
        let is_done = outcome.is_ok();
        // It comes with the write that it is a part of.
        if !matches!(step, Step::SyncRange { .. }) {
            disk.under_way -= 1;
        }
        match step {
            Step::Open { path, file, .. } if is_done => drop(disk.names.insert(file, self.base.join(path))),
            Step::Write { file, offset, data } => disk.written(file, offset, data.len()),
            Step::Landed { file, from, to } => disk.written(file, from, (to - from) as usize),
            Step::SyncFile { file, .. } => disk.synced(file, 0..usize::MAX, is_done),
            Step::SyncRange { file, from, to, .. } => {
                if is_done {
                    // A sync beside it that failed took nothing of it away: it says of its own bytes what became of them.
                    disk.written(file, from, (to - from) as usize);
                }
                disk.synced(file, from as usize..to as usize, is_done);
            }
            Step::Rename { from, to } if is_done => disk.renamed(&self.base.join(from), &self.base.join(to)),
            Step::Unlink(path) if is_done => disk.unlinked(&self.base.join(path)),
            _ => {}
        }
    }
}

impl Ground for Files {
    type Log = Backend;

    fn open(&mut self) -> Result<Backend, Denied> {
        self.opens += 1;
        let options = self
            .setup
            .options()
            .max_open_segments(2)
            .seed(self.opens.wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .observer(self.breaker.clone())
            .build()
            .expect("these options work");
        let denied = |error| denied(&error, false);
        let wal = Wal::open(self.root(), options).map_err(denied)?;
        if let Some((_, error)) = wal.report().failed.first() {
            return Err(denied(error.clone()));
        }
        let region = wal.region_or_create(REGION).map_err(denied)?;
        Ok(Backend {
            wal,
            region,
            appended: 0,
            durable: 0,
        })
    }

    fn append_durably(&self, log: &mut Backend, changes: &[Change]) -> Option<Result<u64, Denied>> {
        Some(log.append_with(changes, Durability::Durable))
    }

    fn has_failed(&self) -> bool {
        self.breaker.has_failed()
    }

    fn after_power_loss(&self) -> Self {
        let dark = Self::new(self.setup, 0, Way::Short(0));
        let disk = self.breaker.disk_at_rest();
        copy(&self.root(), &dark.root(), &|path, file| {
            let durable = disk.durable.get(path).map_or(&[][..], Vec::as_slice);
            file.write_all_at(durable, 0)
        });
        for (path, bytes) in &disk.durable {
            let path = dark.root().join(path.strip_prefix(self.root()).unwrap_or(path));
            dark.breaker.disk().durable.insert(path, bytes.clone());
        }
        drop(disk);
        Self {
            opens: self.opens + 100,
            ..dark
        }
    }

    fn evict(&mut self) {
        let disk = self.breaker.disk_at_rest();
        for (path, lost) in &disk.lost {
            let Ok(file) = fs::File::options().write(true).open(path) else {
                continue;
            };
            let durable = disk.durable.get(path).map_or(&[][..], Vec::as_slice);
            for &at in lost {
                let old = durable.get(at).copied().unwrap_or(0);
                file.write_all_at(&[old], at as u64).expect("memory takes a byte");
            }
        }
    }

    fn large_len(&self) -> u32 {
        let geometry = Geometry::new(self.setup.segment_len).expect("this geometry works");
        Layout::new(geometry).max_payload_len() / 2
    }

    fn gathers(&self) -> bool {
        self.setup != SMALL
    }
}

/// Copies a directory; `fill` puts the bytes into each file, which has its length.
fn copy(from: &Path, to: &Path, fill: &dyn Fn(&Path, &fs::File) -> io::Result<()>) {
    let Ok(entries) = fs::read_dir(from) else { return };
    fs::create_dir(to).expect("a directory to work in");
    for entry in entries {
        let entry = entry.expect("the listing goes on");
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target, fill);
        } else {
            let file = fs::File::create(target).expect("room for a copy");
            let len = fs::metadata(&path).map_or(0, |metadata| metadata.len());
            file.set_len(len)
                .and_then(|()| fill(&path, &file))
                .expect("room for a copy");
        }
    }
}

/// A log open on files.
#[derive(Debug)]
pub struct Backend {
    wal: Wal,
    region: Region,
    appended: usize,
    durable: usize,
}

impl Backend {
    fn told<T>(&self, outcome: walstone::Result<T>) -> Result<T, Denied> {
        outcome.map_err(|error| denied(&error, self.region.poisoned().is_some()))
    }

    fn append_with(&mut self, changes: &[Change], durability: Durability) -> Result<u64, Denied> {
        let outcome = front::append(&self.region, changes, durability);
        self.told(outcome)?;
        self.appended += 1;
        if durability == Durability::Durable {
            self.durable = self.appended;
        }
        Ok(self.region.last_sequence())
    }
}

fn denied(error: &Error, poisoned: bool) -> Denied {
    match error {
        Error::Full => Denied::Full,
        Error::Poisoned { .. } | Error::Closed => Denied::Ended,
        Error::Storage(_) | Error::Engine(walstone_core::Error::Full) => Denied::SyncFailed { poisoned },
        error => Denied::Other(error.to_string()),
    }
}

impl Subject for Backend {
    fn append(&mut self, changes: &[Change]) -> Result<u64, Denied> {
        self.append_with(changes, Durability::Written)
    }

    fn sync(&mut self) -> Result<(), Denied> {
        let outcome = self.region.sync();
        self.told(outcome)?;
        self.durable = self.appended;
        Ok(())
    }

    /// What is written survives the process.
    fn hand_over(&mut self) -> Result<(), Denied> {
        match self.region.poisoned() {
            None => Ok(()),
            Some(_) => Err(Denied::Ended),
        }
    }

    fn reclaim(&mut self) -> Result<(), Denied> {
        let outcome = self.region.reclaim();
        self.told(outcome)
    }

    fn close(&mut self) -> Result<(), Denied> {
        let outcome = self.wal.close();
        self.told(outcome)
    }

    fn observe(&mut self, seen: &mut Seen) -> Result<(), String> {
        let read = |error: Error| error.to_string();
        seen.last = self.region.last_sequence();
        let view = self.region.view().map_err(read)?;
        front::scan(&view, &mut seen.records).map_err(read)
    }

    fn compare(&mut self, seen: &Seen) -> Result<(), String> {
        let read = |error: Error| error.to_string();
        let view = self.region.view().map_err(read)?;
        match front::table_that_differs(&view, &seen.records).map_err(read)? {
            None => Ok(()),
            Some(table) => Err(format!("reading table {table} shows other records than reading all")),
        }
    }

    fn durable_count(&self) -> usize {
        self.durable
    }

    fn report(&self) -> Option<Report> {
        Some(self.region.report())
    }

    fn moved_on(&self) -> bool {
        false
    }
}
