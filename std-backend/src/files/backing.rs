//! The segments of one region, mapped or by raw system calls, as the options say.
//!
//! Roots, their lock and their directories are the same for both. Who writes by raw system calls keeps 16 segments open at
//! most, whatever the options say, and of its calls an observer sees the syncs alone.

use std::ffi::CString;
use std::io;
use std::ops::{ControlFlow, Deref};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use walstone_core::{Found, Geometry, Mark, SegmentId, SharedStorage, Storage};
use walstone_linux::{Cause as Refused, Doing as Did, LinuxError, LinuxStorage, Memory, RegionFiles};

use super::error::{Cause, Doing, FileError};
use super::names;
use super::storage::MapStorage;
use crate::options::WritePath;
use crate::seam;

/// A handle on the segments of one region. Clones are handles on the same segments.
#[derive(Clone, Debug)]
pub struct Files {
    // In front of the map, which holds the lock on the root: its end waits for what is on its way to the device, and the
    // lock must outlive that.
    linux: Option<Linux>,
    map: MapStorage,
}

type Linux = LinuxStorage<'static, Arc<RegionFiles<'static>>>;

/// Claims by raw system calls go on to the next multiple of this: each of them makes the file system commit what it notes
/// of the file, and a durable write beside it waits for that.
const CLAIM_LEN: u32 = 16 << 20;

/// The same at the start of a segment, so that a region which is hardly used stays small.
const FIRST_CLAIM_LEN: u32 = 1 << 20;

/// Where a claim up to `to` ends.
fn further(to: Mark, geometry: Geometry) -> Mark {
    let step = match to.end {
        ..=FIRST_CLAIM_LEN => FIRST_CLAIM_LEN,
        _ => CLAIM_LEN,
    };
    let end = to.end.next_multiple_of(step).min(geometry.segment_len());
    Mark { end, ..to }
}

/// Where more than this is appended between two syncs, blocks are reserved and not written ahead.
const BULK: u32 = 4 << 20;

/// Bytes lent from a map.
#[derive(Clone, Debug)]
pub enum FilesPin {
    /// Of the region's maps.
    Mapped(seam::Pin),
    /// Of those that raw system calls made.
    Linux(walstone_linux::Pin),
}

impl Deref for FilesPin {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(pin) => pin,
            Self::Linux(pin) => pin,
        }
    }
}

impl Files {
    /// The files of a region that was opened, to be written in this way, from buffers of this length. One value for each
    /// opening of the region: its clones share what is gathered.
    pub(crate) fn new(map: MapStorage, path: WritePath, buffer_len: usize) -> Result<Self, FileError> {
        let write_path = match path {
            WritePath::Mapped => return Ok(Self { map, linux: None }),
            WritePath::Buffered => walstone_linux::WritePath::Buffered,
            WritePath::Direct => walstone_linux::WritePath::Direct,
        };
        if map.is_read_only() {
            return Ok(Self { map, linux: None });
        }
        let dir = map.dir();
        let io = |error| FileError::io(Doing::Open, &*dir, error);
        let name = CString::new(dir.as_os_str().as_bytes()).map_err(|error| io(error.into()))?;
        let memory = Memory::map(buffer_len);
        let files = RegionFiles::open_dir(&name, true, map.geometry(), write_path, memory);
        let files = files.map_err(|error| file_error(&dir, error))?;
        Ok(Self {
            map,
            linux: Some(LinuxStorage::new(Arc::new(files))),
        })
    }

    /// The directory of the region.
    #[must_use]
    pub fn dir(&self) -> Arc<Path> {
        self.map.dir()
    }

    /// Whether this process is a fork of the one that opened the root. Costs one load.
    #[must_use]
    pub fn is_forked(&self) -> bool {
        self.map.is_forked()
    }

    /// What raw system calls did; `None` where the segments are mapped.
    #[must_use]
    pub fn linux_stats(&self) -> Option<walstone_linux::Stats> {
        self.linux.as_ref().map(|linux| linux.files().stats())
    }

