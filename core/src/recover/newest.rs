//! What the walk over the newest segment tells: the state of the region.

use crate::error::{Error, Refusal};
use crate::facts::{Retained, State};
use crate::frame::Kind;
use crate::geometry::SegmentId;
use crate::recover::{Recovery, corrupt};
use crate::region::Active;
use crate::report::{Reason, Tail};
use crate::scan::{End, Event};
use crate::voids::Listed;

impl Recovery<'_, '_> {
    pub(super) fn newest_event(&mut self, newest: SegmentId, event: Event) -> Result<(), Refusal> {
        let manifest = corrupt(newest, self.region.layout.frames_start(), Reason::Manifest);
        let too_many = Error::TooManyVoids {
            max: self.region.voids.limit(),
        };
        match event {
            Event::Restart => {
                self.region.voids.clear();
                self.region.tables.clear();
                for segment in self.region.segments.as_mut_slice() {
                    segment.set_state(State::Leftover);
                }
            }
            Event::Manifest { head, .. } => {
                self.region.active.manifest_end = self.scan.offset();
                self.last = (0, 0);
                if head.voids as usize > self.region.voids.limit() {
                    return Err(too_many);
                }
            }
            Event::Retained(retained) => {
                let in_bounds = retained.end <= self.region.layout.segment_len()
                    && retained.end >= self.region.layout.frames_start()
                    && retained.seal_len() <= retained.end
                    && retained.first_sequence <= self.scan.first_sequence()
                    && retained.id < newest.0;
                // Reading finds a sequence by the order of the segments.
                let (id, first_sequence) = core::mem::replace(&mut self.last, (retained.id, retained.first_sequence));
                if !in_bounds || retained.id <= id || retained.first_sequence < first_sequence {
                    return Err(manifest);
                }
                let segments = self.region.segments.as_mut_slice();
                let at = segments.partition_point(|segment| segment.id < retained.id);
                match segments.get_mut(at) {
                    Some(segment) if segment.id == retained.id => *segment = retained,
                    _ => return Err(corrupt(retained.segment(), 0, Reason::Missing)),
                }
            }
            Event::Void { void, listed: true } => match self.region.voids.push_listed(void) {
                Listed::Taken if void.to < self.scan.first_sequence() => {}
                Listed::Full => return Err(too_many),
                Listed::Taken | Listed::Disorder => return Err(manifest),
            },
            Event::Void { void, listed: false } => {
                if !void.is_empty() && !self.region.voids.gather(void) {
                    return Err(too_many);
                }
            }
            Event::Frame { offset, kind } => {
                if kind == Kind::Batch {
                    self.frame = offset;
                    self.region.tables.note_frame(offset);
                }
            }
            Event::Record => {
                let record = self.scan.record();
                self.region
                    .tables
                    .note_record(record.table, record.sequence, record.index, self.frame);
            }
            Event::More { .. } | Event::End(_) => {}
        }
        Ok(())
    }

    pub(super) fn newest_ended(&mut self, at: usize, end: End) -> Result<(), Refusal> {
        let id = self.id_at(at);
        self.region.voids.join();
        let tail = match end {
            End::Clean { offset } => offset,
            End::Torn { offset, sealed, .. } => {
                let mut above = self.region.segments.as_slice().iter().skip(at + 1);
                self.successor = above.next().filter(|_| sealed).map(Retained::segment);
                offset
            }
            End::Sealed { end, successor, .. } => {
                let mut segments = self.region.segments.as_slice().iter();
                if successor <= id || !segments.any(|segment| segment.id == successor.0) {
                    return Err(corrupt(successor, 0, Reason::SuccessorMissing));
                }
                self.successor = Some(successor);
                self.region.layout.frame_at(end)
            }
            _ => 0,
        };
        self.region.examined = 0;
        let closed = self.scan.is_closed() && matches!(end, End::Clean { .. });
        let region = &mut *self.region;
        region.active = Active {
            id,
            seed: self.seed,
            base: self.scan.base(),
            first_sequence: self.scan.first_sequence(),
            tail,
            durable: self.scan.watermark(),
            claimed: 0,
            manifest_end: region.active.manifest_end,
            seal: match end {
                End::Sealed { offset, end, .. } => (offset, end),
                _ => (0, 0),
            },
        };
        region.aside.cuts = *self.scan.cuts();
        region.incarnation = self.scan.incarnation();
        region.next_sequence = self.scan.next_sequence();
        region.aside.opened.tail = match end {
            End::Torn { offset, dirty_end, .. } => Tail::Torn {
                offset,
                bytes: dirty_end - offset,
            },
            _ if closed => Tail::Closed,
            _ => Tail::Clean,
        };
        self.region.session = self.first_session(end, closed);
        Ok(())
    }
}
