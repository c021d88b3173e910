//! The files below the engine: what they hold, what power loss and faults may do to them, how many are open.

mod cache;
mod faults;
mod full;
mod lock;
mod observers;
mod regions;
mod segments;

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use walstone::files::{FileError, MapStorage, Root};
use walstone::seam::Seam;
use walstone_core::{Found, Storage};
use walstone_core::{Mark, SegmentId};

const SEGMENT_LEN: u32 = 256 << 10;
const HEADER: [u8; 64] = [0xa5; 64];
const REGION: u64 = 7;

/// A root with one region that has segment 1.
struct Bench {
    dir: TempDir,
    seam: Seam,
    max_open: usize,
}

impl Bench {
    fn new() -> Self {
        Self::with(Seam::new(), 4)
    }

    fn with(seam: Seam, max_open: usize) -> Self {
        let bench = Self {
            dir: TempDir::new().unwrap(),
            seam,
            max_open,
        };
        make_region(&Root::open(Seam::new(), bench.path(), max_open).unwrap()).unwrap();
        bench
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn region_path(&self) -> PathBuf {
        self.path().join(REGION.to_string())
    }

    fn segment_path(&self, id: u64) -> PathBuf {
        self.region_path().join(format!("seg_{id}"))
    }

    fn root(&self) -> Root {
        Root::open(self.seam.clone(), self.path(), self.max_open).unwrap()
    }

    fn open(&self) -> MapStorage {
        self.root().region(REGION, SEGMENT_LEN).unwrap()
    }

    fn open_read_only(&self) -> MapStorage {
        let root = Root::open_read_only(self.seam.clone(), self.path(), self.max_open).unwrap();
        root.region(REGION, SEGMENT_LEN).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.region_path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn make_region(root: &Root) -> Result<(), FileError> {
    root.create_region_dir(REGION, SEGMENT_LEN, |mut storage| storage.create(SegmentId(1), &HEADER))
}

fn listed(storage: &mut MapStorage) -> Result<Vec<Found>, FileError> {
    let mut all = Vec::new();
    storage.segments(&mut |found| {
        all.push(found);
        ControlFlow::Continue(())
    })?;
    Ok(all)
}

fn read(storage: &mut MapStorage, id: u64, offset: u32, len: u32) -> Vec<u8> {
    let mut buf = vec![0; len as usize];
    storage.read(SegmentId(id), offset, len, &mut buf).unwrap().to_vec()
}

fn append(storage: &mut MapStorage, id: u64, offset: u32, data: &[u8]) -> Result<(), FileError> {
    storage.claim(SegmentId(id), offset + data.len() as u32)?;
    storage.write(SegmentId(id), offset, &[data])
}

fn mark(id: u64, end: u32) -> Mark {
    Mark {
        segment: SegmentId(id),
        end,
    }
}

/// Descriptors of this process on files below `dir`.
fn descriptors_below(dir: &Path) -> usize {
    let dir = dir.canonicalize().unwrap();
    fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter(|target| target.starts_with(&dir) && !target.ends_with("LOCK"))
        .count()
}

/// Maps of this process of files below `dir`.
fn maps_below(dir: &Path) -> usize {
    let dir = dir.canonicalize().unwrap();
    let dir = dir.to_str().unwrap();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains(dir)).count()
}
