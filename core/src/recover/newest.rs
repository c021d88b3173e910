//! What the walk over the newest segment tells: the state of the region.

use crate::error::{Error, Refusal};
use crate::facts::{Cuts, Retained, State};
use crate::frame::{Binding, Kind};
use crate::geometry::SegmentId;
use crate::recover::{Recovery, corrupt};
use crate::report::Reason;
use crate::scan::{End, Event, Scan};
use crate::voids::Listed;

/// What the walk over the newest segment found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Newest {
    pub(super) id: SegmentId,
    pub(super) binding: Binding,
    pub(super) base: u32,
    pub(super) incarnation: u32,
    pub(super) first_sequence: u64,
    pub(super) next_sequence: u64,
    /// How far its frames say that it was durable.
    pub(super) watermark: u32,
    /// Where the log ends in it.
    pub(super) tail: u32,
    pub(super) closed: bool,
    pub(super) cuts: Cuts,
    pub(super) end: End,
}

impl Recovery<'_> {
    pub(super) fn newest_event(&mut self, newest: SegmentId, event: Event, scan: &Scan) -> Result<(), Refusal> {
        let manifest = corrupt(newest, self.layout.frames_start(), Reason::Manifest);
        let too_many = Error::TooManyVoids {
            max: self.room.voids.limit(),
        };
        match event {
            Event::Restart => {
                self.room.voids.clear();
                self.room.tables.clear();
                for segment in self.room.segments.as_mut_slice() {
                    segment.set_state(State::Leftover);
                }
            }
            Event::Manifest { head, .. } => {
                self.manifest_end = scan.offset();
                self.last = (0, 0);
                if head.voids as usize > self.room.voids.limit() {
                    return Err(too_many);
                }
            }
            Event::Retained(retained) => {
                let in_bounds = retained.end <= self.geometry.segment_len()
                    && retained.end >= self.layout.frames_start()
                    && retained.seal_len() <= retained.end
                    && retained.first_sequence <= scan.first_sequence()
                    && retained.id < newest.0;
                // Reading finds a sequence by the order of the segments.
                let (id, first_sequence) = core::mem::replace(&mut self.last, (retained.id, retained.first_sequence));
                if !in_bounds || retained.id <= id || retained.first_sequence < first_sequence {
                    return Err(manifest);
                }
                let segments = self.room.segments.as_mut_slice();
                let at = segments.partition_point(|segment| segment.id < retained.id);
                match segments.get_mut(at) {
                    Some(segment) if segment.id == retained.id => *segment = retained,
                    _ => return Err(corrupt(retained.segment(), 0, Reason::Missing)),
                }
            }
            Event::Void { void, listed: true } => match self.room.voids.push_listed(void) {
                Listed::Taken if void.to < scan.first_sequence() => {}
                Listed::Full => return Err(too_many),
                Listed::Taken | Listed::Disorder => return Err(manifest),
            },
            Event::Void { void, listed: false } => {
                if !void.is_empty() && !self.room.voids.gather(void) {
                    return Err(too_many);
                }
            }
            Event::Frame { offset, header } => {
                if header.kind == Kind::Batch {
                    self.frame = offset;
                    self.room.tables.note_frame(offset);
                }
            }
            Event::Record(record) => {
                self.room
                    .tables
                    .note_record(record.table, record.sequence, record.index, self.frame);
            }
            Event::More { .. } | Event::End(_) => {}
        }
        Ok(())
    }

    pub(super) fn newest_ended(&mut self, at: usize, end: End, scan: &Scan) -> Result<(), Refusal> {
        let id = self.id_at(at);
        self.room.voids.join();
        let tail = match end {
            End::Clean { offset } => offset,
            End::Torn { offset, sealed, .. } => {
                // A seal that was under way names the segment made first. It stays until a new manifest is
                // durable, should the seal turn out whole at the next open.
                let mut above = self.room.segments.as_slice().iter().skip(at + 1);
                self.abandoned = above.next().filter(|_| sealed).map(Retained::segment);
                offset
            }
            End::Sealed { end, successor, .. } => {
                let mut segments = self.room.segments.as_slice().iter();
                if successor <= id || !segments.any(|segment| segment.id == successor.0) {
                    return Err(corrupt(successor, 0, Reason::SuccessorMissing));
                }
                self.abandoned = Some(successor);
                self.layout.frame_at(end)
            }
            _ => 0,
        };
        if let Some(binding) = self.binding {
            self.newest = Some(Newest {
                id,
                binding,
                base: scan.base(),
                incarnation: scan.incarnation(),
                first_sequence: scan.first_sequence(),
                next_sequence: scan.next_sequence(),
                watermark: scan.watermark(),
                tail,
                closed: scan.is_closed() && matches!(end, End::Clean { .. }),
                cuts: *scan.cuts(),
                end,
            });
        }
        Ok(())
    }
}
