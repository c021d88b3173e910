//! Who reads which segments: a segment that was given up is removed when the last view that may read it ends.
//! Knows ids; the removal itself is the caller's.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use walstone_core::SegmentId;

use crate::sync::{AtomicBool, Mutex, MutexGuard, Ordering};

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

    /// Whether a view may read this segment.
    pub(crate) fn may_read(&self, id: SegmentId) -> bool {
        is_read(&self.state().views, id)
    }

    /// Whether removal of a segment must wait; it is remembered then. Else no view that reads it begins any more.
    pub(crate) fn defer(&self, id: SegmentId) -> bool {
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

#[cfg(all(test, walstone_loom))]
mod models;

#[cfg(all(test, not(walstone_loom)))]
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
