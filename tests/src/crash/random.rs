//! Long random histories of many lives: what exhaustive exploration is too short for.

use std::ops::ControlFlow;

use super::explore::{Explorer, Failure, guarded};
use super::history::Op;
use super::machine::{Left, Machine, Plan};
use super::run::{Life, Stop};
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
    /// The history of a seed on one machine.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn random<M: Machine>(&mut self, machine: &M, seed: u64) -> Result<(), Failure> {
        let mut dice = Dice(seed);
        let mut trail = vec![format!("seed {seed} on {}", machine.name())];
        let lived = guarded(|| {
            let mut life = Life::create(machine)?;
            for _ in 0..=dice.below(8) {
                self.live(&mut dice, &mut life, &mut trail)?;
                life = self.reborn(&mut dice, machine, &life, &mut trail)?;
            }
            Ok(())
        });
        lived.map_err(|failure| {
            trail.extend(failure.trail);
            Failure { trail, ..failure }
        })
    }

    /// Operations up to a crash or a fault, if one comes.
    fn live<M: Machine>(
        &mut self,
        dice: &mut Dice,
        life: &mut Life<'_, M>,
        trail: &mut Vec<String>,
    ) -> Result<(), Failure> {
        let ops = dice.below(30);
        if !dice.one_in(4) {
            let (nth, phase) = (1 + dice.below(4 + 4 * ops), Phase::ALL[dice.below(3) as usize]);
            trail.push(format!("to crash {phase:?} call {nth}"));
            life.plan(Plan::Crash(nth, phase));
        }
        if dice.one_in(3) {
            let nth = 1 + dice.below(5);
            trail.push(format!("sync {nth} to fail"));
            life.plan(Plan::FailSync(nth));
        }
        for _ in 0..ops {
            let op = WEIGHTED[dice.below(WEIGHTED.len() as u64) as usize];
            trail.push(format!("{op:?}"));
            match life.perform(op) {
                Ok(()) if !life.has_crashed() => {}
                // Removing what is reclaimed may fail without a word.
                Ok(()) | Err(Stop::Crashed) => {
                    self.hit("crashed");
                    return Ok(());
                }
                Err(Stop::Poisoned) => {
                    self.hit("poisoned");
                    return Ok(());
                }
                Err(stop) => return Err(stop.into()),
            }
        }
        Ok(())
    }

    /// Checks what `life` may leave and goes on with one of it.
    fn reborn<'m, M: Machine>(
        &mut self,
        dice: &mut Dice,
        machine: &'m M,
        life: &Life<'_, M>,
        trail: &mut Vec<String>,
    ) -> Result<Life<'m, M>, Failure> {
        let depth = u8::from(dice.one_in(40));
        self.end(machine, life, depth)?;
        let power_loss = !dice.one_in(3);
        let mut images = Vec::new();
        let limits = self.limits;
        let mut take = |left: Left<'_, M::Image>| {
            images.push(((left.image)(), format!("{:?}", left.how)));
            ControlFlow::Continue(())
        };
        let _ = if power_loss {
            machine.power_loss(life.process(), None, &limits, &mut take)
        } else {
            machine.process_death(life.process(), None, &mut take)
        };
        let chosen = dice.below(images.len() as u64) as usize;
        let (image, how) = images.swap_remove(chosen);
        trail.push(format!("found {how}"));
        let mut next = Life::attach(machine, &image, &life.left(power_loss), life.counters());
        if dice.one_in(4) {
            let (nth, phase) = (1 + dice.below(8), Phase::ALL[dice.below(3) as usize]);
            trail.push(format!("to crash {phase:?} call {nth}"));
            next.plan(Plan::Crash(nth, phase));
        }
        match next.open() {
            Ok(()) if !next.has_crashed() => {
                next.plan(Plan::Nothing);
                Ok(next)
            }
            Ok(()) | Err(Stop::Crashed) => self.reborn(dice, machine, &next, trail),
            Err(stop) => Err(stop.into()),
        }
    }
}
