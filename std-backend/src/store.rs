//! The storage that the engine of one region gets: files, whose removal waits for the views that may read them, and
//! whose syncs take turns with those of group commit.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use walstone_core::{Found, Geometry, Mark, SegmentId, Storage};

use crate::files::{Doing, FileError, MapStorage};

/// Files, and who still reads what.
#[derive(Debug)]
pub(crate) struct Store {
    files: MapStorage,
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
    pub(crate) fn sync(mut self, files: &mut MapStorage, mark: Mark) -> Result<(), FileError> {
        if *self.failed {
            let error = io::Error::other("an earlier sync of this region failed");
            return Err(FileError::io(Doing::Sync, &*files.dir(), error));
        }
        let synced = files.sync(mark);
        *self.failed = synced.is_err();
        synced
    }
}

/// The views of a region, and the segments that wait for them.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    state: Mutex<State>,
    any_removed: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// The first and last segment that each view may read.
    views: BTreeMap<u64, (SegmentId, SegmentId)>,
    waiting: Vec<SegmentId>,
    /// Removed, and perhaps still named by the facts that views begin with.
    removed: Vec<SegmentId>,
    /// Waiting since an operation that is under way: the facts that views begin with still name them.
    unpublished: Vec<SegmentId>,
}

impl Readers {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A view that may read these segments begins. `read` is called under the lock, so that no segment it answers
    /// with is removed in between. `None`: one of them is removed already by an operation that is under way, which
    /// will tell newer facts.
    pub(crate) fn begin<T>(&self, read: impl FnOnce() -> ((SegmentId, SegmentId), T)) -> Option<(u64, T)> {
        let mut state = self.state();
        let (range, answer) = read();
        if state.removed.iter().any(|id| range.0 <= *id && *id <= range.1) {
            return None;
        }
        let number = state.next;
        state.next += 1;
        state.views.insert(number, range);
        Some((number, answer))
    }

    /// The facts that views begin with name no removed segment.
    pub(crate) fn published(&self) {
        // Both this and removal are done with the log locked.
        if self.any_removed.load(Ordering::Relaxed) {
            self.any_removed.store(false, Ordering::Relaxed);
            let mut state = self.state();
            state.removed.clear();
            state.unpublished.clear();
        }
    }

    /// A view ends; the segments that only it kept.
    pub(crate) fn end(&self, number: u64) -> Vec<SegmentId> {
        let mut state = self.state();
        state.views.remove(&number);
        let State { views, waiting, .. } = &mut *state;
        let (kept, free): (_, Vec<SegmentId>) = waiting.iter().partition(|id| is_read(views, **id));
        *waiting = kept;
        // No view may begin with facts that still name one of them.
        let unpublished = free.iter().filter(|id| state.unpublished.contains(id)).copied();
        let unpublished: Vec<_> = unpublished.collect();
        state.removed.extend(unpublished);
        free
    }

    /// Segments that wait for a view, and how many views there are.
    pub(crate) fn waiting(&self) -> (Vec<SegmentId>, usize) {
        let state = self.state();
        (state.waiting.clone(), state.views.len())
    }

    /// Whether removal of a segment must wait; it is remembered then. Else no view that reads it begins any more.
    fn defer(&self, id: SegmentId) -> bool {
        let mut state = self.state();
        let read = is_read(&state.views, id);
        if !read {
            state.removed.push(id);
        } else if !state.waiting.contains(&id) {
            state.waiting.push(id);
            state.unpublished.push(id);
        }
        self.any_removed.store(true, Ordering::Relaxed);
        read
    }
}

fn is_read(views: &BTreeMap<u64, (SegmentId, SegmentId)>, id: SegmentId) -> bool {
    views.values().any(|(first, last)| *first <= id && id <= *last)
}

impl Store {
    pub(crate) fn new(files: MapStorage, readers: Arc<Readers>) -> Self {
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

#[cfg(test)]
mod tests {
    use super::{Readers, SegmentId};

    const OLD: (SegmentId, SegmentId) = (SegmentId(1), SegmentId(3));
    const NEW: (SegmentId, SegmentId) = (SegmentId(2), SegmentId(3));

    /// A segment was given up while a view read it, and went with that view before newer facts were published; a
    /// view that began in between looked for it in vain.
    #[test]
    fn no_view_begins_with_a_segment_that_another_view_took_along() {
        let readers = Readers::default();
        let (first, ()) = readers.begin(|| (OLD, ())).unwrap();
        assert!(readers.defer(SegmentId(1)), "the view keeps it");
        assert_eq!(readers.end(first), [SegmentId(1)]);
        assert!(readers.begin(|| (OLD, ())).is_none(), "the facts are overtaken");
        readers.published();
        assert!(readers.begin(|| (NEW, ())).is_some());
        // What was published before its view ends goes without a word.
        let (second, ()) = readers.begin(|| (NEW, ())).unwrap();
        assert!(readers.defer(SegmentId(2)));
        readers.published();
        assert_eq!(readers.end(second), [SegmentId(0); 0], "the other view keeps it");
    }
}
