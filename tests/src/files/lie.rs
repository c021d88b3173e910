//! Syncs that are said to be done and were not: how the simulator proves that it would notice. The backend is as it
//! is; the disk below it lies.

use super::disk::Disk;
use super::step::Step;

/// Which syncs do nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lie {
    /// Of the directory above the root, when the root is made.
    RootMade,
    /// Of a region's directory, when a segment is made.
    SegmentMade,
    /// Of a region's directory, when a segment is removed.
    SegmentRemoved,
    /// Of the root, when a region gets its name.
    RegionNamed,
    /// Of the root, when a region loses its name.
    RegionRemoved,
    /// Of the root, when a log is opened in which an earlier process died.
    RootListed,
    /// Of a region's directory, when it is opened and an earlier process died.
    RegionListed,
    /// Of a segment's header, before the segment has its name.
    Header,
    /// Of a segment.
    Segment,
    /// Of a segment, another one of the region is synced.
    WrongSegment,
    /// Of a segment that an earlier process wrote to and did not sync.
    Settled,
    /// None: syncs do not cover what was ever on its way.
    Flight,
}

impl Lie {
    /// All that may be told of any segments; the last one is for writes that nobody waits for.
    pub const ALL: [Self; 11] = [
        Self::RootMade,
        Self::SegmentMade,
        Self::SegmentRemoved,
        Self::RegionNamed,
        Self::RegionRemoved,
        Self::RootListed,
        Self::RegionListed,
        Self::Header,
        Self::Segment,
        Self::WrongSegment,
        Self::Settled,
    ];

    /// Applies a step, or does not where it is a sync that this lie is about.
    pub fn apply(self, disk: &mut Disk, step: &Step) {
        if !self.is_about(disk, step) {
            disk.apply(step);
            return;
        }
        match self {
            Self::Flight => return disk.lose(step),
            Self::WrongSegment => disk.sync_sibling(step),
            _ => {}
        }
        disk.skip();
    }

    fn is_about(self, disk: &Disk, step: &Step) -> bool {
        match step {
            Step::SyncDir { path, .. } => {
                let pending = |is: fn(&str) -> bool, named: bool| {
                    disk.pending_in(path).any(|(name, names)| is(name) && names == named)
                };
                let of_region = path.components().count() == 2;
                match self {
                    Self::RootMade => path.as_os_str().is_empty() && pending(|_| true, true),
                    Self::SegmentMade => of_region && pending(is_segment, true),
                    Self::SegmentRemoved => of_region && pending(is_segment, false),
                    Self::RegionNamed => !of_region && pending(is_region, true),
                    Self::RegionRemoved => !of_region && pending(is_region, false),
                    Self::RootListed => !of_region && disk.is_inherited(path),
                    Self::RegionListed => of_region && disk.is_inherited(path),
                    _ => false,
                }
            }
            Step::SyncFile { file, .. } | Step::SyncRange { file, .. } => {
                let Some(path) = disk.opened(*file).and_then(|node| disk.name_of(node)) else {
                    return false;
                };
                let is_named = path.file_name().and_then(|name| name.to_str()).is_some_and(is_segment);
                match self {
                    Self::Header => !is_named,
                    Self::Segment | Self::WrongSegment => is_named,
                    Self::Settled => is_named && disk.is_inherited(&path),
                    _ => false,
                }
            }
            Step::Landed { .. } => self == Self::Flight,
            _ => false,
        }
    }
}

fn is_segment(name: &str) -> bool {
    name.starts_with("seg_")
}

fn is_region(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_digit())
}
