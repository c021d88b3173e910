//! A log in a program that has neither a standard library nor a C library, nor a heap: a static binary for Linux.
//!
//! ```sh
//! freestanding DIRECTORY
//! ```
//!
//! Makes a region in the directory, appends, syncs, opens it again, reads, deletes, reclaims, and looks whether it is
//! all as it should be. The exit code tells the step that failed.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod memory;
mod start;

use core::ffi::CStr;
use core::fmt;
use core::ops::ControlFlow;

use walstone_core::{Error, Found, Geometry, Log, Options, Storage, Workspace};
use walstone_linux::{LinuxError, LinuxStorage, Memory, RegionFiles, Root, WritePath};

const REGION: u64 = 7;
const TABLE: u64 = 1;
const RECORDS: u64 = 2_000;
const SEGMENT_LEN: u32 = 64 << 10;

/// A step, and why it failed.
struct Failure {
    step: Step,
    error: Option<Error<LinuxError>>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Open = 10,
    Create,
    Append,
    Sync,
    Reopen,
    Read,
    Delete,
    Reclaim,
    Close,
}

impl Failure {
    fn code(&self) -> u8 {
        self.step as u8
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.error {
            Some(error) => write!(f, "{:?}: {error}", self.step),
            None => write!(f, "{:?}: not what was expected", self.step),
        }
    }
}

fn failed<E: Into<Error<LinuxError>>>(step: Step) -> impl FnOnce(E) -> Failure {
    move |error| Failure {
        step,
        error: Some(error.into()),
    }
}

fn without_cause<E>(_: E) -> Failure {
    Failure {
        step: Step::Open,
        error: None,
    }
}

fn check(step: Step, holds: bool) -> Result<(), Failure> {
    if holds {
        Ok(())
    } else {
        Err(Failure { step, error: None })
    }
}

fn value(sequence: u64) -> [u8; 300] {
    [sequence as u8; 300]
}

fn run(directory: &CStr) -> Result<(), Failure> {
    let root = Root::open(directory).map_err(failed(Step::Open))?;
    let geometry = Geometry::new(SEGMENT_LEN).map_err(without_cause)?;
    let options = Options::new(REGION, walstone_linux::random_seed().map_err(without_cause)?);
    let mut lent = [0; 48 << 10];
    let mut workspace = Workspace::<16, 16, 4, 4096>::new();

    root.create_region(REGION, geometry, WritePath::Direct, Memory::lend(&mut lent), |files| {
        Log::create(LinuxStorage::new(files), workspace.lend(), options).map(drop)
    })
    .map_err(failed(Step::Create))?;
    let files = root.region(REGION, geometry, WritePath::Direct, Memory::lend(&mut lent));
    let files = files.map_err(failed(Step::Open))?;
    let mut log = Log::open(LinuxStorage::new(&files), workspace.lend(), options).map_err(failed(Step::Open))?;
    for sequence in 1..=RECORDS {
        let appended = log.append(TABLE, &value(sequence)).map_err(failed(Step::Append))?;
        check(Step::Append, appended.first == sequence)?;
        log.sync().map_err(failed(Step::Sync))?;
    }

    let mut log = Log::open(LinuxStorage::new(&files), workspace.lend(), options).map_err(failed(Step::Reopen))?;
    check(Step::Reopen, log.last_sequence() == RECORDS)?;
    check(Step::Read, read_from(&mut log, 1)?)?;
    let segments = count(&files)?;
    check(Step::Append, segments > 2)?;

    let kept = RECORDS - 10;
    log.delete_up_to(TABLE, kept).map_err(failed(Step::Delete))?;
    log.reclaim().map_err(failed(Step::Reclaim))?;
    log.sync().map_err(failed(Step::Sync))?;
    check(Step::Reclaim, count(&files)? < segments)?;
    check(Step::Read, read_from(&mut log, kept + 1)?)?;
    log.close().map_err(failed(Step::Close))?;

    let mut log = Log::open(LinuxStorage::new(&files), workspace.lend(), options).map_err(failed(Step::Reopen))?;
    check(Step::Read, read_from(&mut log, kept + 1)?)
}

/// Whether the log holds the records from `first` on, and no others.
fn read_from<S: Storage<Error = LinuxError>>(log: &mut Log<'_, S>, first: u64) -> Result<bool, Failure> {
    let mut expect = first;
    let mut records = log.read(Some(TABLE), ..);
    while let Some(record) = records.next() {
        let record = record.map_err(failed(Step::Read))?;
        if record.sequence != expect || record.value != value(expect) {
            return Ok(false);
        }
        expect += 1;
    }
    Ok(expect == RECORDS + 1)
}

fn count(files: &RegionFiles<'_>) -> Result<usize, Failure> {
    let mut count = 0;
    LinuxStorage::new(files)
        .segments(&mut |found| {
            count += usize::from(matches!(found, Found::Segment(_)));
            ControlFlow::Continue(())
        })
        .map_err(failed(Step::Reclaim))?;
    Ok(count)
}
