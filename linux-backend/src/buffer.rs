//! Memory to gather writes in: lent by the caller, or mapped.

use core::ops::{Deref, DerefMut};

use crate::sys::{AnonymousMap, Errno};

/// Memory that buffers are made of. Writes are gathered in one while others are on their way to the device.
#[derive(Debug)]
pub struct Memory<'m>(Source<'m>);

#[derive(Debug)]
enum Source<'m> {
    Lent(&'m mut [u8]),
    Mapped(usize),
}

/// Memory starts at a multiple of this, and is as long: enough for any direct access.
pub(crate) const ALIGN: usize = 4096;

impl<'m> Memory<'m> {
    /// Lends memory for four buffers, or for two if there is no more. 16 KiB suffice, 1 MiB is good for throughput; up to
    /// 4 KiB are lost to alignment.
    #[must_use]
    pub fn lend(bytes: &'m mut [u8]) -> Self {
        Self(Source::Lent(bytes))
    }

    /// Maps four anonymous buffers of `buffer_len` bytes each; those that are not needed take no memory.
    #[must_use]
    pub const fn map(buffer_len: usize) -> Self {
        Self(Source::Mapped(buffer_len))
    }

    /// Buffers of equal length, two at least; `None` where that would be less than one unit of alignment each.
    pub(crate) fn split(self) -> Result<Option<Buffers<'m>>, Errno> {
        let mut buffers = Buffers::new();
        match self.0 {
            Source::Mapped(len) => {
                let len = len.next_multiple_of(ALIGN).max(ALIGN);
                while !buffers.is_full() {
                    // There is room.
                    let _ = buffers.push(Buffer::Mapped(AnonymousMap::new(len)?));
                }
            }
            Source::Lent(bytes) => {
                let skipped = bytes.as_ptr().align_offset(ALIGN).min(bytes.len());
                let (_, bytes) = bytes.split_at_mut(skipped);
                let units = bytes.len() / ALIGN;
                if units < 2 {
                    return Ok(None);
                }
                let len = units / units.min(BUFFERS) * ALIGN;
                for part in bytes.chunks_exact_mut(len).take(BUFFERS) {
                    let _ = buffers.push(Buffer::Lent(part));
                }
            }
        }
        Ok(Some(buffers))
    }
}

/// Buffers of a region, at most.
pub(crate) const BUFFERS: usize = 4;

pub(crate) type Buffers<'m> = heapless::Vec<Buffer<'m>, BUFFERS>;

impl Default for Memory<'_> {
    /// Mapped, large enough for throughput.
    fn default() -> Self {
        Self::map(256 << 10)
    }
}

/// Aligned memory.
#[derive(Debug)]
pub(crate) enum Buffer<'m> {
    Lent(&'m mut [u8]),
    Mapped(AnonymousMap),
}

impl Deref for Buffer<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Lent(bytes) => bytes,
            Self::Mapped(map) => map,
        }
    }
}

impl DerefMut for Buffer<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Lent(bytes) => bytes,
            Self::Mapped(map) => map,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_apart() {
        let mut bytes = std::vec![0; 5 * ALIGN + 17];
        let lent = Memory::lend(&mut bytes[3..]).split().unwrap().unwrap();
        assert_eq!(lent.len(), BUFFERS);
        for (at, buffer) in lent.iter().enumerate() {
            assert_eq!(buffer.len(), ALIGN);
            assert_eq!(buffer.as_ptr() as usize % ALIGN, 0);
            assert_eq!(buffer.as_ptr() as usize - lent[0].as_ptr() as usize, at * ALIGN);
        }
        let mut bytes = std::vec![0; 23 * ALIGN];
        let lent = Memory::lend(&mut bytes).split().unwrap().unwrap();
        assert_eq!((lent.len(), lent[0].len()), (BUFFERS, 5 * ALIGN));
        let mut bytes = std::vec![0; 3 * ALIGN];
        assert!(Memory::lend(&mut bytes).split().unwrap().unwrap().len() >= 2);
        assert!(Memory::lend(&mut [0; 100]).split().unwrap().is_none());
        let mapped = Memory::map(1).split().unwrap().unwrap();
        assert_eq!((mapped.len(), mapped[0].len()), (BUFFERS, ALIGN));
    }
}
