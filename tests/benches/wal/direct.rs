//! Appends past the page cache: raw direct writes, and the log on them.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use walstone::{Durability as Promise, Region, Wal};
use walstone_core::{Batch, Capacity, Checksum, Geometry, Log, Options};
use walstone_linux::sys::{self, AnonymousMap, Durability, Fd};
use walstone_linux::{LinuxStorage, Memory, RegionFiles, Root, WritePath};

use crate::raw::payload;
use crate::subject::{Actor, Subject, Task, Workload};

/// Writes of whole blocks, durable on return; for bulk, plain ones of 1 MiB and a sync.
pub(crate) struct RawDirect;

/// Bulk into blocks that the file system has only reserved, as it has for a log that goes on and on: it notes of each write
/// that its blocks are written now.
pub(crate) struct RawReserved;

/// The log over `walstone-linux` alone, in one thread.
pub(crate) struct Linux;

/// The log over the std backend, with segments written past the page cache.
pub(crate) struct Front;

/// Room for one stream; when it is full, the next record overwrites the first.
const STREAM_LEN: u32 = 16 << 20;
/// Reserved at once.
const RESERVED_LEN: u32 = 64 << 20;
const BLOCK: usize = 512;
const BULK_LEN: usize = 1 << 20;
const BUFFER_LEN: usize = 1 << 20;
const READ_LEN: usize = 64 << 10;
const REGION: u64 = 1;
const TABLE: u64 = 1;

/// Bytes written and bytes of users, by the row that wrote them.
static AMPLIFIED: Mutex<Vec<(&str, u64, u64)>> = Mutex::new(Vec::new());

pub(crate) fn amplified(row: &'static str, written: u64, user: u64) {
    let mut rows = AMPLIFIED.lock().expect("nobody panics with it");
    match rows.iter_mut().find(|(name, ..)| *name == row) {
        Some((_, all_written, all_user)) => {
            *all_written += written;
            *all_user += user;
        }
        None => rows.push((row, written, user)),
    }
}

/// How many bytes the rows of the last workload wrote for each byte of a record.
pub(crate) fn print_amplification() {
    for (row, written, user) in AMPLIFIED.lock().expect("nobody panics with it").drain(..) {
        println!(
            "  {row}: {:.2} bytes written per user byte",
            written as f64 / user as f64
        );
    }
}

fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

fn failed(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(error.to_string())
}

impl Subject for RawDirect {
    fn name(&self) -> &'static str {
        "raw O_DIRECT + RWF_DSYNC, prewritten"
    }

    fn takes(&self, workload: &Workload) -> bool {
        matches!(workload.task, Task::Direct { .. } | Task::Bulk { .. })
    }

    fn open(&self, workload: &Workload, dir: &Path) -> io::Result<Vec<Box<dyn Actor>>> {
        raw(workload, dir, None)
    }
}

impl Subject for RawReserved {
    fn name(&self) -> &'static str {
        "raw O_DIRECT, reserved blocks"
    }

    fn takes(&self, workload: &Workload) -> bool {
        matches!(workload.task, Task::Bulk { .. })
    }

    fn open(&self, workload: &Workload, dir: &Path) -> io::Result<Vec<Box<dyn Actor>>> {
        raw(workload, dir, Some(RESERVED_LEN))
    }
}

fn raw(workload: &Workload, dir: &Path, reserved_len: Option<u32>) -> io::Result<Vec<Box<dyn Actor>>> {
    let dir = sys::open_dir(None, &c_path(dir)?).map_err(failed)?;
    (0..workload.threads)
        .map(|thread| {
            let name = CString::new(format!("stream-{thread}"))?;
            let file = sys::create(&dir, &name).map_err(failed)?;
            let file_direct = sys::open(&dir, &name, sys::Access::WriteDirect).map_err(failed)?;
            if reserved_len.is_none() {
                sys::write_zeros(file_direct.number(), 0, STREAM_LEN, 64 << 10).map_err(failed)?;
                sys::sync_data(file.number()).map_err(failed)?;
            }
            let step = workload.bytes_per_step();
            let bulk = matches!(workload.task, Task::Bulk { .. });
            let mut buffer = AnonymousMap::new((step + BLOCK).next_multiple_of(4096)).map_err(failed)?;
            let bytes = payload(step);
            buffer[..step].copy_from_slice(&bytes);
            Ok(Box::new(Raw {
                file: file_direct,
                buffer,
                step,
                bulk,
                reserved_len,
                // Reserved by the first step.
                at: reserved_len.unwrap_or(0) as usize,
                written: 0,
                steps: 0,
            }) as Box<dyn Actor>)
        })
        .collect()
}

