//! What a history runs on, behind two small traits: segments in memory, a flat device below the slot adapter and
//! files below a whole backend share the words, the oracle and the explorer. Knows no medium itself.

use std::fmt::Debug;
use std::ops::ControlFlow;

use walstone_core::{Position, Report};

use super::model::{Change, Record, Seen};
use crate::medium::{Limits, Phase};

/// How a log is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// For writing; made where there is none.
    Create,
    /// For writing.
    Write,
    /// For reading: changes nothing.
    Read,
}

/// Why a call of a log failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// The planned crash came.
    Crashed,
    /// The sync that was to fail failed.
    SyncFailed {
        /// Whether the log says that it takes no more writes.
        poisoned: bool,
    },
    /// No room, and the log is as it was.
    Full,
    /// The log takes no more writes, since an earlier call.
    Ended,
    /// What no history leads to, in the log's words.
    Other(String),
}

/// The log under test, whatever it stands on.
pub trait Subject {
    /// Appends `changes` as one batch; gives the last sequence.
    ///
    /// # Errors
    /// [`Denied`].
    fn append(&mut self, changes: &[Change]) -> Result<u64, Denied>;

    /// Makes durable what was appended.
    ///
    /// # Errors
    /// [`Denied`].
    fn sync(&mut self) -> Result<(), Denied>;

    /// Makes what was appended survive the process.
    ///
    /// # Errors
    /// [`Denied`].
    fn hand_over(&mut self) -> Result<(), Denied>;

    /// Gives up dead segments.
    ///
    /// # Errors
    /// [`Denied`].
    fn reclaim(&mut self) -> Result<(), Denied>;

    /// Ends the session.
    ///
    /// # Errors
    /// [`Denied`].
    fn close(&mut self) -> Result<(), Denied>;

    /// Reads everything into `seen`, which is empty.
    ///
    /// # Errors
    /// What could not be read.
    fn observe(&mut self, seen: &mut Seen) -> Result<(), String>;

    /// Reads everything by the other ways there are.
    ///
    /// # Errors
    /// What could not be read, or differs from `seen`.
    fn compare(&mut self, seen: &Seen) -> Result<(), String>;

    /// Where the records appended since the open stand, where the log tells.
    fn positions(&self) -> &[(Record, Position)] {
        &[]
    }

    /// Looks up where records stood in an earlier session or before a crash.
    ///
    /// # Errors
    /// Where a record of `seen` is not found there, or another one is.
    fn compare_at(&mut self, _at: &[(Record, Position)], _seen: &Seen) -> Result<(), String> {
        Ok(())
    }

    /// Leaves appends so far out of all later counts.
    fn forget_appends(&mut self) {}

    /// How many appends since the open the log calls durable.
    fn durable_count(&self) -> usize;

    /// What the open found and did, where the log tells.
    fn report(&self) -> Option<Report>;

    /// Whether the log went on in another segment than the open found newest.
    fn moved_on(&self) -> bool;

    /// Whether what the open read last was cut off in part by an earlier session, as far as that is easy to tell.
    fn is_healed(&mut self) -> bool {
        false
    }
}

/// What to go wrong in a process.
#[derive(Clone, Copy, Debug)]
pub enum Plan {
    /// The `nth` mutating call from now is the last one, 1 being the next.
    Crash(u64, Phase),
    /// The `nth` sync from now fails: it may or may not reach anything, and no later one tries again.
    FailSync(u64),
    /// Nothing.
    Nothing,
}

/// One image that a crash may leave.
pub struct Left<'a, I> {
    /// The same for the same image, in every run; torn bytes may count by their place and kind.
    pub digest: u64,
    /// How it came to be.
    pub how: &'a dyn Debug,
    /// Makes it.
    pub image: &'a mut dyn FnMut() -> I,
}

impl<I> Debug for Left<'_, I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Left({:x}, {:?})", self.digest, self.how)
    }
}

/// Takes one image after the other.
pub type Visit<'a, I> = dyn FnMut(Left<'_, I>) -> ControlFlow<()> + 'a;

/// A medium that remembers every moment at which a crash could fall, and the log on it.
pub trait Machine {
    /// What lies there while no process runs. May hold writes that the next loss of power takes away.
    type Image: Clone;
    /// A running process and the medium that it works on.
    type Process;
    /// The log that a process opens.
    type Log: Subject;

    /// For reports.
    fn name(&self) -> &'static str;

    /// Bytes of a value that reaches over two units.
    fn two_units_len(&self) -> u32;

    /// Bytes of the largest value that fits a segment.
    fn largest_len(&self) -> u32;

    /// A medium that nothing was ever done with.
    fn blank(&self) -> Self::Image;

    /// A number for what a process would find on `image`.
    fn digest(&self, image: &Self::Image) -> u64;

    /// Whether a loss of power would take nothing of it.
    fn is_settled(&self, image: &Self::Image) -> bool;

    /// Starts a process on it. With `record`, its moments are remembered from here on.
    fn boot(&self, image: Self::Image, record: bool) -> Self::Process;

    /// Remembers moments from here on.
    fn record(&self, process: &mut Self::Process);

    /// Opens the log; `nth` is all the entropy there is.
    ///
    /// # Errors
    /// [`Denied`].
    fn open(&self, process: &mut Self::Process, how: How, nth: u64) -> Result<Self::Log, Denied>;

    /// Plans a crash or a fault.
    fn plan(&self, process: &mut Self::Process, plan: Plan);

    /// Programs of a place where an earlier session's first one was interrupted without a trace.
    fn repeats(&self, _process: &Self::Process) -> u64 {
        0
    }

    /// Whether the planned crash came.
    fn has_crashed(&self, process: &Self::Process) -> bool;

    /// How many moments are remembered: one for each call that changed what a crash may leave.
    fn moments(&self, process: &Self::Process) -> usize;

    /// Shows every image, within the limits, that a loss of power may leave: at a remembered moment, or now.
    fn power_loss(
        &self,
        process: &Self::Process,
        moment: Option<usize>,
        limits: &Limits,
        visit: &mut Visit<'_, Self::Image>,
    ) -> ControlFlow<()>;

    /// Shows every image that the next process may find if this one dies, the power staying on.
    fn process_death(
        &self,
        process: &Self::Process,
        moment: Option<usize>,
        visit: &mut Visit<'_, Self::Image>,
    ) -> ControlFlow<()>;
}
