//! A chip in memory: programmed in units, erased in blocks, and strict about it. Writing a unit a second time before
//! its block was erased whole ends the test. Notes every step, so that what a loss of power may leave can be made from
//! the notes.

mod cuts;
mod nor;

use std::cell::{Ref, RefCell};
use std::fmt;
use std::ops::Range;
use std::rc::Rc;

use walstone_core::flat::{Device, DeviceGeometry};
use walstone_core::{Fault, StorageError};

pub use cuts::{Torn, TornErase};
pub use nor::NorChip;

/// The chip. Clones are the same chip, which outlives the storage on it.
#[derive(Clone, Debug)]
pub struct Chip {
    state: Rc<RefCell<State>>,
}

/// What a chip holds.
#[derive(Clone, Debug)]
struct State {
    geometry: DeviceGeometry,
    ecc: bool,
    bytes: Vec<u8>,
    units: Vec<Unit>,
    erase_counts: Vec<u64>,
    counts: Counts,
    trace: Option<Vec<Step>>,
    fails_after: Option<u64>,
}

/// What is known of one write unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Unit {
    /// Erased whole, and not programmed since.
    Fresh,
    /// Programmed.
    Written,
    /// A program was interrupted: where there is ECC, it fails.
    Torn,
    /// An erase was interrupted: must be erased again, whatever it reads as.
    Worn,
}

/// One step of a chip that a loss of power can interrupt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// One write unit is programmed.
    Program {
        /// Where it starts.
        offset: u32,
        /// What is written.
        bytes: Vec<u8>,
    },
    /// One block is erased.
    Erase {
        /// Where it starts.
        offset: u32,
    },
    /// What came before lasts.
    Sync,
}

/// Bytes moved so far, and calls.
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
}

impl Chip {
    /// A chip as it comes from the factory.
    #[must_use]
    pub fn new(geometry: DeviceGeometry) -> Self {
        let len = geometry.len() as usize;
        let blocks = geometry.erase_unit().map_or(0, |unit| len / unit as usize);
        Self {
            state: Rc::new(RefCell::new(State {
                geometry,
                ecc: false,
                bytes: vec![geometry.erased().unwrap_or(0); len],
                units: vec![Unit::Fresh; len / usize::from(geometry.write_unit())],
                erase_counts: vec![0; blocks],
                counts: Counts::default(),
                trace: None,
                fails_after: None,
            })),
        }
    }

    /// A chip with these contents, of which nobody knows how they came there.
    #[must_use]
    pub fn from_bytes(geometry: DeviceGeometry, bytes: &[u8]) -> Self {
        let chip = Self::new(geometry);
        {
            let mut state = chip.state.borrow_mut();
            state.units.fill(Unit::Written);
            state.bytes.copy_from_slice(bytes);
        }
        chip
    }

    /// The same chip, which answers reads of torn units with an ECC fault.
    #[must_use]
    pub fn with_ecc(self) -> Self {
        self.state.borrow_mut().ecc = true;
        self
    }

    /// Another chip with the same contents.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self {
            state: Rc::new(RefCell::new(self.state.borrow().clone())),
        }
    }

    /// The contents.
    #[must_use]
    pub fn bytes(&self) -> Ref<'_, [u8]> {
        Ref::map(self.state.borrow(), |state| state.bytes.as_slice())
    }

    /// Changes contents behind the back of whoever uses the chip.
    pub fn damage(&self, change: impl FnOnce(&mut [u8])) {
        change(&mut self.state.borrow_mut().bytes);
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

    /// Notes steps from now on.
    pub fn start_trace(&self) {
        self.state.borrow_mut().trace = Some(Vec::new());
    }

    /// The steps since [`Chip::start_trace`], which are noted no more.
    #[must_use]
    pub fn take_trace(&self) -> Vec<Step> {
        self.state.borrow_mut().trace.take().unwrap_or_default()
    }

    /// Lets `steps` more programs, erases and syncs succeed; all later ones fail. `None`: all succeed.
    pub fn fail_after(&self, steps: Option<u64>) {
        self.state.borrow_mut().fails_after = steps;
    }
}

impl State {
    fn unit(&self) -> usize {
        usize::from(self.geometry.write_unit())
    }

    fn note(&mut self, step: impl FnOnce() -> Step) {
        if let Some(trace) = &mut self.trace {
            trace.push(step());
        }
    }

