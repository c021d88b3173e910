//! What every driver shares: a region with its room, between two calls of the storage. Says what to call next and takes
//! in what became of it, so that a driver holds nothing but the calls. Does no I/O.

pub(crate) mod draft;

use crate::capacity::{Buffer, Capacity, Lent};
use crate::error::{Error, Halt, PoisonCause, Refusal, Stop};
use crate::fault::{Fault, StorageError};
use crate::geometry::{Geometry, Mark, SegmentId};
use crate::recover::{Mode, Options, Recovery};
use crate::region::Region;
use crate::region::plan::{Goal, Step};
use crate::report::{Report, Tail};
use crate::scan::walk::Walk;
use crate::segment::header;
use crate::segment::layout::Layout;
use crate::trace::trace;
use crate::wire;

/// What may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// Not recovered yet.
    New,
    ReadWrite,
    ReadOnly,
    Closed,
}

/// One open region, without its storage.
#[derive(Debug)]
pub(crate) struct Engine<'w> {
    pub(crate) region: Region<'w>,
    pub(crate) buffer: Buffer<'w>,
    pub(crate) walk: Lent<'w, Walk>,
    access: Access,
    /// A call was under way when its future was dropped: what became of it is to be recovered from the medium.
    pub(crate) interrupted: bool,
}

impl<'w> Engine<'w> {
    /// A region that is yet to be recovered.
    #[cfg_attr(not(feature = "alloc"), inline(never))]
    pub(crate) fn new(options: &Options, geometry: Geometry, capacity: Capacity<'w>) -> Self {
        let mut walk = capacity.walk;
        walk.scan.fit(Layout::new(geometry), options.checksum);
        Self {
            region: Region::new(options, geometry, capacity.facts),
            buffer: capacity.buffer,
            walk,
            access: Access::New,
            interrupted: false,
        }
    }

    /// Once: what may be done from now on.
    pub(crate) fn open_as(&mut self, mode: Mode) -> Result<(), Refusal> {
        if self.access != Access::New {
            return Err(Error::Closed);
        }
        self.access = match mode {
            Mode::ReadOnly => Access::ReadOnly,
            _ => Access::ReadWrite,
        };
        Ok(())
    }

    /// The recovery of the region, and the buffer that it reads into.
    pub(crate) fn recovery(&mut self, mode: Mode) -> (Recovery<'_, 'w>, &mut [u8]) {
        (
            Recovery::new(&mut self.region, &mut self.walk, mode),
            self.buffer.whole(),
        )
    }

    /// What the recovery found and did.
    pub(crate) fn report(&self) -> Report {
        let opened = &self.region.aside.opened;
        Report {
            region: self.region.aside.region,
            geometry: self.region.layout.geometry(),
            newest: opened.newest,
            segments: opened.segments,
            tail: opened.tail,
            last_sequence: opened.last_sequence,
            settled_bytes: opened.settled_bytes,
            removed_segments: opened.removed_segments,
            released_slots: opened.released_slots,
            not_removed: opened.not_removed,
            remove_error: opened.remove_error,
        }
    }

    /// What is to be reached before the log is handed out: a region that was just made is durable.
    pub(crate) fn first_goal(&self) -> Option<Goal> {
        (self.region.aside.opened.tail == Tail::New).then_some(Goal::Begin)
    }

    #[cfg_attr(feature = "alloc", inline)]
    pub(crate) fn writable(&self) -> Result<(), Refusal> {
        match self.access {
            Access::ReadWrite => Ok(()),
            Access::ReadOnly => Err(Error::ReadOnly),
            Access::New | Access::Closed => Err(Error::Closed),
        }
    }

    /// Whether a close has to do anything.
    pub(crate) fn is_to_close(&self) -> Result<bool, Refusal> {
        match (self.access, self.region.poisoned) {
            (Access::ReadWrite, _) => Ok(true),
            // A close that failed is not made good by asking again.
            (_, Some(cause)) => Err(Error::Poisoned(cause)),
            (_, None) => Ok(false),
        }
    }

    /// Takes no more writes.
    pub(crate) const fn abandon(&mut self) {
        self.access = Access::Closed;
    }

    /// A goal is set: a storage that had no room may have some now.
    pub(crate) fn begin(&mut self) {
        self.region.aside.refused = false;
    }

    /// What a sync needs before the host can perform it itself: the mark to sync, or a pad to write in front of it.
    pub(crate) fn sync_step(&self) -> Result<Option<Step>, Refusal> {
        self.writable()?;
        Ok(match self.region.plan(Goal::Sync)? {
            step @ (Step::Sync(_) | Step::Write { .. }) => Some(step),
            _ => None,
        })
    }

