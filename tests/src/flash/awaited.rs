//! The chip behind a driver that is awaited: every call is pending once, and there its future may be dropped, what it was
//! doing torn.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use walstone_core::asynch::flat::Device;
use walstone_core::flat::DeviceGeometry;

use super::{Chip, ChipError, Session, Step, Torn, TornErase};

/// The chip, and the only place where its calls wait. Clones are the same chip.
#[derive(Clone, Debug)]
pub struct AwaitedChip {
    /// The chip.
    pub chip: Chip,
    gate: Rc<Gate>,
}

#[derive(Debug, Default)]
struct Gate {
    /// Calls that were begun.
    begun: Cell<u64>,
    /// The call whose future is to be dropped, and what it leaves.
    planned: Cell<Option<(u64, Dropped)>>,
    /// It is to be dropped now.
    drop_now: Cell<bool>,
}

/// What a call leaves whose future is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// Nothing that shows.
    Nothing,
    /// The first half of it, the first bytes of what comes next, and a buffer half filled.
    Half,
    /// Some bits of all of it.
    Bits,
    /// All of it: only the answer is lost.
    All,
}

impl Dropped {
    /// All of them.
    pub const EACH: [Self; 4] = [Self::Nothing, Self::Half, Self::Bits, Self::All];
}

impl AwaitedChip {
    /// This chip.
    #[must_use]
    pub fn new(chip: Chip) -> Self {
        Self {
            chip,
            gate: Rc::default(),
        }
    }

    /// How many calls were begun so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.gate.begun.get()
    }

    /// The future of the `nth` call from now on, 1 being the next, is dropped.
    pub fn drop_at(&self, nth: u64, left: Dropped) {
        self.gate.planned.set(Some((self.calls() + nth, left)));
    }

    /// Whether the planned call is yet to come.
    #[must_use]
    pub fn is_to_drop(&self) -> bool {
        self.gate.planned.get().is_some()
    }

    /// Awaits to the end what uses the chip; an error where the future is dropped.
    ///
    /// # Errors
    /// What the future says, or `dropped`.
    pub fn run<T, E>(&self, future: impl Future<Output = Result<T, E>>, dropped: E) -> Result<T, E> {
        let mut future = pin!(future);
        let mut context = Context::from_waker(Waker::noop());
        loop {
            match future.as_mut().poll(&mut context) {
                Poll::Ready(outcome) => return outcome,
                Poll::Pending if self.gate.drop_now.take() => return Err(dropped),
                Poll::Pending => {}
            }
        }
    }

    /// Pending once; for ever where the future is to be dropped here, behind what it leaves.
    async fn wait(&self, leave: impl FnOnce(&Chip, Dropped)) {
        self.gate.begun.set(self.calls() + 1);
        let planned = self.gate.planned.get().filter(|(nth, _)| *nth == self.calls());
        if let Some((_, left)) = planned {
            self.gate.planned.set(None);
            leave(&self.chip, left);
            // What comes next recovers first.
            self.chip.begin_session();
            self.gate.drop_now.set(true);
            std::future::pending::<()>().await;
        }
        pending_once().await;
    }
}

/// Ready when it is asked a second time.
pub(super) async fn pending_once() {
    let mut asked = false;
    poll_fn(|_| {
        if std::mem::replace(&mut asked, true) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

/// Polls a future until it is ready: one that waits for nothing but itself.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(outcome) = future.as_mut().poll(&mut context) {
            return outcome;
        }
    }
}

impl Chip {
    /// What a call leaves of these steps when its future is dropped.
    fn interrupt(&self, steps: Vec<Step>, left: Dropped) {
        let half = steps.len() / 2;
        let (whole, torn) = match left {
            Dropped::Nothing => (0, Some((Torn::Untouched, TornErase::Untouched))),
            Dropped::Half => (half, Some((Torn::Prefix, TornErase::Half))),
            Dropped::Bits => (half, Some((Torn::Bits(0x5eed), TornErase::Bits(0x5eed)))),
            Dropped::All => (steps.len(), None),
        };
        let mut state = self.state.borrow_mut();
        let first = state.session != Session::Begun;
        for (nth, step) in steps.into_iter().enumerate() {
            let step = match (torn, step) {
                (Some((torn, _)), Step::Program { offset, bytes, .. }) if nth >= whole => Step::TornProgram {
                    offset,
                    bytes,
                    torn,
                    first,
                },
                (Some((_, torn)), Step::Erase { offset }) if nth >= whole => Step::TornErase { offset, torn },
                (_, step) => step,
            };
            state.seen.apply(&step);
            state.pending.push(step);
            if left != Dropped::Bits && nth >= whole {
                break;
            }
        }
    }
}

impl Device for AwaitedChip {
    type Error = ChipError;

    fn geometry(&self) -> DeviceGeometry {
        self.chip.state.borrow().geometry
    }

    fn may_forget(&self) -> bool {
        walstone_core::flat::Device::may_forget(&self.chip)
    }

    async fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), ChipError> {
        let leave = |_: &Chip, left| {
            // No driver promises that a buffer is whole or untouched then.
            let filled = if left == Dropped::Nothing {
                0
            } else {
                buf.len().div_ceil(2)
            };
            buf[..filled].fill(0xa5);
        };
        self.wait(leave).await;
        walstone_core::flat::Device::read(&mut self.chip, offset, buf)
    }

    async fn program(&mut self, offset: u32, bytes: &[u8]) -> Result<(), ChipError> {
        let leave = |chip: &Chip, left| {
            let steps = chip.state.borrow().seen.program_steps(offset, bytes);
            chip.interrupt(steps, left);
        };
        self.wait(leave).await;
        walstone_core::flat::Device::program(&mut self.chip, offset, bytes)
    }

    async fn erase(&mut self, offset: u32, len: u32) -> Result<(), ChipError> {
        let leave = |chip: &Chip, left| {
            let steps = chip.state.borrow().seen.erase_steps(offset, len);
            chip.interrupt(steps, left);
        };
        self.wait(leave).await;
        walstone_core::flat::Device::erase(&mut self.chip, offset, len)
    }

    async fn sync(&mut self) -> Result<(), ChipError> {
        let leave = |chip: &Chip, left| {
            if left == Dropped::All {
                chip.state.borrow_mut().make_durable();
            }
        };
        self.wait(leave).await;
        walstone_core::flat::Device::sync(&mut self.chip)
    }
}
