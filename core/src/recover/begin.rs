//! Where the next session of a recovered region begins.

use crate::frame;
use crate::recover::Recovery;
use crate::region::Session;
use crate::scan::End;
use crate::segment::layout::{MAX_CUTS, Purpose};

impl Recovery<'_, '_> {
    /// Where a session begins behind what the walk over the newest segment found.
    pub(super) fn first_session(&self, end: End, closed: bool) -> Session {
        let (region, layout) = (&self.region, self.region.layout);
        let from = region.active.tail;
        let dirty_end = match end {
            End::Sealed { .. } | End::Torn { sealed: true, .. } => return Session::Successor,
            End::Torn { dirty_end, .. } => dirty_end,
            _ => from,
        };
        // On erase media a session that came after a clean end may have disturbed the page behind it, and left no
        // trace. Without an erased state a torn header at `from` could be completed by equal bytes of what is
        // written over it, so that place is left alone unless a close frame shows that nothing was tried.
        let erased = layout.geometry().erased().is_some();
        let dirty_end = if erased || closed {
            dirty_end
        } else {
            dirty_end.max(from + frame::HEADER_LEN as u32)
        };
        let at = layout.resume_at(dirty_end, erased);
        let cuts_left = region.aside.cuts.len() + 1 < MAX_CUTS || at == from;
        let in_range = region.aside.incarnation.saturating_add(1) - region.aside.base <= u32::from(u16::MAX);
        if cuts_left && in_range && layout.place(at, 0, Purpose::Resume) == Some(at) {
            Session::Resume { at, from }
        } else {
            Session::Successor
        }
    }
}
