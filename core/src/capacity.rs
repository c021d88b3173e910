//! Room for what the engine remembers: lent by the caller (`heapless` containers inside [`Workspace`]) or grown
//! on the heap. The engine is compiled once for both.

use core::fmt;
use core::ops::{Deref, DerefMut};

use heapless::VecView;

use crate::facts::{Retained, Spare, TableRange};
use crate::geometry::SegmentId;
use crate::record::Void;
use crate::report::Opened;
#[cfg(feature = "alloc")]
use crate::scan::MAX_WANTED_LEN;
use crate::scan::walk::Walk;
use crate::segment::cuts::Cuts;

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
            Self::Lent(list) => {
                // Handed on from place to place: small machines have no room for a fast way to move many bytes.
                let mut displaced = element;
                if list.is_full() {
                    return Err(ListFull);
                }
                for place in list.iter_mut().skip(at) {
                    core::mem::swap(place, &mut displaced);
                }
                list.push(displaced).map_err(|_| ListFull)
            }
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

    #[inline(never)]
    pub(crate) fn retain(&mut self, keep: &mut dyn FnMut(&T) -> bool) {
        match self {
            Self::Lent(list) => {
                let mut kept = 0;
                for at in 0..list.len() {
                    let Some((front, [element, ..])) = list.split_at_mut_checked(at) else {
                        break;
                    };
                    if keep(element) {
                        if let Some(place) = front.get_mut(kept) {
                            core::mem::swap(place, element);
                        }
                        kept += 1;
                    }
                }
                list.truncate(kept);
            }
            #[cfg(feature = "alloc")]
            Self::Owned(list) => list.retain(keep),
        }
    }

    pub(crate) fn clear(&mut self) {
        match self {
            Self::Lent(list) => list.clear(),
            #[cfg(feature = "alloc")]
            Self::Owned(list) => list.clear(),
        }
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

/// One value, lent or owned.
#[derive(Debug)]
pub(crate) enum Lent<'w, T> {
    Lent(&'w mut T),
    #[cfg(feature = "alloc")]
    Owned(alloc::boxed::Box<T>),
}

impl<T> Deref for Lent<'_, T> {
    type Target = T;

    #[cfg_attr(feature = "alloc", inline)]
    fn deref(&self) -> &T {
        match self {
            Self::Lent(value) => value,
            #[cfg(feature = "alloc")]
            Self::Owned(value) => value,
        }
    }
}

impl<T> DerefMut for Lent<'_, T> {
    #[cfg_attr(feature = "alloc", inline)]
    fn deref_mut(&mut self) -> &mut T {
        match self {
            Self::Lent(value) => value,
            #[cfg(feature = "alloc")]
            Self::Owned(value) => value,
        }
    }
}

/// What of a region is looked at rarely. Beside the open log, so that this stays small enough to be moved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aside {
    /// As the host said: see [`Options`](crate::Options).
    pub(crate) region: u64,
    pub(crate) seed: u64,
    pub(crate) shared_room: bool,
    pub(crate) ring: bool,
    pub(crate) opened: Opened,
    /// Segments made ahead, the next one first.
    pub(crate) spares: [Option<Spare>; 2],
    pub(crate) next_id: u64,
    /// Up to where the list was examined since the last deletion.
    pub(crate) examined: u32,
    /// As a ring: there was no room for another segment beside those in hand, so each new one costs an old one.
    pub(crate) tight: bool,
    /// The storage had no room for a second spare.
    pub(crate) refused: bool,
    /// The storage had no room, and there is something that gives some: that comes next, whatever the goal.
    pub(crate) room_first: bool,
    /// A segment is being created ahead.
    pub(crate) creating: bool,
    /// Segments that could not be removed since one could.
    pub(crate) stuck_in_a_row: u8,
    /// Of the session, or of the last one while none has begun.
    pub(crate) incarnation: u32,
    /// Of the active segment: the incarnation of its manifest, what is cut off, and where its seal starts and ends exactly;
    /// zero while there is none.
    pub(crate) base: u32,
    pub(crate) cuts: Cuts,
    pub(crate) seal: (u32, u32),
    /// Counts changes of segments and voids.
    pub(crate) version: u32,
    /// Of the segments found above the newest, the one that may go before the session began: the last, unless a seal may
    /// name it.
    pub(crate) expendable: Option<SegmentId>,
    /// The last sequence when all that was written was durable last.
    pub(crate) durable_sequence: u64,
    /// Sequences that a ring gave up since the host asked: the first, and the one behind the last.
    pub(crate) lost: (u64, u64),
}

