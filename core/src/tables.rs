//! The tables of the active segment: what its footer will say.

use core::num::NonZeroU32;

use crate::capacity::{BLOCKS, BlockStarts, List};
use crate::facts::TableRange;

/// Ranges by rising table, as many as could be remembered.
#[derive(Debug)]
pub(crate) struct Tables<'w> {
    list: List<'w, TableRange>,
    blocks: BlockStarts,
    /// Where the last record's table stands: most batches stay with one.
    last: usize,
    /// The most entries that a footer can state.
    max: usize,
    block_len: NonZeroU32,
    complete: bool,
    records: u32,
}

impl<'w> Tables<'w> {
    pub(crate) fn new(list: List<'w, TableRange>, blocks: BlockStarts, max: usize, segment_len: u32) -> Self {
        let mut tables = Self {
            max: max.min(list.limit()),
            list,
            blocks,
            last: 0,
            block_len: NonZeroU32::MIN.saturating_add((segment_len - 1) / BLOCKS as u32),
            complete: true,
            records: 0,
        };
        tables.clear();
        tables
    }

    pub(crate) fn clear(&mut self) {
        self.list.clear();
        if let Some(starts) = self.blocks.get_mut() {
            *starts = [0; BLOCKS];
        }
        self.last = 0;
        self.complete = true;
        self.records = 0;
    }

    /// All tables, or `None` where there were more than could be remembered.
    pub(crate) fn complete(&self) -> Option<&[TableRange]> {
        self.complete.then(|| self.list.as_slice())
    }

    pub(crate) fn block_starts(&self) -> Option<&[u32; BLOCKS]> {
        self.blocks.get()
    }

    pub(crate) fn records(&self) -> u32 {
        self.records
    }

    /// Notes that a frame starts at `offset`.
    #[cfg_attr(feature = "alloc", inline)]
    pub(crate) fn note_frame(&mut self, offset: u32) {
        if let Some(starts) = self.blocks.get_mut()
            && let Some(start) = starts.get_mut((offset / self.block_len) as usize)
            && *start == 0
        {
            *start = offset;
        }
    }

    /// Notes a record in the frame at `offset`.
    #[cfg_attr(feature = "alloc", inline)]
    pub(crate) fn note_record(&mut self, table: u64, sequence: u64, index: Option<u64>, offset: u32) {
        self.records = self.records.saturating_add(1);
        if !self.complete {
            return;
        }
        let block = 1u64 << ((offset / self.block_len) & (BLOCKS as u32 - 1));
        let at = match self.list.as_slice().get(self.last) {
            Some(range) if range.table == table => self.last,
            _ => self.list.as_slice().partition_point(|range| range.table < table),
        };
        self.last = at;
        let room = self.list.len() < self.max;
        if let Some(range) = self.list.as_mut_slice().get_mut(at)
            && range.table == table
        {
            range.take_in(sequence, index);
            range.blocks |= block;
            return;
        }
        let mut range = TableRange::starting(table, sequence);
        range.take_in(sequence, index);
        range.blocks = block;
        if !room || self.list.insert(at, range).is_err() {
            self.complete = false;
            self.list.clear();
        }
    }
}
