//! Kills children that append, a thousand times.

use std::collections::BTreeMap;
use std::time::Instant;

use walstone_tests::files::real::Real;
use walstone_tests::kill::{Ending, Judge, KINDS, Moment, Outcome, Random, SYSTEM_CALLS, work};

use crate::arguments::Arguments;

/// Lives of one root.
const LIVES: u64 = 8;

pub(crate) fn run(arguments: &mut Arguments) -> crate::Outcome {
    let (mut rounds, mut seed, mut strace) = (1000, 1, false);
    while let Some(name) = arguments.next() {
        match name.as_str() {
            "--rounds" => rounds = arguments.value(&name)?,
            "--seed" => seed = arguments.value(&name)?,
            "--strace" => strace = true,
            _ => return Err(format!("kill has no option {name}")),
        }
    }
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let begun = Instant::now();
    let (mut all, mut killed, mut by) = (Outcome::default(), 0, BTreeMap::<String, u64>::new());
    for first in (0..rounds).step_by(LIVES as usize) {
        let real = Real::new().map_err(|error| error.to_string())?;
        let mut judge = Judge::new(&program, &real.path().join("wal"));
        for round in first..rounds.min(first + LIVES) {
            let ending = ending(round, &mut Random::new(seed + round), strace);
            let outcome = match judge.round(seed + round, &ending) {
                Ok(outcome) => outcome,
                Err(error) => {
                    println!("round {round}, {ending:?}: {error}\nkill: failed");
                    return Ok(false);
                }
            };
            all.acknowledged += outcome.acknowledged;
            all.survived += outcome.survived;
            if outcome.was_killed {
                killed += 1;
                *by.entry(name(&ending)).or_default() += 1;
            }
        }
    }
    for (name, count) in by {
        println!("{count:5} {name}");
    }
    println!(
        "kill: {rounds} rounds, {killed} killed, {} acknowledged operations found again, {} of those under way too, in {:.0} s, 0 \
         violations",
        all.acknowledged,
        all.survived,
        begun.elapsed().as_secs_f64()
    );
    Ok(true)
}

/// The part of the child.
pub(crate) fn child(arguments: &mut Arguments) -> crate::Outcome {
    let arguments: Vec<_> = arguments.collect();
    work(&arguments).map(|()| true)
}

fn ending(round: u64, random: &mut Random, strace: bool) -> Ending {
    if strace {
        let name = SYSTEM_CALLS[random.below(SYSTEM_CALLS.len() as u64) as usize];
        let nth = 1 + random.below(40);
        return Ending::SystemCall { name, nth };
    }
    if round.is_multiple_of(3) {
        return Ending::Killed(random.below(150));
    }
    let kind = KINDS[random.below(KINDS.len() as u64) as usize];
    let often = matches!(kind, "Store" | "Write" | "Read" | "SyncFile");
    let moment = match random.below(3) {
        0 => Moment::Before,
        1 if matches!(kind, "Store" | "Write") => Moment::Inside,
        _ => Moment::After,
    };
    let nth = 1 + random.below(if often { 120 } else { 12 });
    Ending::Call { kind, nth, moment }
}

fn name(ending: &Ending) -> String {
    match ending {
        Ending::Killed(_) => "by the parent".into(),
        Ending::Call { kind, moment, .. } => format!("{moment} {kind}"),
        Ending::SystemCall { name, .. } => format!("in {name}"),
    }
}
