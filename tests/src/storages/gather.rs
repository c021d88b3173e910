//! Keeps writes in the program's own memory until it has to give them away: what *written* means is that
//! they survive [`GatherStorage::kill`] after a `hand_over`, and nothing else does.

use core::ops::ControlFlow;

use walstone_core::{Found, Storage};
use walstone_core::{Geometry, Mark, SegmentId};

use super::gathered;

/// A storage that queues writes. Gives away only what it must: the writes of one segment before a mark.
#[derive(Clone, Debug)]
pub struct GatherStorage<S> {
    inner: S,
    queue: Vec<Queued>,
    /// What a read that meets queued bytes lends.
    merged: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Queued {
    segment: SegmentId,
    offset: u32,
    bytes: Vec<u8>,
}

impl Queued {
    fn end(&self) -> u32 {
        self.offset + self.bytes.len() as u32
    }
}

impl<S: Storage> GatherStorage<S> {
    /// Gathers in front of `inner`.
    #[must_use]
    pub const fn new(inner: S) -> Self {
        Self {
            inner,
            queue: Vec::new(),
            merged: Vec::new(),
        }
    }

    /// The process dies: the queue is lost, what is behind it stays.
    #[must_use]
    pub fn kill(self) -> S {
        self.inner
    }

    /// Bytes that a death of the process would lose.
    #[must_use]
    pub fn queued_len(&self) -> usize {
        self.queue.iter().map(|queued| queued.bytes.len()).sum()
    }

    fn give(&mut self, segment: SegmentId, end: u32) -> Result<(), S::Error> {
        let mut failed = Ok(());
        self.queue.retain(|queued| {
            if failed.is_err() || queued.segment != segment || queued.offset >= end {
                return true;
            }
            failed = self.inner.write(segment, queued.offset, &[&queued.bytes]);
            false
        });
        failed
    }
}

impl<S: Storage> Storage for GatherStorage<S> {
    type Error = S::Error;

    fn geometry(&self) -> Geometry {
        self.inner.geometry()
    }

    fn segments(&mut self, visit: &mut dyn FnMut(Found) -> ControlFlow<()>) -> Result<(), S::Error> {
        self.inner.segments(visit)
    }

    fn create(&mut self, id: SegmentId, header: &[u8]) -> Result<(), S::Error> {
        self.inner.create(id, header)
    }

    fn claim(&mut self, id: SegmentId, end: u32) -> Result<(), S::Error> {
        self.inner.claim(id, end)
    }

    fn extent(&mut self, id: SegmentId) -> Result<u32, S::Error> {
        let inner = self.inner.extent(id)?;
        let queued = self.queue.iter().filter(|queued| queued.segment == id);
        Ok(queued.map(Queued::end).fold(inner, u32::max))
    }

    fn read<'a>(&'a mut self, id: SegmentId, offset: u32, len: u32, buf: &'a mut [u8]) -> Result<&'a [u8], S::Error> {
        let overlaps = |queued: &&Queued| {
            queued.segment == id
                && u64::from(queued.offset) < u64::from(offset) + u64::from(len)
                && queued.end() > offset
        };
        if !self.queue.iter().any(|queued| overlaps(&queued)) {
            return self.inner.read(id, offset, len, buf);
        }
        let below = self.inner.read(id, offset, len, buf)?;
        self.merged.clear();
        self.merged.extend_from_slice(below);
        for queued in self.queue.iter().filter(overlaps) {
            for (at, &byte) in (queued.offset..).zip(&queued.bytes) {
                let place = at.checked_sub(offset).map(|at| at as usize);
                if let Some(old) = place.and_then(|place| self.merged.get_mut(place)) {
                    *old = byte;
                }
            }
        }
        Ok(&self.merged)
    }

    fn write(&mut self, id: SegmentId, offset: u32, parts: &[&[u8]]) -> Result<(), S::Error> {
        let bytes = gathered(parts, self.inner.geometry().write_unit());
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        // A mistake is told now, not when the queue is given away.
        self.inner.read(id, offset, len, &mut [])?;
        if !bytes.is_empty() {
            self.queue.push(Queued {
                segment: id,
                offset,
                bytes,
            });
        }
        Ok(())
    }

    fn hand_over(&mut self, to: Mark) -> Result<(), S::Error> {
        self.give(to.segment, to.end)?;
        self.inner.hand_over(to)
    }

    fn sync(&mut self, to: Mark) -> Result<(), S::Error> {
        self.give(to.segment, to.end)?;
        self.inner.sync(to)
    }

    fn settle(&mut self, id: SegmentId, from: u32, to: u32) -> Result<(), S::Error> {
        self.give(id, to)?;
        self.inner.settle(id, from, to)
    }

    fn remove(&mut self, id: SegmentId) -> Result<(), S::Error> {
        self.queue.retain(|queued| queued.segment != id);
        self.inner.remove(id)
    }

    fn release(&mut self, slot: u32) -> Result<(), S::Error> {
        self.inner.release(slot)
    }
}
