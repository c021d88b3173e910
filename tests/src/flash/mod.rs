//! A chip in memory: programmed in units, erased in blocks, and strict about it. Writing a unit a second time before
//! its block was erased whole ends the test. Knows what a loss of power may leave: everything up to the last sync, and
//! of what came later any part, torn or whole. What a failed sync forgot stays in doubt until it is programmed again.

mod awaited;
mod cells;
mod cuts;
mod drops;
mod machine;
mod nor;

use std::cell::{Ref, RefCell};
use std::fmt;
use std::ops::Range;
use std::rc::Rc;

use walstone_core::flat::{Device, DeviceGeometry};
use walstone_core::{Fault, StorageError};

use crate::medium::Phase;
pub use awaited::{AwaitedChip, Dropped, block_on};
pub use cells::{Cells, Step, Torn, TornErase};
pub use cuts::Kept;
pub use drops::{Awaiting, drops};
pub use machine::{FlashSetup, setups};
pub use nor::{AwaitedNor, NorChip};

/// The chip. Clones are the same chip, which outlives the storage on it.
#[derive(Clone, Debug)]
pub struct Chip {
    state: Rc<RefCell<State>>,
}

/// A chip at one moment.
#[derive(Clone, Debug)]
struct State {
    geometry: DeviceGeometry,
    ecc: bool,
    /// What reads show.
    seen: Cells,
    /// What the last sync left.
    synced: Cells,
    /// What came since.
    pending: Vec<Step>,
    /// The first so many of the pending steps were in a sync that failed, and no later sync covers them.
    forgotten: usize,
    erase_counts: Vec<u64>,
    /// What can no longer be erased.
    worn: Vec<Range<u32>>,
    counts: Counts,
    moments: Option<Vec<State>>,
    plans: Plans,
    session: Session,
    off: bool,
}

/// How far the process has come that uses the chip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Session {
    /// It programmed nothing yet.
    New,
    /// What it programmed first is not synced.
    Beginning,
    /// That is.
    Begun,
}

#[derive(Clone, Copy, Debug, Default)]
struct Plans {
    /// Calls until the last one.
    crash: Option<(u64, Phase)>,
    /// Syncs until one fails.
    fail_sync: Option<u64>,
    /// Programs, erases and syncs that still succeed.
    fail_after: Option<u64>,
}

/// What was moved so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls to read.
    pub reads: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Calls to program.
    pub programs: u64,
    /// Bytes programmed.
    pub bytes_programmed: u64,
    /// Blocks erased.
    pub erases: u64,
    /// Programs of a place where the first one of an earlier session had left no trace.
    pub repeats: u64,
}

impl Chip {
    /// A chip as it comes from the factory.
    #[must_use]
    pub fn new(geometry: DeviceGeometry) -> Self {
        Self::holding(geometry, Cells::blank(geometry))
    }

    /// A chip with these contents; what does not read as erased counts as programmed.
    #[must_use]
    pub fn from_bytes(geometry: DeviceGeometry, bytes: &[u8]) -> Self {
        Self::holding(geometry, Cells::unknown(geometry, bytes))
    }

    fn holding(geometry: DeviceGeometry, cells: Cells) -> Self {
        let blocks = geometry.erase_unit().map_or(0, |unit| geometry.len() / unit);
        Self {
            state: Rc::new(RefCell::new(State {
                geometry,
                ecc: false,
                seen: cells.clone(),
                synced: cells,
                pending: Vec::new(),
                forgotten: 0,
                erase_counts: vec![0; blocks as usize],
                worn: Vec::new(),
                counts: Counts::default(),
                moments: None,
                plans: Plans::default(),
                session: Session::New,
                off: false,
            })),
        }
    }

    /// The same chip, which answers reads of torn units with an ECC fault.
    #[must_use]
    pub fn with_ecc(self) -> Self {
        self.state.borrow_mut().ecc = true;
        self
    }

