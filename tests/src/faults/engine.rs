//! The engine on a storage one call of which fails.

use core::ops::ControlFlow;
use std::cell::{RefCell, RefMut};
use std::rc::Rc;

use walstone_core::ram::{RamError, RamStorage};
use walstone_core::segment::layout::Layout;
use walstone_core::{Capacity, Fault, Found, Geometry, Log, Mark, SegmentId, Storage};

use super::{Act, Ground, PRELUDES, Tally};
use crate::crash::log::{Planned, Subjected, options};
use crate::crash::machine::Denied;
use crate::crash::model::Change;
use crate::crash::setup::SETUPS;
use crate::deadline::Deadline;
use crate::storages::faulty::{Faults, Faulty, FaultyError};
use crate::storages::{Method, SimError};

type Broken = Faulty<RamStorage>;

/// Handles on one storage: it outlives the logs on it. Reads copy.
#[derive(Clone, Debug)]
pub struct Handle(Rc<RefCell<Broken>>);

/// Segments in memory, one call on which fails.
#[derive(Debug)]
pub struct Memory {
    handle: Handle,
    faults: Faults,
    opens: u64,
}

impl Memory {
    fn new(ram: RamStorage) -> Self {
        let faulty = Faulty::new(ram);
        Self {
            faults: faulty.faults(),
            handle: Handle(Rc::new(RefCell::new(faulty))),
            opens: 0,
        }
    }
}

/// Every call of every word of `len`, in each way that it can fail, on three geometries.
#[must_use]
pub fn sweep(len: u32, deadline: Deadline) -> Tally {
    let mut tally = Tally::until(deadline);
    let geometries = SETUPS
        .iter()
        .filter(|setup| ["sectors", "flash", "stale"].contains(&setup.name));
    for setup in geometries {
        for prelude in PRELUDES {
            for word in Act::words(len) {
                for (method, fault) in ways() {
                    let what = format!("{fault:?} of {method:?} on {}", setup.name);
                    tally.every_call(&[prelude, &word], &what, |nth| {
                        let memory = Memory::new(RamStorage::new(setup.geometry));
                        memory.faults.fail(method, nth, fault);
                        memory
                    });
                }
            }
        }
    }
    tally
}

const METHODS: [Method; 11] = [
    Method::Segments,
    Method::Create,
    Method::Claim,
    Method::Extent,
    Method::Read,
    Method::Write,
    Method::HandOver,
    Method::Sync,
    Method::Settle,
    Method::Remove,
    Method::Release,
];

/// How calls fail. A write that fails with a device error leaves half of its units behind: a short transfer.
fn ways() -> impl Iterator<Item = (Method, Fault)> {
    let device = METHODS.into_iter().map(|method| (method, Fault::Device));
    let full = [Method::Create, Method::Claim, Method::Write, Method::Sync].map(|method| (method, Fault::Full));
    device.chain(full)
}

impl Planned for FaultyError<RamError> {
    fn planned(&self) -> Option<SimError> {
        matches!(self, Self::Injected { .. }).then_some(SimError::SyncFailed)
    }

    const LATCHES: bool = false;
}

impl Ground for Memory {
    type Log = Subjected<Log<'static, Handle>>;

    fn open(&mut self) -> Result<Self::Log, Denied> {
        self.opens += 1;
        let room = Capacity::heap(self.handle.geometry().segment_len() as usize);
        Subjected::new(Log::open_or_create(self.handle.clone(), room, options(self.opens)))
    }

    fn append_durably(&self, _: &mut Self::Log, _: &[Change]) -> Option<Result<u64, Denied>> {
        None
    }

    fn has_failed(&self) -> bool {
        self.faults.outstanding() == 0
    }

    fn after_power_loss(&self) -> Self {
        let dark = Self::new(self.handle.storage().clone().reboot());
        Self {
            opens: self.opens + 100,
            ..dark
        }
    }

    fn evict(&mut self) {
        let left = self.handle.storage().clone().reboot();
        *self.handle.storage() = Faulty::new(left);
    }

    fn large_len(&self) -> u32 {
        Layout::new(self.handle.geometry()).max_payload_len() / 2
    }
}

impl Handle {
    fn storage(&self) -> RefMut<'_, Broken> {
        self.0.borrow_mut()
    }
}

impl Storage for Handle {
    type Error = FaultyError<RamError>;

    fn geometry(&self) -> Geometry {
        self.storage().geometry()
    }

    fn segments(&mut self, visit: &mut dyn FnMut(Found) -> ControlFlow<()>) -> Result<(), Self::Error> {
        self.storage().segments(visit)
    }

    fn create(&mut self, id: SegmentId, header: &[u8]) -> Result<(), Self::Error> {
        self.storage().create(id, header)
    }

    fn claim(&mut self, id: SegmentId, end: u32) -> Result<(), Self::Error> {
        self.storage().claim(id, end)
    }

    fn extent(&mut self, id: SegmentId) -> Result<u32, Self::Error> {
        self.storage().extent(id)
    }

    fn read<'a>(
        &'a mut self,
        id: SegmentId,
        offset: u32,
        len: u32,
        buf: &'a mut [u8],
    ) -> Result<&'a [u8], Self::Error> {
        let mut storage = self.0.borrow_mut();
        let len = len.min(buf.len() as u32);
        let mut none = [];
        // Memory lends; what is lent ends with the borrow.
        let lent = storage.read(id, offset, len, &mut none)?;
        let filled = &mut buf[..lent.len()];
        filled.copy_from_slice(lent);
        Ok(filled)
    }

    fn write(&mut self, id: SegmentId, offset: u32, parts: &[&[u8]]) -> Result<(), Self::Error> {
        self.storage().write(id, offset, parts)
    }

    fn hand_over(&mut self, to: Mark) -> Result<(), Self::Error> {
        self.storage().hand_over(to)
    }

    fn sync(&mut self, to: Mark) -> Result<(), Self::Error> {
        self.storage().sync(to)
    }

    fn settle(&mut self, id: SegmentId, from: u32, to: u32) -> Result<(), Self::Error> {
        self.storage().settle(id, from, to)
    }

    fn remove(&mut self, id: SegmentId) -> Result<(), Self::Error> {
        self.storage().remove(id)
    }

    fn release(&mut self, slot: u32) -> Result<(), Self::Error> {
        self.storage().release(slot)
    }
}
