//! Counts calls and bytes, for tests that bound how much work the log asks for.

use core::ops::ControlFlow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use walstone_core::{Found, SharedStorage, Storage};
use walstone_core::{Geometry, Mark, SegmentId};

use super::Method;

/// How often, and how much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Calls made, failed ones too.
    pub calls: u64,
    /// Bytes returned by reads and pins, given to writes and creates, or spanned by a settle.
    pub bytes: u64,
}

type ByCall = BTreeMap<(Method, Option<SegmentId>), Tally>;

/// What was counted; clones see the same numbers, so a test keeps one while the log owns the storage.
#[derive(Clone, Debug, Default)]
pub struct Tallies {
    by_call: Arc<Mutex<ByCall>>,
}

impl Tallies {
    fn count(&self, method: Method, segment: Option<SegmentId>, bytes: usize) {
        let mut by_call = self.by_call.lock().unwrap_or_else(PoisonError::into_inner);
        let tally = by_call.entry((method, segment)).or_default();
        tally.calls += 1;
        tally.bytes += bytes as u64;
    }

    fn sum(&self, counts: impl Fn(Method, Option<SegmentId>) -> bool) -> Tally {
        let by_call = self.by_call.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sum = Tally::default();
        for (_, tally) in by_call.iter().filter(|((method, id), _)| counts(*method, *id)) {
            sum.calls += tally.calls;
            sum.bytes += tally.bytes;
        }
        sum
    }

    /// All calls of one method.
    #[must_use]
    pub fn of(&self, method: Method) -> Tally {
        self.sum(|counted, _| counted == method)
    }

    /// The calls of one method about one segment.
    #[must_use]
    pub fn of_segment(&self, method: Method, segment: SegmentId) -> Tally {
        self.sum(|counted, id| counted == method && id == Some(segment))
    }

    /// Counts from zero again.
    pub fn reset(&self) {
        self.by_call.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// A storage that counts. Clones of a shared storage count together.
#[derive(Clone, Debug)]
pub struct Counting<S> {
    inner: S,
    tallies: Tallies,
}

impl<S> Counting<S> {
    /// Counts the calls to `inner` from zero.
    #[must_use]
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            tallies: Tallies::default(),
        }
    }

    /// A look at the numbers that outlives this value.
    #[must_use]
    pub fn tallies(&self) -> Tallies {
        self.tallies.clone()
    }

    /// The storage that was counted.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: Storage> Storage for Counting<S> {
    type Error = S::Error;

    fn geometry(&self) -> Geometry {
        self.inner.geometry()
    }

    fn segments(&mut self, visit: &mut dyn FnMut(Found) -> ControlFlow<()>) -> Result<(), S::Error> {
        self.tallies.count(Method::Segments, None, 0);
        self.inner.segments(visit)
    }

    fn create(&mut self, id: SegmentId, header: &[u8]) -> Result<(), S::Error> {
        self.tallies.count(Method::Create, Some(id), header.len());
        self.inner.create(id, header)
    }

    fn claim(&mut self, id: SegmentId, end: u32) -> Result<(), S::Error> {
        self.tallies.count(Method::Claim, Some(id), 0);
        self.inner.claim(id, end)
    }

    fn extent(&mut self, id: SegmentId) -> Result<u32, S::Error> {
        self.tallies.count(Method::Extent, Some(id), 0);
        self.inner.extent(id)
    }

    fn read<'a>(&'a mut self, id: SegmentId, offset: u32, len: u32, buf: &'a mut [u8]) -> Result<&'a [u8], S::Error> {
        let result = self.inner.read(id, offset, len, buf);
        let bytes = result.as_ref().map_or(0, |bytes| bytes.len());
        self.tallies.count(Method::Read, Some(id), bytes);
        result
    }

    fn write(&mut self, id: SegmentId, offset: u32, parts: &[&[u8]]) -> Result<(), S::Error> {
        let bytes = parts.iter().map(|part| part.len()).sum();
        self.tallies.count(Method::Write, Some(id), bytes);
        self.inner.write(id, offset, parts)
    }

    fn hand_over(&mut self, to: Mark) -> Result<(), S::Error> {
        self.tallies.count(Method::HandOver, Some(to.segment), 0);
        self.inner.hand_over(to)
    }

    fn sync(&mut self, to: Mark) -> Result<(), S::Error> {
        self.tallies.count(Method::Sync, Some(to.segment), 0);
        self.inner.sync(to)
    }

    fn settle(&mut self, id: SegmentId, from: u32, to: u32) -> Result<(), S::Error> {
        let bytes = to.saturating_sub(from) as usize;
        self.tallies.count(Method::Settle, Some(id), bytes);
        self.inner.settle(id, from, to)
    }

    fn remove(&mut self, id: SegmentId) -> Result<(), S::Error> {
        self.tallies.count(Method::Remove, Some(id), 0);
        self.inner.remove(id)
    }

    fn release(&mut self, slot: u32) -> Result<(), S::Error> {
        self.tallies.count(Method::Release, None, 0);
        self.inner.release(slot)
    }
}

impl<S: SharedStorage> SharedStorage for Counting<S> {
    type Pin = S::Pin;

    fn pin(&self, id: SegmentId, from: u32, to: u32) -> Result<S::Pin, S::Error> {
        let result = self.inner.pin(id, from, to);
        let bytes = result.as_ref().map_or(0, |bytes| bytes.len());
        self.tallies.count(Method::Pin, Some(id), bytes);
        result
    }
}