    /// Another chip that holds the same.
    #[must_use]
    pub fn copy(&self) -> Self {
        let mut state = self.state.borrow().clone();
        state.moments = None;
        let copy = Self {
            state: Rc::new(RefCell::new(state)),
        };
        copy.begin_session();
        copy
    }

    /// The contents.
    #[must_use]
    pub fn bytes(&self) -> Ref<'_, [u8]> {
        Ref::map(self.state.borrow(), |state| state.seen.bytes())
    }

    /// Another process, or what follows a dropped future, begins to use it.
    fn begin_session(&self) {
        self.state.borrow_mut().session = Session::New;
    }

    /// Changes contents behind the back of whoever uses the chip.
    pub fn damage(&self, change: impl Fn(&mut [u8])) {
        let mut state = self.state.borrow_mut();
        state.seen.damage(&change);
        state.synced.damage(&change);
    }

    /// Tears the program of one unit, which then lasts.
    pub fn tear(&self, offset: u32, new: &[u8], torn: Torn) {
        let mut state = self.state.borrow_mut();
        state.seen.tear(offset, new, torn, false);
        state.synced.tear(offset, new, torn, false);
    }

    /// Tears the erase of one block, which then lasts.
    pub fn tear_erase(&self, offset: u32, torn: TornErase) {
        let mut state = self.state.borrow_mut();
        state.seen.tear_erase(offset, torn);
        state.synced.tear_erase(offset, torn);
    }

    /// How often each block was erased.
    #[must_use]
    pub fn erase_counts(&self) -> Vec<u64> {
        self.state.borrow().erase_counts.clone()
    }

    /// What was done so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.state.borrow().counts
    }

    /// Lets so many more programs, erases and syncs succeed; all later ones fail. `None`: all succeed.
    pub fn fail_after(&self, calls: Option<u64>) {
        self.state.borrow_mut().plans.fail_after = calls;
    }

    /// From now on all erases of blocks within these bytes fail.
    pub fn wear_out(&self, bytes: Range<u32>) {
        self.state.borrow_mut().worn.push(bytes);
    }
}

impl State {
    /// Does what a call asks for, unless it is to fail or the power fails in it.
    fn call(&mut self, is_sync: bool, steps: impl FnOnce(&Cells) -> Vec<Step>) -> Result<(), ChipError> {
        let phase = self.before_call(is_sync)?;
        if phase != Some(Phase::Before) {
            let mut steps = steps(&self.seen);
            // Without erase, what stands there and lasts may be written again: a loss of power takes nothing of it.
            if self.pending.is_empty() {
                steps.retain(|step| !self.seen.holds(step));
            }
            let done = match phase {
                Some(Phase::Inside) => steps.len() / 2,
                _ => steps.len(),
            };
            for mut step in steps.into_iter().take(done) {
                if let Step::Program { offset, bytes, first } = &mut step {
                    *first = self.session != Session::Begun;
                    self.session = self.session.max(Session::Beginning);
                    self.counts.repeats += u64::from(self.seen.was_tried(*offset, bytes.len()));
                }
                if let Step::Erase { offset, .. } = step {
                    let block = self.geometry.erase_unit().unwrap_or(1);
                    self.erase_counts[(offset / block) as usize] += 1;
                    self.counts.erases += 1;
                }
                self.seen.apply(&step);
                self.pending.push(step);
            }
            if is_sync && phase != Some(Phase::Inside) {
                self.make_durable();
                if self.session == Session::Beginning {
                    self.session = Session::Begun;
                }
            }
            if let Some(mut moments) = self.moments.take_if(|_| is_sync || done > 0) {
                moments.push(self.clone());
                self.moments = Some(moments);
            }
        }
        if phase.is_some() {
            self.off = true;
            return Err(ChipError::Off);
        }
        Ok(())
    }

    /// Without erase the chip stands for a file too, whose cache forgets what a failed sync did not write.
    const fn may_forget(&self) -> bool {
        self.geometry.erase_unit().is_none()
    }

