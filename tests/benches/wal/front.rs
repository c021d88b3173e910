//! The log itself as a subject: what its users call, with the options they get by default.

use std::hint::black_box;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use walstone::{Batch, Durability, Options, Region, Wal};

use crate::raw::payload;
use crate::subject::{Actor, Streams, Subject, Task, Workload};

/// Appends and scans of an open log.
pub(crate) struct Walstone;

/// Opens a log that was closed.
pub(crate) struct Reopen;

/// Opens a log whose process died.
pub(crate) struct Recover;

const REGION: u64 = 1;
const TABLE: u64 = 1;

/// The record of the logs that are scanned and opened.
const RECORD_LEN: usize = 256;

/// Bytes of log for one such record: frame header, record head, value, up to the next multiple of 8.
const FRAME_LEN: usize = (24 + 3 + RECORD_LEN).next_multiple_of(8);

impl Subject for Walstone {
    fn name(&self) -> &'static str {
        "walstone"
    }

    fn takes(&self, workload: &Workload) -> bool {
        matches!(
            workload.task,
            Task::Durable { .. } | Task::Written { .. } | Task::Verify { .. }
        )
    }

    fn open(&self, workload: &Workload, dir: &Path) -> io::Result<Vec<Box<dyn Actor>>> {
        let wal = open(dir)?;
        let (record_len, batch, durability) = match workload.task {
            Task::Durable { record_len, batch } => (record_len, batch, Durability::Durable),
            Task::Written { record_len } => (record_len, 1, Durability::Written),
            Task::Direct { .. } | Task::Bulk { .. } => unreachable!("not taken"),
            Task::Verify { len } | Task::Read { len } | Task::Open { len } => {
                let region = fill(&wal, len)?;
                return Ok(vec![Box::new(Scan { region, _wal: wal })]);
            }
        };
        (0..workload.threads as u64)
            .map(|thread| {
                let region = match workload.streams {
                    Streams::Shared => REGION,
                    Streams::PerThread => thread,
                };
                let region = wal.region_or_create(region).map_err(io::Error::other)?;
                let value = payload(record_len);
                // The session and its first spare segment are made by the first append.
                region
                    .append_with(TABLE, &value, durability)
                    .map_err(io::Error::other)?;
                let wal = wal.clone();
                Ok(if batch == 1 {
                    Box::new(Append {
                        region,
                        value,
                        durability,
                        counts: workload.threads > 1 && workload.streams == Streams::Shared && thread == 0,
                        _wal: wal,
                    }) as Box<dyn Actor>
                } else {
                    Box::new(AppendBatch {
                        region,
                        value,
                        batch: Batch::new(),
                        count: batch,
                        durability,
                        _wal: wal,
                    })
                })
            })
            .collect()
    }
}

struct Append {
    region: Region,
    value: Vec<u8>,
    durability: Durability,
    /// Adds the region's counters to the totals when it is done.
    counts: bool,
    _wal: Wal,
}

/// Acknowledgements and syncs of many threads on one region.
static ACKNOWLEDGED: AtomicU64 = AtomicU64::new(0);
static SYNCED: AtomicU64 = AtomicU64::new(0);

/// Syncs per acknowledgement where many threads shared a region.
pub(crate) fn syncs_per_acknowledgement() -> Option<f64> {
    let acknowledged = ACKNOWLEDGED.load(Ordering::Relaxed);
    (acknowledged > 0).then(|| SYNCED.load(Ordering::Relaxed) as f64 / acknowledged as f64)
}

impl Drop for Append {
    fn drop(&mut self) {
        if self.counts {
            let counters = self.region.counters();
            ACKNOWLEDGED.fetch_add(counters.appends, Ordering::Relaxed);
            SYNCED.fetch_add(counters.syncs, Ordering::Relaxed);
        }
    }
}

impl Actor for Append {
    fn step(&mut self) -> io::Result<()> {
        let appended = self.region.append_with(TABLE, &self.value, self.durability);
        appended.map(drop).map_err(io::Error::other)
    }
}

/// Encodes and appends a batch.
struct AppendBatch {
    region: Region,
    value: Vec<u8>,
    batch: Batch<'static>,
    count: usize,
    durability: Durability,
    _wal: Wal,
}

impl Actor for AppendBatch {
    fn step(&mut self) -> io::Result<()> {
        self.batch.clear();
        for _ in 0..self.count {
            self.batch.push(TABLE, &self.value);
        }
        let appended = self.region.append_batch_with(&self.batch, self.durability);
        appended.map(drop).map_err(io::Error::other)
    }
}

/// Reads every record of a log, each verified on the way.
struct Scan {
    region: Region,
    _wal: Wal,
}

impl Actor for Scan {
    fn step(&mut self) -> io::Result<()> {
        let view = self.region.view().map_err(io::Error::other)?;
        let mut records = 0u64;
        for record in view.scan() {
            black_box(record.map_err(io::Error::other)?);
            records += 1;
        }
        if records == self.region.last_sequence() {
            Ok(())
        } else {
            Err(io::Error::other(format!("{records} records were read")))
        }
    }
}

impl Subject for Reopen {
    fn name(&self) -> &'static str {
        "walstone, closed before"
    }

    fn takes(&self, workload: &Workload) -> bool {
        matches!(workload.task, Task::Open { .. })
    }

    fn open(&self, workload: &Workload, dir: &Path) -> io::Result<Vec<Box<dyn Actor>>> {
        let wal = open(dir)?;
        fill(&wal, workload.bytes_per_step())?;
        wal.close().map_err(io::Error::other)?;
        Ok(vec![Box::new(Open { dir: dir.to_path_buf() })])
    }
}

impl Subject for Recover {
    fn name(&self) -> &'static str {
        "walstone, not closed before"
    }

    fn takes(&self, workload: &Workload) -> bool {
        Reopen.takes(workload)
    }

    fn open(&self, workload: &Workload, dir: &Path) -> io::Result<Vec<Box<dyn Actor>>> {
        fill(&open(dir)?, workload.bytes_per_step())?;
        Ok(vec![Box::new(Open { dir: dir.to_path_buf() })])
    }
}

/// Opens the log, and lets go of it without having written.
struct Open {
    dir: PathBuf,
}

impl Actor for Open {
    fn step(&mut self) -> io::Result<()> {
        let wal = open(&self.dir)?;
        let region = wal.region(REGION).map_err(io::Error::other)?;
        if region.last_sequence() == 0 {
            return Err(io::Error::other("nothing was recovered"));
        }
        Ok(())
    }
}

fn open(dir: &Path) -> io::Result<Wal> {
    Wal::open(dir.join("wal"), Options::default()).map_err(io::Error::other)
}

/// Appends records one by one until there are `len` bytes of log, and makes them durable.
fn fill(wal: &Wal, len: usize) -> io::Result<Region> {
    let region = wal.region_or_create(REGION).map_err(io::Error::other)?;
    let value = payload(RECORD_LEN);
    for _ in 0..len / FRAME_LEN {
        region
            .append_with(TABLE, &value, Durability::Written)
            .map_err(io::Error::other)?;
    }
    region.sync().map_err(io::Error::other)?;
    Ok(region)
}
