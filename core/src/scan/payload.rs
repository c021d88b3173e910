//! What stands behind a verified frame header: the payload checksum, then manifest, records or seal piece by piece.

use crate::facts::{MANIFEST_HEAD_LEN, MANIFEST_ITEM_LEN, ManifestHead, decode_retained, decode_void};
use crate::frame::{self, Header, Kind};
use crate::geometry::SegmentId;
use crate::mutation::{self, Mutation};
use crate::record::{Head, MAX_HEAD_LEN};
use crate::report::Reason;
use crate::scan::window::{Take, Window};
use crate::scan::{End, Event, Limit, Phase, RecordAt, Scan};
use crate::wire;

impl Scan {
    pub(super) fn payload(&mut self, bytes: &Window<'_>, header: Header, at: u32, crc: u32) -> Option<Event> {
        let start = self.offset + frame::HEADER_LEN as u32;
        let left = start + header.payload_len - at;
        if left > 0 {
            let part = match bytes.take_some(at, left) {
                Take::Bytes(bytes) => bytes,
                Take::More(more) => return Some(more),
                Take::Beyond => return self.invalid(Reason::Payload),
            };
            self.phase = Phase::Payload {
                header,
                at: at + part.len() as u32,
                crc: self.binding.checksum().extend(crc, part),
            };
            return None;
        }
        let ignored = mutation::is(Mutation::IgnorePayloadChecksum)
            || (header.kind == Kind::Manifest && mutation::is(Mutation::ManifestWithoutPayload));
        if crc != header.payload_crc && !ignored {
            return self.invalid(if header.kind == Kind::Manifest {
                Reason::Manifest
            } else {
                Reason::Payload
            });
        }
        match header.kind {
            Kind::Manifest => self.manifest_head(bytes, header),
            Kind::Seal => {
                self.phase = Phase::Seal { header };
                None
            }
            _ => {
                self.phase = Phase::Epoch { header };
                None
            }
        }
    }

    pub(super) fn manifest_head(&mut self, bytes: &Window<'_>, header: Header) -> Option<Event> {
        let start = self.offset + frame::HEADER_LEN as u32;
        let head = match bytes.take(start, MANIFEST_HEAD_LEN as u32) {
            Take::Bytes(bytes) => ManifestHead::decode(bytes),
            Take::More(more) => return Some(more),
            Take::Beyond => None,
        };
        let Some(head) =
            head.filter(|head| head.payload_len() == u64::from(header.payload_len) && head.first_sequence > 0)
        else {
            return self.damaged(Reason::Manifest);
        };
        self.have_manifest = true;
        self.base = header.incarnation;
        self.incarnation = header.incarnation;
        self.first_sequence = head.first_sequence;
        self.sequence = head.first_sequence;
        self.offset = self.layout.frame_after(self.offset, header.payload_len);
        self.phase = Phase::Manifest {
            at: start + MANIFEST_HEAD_LEN as u32,
            left: head.segments + head.voids,
            voids: head.voids,
        };
        Some(Event::Manifest {
            head,
            incarnation: header.incarnation,
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

    pub(super) fn epoch(&mut self, bytes: &Window<'_>, header: Header) -> Option<Event> {
        let start = self.offset + frame::HEADER_LEN as u32;
        let end = start + header.payload_len;
        let (epoch, len) = if header.with_epoch {
            let len = header.payload_len.min(wire::MAX_VARINT_LEN as u32);
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
        let event = self.accept(header);
        self.phase = Phase::Records {
            at: start + len,
            end,
            table: None,
            epoch,
        };
        Some(event)
    }

    pub(super) fn record(
        &mut self,
        bytes: &Window<'_>,
        at: u32,
        end: u32,
        table: Option<u64>,
        epoch: Option<u64>,
    ) -> Option<Event> {
        if at >= end {
            self.phase = Phase::Header;
            return None;
        }
        let head = match bytes.take(at, (end - at).min(MAX_HEAD_LEN as u32)) {
            Take::Bytes(bytes) => Head::decode(bytes, table),
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
                    table: Some(table),
                    epoch,
                };
                Some(Event::Record(RecordAt {
                    table,
                    sequence,
                    value,
                    value_len,
                    timestamp,
                    index,
                    epoch,
                }))
            }
            Ok((Head::Void(void), len)) if void.to < self.sequence => {
                self.phase = Phase::Records {
                    at: at + len as u32,
                    end,
                    table,
                    epoch,
                };
                Some(Event::Void { void, listed: false })
            }
            _ => self.damaged(Reason::Record),
        }
    }

    pub(super) fn seal(&mut self, bytes: &Window<'_>, header: Header) -> Option<Event> {
        let start = self.offset + frame::HEADER_LEN as u32;
        let successor = match bytes.take(start, 8) {
            Take::Bytes(bytes) => wire::u64_at(bytes, 0..8),
            Take::More(more) => return Some(more),
            Take::Beyond => None,
        };
        let Some(successor) = successor.filter(|_| header.payload_len >= 8) else {
            return self.damaged(Reason::Seal);
        };
        let offset = self.offset;
        let end = start + header.payload_len;
        let event = self.accept(header);
        self.phase = Phase::Ended(if matches!(self.limit, Limit::Exact(_)) {
            End::Exact
        } else {
            End::Sealed {
                offset,
                end,
                successor: SegmentId(successor),
            }
        });
        Some(event)
    }
}
