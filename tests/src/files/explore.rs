//! Exploration: every state that a crash may leave in the steps of a history is made real, opened by the backend,
//! judged, and crashed again.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::ops::{AddAssign, ControlFlow};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use super::disk::Disk;
use super::expect::{Broken, Due, Expect};
use super::lie::Lie;
use super::life::{FIRST, Life, Op, Setup};
use super::observe::observe_read_only;
use super::real::Real;
use super::step::Step;
use super::survivors::Limits;
use crate::deadline::Deadline;

/// States that were looked at, by name, and how often a recovery in them was cut short in turn. Shared by threads.
#[derive(Debug, Default)]
pub struct Known(Mutex<HashMap<u64, u8>>);

/// What was explored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Histories, to their ends.
    pub words: u64,
    /// Crash states, many of them more than once.
    pub states: u64,
    /// Crashes of which not every state was looked at.
    pub sampled: u64,
}

/// A broken promise, and how to get there.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What is broken.
    pub broken: Broken,
    /// Step by step.
    pub trail: Vec<String>,
}

/// Explores in a directory of its own.
#[derive(Debug)]
pub struct Explorer<'k> {
    real: Real,
    known: &'k Known,
    limits: Limits,
    lie: Option<Lie>,
    /// When to end, be it in the middle of a history.
    pub deadline: Deadline,
    tally: Tally,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Crash {
    /// The power failed.
    Power,
    /// The process died, and the system went on.
    Process,
}

impl Known {
    /// Distinct pairs of what is on the disk and what must be found.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether this was looked at as deep as that before. From now on it was.
    fn was_explored(&self, pair: u64, depth: u8) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(&pair) {
            Some(explored) if *explored >= depth => true,
            _ => {
                known.insert(pair, depth);
                false
            }
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.words += other.words;
        self.states += other.states;
        self.sampled += other.sampled;
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.broken)?;
        self.trail.iter().rev().try_for_each(|step| write!(f, "\n  {step}"))
    }
}

impl std::error::Error for Failure {}

impl From<Broken> for Failure {
    fn from(broken: Broken) -> Self {
        Self {
            broken,
            trail: Vec::new(),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        panic!("the directory of the simulator: {error}")
    }
}

impl Failure {
    fn behind(mut self, step: impl FnOnce() -> String) -> Self {
        self.trail.push(step());
        self
    }
}

impl<'k> Explorer<'k> {
    /// Explores on a disk that tells the truth, or does not.
    ///
    /// # Errors
    /// Those of making a directory.
    pub fn new(known: &'k Known, limits: Limits, lie: Option<Lie>) -> io::Result<Self> {
        Ok(Self {
            real: Real::new()?,
            known,
            limits,
            lie,
            deadline: Deadline::NEVER,
            tally: Tally::default(),
        })
    }

    /// What was explored so far.
    #[must_use]
    pub const fn tally(&self) -> Tally {
        self.tally
    }

    /// Explores the last operation of a history, or with `all` each of them; where the history has none, the making
    /// of the log. Each recovery is cut short in turn, `depth` times.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn word(&mut self, setup: Setup, prelude: &[Op], word: &[Op], all: bool, depth: u8) -> Result<(), Failure> {
        let explored = catch_unwind(AssertUnwindSafe(|| self.try_word(setup, prelude, word, all, depth)));
        explored
            .unwrap_or_else(|_| Err(Broken::Panicked.into()))
            .map_err(|failure| failure.behind(|| format!("{}: {prelude:?} then {word:?}", setup.name)))?;
        self.tally.words += u64::from(!self.deadline.has_passed());
        Ok(())
    }

    fn try_word(&mut self, setup: Setup, prelude: &[Op], word: &[Op], all: bool, depth: u8) -> Result<(), Failure> {
        self.real.clear()?;
        let mut life = Life::new(setup, self.real.path(), Expect::default(), 0, 0);
        life.open(&Expect::default().left(false))?;
        life.make(FIRST)?;
        for &op in prelude {
            life.perform(op)?;
        }
        let mut from = if all || word.is_empty() { 0 } else { life.step_count() };
        for (index, &op) in word.iter().enumerate() {
            match (life.applies(op), all) {
                (true, _) => {}
                // Shorter words have shown all there is.
                (false, false) => return Ok(()),
                (false, true) => continue,
            }
            if !all && index + 1 == word.len() {
                from = life.step_count();
            }
            life.perform(op)
                .map_err(|broken| Failure::from(broken).behind(|| format!("{op:?}")))?;
        }
        life.end_process();
        self.is_recorded(&Disk::default(), &life)?;
        self.crashes(&Disk::default(), &life, from, depth)
    }

    fn apply(&self, disk: &mut Disk, step: &Step) {
        match self.lie {
            Some(lie) => lie.apply(disk, step),
            None => disk.apply(step),
        }
    }

    /// The disk behind all steps of a life.
    fn replayed(&self, before: &Disk, steps: &[Step]) -> Disk {
        let mut disk = before.clone();
        steps.iter().for_each(|step| self.apply(&mut disk, step));
        disk
    }

    /// Whether every change went through the seam.
    fn is_recorded(&self, before: &Disk, life: &Life) -> Result<(), Failure> {
        let disk = self.replayed(before, &life.steps());
        let differs = self.real.differs(&disk);
        differs.map_err(|path| Broken::Unrecorded(path.display().to_string()).into())
    }

