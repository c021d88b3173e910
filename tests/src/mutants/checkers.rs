//! The checkers, each cut down to what one fault needs, and counting the states that it visits.

use std::fmt;

use walstone_core::ram::RamStorage;
use walstone_core::{Capacity, Geometry, Log, Storage};

use crate::crash::explore::{Explorer, Failure, guarded, telling_limits};
use crate::crash::history::{Op, PRELUDES, Words};
use crate::crash::setup::{SETUPS, Setup};
use crate::damage::sweep::{Sweep, Tally};
use crate::damage::{self, Damage};
use crate::images::{self, Image, read_all};

/// A way to look for a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Checker {
    /// The crash simulator: short words cut at every moment, on every medium.
    Words,
    /// The crash simulator: long histories of many lives, with syncs that fail.
    Histories,
    /// Damage to an image: bits, sectors, frames in a wrong place, erased tails.
    Damage,
    /// A region made anew where one was removed, on a medium that keeps old bytes.
    FormerLife,
}

/// What a checker came to.
#[derive(Clone, Debug)]
pub struct Run {
    /// States visited.
    pub states: u64,
    /// What was wrong.
    pub alarm: Option<String>,
}

impl fmt::Display for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Words => "words",
            Self::Histories => "histories",
            Self::Damage => "damage",
            Self::FormerLife => "former life",
        })
    }
}

impl Checker {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Words, Self::Histories, Self::Damage, Self::FormerLife];

    /// Looks until something is wrong or `limit` states were visited.
    #[must_use]
    pub fn run(self, limit: u64) -> Run {
        match self {
            Self::Words => explored(limit, words),
            Self::Histories => explored(limit, histories),
            Self::Damage => damaged(limit),
            Self::FormerLife => former_lives(limit),
        }
    }
}

fn explored(limit: u64, explore: fn(&mut Explorer, u64) -> Result<(), Failure>) -> Run {
    let mut explorer = Explorer::new(telling_limits(1), 1);
    let outcome = explore(&mut explorer, limit);
    Run {
        states: explorer.pairs() as u64,
        alarm: outcome.err().map(|failure| failure.to_string()),
    }
}

fn words(explorer: &mut Explorer, limit: u64) -> Result<(), Failure> {
    for len in 1..=3 {
        for prelude in PRELUDES {
            for word in Words::new(&Op::ALL, len) {
                for setup in &SETUPS {
                    if explorer.pairs() as u64 >= limit {
                        return Ok(());
                    }
                    explorer.word(setup, prelude, &word)?;
                }
            }
        }
    }
    Ok(())
}

fn histories(explorer: &mut Explorer, limit: u64) -> Result<(), Failure> {
    for seed in 1.. {
        if explorer.pairs() as u64 >= limit {
            break;
        }
        explorer.random(&SETUPS[seed as usize % SETUPS.len()], seed)?;
    }
    Ok(())
}

fn damaged(limit: u64) -> Run {
    let mut run = Run { states: 0, alarm: None };
    // Also the making of an image, and of the oracle, is a test of the log.
    let swept = guarded(|| {
        for closed in [true, false] {
            let image = images::many_sessions(Geometry::new(1536).expect("a small geometry"), closed);
            let kinds: [fn(&Image) -> Vec<Damage>; 5] = [
                |_| Vec::new(),
                damage::frames_misplaced,
                |image| damage::sectors_lost(image, 64),
                damage::erasures,
                damage::bits,
            ];
            for kind in kinds {
                let mut damages = kind(&image);
                damages.truncate(limit.saturating_sub(run.states) as usize);
                let tally = first_wrong(&image, &damages);
                run.states += tally.cases;
                run.alarm = tally.silent.into_iter().chain(tally.wrong).next();
                if run.alarm.is_some() {
                    return Ok(());
                }
            }
        }
        Ok(())
    });
    if let Err(failure) = swept {
        run.alarm = Some(failure.to_string());
    }
    run
}

/// In small parts, so that the first alarm ends the sweep.
fn first_wrong(image: &Image, damages: &[Damage]) -> Tally {
    let sweep = Sweep::new(image);
    let mut tally = Tally::default();
    for part in damages.chunks(64) {
        tally += sweep.run(part);
        if !tally.is_clean() {
            break;
        }
    }
    tally
}

/// Makes a region, fills it, removes all of it, makes it again and writes less than before.
fn former_lives(limit: u64) -> Run {
    let geometry = Geometry::new(1024).and_then(|geometry| geometry.with_erased(None));
    let geometry = geometry.expect("a small geometry");
    let mut run = Run { states: 0, alarm: None };
    for before in 1..limit.min(12) {
        for now in 0..before {
            run.states += 1;
            let lived = guarded(|| {
                // The host's entropy differs from life to life.
                let mut storage = live(RamStorage::new(geometry), before, 1).0;
                let ids: Vec<_> = storage.ids().collect();
                for id in ids.into_iter().rev() {
                    let _ = storage.remove(id);
                }
                let (storage, written) = live(storage, now, 2);
                let mut log = Log::open(storage, Capacity::heap(0), images::options()).map_err(wrong)?;
                let (found, error) = read_all(&mut log, None);
                assert!(
                    error.is_none() && found.keys().copied().eq(written),
                    "{found:?}, {error:?}"
                );
                Ok(())
            });
            if let Err(failure) = lived {
                run.alarm = Some(format!("{before} records, then {now}: {failure}"));
                return run;
            }
        }
    }
    run
}

fn wrong(error: impl fmt::Display) -> Failure {
    panic!("{error}")
}

/// Records of a region made here, one after the other, each durable.
fn live(storage: RamStorage, records: u64, seed: u64) -> (RamStorage, std::ops::RangeInclusive<u64>) {
    let options = walstone_core::Options {
        seed,
        ..images::options()
    };
    let mut log = Log::create(storage, Capacity::heap(0), options).expect("the storage is empty");
    for _ in 0..records {
        log.append(1, &[seed as u8; 8])
            .and_then(|_| log.sync())
            .expect("there is room");
    }
    (log.into_storage(), 1..=records)
}

/// The medium of this name.
#[allow(dead_code, reason = "not yet")]
fn named(name: &str) -> Setup {
    Setup::named(name).expect("the medium is known")
}
