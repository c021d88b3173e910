//! Fails chosen calls, and loses after a failed sync what Linux would lose: the bytes stay readable, later
//! syncs say yes, and only a reboot shows that they never reached the medium.

use core::fmt;
use core::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use walstone_core::{Fault, Found, Storage, StorageError};
use walstone_core::{Geometry, Mark, SegmentId};

use super::{Method, gathered};

/// What is to fail; clones are the same plan, so a test keeps one while the log owns the storage.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    plan: Arc<Mutex<Vec<Planned>>>,
}

#[derive(Debug)]
struct Planned {
    method: Method,
    calls_left: u64,
    fault: Fault,
}

impl Faults {
    /// Fails the `nth` call of `method` from now, 1 being the next one. Plans add up.
    pub fn fail(&self, method: Method, nth: u64, fault: Fault) {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).push(Planned {
            method,
            calls_left: nth,
            fault,
        });
    }

    /// Faults that did not happen yet.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn meet(&self, method: Method) -> Option<Fault> {
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        let mut met = None;
        plan.retain_mut(|planned| {
            if planned.method == method {
                planned.calls_left = planned.calls_left.saturating_sub(1);
            }
            let due = planned.calls_left == 0;
            if due {
                met = Some(planned.fault);
            }
            !due
        });
        met
    }
}

/// A storage that fails as told. A clone of `S` must be a deep copy.
///
/// A write that fails with [`Fault::Device`] leaves the first half of its units behind. Everything else that
/// fails changes nothing, but for a failed sync, which loses all writes of its segment that no sync had covered.
#[derive(Clone, Debug)]
pub struct Faulty<S> {
    /// What reads show.
    live: S,
    /// What a reboot leaves: `live` without the writes that no sync covered.
    durable: S,
    unsynced: Vec<Unsynced>,
    faults: Faults,
}

#[derive(Clone, Debug)]
struct Unsynced {
    segment: SegmentId,
    offset: u32,
    bytes: Vec<u8>,
    /// A sync of it failed: no later one tries again.
    lost: bool,
}

impl<S: Storage<Error: 'static> + Clone> Faulty<S> {
    /// No fault is planned yet; all that `inner` holds is durable.
    #[must_use]
    pub fn new(inner: S) -> Self {
        Self {
            durable: inner.clone(),
            live: inner,
            unsynced: Vec::new(),
            faults: Faults::default(),
        }
    }

    /// A hand on the plan that outlives this value.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }

    /// Power is lost: what only reads had shown is gone.
    #[must_use]
    pub fn reboot(self) -> S {
        self.durable
    }

    fn check<T>(&self, method: Method, ok: T) -> Result<T, FaultyError<S::Error>> {
        match self.faults.meet(method) {
            Some(fault) => Err(FaultyError::Injected { method, fault }),
            None => Ok(ok),
        }
    }

    /// Writes to the durable copy what `reaches` names, and forgets it here.
    fn persist(&mut self, reaches: impl Fn(&Unsynced) -> bool) -> Result<(), FaultyError<S::Error>> {
        let mut failed = Ok(());
        self.unsynced.retain(|write| {
            if failed.is_err() || !reaches(write) {
                return true;
            }
            failed = self.durable.write(write.segment, write.offset, &[&write.bytes]);
            false
        });
        failed.map_err(FaultyError::Inner)
    }
}

