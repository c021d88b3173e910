//! The checkers, each cut down to what one fault needs, and counting the states that it visits.

use std::fmt;

use walstone_core::ram::RamStorage;
use walstone_core::{Capacity, Geometry, Log, Storage};

use crate::crash::explore::{Explorer, Failure, guarded, telling_limits};
use crate::crash::history::{Op, PRELUDES, Words, random};
use crate::crash::setup::SETUPS;
use crate::damage::sweep::{Sweep, Tally};
use crate::damage::{self, Damage};
use crate::deadline::Deadline;
use crate::faults;
use crate::files::explore::Known;
use crate::files::lie::Lie;
use crate::files::life::SMALL;
use crate::files::survivors::Limits;
use crate::files::sweep::{self, Plan};
use crate::flash::{self, Awaiting};
use crate::images::{self, Image, Story, read_all};
use crate::mutants::made_up::MadeUp;

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
    /// Segments that no history of a healthy medium leads to.
    MadeUp,
    /// Bytes that are gone at one open and back at the next.
    Healing,
    /// A device that is filled to the last slot.
    FullDevice,
    /// The crash simulator of files and names, below the std backend.
    Files,
    /// One call that fails, below the std backend.
    Faults,
    /// Futures dropped at every call.
    Drops,
}

/// What a checker came to.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// States visited.
    pub states: u64,
    /// What was wrong.
    pub alarm: Option<String>,
}

impl Run {
    /// Visits one more state, unless something was wrong already. A panic is what an alarm looks like.
    fn look(&mut self, state: String, check: impl FnOnce()) {
        if self.alarm.is_some() {
            return;
        }
        self.states += 1;
        let checked = guarded(|| {
            check();
            Ok(())
        });
        self.alarm = checked.err().map(|failure| format!("{state}: {failure}"));
    }
}

impl fmt::Display for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Words => "words",
            Self::Histories => "histories",
            Self::Damage => "damage",
            Self::FormerLife => "former life",
            Self::MadeUp => "made up",
            Self::Healing => "healing",
            Self::FullDevice => "full device",
            Self::Files => "files",
            Self::Faults => "faults",
            Self::Drops => "drops",
        })
    }
}

