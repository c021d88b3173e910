//! Gathered bytes on their way to files, several buffers at a time.
//!
//! A buffer that is on its way belongs to this value alone: nobody stores into it, so what is written is one version of it.

#![expect(
    unsafe_code,
    reason = "that buffers stay as they are is known here and not to the compiler"
)]

use core::ops::Range;

use walstone_core::SegmentId;

use crate::buffer::{BUFFERS, Buffer, Buffers};
use crate::slots::Entered;
use crate::sys::{self, Durability, Errno, FdNumber, WriteQueue};

/// Buffers beside the one that bytes are gathered in: free, or on their way.
#[derive(Debug)]
pub(crate) struct Flights<'m> {
    // In front of the buffers, for its end waits for what is on its way.
    queue: Queue,
    free: Buffers<'m>,
    flying: heapless::Vec<Flying<'m>, BUFFERS>,
    number: u64,
}

#[derive(Debug)]
enum Queue {
    /// Nobody needed one.
    Unasked,
    Refused,
    Ready(WriteQueue),
}

#[derive(Debug)]
struct Flying<'m> {
    number: u64,
    flight: Flight,
    buffer: Buffer<'m>,
}

/// One write.
#[derive(Clone, Debug)]
pub(crate) struct Flight {
    pub(crate) id: SegmentId,
    pub(crate) writer: FdNumber,
    /// Where bytes begin that the file does not hold yet.
    pub(crate) new_from: u32,
    /// What it writes of the file, whole blocks.
    pub(crate) file: Range<u32>,
    /// The same in the buffer.
    pub(crate) bytes: Range<usize>,
    /// Bytes that a direct write starts at a multiple of.
    pub(crate) block: u32,
    pub(crate) entered: Entered,
}

impl<'m> Flights<'m> {
    /// With so many buffers, one at least.
    pub(crate) fn new(free: Buffers<'m>) -> Self {
        Self {
            queue: Queue::Unasked,
            free,
            flying: heapless::Vec::new(),
            number: 0,
        }
    }

    /// Nothing is on its way.
    pub(crate) fn is_empty(&self) -> bool {
        self.flying.is_empty()
    }

    /// A buffer that is not on its way; `None` while all are.
    pub(crate) fn free(&mut self) -> Option<&mut Buffer<'m>> {
        self.free.last_mut()
    }

    /// Whether the kernel takes writes without being waited for. Asked once.
    pub(crate) fn is_possible(&mut self) -> bool {
        if let Queue::Unasked = self.queue {
            self.queue = WriteQueue::new(BUFFERS as u32).map_or(Queue::Refused, Queue::Ready);
        }
        matches!(self.queue, Queue::Ready(_))
    }

    /// Sends the buffer that is free on its way. False: the kernel takes no more now, and it is as free as before.
    pub(crate) fn launch(&mut self, flight: &Flight) -> bool {
        let Queue::Ready(queue) = &mut self.queue else {
            return false;
        };
        let Some(buffer) = self.free.pop() else { return false };
        self.number += 1;
        let number = self.number;
        let bytes = buffer.get(flight.bytes.clone()).unwrap_or_default();
        // SAFETY: the buffer is memory of a map or lent to this value, and moving it does not move its bytes. It is kept in
        // `flying` from here on, which lends it to nobody, until `land` heard of its number or `queue` was dropped;
        // a value that is dropped drops `queue` first. One that is leaked keeps what is mapped; what was lent may come to hold other bytes,
        // which the kernel only reads: they were never acknowledged, and recovery drops what does not verify.
        let submitted = unsafe { queue.submit(flight.writer, bytes, u64::from(flight.file.start), number) };
        let flight = flight.clone();
        match submitted {
            Ok(()) => {
                let flying = Flying { number, flight, buffer };
                // There are as many places as buffers.
                let _ = self.flying.push(flying);
                true
            }
            Err(_) => {
                let _ = self.free.push(buffer);
                false
            }
        }
    }

    /// Writes from the buffer that is free, and waits for it.
    pub(crate) fn write(&mut self, flight: &Flight, durability: Durability) -> Result<(), Errno> {
        let bytes = self.free.last().and_then(|buffer| buffer.get(flight.bytes.clone()));
        let at = u64::from(flight.file.start);
        sys::write_at(flight.writer, bytes.unwrap_or_default(), at, flight.block, durability)
    }

    /// Waits until one write ended: which, and how.
    pub(crate) fn land(&mut self) -> Option<(Flight, Result<(), Errno>)> {
        let first = self.flying.first()?.number;
        let (number, result) = match &mut self.queue {
            Queue::Ready(queue) => match queue.wait() {
                Ok(ended) => ended,
                Err(errno) => {
                    // Nobody knows which of them ended. Without the queue all of them did.
                    self.queue = Queue::Refused;
                    (first, Err(errno))
                }
            },
            Queue::Unasked | Queue::Refused => (first, Err(Errno::EIO)),
        };
        let at = self
            .flying
            .iter()
            .position(|flying| flying.number == number)
            .unwrap_or(0);
        let Flying { flight, buffer, .. } = self.flying.swap_remove(at);
        let bytes = buffer.get(flight.bytes.clone()).unwrap_or_default();
        let start = u64::from(flight.file.start);
        let written = sys::ended(flight.writer, bytes, start, result).and_then(|count| {
            let done = count - count % flight.block as usize;
            let rest = bytes.get(done..).filter(|_| count < bytes.len());
            let at = start + done as u64;
            rest.map_or(Ok(()), |rest| {
                sys::write_at(flight.writer, rest, at, flight.block, Durability::Written)
            })
        });
        let _ = self.free.push(buffer);
        Some((flight, written))
    }
}
