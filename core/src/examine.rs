//! Looking at one segment of a region: what walks it, and whether it still holds a live record.

use super::media::{self, Begun};
use super::storage::Storage;
use super::twin;
use crate::facts::Footer;
use crate::record::Void;
use crate::region::Region;
use crate::scan::walk::Walk;
use crate::scan::{End, Event, Limit};
use crate::voids::{self, Cover};

/// Begins a walk over the active segment, as far as it is written.
pub(crate) fn begin_active(walk: &mut Walk, region: &Region<'_>) {
    let active = &region.active;
    let end = Limit::Exact(region.active_end());
    walk.begin(active.id, active.seed, end, region.aside.base, &region.aside.cuts);
}

/// Whether every record of the segment at `at` of the list is dead. A segment that cannot be read is not.
#[twin(AFIT)]
#[inline(never)] // Stays off the stack of an append.
pub(crate) async fn is_dead<S: Storage>(
    walk: &mut Walk,
    storage: &mut S,
    buffer: &mut [u8],
    region: &Region<'_>,
    at: usize,
) -> bool {
    let mut rest = region.segments.as_slice().iter().skip(at);
    let Some(segment) = rest.next() else { return false };
    let after = rest.find(|other| other.is_listed());
    let next = after.map_or(region.active.first_sequence, |other| other.first_sequence);
    if segment.first_sequence == next {
        return true;
    }
    let voids = region.voids.as_slice();
    let overlaps = |void: &Void| void.from < next && segment.first_sequence <= void.to;
    if !voids.iter().any(overlaps) {
        return false;
    }
    let mut found = Cover::Ends;
    let mut look = |footer: &Footer<'_>| found = cover_of(footer, voids);
    let begun = media::try_begin(walk, storage, buffer, region, segment, &mut look).await;
    if !matches!(begun, Ok(Begun::Walk)) {
        return false;
    }
    loop {
        match found {
            Cover::All => return true,
            Cover::Alive => return false,
            Cover::Ends => {}
        }
        match media::next(walk, storage, buffer).await {
            Ok(Event::Record) => {
                let record = walk.scan.record();
                if !voids::covers(voids, record.table, record.sequence) {
                    return false;
                }
            }
            Ok(Event::End) => return walk.scan.end() == End::Exact,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}

/// What a footer tells of the records of its segment.
fn cover_of(footer: &Footer<'_>, voids: &[Void]) -> Cover {
    let mut worst = if footer.is_complete() { Cover::All } else { Cover::Ends };
    for range in footer.ranges() {
        match voids::cover(voids, range.table, range.from, range.to) {
            Cover::All => {}
            Cover::Alive => return Cover::Alive,
            Cover::Ends => worst = Cover::Ends,
        }
    }
    worst
}
