//! How many segments of a root are open at once.
//!
//! Only clean ones are held here: all that was stored is durable, so that closing one loses nothing. A segment
//! leaves before its first store and comes back after the sync that covers the last, whatever the limit says
//! in between: an error of write-back is told to the descriptors that were open then, and to no later one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::segment::SegmentFile;

/// The open clean segments of a root, the least recently used of which are closed.
#[derive(Debug)]
pub(crate) struct Cache {
    limit: usize,
    tick: AtomicU64,
    clean: Mutex<BTreeMap<u64, Arc<SegmentFile>>>,
}

impl Cache {
    /// Keeps at most `limit` segments open, and one at least.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            tick: AtomicU64::new(0),
            clean: Mutex::default(),
        }
    }

    /// The time by which segments are told more or less recently used: it moves when one comes in.
    pub(crate) fn now(&self) -> u64 {
        self.tick.load(Ordering::Relaxed)
    }

    /// Takes in a segment whose state the caller has locked, and closes others to make room.
    ///
    /// One that is in use right now is passed over; then the limit is exceeded until the next one comes in.
    pub(crate) fn enter(&self, segment: &Arc<SegmentFile>) {
        let now = self.tick.fetch_add(1, Ordering::Relaxed) + 1;
        segment.used(now);
        // Maps and descriptors are closed behind the lock.
        let mut closed = Vec::new();
        let mut clean = self.clean.lock().unwrap_or_else(PoisonError::into_inner);
        clean.remove(&segment.serial());
        if clean.len() >= self.limit {
            let mut by_age: Vec<_> = clean
                .values()
                .map(|other| (other.last_used(), other.serial()))
                .collect();
            by_age.sort_unstable();
            for (_, serial) in by_age {
                if clean.len() < self.limit {
                    break;
                }
                if let Some(opened) = clean.get(&serial).and_then(|other| other.try_close()) {
                    clean.remove(&serial);
                    closed.push(opened);
                }
            }
        }
        clean.insert(segment.serial(), Arc::clone(segment));
    }

    /// Lets go of a segment whose state the caller has locked, without closing it.
    pub(crate) fn leave(&self, segment: &SegmentFile) {
        self.clean
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&segment.serial());
    }

    /// How many are held.
    pub(crate) fn len(&self) -> usize {
        self.clean.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}
