//! The directories of a HoraeDB log, version 0: `<root>/<region>/seg_<id>` or `<root>/<region>/segment_<id>.wal`.
//! Reads whole segment files, one at a time; decoding them is `walstone_core::v0`.

use std::error::Error;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use walstone_core::v0::{self, DecodeError, Layout, Record, Records};

/// What the root of a log holds.
#[derive(Clone, Debug, Default)]
pub struct Root {
    /// Its regions, by number.
    pub regions: Vec<Region>,
    /// What is not of the log.
    pub foreign: Vec<PathBuf>,
}

/// One region.
#[derive(Clone, Debug)]
pub struct Region {
    /// Its number.
    pub id: u64,
    /// Its segments, by id.
    pub segments: Vec<Segment>,
}

/// One segment file.
#[derive(Clone, Debug)]
pub struct Segment {
    /// The layout that its name states.
    pub layout: Layout,
    /// Its id.
    pub id: u64,
    /// The file.
    pub path: PathBuf,
}

impl Root {
    /// Lists a root and its regions. Names decide; no file is opened.
    ///
    /// # Errors
    /// A directory cannot be listed; the error names it.
    pub fn list(path: &Path) -> io::Result<Self> {
        let mut root = Self::default();
        for (name, path) in entries(path)? {
            let region = name.parse::<u64>().ok().filter(|id| id.to_string() == name);
            match region.filter(|_| path.is_dir()) {
                Some(id) => {
                    let region = list_region(id, &path, &mut root.foreign)?;
                    root.regions.push(region);
                }
                None => root.foreign.push(path),
            }
        }
        root.regions.sort_by_key(|region| region.id);
        root.foreign.sort_unstable();
        Ok(root)
    }
}

fn list_region(id: u64, path: &Path, foreign: &mut Vec<PathBuf>) -> io::Result<Region> {
    let mut segments = Vec::new();
    for (name, path) in entries(path)? {
        match v0::parse_file_name(&name) {
            Some((layout, id)) => segments.push(Segment { layout, id, path }),
            None => foreign.push(path),
        }
    }
    segments.sort_by_key(|segment| segment.id);
    Ok(Region { id, segments })
}

/// Names and paths. A name that is no text names nothing of a log: it stands as it prints.
fn entries(path: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("cannot list {}: {error}", path.display()));
    let entry = |entry: io::Result<fs::DirEntry>| {
        entry.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
    };
    fs::read_dir(path)
        .map_err(named)?
        .map(entry)
        .collect::<io::Result<_>>()
        .map_err(named)
}

impl Segment {
    /// All bytes of the file.
    ///
    /// # Errors
    /// It cannot be read; the error names it.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", self.path.display()));
        fs::read(&self.path).map_err(named)
    }
}

/// Something that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The region.
    pub region: u64,
    /// The segment file.
    pub path: PathBuf,
    /// Bytes from the file's start.
    pub offset: usize,
    /// What does not hold there.
    pub reason: Reason,
    /// Whether it is the newest segment of its region: invalid bytes there may be a write that the end of its
    /// writer interrupted. The format cannot tell.
    pub newest: bool,
}

/// What does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No record starts here, and the bytes are not all zero.
    Invalid(DecodeError),
    /// A record whose sequence does not rise: out of place, or left from an earlier life of the file.
    NotRising {
        /// Its sequence.
        sequence: u64,
        /// The sequence before it in the region.
        before: u64,
    },
    /// The region has segments of both layouts: two logs in one place.
    TwoLayouts,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "region {}: {} at {}: {}",
            self.region,
            self.path.display(),
            self.offset,
            self.reason
        )?;
        if self.newest && matches!(self.reason, Reason::Invalid(_)) {
            f.write_str(" (newest segment: a torn write or damage)")?;
        }
        Ok(())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(reason) => reason.fmt(f),
            Self::NotRising { sequence, before } => write!(f, "sequence {sequence} follows {before}"),
            Self::TwoLayouts => f.write_str("the region has segments of both layouts"),
        }
    }
}

impl Error for Damage {}

/// What one segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentFacts {
    /// Records that verify.
    pub records: u64,
    /// Bytes up to the end of the last of them.
    pub end: usize,
    /// Bytes of the file.
    pub len: usize,
}

impl Region {
    /// Reads the region once. Gives each record that verifies, in the order of the files, to `each`, and what does
    /// not hold to `damaged`; behind invalid bytes nothing of that segment is read.
    ///
    /// # Errors
    /// A file cannot be read, or what `each` returns.
    pub fn walk<E: From<io::Error>>(
        &self,
        mut each: impl FnMut(&Record<'_>) -> Result<(), E>,
        mut damaged: impl FnMut(Damage),
    ) -> Result<Vec<SegmentFacts>, E> {
        let mut before = None;
        let mut facts = Vec::with_capacity(self.segments.len());
        for (at, segment) in self.segments.iter().enumerate() {
            let mut damage = |offset, reason| {
                damaged(Damage {
                    region: self.id,
                    path: segment.path.clone(),
                    offset,
                    reason,
                    newest: at + 1 == self.segments.len(),
                });
            };
            if segment.layout != self.segments[0].layout {
                damage(0, Reason::TwoLayouts);
            }
            let bytes = segment.read()?;
            let mut records = Records::new(segment.layout, &bytes);
            let mut count = 0;
            loop {
                let offset = records.offset();
                match records.next() {
                    None => break,
                    Some(Ok(record)) => {
                        if let Some(before) = before.filter(|&before| record.sequence <= before) {
                            let sequence = record.sequence;
                            damage(offset, Reason::NotRising { sequence, before });
                        }
                        before = Some(record.sequence);
                        count += 1;
                        each(&record)?;
                    }
                    // A file that lost its writer before the header, or that was lengthened ahead.
                    Some(Err(_)) if records.rest_is_zero() => break,
                    Some(Err(error)) => damage(error.offset, Reason::Invalid(error.reason)),
                }
            }
            facts.push(SegmentFacts {
                records: count,
                end: records.offset(),
                len: bytes.len(),
            });
        }
        Ok(facts)
    }
}
