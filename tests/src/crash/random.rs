//! Long random histories of many lives: what exhaustive exploration is too short for.

use super::explore::{Explorer, Failure, guarded};
use super::history::{Op, Step, random, shrink};
use super::machine::{Machine, Plan};
use super::rows::Row;
use super::run::{Life, Stop};

impl Explorer {
    /// The history of a seed on one machine; a failure names a shrunk one.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn random<M: Machine>(&mut self, machine: &M, seed: u64) -> Result<(), Failure> {
        let steps = random(seed);
        let Err(failure) = self.play(machine, &steps) else {
            return Ok(());
        };
        let (steps, shrunk) = shrink(&steps, |steps| {
            Self::new(self.limits, self.depth).play(machine, steps).err()
        });
        let history = format!("seed {seed} on {}, shrunk to {steps:?}", machine.name());
        Err(shrunk.unwrap_or(failure).behind(history))
    }

    /// Plays a history and checks what each of its lives may leave.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn play<M: Machine>(&mut self, machine: &M, steps: &[Step]) -> Result<(), Failure> {
        guarded(|| {
            let mut life = Life::create(machine)?;
            for &step in steps {
                if self.is_over() {
                    break;
                }
                match step {
                    Step::Do(op) => self.perform(&mut life, op)?,
                    Step::Plan(plan) => life.plan(plan),
                    Step::End {
                        power_loss,
                        choice,
                        deep,
                        cut,
                    } => {
                        self.end(machine, &life, u8::from(deep))?;
                        let (how, image) = self.choose(machine, &life, power_loss, choice);
                        let mut next = Life::attach(machine, image, &life.left(power_loss), life.counters());
                        if let Some((nth, phase)) = cut {
                            next.plan(Plan::Crash(nth, phase));
                        }
                        match next.open() {
                            Ok(()) => {
                                if !next.has_crashed() {
                                    next.plan(Plan::Nothing);
                                }
                            }
                            Err(Stop::Crashed) => {}
                            Err(stop) => return Err(Failure::from(stop).behind(how)),
                        }
                        life = next;
                    }
                }
            }
            Ok(())
        })
    }

    fn perform<M: Machine>(&mut self, life: &mut Life<'_, M>, op: Op) -> Result<(), Failure> {
        if life.has_crashed() || !life.can_perform(op) {
            return Ok(());
        }
        match life.perform(op) {
            // Removing what is reclaimed may fail without a word.
            Ok(()) | Err(Stop::Crashed) => {
                if life.has_crashed() {
                    self.hit(Row::Crashed);
                }
                Ok(())
            }
            Err(Stop::Poisoned) => {
                self.hit(Row::Poisoned);
                Ok(())
            }
            Err(stop) => Err(stop.into()),
        }
    }

    fn choose<M: Machine>(&self, machine: &M, life: &Life<'_, M>, power_loss: bool, choice: u64) -> (String, M::Image) {
        let nth = |count: usize| (choice % count.max(1) as u64) as usize;
        if power_loss {
            let count = life.power_loss_count(&self.limits);
            return life.image_after_power_loss(&self.limits, nth(count));
        }
        let mut images = Vec::new();
        let _ = machine.process_death(life.process(), None, &mut |left| {
            images.push((format!("{:?}", left.how), (left.image)()));
            std::ops::ControlFlow::Continue(())
        });
        let chosen = nth(images.len());
        images.swap_remove(chosen)
    }
}
