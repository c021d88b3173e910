//! Where things may stand in a segment: alignment, the reserve, and the answer to "does it fit?".
//!
//! ```text
//! 0        64..            frames_start                     user_end                segment_len
//! | header | (to the unit) | manifest | frames of users ... | voids | resume | close | seal |
//! ```
//!
//! The reserve behind `user_end` is claimed together with every user frame, so that deleting, closing and
//! sealing never need space that is not there. Each purpose leaves room for those behind it.

use crate::geometry::Geometry;

/// Bytes of a segment header.
pub const HEADER_LEN: u32 = 64;
/// Bytes of a frame header.
pub const FRAME_HEADER_LEN: u32 = 24;
/// Offsets are `u32`, with room for rounding up.
pub const MAX_SEGMENT_LEN: u32 = 1 << 31;
/// The most resume frames of one segment that cut something off; the next torn tail opens a new segment.
pub const MAX_CUTS: usize = 4;
/// Bytes of the largest frame that is not a seal, a manifest or a user's batch: one void.
const CONTROL_FRAME_LEN: u32 = 64;

/// What a frame is for; decides how much of the reserve it may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Purpose {
    /// A batch with at least one user record.
    User,
    /// A batch of voids alone.
    Void,
    /// The first frame of a session.
    Resume,
    /// The frame that ends a session, or that closes a sync unit in front of a seal.
    Close,
    /// The footer.
    Seal,
}

/// The places of a segment of one geometry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Layout {
    geometry: Geometry,
}

#[cfg_attr(feature = "alloc", inline)]
const fn max(a: u32, b: u32) -> u32 {
    if a > b { a } else { b }
}

#[cfg_attr(feature = "alloc", inline)]
pub(crate) const fn align_up(value: u32, unit: u32) -> u32 {
    // Units are powers of two. Without a division, which small machines lack.
    (value + (unit - 1)) & !(unit - 1)
}

/// Bytes that one control frame may take with all its padding.
const fn control_len(frame_align: u32, sync_unit: u32) -> u32 {
    if sync_unit > 1 {
        2 * sync_unit
    } else {
        align_up(CONTROL_FRAME_LEN, frame_align)
    }
}

const fn seal_len(segment_len: u32, frame_align: u32, sync_unit: u32) -> u32 {
    let wanted = segment_len / 32;
    let bounded = if wanted < 192 {
        192
    } else if wanted > 65536 {
        65536
    } else {
        wanted
    };
    align_up(bounded, max(frame_align, sync_unit))
}

/// The least segment length that works with these units.
pub(crate) const fn min_segment_len(write_unit: u16, sync_unit: u32) -> u32 {
    let frame_align = max(8, write_unit as u32);
    let unit = max(frame_align, sync_unit);
    let control = control_len(frame_align, sync_unit);
    // header, a manifest of a few items, one user record, 6 control frames, the least seal
    align_up(HEADER_LEN, unit)
        + align_up(256, unit)
        + align_up(128, unit)
        + 6 * control
        + seal_len(0, frame_align, sync_unit)
}

impl Layout {
    /// Of no segment.
    pub(crate) const NONE: Self = Self {
        geometry: Geometry::NONE,
    };

    /// The layout of a geometry.
    #[must_use]
    #[cfg_attr(feature = "alloc", inline)]
    pub const fn new(geometry: Geometry) -> Self {
        Self { geometry }
    }

    /// The geometry it is of.
    #[must_use]
    #[cfg_attr(feature = "alloc", inline)]
    pub const fn geometry(self) -> Geometry {
        self.geometry
    }

    /// Bytes of one segment.
    #[must_use]
    #[cfg_attr(feature = "alloc", inline)]
    pub const fn segment_len(self) -> u32 {
        self.geometry.segment_len()
    }

    /// Frames start at multiples of this.
    #[must_use]
    #[cfg_attr(feature = "alloc", inline)]
    pub const fn frame_align(self) -> u32 {
        max(8, self.geometry.write_unit())
    }

    /// Where the manifest stands.
    #[must_use]
    #[cfg_attr(feature = "alloc", inline)]
    #[cfg_attr(not(feature = "alloc"), inline(never))]
    pub const fn frames_start(self) -> u32 {
        align_up(HEADER_LEN, max(self.frame_align(), self.geometry.sync_unit()))
    }

    /// Where a frame may start that stands at `offset` or behind it: aligned, and with its header whole
    /// within one sync unit.
    #[must_use]
    #[cfg_attr(feature = "alloc", inline)]
    #[cfg_attr(not(feature = "alloc"), inline(never))]
    pub const fn frame_at(self, offset: u32) -> u32 {
        let aligned = align_up(offset, self.frame_align());
        if self.geometry.sync_unit() > 1 {
            let boundary = align_up(aligned, self.geometry.sync_unit());
            if boundary - aligned < FRAME_HEADER_LEN {
                return boundary;
            }
        }
        aligned
    }

