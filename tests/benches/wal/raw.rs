//! The baselines: the plainest code that moves the same bytes with the same promise.

use std::fs::File;
use std::hint::black_box;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use memmap2::MmapRaw;

use crate::medium;
use crate::subject::{Actor, Streams, Subject, Task, Workload};

/// `pwrite`, then `fdatasync`. Threads that share a stream hold its lock over both.
pub(crate) struct PwriteSync;

/// A store into a map, then `fdatasync`.
pub(crate) struct StoreSync;

/// A store into a map, then `msync` of the pages it touched.
pub(crate) struct StoreMsync;

/// `pwrite` alone: the kernel has the bytes on return.
pub(crate) struct Pwrite;

/// A store into a map with a CRC of the record beside it. A shared map is the kernel's, so the promise is the same.
pub(crate) struct StoreCrc;

/// One CRC over a map that is in memory.
pub(crate) struct CrcScan;

/// `pread` in pieces that stay in the processor's cache.
pub(crate) struct ReadScan;

/// `pread` in pieces with a CRC of each: what opening asks for where nothing tells what may be left out.
pub(crate) struct ReadCrc;

/// Room for one stream; when it is full, the next record overwrites the first.
const STREAM_LEN: usize = 16 << 20;

/// What stands before each record, as long as a frame header may be; the CRC is in it.
const HEADER_LEN: usize = 24;

const READ_LEN: usize = 256 << 10;

impl Subject for PwriteSync {
    fn name(&self) -> &'static str {
        "raw pwrite + fdatasync"
    }

    fn takes(&self, workload: &Workload) -> bool {
        matches!(workload.task, Task::Durable { .. })
    }

    fn open(&self, workload: &Workload, dir: &Path) -> io::Result<Vec<Box<dyn Actor>>> {
        let bytes = payload(workload.bytes_per_step());
        let streams = match workload.streams {
            Streams::Shared => 1,
            Streams::PerThread => workload.threads,
        };
        let streams = (0..streams)
            .map(|stream| {
                let file = medium::written_file(&dir.join(format!("stream-{stream}")), STREAM_LEN)?;
                Ok(Arc::new(Mutex::new(Stream {
                    file,
                    walk: Walk::new(bytes.len(), STREAM_LEN),
                })))
            })
            .collect::<io::Result<Vec<_>>>()?;
        let threads = streams.iter().cycle().take(workload.threads);
        Ok(threads
            .map(|stream| {
                boxed(LockedStream {
                    stream: Arc::clone(stream),
                    bytes: bytes.clone(),
                })
            })
            .collect())
    }
}

struct Stream {
    file: File,
    walk: Walk,
}

struct LockedStream {
    stream: Arc<Mutex<Stream>>,
    bytes: Vec<u8>,
}

impl Actor for LockedStream {
    fn step(&mut self) -> io::Result<()> {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        let offset = stream.walk.next();
        stream.file.write_all_at(&self.bytes, offset as u64)?;
        stream.file.sync_data()
    }
}

impl Subject for StoreSync {
    fn name(&self) -> &'static str {
        "raw store + fdatasync"
    }

    fn takes(&self, workload: &Workload) -> bool {
        matches!(workload.task, Task::Durable { .. }) && workload.threads == 1
    }

    fn open(&self, workload: &Workload, dir: &Path) -> io::Result<Vec<Box<dyn Actor>>> {
        let (file, target) = mapped(dir, workload, 0)?;
        Ok(vec![boxed(StoreThenSync { file, target })])
    }
}

struct StoreThenSync {
    file: File,
    target: Target,
}

impl Actor for StoreThenSync {
    fn step(&mut self) -> io::Result<()> {
        self.target.store_next();
        self.file.sync_data()
    }
}