impl<S: Storage<Error: 'static> + Clone> Storage for Faulty<S> {
    type Error = FaultyError<S::Error>;

    fn geometry(&self) -> Geometry {
        self.live.geometry()
    }

    fn segments(&mut self, visit: &mut dyn FnMut(Found) -> ControlFlow<()>) -> Result<(), Self::Error> {
        self.check(Method::Segments, ())?;
        self.live.segments(visit).map_err(FaultyError::Inner)
    }

    fn create(&mut self, id: SegmentId, header: &[u8]) -> Result<(), Self::Error> {
        self.check(Method::Create, ())?;
        self.live.create(id, header).map_err(FaultyError::Inner)?;
        self.durable.create(id, header).map_err(FaultyError::Inner)
    }

    fn claim(&mut self, id: SegmentId, end: u32) -> Result<(), Self::Error> {
        self.check(Method::Claim, ())?;
        self.live.claim(id, end).map_err(FaultyError::Inner)?;
        self.durable.claim(id, end).map_err(FaultyError::Inner)
    }

    fn extent(&mut self, id: SegmentId) -> Result<u32, Self::Error> {
        self.check(Method::Extent, ())?;
        self.live.extent(id).map_err(FaultyError::Inner)
    }

    fn read<'a>(
        &'a mut self,
        id: SegmentId,
        offset: u32,
        len: u32,
        buf: &'a mut [u8],
    ) -> Result<&'a [u8], Self::Error> {
        self.check(Method::Read, ())?;
        self.live.read(id, offset, len, buf).map_err(FaultyError::Inner)
    }

    fn write(&mut self, id: SegmentId, offset: u32, parts: &[&[u8]]) -> Result<(), Self::Error> {
        let unit = self.geometry().write_unit();
        let mut bytes = gathered(parts, unit);
        let checked = self.check(Method::Write, ());
        match checked {
            Err(FaultyError::Injected {
                fault: Fault::Device, ..
            }) => {
                let units = bytes.len() / unit as usize;
                bytes.truncate(units / 2 * unit as usize);
            }
            Err(_) => return checked,
            Ok(()) => {}
        }
        self.live.write(id, offset, &[&bytes]).map_err(FaultyError::Inner)?;
        if !bytes.is_empty() {
            self.unsynced.push(Unsynced {
                segment: id,
                offset,
                bytes,
                lost: false,
            });
        }
        checked
    }

    fn hand_over(&mut self, to: Mark) -> Result<(), Self::Error> {
        self.check(Method::HandOver, ())?;
        self.live.hand_over(to).map_err(FaultyError::Inner)
    }

    fn sync(&mut self, to: Mark) -> Result<(), Self::Error> {
        if let Err(error) = self.check(Method::Sync, ()) {
            let same = self.unsynced.iter_mut().filter(|write| write.segment == to.segment);
            same.for_each(|write| write.lost = true);
            return Err(error);
        }
        self.live.sync(to).map_err(FaultyError::Inner)?;
        self.persist(|write| write.segment == to.segment && write.offset < to.end && !write.lost)?;
        self.durable.sync(to).map_err(FaultyError::Inner)
    }

    fn settle(&mut self, id: SegmentId, from: u32, to: u32) -> Result<(), Self::Error> {
        self.check(Method::Settle, ())?;
        self.live.settle(id, from, to).map_err(FaultyError::Inner)?;
        self.persist(|write| {
            let end = write.offset + write.bytes.len() as u32;
            write.segment == id && write.offset < to && from < end
        })?;
        self.durable.settle(id, from, to).map_err(FaultyError::Inner)
    }

    fn remove(&mut self, id: SegmentId) -> Result<(), Self::Error> {
        self.check(Method::Remove, ())?;
        self.live.remove(id).map_err(FaultyError::Inner)?;
        self.unsynced.retain(|write| write.segment != id);
        self.durable.remove(id).map_err(FaultyError::Inner)
    }

    fn release(&mut self, slot: u32) -> Result<(), Self::Error> {
        self.check(Method::Release, ())?;
        self.live.release(slot).map_err(FaultyError::Inner)?;
        self.durable.release(slot).map_err(FaultyError::Inner)
    }
}

/// A fault that was planned, or one of the storage below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultyError<E> {
    /// This call was told to fail.
    Injected {
        /// The call.
        method: Method,
        /// How it failed.
        fault: Fault,
    },
    /// The storage below refused.
    Inner(E),
}

impl<E: fmt::Display> fmt::Display for FaultyError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Injected { method, fault } => {
                write!(f, "the call of {method:?} was told to fail as {fault:?}")
            }
            Self::Inner(_) => f.write_str("the storage below the faults refused"),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for FaultyError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Injected { .. } => None,
            Self::Inner(inner) => Some(inner),
        }
    }
}

impl<E: StorageError + 'static> embedded_io::Error for FaultyError<E> {
    fn kind(&self) -> embedded_io::ErrorKind {
        match self {
            Self::Injected { .. } => embedded_io::ErrorKind::Other,
            Self::Inner(inner) => inner.kind(),
        }
    }
}

impl<E: StorageError + 'static> StorageError for FaultyError<E> {
    fn fault(&self) -> Fault {
        match self {
            Self::Injected { fault, .. } => *fault,
            Self::Inner(inner) => inner.fault(),
        }
    }
}
