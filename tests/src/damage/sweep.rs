//! Does all damages of a kind to an image, one after the other, and counts what came of them.

use std::fmt;
use std::ops::AddAssign;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use walstone_core::frame::Kind;
use walstone_core::{Mark, SegmentId};

use super::Damage;
use super::oracle::{Expect, Oracle};
use crate::deadline::Deadline;
use crate::images::{Image, Live, Verdict};

/// What came of damages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Damages that changed a byte.
    pub cases: u64,
    /// Named by the open or by reading.
    pub reported: u64,
    /// In bytes without a meaning: nothing is lost.
    pub meaningless: u64,
    /// In a footer: a walk gives the same answers.
    pub footer: u64,
    /// Nobody vouches for the damaged bytes, and every record is there.
    pub ambiguous_whole: u64,
    /// Nobody vouches for the damaged bytes, and they are gone as after a loss of power.
    pub ambiguous_lost: u64,
    /// A prepared segment is gone that no seal names.
    pub prepared_gone: u64,
    /// The newest segment is gone, begun because the one before had no room for a session.
    pub newest_gone: u64,
    /// Records lost without a word.
    pub silent: Vec<String>,
    /// Records that were never written, errors that name no damage, logs that cannot go on, panics.
    pub wrong: Vec<String>,
    /// Damages that there was no time for.
    pub left_out: u64,
}

/// What came of one damage.
enum Class {
    Reported,
    Meaningless,
    Footer,
    AmbiguousWhole,
    AmbiguousLost,
    PreparedGone,
    NewestGone,
    Silent(String),
    Wrong(String),
}

impl Tally {
    /// Whether every damage did what it may.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.silent.is_empty() && self.wrong.is_empty()
    }

    fn count(&mut self, class: Class) {
        self.cases += 1;
        match class {
            Class::Reported => self.reported += 1,
            Class::Meaningless => self.meaningless += 1,
            Class::Footer => self.footer += 1,
            Class::AmbiguousWhole => self.ambiguous_whole += 1,
            Class::AmbiguousLost => self.ambiguous_lost += 1,
            Class::PreparedGone => self.prepared_gone += 1,
            Class::NewestGone => self.newest_gone += 1,
            Class::Silent(what) => self.silent.push(what),
            Class::Wrong(what) => self.wrong.push(what),
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.cases += other.cases;
        self.reported += other.reported;
        self.meaningless += other.meaningless;
        self.footer += other.footer;
        self.ambiguous_whole += other.ambiguous_whole;
        self.ambiguous_lost += other.ambiguous_lost;
        self.prepared_gone += other.prepared_gone;
        self.newest_gone += other.newest_gone;
        self.silent.extend(other.silent);
        self.wrong.extend(other.wrong);
        self.left_out += other.left_out;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} damages: {} named, {} without meaning, {} in footers, {} ambiguous ({} of them lost records), \
             {} prepared and {} newest segments gone; {} silent losses, {} wrong",
            self.cases,
            self.reported,
            self.meaningless,
            self.footer,
            self.ambiguous_whole + self.ambiguous_lost,
            self.ambiguous_lost,
            self.prepared_gone,
            self.newest_gone,
            self.silent.len(),
            self.wrong.len(),
        )?;
        match self.left_out {
            0 => f.write_str(", complete: yes"),
            left_out => write!(f, ", complete: no, {left_out} left out"),
        }
    }
}

/// An image to be damaged, with what is known of it.
#[derive(Debug)]
pub struct Sweep<'a> {
    image: &'a Image,
    oracle: Oracle<'a>,
    /// When to end.
    pub deadline: Deadline,
}

impl<'a> Sweep<'a> {
    /// Reads the image.
    #[must_use]
    pub fn new(image: &'a Image) -> Self {
        let oracle = Oracle::new(image);
        Self {
            image,
            oracle,
            deadline: Deadline::NEVER,
        }
    }