impl Subject for StoreMsync {
    fn name(&self) -> &'static str {
        "raw store + msync"
    }

    fn takes(&self, workload: &Workload) -> bool {
        StoreSync.takes(workload)
    }

    fn open(&self, workload: &Workload, dir: &Path) -> io::Result<Vec<Box<dyn Actor>>> {
        let (_, target) = mapped(dir, workload, 0)?;
        Ok(vec![boxed(StoreThenMsync { target })])
    }
}

struct StoreThenMsync {
    target: Target,
}

impl Actor for StoreThenMsync {
    fn step(&mut self) -> io::Result<()> {
        let offset = self.target.store_next();
        self.target.map.flush_range(offset, self.target.bytes.len())
    }
}

impl Subject for Pwrite {
    fn name(&self) -> &'static str {
        "raw pwrite"
    }

    fn takes(&self, workload: &Workload) -> bool {
        matches!(workload.task, Task::Written { .. })
    }

    fn open(&self, workload: &Workload, dir: &Path) -> io::Result<Vec<Box<dyn Actor>>> {
        let bytes = payload(workload.bytes_per_step());
        let file = medium::written_file(&dir.join("stream"), STREAM_LEN)?;
        Ok(vec![boxed(PlainStream {
            file,
            walk: Walk::new(bytes.len(), STREAM_LEN),
            bytes,
        })])
    }
}

struct PlainStream {
    file: File,
    walk: Walk,
    bytes: Vec<u8>,
}

impl Actor for PlainStream {
    fn step(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.bytes, self.walk.next() as u64)
    }
}

impl Subject for StoreCrc {
    fn name(&self) -> &'static str {
        "raw store + CRC"
    }

    fn takes(&self, workload: &Workload) -> bool {
        Pwrite.takes(workload)
    }

    fn open(&self, workload: &Workload, dir: &Path) -> io::Result<Vec<Box<dyn Actor>>> {
        let (_, target) = mapped(dir, workload, HEADER_LEN)?;
        Ok(vec![boxed(StoreWithCrc { target })])
    }
}

struct StoreWithCrc {
    target: Target,
}

impl Actor for StoreWithCrc {
    fn step(&mut self) -> io::Result<()> {
        let crc = crc_fast::crc32_iscsi(black_box(&self.target.bytes));
        let mut header = [0; HEADER_LEN];
        let (_, tail) = header.split_at_mut(HEADER_LEN - size_of::<u32>());
        tail.copy_from_slice(&crc.to_le_bytes());
        let offset = self.target.store_next();
        self.target.store(offset - HEADER_LEN, &header);
        Ok(())
    }
}

impl Subject for CrcScan {
    fn name(&self) -> &'static str {
        "raw CRC of a map"
    }

    fn takes(&self, workload: &Workload) -> bool {
        matches!(workload.task, Task::Verify { .. })
    }

    fn open(&self, workload: &Workload, dir: &Path) -> io::Result<Vec<Box<dyn Actor>>> {
        let file = medium::written_file(&dir.join("stream"), workload.bytes_per_step())?;
        Ok(vec![boxed(MapCrc {
            map: medium::faulted_map(&file)?,
        })])
    }
}

struct MapCrc {
    map: MmapRaw,
}

impl Actor for MapCrc {
    fn step(&mut self) -> io::Result<()> {
        // SAFETY: the whole map, readable, and nobody writes to it or to its file while this actor lives.
        let bytes = unsafe { std::slice::from_raw_parts(self.map.as_ptr(), self.map.len()) };
        black_box(crc_fast::crc32_iscsi(bytes));
        Ok(())
    }
}

impl Subject for ReadScan {
    fn name(&self) -> &'static str {
        "raw pread of 256 KiB each"
    }

    fn takes(&self, workload: &Workload) -> bool {
        matches!(workload.task, Task::Read { .. })
    }

    fn open(&self, workload: &Workload, dir: &Path) -> io::Result<Vec<Box<dyn Actor>>> {
        let len = workload.bytes_per_step();
        let file = medium::written_file(&dir.join("stream"), len)?;
        Ok(vec![boxed(Pread {
            file,
            len,
            buf: vec![0; READ_LEN],
        })])
    }
}

