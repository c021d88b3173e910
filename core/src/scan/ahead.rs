//! The look ahead over what follows the first offset without a frame: whether a later frame continues the log, proves that
//! durable bytes are damaged, or nothing behind it matters. Linear, and reads headers alone.

use crate::frame::{self, Header, Kind};
use crate::geometry::SegmentId;
use crate::mutation::{self, Mutation};
use crate::report::Reason;
use crate::scan::window::{Take, Window};
use crate::scan::{End, Event, Limit, Phase, Scan};
use crate::segment::cuts::Cut;

/// The most bytes that a look ahead wants in one piece.
const LOOK_AHEAD_LEN: u32 = 64;

#[derive(Clone, Copy, Debug)]
pub(super) struct LookAhead {
    pub(super) reason: Reason,
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

impl Scan {
    pub(super) fn look_ahead(&mut self, bytes: &Window<'_>, mut ahead: LookAhead) -> Option<Event> {
        let limit = self.limit.end();
        let align = self.layout.frame_align();
        let step = align.min(LOOK_AHEAD_LEN);
        while ahead.at < limit {
            if let Some(erased) = self.erased() {
                ahead.at += bytes.erased_len(ahead.at, erased);
            }
            let block = match bytes.take(ahead.at, step.min(limit.saturating_sub(ahead.at))) {
                Take::Bytes(block) => block,
                Take::More(more) => {
                    self.phase = Phase::LookAhead(ahead);
                    return Some(more);
                }
                Take::Beyond => break,
            };
            let touched = self
                .erased()
                .and_then(|erased| block.iter().rposition(|&byte| byte != erased));
            if touched.is_some() || self.erased().is_none() {
                if ahead.at.is_multiple_of(align)
                    && self.layout.segment_len() - ahead.at >= frame::HEADER_LEN as u32
                    && block.first().is_some_and(|&kind| (1..=Kind::Pad as u8).contains(&kind))
                {
                    match bytes.take(ahead.at, frame::HEADER_LEN as u32) {
                        Take::Bytes(header) => self.candidate(header, &mut ahead),
                        Take::More(more) => {
                            self.phase = Phase::LookAhead(ahead);
                            return Some(more);
                        }
                        Take::Beyond => {}
                    }
                }
                if let Some(last) = touched {
                    ahead.dirty_end = ahead.at + last as u32 + 1;
                }
            }
            ahead.at += step;
        }
        self.decide(&ahead)
    }

    /// Judges what may be a frame header behind the first invalid offset.
    pub(super) fn candidate(&self, bytes: &[u8], ahead: &mut LookAhead) {
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
        if self.erased().is_none() {
            ahead.dirty_end = ahead.at + frame::HEADER_LEN as u32;
        }
        ahead.proven |= header.watermark > self.offset || mutation::is(Mutation::LookAheadWithoutWatermark);
        ahead.sealed |= header.kind == Kind::Seal;
        let from = header.payload_crc;
        if header.kind == Kind::Resume
            && header.incarnation > self.incarnation
            && from <= self.offset
            && ahead.at > self.offset
            && ahead
                .cut
                .is_none_or(|(best, _)| header.incarnation >= best || mutation::is(Mutation::LastCutWins))
        {
            ahead.cut = Some((header.incarnation, Cut { from, to: ahead.at }));
        }
    }

    pub(super) fn decide(&mut self, ahead: &LookAhead) -> Option<Event> {
        let offset = self.offset;
        if !self.have_manifest {
            self.phase = Phase::Ended(End::NoManifest {
                proven: ahead.proven,
                dirty_end: ahead.dirty_end,
            });
            return None;
        }
        if let Some((_, cut)) = ahead.cut {
            if cut.from < offset {
                return self.restart(cut);
            }
            if !self.cuts.push(cut) {
                return self.damaged(Reason::Resume);
            }
            self.phase = Phase::Header;
            return None;
        }
        if ahead.proven || matches!(self.limit, Limit::Exact(_)) {
            return self.damaged(ahead.reason);
        }
        if ahead.successor != SegmentId(0) {
            return Some(self.sealed(End::Sealed {
                offset,
                end: offset + frame::HEADER_LEN as u32 + self.header.payload_len,
                successor: ahead.successor,
            }));
        }
        self.phase = Phase::Ended(if ahead.dirty_end == offset {
            End::Clean { offset }
        } else {
            End::Torn {
                offset,
                dirty_end: ahead.dirty_end.max(ahead.torn_end.min(self.layout.segment_len())),
                sealed: ahead.sealed,
            }
        });
        None
    }
}
