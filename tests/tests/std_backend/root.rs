//! A root in a temporary directory, and what it looks like from outside.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tempfile::TempDir;
use walstone::{Options, OptionsBuilder, Record, Region, Result, View, Wal};

use crate::watch::Watch;

/// The shortest segments that work with the batches of the tests, and longer ones.
pub(crate) const SEGMENT_LENS: [u32; 2] = [4096, 64 << 10];

/// A directory for one log, gone with this value.
pub(crate) struct Root {
    dir: TempDir,
    pub(crate) watch: Arc<Watch>,
}

/// Every file and directory below a path: its bytes and when it was changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tree(BTreeMap<PathBuf, (Vec<u8>, SystemTime)>);

impl Root {
    pub(crate) fn new() -> Self {
        Self {
            dir: TempDir::new().unwrap(),
            watch: Arc::default(),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("wal")
    }

    pub(crate) fn segment(&self, region: u64, segment: u64) -> PathBuf {
        self.path().join(format!("{region}/seg_{segment}"))
    }

    /// The ids of the segment files of a region.
    pub(crate) fn segments(&self, region: u64) -> Vec<u64> {
        let entries = fs::read_dir(self.path().join(region.to_string())).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut ids: Vec<u64> = names
            .filter_map(|name| name.strip_prefix("seg_")?.parse().ok())
            .collect();
        ids.sort_unstable();
        ids
    }

    /// Options with an observer and short segments.
    pub(crate) fn options(&self) -> OptionsBuilder {
        crate::written(Options::builder().segment_len(4096).observer(self.watch.clone()))
    }

    pub(crate) fn open(&self) -> Wal {
        self.try_open().unwrap()
    }

    pub(crate) fn try_open(&self) -> Result<Wal> {
        self.open_with(self.options())
    }

    pub(crate) fn open_with(&self, options: OptionsBuilder) -> Result<Wal> {
        Wal::open(self.path(), options.build().unwrap())
    }

    pub(crate) fn tree(&self) -> Tree {
        Tree::of(&self.path())
    }
}

impl Tree {
    pub(crate) fn of(path: &Path) -> Self {
        let mut tree = Self(BTreeMap::new());
        tree.walk(path);
        tree
    }

    fn walk(&mut self, path: &Path) {
        let Ok(metadata) = fs::symlink_metadata(path) else {
            return;
        };
        let bytes = if metadata.is_dir() {
            for entry in fs::read_dir(path).unwrap() {
                self.walk(&entry.unwrap().path());
            }
            Vec::new()
        } else {
            fs::read(path).unwrap()
        };
        self.0.insert(path.to_path_buf(), (bytes, metadata.modified().unwrap()));
    }
}

/// Table, sequence and value of a record.
pub(crate) type Row = (u64, u64, Vec<u8>);

pub(crate) fn row(record: Record<'_>) -> Row {
    (record.table, record.sequence, record.value.to_vec())
}

/// All records of a view.
pub(crate) fn rows(view: &View) -> Vec<Row> {
    view.scan().map(|record| row(record.unwrap())).collect()
}

/// All records of a region.
pub(crate) fn scan(region: &Region) -> Vec<Row> {
    rows(&region.view().unwrap())
}

/// The sequences of a table.
pub(crate) fn sequences(region: &Region, table: u64) -> Vec<u64> {
    let view = region.view().unwrap();
    view.read(table, ..).map(|record| record.unwrap().sequence).collect()
}

/// A value that tells its sequence and has this length.
pub(crate) fn value(sequence: u64, len: usize) -> Vec<u8> {
    let mut value = sequence.to_le_bytes().to_vec();
    value.resize(len.max(8), sequence as u8);
    value
}

/// Copies a directory with what is in it.
pub(crate) fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}
