//! The look ahead over what follows the first offset without a frame: whether a later frame continues the log, proves that
//! durable bytes are damaged, or nothing behind it matters. Linear, and reads headers alone.

use crate::frame::{self, Header, Kind};
use crate::geometry::SegmentId;
use crate::mutation::{self, Mutation};
use crate::scan::window::Window;
use crate::scan::{Damage, End, Event, Limit, Phase, Scan};
use crate::segment::cuts::Cut;

/// The most bytes that a look ahead wants in one piece.
const LOOK_AHEAD_LEN: u32 = 64;

#[derive(Clone, Copy, Debug)]
pub(super) struct LookAhead {
    pub(super) damage: Damage,
    pub(super) at: u32,
    pub(super) dirty_end: u32,
    /// Where the torn frame would end. What is written next stays behind it: bytes that the torn frame lost may
    /// equal those, and it would verify after all.
    pub(super) torn_end: u32,
    pub(super) cut: Option<(u32, Cut)>,
    pub(super) proven: bool,
    pub(super) sealed: bool,
    /// What the verified footer names that this looks behind; 0 where it looks behind an offset without a frame.
    pub(super) successor: SegmentId,
}

impl LookAhead {
    pub(super) const NONE: Self = Self {
        damage: Damage::FrameHeader,
        at: 0,
        dirty_end: 0,
        torn_end: 0,
        cut: None,
        proven: false,
        sealed: false,
        successor: SegmentId(0),
    };
}

impl Scan {
    pub(super) fn look_ahead(&mut self, bytes: &Window<'_>) -> Option<Event> {
        let limit = self.limit.end();
        let align = self.layout.frame_align();
        let step = align.min(LOOK_AHEAD_LEN);
        while self.ahead.at < limit {
            if let Some(erased) = self.erased() {
                self.ahead.at += bytes.erased_len(self.ahead.at, erased);
            }
            let at = self.ahead.at;
            let len = step.min(limit.saturating_sub(at));
            let block = match self.take(bytes, at, len) {
                Some(block) => block,
                None if bytes.ends_before(at, len) => break,
                None => return Some(Event::More),
            };
            let touched = self
                .erased()
                .and_then(|erased| block.iter().rposition(|&byte| byte != erased));
            if touched.is_some() || self.erased().is_none() {
                if at.is_multiple_of(align) {
                    match self.take(bytes, at, frame::HEADER_LEN as u32) {
                        Some(header) => self.candidate(header),
                        None if bytes.ends_before(at, frame::HEADER_LEN as u32) => {}
                        None => return Some(Event::More),
                    }
                }
                if let Some(last) = touched {
                    self.ahead.dirty_end = at + last as u32 + 1;
                }
            }
            self.ahead.at += step;
        }
        self.decide()
    }

    /// Judges what may be a frame header behind the first invalid offset.
    pub(super) fn candidate(&mut self, bytes: &[u8]) {
        let without_erased = self.erased().is_none();
        let ahead = &mut self.ahead;
        let Some(header) = bytes
            .first_chunk()
            .and_then(|bytes| Header::decode(bytes, &self.binding, ahead.at, self.base).ok())
        else {
            return;
        };
        let fits = header.payload_len <= self.layout.segment_len() - ahead.at - frame::HEADER_LEN as u32;
        if header.incarnation < self.incarnation || !fits || header.watermark > ahead.at {
            return;
        }
        if without_erased {
            ahead.dirty_end = ahead.at + frame::HEADER_LEN as u32;
        }
        ahead.proven |= header.watermark > self.offset || mutation::is(Mutation::LookAheadWithoutWatermark);
        ahead.sealed |= header.kind == Kind::Seal;
        let from = header.payload_crc;
        if header.kind == Kind::Resume
            && header.incarnation > self.incarnation
            && from <= self.offset
            && ahead
                .cut
                .is_none_or(|(best, _)| header.incarnation >= best || mutation::is(Mutation::LastCutWins))
        {
            ahead.cut = Some((header.incarnation, Cut { from, to: ahead.at }));
        }
    }

    pub(super) fn decide(&mut self) -> Option<Event> {
        let offset = self.offset;
        let ahead = &self.ahead;
        if !self.have_manifest {
            return self.ends(End::NoManifest {
                proven: ahead.proven,
                dirty_end: ahead.dirty_end,
            });
        }
        if let Some((_, cut)) = ahead.cut {
            if cut.from < offset {
                return self.restart(cut);
            }
            if !self.cuts.push(cut) {
                return self.damaged(Damage::Resume);
            }
            self.phase = Phase::Header;
            return None;
        }
        if ahead.proven || matches!(self.limit, Limit::Exact(_)) {
            return self.damaged(ahead.damage);
        }
        if ahead.successor != SegmentId(0) {
            let end = End::Sealed {
                offset,
                end: offset + frame::HEADER_LEN as u32 + self.header.payload_len,
            };
            return Some(self.sealed(end));
        }
        self.ends(if ahead.dirty_end == offset {
            End::Clean { offset }
        } else {
            End::Torn {
                offset,
                dirty_end: ahead.dirty_end.max(ahead.torn_end.min(self.layout.segment_len())),
                sealed: ahead.sealed,
            }
        })
    }
}
