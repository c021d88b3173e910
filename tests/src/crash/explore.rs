//! Exploration: cuts a word at every moment of its last operation, opens each image that may be left, and cuts the
//! recovery and the first append after it again.

use std::fmt;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use walstone_core::Tail;

use super::history::{Op, shrink};
use super::machine::{Left, Machine, Subject};
use super::model::{Found, Seen};
use super::pairs::Pairs;
use super::rows::{Hits, Row};
use super::run::{Counters, Life, Stop, Violation, observe_read_only};
use crate::deadline::Deadline;
use crate::medium::Limits;
use crate::repeatable::Digest;

/// What was explored, and what was met on the way.
#[derive(Debug)]
pub struct Explorer {
    /// Which images of a crash are looked at.
    pub limits: Limits,
    /// How often a recovery is cut short in turn.
    pub depth: u8,
    /// Where it ends early.
    pub bound: Bound,
    pairs: Arc<Pairs>,
    hits: Hits,
    cut_short: bool,
}

/// So far an exploration goes at most; it may be in the middle of a history.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// Pairs, those of all threads together.
    pub pairs: usize,
    /// Time.
    pub deadline: Deadline,
}

impl Bound {
    /// To the end of every history.
    pub const NONE: Self = Self {
        pairs: usize::MAX,
        deadline: Deadline::NEVER,
    };
}

/// A broken promise, and how to get there.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What is broken.
    pub violation: Violation,
    /// Step by step.
    pub trail: Vec<String>,
}

impl Failure {
    /// The same, met behind `step`.
    #[must_use]
    pub fn behind(mut self, step: String) -> Self {
        self.trail.insert(0, step);
        self
    }
}

impl From<Violation> for Failure {
    fn from(violation: Violation) -> Self {
        Self {
            violation,
            trail: Vec::new(),
        }
    }
}

/// Of a run that must not have ended.
impl From<Stop> for Failure {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Violation(violation) => violation.into(),
            Stop::Crashed | Stop::Poisoned => Violation::Unrepeatable.into(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.violation)?;
        self.trail.iter().try_for_each(|step| write!(f, "\n  {step}"))
    }
}

impl std::error::Error for Failure {}

/// All combinations of up to 16 pending units; of more, none, all, each one missing, each one alone, all prefixes, all
/// suffixes, and random ones.
#[must_use]
pub fn full_limits(seed: u64) -> Limits {
    Limits {
        seed,
        ..Limits::default()
    }
}

/// Images that tell the most where there are many.
#[must_use]
pub fn telling_limits(seed: u64) -> Limits {
    Limits {
        exhaustive: 6,
        places: 10,
        random: 4,
        torn: true,
        seed,
    }
}

impl Explorer {
    /// Nothing explored yet.
    #[must_use]
    pub fn new(limits: Limits, depth: u8) -> Self {
        Self {
            limits,
            depth,
            bound: Bound::NONE,
            pairs: Arc::default(),
            hits: Hits::default(),
            cut_short: false,
        }
    }