    /// Where the frame behind one that starts at `offset` with `payload_len` bytes may start.
    #[must_use]
    #[cfg_attr(feature = "alloc", inline)]
    pub const fn frame_after(self, offset: u32, payload_len: u32) -> u32 {
        self.frame_at(offset + FRAME_HEADER_LEN + payload_len)
    }

    /// Bytes of a pad frame's payload that fills the sync unit behind `tail`, or `None` where nothing is to fill.
    #[must_use]
    #[cfg_attr(feature = "alloc", inline)]
    pub const fn pad_at(self, tail: u32) -> Option<u32> {
        if self.geometry.sync_unit() == 1 || tail.is_multiple_of(self.geometry.sync_unit()) {
            None
        } else {
            Some(align_up(tail, self.geometry.sync_unit()) - tail - FRAME_HEADER_LEN)
        }
    }

    /// Where a resume frame may stand that follows bytes written or disturbed up to `dirty_end`.
    #[must_use]
    pub const fn resume_at(self, dirty_end: u32, unclean: bool) -> u32 {
        let unit = max(self.frame_align(), self.geometry.sync_unit());
        let behind = align_up(dirty_end, unit);
        if unclean && self.geometry.page_len() > 1 {
            let page = max(self.geometry.page_len(), unit);
            align_up(dirty_end, page) + page
        } else {
            behind
        }
    }

    /// Bytes that a frame of this purpose must leave free behind it.
    #[must_use]
    #[cfg_attr(feature = "alloc", inline)]
    pub const fn room_behind(self, purpose: Purpose) -> u32 {
        let seal = self.max_seal_len();
        let control = control_len(self.frame_align(), self.geometry.sync_unit());
        match purpose {
            Purpose::Seal => 0,
            Purpose::Close => seal,
            Purpose::Resume => seal + control,
            Purpose::Void => seal + 2 * control,
            Purpose::User => seal + 2 * control + self.void_frames(control) * control,
        }
    }

    /// Void frames of so many bytes that the reserve holds: four, for which the least segment has room, or what a
    /// sixty-fourth of the segment holds.
    const fn void_frames(self, control_len: u32) -> u32 {
        // A power of two.
        let wanted = self.segment_len() >> (6 + control_len.trailing_zeros());
        if wanted < 4 {
            4
        } else if wanted > 64 {
            64
        } else {
            wanted
        }
    }

    /// The reserve: bytes at the end of a segment that user records may not take.
    #[must_use]
    #[cfg_attr(feature = "alloc", inline)]
    pub const fn reserve(self) -> u32 {
        self.room_behind(Purpose::User)
    }

    /// Bytes that a seal frame may take.
    #[must_use]
    #[cfg_attr(feature = "alloc", inline)]
    #[cfg_attr(not(feature = "alloc"), inline(never))]
    pub const fn max_seal_len(self) -> u32 {
        seal_len(self.segment_len(), self.frame_align(), self.geometry.sync_unit())
    }

    /// Bytes that a manifest frame may take: a quarter of a segment, but never what one user record needs.
    #[must_use]
    #[cfg_attr(feature = "alloc", inline)]
    pub const fn max_manifest_len(self) -> u32 {
        let quarter = self.segment_len() / 4;
        let room = self.segment_len() - self.frames_start() - self.reserve();
        let least = align_up(128, max(self.frame_align(), self.geometry.sync_unit()));
        if quarter + least > room { room - least } else { quarter }
    }

    /// Bytes of payload that one user frame may hold, whatever the manifest in front of it.
    #[must_use]
    #[cfg_attr(feature = "alloc", inline)]
    pub const fn max_payload_len(self) -> u32 {
        let unit = max(self.frame_align(), self.geometry.sync_unit());
        let start = self.frames_start() + align_up(self.max_manifest_len(), unit);
        self.segment_len() - self.reserve() - start - FRAME_HEADER_LEN
    }

    /// Where a frame of `payload_len` bytes stands that follows `tail`, if it fits.
    #[must_use]
    #[cfg_attr(feature = "alloc", inline)]
    pub const fn place(self, tail: u32, payload_len: u32, purpose: Purpose) -> Option<u32> {
        let at = self.frame_at(tail);
        let Some(end) = at.checked_add(FRAME_HEADER_LEN) else {
            return None;
        };
        let Some(end) = end.checked_add(payload_len) else {
            return None;
        };
        if end > self.segment_len() {
            return None;
        }
        let end = self.frame_at(end);
        match end.checked_add(self.room_behind(purpose)) {
            Some(needed) if needed <= self.segment_len() => Some(at),
            _ => None,
        }
    }

    /// What must be claimed for a user frame that ends at `end`.
    #[must_use]
    pub const fn claim_for(self, end: u32) -> u32 {
        let wanted = end.saturating_add(self.reserve());
        if wanted > self.segment_len() {
            self.segment_len()
        } else {
            wanted
        }
    }
}
