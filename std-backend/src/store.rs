//! The storage that the engine of one region gets: files, whose removal waits for the views that may read them, and
//! whose syncs take turns with those of group commit.

use std::io;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard};

use walstone_core::{Found, Geometry, Mark, SegmentId, Storage};

use crate::files::{Doing, FileError, Files};
use crate::readers::Readers;

/// Files, and who still reads what.
#[derive(Debug)]
pub(crate) struct Store {
    files: Files,
    readers: Arc<Readers>,
    syncs: Arc<SyncGate>,
}

/// One sync of a region at a time, and none after a failed one.
///
/// The system tells a failed write-back once: a second sync beside the first, by a rotation or a close, could be
/// told that all is well. And a segment is not given up while a sync of it is under way.
#[derive(Debug, Default)]
pub(crate) struct SyncGate {
    failed: Mutex<bool>,
}

/// The right to sync, once.
#[derive(Debug)]
pub(crate) struct SyncTurn<'g> {
    failed: MutexGuard<'g, bool>,
}

impl SyncGate {
    /// Waits for the sync that is under way. Called with the log locked; who holds a turn does not lock the log.
    pub(crate) fn turn(&self) -> SyncTurn<'_> {
        let failed = self.failed.lock().unwrap_or_else(|panicked| {
            let mut failed = panicked.into_inner();
            *failed = true;
            failed
        });
        SyncTurn { failed }
    }
}

impl SyncTurn<'_> {
    pub(crate) fn sync(mut self, files: &mut Files, mark: Mark) -> Result<(), FileError> {
        if *self.failed {
            let error = io::Error::other("an earlier sync of this region failed");
            return Err(FileError::io(Doing::Sync, &*files.dir(), error));
        }
        let synced = files.sync(mark);
        *self.failed = synced.is_err();
        synced
    }
}

impl Store {
    pub(crate) fn new(files: Files, readers: Arc<Readers>) -> Self {
        Self {
            files,
            readers,
            syncs: Arc::default(),
        }
    }

    pub(crate) fn syncs(&self) -> &Arc<SyncGate> {
        &self.syncs
    }

    /// Lets go of the map that was read last.
    pub(crate) fn end_reading(&mut self) {
        self.files.end_reading();
    }

    pub(crate) fn stop_appending(&mut self) {
        self.files.stop_appending();
    }
}

impl Storage for Store {
    type Error = FileError;

    fn geometry(&self) -> Geometry {
        self.files.geometry()
    }

    fn segments(&mut self, visit: &mut dyn FnMut(Found) -> ControlFlow<()>) -> Result<(), FileError> {
        self.files.segments(visit)
    }

    fn create(&mut self, id: SegmentId, header: &[u8]) -> Result<(), FileError> {
        self.files.create(id, header)
    }

    fn claim(&mut self, id: SegmentId, end: u32) -> Result<(), FileError> {
        self.files.claim(id, end)
    }

    fn extent(&mut self, id: SegmentId) -> Result<u32, FileError> {
        self.files.extent(id)
    }

    fn read<'a>(&'a mut self, id: SegmentId, offset: u32, len: u32, buf: &'a mut [u8]) -> Result<&'a [u8], FileError> {
        self.files.read(id, offset, len, buf)
    }

    fn write(&mut self, id: SegmentId, offset: u32, parts: &[&[u8]]) -> Result<(), FileError> {
        self.files.write(id, offset, parts)
    }

    fn hand_over(&mut self, to: Mark) -> Result<(), FileError> {
        self.files.hand_over(to)
    }

    fn sync(&mut self, to: Mark) -> Result<(), FileError> {
        self.syncs.turn().sync(&mut self.files, to)
    }

    fn settle(&mut self, id: SegmentId, from: u32, to: u32) -> Result<(), FileError> {
        self.files.settle(id, from, to)
    }

    /// A segment that a view may read goes with that view, or at the next open: no manifest lists it any more.
    fn remove(&mut self, id: SegmentId) -> Result<(), FileError> {
        if self.readers.defer(id) {
            return Ok(());
        }
        self.files.remove(id)
    }

    fn release(&mut self, slot: u32) -> Result<(), FileError> {
        self.files.release(slot)
    }
}
