//! Exploration: cuts a word at every moment of its last operation, opens each image that may be left, and cuts the
//! recovery and the first append after it again.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use walstone_core::Tail;

use super::history::Op;
use super::machine::{Left, Machine, Subject};
use super::model::{Found, Seen};
use super::run::{Counters, Life, Stop, Violation, observe_read_only};
use crate::medium::Limits;

/// What was explored, and what was met on the way.
#[derive(Debug)]
pub struct Explorer {
    /// Which images of a crash are looked at.
    pub limits: Limits,
    /// How often a recovery is cut short in turn.
    pub depth: u8,
    /// How deep each pair of image and obligations was explored.
    seen: HashMap<u64, u8>,
    hits: BTreeMap<&'static str, u64>,
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
            seen: HashMap::new(),
            hits: BTreeMap::new(),
        }
    }

    /// Distinct pairs of image and obligations so far.
    #[must_use]
    pub fn pairs(&self) -> usize {
        self.seen.len()
    }

    /// How often each outcome was met.
    #[must_use]
    pub const fn hits(&self) -> &BTreeMap<&'static str, u64> {
        &self.hits
    }

    pub(super) fn hit(&mut self, outcome: &'static str) {
        *self.hits.entry(outcome).or_default() += 1;
    }

    /// Explores the last operation of `word` behind `prelude`; what comes before it is taken as explored.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn word<M: Machine>(&mut self, machine: &M, prelude: &[Op], word: &[Op]) -> Result<(), Failure> {
        let Some((&last, before)) = word.split_last() else {
            return Ok(());
        };
        let explored = guarded(|| {
            let mut life = Life::create(machine)?;
            for &op in prelude.iter().chain(before) {
                life.perform(op)?;
            }
            life.record();
            match life.perform(last) {
                Ok(()) | Err(Stop::Poisoned) => {}
                Err(stop) => return Err(stop.into()),
            }
            self.moments(machine, &life, self.depth)?;
            self.end(machine, &life, self.depth)
        });
        explored.map_err(|failure| failure.behind(format!("on {}: {prelude:?} then {word:?}", machine.name())))
    }

    /// Cuts the making of a region at every moment.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn creation<M: Machine>(&mut self, machine: &M) -> Result<(), Failure> {
        let nothing = Found::only(std::rc::Rc::default());
        let explored = guarded(|| {
            let mut made = Life::attach(machine, &machine.blank(), &nothing, Counters::default());
            made.record();
            made.create_log()?;
            let counters = made.counters();
            let limits = self.limits;
            for moment in 0..machine.moments(made.process()) {
                let mut failure = None;
                let mut again = |left: Left<'_, M::Image>| {
                    let image = (left.image)();
                    let mut life = Life::attach(machine, &image, &nothing, counters);
                    let probed = life.create_log().and_then(|()| life.probe()).map_err(Failure::from);
                    self.hit("created again");
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
            if self.is_explored(machine, left.digest, found, depth) {
                return ControlFlow::Continue(());
            }
            let checked = guarded(|| self.check(machine, &(left.image)(), found, counters, depth));
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
    fn is_explored<M: Machine>(&mut self, machine: &M, image: u64, found: &Found, depth: u8) -> bool {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        (machine.name(), image, found.digest()).hash(&mut hasher);
        match self.seen.entry(hasher.finish()) {
            Entry::Occupied(explored) if *explored.get() >= depth => true,
            explored => {
                explored.insert_entry(depth);
                false
            }
        }
    }

    /// Checks that a new process recovers from `image` what is to be found.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn check<M: Machine>(
        &mut self,
        machine: &M,
        image: &M::Image,
        found: &Found,
        counters: Counters,
        depth: u8,
    ) -> Result<(), Failure> {
        let mut seen = Seen::default();
        observe_read_only(machine, image, counters.opens + 1, &mut seen)?;
        let state = found.judge(&seen).map_err(Violation::Recovered)?;
        // Nothing but a loss of power can change what is found from now on.
        let settled = machine.is_settled(image);
        let found = if settled {
            Found::only(state.clone())
        } else {
            found.clone()
        };

        let mut life = Life::attach(machine, image, &found, counters);
        if depth > 0 {
            life.record();
        }
        life.open()?;
        if *life.newest() != state {
            return Err(Violation::OpensDisagree.into());
        }
        self.count(&life);
        self.agree(machine, &life, "open")?;
        life.probe()?;
        if life.log().is_some_and(Subject::moved_on) {
            self.hit("went on in a new segment");
        }
        self.agree(machine, &life, "open, append, sync")?;
        if depth == 0 {
            return Ok(());
        }
        self.moments(machine, &life, depth - 1)
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
            let observed = observe_read_only(machine, &(found.image)(), opens, &mut seen);
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

    fn count<M: Machine>(&mut self, life: &Life<'_, M>) {
        let Some(report) = life.log().and_then(Subject::report) else {
            return;
        };
        self.hit(match report.tail {
            Tail::New => "new",
            Tail::Closed => "closed",
            Tail::Clean => "clean",
            Tail::Torn { .. } => "torn",
        });
        if report.removed_segments > 0 {
            self.hit("segments removed");
        }
        if report.released_slots > 0 {
            self.hit("slots released");
        }
        if report.settled_bytes > 0 {
            self.hit("settled");
        }
        if report.segments > 1 {
            self.hit("several segments");
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
