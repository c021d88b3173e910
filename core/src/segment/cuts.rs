//! What resume frames cut off a segment.

use crate::frame::{Binding, Header, Kind};
use crate::segment::layout::{Layout, MAX_CUTS};

/// A range that a resume frame cut off: nothing in `from..to` is part of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) from: u32,
    pub(crate) to: u32,
}

/// The cuts of one segment, rising and disjoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cuts {
    /// An empty one is none.
    list: [Cut; MAX_CUTS],
}

impl Cuts {
    pub(crate) const NONE: Self = Self {
        list: [Cut { from: 0, to: 0 }; MAX_CUTS],
    };

    pub(crate) fn iter(&self) -> impl Iterator<Item = Cut> + '_ {
        self.list.iter().copied().filter(|cut| cut.to > 0)
    }

    pub(crate) fn len(&self) -> usize {
        self.iter().count()
    }

    /// Takes in the cuts of the resume frames that start in `bytes`, which stand at `offset` of a segment: every place
    /// where one may start is looked at, so that damage to other frames hides none. Returns the first place that was
    /// not looked at, since its header is not whole in `bytes`.
    pub(crate) fn find(&mut self, bytes: &[u8], offset: u32, layout: Layout, binding: &Binding, base: u32) -> u32 {
        let mut at = offset;
        while let Some(bytes) = bytes.get((at - offset) as usize..).and_then(<[u8]>::first_chunk) {
            if bytes[0] == Kind::Resume as u8
                && let Ok(header) = Header::decode(bytes, binding, at, base)
                && header.payload_crc < at
            {
                self.push(Cut {
                    from: header.payload_crc,
                    to: at,
                });
            }
            at += layout.frame_align();
        }
        at
    }

    /// The cut that starts at `offset`.
    #[cfg_attr(feature = "alloc", inline)]
    pub(crate) fn at(&self, offset: u32) -> Option<Cut> {
        self.iter().find(|cut| cut.from == offset)
    }

    /// Whether a cut holds this offset: a frame there is no part of the log, whether it verifies or not.
    pub(crate) fn hold(&self, offset: u32) -> bool {
        self.iter().any(|cut| cut.from <= offset && offset < cut.to)
    }

    /// Takes in a cut behind all others; those it reaches back over are void. False: no room.
    pub(crate) fn push(&mut self, cut: Cut) -> bool {
        for old in &mut self.list {
            if old.to >= cut.from {
                *old = Cut::default();
            }
        }
        match self.list.iter_mut().find(|slot| slot.to == 0) {
            Some(slot) => {
                *slot = cut;
                true
            }
            None => false,
        }
    }
}
