//! What a log is made of right now.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use walstone_core::{Entry, SegmentId, Storage, TableRange};

use crate::error::{Error, Result};
use crate::shared::Shared;
use crate::view::View;

/// What a log is made of.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// The open regions, by number.
    pub regions: Vec<RegionStats>,
    /// Regions that are not open or cannot be read to their end, and why.
    pub failed: Vec<(u64, Error)>,
    /// Segment files that are open and could be closed.
    pub open_segments: usize,
}

/// What a region is made of.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RegionStats {
    /// The region.
    pub region: u64,
    /// Bytes of one of its segments.
    pub segment_len: u32,
    /// Its segments, oldest first.
    pub segments: Vec<SegmentStats>,
    /// The last sequence given.
    pub last_sequence: u64,
    /// The last sequence known durable.
    pub durable_through: u64,
    /// Deleted ranges that are still needed.
    pub deleted_ranges: usize,
    /// Appends since it was opened.
    pub appends: u64,
    /// Syncs by group commit since it was opened.
    pub syncs: u64,
    /// Times that a leader gave its processor away to let a group gather.
    pub yields: u64,
    /// Views that are open.
    pub views: usize,
    /// Reclaimed segments that wait for a view to be dropped.
    pub held_by_views: Vec<SegmentId>,
    /// What raw system calls did and had to do without, where segments are written by them.
    #[cfg(all(feature = "linux", target_os = "linux"))]
    pub linux: Option<walstone_linux::Stats>,
}

/// What a segment is made of.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SegmentStats {
    /// Its id.
    pub id: SegmentId,
    /// Whether it is appended to, sealed with a footer, or ended by recovery.
    pub state: SegmentState,
    /// Bytes of log in it.
    pub bytes: u32,
    /// Records in it, deleted ones included.
    pub records: u64,
    /// Its tables, deleted records included.
    pub tables: Vec<TableStats>,
}

/// The state of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SegmentState {
    /// Appended to.
    Active,
    /// Full, with a footer.
    Sealed,
    /// Ended without a footer, by recovery or by a reclaim on a full disk.
    Ended,
}

/// One table in one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableStats {
    /// What is there, deleted records included.
    pub range: TableRange,
    /// The first and last live sequence: such a table keeps the segment from being reclaimed.
    pub live: Option<(u64, u64)>,
}

impl SegmentStats {
    /// The tables that keep the segment from being reclaimed.
    pub fn pinned_by(&self) -> impl Iterator<Item = u64> + '_ {
        let live = self.tables.iter().filter(|table| table.live.is_some());
        live.map(|table| table.range.table)
    }
}

pub(crate) fn of_region(shared: &Arc<Shared>) -> Result<RegionStats> {
    let view = View::new(shared);
    let snapshot = view.snapshot();
    let count = snapshot.segment_count();
    let mut segments = Vec::with_capacity(count);
    for at in 0..count {
        let Some(segment) = snapshot.segment(at) else { continue };
        let state = if at + 1 == count {
            SegmentState::Active
        } else if segment.sealed {
            SegmentState::Sealed
        } else {
            SegmentState::Ended
        };
        let (records, tables) = tables_of(&view, at)?;
        segments.push(SegmentStats {
            id: segment.id,
            state,
            bytes: if at + 1 == count { view.end() } else { segment.end },
            records,
            tables,
        });
    }
    let (held_by_views, views) = shared.readers.waiting();
    Ok(RegionStats {
        region: shared.id,
        segment_len: shared.files.geometry().segment_len(),
        segments,
        last_sequence: shared.last_sequence(),
        durable_through: shared.group.durable_through(),
        deleted_ranges: snapshot.voids().len(),
        appends: shared.appends.load(Ordering::Relaxed),
        syncs: shared.group.syncs(),
        yields: shared.group.yields(),
        // This one is not the user's.
        views: views - 1,
        held_by_views,
        #[cfg(all(feature = "linux", target_os = "linux"))]
        linux: shared.files.linux_stats(),
    })
}

/// Walks a segment once.
fn tables_of(view: &View, at: usize) -> Result<(u64, Vec<TableStats>)> {
    let mut tables: Vec<TableStats> = Vec::new();
    let mut records = 0;
    for frame in view.reader(at)?.frames() {
        let frame = frame.map_err(|corruption| view.corrupt(corruption))?;
        let entries = frame.entries().map_err(|corruption| view.corrupt(corruption))?;
        for entry in entries {
            let Entry::Record(record) = entry.map_err(|_| view.corrupt(frame.malformed()))? else {
                continue;
            };
            records += 1;
            let live = !view.snapshot().is_deleted(record.table, record.sequence);
            let slot = tables.binary_search_by_key(&record.table, |table| table.range.table);
            let at = slot.unwrap_or_else(|at| {
                let range = TableRange::starting(record.table, record.sequence);
                tables.insert(at, TableStats { range, live: None });
                at
            });
            if let Some(table) = tables.get_mut(at) {
                table.range.take_in(record.sequence, record.index);
                if live {
                    let first = table.live.map_or(record.sequence, |(first, _)| first);
                    table.live = Some((first, record.sequence));
                }
            }
        }
    }
    Ok((records, tables))
}
