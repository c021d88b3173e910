//! What is remembered of each slot, and the room that a caller lends for it.

use crate::geometry::SegmentId;

/// What is known of one slot: 16 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    pub(crate) state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Reads as blank where its headers stand. The rest may be left from an erase that was interrupted.
    Free,
    /// Wiped since the storage was opened.
    Erased,
    /// Neither blank nor a segment.
    Unreadable,
    /// Holds a segment; the first copy of its header is good.
    First(SegmentId),
    /// Holds a segment; only the second copy of its header is.
    Second(SegmentId),
}

impl State {
    pub(crate) const fn segment(self) -> Option<SegmentId> {
        match self {
            Self::First(id) | Self::Second(id) => Some(id),
            Self::Free | Self::Erased | Self::Unreadable => None,
        }
    }
}

const _: () = assert!(size_of::<Slot>() == 16, "what the documents say");

/// Room for what is remembered of up to `SLOTS` slots, and for gathering programs of up to `GATHER` bytes: at least the
/// write unit; the program page of a chip makes for the fewest programs.
#[derive(Debug)]
pub struct FlatRoom<const SLOTS: usize, const GATHER: usize> {
    slots: [Slot; SLOTS],
    gather: [u8; GATHER],
}

impl<const SLOTS: usize, const GATHER: usize> FlatRoom<SLOTS, GATHER> {
    /// Room that holds nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            slots: [Slot { state: State::Free }; SLOTS],
            gather: [0; GATHER],
        }
    }

    /// Lends all of it to one storage.
    pub const fn lend(&mut self) -> FlatCapacity<'_> {
        FlatCapacity {
            slots: Held::Lent(&mut self.slots),
            gather: Held::Lent(&mut self.gather),
        }
    }
}

impl<const SLOTS: usize, const GATHER: usize> Default for FlatRoom<SLOTS, GATHER> {
    fn default() -> Self {
        Self::new()
    }
}

/// Room for one storage: lent by a [`FlatRoom`], or on the heap.
#[derive(Debug)]
pub struct FlatCapacity<'r> {
    pub(crate) slots: Held<'r, Slot>,
    pub(crate) gather: Held<'r, u8>,
}

#[cfg(feature = "alloc")]
impl FlatCapacity<'static> {
    /// Room for `slots` slots, and for gathering programs of up to `gather_len` bytes.
    #[must_use]
    pub fn heap(slots: usize, gather_len: usize) -> Self {
        Self {
            slots: Held::Owned(alloc::vec![Slot { state: State::Free }; slots]),
            gather: Held::Owned(alloc::vec![0; gather_len]),
        }
    }
}

/// A row that is lent or owned.
#[derive(Debug)]
pub(crate) enum Held<'r, T> {
    Lent(&'r mut [T]),
    #[cfg(feature = "alloc")]
    Owned(alloc::vec::Vec<T>),
}

impl<T> Held<'_, T> {
    /// The same row, without what stands behind `len`; `None` where it is shorter.
    pub(crate) fn first(self, len: usize) -> Option<Self> {
        match self {
            Self::Lent(row) => row.get_mut(..len).map(Self::Lent),
            #[cfg(feature = "alloc")]
            Self::Owned(mut row) => (row.len() >= len).then(|| {
                row.truncate(len);
                Self::Owned(row)
            }),
        }
    }
}

impl<T> core::ops::Deref for Held<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::Lent(row) => row,
            #[cfg(feature = "alloc")]
            Self::Owned(row) => row,
        }
    }
}

impl<T> core::ops::DerefMut for Held<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Self::Lent(row) => row,
            #[cfg(feature = "alloc")]
            Self::Owned(row) => row,
        }
    }
}
