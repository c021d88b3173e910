//! Exploration: cuts a word at every call of its last operation, opens each image that may be left, and cuts the
//! recovery and the first append after it again.

use std::collections::hash_map::{DefaultHasher, Entry};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use walstone_core::Tail;

use super::history::Op;
use super::model::Line;
use super::run::{Counters, Found, Life, Stop, Violation, observe_read_only};
use super::setup::Setup;
use crate::medium::{Limits, Medium, Phase};

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
    trail: Vec<String>,
}

/// A broken promise, and how to get there.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What is broken.
    pub violation: Violation,
    /// Step by step.
    pub trail: Vec<String>,
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
            trail: Vec::new(),
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

    pub(super) fn fail(&self, violation: Violation) -> Failure {
        Failure {
            violation,
            trail: self.trail.clone(),
        }
    }

    pub(super) fn enter(&mut self, step: String) {
        self.trail.push(step);
    }

    pub(super) fn leave(&mut self) {
        self.trail.pop();
    }

    /// Runs `act`, a panic of the log being a broken promise too.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn guarded(&mut self, act: impl FnOnce(&mut Self) -> Result<(), Failure>) -> Result<(), Failure> {
        self.trail.clear();
        match catch_unwind(AssertUnwindSafe(|| act(self))) {
            Ok(outcome) => outcome,
            Err(_) => Err(self.fail(Violation::Panicked)),
        }
    }

    /// Explores the last operation of `word` behind `prelude`; what comes before it is taken as explored.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn word(&mut self, setup: &Setup, prelude: &[Op], word: &[Op]) -> Result<(), Failure> {
        self.enter(format!("on {}: {prelude:?} then {word:?}", setup.name));
        let Some((&last, before)) = word.split_last() else {
            self.leave();
            return Ok(());
        };
        let replayed = |explorer: &Self| {
            let mut life = Life::create(setup).map_err(|stop| explorer.stopped(stop))?;
            for &op in prelude.iter().chain(before) {
                life.perform(op).map_err(|stop| explorer.stopped(stop))?;
            }
            Ok(life)
        };
        let mut life = replayed(self)?;
        let first = life.medium().call_count();
        match life.perform(last) {
            Ok(()) | Err(Stop::Poisoned) => {}
            Err(stop) => return Err(self.stopped(stop)),
        }
        self.crash(setup, &life, self.depth)?;
        let calls = if last == Op::PowerLoss {
            0
        } else {
            life.medium().call_count() - first
        };
        for (nth, phase) in points(calls) {
            self.enter(format!("crash {phase:?} call {nth} of {calls}"));
            let mut life = replayed(self)?;
            life.handle().change(|medium| medium.crash_after(nth, phase));
            match life.perform(last) {
                Err(Stop::Crashed) => self.crash(setup, &life, self.depth)?,
                Err(Stop::Violation(violation)) => return Err(self.fail(violation)),
                // Removing what is reclaimed may fail without a word.
                Ok(()) if life.medium().has_crashed() => self.crash(setup, &life, self.depth)?,
                _ => return Err(self.fail(Violation::Unrepeatable)),
            }
            self.leave();
        }
        self.leave();
        Ok(())
    }

    /// The failure of a run that must not have ended.
    #[must_use]
    pub fn stopped(&self, stop: Stop) -> Failure {
        self.fail(match stop {
            Stop::Violation(violation) => violation,
            Stop::Crashed | Stop::Poisoned => Violation::Unrepeatable,
        })
    }

    /// Cuts the making of a region at every call.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn creation(&mut self, setup: &Setup) -> Result<(), Failure> {
        let calls = Life::create(setup)
            .map_err(|stop| self.stopped(stop))?
            .medium()
            .call_count();
        for (nth, phase) in points(calls) {
            self.enter(format!("on {}: crash {phase:?} call {nth} of creation", setup.name));
            let counters = Counters {
                values: 0,
                opens: 0,
                refusals: 0,
            };
            let found = Found::after_power_loss(Line::new(super::run::nothing()));
            let mut medium = setup.medium();
            medium.crash_after(nth, phase);
            let mut life = Life::attach(setup, medium, &found, counters);
            if life.create_log() != Err(Stop::Crashed) {
                return Err(self.fail(Violation::Unrepeatable));
            }
            let counters = life.counters();
            let mut images = life.medium().after_process_death();
            life.medium().crash_states(&self.limits, &mut |image, _| {
                images.push(image);
                ControlFlow::Continue(())
            });
            for image in images {
                let mut life = Life::attach(setup, image, &found, counters);
                let again = life.create_log().and_then(|()| life.probe());
                again.map_err(|stop| self.stopped(stop))?;
                self.hit("created again");
                self.crash(setup, &life, 0)?;
            }
            self.leave();
        }
        Ok(())
    }

    /// Checks everything that may be found when `life` ends here.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn crash(&mut self, setup: &Setup, life: &Life, depth: u8) -> Result<(), Failure> {
        let medium = life.medium();
        let counters = life.counters();
        let mut failure = None;
        let limits = self.limits;
        let left = life.left(true);
        medium.crash_states(&limits, &mut |image, survival| {
            self.enter(format!("power loss, {survival:?}"));
            if let Err(found) = self.check(setup, &image, &left, counters, depth) {
                failure = Some(found);
                return ControlFlow::Break(());
            }
            self.leave();
            ControlFlow::Continue(())
        });
        if let Some(failure) = failure {
            return Err(failure);
        }
        for medium in medium.after_process_death() {
            self.enter("death of the process".into());
            self.check(setup, &medium, &life.left(false), counters, depth)?;
            self.leave();
        }
        Ok(())
    }

    /// Checks that a new process recovers from `medium` what is to be found for.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn check(
        &mut self,
        setup: &Setup,
        medium: &Medium,
        found: &Found,
        counters: Counters,
        depth: u8,
    ) -> Result<(), Failure> {
        let mut hasher = DefaultHasher::new();
        (setup.name, medium.digest(), medium.pending_count(), found.possible()).hash(&mut hasher);
        let explored = self.seen.entry(hasher.finish());
        match explored {
            Entry::Occupied(explored) if *explored.get() >= depth => return Ok(()),
            explored => explored.insert_entry(depth),
        };
        let seen = observe_read_only(medium, setup, counters.opens + 1).map_err(|violation| self.fail(violation))?;
        let state = found.judge(&seen).map_err(|violation| self.fail(violation))?;
        // Nothing but a loss of power can change what is found from now on.
        let found = if medium.pending_count() == 0 {
            Found::after_power_loss(Line::new(state.clone()))
        } else {
            found.clone()
        };

        let mut life = Life::attach(setup, medium.clone(), &found, counters);
        life.open().map_err(|stop| self.stopped(stop))?;
        if *life.line().newest() != state {
            return Err(self.fail(Violation::OpensDisagree));
        }
        self.count(&life);
        self.agree(setup, &life, "open")?;
        life.probe().map_err(|stop| self.stopped(stop))?;
        if life.report().map(|report| report.newest) != life.written_mark().map(|mark| mark.segment) {
            self.hit("went on in a new segment");
        }
        self.agree(setup, &life, "open, append, sync")?;
        if depth == 0 {
            return Ok(());
        }
        let calls = life.medium().call_count() - medium.call_count();
        for (nth, phase) in points(calls) {
            self.enter(format!("open, append, sync; crash {phase:?} call {nth} of {calls}"));
            let mut life = Life::attach(setup, medium.clone(), &found, counters);
            life.handle().change(|medium| medium.crash_after(nth, phase));
            match life.open().and_then(|()| life.probe()) {
                Err(Stop::Violation(violation)) => return Err(self.fail(violation)),
                _ if life.medium().has_crashed() => self.crash(setup, &life, depth - 1)?,
                _ => return Err(self.fail(Violation::Unrepeatable)),
            }
            self.leave();
        }
        Ok(())
    }

    /// Whether a third open agrees after the power failed now.
    fn agree(&mut self, setup: &Setup, life: &Life, behind: &str) -> Result<(), Failure> {
        let counters = life.counters();
        let mut failure = None;
        let limits = self.limits;
        let left = life.left(true);
        life.medium().crash_states(&limits, &mut |image, survival| {
            let seen = observe_read_only(&image, setup, counters.opens + 1);
            let judged = seen.and_then(|seen| left.judge(&seen));
            match judged {
                Ok(_) => ControlFlow::Continue(()),
                Err(violation) => {
                    self.enter(format!("{behind}, power loss, {survival:?}"));
                    failure = Some(self.fail(violation));
                    ControlFlow::Break(())
                }
            }
        });
        failure.map_or(Ok(()), Err)
    }

    fn count(&mut self, life: &Life) {
        let Some(report) = life.report() else { return };
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

/// Every place in so many calls where a crash may fall: before and inside each, and behind the last.
fn points(calls: u64) -> impl Iterator<Item = (u64, Phase)> {
    let within = (1..=calls).flat_map(|nth| [(nth, Phase::Before), (nth, Phase::Inside)]);
    within.chain((calls > 0).then_some((calls, Phase::After)))
}