    /// One more for another thread, which explores no pair that this one did.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self {
            hits: Hits::default(),
            pairs: self.pairs.clone(),
            cut_short: false,
            ..*self
        }
    }

    /// Takes in what another thread met.
    pub fn join(&mut self, other: &Self) {
        self.hits.add(&other.hits);
    }

    /// Distinct pairs of image and obligations so far.
    #[must_use]
    pub fn pairs(&self) -> usize {
        self.pairs.len()
    }

    /// Whether the bound is reached, or memory sets an end: then nothing more is to be begun, and what was under way is cut
    /// short.
    pub fn is_over(&mut self) -> bool {
        let is_over = self.pairs() >= self.bound.pairs || self.pairs.is_full() || self.bound.deadline.has_passed();
        self.cut_short |= is_over;
        is_over
    }

    /// Whether something was left out since the bound was reached.
    #[must_use]
    pub const fn is_cut_short(&self) -> bool {
        self.cut_short
    }

    /// What was met how often.
    #[must_use]
    pub const fn hits(&self) -> &Hits {
        &self.hits
    }

    pub(crate) const fn hit(&mut self, row: Row) {
        self.hits.hit(row);
    }

    /// Explores the last operation of `word` behind `prelude`; what comes before it is taken as explored. A failure
    /// names the shortest history that fails.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn word<M: Machine>(&mut self, machine: &M, prelude: &[Op], word: &[Op]) -> Result<(), Failure> {
        let ops = [prelude, word].concat();
        let Err(failure) = self.last_of(machine, &ops) else {
            return Ok(());
        };
        let mut alone = Self::new(self.limits, self.depth);
        let (shortest, shrunk) = shrink(&ops, |ops| {
            alone.pairs = Arc::default();
            alone.last_of(machine, ops).err()
        });
        let history = format!("on {}: {shortest:?}, shrunk from {ops:?}", machine.name());
        Err(shrunk.unwrap_or(failure).behind(history))
    }

    fn last_of<M: Machine>(&mut self, machine: &M, ops: &[Op]) -> Result<(), Failure> {
        let Some((&last, before)) = ops.split_last() else {
            return Ok(());
        };
        guarded(|| {
            let mut life = Life::create(machine)?;
            for &op in before {
                if !life.can_perform(op) {
                    return Ok(());
                }
                match life.perform(op) {
                    Ok(()) | Err(Stop::Poisoned) => {}
                    Err(stop) => return Err(stop.into()),
                }
            }
            if !life.can_perform(last) {
                return Ok(());
            }
            life.record();
            match life.perform(last) {
                Ok(()) => {}
                Err(Stop::Poisoned) => self.hit(Row::Poisoned),
                Err(stop) => return Err(stop.into()),
            }
            self.moments(machine, &life, self.depth)?;
            self.end(machine, &life, self.depth)
        })
    }

    /// Cuts the making of a region at every moment.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn creation<M: Machine>(&mut self, machine: &M) -> Result<(), Failure> {
        let nothing = Found::only(std::rc::Rc::default());
        let explored = guarded(|| {
            let mut made = Life::attach(machine, machine.blank(), &nothing, Counters::default());
            made.record();
            made.create_log()?;
            let counters = made.counters();
            let limits = self.limits;
            for moment in 0..machine.moments(made.process()) {
                if self.is_over() {
                    break;
                }
                let mut failure = None;
                let mut again = |left: Left<'_, M::Image>| {
                    let mut life = Life::attach(machine, (left.image)(), &nothing, counters);
                    let probed = life.create_log().and_then(|()| life.probe()).map_err(Failure::from);
                    self.hit(Row::MadeAgain);
                    match probed.and_then(|()| self.end(machine, &life, 0)) {
                        Ok(()) => ControlFlow::Continue(()),
                        Err(found) => {
                            failure = Some(found.behind(format!("{:?}", left.how)));
                            ControlFlow::Break(())
                        }
                    }
                };
                let flow = machine.process_death(made.process(), Some(moment), &mut again);
                if flow.is_continue() {
                    let _ = machine.power_loss(made.process(), Some(moment), &limits, &mut again);
                }
                if let Some(failure) = failure {
                    return Err(failure.behind(format!("crash at moment {moment}")));
                }
            }
            Ok(())
        });
        explored.map_err(|failure| failure.behind(format!("making a region on {}", machine.name())))
    }

    /// Checks everything that a crash within the recorded calls of `life` may leave.
    fn moments<M: Machine>(&mut self, machine: &M, life: &Life<'_, M>, depth: u8) -> Result<(), Failure> {
        for span in life.spans() {
            for moment in span.moments.clone() {
                if self.is_over() {
                    return Ok(());
                }
                self.crash(
                    machine,
                    life,
                    Some(moment),
                    [&span.power_loss, &span.process_death],
                    depth,
                )
                .map_err(|failure| {
                    let count = machine.moments(life.process());
                    failure.behind(format!("crash at moment {moment} of {count}"))
                })?;
            }
        }
        Ok(())
    }

    /// Checks everything that may be found when `life` ends here.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn end<M: Machine>(&mut self, machine: &M, life: &Life<'_, M>, depth: u8) -> Result<(), Failure> {
        self.crash(machine, life, None, [&life.left(true), &life.left(false)], depth)
    }

    fn crash<M: Machine>(
        &mut self,
        machine: &M,
        life: &Life<'_, M>,
        moment: Option<usize>,
        [power_loss, process_death]: [&Found; 2],
        depth: u8,
    ) -> Result<(), Failure> {
        let counters = life.counters();
        let limits = self.limits;
        let mut outcome = Ok(());
        let mut check = |left: Left<'_, M::Image>, found: &Found| {
            if self.is_over() {
                return ControlFlow::Break(());
            }
            if self.is_explored(machine, left.digest, found, depth) {
                return ControlFlow::Continue(());
            }
            let checked = guarded(|| self.check(machine, (left.image)(), found, counters, depth));
            match checked {
                Ok(()) => ControlFlow::Continue(()),
                Err(failure) => {
                    outcome = Err(failure.behind(format!("power loss, {:?}", left.how)));
                    ControlFlow::Break(())
                }
            }
        };
        let flow = machine.power_loss(life.process(), moment, &limits, &mut |left| check(left, power_loss));
        if flow.is_continue() {
            let _ = machine.process_death(life.process(), moment, &mut |left| check(left, process_death));
        }
        outcome
    }

    /// Whether this pair was explored so deep already; from now on it is.
    fn is_explored<M: Machine>(&self, machine: &M, image: u64, found: &Found, depth: u8) -> bool {
        let mut digest = Digest::default();
        machine.name().bytes().for_each(|byte| digest.number(u64::from(byte)));
        digest.number(image);
        digest.number(found.digest());
        !self.pairs.insert(digest.finish(), depth)
    }

    /// Checks that a new process recovers from `image` what is to be found.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn check<M: Machine>(
        &mut self,
        machine: &M,
        image: M::Image,
        found: &Found,
        counters: Counters,
        depth: u8,
    ) -> Result<(), Failure> {
        let settled = machine.is_settled(&image);
        let mut read_only = None;
        // The third open of the others is one for reading.
        if depth > 0 || !settled {
            let mut seen = Seen::default();
            observe_read_only(machine, image.clone(), counters.opens + 1, &mut seen)?;
            read_only = Some(found.judge(&seen).map_err(Violation::Recovered)?);
        }
        // Nothing but a loss of power can change what is found from now on.
        let certain = read_only.clone().filter(|_| settled).map(Found::only);
        let mut life = Life::attach(machine, image, certain.as_ref().unwrap_or(found), counters);
        if depth > 0 {
            life.record();
        }
        life.open()?;
        if depth > 0 || !settled {
            life.compare()?;
        }
        if read_only.is_some_and(|state| *life.newest() != state) {
            return Err(Violation::OpensDisagree.into());
        }
        self.count_open(&mut life);
        if !settled {
            self.agree(machine, &life, "open")?;
        }
        let refusals = life.counters().refusals;
        life.probe()?;
        self.count_session(&life, refusals);
        if machine.repeats(life.process()) > 0 {
            self.hit(Row::Repeated);
        }
        if depth == 0 {
            return self.agree(machine, &life, "open, append, sync");
        }
        self.moments(machine, &life, depth - 1)
            .and_then(|()| self.end(machine, &life, depth - 1))
            .map_err(|failure| failure.behind("open, append, sync".into()))
    }

    /// Whether a third open agrees after the power failed now.
    fn agree<M: Machine>(&mut self, machine: &M, life: &Life<'_, M>, behind: &str) -> Result<(), Failure> {
        let opens = life.counters().opens + 1;
        let limits = self.limits;
        let left = life.left(true);
        let mut outcome = Ok(());
        let _ = machine.power_loss(life.process(), None, &limits, &mut |found| {
            let mut seen = Seen::default();
            let observed = observe_read_only(machine, (found.image)(), opens, &mut seen);
            let judged = observed.and_then(|()| left.judge(&seen).map_err(Violation::Recovered));
            match judged {
                Ok(_) => ControlFlow::Continue(()),
                Err(violation) => {
                    let failure = Failure::from(violation);
                    outcome = Err(failure.behind(format!("{behind}, power loss, {:?}", found.how)));
                    ControlFlow::Break(())
                }
            }
        });
        outcome
    }

    fn count_open<M: Machine>(&mut self, life: &mut Life<'_, M>) {
        let Some(log) = life.log_mut() else { return };
        let Some(report) = log.report() else { return };
        let healed = log.is_healed();
        let met = [
            (Row::Healed, healed),
            (Row::Made, report.tail == Tail::New),
            (Row::Closed, report.tail == Tail::Closed),
            (Row::Clean, report.tail == Tail::Clean),
            (Row::Torn, matches!(report.tail, Tail::Torn { .. })),
            (Row::Removed, report.removed_segments > 0),
            (Row::Released, report.released_slots > 0),
            (Row::Settled, report.settled_bytes > 0),
            (Row::SeveralSegments, report.segments > 1),
        ];
        let rows = met.into_iter().filter(|(_, met)| *met);
        rows.for_each(|(row, _)| self.hit(row));
    }

    fn count_session<M: Machine>(&mut self, life: &Life<'_, M>, refusals: u32) {
        let moved_on = life.log().is_some_and(Subject::moved_on);
        self.hit(if moved_on { Row::NewSegment } else { Row::WentOn });
        if life.counters().refusals > refusals {
            self.hit(Row::Full);
        }
    }
}

/// Runs `act`, a panic of the log being a broken promise too.
///
/// # Errors
/// [`Failure`].
pub fn guarded(act: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|_| Err(Violation::Panicked.into()))
}
