//! The tables of the active segment: what its footer will say.

use crate::capacity::{BLOCKS, BlockStarts, List};
use crate::facts::{SealFacts, TableRange};
use crate::segment::layout::Layout;

/// Ranges by rising table, as many as could be remembered.
#[derive(Debug)]
pub(crate) struct Tables<'w> {
    list: List<'w, TableRange>,
    blocks: BlockStarts,
    /// The most entries that a footer can state.
    max: u16,
    /// Where the last record's table stands: most batches stay with one.
    last: u16,
    complete: bool,
}

impl<'w> Tables<'w> {
    pub(crate) fn new(list: List<'w, TableRange>, blocks: BlockStarts, layout: Layout) -> Self {
        let max = SealFacts::max_tables(layout.max_seal_len()).min(list.limit());
        let mut tables = Self {
            list,
            blocks,
            max: u16::try_from(max).unwrap_or(u16::MAX),
            last: 0,
            complete: true,
        };
        tables.blocks.fit(layout.segment_len());
        tables.clear();
        tables
    }

    pub(crate) fn clear(&mut self) {
        self.list.clear();
        self.blocks.clear();
        self.last = 0;
        self.complete = true;
    }

    /// All tables, or `None` where there were more than could be remembered.
    pub(crate) fn complete(&self) -> Option<&[TableRange]> {
        self.complete.then(|| self.list.as_slice())
    }

    pub(crate) fn block_starts(&self) -> Option<&[u32; BLOCKS]> {
        self.blocks.get()
    }

    /// Notes that a frame starts at `offset`.
    #[cfg_attr(feature = "alloc", inline)]
    pub(crate) fn note_frame(&mut self, offset: u32) {
        self.blocks.note(offset);
    }

    /// Notes a record in the frame at `offset`.
    #[cfg_attr(feature = "alloc", inline)]
    pub(crate) fn note_record(&mut self, table: u64, sequence: u64, index: Option<u64>, offset: u32) {
        if !self.complete {
            return;
        }
        let block = self.blocks.bit(offset);
        let last = usize::from(self.last);
        let at = match self.list.as_slice().get(last) {
            Some(range) if range.table == table => last,
            _ => self.list.as_slice().partition_point(|range| range.table < table),
        };
        self.last = at as u16;
        let room = self.list.len() < usize::from(self.max);
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
