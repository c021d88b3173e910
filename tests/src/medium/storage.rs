//! The medium as the log sees it: each call, with what it leaves pending.

use core::ops::ControlFlow;

use walstone_core::ram::RamError;
use walstone_core::{Found, Geometry, Mark, SegmentId, Storage};

use super::{Cut, Medium};
use crate::storages::{SimError, gathered};

impl Storage for Medium {
    type Error = SimError;

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn segments(&mut self, visit: &mut dyn FnMut(Found) -> ControlFlow<()>) -> Result<(), SimError> {
        self.powered()?;
        let whole = self.segments.iter().map(|&(id, _)| Found::Segment(SegmentId(id)));
        let unreadable = self.unreadable.keys().map(|&slot| Found::Unreadable { slot });
        for found in unreadable.chain(whole) {
            if visit(found).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn create(&mut self, id: SegmentId, header: &[u8]) -> Result<(), SimError> {
        self.mutate(
            |medium| {
                let segment = medium.blank(id, header)?;
                medium.insert(id, segment);
                Ok(())
            },
            |medium| {
                let segment = medium.blank(id, header);
                medium.cut = segment.ok().map(|segment| Cut::Create(id, segment));
            },
        )
    }

    fn claim(&mut self, id: SegmentId, end: u32) -> Result<(), SimError> {
        self.mutate(
            |medium| {
                let through = medium.write_through;
                medium.check_range(end, 0)?;
                let more = end.saturating_sub(medium.find(id)?.claimed);
                if more > 0 {
                    medium.check_room(more)?;
                    let segment = medium.find_mut(id)?;
                    segment.claimed = end;
                    if through {
                        segment.durable_claimed = end;
                    }
                }
                Ok(())
            },
            |_| (),
        )
    }

    fn extent(&mut self, id: SegmentId) -> Result<u32, SimError> {
        self.powered()?;
        let segment = self.find(id)?;
        if self.write_through {
            return Ok(self.geometry.segment_len());
        }
        Ok(segment.live.extent())
    }

    fn read<'a>(&'a mut self, id: SegmentId, offset: u32, len: u32, buf: &'a mut [u8]) -> Result<&'a [u8], SimError> {
        self.powered()?;
        let segment = self.find(id)?;
        self.check_range(offset, len as usize)?;
        let bytes = &segment.live.data()[offset as usize..][..len as usize];
        if self.lending {
            return Ok(bytes);
        }
        let len = bytes.len().min(buf.len());
        let filled = &mut buf[..len];
        filled.copy_from_slice(&bytes[..len]);
        Ok(filled)
    }

    fn write(&mut self, id: SegmentId, offset: u32, parts: &[&[u8]]) -> Result<(), SimError> {
        let bytes = gathered(parts, self.geometry.write_unit());
        let torn = bytes.clone();
        self.mutate(
            |medium| {
                medium.put(id, offset, bytes)?;
                if medium.write_through {
                    let rewrites = medium.geometry.erased().is_none();
                    medium.find_mut(id)?.persist(rewrites, |_| true);
                }
                Ok(())
            },
            |medium| {
                let before = medium.find(id).ok().cloned();
                // A refused write changes nothing.
                if medium.put(id, offset, torn.clone()).is_ok() {
                    medium.cut = before.map(|before| Cut::Write(id, before, offset, torn));
                }
            },
        )
    }

    fn hand_over(&mut self, to: Mark) -> Result<(), SimError> {
        self.mutate(
            |medium| {
                medium.find(to.segment)?;
                medium.check_range(to.end, 0)
            },
            |_| (),
        )
    }

    fn sync(&mut self, to: Mark) -> Result<(), SimError> {
        self.mutate(|medium| medium.sync_now(to), |_| ())
    }

    fn settle(&mut self, id: SegmentId, from: u32, to: u32) -> Result<(), SimError> {
        self.mutate(
            |medium| {
                let rewrites = medium.geometry.erased().is_none();
                medium.check_range(to, 0)?;
                let segment = medium.find_mut(id)?;
                segment.persist(rewrites, |write| write.overlaps(from, to));
                segment.durable_claimed = segment.claimed;
                Ok(())
            },
            |_| (),
        )
    }

    fn remove(&mut self, id: SegmentId) -> Result<(), SimError> {
        self.mutate(
            |medium| medium.take(id).map(drop),
            |medium| medium.cut = medium.find(id).is_ok().then_some(Cut::Remove(id)),
        )
    }

    fn release(&mut self, slot: u32) -> Result<(), SimError> {
        self.mutate(
            |medium| {
                let released = medium.unreadable.remove(&slot);
                released.map(drop).ok_or(SimError::Rule(RamError::NoSlot { slot }))
            },
            |medium| {
                let known = medium.unreadable.contains_key(&slot);
                medium.cut = known.then_some(Cut::Release(slot));
            },
        )
    }
}