struct Raw {
    file: Fd,
    buffer: AnonymousMap,
    step: usize,
    bulk: bool,
    reserved_len: Option<u32>,
    at: usize,
    written: u64,
    steps: u64,
}

impl Actor for Raw {
    fn step(&mut self) -> io::Result<()> {
        if self.at + self.step > self.reserved_len.unwrap_or(STREAM_LEN) as usize {
            self.at = 0;
            if let Some(len) = self.reserved_len {
                sys::set_len(&self.file, 0).map_err(failed)?;
                sys::set_len(&self.file, len.into()).map_err(failed)?;
                sys::allocate(self.file.number(), 0..len.into()).map_err(failed)?;
            }
        }
        let from = self.at - self.at % BLOCK;
        let to = (self.at + self.step).next_multiple_of(BLOCK);
        self.at += self.step;
        self.steps += 1;
        self.written += (to - from) as u64;
        if !self.bulk {
            let bytes = &self.buffer[..to - from];
            let written = sys::write_at(
                self.file.number(),
                bytes,
                from as u64,
                BLOCK as u32,
                Durability::Durable,
            );
            return written.map_err(failed);
        }
        for piece in (from..to).step_by(BULK_LEN) {
            let bytes = &self.buffer[..BULK_LEN.min(to - piece)];
            let written = sys::write_at(
                self.file.number(),
                bytes,
                piece as u64,
                BLOCK as u32,
                Durability::Written,
            );
            written.map_err(failed)?;
        }
        sys::sync_data(self.file.number()).map_err(failed)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let name = match self.reserved_len {
            None => RawDirect.name(),
            Some(_) => RawReserved.name(),
        };
        amplified(name, self.written, self.steps * self.step as u64);
    }
}

impl Subject for Linux {
    fn name(&self) -> &'static str {
        "walstone-linux, direct"
    }

    fn takes(&self, workload: &Workload) -> bool {
        RawDirect.takes(workload) && workload.threads == 1
    }

    fn open(&self, workload: &Workload, dir: &Path) -> io::Result<Vec<Box<dyn Actor>>> {
        let geometry = Geometry::new(64 << 20).map_err(failed)?;
        let path = dir.join("wal");
        let root = Root::open(&c_path(&path)?).map_err(failed)?;
        let options = Options {
            checksum: Checksum::new(crc32c::crc32c_append),
            ..Options::new(REGION, 42)
        };
        let memory = || Memory::map(BUFFER_LEN);
        root.create_region(REGION, geometry, WritePath::Direct, memory(), |files| {
            Log::create(LinuxStorage::new(files), Capacity::heap(READ_LEN), options).map(drop)
        })
        .map_err(|error: walstone_core::Error<walstone_linux::LinuxError>| failed(error))?;
        let region = c_path(&path.join(REGION.to_string()))?;
        let files = RegionFiles::open_dir(&region, true, geometry, WritePath::Direct, memory()).map_err(failed)?;
        let storage = LinuxStorage::new(Arc::new(files));
        let mut log = Log::open(storage, Capacity::heap(READ_LEN), options).map_err(failed)?;
        let (record_len, batch) = match workload.task {
            Task::Direct { record_len, batch } => (record_len, batch),
            _ => (64 << 10, 0),
        };
        let value = payload(record_len);
        // The session and its first spare segment are made by the first append.
        log.append(TABLE, &value).map_err(failed)?;
        log.sync().map_err(failed)?;
        Ok(vec![Box::new(Append {
            begun: log.storage().files().stats().written_bytes,
            log,
            value,
            batch,
            task: workload.task,
            steps: 0,
            user_bytes: workload.bytes_per_step() as u64,
            _root: root,
        })])
    }
}