    fn step(&mut self) -> Result<(), ChipError> {
        match &mut self.fails_after {
            Some(0) => Err(ChipError::Off),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn range(&self, offset: u32, len: usize) -> Range<usize> {
        let range = offset as usize..offset as usize + len;
        assert!(
            range.end <= self.bytes.len(),
            "{range:?} passes the end of the chip at {}",
            self.bytes.len()
        );
        range
    }

    fn units(&self, range: &Range<usize>) -> Range<usize> {
        let unit = self.unit();
        assert!(
            range.start.is_multiple_of(unit) && range.end.is_multiple_of(unit),
            "{range:?} is not made of units of {unit} bytes"
        );
        range.start / unit..range.end / unit
    }

    fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), ChipError> {
        let range = self.range(offset, buf.len());
        self.counts.reads += 1;
        self.counts.bytes_read += buf.len() as u64;
        if self.ecc && !range.is_empty() {
            let units = range.start / self.unit()..range.end.div_ceil(self.unit());
            if self.units[units].contains(&Unit::Torn) {
                return Err(ChipError::Ecc);
            }
        }
        buf.copy_from_slice(&self.bytes[range]);
        Ok(())
    }

    fn program(&mut self, offset: u32, bytes: &[u8]) -> Result<(), ChipError> {
        self.step()?;
        let range = self.range(offset, bytes.len());
        let units = self.units(&range);
        self.counts.programs += 1;
        self.counts.bytes_programmed += bytes.len() as u64;
        if self.geometry.erase_unit().is_some() {
            for index in units.clone() {
                let state = self.units[index];
                let at = index * self.unit();
                assert_eq!(state, Unit::Fresh, "the unit at {at} is programmed again");
            }
        }
        self.units[units].fill(Unit::Written);
        for (part, at) in bytes.chunks(self.unit()).zip((offset..).step_by(self.unit())) {
            self.note(|| Step::Program {
                offset: at,
                bytes: part.to_vec(),
            });
        }
        self.bytes[range].copy_from_slice(bytes);
        Ok(())
    }

    fn erase(&mut self, offset: u32, len: u32) -> Result<(), ChipError> {
        self.step()?;
        let block = self.geometry.erase_unit().expect("a chip without erase is not erased");
        assert!(
            offset.is_multiple_of(block) && len.is_multiple_of(block),
            "an erase of {len} bytes at {offset} does not cover blocks of {block}"
        );
        let range = self.range(offset, len as usize);
        let units = self.units(&range);
        self.units[units].fill(Unit::Fresh);
        self.bytes[range].fill(self.geometry.erased().unwrap_or(0));
        for at in (offset..offset + len).step_by(block as usize) {
            self.erase_counts[(at / block) as usize] += 1;
            self.counts.erases += 1;
            self.note(|| Step::Erase { offset: at });
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), ChipError> {
        self.step()?;
        self.note(|| Step::Sync);
        Ok(())
    }
}

impl Device for Chip {
    type Error = ChipError;

    fn geometry(&self) -> DeviceGeometry {
        self.state.borrow().geometry
    }

    fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), ChipError> {
        self.state.borrow_mut().read(offset, buf)
    }

    fn program(&mut self, offset: u32, bytes: &[u8]) -> Result<(), ChipError> {
        self.state.borrow_mut().program(offset, bytes)
    }

    fn erase(&mut self, offset: u32, len: u32) -> Result<(), ChipError> {
        self.state.borrow_mut().erase(offset, len)
    }

    fn sync(&mut self) -> Result<(), ChipError> {
        self.state.borrow_mut().sync()
    }
}

/// What a chip answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChipError {
    /// These bytes do not verify.
    Ecc,
    /// It was told to fail.
    Off,
}

impl fmt::Display for ChipError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ecc => "the ECC fails",
            Self::Off => "the chip does not answer",
        })
    }
}

impl std::error::Error for ChipError {}

impl embedded_io::Error for ChipError {
    fn kind(&self) -> embedded_io::ErrorKind {
        match self {
            Self::Ecc => embedded_io::ErrorKind::InvalidData,
            Self::Off => embedded_io::ErrorKind::TimedOut,
        }
    }
}

impl StorageError for ChipError {
    fn fault(&self) -> Fault {
        match self {
            Self::Ecc => Fault::Unreadable,
            Self::Off => Fault::Device,
        }
    }
}