    /// Everything but what was forgotten and not programmed again since.
    fn make_durable(&mut self) {
        for step in self.pending.split_off(self.forgotten) {
            self.synced.apply(&step);
            if let Step::Program { offset, bytes, .. } = step {
                let again = offset..offset + bytes.len() as u32;
                self.pending = self.pending.iter().flat_map(|old| old.outside(&again)).collect();
            }
        }
        self.forgotten = self.pending.len();
    }

    fn before_call(&mut self, is_sync: bool) -> Result<Option<Phase>, ChipError> {
        if self.off {
            return Err(ChipError::Off);
        }
        if let Some(left) = &mut self.plans.fail_after {
            if *left == 0 {
                return Err(ChipError::Failed);
            }
            *left -= 1;
        }
        if is_sync && let Some(left) = &mut self.plans.fail_sync {
            *left -= 1;
            if *left == 0 {
                self.plans.fail_sync = None;
                if self.may_forget() {
                    self.forgotten = self.pending.len();
                }
                return Err(ChipError::SyncFailed);
            }
        }
        if let Some((left, phase)) = &mut self.plans.crash {
            *left -= 1;
            if *left == 0 {
                return Ok(Some(*phase));
            }
        }
        Ok(None)
    }
}

impl Device for Chip {
    type Error = ChipError;

    fn geometry(&self) -> DeviceGeometry {
        self.state.borrow().geometry
    }

    fn may_forget(&self) -> bool {
        self.state.borrow().may_forget()
    }

    fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), ChipError> {
        let mut state = self.state.borrow_mut();
        if state.off {
            return Err(ChipError::Off);
        }
        state.counts.reads += 1;
        state.counts.bytes_read += buf.len() as u64;
        if state.ecc && state.seen.is_torn(offset, buf.len()) {
            return Err(ChipError::Ecc);
        }
        state.seen.read(offset, buf);
        Ok(())
    }

    fn program(&mut self, offset: u32, bytes: &[u8]) -> Result<(), ChipError> {
        let mut state = self.state.borrow_mut();
        state.counts.programs += 1;
        state.counts.bytes_programmed += bytes.len() as u64;
        state.call(false, |cells| cells.program_steps(offset, bytes))
    }

    fn erase(&mut self, offset: u32, len: u32) -> Result<(), ChipError> {
        let mut state = self.state.borrow_mut();
        let covers = |worn: &Range<u32>| worn.start < offset + len && offset < worn.end;
        if state.worn.iter().any(covers) {
            return Err(ChipError::Failed);
        }
        state.call(false, |cells| cells.erase_steps(offset, len))
    }

    fn sync(&mut self) -> Result<(), ChipError> {
        let mut state = self.state.borrow_mut();
        state.call(true, |_| Vec::new())
    }
}

/// What a chip answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChipError {
    /// These bytes do not verify.
    Ecc,
    /// It was told to fail.
    Failed,
    /// This sync was told to fail.
    SyncFailed,
    /// The power is off.
    Off,
    /// Not of the chip: the future of the call was dropped.
    Dropped,
}

impl fmt::Display for ChipError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ecc => "the ECC fails",
            Self::Failed => "the chip does not answer",
            Self::SyncFailed => "the sync fails",
            Self::Off => "the power is off",
            Self::Dropped => "the future was dropped",
        })
    }
}

impl std::error::Error for ChipError {}

impl embedded_io::Error for ChipError {
    fn kind(&self) -> embedded_io::ErrorKind {
        match self {
            Self::Ecc => embedded_io::ErrorKind::InvalidData,
            Self::Failed => embedded_io::ErrorKind::TimedOut,
            Self::SyncFailed | Self::Off | Self::Dropped => embedded_io::ErrorKind::Other,
        }
    }
}

impl StorageError for ChipError {
    fn fault(&self) -> Fault {
        match self {
            Self::Ecc => Fault::Unreadable,
            _ => Fault::Device,
        }
    }
}