    /// Leaves appending to another handle: to the one that opens a poisoned region anew.
    pub(crate) fn stop_appending(&mut self) {
        self.map.stop_appending();
        if let Some(linux) = &self.linux {
            linux.files().stop_writing();
        }
    }

    pub(crate) fn end_reading(&mut self) {
        self.map.end_reading();
    }

    /// Whether nothing is written any more, since a call failed that the log may not take for a write.
    pub(crate) fn is_broken(&self) -> bool {
        self.linux.as_ref().is_some_and(|linux| linux.files().is_broken())
    }

    /// How far what was appended to a segment up to `end` can be read. Raw calls gather bytes, which a failed write loses.
    pub(crate) fn held_end(&self, id: SegmentId, end: u32) -> u32 {
        match &self.linux {
            None => end,
            Some(linux) => linux.files().held_end(id, end),
        }
    }

    /// [`Storage::hand_over`] beside the handle that appends.
    #[inline]
    pub(crate) fn hand_over_beside(&self, to: Mark) -> Result<(), FileError> {
        match &self.linux {
            None => Ok(()),
            Some(linux) => {
                self.map.check_writable(Doing::Write)?;
                linux
                    .clone()
                    .hand_over(to)
                    .map_err(|error| file_error(&self.map.dir(), error))
            }
        }
    }

    /// As [`MapStorage::claim_ahead`].
    pub(crate) fn claim_ahead(&mut self, to: Mark, unsynced: u32) -> Result<(), FileError> {
        match self.linux(Doing::Claim)? {
            Some((linux, map)) => linux
                .claim_exactly(further(to, map.geometry()), unsynced > BULK)
                .map_err(|error| file_error(&map.dir(), error)),
            None => self.map.claim_ahead(to, unsynced),
        }
    }

    /// What was gathered is handed over beside the appender. A failure is told to the next sync.
    pub(crate) fn start_write_back(&mut self, to: Mark) {
        match &mut self.linux {
            Some(linux) => drop(linux.hand_over(to)),
            None => self.map.start_write_back(to),
        }
    }

    /// Tells the observer of a sync by raw system calls. One that it refuses leaves what one that fails would leave.
    fn announce_sync(&mut self, doing: Doing, to: Mark) -> Result<(), FileError> {
        if let Some((linux, map)) = self.linux(doing)?
            && map.seam().is_observed()
        {
            let path = map.dir().join(names::segment(to.segment));
            linux.hand_over(to).map_err(|error| file_error(&map.dir(), error))?;
            let announced = map.seam().announce_sync(&path);
            announced.map_err(|error| FileError::io(doing, &path, error))?;
        }
        Ok(())
    }

    /// The way by raw system calls, if it is the one and this process may change the root.
    #[inline]
    fn linux(&mut self, doing: Doing) -> Result<Option<(&mut Linux, &MapStorage)>, FileError> {
        let Some(linux) = &mut self.linux else {
            return Ok(None);
        };
        self.map.check_writable(doing)?;
        Ok(Some((linux, &self.map)))
    }
}

fn file_error(dir: &Path, error: LinuxError) -> FileError {
    let doing = match error.doing() {
        Did::Lock => Doing::Lock,
        Did::Create => Doing::Create,
        Did::List => Doing::List,
        Did::Claim => Doing::Claim,
        Did::Extent => Doing::Extent,
        Did::Read => Doing::Read,
        Did::Write => Doing::Write,
        Did::Sync => Doing::Sync,
        Did::Settle => Doing::Settle,
        Did::Remove => Doing::Remove,
        _ => Doing::Open,
    };
    let cause = match error.cause() {
        Refused::Errno(errno) => Cause::Io(io::Error::from_raw_os_error(errno.number().into())),
        Refused::Locked => Cause::Locked,
        Refused::ReadOnly => Cause::ReadOnly,
        Refused::Forked => Cause::Forked,
        Refused::Closed => Cause::Closed,
        Refused::Length { found, expected } => Cause::Length { found, expected },
        Refused::Behind { end, segment_len } => Cause::Behind { end, segment_len },
        Refused::Slot { slot } => Cause::Slot { slot },
        Refused::Exists => Cause::Exists,
        Refused::Foreign => Cause::Foreign,
        Refused::Geometry(error) => Cause::Geometry(error),
        _ => Cause::Io(io::Error::other(error)),
    };
    FileError::new(doing, dir.join(error.name()), cause)
}

