//! From what a recovery found to a region: where its next session begins.

use crate::error::{Error, Refusal};
use crate::frame;
use crate::geometry::SegmentId;
use crate::recover::newest::Newest;
use crate::recover::{Mode, Recovery};
use crate::region::{Active, Region, Session};
use crate::report::{Report, Tail};
use crate::scan::End;
use crate::segment::layout::{Layout, MAX_CUTS, Purpose};

impl<'w> Recovery<'w> {
    /// The region, once nothing is needed any more.
    pub(crate) fn finish(self) -> Result<(Region<'w>, Report), Refusal> {
        let report = Report {
            region: self.options.region,
            geometry: self.geometry,
            newest: SegmentId(self.next_id.max(1)),
            segments: 1,
            tail: Tail::New,
            last_sequence: 0,
            settled_bytes: self.settled,
            removed_segments: self.removed,
            released_slots: self.released,
        };
        let Some(newest) = self.newest else {
            return match self.mode {
                Mode::Open | Mode::ReadOnly => Err(Error::NoRegion),
                Mode::Create | Mode::OpenOrCreate => {
                    let region = Region::new(self.options, self.geometry, self.room, report.newest);
                    Ok((region, report))
                }
            };
        };
        if self.mode == Mode::Create {
            return Err(Error::RegionExists);
        }
        let session = first_session(self.layout, self.geometry.erased(), &newest);
        let mut region = Region::new(self.options, self.geometry, self.room, SegmentId(self.next_id));
        let listed = region.listed().count();
        region.active = Active {
            id: newest.id,
            binding: newest.binding,
            base: newest.base,
            first_sequence: newest.first_sequence,
            tail: newest.tail,
            durable: newest.watermark,
            claimed: 0,
            manifest_end: self.manifest_end,
            cuts: newest.cuts,
            seal: match newest.end {
                End::Sealed { offset, end, .. } => Some((offset, end)),
                _ => None,
            },
        };
        region.spares = self.spares;
        region.abandoned = self.abandoned;
        region.incarnation = newest.incarnation;
        region.next_sequence = newest.next_sequence;
        region.session = session;
        region.examine = Some(0);
        let report = Report {
            newest: newest.id,
            segments: listed as u32 + 1,
            tail: match newest.end {
                End::Torn { offset, dirty_end, .. } => Tail::Torn {
                    offset,
                    bytes: dirty_end - offset,
                },
                _ if newest.closed => Tail::Closed,
                _ => Tail::Clean,
            },
            last_sequence: newest.next_sequence - 1,
            ..report
        };
        Ok((region, report))
    }
}

/// Where a session begins behind what the walk over the newest segment found.
fn first_session(layout: Layout, erased: Option<u8>, newest: &Newest) -> Session {
    let dirty_end = match newest.end {
        End::Sealed { .. } | End::Torn { sealed: true, .. } => return Session::Successor,
        End::Torn { dirty_end, .. } => dirty_end,
        _ => newest.tail,
    };
    let from = newest.tail;
    // On erase media a session that came after a clean end may have disturbed the page behind it, and left no
    // trace. Without an erased state a torn header at `from` could be completed by equal bytes of what is
    // written over it, so that place is left alone unless a close frame shows that nothing was tried.
    let dirty_end = if erased.is_none() && !newest.closed {
        dirty_end.max(from + frame::HEADER_LEN as u32)
    } else {
        dirty_end
    };
    let at = layout.resume_at(dirty_end, erased.is_some());
    let cuts_left = newest.cuts.len() + 1 < MAX_CUTS || at == from;
    let in_range = newest.incarnation.saturating_add(1) - newest.base <= u32::from(u16::MAX);
    if cuts_left && in_range && at < layout.segment_len() && layout.place(at, 0, Purpose::Resume) == Some(at) {
        Session::Resume { at, from }
    } else {
        Session::Successor
    }
}