    /// Does each of them alone, on all processors.
    #[must_use]
    pub fn run(&self, damages: &[Damage]) -> Tally {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut tally = Tally::default();
            while let Some(damage) = damages.get(next.fetch_add(1, Ordering::Relaxed)) {
                if self.deadline.has_passed() {
                    tally.left_out += 1;
                } else if let Some(class) = self.judge(damage) {
                    tally.count(class);
                }
            }
            tally
        };
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let mut tally = Tally::default();
        thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            for worker in workers {
                tally += worker.join().expect("panics of the log are caught");
            }
        });
        tally
    }

    fn judge(&self, damage: &Damage) -> Option<Class> {
        let damaged = damage.apply(self.image)?;
        let expect = match *damage {
            Damage::Removed(id) => self.removed(id),
            // What is not there reads as nothing, and then it is the storage that says so.
            Damage::Shorter(id, len) => match Damage::Erased(id, len).apply(self.image) {
                Some(erased) => self.oracle.expect(&erased),
                None => Expect::Meaningless,
            },
            _ => self.oracle.expect(&damaged),
        };
        let shorter = matches!(damage, Damage::Shorter(..));
        let verdict = match catch_unwind(AssertUnwindSafe(|| self.image.judge(damaged))) {
            Ok(Ok(Verdict::StorageFailed(_))) if shorter => return Some(Class::Reported),
            Ok(Ok(Verdict::StorageFailed(error))) => return Some(Class::Wrong(format!("{damage}: {error}"))),
            Ok(Ok(verdict)) => verdict,
            Ok(Err(wrong)) => return Some(Class::Wrong(format!("{damage}: {wrong}"))),
            Err(_) => return Some(Class::Wrong(format!("{damage}: panic"))),
        };
        let silent = || Class::Silent(format!("{damage}: expected {expect:?}, found {verdict:?}"));
        if verdict.is_reported() {
            // Erased bytes are what a loss of power leaves: no damage to whoever was not told that they are durable. And
            // bytes without meaning are no damage at all.
            let crash = matches!(damage, Damage::Erased(..)) && expect != Expect::Report;
            let meaningless = matches!(damage, Damage::Bit { .. }) && expect == Expect::Meaningless;
            return Some(if crash || meaningless {
                Class::Wrong(format!("{damage}: {verdict:?}"))
            } else {
                Class::Reported
            });
        }
        let newest = self.image.end.segment;
        let live = self.live(&verdict);
        let whole = *live == self.image.live;
        Some(match (expect, damage) {
            (Expect::Meaningless, Damage::Removed(_)) if whole => Class::PreparedGone,
            (Expect::Meaningless, _) if whole => Class::Meaningless,
            (Expect::Footer, _) if whole => Class::Footer,
            (Expect::EndsBefore(_), Damage::Bit { segment, at, .. })
                if !self.image.is_last_group(*segment, *at as u32) =>
            {
                silent()
            }
            (Expect::EndsBefore(end), _) if *live != *self.live_before(end) => silent(),
            (Expect::EndsBefore(_), Damage::Removed(id)) if *id == newest => Class::NewestGone,
            (Expect::EndsBefore(_), _) if whole => Class::AmbiguousWhole,
            (Expect::EndsBefore(_), _) => Class::AmbiguousLost,
            _ => silent(),
        })
    }

    /// What must come of a segment that is gone.
    fn removed(&self, id: SegmentId) -> Expect {
        let newest = self.image.end.segment;
        let seals = |(_, frames): &(SegmentId, Vec<_>)| frames.last().is_some_and(is_seal);
        let at = self.oracle.segments().partition_point(|(other, _)| *other < id);
        let below = at.checked_sub(1).and_then(|at| self.oracle.segments().get(at));
        match below {
            // Whichever is prepared first is the one that a seal names.
            _ if id > newest && !below.is_some_and(|below| below.0 == newest && seals(below)) => Expect::Meaningless,
            Some(below) if id == newest && !seals(below) => Expect::EndsBefore(Mark { segment: id, end: 0 }),
            _ => Expect::Report,
        }
    }

    fn live(&self, verdict: &Verdict) -> &Live {
        match verdict {
            Verdict::Earlier(mark, _) => self.live_before(*mark),
            _ => &self.image.live,
        }
    }

    fn live_before(&self, end: Mark) -> &Live {
        let before = self.image.states.iter().rev().find(|(mark, _)| *mark <= end);
        &before.unwrap_or(&self.image.states[0]).1
    }
}

fn is_seal(frame: &super::oracle::Frame) -> bool {
    frame.kind == Kind::Seal
}