struct Pread {
    file: File,
    len: usize,
    buf: Vec<u8>,
}

impl Actor for Pread {
    fn step(&mut self) -> io::Result<()> {
        for offset in (0..self.len).step_by(READ_LEN) {
            self.file.read_exact_at(&mut self.buf, offset as u64)?;
            black_box(&self.buf);
        }
        Ok(())
    }
}

impl Subject for ReadCrc {
    fn name(&self) -> &'static str {
        "raw open, pread + CRC of all"
    }

    fn takes(&self, workload: &Workload) -> bool {
        matches!(workload.task, Task::Open { .. })
    }

    fn open(&self, workload: &Workload, dir: &Path) -> io::Result<Vec<Box<dyn Actor>>> {
        let path = dir.join("stream");
        let len = workload.bytes_per_step();
        medium::written_file(&path, len)?;
        Ok(vec![boxed(OpenCrc {
            path,
            len,
            buf: vec![0; READ_LEN],
        })])
    }
}

struct OpenCrc {
    path: PathBuf,
    len: usize,
    buf: Vec<u8>,
}

impl Actor for OpenCrc {
    fn step(&mut self) -> io::Result<()> {
        let file = File::options().read(true).write(true).open(&self.path)?;
        for offset in (0..self.len).step_by(READ_LEN) {
            file.read_exact_at(&mut self.buf, offset as u64)?;
            black_box(crc_fast::crc32_iscsi(&self.buf));
        }
        Ok(())
    }
}

/// A faulted map and where the next record goes in it.
struct Target {
    map: MmapRaw,
    walk: Walk,
    header_len: usize,
    bytes: Vec<u8>,
}

impl Target {
    /// Stores the payload behind room for its header; the offset of the payload.
    fn store_next(&mut self) -> usize {
        let offset = self.walk.next() + self.header_len;
        self.store(offset, &self.bytes);
        offset
    }

    fn store(&self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= self.map.len(), "a store beyond the map");
        // SAFETY: `offset` is inside the map, as just asserted.
        let to = unsafe { self.map.as_mut_ptr().add(offset) };
        // SAFETY: `bytes.len()` bytes from `to` are inside the map, as just asserted; `bytes` lies in the heap or on
        // the stack, so the two do not overlap; nobody else has this map.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
    }
}

fn mapped(dir: &Path, workload: &Workload, header_len: usize) -> io::Result<(File, Target)> {
    let file = medium::written_file(&dir.join("stream"), STREAM_LEN)?;
    let map = medium::faulted_map(&file)?;
    let bytes = payload(workload.bytes_per_step());
    if matches!(workload.task, Task::Durable { .. }) {
        // The stores that faulted the map in are not part of the first step.
        file.sync_data()?;
    }
    let walk = Walk::new(bytes.len() + header_len, STREAM_LEN);
    Ok((
        file,
        Target {
            map,
            walk,
            header_len,
            bytes,
        },
    ))
}

/// Offsets of records of one size, one behind the other, round and round.
struct Walk {
    offset: usize,
    step: usize,
    end: usize,
}

impl Walk {
    fn new(step: usize, end: usize) -> Self {
        assert!(step <= end, "a record of {step} bytes in a stream of {end}");
        Self { offset: 0, step, end }
    }

    fn next(&mut self) -> usize {
        if self.offset + self.step > self.end {
            self.offset = 0;
        }
        let offset = self.offset;
        self.offset += self.step;
        offset
    }
}

pub(crate) fn payload(len: usize) -> Vec<u8> {
    (0..len as u64)
        .map(|index| index.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()[5])
        .collect()
}

fn boxed(actor: impl Actor + 'static) -> Box<dyn Actor> {
    Box::new(actor)
}
