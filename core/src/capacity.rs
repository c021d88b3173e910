//! Room for what the engine remembers: lent by the caller (`heapless` containers inside [`Workspace`]) or grown
//! on the heap. The engine is compiled once for both.

use core::fmt;

use heapless::VecView;

use crate::facts::{Retained, TableRange};
use crate::record::Void;

/// A list that is lent or owned.
pub(crate) enum List<'w, T> {
    Lent(&'w mut VecView<T>),
    #[cfg(feature = "alloc")]
    Owned(alloc::vec::Vec<T>),
}

/// A lent list is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListFull;

impl<T: Copy> List<'_, T> {
    #[cfg_attr(feature = "alloc", inline)]
    pub(crate) fn as_slice(&self) -> &[T] {
        match self {
            Self::Lent(list) => list.as_slice(),
            #[cfg(feature = "alloc")]
            Self::Owned(list) => list.as_slice(),
        }
    }

    #[cfg_attr(feature = "alloc", inline)]
    pub(crate) fn as_mut_slice(&mut self) -> &mut [T] {
        match self {
            Self::Lent(list) => list.as_mut_slice(),
            #[cfg(feature = "alloc")]
            Self::Owned(list) => list.as_mut_slice(),
        }
    }

    #[cfg_attr(feature = "alloc", inline)]
    pub(crate) fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// The most elements it can hold.
    #[cfg_attr(feature = "alloc", inline)]
    pub(crate) fn limit(&self) -> usize {
        match self {
            Self::Lent(list) => list.capacity(),
            #[cfg(feature = "alloc")]
            Self::Owned(_) => usize::MAX,
        }
    }

    pub(crate) fn insert(&mut self, at: usize, element: T) -> Result<(), ListFull> {
        if at > self.len() {
            return Err(ListFull);
        }
        match self {
            Self::Lent(list) => list.insert(at, element).map_err(|_| ListFull),
            #[cfg(feature = "alloc")]
            Self::Owned(list) => {
                make_room(list);
                list.insert(at, element);
                Ok(())
            }
        }
    }

    pub(crate) fn push(&mut self, element: T) -> Result<(), ListFull> {
        match self {
            Self::Lent(list) => list.push(element).map_err(|_| ListFull),
            #[cfg(feature = "alloc")]
            Self::Owned(list) => {
                make_room(list);
                list.push(element);
                Ok(())
            }
        }
    }

    pub(crate) fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        match self {
            Self::Lent(list) => list.retain(keep),
            #[cfg(feature = "alloc")]
            Self::Owned(list) => list.retain(keep),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.retain(|_| false);
    }
}

/// Makes room for one more, and a few. A list that doubles would hold up to twice of what it needs, and an open region
/// should cost no more than its facts.
#[cfg(feature = "alloc")]
fn make_room<T>(list: &mut alloc::vec::Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact(4 + list.len() / 32);
    }
}

impl<T: Copy + fmt::Debug> fmt::Debug for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.as_slice()).finish()
    }
}

/// Bytes to read into and to build control frames in, lent or owned.
pub(crate) enum Buffer<'w> {
    Lent(&'w mut [u8]),
    /// `kept`: bytes that stay, however little is needed.
    #[cfg(feature = "alloc")]
    Owned {
        bytes: alloc::vec::Vec<u8>,
        kept: usize,
    },
}

/// What a buffer on the heap keeps at least, so that control frames of usual length allocate once.
#[cfg(feature = "alloc")]
const KEPT_LEN: usize = 4096;

impl Buffer<'_> {
    /// One on the heap that never has fewer than `len` bytes.
    #[cfg(feature = "alloc")]
    pub(crate) fn owned(len: usize) -> Self {
        Self::Owned {
            bytes: alloc::vec![0; len],
            kept: len,
        }
    }

    /// At least `len` bytes; `None` where the caller lent fewer.
    pub(crate) fn at_least(&mut self, len: usize) -> Option<&mut [u8]> {
        match self {
            Self::Lent(bytes) => (bytes.len() >= len).then_some(bytes),
            #[cfg(feature = "alloc")]
            Self::Owned { bytes, .. } => {
                if bytes.len() < len {
                    bytes.resize(len, 0);
                }
                Some(bytes)
            }
        }
    }

    /// Gives back what only a long manifest needed: else an open region would hold room for one all the time.
    pub(crate) fn release(&mut self) {
        #[cfg(feature = "alloc")]
        if let Self::Owned { bytes, kept } = self
            && bytes.len() > (*kept).max(KEPT_LEN)
        {
            bytes.truncate(*kept);
            bytes.shrink_to_fit();
        }
    }

    /// What is there now.
    pub(crate) fn whole(&mut self) -> &mut [u8] {
        match self {
            Self::Lent(bytes) => bytes,
            #[cfg(feature = "alloc")]
            Self::Owned { bytes, .. } => bytes,
        }
    }

    #[cfg_attr(feature = "alloc", inline)]
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Lent(bytes) => bytes,
            #[cfg(feature = "alloc")]
            Self::Owned { bytes, .. } => bytes,
        }
    }
}

