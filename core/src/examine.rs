//! Whether a segment still holds a live record: by its footer where that is enough, else by walking it.

use crate::facts::{Cuts, Retained};
use crate::media::{self, Key, Walk};
use crate::region::Region;
use crate::scan::{End, Event, Limit, Scan};
use crate::storage::Storage;
use crate::voids::{self, Cover};

/// Whether every record of the segment at `at` of the list is dead. A segment that cannot be read is not.
pub(crate) fn is_dead<S: Storage>(storage: &mut S, buffer: &mut [u8], region: &Region<'_>, at: usize) -> bool {
    let Some(segment) = region.segments.as_slice().get(at).copied() else {
        return false;
    };
    let after = region
        .segments
        .as_slice()
        .iter()
        .skip(at + 1)
        .find(|other| other.is_listed());
    let next = after.map_or(region.active.first_sequence, |other| other.first_sequence);
    if segment.first_sequence == next {
        return true;
    }
    let overlaps = |void: &crate::record::Void| void.from < next && segment.first_sequence <= void.to;
    if !region.voids.as_slice().iter().any(overlaps) {
        return false;
    }
    judge(storage, buffer, region, &segment).unwrap_or(false)
}

fn judge<S: Storage>(storage: &mut S, buffer: &mut [u8], region: &Region<'_>, segment: &Retained) -> Option<bool> {
    let frames_start = region.layout.frames_start();
    let key = media::key(storage, buffer, segment.segment(), region.checksum, frames_start).ok()?;
    let covers = media::with_footer(storage, buffer, segment, &key, |footer| {
        if !footer.is_complete() {
            return (Cover::Ends, *footer.cuts());
        }
        let mut worst = Cover::All;
        for range in footer.tables() {
            match voids::cover(region.voids.as_slice(), range.table, range.first, range.last) {
                Cover::All => {}
                Cover::Alive => return (Cover::Alive, *footer.cuts()),
                Cover::Ends => worst = Cover::Ends,
            }
        }
        (worst, *footer.cuts())
    })
    .ok()?;
    match covers {
        Some((Cover::All, _)) => Some(true),
        Some((Cover::Alive, _)) => Some(false),
        Some((Cover::Ends, cuts)) => walk(storage, buffer, region, segment, &key, cuts),
        None => {
            let cuts = cuts_of(storage, buffer, region, segment, &key)?;
            walk(storage, buffer, region, segment, &key, cuts)
        }
    }
}

/// A walk over a listed segment, up to its footer: that says nothing that the frames do not, so damage to it costs
/// nothing but time.
pub(crate) fn walk_of(region: &Region<'_>, segment: &Retained, key: &Key, cuts: Cuts) -> Walk {
    let limit = Limit::Exact(segment.end - segment.seal_len());
    let scan = Scan::new(
        key.binding,
        region.layout,
        region.layout.geometry().erased(),
        limit,
        key.base,
    );
    Walk::new(segment.segment(), scan.with_cuts(cuts))
}

/// The cuts of a segment without a usable footer, found by walking it once.
pub(crate) fn cuts_of<S: Storage>(
    storage: &mut S,
    buffer: &mut [u8],
    region: &Region<'_>,
    segment: &Retained,
    key: &Key,
) -> Option<Cuts> {
    let mut walk = walk_of(region, segment, key, Cuts::default());
    loop {
        if let Event::End(_) = walk.next(storage, buffer).ok()? {
            return Some(*walk.scan.cuts());
        }
    }
}

fn walk<S: Storage>(
    storage: &mut S,
    buffer: &mut [u8],
    region: &Region<'_>,
    segment: &Retained,
    key: &Key,
    cuts: Cuts,
) -> Option<bool> {
    let mut walk = walk_of(region, segment, key, cuts);
    loop {
        match walk.next(storage, buffer).ok()? {
            Event::Record(record) if !voids::covers(region.voids.as_slice(), record.table, record.sequence) => {
                return Some(false);
            }
            Event::End(end) => return Some(end == End::Exact),
            _ => {}
        }
    }
}