    /// A segment to remove, if there is one.
    pub(crate) fn remove_step(&self) -> Option<Step> {
        let may = self.access == Access::ReadWrite && self.region.poisoned.is_none();
        self.region.remove_step().filter(|_| may)
    }

    /// Up to where everything is to be handed over.
    pub(crate) fn begin_hand_over(&self) -> Result<Mark, Refusal> {
        self.writable()?;
        match self.region.poisoned {
            Some(cause) => Err(Error::Poisoned(cause)),
            None => Ok(self.region.written_mark()),
        }
    }

    /// The header of a segment to create.
    pub(crate) fn header(&self, id: SegmentId) -> [u8; header::HEADER_LEN] {
        self.region.header_of(id).encode(self.region.checksum)
    }

    /// Builds what a step writes in the buffer, where it stays until the step was [`Engine::performed`]; its length, or the
    /// bytes of buffer that it needs.
    pub(crate) fn build(&mut self, step: Step) -> Result<usize, usize> {
        match step {
            Step::Write { control, offset, .. } => {
                let needed = self.region.control_len(control);
                let out = self.buffer.at_least(needed).and_then(|out| out.get_mut(..needed));
                let out = out.ok_or(needed)?;
                Ok(self.region.build(control, offset, out))
            }
            Step::Create { id } => self.build_header(id),
            _ => Ok(0),
        }
    }

    #[cfg_attr(not(feature = "alloc"), inline(never))]
    fn build_header(&mut self, id: SegmentId) -> Result<usize, usize> {
        let header = self.header(id);
        let out = self.buffer.at_least(header.len()).ok_or(header.len())?;
        wire::put(out, 0..header.len(), &header);
        Ok(header.len())
    }

    /// What was built.
    pub(crate) fn built(&self, len: usize) -> &[u8] {
        self.buffer.as_slice().get(..len).unwrap_or_default()
    }

    /// Takes in what became of a step.
    #[cfg_attr(not(feature = "alloc"), inline(never))]
    pub(crate) fn performed<E: StorageError>(&mut self, step: Step, outcome: Result<(), E>) -> Result<(), Halt<E>> {
        self.region.aside.room_first = false;
        match (step, outcome) {
            (Step::Ready { .. } | Step::Examine { .. }, _) => {}
            (Step::Drop { at }, _) => self.region.dropped(at),
            (Step::Create { id }, Ok(())) => {
                self.region.created(id);
            }
            (Step::Claim { id, end }, Ok(())) => self.region.claimed(id, end),
            (Step::Create { .. }, Err(error)) if error.fault() == Fault::Full => {
                self.region.aside.refused = !self.finds_room();
            }
            (Step::Claim { id, .. }, Err(error)) if error.fault() == Fault::Full => {
                if !self.finds_room() {
                    if !self.region.is_second_spare(id) {
                        return Err(Halt::Stop(Stop::Full));
                    }
                    self.region.aside.refused = true;
                }
            }
            (Step::Create { id }, Err(error)) => {
                // What became of it is met at the next open; the id is not tried again.
                self.region.aside.next_id = id.0.saturating_add(1);
                return Err(Halt::Storage(error));
            }
            (Step::Claim { .. }, Err(error)) => return Err(Halt::Storage(error)),
            (Step::Write { offset, control, .. }, outcome) => {
                self.checked(outcome, PoisonCause::Write)?;
                trace!("wrote: {} at {}", control, offset);
                self.region.control_written(control, offset, self.buffer.as_slice());
                self.buffer.release();
            }
            (Step::Sync(mark), outcome) => {
                self.checked(outcome, PoisonCause::Sync)?;
                self.region.synced(mark);
            }
            (Step::Settle { .. }, outcome) => {
                self.checked(outcome, PoisonCause::Settle)?;
                self.region.settled();
            }
            (Step::Remove { id }, Ok(())) => {
                trace!("removed: {}", id);
                self.region.removed(id);
            }
            (Step::Remove { id }, Err(error)) => self.region.remove_failed(id, error.kind()),
        }
        Ok(())
    }

    /// The storage had no room: whether there is something that gives some. If so it comes next.
    fn finds_room(&mut self) -> bool {
        self.region.aside.room_first = self.region.make_room().is_some();
        self.region.aside.room_first
    }

    /// Poisons the region where a call failed that leaves bytes in doubt.
    #[cfg_attr(feature = "alloc", inline)]
    pub(crate) fn checked<E>(&mut self, outcome: Result<(), E>, cause: PoisonCause) -> Result<(), Halt<E>> {
        outcome.map_err(|error| {
            trace!("poisoned: {}", cause);
            self.region.poisoned = Some(cause);
            Halt::Storage(error)
        })
    }
}