impl Aside {
    /// Of a region without a segment.
    pub(crate) const fn new() -> Self {
        Self {
            region: 0,
            seed: 0,
            shared_room: false,
            ring: false,
            opened: Opened::NEW,
            spares: [None, None],
            next_id: 1,
            examined: u32::MAX,
            tight: false,
            refused: false,
            room_first: false,
            creating: false,
            stuck_in_a_row: 0,
            incarnation: 0,
            base: 0,
            cuts: Cuts::NONE,
            seal: (0, 0),
            version: 0,
            expendable: None,
            durable_sequence: 0,
            lost: (0, 0),
        }
    }
}

/// Room for one open region without a heap.
///
/// * `SEGMENTS`: segments that hold data or wait for removal, and two that are prepared: on a device with slots, as many as
///   there are. A log never makes more; a full list refuses appends while deleting and reclaiming go on. With fewer than
///   3, or than a log has that had more, opening for writing fails and says how many are needed.
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
    aside: Aside,
    walk: Walk,
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
            aside: Aside::new(),
            walk: Walk::new(),
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
            facts: Facts {
                segments: List::Lent(&mut self.segments),
                voids: List::Lent(&mut self.voids),
                tables: List::Lent(&mut self.tables),
                blocks: BlockStarts::default(),
                aside: Lent::Lent(&mut self.aside),
            },
            walk: Lent::Lent(&mut self.walk),
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
    pub(crate) facts: Facts<'w>,
    pub(crate) walk: Lent<'w, Walk>,
    pub(crate) buffer: Buffer<'w>,
}

/// Room for what is known of the region. The lists are empty.
#[derive(Debug)]
pub(crate) struct Facts<'w> {
    pub(crate) segments: List<'w, Retained>,
    pub(crate) voids: List<'w, Void>,
    pub(crate) tables: List<'w, TableRange>,
    pub(crate) blocks: BlockStarts,
    pub(crate) aside: Lent<'w, Aside>,
}

#[cfg(feature = "alloc")]
impl Capacity<'static> {
    /// Room that grows as needed. `buffer_len` bytes are taken for reading at once; a storage that lends its
    /// map needs none: the few that reading around damage takes are always there.
    #[must_use]
    pub fn heap(buffer_len: usize) -> Self {
        Self {
            facts: Facts {
                segments: List::Owned(alloc::vec::Vec::new()),
                voids: List::Owned(alloc::vec::Vec::new()),
                tables: List::Owned(alloc::vec::Vec::new()),
                blocks: BlockStarts::owned(),
                aside: Lent::Owned(alloc::boxed::Box::new(Aside::new())),
            },
            walk: Lent::Owned(alloc::boxed::Box::new(Walk::new())),
            buffer: Buffer::owned(buffer_len.max(MAX_WANTED_LEN)),
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
    starts: Option<alloc::boxed::Box<Starts>>,
}

#[cfg(feature = "alloc")]
#[derive(Debug)]
struct Starts {
    block_len: core::num::NonZeroU32,
    starts: [u32; BLOCKS],
}

#[cfg(feature = "alloc")]
impl BlockStarts {
    fn owned() -> Self {
        Self {
            starts: Some(alloc::boxed::Box::new(Starts {
                block_len: core::num::NonZeroU32::MIN,
                starts: [0; BLOCKS],
            })),
        }
    }

    /// Takes segments of this length.
    pub(crate) fn fit(&mut self, segment_len: u32) {
        if let Some(starts) = &mut self.starts {
            starts.block_len = core::num::NonZeroU32::MIN.saturating_add(segment_len.saturating_sub(1) / BLOCKS as u32);
        }
    }

    pub(crate) fn clear(&mut self) {
        if let Some(starts) = &mut self.starts {
            starts.starts = [0; BLOCKS];
        }
    }

    #[inline]
    pub(crate) fn get(&self) -> Option<&[u32; BLOCKS]> {
        self.starts.as_ref().map(|starts| &starts.starts)
    }

    /// Notes that a frame starts at `offset`.
    #[inline]
    pub(crate) fn note(&mut self, offset: u32) {
        if let Some(starts) = &mut self.starts
            && let Some(start) = starts.starts.get_mut((offset / starts.block_len) as usize)
            && *start == 0
        {
            *start = offset;
        }
    }

    /// The bit of the block that holds `offset`.
    #[inline]
    pub(crate) fn bit(&self, offset: u32) -> u64 {
        self.starts
            .as_ref()
            .map_or(0, |starts| 1 << ((offset / starts.block_len) & (BLOCKS as u32 - 1)))
    }
}

#[cfg(not(feature = "alloc"))]
#[expect(clippy::unused_self, reason = "the same calls as on the heap")]
impl BlockStarts {
    pub(crate) fn fit(&mut self, _: u32) {}

    pub(crate) fn clear(&mut self) {}

    pub(crate) fn get(&self) -> Option<&[u32; BLOCKS]> {
        None
    }

    pub(crate) fn note(&mut self, _: u32) {}

    pub(crate) fn bit(&self, _: u32) -> u64 {
        0
    }
}