impl fmt::Debug for Buffer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.as_slice().len())
    }
}

/// Room for one open region without a heap.
///
/// * `SEGMENTS`: segments that hold data or wait for removal; too few and opening fails, saying how many.
/// * `VOIDS`: deleted ranges that are still needed; a deletion that needs one more is refused.
/// * `TABLES`: tables whose ranges are remembered for the active segment. With more, reads of one table and
///   reclaim read more bytes, with the same answer.
/// * `BUFFER`: bytes for control frames and for reading: at least the largest record to be read back, and
///   what [`Workspace::min_buffer_len`] says.
#[derive(Debug)]
pub struct Workspace<const SEGMENTS: usize, const VOIDS: usize, const TABLES: usize, const BUFFER: usize> {
    segments: heapless::Vec<Retained, SEGMENTS>,
    voids: heapless::Vec<Void, VOIDS>,
    tables: heapless::Vec<TableRange, TABLES>,
    buffer: [u8; BUFFER],
}

impl<const SEGMENTS: usize, const VOIDS: usize, const TABLES: usize, const BUFFER: usize>
    Workspace<SEGMENTS, VOIDS, TABLES, BUFFER>
{
    /// An empty workspace.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            segments: heapless::Vec::new(),
            voids: heapless::Vec::new(),
            tables: heapless::Vec::new(),
            buffer: [0; BUFFER],
        }
    }

    /// Bytes of `BUFFER` that the largest manifest and footer of this workspace need.
    #[must_use]
    pub const fn min_buffer_len() -> usize {
        crate::facts::control_frame_len(SEGMENTS, VOIDS, TABLES)
    }

    /// Lends all of it to one region.
    pub fn lend(&mut self) -> Capacity<'_> {
        self.segments.clear();
        self.voids.clear();
        self.tables.clear();
        Capacity {
            segments: List::Lent(&mut self.segments),
            voids: List::Lent(&mut self.voids),
            tables: List::Lent(&mut self.tables),
            blocks: BlockStarts::default(),
            buffer: Buffer::Lent(&mut self.buffer),
        }
    }
}

impl<const SEGMENTS: usize, const VOIDS: usize, const TABLES: usize, const BUFFER: usize> Default
    for Workspace<SEGMENTS, VOIDS, TABLES, BUFFER>
{
    fn default() -> Self {
        Self::new()
    }
}

/// Room for one open region: lent by a [`Workspace`] or grown on the heap.
#[derive(Debug)]
pub struct Capacity<'w> {
    pub(crate) segments: List<'w, Retained>,
    pub(crate) voids: List<'w, Void>,
    pub(crate) tables: List<'w, TableRange>,
    pub(crate) blocks: BlockStarts,
    pub(crate) buffer: Buffer<'w>,
}

#[cfg(feature = "alloc")]
impl Capacity<'static> {
    /// Room that grows as needed. `buffer_len` bytes are taken for reading at once; a storage that lends its
    /// map needs none.
    #[must_use]
    pub fn heap(buffer_len: usize) -> Self {
        Self {
            segments: List::Owned(alloc::vec::Vec::new()),
            voids: List::Owned(alloc::vec::Vec::new()),
            tables: List::Owned(alloc::vec::Vec::new()),
            blocks: BlockStarts {
                starts: Some(alloc::boxed::Box::new([0; BLOCKS])),
            },
            buffer: Buffer::owned(buffer_len),
        }
    }
}

/// Blocks of one segment in the index.
pub(crate) const BLOCKS: usize = 64;

/// Where the first frame of each sixty-fourth of the active segment starts; 0 where none does. Only on the heap: it
/// saves time, never changes an answer.
#[derive(Debug, Default)]
pub(crate) struct BlockStarts {
    #[cfg(feature = "alloc")]
    starts: Option<alloc::boxed::Box<[u32; BLOCKS]>>,
}

impl BlockStarts {
    #[cfg(feature = "alloc")]
    #[cfg_attr(feature = "alloc", inline)]
    pub(crate) fn get(&self) -> Option<&[u32; BLOCKS]> {
        self.starts.as_deref()
    }

    #[cfg(feature = "alloc")]
    #[cfg_attr(feature = "alloc", inline)]
    pub(crate) fn get_mut(&mut self) -> Option<&mut [u32; BLOCKS]> {
        self.starts.as_deref_mut()
    }

    #[cfg(not(feature = "alloc"))]
    #[cfg_attr(feature = "alloc", inline)]
    pub(crate) fn get(&self) -> Option<&[u32; BLOCKS]> {
        None
    }

    #[cfg(not(feature = "alloc"))]
    #[cfg_attr(feature = "alloc", inline)]
    pub(crate) fn get_mut(&mut self) -> Option<&mut [u32; BLOCKS]> {
        None
    }
}
