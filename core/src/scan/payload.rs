//! What stands behind a verified frame header: the payload checksum, then manifest, records or seal piece by piece.

use crate::facts::{MANIFEST_HEAD_LEN, MANIFEST_ITEM_LEN, ManifestHead, decode_retained, decode_void};
use crate::frame::{self, Kind};
use crate::geometry::SegmentId;
use crate::mutation::{self, Mutation};
use crate::record::{Head, MAX_HEAD_LEN};
use crate::scan::ahead::LookAhead;
use crate::scan::window::Window;
use crate::scan::{Damage, End, Event, Limit, Phase, RecordAt, Scan};
use crate::wire;

impl Scan {
    pub(super) fn payload(&mut self, bytes: &Window<'_>) -> Option<Event> {
        let start = self.offset + frame::HEADER_LEN as u32;
        let left = start + self.header.payload_len - self.at;
        if left > 0 {
            // As much of it as is in hand.
            if bytes.ends_before(self.at, left) {
                return self.invalid(Damage::Payload);
            }
            let Some(part) = bytes.behind(self.at).filter(|bytes| !bytes.is_empty()) else {
                self.wanted = (self.at, left);
                return Some(Event::More);
            };
            let part = part.get(..left as usize).unwrap_or(part);
            self.at += part.len() as u32;
            self.crc = self.binding.checksum().extend(self.crc, part);
            return None;
        }
        let kind = self.header.kind;
        let ignored = mutation::is(Mutation::IgnorePayloadChecksum)
            || (kind == Kind::Manifest && mutation::is(Mutation::ManifestWithoutPayload));
        if self.crc != self.header.payload_crc && !ignored {
            return self.invalid(Damage::Payload);
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
        let Some(head) = self.take(bytes, start, MANIFEST_HEAD_LEN as u32) else {
            return self.short(bytes, Damage::Manifest);
        };
        let head = ManifestHead::decode(head);
        let Some(head) =
            head.filter(|head| head.payload_len() == u64::from(self.header.payload_len) && head.first_sequence > 0)
        else {
            return self.damaged(Damage::Manifest);
        };
        self.have_manifest = true;
        self.base = self.header.incarnation;
        self.incarnation = self.header.incarnation;
        self.first_sequence = head.first_sequence;
        self.sequence = head.first_sequence;
        self.offset = self.layout.frame_after(self.offset, self.header.payload_len);
        self.at = start + MANIFEST_HEAD_LEN as u32;
        self.items = head.segments + head.voids;
        self.voids = head.voids;
        self.phase = Phase::Manifest;
        Some(Event::Manifest)
    }

    pub(super) fn manifest(&mut self, bytes: &Window<'_>) -> Option<Event> {
        if self.items == 0 {
            self.phase = Phase::Header;
            return None;
        }
        let Some(item) = self.take(bytes, self.at, MANIFEST_ITEM_LEN as u32) else {
            return self.short(bytes, Damage::Manifest);
        };
        let event = if self.items > self.voids {
            decode_retained(item).map(|retained| {
                self.retained = retained;
                Event::Retained
            })
        } else {
            decode_void(item).map(|void| {
                self.void = void;
                Event::Void { listed: true }
            })
        };
        self.at += MANIFEST_ITEM_LEN as u32;
        self.items -= 1;
        match event {
            Some(event) => Some(event),
            None => self.damaged(Damage::Manifest),
        }
    }

    pub(super) fn epoch(&mut self, bytes: &Window<'_>) -> Option<Event> {
        let start = self.offset + frame::HEADER_LEN as u32;
        let end = start + self.header.payload_len;
        let (epoch, len) = if self.header.with_epoch {
            let len = self.header.payload_len.min(wire::MAX_VARINT_LEN as u32);
            match self.take(bytes, start, len).map(wire::varint) {
                Some(Some((epoch, len))) => (Some(epoch), len as u32),
                Some(None) => return self.damaged(Damage::Record),
                None => return self.short(bytes, Damage::Record),
            }
        } else {
            (None, 0)
        };
        let event = self.accept();
        self.record.epoch = epoch;
        self.at = start + len;
        self.records_end = end;
        self.first = true;
        self.phase = Phase::Records;
        Some(event)
    }

    pub(super) fn next_record(&mut self, bytes: &Window<'_>) -> Option<Event> {
        let (at, end) = (self.at, self.records_end);
        if at >= end {
            self.phase = Phase::Header;
            return None;
        }
        let Some(head) = self.take(bytes, at, (end - at).min(MAX_HEAD_LEN as u32)) else {
            return self.short(bytes, Damage::Record);
        };
        match Head::decode(head, (!self.first).then_some(self.record.table)) {
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
                    return self.damaged(Damage::Sequence);
                };
                self.sequence = next;
                self.at = value + value_len;
                self.first = false;
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
                self.at = at + len as u32;
                self.void = void;
                Some(Event::Void { listed: false })
            }
            _ => self.damaged(Damage::Record),
        }
    }

    pub(super) fn seal(&mut self, bytes: &Window<'_>) -> Option<Event> {
        let start = self.offset + frame::HEADER_LEN as u32;
        let Some(successor) = self.take(bytes, start, 8) else {
            return self.short(bytes, Damage::Seal);
        };
        let successor = wire::u64_at(successor, 0..8);
        let Some(successor) = successor.filter(|&id| id > 0 && self.header.payload_len >= 8) else {
            return self.damaged(Damage::Seal);
        };
        if matches!(self.limit, Limit::Exact(_)) {
            return Some(self.sealed(End::Exact));
        }
        // A session that could not read it may have gone on behind it.
        let end = start + self.header.payload_len;
        self.ahead = LookAhead {
            at: self.layout.frame_at(end),
            dirty_end: end,
            torn_end: end,
            successor: SegmentId(successor),
            ..LookAhead::NONE
        };
        self.phase = Phase::LookAhead;
        None
    }

    /// Takes in the footer, which ends the walk.
    pub(super) fn sealed(&mut self, end: End) -> Event {
        let event = self.accept();
        self.ends(end);
        event
    }
}
