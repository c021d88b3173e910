//! Long random histories of many lives: what exhaustive exploration is too short for.

use std::ops::ControlFlow;

use super::explore::{Explorer, Failure};
use super::history::Op;
use super::run::{Life, Stop, Violation};
use super::setup::{SETUPS, Setup};
use crate::medium::Phase;

/// Numbers from a seed: the finaliser of SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }
}

/// Operations by how often they come.
const WEIGHTED: [Op; 24] = [
    Op::Small,
    Op::Small,
    Op::Small,
    Op::Small,
    Op::TwoUnits,
    Op::TwoUnits,
    Op::Largest,
    Op::Largest,
    Op::Batch,
    Op::Batch,
    Op::BatchWithVoids,
    Op::BatchWithVoids,
    Op::Durable,
    Op::Durable,
    Op::Sync,
    Op::Sync,
    Op::DeletePrefix,
    Op::DeletePrefix,
    Op::TruncateSuffix,
    Op::DeleteOther,
    Op::Reclaim,
    Op::CloseReopen,
    Op::Reopen,
    Op::PowerLoss,
];

impl Explorer {
    /// The history of a seed, on one of the media or on `setup`.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn random(&mut self, seed: u64, setup: Option<Setup>) -> Result<(), Failure> {
        let mut dice = Dice(seed);
        let any = SETUPS[dice.below(SETUPS.len() as u64) as usize];
        let setup = setup.unwrap_or(any);
        self.limits.seed = seed;
        self.enter(format!("seed {seed} on {}", setup.name));
        let mut life = Life::create(&setup).map_err(|stop| self.stopped(stop))?;
        let lives = 1 + dice.below(8);
        for _ in 0..lives {
            self.live(&mut dice, &mut life)?;
            life = self.reborn(&mut dice, &setup, &life)?;
        }
        self.leave();
        Ok(())
    }

    /// Operations up to a crash or a fault, if one comes.
    fn live(&mut self, dice: &mut Dice, life: &mut Life) -> Result<(), Failure> {
        let ops = dice.below(30);
        if !dice.one_in(4) {
            let (nth, phase) = (1 + dice.below(4 + 4 * ops), Phase::ALL[dice.below(3) as usize]);
            self.enter(format!("to crash {phase:?} call {nth}"));
            life.handle().change(|medium| medium.crash_after(nth, phase));
        }
        if dice.one_in(3) {
            let nth = 1 + dice.below(5);
            self.enter(format!("sync {nth} to fail"));
            life.handle().change(|medium| medium.fail_sync(nth));
        }
        for _ in 0..ops {
            let op = WEIGHTED[dice.below(WEIGHTED.len() as u64) as usize];
            self.enter(format!("{op:?}"));
            match life.perform(op) {
                Ok(()) if !life.medium().has_crashed() => {}
                Ok(()) | Err(Stop::Crashed) => {
                    self.hit("crashed");
                    return Ok(());
                }
                Err(Stop::Poisoned) => {
                    self.hit("poisoned");
                    return Ok(());
                }
                Err(Stop::Violation(violation)) => return Err(self.fail(violation)),
            }
        }
        Ok(())
    }

    /// Checks what `life` may leave and goes on with one of it.
    fn reborn(&mut self, dice: &mut Dice, setup: &Setup, life: &Life) -> Result<Life, Failure> {
        let depth = u8::from(dice.one_in(40));
        self.crash(setup, life, depth)?;
        let (medium, found) = if dice.one_in(3) {
            let mut media = life.medium().after_process_death();
            let chosen = dice.below(media.len() as u64) as usize;
            self.enter(format!("death of the process, outcome {chosen}"));
            (media.swap_remove(chosen), life.left(false))
        } else {
            let mut images = Vec::new();
            life.medium().crash_states(&self.limits, &mut |image, survival| {
                images.push((image, *survival));
                ControlFlow::Continue(())
            });
            let chosen = dice.below(images.len() as u64) as usize;
            let (image, survival) = images.swap_remove(chosen);
            self.enter(format!("power loss, {survival:?}"));
            (image, life.left(true))
        };
        let mut next = Life::attach(setup, medium, &found, life.counters());
        if dice.one_in(4) {
            let (nth, phase) = (1 + dice.below(8), Phase::ALL[dice.below(3) as usize]);
            self.enter(format!("to crash {phase:?} call {nth}"));
            next.handle().change(|medium| medium.crash_after(nth, phase));
        }
        match next.open() {
            Ok(()) if !next.medium().has_crashed() => {
                let never = |medium: &mut crate::medium::Medium| medium.crash_after(u64::MAX / 2, Phase::Before);
                next.handle().change(never);
                Ok(next)
            }
            Ok(()) | Err(Stop::Crashed) => self.reborn(dice, setup, &next),
            Err(Stop::Poisoned) => Err(self.fail(Violation::Unrepeatable)),
            Err(Stop::Violation(violation)) => Err(self.fail(violation)),
        }
    }
}