struct Append {
    log: Log<'static, LinuxStorage<'static, Arc<RegionFiles<'static>>>>,
    value: Vec<u8>,
    batch: usize,
    task: Task,
    begun: u64,
    steps: u64,
    user_bytes: u64,
    _root: Root,
}

impl Actor for Append {
    fn step(&mut self) -> io::Result<()> {
        self.steps += 1;
        match self.task {
            Task::Bulk { count, .. } => {
                for _ in 0..count {
                    self.log.append(TABLE, &self.value).map_err(failed)?;
                }
            }
            _ if self.batch == 1 => {
                self.log.append(TABLE, &self.value).map_err(failed)?;
            }
            _ => {
                let mut batch = Batch::new();
                for _ in 0..self.batch {
                    batch.push(TABLE, &self.value);
                }
                self.log.append_batch(&batch).map_err(failed)?;
            }
        }
        self.log.sync().map_err(failed)
    }
}

impl Drop for Append {
    fn drop(&mut self) {
        let written = self.log.storage().files().stats().written_bytes - self.begun;
        amplified(Linux.name(), written, self.steps * self.user_bytes);
    }
}

impl Subject for Front {
    fn name(&self) -> &'static str {
        "walstone, direct"
    }

    fn takes(&self, workload: &Workload) -> bool {
        RawDirect.takes(workload)
    }

    fn open(&self, workload: &Workload, dir: &Path) -> io::Result<Vec<Box<dyn Actor>>> {
        let options = walstone::Options::builder().write_path(walstone::WritePath::Direct);
        let wal = Wal::open(dir.join("wal"), options.build().map_err(failed)?).map_err(failed)?;
        let region = wal.create_region(REGION).map_err(failed)?;
        let (record_len, batch) = match workload.task {
            Task::Direct { record_len, batch } => (record_len, batch),
            Task::Bulk { record_len, .. } => (record_len, 1),
            _ => return Err(io::Error::other("not taken")),
        };
        let value = payload(record_len);
        // The session and its first spare segment are made by the first append.
        region.append(TABLE, &value).map_err(failed)?;
        let mut one = Batch::new();
        for _ in 0..batch {
            one.push(TABLE, &value);
        }
        let one = Arc::new(one);
        let user_total = Arc::new(AtomicU64::new(0));
        Ok((0..workload.threads)
            .map(|_| {
                Box::new(FrontAppend {
                    wal: wal.clone(),
                    region: region.clone(),
                    value: value.clone(),
                    batch: Arc::clone(&one),
                    task: workload.task,
                    steps: 0,
                    user_bytes: workload.bytes_per_step() as u64,
                    user_total: Arc::clone(&user_total),
                }) as Box<dyn Actor>
            })
            .collect())
    }
}

struct FrontAppend {
    wal: Wal,
    region: Region,
    value: Vec<u8>,
    batch: Arc<Batch<'static>>,
    task: Task,
    steps: u64,
    user_bytes: u64,
    /// Of all threads.
    user_total: Arc<AtomicU64>,
}

impl Actor for FrontAppend {
    fn step(&mut self) -> io::Result<()> {
        self.steps += 1;
        match self.task {
            Task::Bulk { count, .. } => {
                // Tickets that nobody waits for: their bytes are gathered until the last one is waited for.
                for _ in 1..count {
                    drop(self.region.submit(&self.batch, Promise::Durable).map_err(failed)?);
                }
                self.region.append(TABLE, &self.value).map(drop).map_err(failed)
            }
            Task::Direct { batch: 1, .. } => self.region.append(TABLE, &self.value).map(drop).map_err(failed),
            _ => self.region.append_batch(&self.batch).map(drop).map_err(failed),
        }
    }
}

impl Drop for FrontAppend {
    fn drop(&mut self) {
        // The counters are those of the region: the last of its threads tells.
        self.user_total
            .fetch_add(self.steps * self.user_bytes, Ordering::AcqRel);
        if Arc::strong_count(&self.user_total) > 1 {
            return;
        }
        let stats = self.wal.stats().ok();
        if let Some(linux) = stats.and_then(|mut stats| stats.regions.pop()?.linux) {
            amplified(
                Front.name(),
                linux.written_bytes,
                self.user_total.load(Ordering::Acquire),
            );
        }
    }
}
