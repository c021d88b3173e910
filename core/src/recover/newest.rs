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
        let scan = &self.walk.scan;
        match event {
            Event::Restart => {
                self.region.voids.clear();
                self.region.tables.clear();
                for segment in self.region.segments.as_mut_slice() {
                    segment.set_state(State::Leftover);
                }
            }
            Event::Manifest => {
                self.last = (0, 0);
                if scan.listed_voids() as usize > self.region.voids.limit() {
                    return Err(self.too_many_voids());
                }
            }
            Event::Retained => {
                let retained = *scan.retained();
                let in_bounds = retained.end <= self.region.layout.segment_len()
                    && retained.end >= self.region.layout.frames_start()
                    && retained.seal_len() <= retained.end
                    && retained.first_sequence <= scan.first_sequence()
                    && retained.id < newest.0;
                // Reading finds a sequence by the order of the segments.
                let (id, first_sequence) = core::mem::replace(&mut self.last, (retained.id, retained.first_sequence));
                if !in_bounds || retained.id <= id || retained.first_sequence < first_sequence {
                    return Err(self.bad_manifest(newest));
                }
                let segments = self.region.segments.as_mut_slice();
                let at = segments.partition_point(|segment| segment.id < retained.id);
                match segments.get_mut(at) {
                    Some(segment) if segment.id == retained.id => {
                        // Field by field: the compiler would call for a move of bytes that may overlap.
                        let Retained {
                            id,
                            first_sequence,
                            end,
                            ..
                        } = retained;
                        *segment = Retained::new(id, first_sequence, end, retained.seal_len());
                    }
                    _ => return Err(corrupt(retained.segment(), 0, Reason::Missing)),
                }
            }
            Event::Void { listed: true } => match self.region.voids.push_listed(scan.void()) {
                Listed::Taken if scan.void().to < scan.first_sequence() => {}
                Listed::Full => return Err(self.too_many_voids()),
                Listed::Taken | Listed::Disorder => return Err(self.bad_manifest(newest)),
            },
            Event::Void { listed: false } => {
                if !scan.void().is_empty() && !self.region.voids.gather(scan.void()) {
                    return Err(self.too_many_voids());
                }
            }
            Event::Frame { kind } => {
                if kind == Kind::Batch {
                    self.region.tables.note_frame(scan.frame());
                }
            }
            Event::Record => {
                let record = scan.record();
                self.region
                    .tables
                    .note_record(record.table, record.sequence, record.index, scan.frame());
            }
            Event::More | Event::End => {}
        }
        Ok(())
    }

    fn bad_manifest(&self, newest: SegmentId) -> Refusal {
        corrupt(newest, self.region.layout.frames_start(), Reason::Manifest)
    }

    fn too_many_voids(&self) -> Refusal {
        Error::TooManyVoids {
            max: self.region.voids.limit(),
        }
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
            End::Sealed { end, .. } => {
                let successor = self.walk.scan.successor();
                let mut segments = self.region.segments.as_slice().iter();
                if successor <= id || !segments.any(|segment| segment.id == successor.0) {
                    return Err(corrupt(successor, 0, Reason::SuccessorMissing));
                }
                self.successor = Some(successor);
                self.region.layout.frame_at(end)
            }
            _ => 0,
        };
        self.region.aside.examined = 0;
        let closed = self.walk.scan.is_closed() && matches!(end, End::Clean { .. });
        let region = &mut *self.region;
        region.active = Active {
            id,
            seed: self.seed,
            first_sequence: self.walk.scan.first_sequence(),
            tail,
            durable: self.walk.scan.watermark(),
            claimed: 0,
        };
        region.aside.base = self.walk.scan.base();
        if let End::Sealed { offset, end } = end {
            region.aside.seal = (offset, end);
        }
        core::mem::swap(&mut region.aside.cuts, self.walk.scan.cuts_mut());
        region.aside.incarnation = self.walk.scan.incarnation();
        region.next_sequence = self.walk.scan.next_sequence();
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
