//! The std backend on files, one call to the system fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use tempfile::TempDir;
use walstone::seam::{Call, FileId, Observer, Verdict};
use walstone::{Batch, Durability, Error, Options, Region, Wal};
use walstone_core::segment::layout::Layout;
use walstone_core::{Geometry, Report};

use super::{Act, Ground, PRELUDES, Tally};
use crate::crash::machine::{Denied, Subject};
use crate::crash::model::{Change, Record, Seen, Value};

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// With this number.
    Errno(i32),
    /// It transfers so many bytes and no more; the next one goes on.
    Short(usize),
}

const SEGMENT_LEN: u32 = 2048;
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

/// Every call of every word of `len`, in each way that it can fail.
///
/// # Panics
/// Where the system gives no directory.
#[must_use]
pub fn sweep(len: u32) -> Tally {
    let mut tally = Tally::default();
    for prelude in PRELUDES {
        for word in Act::words(len) {
            for way in WAYS {
                tally.every_call(&[prelude, &word], &format!("{way:?}"), |nth| Files::new(nth, way));
            }
        }
    }
    tally
}

/// A root, one call on which fails.
#[derive(Debug)]
pub struct Files {
    dir: TempDir,
    breaker: Arc<Breaker>,
    opens: u64,
}

impl Files {
    fn new(nth: u64, way: Way) -> Self {
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() {
            TempDir::with_prefix_in("walstone-", memory)
        } else {
            TempDir::with_prefix("walstone-")
        };
        Self {
            dir: dir.expect("a directory to work in"),
            breaker: Arc::new(Breaker {
                way,
                calls_left: AtomicU64::new(nth),
                disk: Mutex::default(),
            }),
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
    way: Way,
    /// 0: it came.
    calls_left: AtomicU64,
    disk: Mutex<Disk>,
}

/// What the system would keep without power. Names are taken for durable: they have a simulator of their own.
#[derive(Debug, Default)]
struct Disk {
    names: BTreeMap<FileId, PathBuf>,
    durable: BTreeMap<PathBuf, Vec<u8>>,
    /// Bytes that a failed sync dropped and that reads show still; no later sync writes them.
    lost: BTreeMap<PathBuf, BTreeSet<usize>>,
    /// Calls under way, be it on the log's own thread.
    under_way: usize,
}

impl Disk {
    fn read(path: &Path) -> Vec<u8> {
        fs::read(path).unwrap_or_default()
    }

    fn synced(&mut self, path: &Path) {
        let mut now = Self::read(path);
        let old = self.durable.get(path).map_or(&[][..], Vec::as_slice);
        for &at in self.lost.get(path).into_iter().flatten() {
            if let Some(byte) = now.get_mut(at) {
                *byte = old.get(at).copied().unwrap_or(0);
            }
        }
        self.durable.insert(path.to_owned(), now);
    }

    fn sync_failed(&mut self, path: &Path) {
        let now = Self::read(path);
        let old = self.durable.get(path).map_or(&[][..], Vec::as_slice);
        let differs = |at: &usize| old.get(*at).copied().unwrap_or(0) != now[*at];
        let lost = self.lost.entry(path.to_owned()).or_default();
        lost.extend((0..now.len()).filter(differs));
    }

    /// What is written anew is no longer lost.
    fn written(&mut self, file: FileId, offset: u64, len: usize) {
        if let Some(lost) = self.names.get(&file).and_then(|path| self.lost.get_mut(path)) {
            let range = offset as usize..offset as usize + len;
            lost.retain(|at| !range.contains(at));
        }
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
        self.disk().under_way += 1;
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
                disk.names.insert(file, path.to_owned());
            }
            (Call::Write { file, offset, data }, _) => disk.written(file, offset, data.len()),
            (Call::Store { file, offset, data }, _) => disk.written(file, u64::from(offset), data.len()),
            (Call::SyncFile { file }, outcome) => {
                if let Some(path) = disk.names.get(&file).cloned() {
                    match outcome {
                        Ok(()) => disk.synced(&path),
                        Err(_) => disk.sync_failed(&path),
                    }
                }
            }
            (Call::Rename { from, to }, Ok(())) => disk.renamed(from, to),
            (Call::Unlink { path }, Ok(())) => {
                disk.durable.remove(path);
                disk.lost.remove(path);
            }
            _ => {}
        }
    }
}

impl Ground for Files {
    type Log = Backend;

    fn open(&mut self) -> Result<Backend, Denied> {
        self.opens += 1;
        let options = Options::builder()
            .segment_len(SEGMENT_LEN)
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
        let dark = Self::new(0, Way::Short(0));
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
        let geometry = Geometry::new(SEGMENT_LEN).expect("this geometry works");
        Layout::new(geometry).max_payload_len() / 2
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
        let region = &self.region;
        let outcome = match *changes {
            [Change::Put(table, value)] => region.append_with(table, &value.bytes(), durability).map(drop),
            [Change::DeleteUpTo(table, to)] => region.delete_up_to_with(table, to, durability),
            [Change::TruncateFrom(table, from)] => region.truncate_from_with(table, from, durability),
            _ => {
                let mut batch = Batch::new();
                for &change in changes {
                    match change {
                        Change::Put(table, value) => batch.push(table, &value.bytes()),
                        Change::DeleteUpTo(table, to) => batch.delete_up_to(table, to),
                        Change::TruncateFrom(table, from) => batch.truncate_from(table, from),
                    }
                }
                region.append_batch_with(&batch, durability).map(drop)
            }
        };
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
        for record in view.scan() {
            let record = record.map_err(read)?;
            seen.records.push(Record {
                sequence: record.sequence,
                table: record.table,
                value: Value::parse(record.value),
            });
        }
        Ok(())
    }

    fn compare(&mut self, seen: &Seen) -> Result<(), String> {
        let read = |error: Error| error.to_string();
        let view = self.region.view().map_err(read)?;
        for table in [1, 2] {
            let mut expected = seen.records.iter().filter(|record| record.table == table);
            for record in view.read(table, ..) {
                let sequence = record.map_err(read)?.sequence;
                if expected.next().map(|record| record.sequence) != Some(sequence) {
                    return Err(format!("reading table {table} shows other records than reading all"));
                }
            }
            if expected.next().is_some() {
                return Err(format!("reading table {table} shows fewer records than reading all"));
            }
        }
        Ok(())
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
