//! The conformance suite catches storages that break one promise each: that is how it proves it can fail.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use walstone_core::ram::{RamError, RamStorage};
use walstone_core::{Found, Storage};
use walstone_core::{Geometry, Mark, SegmentId};
use walstone_tests::conformance::{check_full, check_storage, check_survival};
use walstone_tests::storages::gather::GatherStorage;

use crate::flash;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    None,
    ListsTwice,
    ListsOne,
    ListsOn,
    HeaderCutShort,
    ClaimWrites,
    ClaimRefusesLess,
    ExtentTooSmall,
    ReadTooShort,
    ReadShifted,
    WriteDropsALaterPart,
    WriteFillsWithErased,
    WriteToTheWrongSegment,
    SettleRefusesAnEmptyRange,
    RemoveForgets,
    RemoveLeavesBytes,
    CreateReplaces,
    MissingReadsAsBlank,
    ReleaseOfNothing,
    FullIsADeviceFault,
    RemoveMakesNoRoom,
    FullTakesASegment,
}

#[derive(Clone, Debug)]
struct Mutant {
    ram: RamStorage,
    bug: Bug,
    removed: Vec<u8>,
}

impl Mutant {
    fn has(&self, bug: Bug) -> bool {
        self.bug == bug
    }
}

impl Storage for Mutant {
    type Error = RamError;

    fn geometry(&self) -> Geometry {
        self.ram.geometry()
    }

    fn segments(&mut self, visit: &mut dyn FnMut(Found) -> ControlFlow<()>) -> Result<(), RamError> {
        let bug = self.bug;
        self.ram.segments(&mut |found| {
            let flow = visit(found);
            match bug {
                Bug::ListsTwice => visit(found),
                Bug::ListsOne => ControlFlow::Break(()),
                Bug::ListsOn => ControlFlow::Continue(()),
                _ => flow,
            }
        })
    }

    fn create(&mut self, id: SegmentId, header: &[u8]) -> Result<(), RamError> {
        if self.has(Bug::CreateReplaces) && self.ram.bytes(id).is_some() {
            self.ram.remove(id)?;
        }
        let len = if self.has(Bug::HeaderCutShort) {
            60
        } else {
            header.len()
        };
        if let Err(error) = self.ram.create(id, &header[..len]) {
            let first = self.ram.ids().next();
            return match (self.bug, error, first) {
                (Bug::FullIsADeviceFault, RamError::Full { .. }, _) => Err(RamError::NoSlot { slot: 0 }),
                (Bug::FullTakesASegment, RamError::Full { .. }, Some(first)) => {
                    self.ram.remove(first)?;
                    Err(error)
                }
                _ => Err(error),
            };
        }
        if self.has(Bug::RemoveLeavesBytes) && !self.removed.is_empty() {
            let bytes = self.ram.bytes_mut(id).unwrap();
            bytes[64..].copy_from_slice(&self.removed[64..]);
        }
        Ok(())
    }

    fn claim(&mut self, id: SegmentId, end: u32) -> Result<(), RamError> {
        self.ram.claim(id, end)?;
        if self.has(Bug::ClaimWrites) && end > 64 {
            self.ram.bytes_mut(id).unwrap()[end as usize - 1] ^= 1;
        }
        if self.has(Bug::ClaimRefusesLess) && end == 0 {
            return Err(RamError::NotClaimed { end, claimed: 64 });
        }
        Ok(())
    }

    fn extent(&mut self, id: SegmentId) -> Result<u32, RamError> {
        let extent = self.ram.extent(id)?;
        Ok(extent - u32::from(self.has(Bug::ExtentTooSmall)))
    }

    fn read<'a>(&'a mut self, id: SegmentId, offset: u32, len: u32, buf: &'a mut [u8]) -> Result<&'a [u8], RamError> {
        if self.has(Bug::MissingReadsAsBlank) && self.ram.bytes(id).is_none() {
            return Ok(buf);
        }
        let shift = u32::from(self.has(Bug::ReadShifted) && offset > 64 && len > 0);
        let cut = usize::from(self.has(Bug::ReadTooShort) && len > 1);
        let bytes = self.ram.read(id, offset - shift, len, buf)?;
        Ok(&bytes[..bytes.len() - cut])
    }