impl Checker {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Words,
        Self::Histories,
        Self::Damage,
        Self::FormerLife,
        Self::MadeUp,
        Self::Healing,
        Self::FullDevice,
        Self::Files,
        Self::Faults,
        Self::Drops,
    ];

    /// So many states the short form visits where nothing was put in: at least twice what any fault in the table needs.
    #[must_use]
    pub const fn quiet_states(self) -> u64 {
        match self {
            Self::Histories => 100_000,
            _ => 200_000,
        }
    }

    /// Looks until something is wrong or `limit` states were visited. `lie`: what the disk lies about, below files.
    #[must_use]
    pub fn run(self, limit: u64, lie: Option<Lie>) -> Run {
        match self {
            Self::Words => explored(limit, words),
            Self::Histories => explored(limit, histories),
            Self::Damage => damaged(limit),
            Self::FormerLife => former_lives(),
            Self::MadeUp => made_up(),
            Self::Healing => healing(),
            Self::FullDevice => full_device(),
            Self::Files => files(lie),
            Self::Faults => faulty(),
            Self::Drops => explored(limit, dropped),
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
            for word in Words::new(&Op::ALL, len).all() {
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

fn dropped(explorer: &mut Explorer, limit: u64) -> Result<(), Failure> {
    for prelude in PRELUDES {
        for word in Words::new(&Op::ALL, 1).all() {
            for setup in flash::setups() {
                if explorer.pairs() as u64 >= limit {
                    return Ok(());
                }
                flash::drops(explorer, &Awaiting(setup), prelude, &word, false)?;
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
        let setup = &SETUPS[seed as usize % SETUPS.len()];
        let played = explorer.play(setup, &random(seed));
        played.map_err(|failure| failure.behind(format!("seed {seed} on {}", setup.name)))?;
    }
    Ok(())
}

fn damaged(limit: u64) -> Run {
    let mut run = Run::default();
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
fn former_lives() -> Run {
    let geometry = Geometry::new(1024).and_then(|geometry| geometry.with_erased(None));
    let geometry = geometry.expect("a small geometry");
    let mut run = Run::default();
    for before in 1..12 {
        for now in 0..before {
            run.look(format!("{before} records, then {now}"), || {
                // The host's entropy differs from life to life.
                let (mut storage, _) = live(RamStorage::new(geometry), before, 1);
                let ids: Vec<_> = storage.ids().collect();
                for id in ids.into_iter().rev() {
                    storage.remove(id).expect("it was listed");
                }
                let (storage, written) = live(storage, now, 2);
                let (found, error) = read_all(&mut opened(storage), None);
                assert!(
                    error.is_none() && found.keys().copied().eq(written),
                    "{found:?}, {error:?}"
                );
            });
        }
    }
    run
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

/// One operation on files, one call of which fails.
fn faulty() -> Run {
    let mut tally = faults::backend::sweep(0, Deadline::NEVER);
    if tally.violations.is_empty() {
        tally.add(faults::backend::sweep(1, Deadline::NEVER));
    }
    Run {
        states: tally.pairs,
        alarm: tally.violations.into_iter().next(),
    }
}

/// One operation on files, cut anywhere, and its recovery.
fn files(lie: Option<Lie>) -> Run {
    let plan = Plan {
        limits: Limits::SHORT,
        lie,
        threads: 1,
        deadline: Deadline::NEVER,
    };
    let known = Known::default();
    let explored = sweep::explore(&sweep::telling(SMALL), &plan, &known);
    Run {
        states: known.count() as u64,
        alarm: explored.err().map(|failure| failure.to_string()),
    }
}

/// Made-up segments, and how many records each holds.
fn made_up() -> Run {
    let torn = MadeUp::segment();
    let from = torn.end();
    let own = MadeUp::segment().record(1, 0);
    let behind = own.end();
    let cases = [
        // The later session did not see the resume frame of the one before, which reads back now.
        (torn.noise().resume(3, from, 0).record(3, 0).resume(2, from, 0), 1),
        // A frame of an earlier session, where one of this session would go on.
        (own.resume(2, behind, 1).record(1, 1), 1),
    ];
    let mut run = Run::default();
    for (segment, expected) in cases {
        run.look(format!("a made-up segment of {expected} records"), || {
            let mut log = opened(segment.storage());
            let (found, error) = read_all(&mut log, None);
            assert!(error.is_none() && found.len() == expected, "{found:?}, {error:?}");
        });
    }
    run
}

/// The last frame of a segment reads torn at one open, and whole at the next: a page that was on the brink.
fn healing() -> Run {
    let mut run = Run::default();
    let mut story = Story::create(Geometry::new(1536).expect("a small geometry"));
    let first = story.newest();
    while story.newest() == first {
        story.append(1, 40);
        story.sync();
    }
    let next = story.newest();
    let mut sealed = story.leave().ram;
    // The manifest of the next segment did not reach the medium.
    sealed.bytes_mut(next).expect("the log goes on there")[64..].fill(0);
    let whole = sealed.bytes(first).expect("the first segment").to_vec();
    let end = whole.iter().rposition(|&byte| byte != 0).map_or(0, |at| at + 1);
    let expected = read_all(&mut opened(sealed.clone()), None).0;
    for lost in 1..100 {
        run.look(format!("{lost} bytes of a seal lost and found"), || {
            let mut ram = sealed.clone();
            ram.bytes_mut(first).expect("the first segment")[end - lost..end].fill(0);
            let mut ram = opened(ram).into_storage();
            ram.bytes_mut(first).expect("the first segment").copy_from_slice(&whole);
            let (found, error) = read_all(&mut opened(ram), None);
            assert!(error.is_none() && found == expected, "{error:?}");
        });
    }
    run
}

/// A device of few slots is filled, emptied and written to again.
fn full_device() -> Run {
    let mut run = Run::default();
    for slots in 3..9 {
        run.look(format!("{slots} slots"), || {
            let geometry = Geometry::new(1024).expect("a small geometry");
            let storage = RamStorage::new(geometry).with_capacity_limit(slots * 1024);
            let mut log = Log::create(storage, Capacity::heap(0), images::options()).expect("there is room");
            while log.append(1, &[7; 100]).is_ok() {}
            log.delete_up_to(1, u64::MAX).expect("deletions have their reserve");
            log.reclaim().expect("what is deleted gives room");
            log.sync().expect("the storage does not fail");
            log.append(1, &[7; 100]).expect("there is room again");
        });
    }
    run
}

fn opened(storage: RamStorage) -> Log<'static, RamStorage> {
    Log::open(storage, Capacity::heap(0), images::options()).expect("no damage reads as corruption here")
}
