//! Memory to gather writes in: lent by the caller, or mapped.

use core::ops::{Deref, DerefMut};

use crate::sys::{AnonymousMap, Errno};

/// Memory that two buffers are made of. Writes are gathered in one while the other is on its way to the device.
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
    /// Lends memory. 16 KiB suffice, 256 KiB are good for throughput; up to 4 KiB are lost to alignment.
    #[must_use]
    pub fn lend(bytes: &'m mut [u8]) -> Self {
        Self(Source::Lent(bytes))
    }

    /// Maps two anonymous buffers of `buffer_len` bytes each.
    #[must_use]
    pub const fn map(buffer_len: usize) -> Self {
        Self(Source::Mapped(buffer_len))
    }

    /// Two buffers of equal length; `None` where that would be less than one unit of alignment.
    pub(crate) fn split(self) -> Result<Option<[Buffer<'m>; 2]>, Errno> {
        Ok(match self.0 {
            Source::Mapped(len) => {
                let len = len.next_multiple_of(ALIGN).max(ALIGN);
                Some([
                    Buffer::Mapped(AnonymousMap::new(len)?),
                    Buffer::Mapped(AnonymousMap::new(len)?),
                ])
            }
            Source::Lent(bytes) => {
                let skipped = bytes.as_ptr().align_offset(ALIGN).min(bytes.len());
                let (_, bytes) = bytes.split_at_mut(skipped);
                let half = bytes.len() / 2 / ALIGN * ALIGN;
                let (first, rest) = bytes.split_at_mut(half);
                let (second, _) = rest.split_at_mut(half);
                (half > 0).then_some([Buffer::Lent(first), Buffer::Lent(second)])
            }
        })
    }
}

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
    fn halves_are_aligned_and_apart() {
        let mut bytes = std::vec![0; 5 * ALIGN + 17];
        let [first, second] = Memory::lend(&mut bytes[3..]).split().unwrap().unwrap();
        assert_eq!((first.len(), second.len()), (2 * ALIGN, 2 * ALIGN));
        assert_eq!(first.as_ptr() as usize % ALIGN, 0);
        assert_eq!(second.as_ptr() as usize - first.as_ptr() as usize, 2 * ALIGN);
        assert!(Memory::lend(&mut [0; 100]).split().unwrap().is_none());
        let [first, second] = Memory::map(1).split().unwrap().unwrap();
        assert_eq!((first.len(), second.len()), (ALIGN, ALIGN));
    }
}