    fn write(&mut self, id: SegmentId, offset: u32, parts: &[&[u8]]) -> Result<(), RamError> {
        let erased = self.geometry().erased().unwrap_or(0);
        let mut bytes = match (self.bug, parts) {
            (Bug::WriteDropsALaterPart, [first, _, _]) => first.to_vec(),
            _ => parts.concat(),
        };
        if self.has(Bug::WriteFillsWithErased) {
            let unit = self.geometry().write_unit() as usize;
            bytes.resize(bytes.len().next_multiple_of(unit), erased);
        }
        let first = self.ram.ids().next().filter(|_| self.has(Bug::WriteToTheWrongSegment));
        self.ram.write(first.unwrap_or(id), offset, &[&bytes])
    }

    fn hand_over(&mut self, to: Mark) -> Result<(), RamError> {
        self.ram.hand_over(to)
    }

    fn sync(&mut self, to: Mark) -> Result<(), RamError> {
        self.ram.sync(to)
    }

    fn settle(&mut self, id: SegmentId, from: u32, to: u32) -> Result<(), RamError> {
        if self.has(Bug::SettleRefusesAnEmptyRange) && from == to {
            return Err(RamError::NoSlot { slot: 0 });
        }
        self.ram.settle(id, from, to)
    }

    fn remove(&mut self, id: SegmentId) -> Result<(), RamError> {
        if self.has(Bug::RemoveForgets) {
            return self.ram.extent(id).map(drop);
        }
        if let Some(bytes) = self.ram.bytes(id) {
            self.removed = bytes.to_vec();
        }
        if self.has(Bug::RemoveMakesNoRoom) {
            self.ram.set_capacity_limit(Some(0));
        }
        self.ram.remove(id)
    }

    fn release(&mut self, slot: u32) -> Result<(), RamError> {
        if self.has(Bug::ReleaseOfNothing) {
            return Ok(());
        }
        self.ram.release(slot)
    }
}

/// Whether the suite is content with memory that has this bug.
fn passes(bug: Bug) -> bool {
    let geometry = flash(4);
    let make = |limit| Mutant {
        ram: RamStorage::new(geometry).with_capacity_limit(limit),
        bug,
        removed: Vec::new(),
    };
    let checks = || {
        check_storage(|| make(1 << 20));
        check_full(|| make(3 * 4096));
    };
    catch_unwind(AssertUnwindSafe(checks)).is_ok()
}

#[test]
fn each_broken_promise_is_caught() {
    assert!(passes(Bug::None));
    for bug in [
        Bug::ListsTwice,
        Bug::ListsOne,
        Bug::ListsOn,
        Bug::HeaderCutShort,
        Bug::ClaimWrites,
        Bug::ClaimRefusesLess,
        Bug::ExtentTooSmall,
        Bug::ReadTooShort,
        Bug::ReadShifted,
        Bug::WriteDropsALaterPart,
        Bug::WriteFillsWithErased,
        Bug::WriteToTheWrongSegment,
        Bug::SettleRefusesAnEmptyRange,
        Bug::RemoveForgets,
        Bug::RemoveLeavesBytes,
        Bug::CreateReplaces,
        Bug::MissingReadsAsBlank,
        Bug::ReleaseOfNothing,
        Bug::FullIsADeviceFault,
        Bug::RemoveMakesNoRoom,
        Bug::FullTakesASegment,
    ] {
        assert!(!passes(bug), "{bug:?} went unnoticed");
    }
}

#[test]
fn a_queue_lost_after_its_hand_over_or_sync_is_caught() {
    let make = || GatherStorage::new(RamStorage::new(flash(4)));
    let keep = |storage: GatherStorage<RamStorage>| storage;
    // As if nothing had been given away: the segment as it was before the write.
    let lose = |storage: GatherStorage<RamStorage>| {
        let mut ram = storage.kill();
        let id = SegmentId(5);
        let header = ram.bytes(id).unwrap()[..64].to_vec();
        ram.remove(id).unwrap();
        ram.create(id, &header).unwrap();
        GatherStorage::new(ram)
    };
    let passes = |die: &dyn Fn(GatherStorage<RamStorage>) -> GatherStorage<RamStorage>,
                  lose_power: &dyn Fn(GatherStorage<RamStorage>) -> GatherStorage<RamStorage>| {
        catch_unwind(AssertUnwindSafe(|| check_survival(make, die, lose_power))).is_ok()
    };
    assert!(passes(&keep, &keep));
    assert!(!passes(&lose, &keep));
    assert!(!passes(&keep, &lose));
}
