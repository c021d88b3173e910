//! What is known of the segments of one region: a [`SegmentFile`] each for those in use, 12 bytes for the others.
//!
//! A region may have very many segments, and all but a few are idle: closed, wholly durable, in nobody's hands. Of
//! those only [`Known`] is remembered.

use std::collections::BTreeMap;
use std::sync::Arc;

use walstone_core::SegmentId;

use super::segment::{Known, SegmentFile};

/// The segments that were met since the region was opened.
#[derive(Debug)]
pub(crate) struct SegmentTable {
    in_use: BTreeMap<SegmentId, Arc<SegmentFile>>,
    /// What was known when a segment was last put away, by rising id. One that is in use knows better. A segment whose
    /// id is longer stays in use.
    idle: Vec<(u32, Known)>,
    /// So many in use are looked through for idle ones.
    sweep_at: usize,
}

/// Fewer in use are not worth looking through.
const MIN_SWEEP: usize = 8;

impl Default for SegmentTable {
    fn default() -> Self {
        Self {
            in_use: BTreeMap::new(),
            idle: Vec::new(),
            sweep_at: MIN_SWEEP,
        }
    }
}

impl SegmentTable {
    /// The segment with this id, made from what is known of it where it is not in use.
    pub(crate) fn meet(&mut self, id: SegmentId, make: impl FnOnce(Known) -> SegmentFile) -> Arc<SegmentFile> {
        if let Some(segment) = self.in_use.get(&id) {
            return Arc::clone(segment);
        }
        let known = self.find(id).and_then(|at| self.idle.get(at));
        let segment = Arc::new(make(known.map_or_else(Known::default, |(_, known)| *known)));
        self.take_in(Arc::clone(&segment));
        segment
    }

    /// Takes in a file that was made just now; what is known of an earlier one with this id is of no use.
    pub(crate) fn made(&mut self, segment: Arc<SegmentFile>) {
        self.remove(segment.id());
        self.take_in(segment);
    }

    /// The file is removed.
    pub(crate) fn remove(&mut self, id: SegmentId) {
        self.in_use.remove(&id);
        if let Some(at) = self.find(id) {
            self.idle.remove(at);
        }
    }

    /// All files are removed; those that were in use.
    pub(crate) fn remove_all(&mut self) -> impl Iterator<Item = Arc<SegmentFile>> + use<> {
        std::mem::take(self).in_use.into_values()
    }

    fn find(&self, id: SegmentId) -> Option<usize> {
        let id = u32::try_from(id.0).ok()?;
        self.idle.binary_search_by_key(&id, |(id, _)| *id).ok()
    }

    fn take_in(&mut self, segment: Arc<SegmentFile>) {
        if self.in_use.len() >= self.sweep_at {
            self.sweep();
            // So that each segment met pays for looking at two at most.
            self.sweep_at = MIN_SWEEP.max(2 * self.in_use.len());
        }
        self.in_use.insert(segment.id(), segment);
    }

    /// Puts the idle ones away. Nobody else can come to hold one meanwhile: all handles come from this table, or are
    /// clones of one that is held already.
    fn sweep(&mut self) {
        let idle = &mut self.idle;
        self.in_use.retain(|id, segment| {
            let Ok(id) = u32::try_from(id.0) else { return true };
            let Some(known) = Arc::get_mut(segment).and_then(SegmentFile::put_away) else {
                return true;
            };
            match idle.binary_search_by_key(&id, |(id, _)| *id) {
                Ok(at) => {
                    if let Some(record) = idle.get_mut(at) {
                        record.1 = known;
                    }
                }
                Err(_) if known == Known::default() => {}
                Err(at) => {
                    if idle.len() == idle.capacity() {
                        // A list that doubles would hold up to twice of what it needs.
                        idle.reserve_exact(4 + idle.len() / 32);
                    }
                    idle.insert(at, (id, known));
                }
            }
            false
        });
    }
}

const _: () = assert!(size_of::<(u32, Known)>() == 12, "what is paid for each segment");
