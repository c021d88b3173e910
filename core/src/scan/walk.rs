//! A walk over one segment of a storage: the scan, and which bytes it waits for. Does no I/O.

use crate::geometry::SegmentId;
use crate::mutation::{self, Mutation};
use crate::scan::{Event, Limit, MAX_WANTED_LEN, Scan};
use crate::segment::cuts::Cuts;

/// A walk. There is one for each open log, in the room that is lent: recovery, reading and reclaim take turns with it.
#[derive(Debug)]
pub(crate) struct Walk {
    pub(crate) id: SegmentId,
    pub(crate) scan: Scan,
    offset: u32,
    /// Bytes wanted at `offset`; 0 before the first wish.
    wanted: u32,
    /// What the caller's buffer holds of this segment, where the storage copies.
    held: Option<(u32, u32)>,
    /// The most bytes to be read at once: behind what could not be read few, and twice as many each time, so that what is
    /// read in vain is no more than what is read.
    reach: u32,
    /// What followed from the bytes read last.
    told: Option<Event>,
}

/// Bytes to be read for a walk.
pub(crate) struct Wish {
    pub(crate) offset: u32,
    pub(crate) min: u32,
    pub(crate) len: u32,
}

impl Walk {
    /// Over no segment.
    pub(crate) const fn new() -> Self {
        Self {
            id: SegmentId(0),
            scan: Scan::new(),
            offset: 0,
            wanted: 0,
            held: None,
            reach: u32::MAX,
            told: None,
        }
    }

    /// Walks a segment: see [`Scan::begin`].
    #[cfg_attr(not(feature = "alloc"), inline(never))]
    pub(crate) fn begin(&mut self, id: SegmentId, seed: u32, limit: Limit, base: u32, cuts: &Cuts) {
        self.id = id;
        self.wanted = 0;
        self.held = None;
        self.reach = u32::MAX;
        self.told = None;
        self.scan.begin(seed, limit, base, cuts);
    }

    /// The next event that follows from what `buffer` holds; [`Event::More`] where that does not serve.
    pub(crate) fn advance(&mut self, buffer: &[u8]) -> Event {
        if let Some(event) = self.told.take() {
            return event;
        }
        loop {
            let event = match self.held {
                _ if self.wanted == 0 => self.scan.next(0, &[]),
                Some((start, len)) if start <= self.offset && self.offset + self.min() <= start + len => {
                    self.scan.next(start, buffer.get(..len as usize).unwrap_or_default())
                }
                _ => return Event::More,
            };
            if event != Event::More {
                return event;
            }
            self.wants();
        }
    }

    /// What is to be read, for [`Walk::read`].
    pub(crate) fn wish(&self) -> Wish {
        Wish {
            offset: self.offset,
            min: self.min(),
            // A frame may end behind the limit: its payload is read in as few pieces as another.
            len: self
                .scan
                .limit()
                .saturating_sub(self.offset)
                .max(self.wanted)
                .min(self.reach.max(self.min())),
        }
    }

    /// Not all of what was wished for can be read: no more than what is needed, then.
    pub(crate) fn narrow(&mut self) {
        self.reach = 0;
    }

    /// Takes the bytes that were wished for; what follows from them is the next event. `copied`: they stay in the buffer.
    pub(crate) fn read(&mut self, bytes: &[u8], copied: bool) {
        self.held = copied.then_some((self.offset, bytes.len() as u32));
        if self.reach < u32::MAX {
            self.reach = (bytes.len() as u32).saturating_mul(2);
        }
        match self.scan.next(self.offset, bytes) {
            Event::More => self.wants(),
            event => self.told = Some(event),
        }
    }

    /// Notes a wish for bytes.
    fn wants(&mut self) {
        let (offset, len) = self.scan.wanted();
        self.offset = offset;
        self.wanted = len.max(1);
    }

    /// Bytes at `offset` without which there is no going on.
    fn min(&self) -> u32 {
        if mutation::is(Mutation::LengthBeforeChecksum) {
            self.wanted
        } else {
            self.wanted.min(MAX_WANTED_LEN as u32)
        }
    }

    /// Where `len` bytes at `offset` stand in the buffer, if it holds them; else it is to hold others.
    pub(crate) fn take_held(&mut self, offset: u32, len: u32) -> Option<usize> {
        match self.held {
            Some((start, held)) if start <= offset && offset + len <= start + held => Some((offset - start) as usize),
            _ => {
                self.held = None;
                None
            }
        }
    }
}