    /// Crashes a life behind each of its steps, from one on.
    ///
    /// Behind a step that only adds to what may be lost, and with the same promises before the next one, a loss of
    /// power is not looked at: whatever it leaves, it may leave behind the next step, too.
    fn crashes(&mut self, before: &Disk, life: &Life, from: usize, depth: u8) -> Result<(), Failure> {
        let steps = life.steps();
        let mut disk = self.replayed(before, &steps[..from]);
        for done in from..=steps.len() {
            if self.deadline.has_passed() {
                break;
            }
            let (promise, expect) = life.promised_at(done);
            let next = steps.get(done);
            let behind = |crash: Crash| {
                let last = done.checked_sub(1).map(|last| brief(&steps[last]));
                format!("{crash:?} fails behind step {done} of {}: {last:?}", steps.len())
            };
            self.is_removed(&disk, life, done)
                .map_err(|failure| failure.behind(|| behind(Crash::Power)))?;
            if next.is_none_or(Step::is_sync) || life.promised_at(done + 1).0 != promise {
                let mut outcome = Ok(());
                let limits = self.limits;
                let mut states = 0;
                let shown = disk.survivors(&limits, &mut |state| {
                    if self.deadline.has_passed() {
                        return ControlFlow::Break(());
                    }
                    states += 1;
                    match self.check(&state, expect, Crash::Power, life, depth) {
                        Ok(()) => ControlFlow::Continue(()),
                        Err(failure) => {
                            outcome = Err(failure.behind(|| format!("the {states}th of its states")));
                            ControlFlow::Break(())
                        }
                    }
                });
                self.tally.states += shown.states;
                self.tally.sampled += shown.sampled;
                outcome.map_err(|failure| failure.behind(|| behind(Crash::Power)))?;
            }
            self.tally.states += 1;
            self.check(&disk.behind_death(), expect, Crash::Process, life, depth)
                .map_err(|failure| failure.behind(|| behind(Crash::Process)))?;
            if let Some(step) = next {
                self.apply(&mut disk, step);
            }
        }
        Ok(())
    }

    /// A segment whose removal was acknowledged does not come back: its space is free for good.
    fn is_removed(&self, disk: &Disk, life: &Life, done: usize) -> Result<(), Failure> {
        if !life.is_acknowledged(done) {
            return Ok(());
        }
        for (path, node) in disk.tree() {
            if disk.file(node).is_some() {
                continue;
            }
            let back = disk
                .pending_in(&path)
                .find(|(name, names)| name.starts_with("seg_") && !names);
            if let Some((name, _)) = back {
                return Err(Broken::SegmentBack(path.join(name).display().to_string()).into());
            }
        }
        Ok(())
    }

    /// Opens what a crash left behind `life`, and checks all that must hold then.
    fn check(&mut self, disk: &Disk, expect: &Expect, crash: Crash, life: &Life, depth: u8) -> Result<(), Failure> {
        let setup = life.setup();
        let due = expect.left(crash == Crash::Power);
        let pair = self.pair(disk, &due, setup);
        if self.known.was_explored(pair, depth) {
            return Ok(());
        }
        self.real.fill(disk)?;
        // What costs much and seldom tells more is done in one state of eight.
        let thorough = pair.is_multiple_of(8);
        let read = match thorough {
            true => Some(due.judge(&observe_read_only(setup, self.real.path())?)?),
            false => None,
        };
        let mut next = Life::new(setup, self.real.path(), expect.clone(), life.values(), life.opens());
        let states = next.open(&due)?;
        if read.is_some_and(|read| read != states) {
            return Err(Broken::OpensDisagree.into());
        }
        if crash == Crash::Power {
            // What is durable is there for good, whenever the recovery ends.
            next.begins_with(Expect::only(&states));
        }
        let opened = next.step_count();
        let recovered = next.left(true);
        next.probe()?;
        next.end_process();
        if thorough {
            self.is_recorded(disk, &next)?;
        }
        next.left(false).judge(&observe_read_only(setup, self.real.path())?)?;

        let steps = next.steps();
        let behind =
            |stage: &'static str| move |failure: Failure| failure.behind(|| format!("nothing survives {stage}"));
        if crash == Crash::Process {
            let disk = self.replayed(disk, &steps[..opened]).durable();
            self.glance(&disk, setup, &recovered).map_err(behind("the open"))?;
        }
        let disk_now = self.replayed(disk, &steps).durable();
        self.glance(&disk_now, setup, &next.left(true))
            .map_err(behind("the appends behind the open"))?;
        if depth > 0 {
            self.crashes(disk, &next, 0, depth - 1)?;
        }
        Ok(())
    }

    /// Names a state and what must be found in it.
    fn pair(&self, disk: &Disk, due: &Due, setup: Setup) -> u64 {
        let mut hasher = DefaultHasher::new();
        (setup.name, self.lie, disk.digest(), due).hash(&mut hasher);
        hasher.finish()
    }

    /// Only looks whether what is due is there.
    fn glance(&self, disk: &Disk, setup: Setup, due: &Due) -> Result<(), Failure> {
        if self.known.was_explored(self.pair(disk, due, setup) ^ GLANCE, 0) {
            return Ok(());
        }
        self.real.fill(disk)?;
        due.judge(&observe_read_only(setup, self.real.path())?)?;
        Ok(())
    }
}

/// Tells pairs that were only glanced at from others.
const GLANCE: u64 = 0x9e37_79b9_7f4a_7c15;

fn brief(step: &Step) -> String {
    match step {
        Step::Write { file, offset, data } => {
            format!("Write {{ file: {file}, offset: {offset}, {} bytes }}", data.len())
        }
        step => format!("{step:?}"),
    }
}
