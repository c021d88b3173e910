//! Writes that are gathered before they go to the file, in whole blocks. Knows no file.

use core::mem;
use core::ops::Range;

use walstone_core::SegmentId;

use crate::buffer::Buffer;

/// A window of one segment: what the file will hold there.
#[derive(Debug)]
pub(crate) struct Staged<'m> {
    buffer: Buffer<'m>,
    /// Bytes that are written together; 1 through the page cache.
    block: u32,
    id: SegmentId,
    /// Where the window starts: at a block.
    base: u32,
    /// The buffer holds what the file shall hold from `base` up to here.
    filled: u32,
    /// What the file does not hold yet.
    dirty: Range<u32>,
}

/// What became of bytes to gather.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// So many are taken.
    Taken(usize),
    /// First these bytes of the segment, which share blocks with them, must be loaded.
    Load(Range<u32>),
    /// First what is dirty must be written.
    Full,
}

/// Where the bytes of a buffer that is on its way stand in the file, and in the buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Departed {
    pub(crate) file: Range<u32>,
    pub(crate) buffer: Range<usize>,
}

impl<'m> Staged<'m> {
    /// With a buffer whose length is a multiple of `block`.
    pub(crate) fn new(buffer: Buffer<'m>, block: u32) -> Self {
        Self {
            buffer,
            block,
            id: SegmentId(0),
            base: 0,
            filled: 0,
            dirty: 0..0,
        }
    }

    /// Changes the block, before anything was put.
    pub(crate) fn set_block(&mut self, block: u32) {
        self.block = block;
        self.forget();
    }

    pub(crate) fn block(&self) -> u32 {
        self.block
    }

    fn down(&self, offset: u32) -> u32 {
        offset - offset % self.block
    }

    fn up(&self, offset: u32) -> u32 {
        offset.next_multiple_of(self.block)
    }

    fn window_end(&self) -> u32 {
        self.base.saturating_add(self.buffer.len() as u32)
    }

    /// The bytes of a segment that the file does not hold yet.
    pub(crate) fn dirty(&self, id: SegmentId) -> Range<u32> {
        if self.id == id { self.dirty.clone() } else { 0..0 }
    }

    /// The segment that the window is of, where something in it is not in the file yet.
    pub(crate) fn dirty_segment(&self) -> Option<SegmentId> {
        (!self.dirty.is_empty()).then_some(self.id)
    }

    /// What is dirty ends with a block, which later bytes do not share.
    pub(crate) fn ends_block(&self) -> bool {
        self.dirty.end.is_multiple_of(self.block)
    }

    /// Gathers as many of `data` as there is room for, at `at`.
    pub(crate) fn put(&mut self, id: SegmentId, at: u32, data: &[u8]) -> Put {
        if data.is_empty() {
            return Put::Taken(0);
        }
        if self.id != id || at < self.base || at >= self.window_end() {
            if !self.dirty.is_empty() {
                return Put::Full;
            }
            self.id = id;
            self.base = self.down(at);
            self.filled = self.base;
        }
        let mut count = data.len().min((self.window_end() - at) as usize);
        // What stands between.
        if self.filled < at {
            return Put::Load(self.filled..self.up(at));
        }
        // What shares the last block; whole blocks need nothing.
        let end = at + count as u32;
        let last = self.down(end);
        if self.filled < end && last < end {
            if last <= at {
                self.copy_in(at, data.get(..count).unwrap_or_default());
                self.filled = end;
                return Put::Load(end..self.up(end));
            }
            count = (last - at) as usize;
        }
        let end = at + count as u32;
        self.copy_in(at, data.get(..count).unwrap_or_default());
        self.filled = self.filled.max(end);
        self.dirty = if self.dirty.is_empty() {
            at..end
        } else {
            self.dirty.start.min(at)..self.dirty.end.max(end)
        };
        Put::Taken(count)
    }

    /// Copies bytes that lie in the window.
    fn copy_in(&mut self, at: u32, data: &[u8]) {
        let from = (at - self.base) as usize;
        if let Some(room) = self.buffer.get_mut(from..from + data.len()) {
            room.copy_from_slice(data);
        }
    }

    /// Room for bytes to load at `filled`, up to `to`.
    pub(crate) fn room(&mut self, to: u32) -> &mut [u8] {
        let from = (self.filled - self.base) as usize;
        let to = (to.min(self.window_end()) - self.base) as usize;
        self.buffer.get_mut(from..to).unwrap_or_default()
    }

    /// What the file holds up to `to` is loaded.
    pub(crate) fn loaded(&mut self, to: u32) {
        self.filled = self.filled.max(to.min(self.window_end()));
    }

    /// Sends what is dirty on its way: `spare` is the buffer that holds it from now on, and the window goes on with
    /// the other one, behind it. The blocks that both have in common are not written again before the flight ended.
    pub(crate) fn depart(&mut self, spare: &mut Buffer<'m>) -> Option<Departed> {
        if self.dirty.is_empty() {
            return None;
        }
        let end = self.dirty.end;
        let file = self.down(self.dirty.start)..self.up(end);
        let departed = Departed {
            buffer: (file.start - self.base) as usize..(file.end - self.base) as usize,
            file,
        };
        mem::swap(&mut self.buffer, spare);
        let base = self.down(end);
        let common = (base - self.base) as usize..(self.filled - self.base) as usize;
        let common = spare.get(common).unwrap_or_default();
        if let Some(start) = self.buffer.get_mut(..common.len()) {
            start.copy_from_slice(common);
        }
        self.base = base;
        self.dirty = end..end;
        Some(departed)
    }

    /// Copies the bytes of `range` that the file does not hold yet to where they belong in `buf`, which starts at
    /// `at`; which they are.
    pub(crate) fn copy_dirty(&self, id: SegmentId, at: u32, buf: &mut [u8]) -> Range<u32> {
        let dirty = self.dirty(id);
        let from = dirty.start.max(at);
        let to = dirty.end.min(at.saturating_add(buf.len() as u32));
        if from >= to {
            return at..at;
        }
        let source = self.buffer.get((from - self.base) as usize..(to - self.base) as usize);
        let target = buf.get_mut((from - at) as usize..(to - at) as usize);
        if let (Some(source), Some(target)) = (source, target) {
            target.copy_from_slice(source);
        }
        from..to
    }

    /// Drops what was gathered for a segment that is no more.
    pub(crate) fn removed(&mut self, id: SegmentId) {
        if self.id == id {
            self.forget();
        }
    }

    /// What was loaded may not be what the file holds any more.
    fn forget(&mut self) {
        self.base = 0;
        self.filled = 0;
        self.dirty = 0..0;
    }
}
