//! What stands behind a verified frame header: the payload checksum, then manifest, records or seal piece by piece.

use crate::facts::{MANIFEST_HEAD_LEN, MANIFEST_ITEM_LEN, ManifestHead, decode_retained, decode_void};
use crate::frame::{self, Kind};
use crate::geometry::SegmentId;
use crate::mutation::{self, Mutation};
use crate::record::{Head, MAX_HEAD_LEN};
use crate::report::Reason;
use crate::scan::ahead::LookAhead;
use crate::scan::window::{Take, Window};
use crate::scan::{End, Event, Limit, Phase, RecordAt, Scan};
use crate::wire;

impl Scan {
    pub(super) fn payload(&mut self, bytes: &Window<'_>, at: u32, crc: u32) -> Option<Event> {
        let start = self.offset + frame::HEADER_LEN as u32;
        let left = start + self.header.payload_len - at;
        if left > 0 {
            let part = match bytes.take_some(at, left) {
                Take::Bytes(bytes) => bytes,
                Take::More(more) => return Some(more),
                Take::Beyond => return self.invalid(Reason::Payload),
            };
            self.phase = Phase::Payload {
                at: at + part.len() as u32,
                crc: self.binding.checksum().extend(crc, part),
            };
            return None;
        }
        let kind = self.header.kind;
        let ignored = mutation::is(Mutation::IgnorePayloadChecksum)
            || (kind == Kind::Manifest && mutation::is(Mutation::ManifestWithoutPayload));
        if crc != self.header.payload_crc && !ignored {
            return self.invalid(if kind == Kind::Manifest {
                Reason::Manifest
            } else {
                Reason::Payload
            });
        }
        match self.header.kind {
            Kind::Manifest => self.manifest_head(bytes),
            Kind::Seal => {
                self.phase = Phase::Seal;
                None
            }
            _ => {
                self.phase = Phase::Epoch;
                None
            }
        }
    }

    pub(super) fn manifest_head(&mut self, bytes: &Window<'_>) -> Option<Event> {
        let start = self.offset + frame::HEADER_LEN as u32;
        let head = match bytes.take(start, MANIFEST_HEAD_LEN as u32) {
            Take::Bytes(bytes) => ManifestHead::decode(bytes),
            Take::More(more) => return Some(more),
            Take::Beyond => None,
        };
        let Some(head) =
            head.filter(|head| head.payload_len() == u64::from(self.header.payload_len) && head.first_sequence > 0)
        else {
            return self.damaged(Reason::Manifest);
        };
        self.have_manifest = true;
        self.base = self.header.incarnation;
        self.incarnation = self.header.incarnation;
        self.first_sequence = head.first_sequence;
        self.sequence = head.first_sequence;
        self.offset = self.layout.frame_after(self.offset, self.header.payload_len);
        self.phase = Phase::Manifest {
            at: start + MANIFEST_HEAD_LEN as u32,
            left: head.segments + head.voids,
            voids: head.voids,
        };
        Some(Event::Manifest {
            head,
            incarnation: self.header.incarnation,
        })
    }

    pub(super) fn manifest(&mut self, bytes: &Window<'_>, at: u32, left: u32, voids: u32) -> Option<Event> {
        if left == 0 {
            self.phase = Phase::Header;
            return None;
        }
        let item = match bytes.take(at, MANIFEST_ITEM_LEN as u32) {
            Take::Bytes(bytes) => bytes,
            Take::More(more) => return Some(more),
            Take::Beyond => return self.damaged(Reason::Manifest),
        };
        let event = if left > voids {
            decode_retained(item).map(Event::Retained)
        } else {
            decode_void(item).map(|void| Event::Void { void, listed: true })
        };
        self.phase = Phase::Manifest {
            at: at + MANIFEST_ITEM_LEN as u32,
            left: left - 1,
            voids,
        };
        match event {
            Some(event) => Some(event),
            None => self.damaged(Reason::Manifest),
        }
    }

    pub(super) fn epoch(&mut self, bytes: &Window<'_>) -> Option<Event> {
        let start = self.offset + frame::HEADER_LEN as u32;
        let end = start + self.header.payload_len;
        let (epoch, len) = if self.header.with_epoch {
            let len = self.header.payload_len.min(wire::MAX_VARINT_LEN as u32);
            match bytes.take(start, len) {
                Take::Bytes(bytes) => match wire::varint(bytes) {
                    Some((epoch, len)) => (Some(epoch), len as u32),
                    None => return self.damaged(Reason::Record),
                },
                Take::More(more) => return Some(more),
                Take::Beyond => return self.damaged(Reason::Record),
            }
        } else {
            (None, 0)
        };
        let event = self.accept();
        self.record.epoch = epoch;
        self.phase = Phase::Records {
            at: start + len,
            end,
            first: true,
        };
        Some(event)
    }

    pub(super) fn next_record(&mut self, bytes: &Window<'_>, at: u32, end: u32, first: bool) -> Option<Event> {
        if at >= end {
            self.phase = Phase::Header;
            return None;
        }
        let head = match bytes.take(at, (end - at).min(MAX_HEAD_LEN as u32)) {
            Take::Bytes(bytes) => Head::decode(bytes, (!first).then_some(self.record.table)),
            Take::More(more) => return Some(more),
            Take::Beyond => return self.damaged(Reason::Record),
        };
        match head {
            Ok((
                Head::User {
                    table,
                    value_len,
                    timestamp,
                    index,
                },
                len,
            )) if value_len <= end - at - len as u32 => {
                let sequence = self.sequence;
                let value = at + len as u32;
                let Some(next) = sequence.checked_add(1) else {
                    return self.damaged(Reason::Sequence);
                };
                self.sequence = next;
                self.phase = Phase::Records {
                    at: value + value_len,
                    end,
                    first: false,
                };
                self.record = RecordAt {
                    table,
                    sequence,
                    value,
                    value_len,
                    timestamp,
                    index,
                    epoch: self.record.epoch,
                };
                Some(Event::Record)
            }
            Ok((Head::Void(void), len)) if void.to < self.sequence => {
                self.phase = Phase::Records {
                    at: at + len as u32,
                    end,
                    first,
                };
                Some(Event::Void { void, listed: false })
            }
            _ => self.damaged(Reason::Record),
        }
    }

    pub(super) fn seal(&mut self, bytes: &Window<'_>) -> Option<Event> {
        let start = self.offset + frame::HEADER_LEN as u32;
        let successor = match bytes.take(start, 8) {
            Take::Bytes(bytes) => wire::u64_at(bytes, 0..8),
            Take::More(more) => return Some(more),
            Take::Beyond => None,
        };
        let Some(successor) = successor.filter(|&id| id > 0 && self.header.payload_len >= 8) else {
            return self.damaged(Reason::Seal);
        };
        if matches!(self.limit, Limit::Exact(_)) {
            return Some(self.sealed(End::Exact));
        }
        // A session that could not read it may have gone on behind it.
        let end = start + self.header.payload_len;
        self.phase = Phase::LookAhead(LookAhead {
            reason: Reason::FrameHeader,
            at: self.layout.frame_at(end),
            dirty_end: end,
            torn_end: end,
            cut: None,
            proven: false,
            sealed: false,
            successor: SegmentId(successor),
        });
        None
    }

    /// Takes in the footer, which ends the walk.
    pub(super) fn sealed(&mut self, end: End) -> Event {
        let event = self.accept();
        self.phase = Phase::Ended(end);
        event
    }
}