/// By raw system calls where that is the way, mapped where it is not.
macro_rules! either {
    ($files:ident, $doing:ident, |$storage:ident| $call:expr) => {
        match $files.linux(Doing::$doing)? {
            Some(($storage, map)) => $call.map_err(|error| file_error(&map.dir(), error)),
            None => {
                let $storage = &mut $files.map;
                $call
            }
        }
    };
}

impl Storage for Files {
    type Error = FileError;

    fn geometry(&self) -> Geometry {
        self.map.geometry()
    }

    fn segments(&mut self, visit: &mut dyn FnMut(Found) -> ControlFlow<()>) -> Result<(), FileError> {
        either!(self, List, |storage| storage.segments(visit))
    }

    fn create(&mut self, id: SegmentId, header: &[u8]) -> Result<(), FileError> {
        either!(self, Create, |storage| storage.create(id, header))
    }

    fn claim(&mut self, id: SegmentId, end: u32) -> Result<(), FileError> {
        either!(self, Claim, |storage| storage.claim(id, end))
    }

    fn extent(&mut self, id: SegmentId) -> Result<u32, FileError> {
        match &mut self.linux {
            Some(linux) => linux.extent(id).map_err(|error| file_error(&self.map.dir(), error)),
            None => self.map.extent(id),
        }
    }

    fn read<'a>(&'a mut self, id: SegmentId, offset: u32, len: u32, buf: &'a mut [u8]) -> Result<&'a [u8], FileError> {
        match &mut self.linux {
            Some(linux) => {
                let map = &self.map;
                linux
                    .read(id, offset, len, buf)
                    .map_err(|error| file_error(&map.dir(), error))
            }
            None => self.map.read(id, offset, len, buf),
        }
    }

    fn write(&mut self, id: SegmentId, offset: u32, parts: &[&[u8]]) -> Result<(), FileError> {
        either!(self, Write, |storage| storage.write(id, offset, parts))
    }

    fn hand_over(&mut self, to: Mark) -> Result<(), FileError> {
        either!(self, Write, |storage| storage.hand_over(to))
    }

    fn sync(&mut self, to: Mark) -> Result<(), FileError> {
        self.announce_sync(Doing::Sync, to)?;
        either!(self, Sync, |storage| storage.sync(to))
    }

    fn settle(&mut self, id: SegmentId, from: u32, to: u32) -> Result<(), FileError> {
        let end = Mark { segment: id, end: to };
        self.announce_sync(Doing::Settle, end)?;
        either!(self, Settle, |storage| storage.settle(id, from, to))
    }

    fn remove(&mut self, id: SegmentId) -> Result<(), FileError> {
        either!(self, Remove, |storage| storage.remove(id))
    }

    fn release(&mut self, slot: u32) -> Result<(), FileError> {
        either!(self, Remove, |storage| storage.release(slot))
    }
}

impl SharedStorage for Files {
    type Pin = FilesPin;

    fn pin(&self, id: SegmentId, from: u32, to: u32) -> Result<FilesPin, FileError> {
        match &self.linux {
            Some(linux) => {
                let pin = linux
                    .pin(id, from, to)
                    .map_err(|error| file_error(&self.map.dir(), error))?;
                Ok(FilesPin::Linux(pin))
            }
            None => self.map.pin(id, from, to).map(FilesPin::Mapped),
        }
    }
}
