//! Runs the crash simulator for as long as one likes.
//!
//! ```text
//! crashsim exhaustive [--depth N] [--deep N] [--on NAME]... [--seconds N]
//! crashsim random [--seed N] [--count N] [--on NAME] [--seconds N]
//! ```

use std::process::ExitCode;
use std::time::{Duration, Instant};

use walstone_tests::crash::explore::{Explorer, Failure, telling_limits};
use walstone_tests::crash::history::{Op, PRELUDES, Words};
use walstone_tests::crash::setup::{SETUPS, Setup};

struct Asked {
    mode: String,
    depth: usize,
    deep: u8,
    on: Vec<Setup>,
    seed: u64,
    count: u64,
    until: Option<Instant>,
}

fn asked() -> Result<Asked, String> {
    let mut args = std::env::args().skip(1);
    let mut asked = Asked {
        mode: args.next().ok_or("exhaustive or random?")?,
        depth: 3,
        deep: 1,
        on: Vec::new(),
        seed: 1,
        count: 1000,
        until: None,
    };
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
        let number = value.parse::<u64>().map_err(|error| format!("{name} {value}: {error}"));
        match name.as_str() {
            "--depth" => asked.depth = number? as usize,
            "--deep" => asked.deep = number? as u8,
            "--seed" => asked.seed = number?,
            "--count" => asked.count = number?,
            "--seconds" => asked.until = Some(Instant::now() + Duration::from_secs(number?)),
            "--on" => asked
                .on
                .push(Setup::named(&value).ok_or_else(|| format!("no medium {value}"))?),
            _ => return Err(format!("unknown option {name}")),
        }
    }
    Ok(asked)
}

/// Whether everything was explored.
fn exhaustive(asked: &Asked, explorer: &mut Explorer) -> Result<bool, Failure> {
    let setups = if asked.on.is_empty() { &SETUPS } else { &asked.on[..] };
    for len in 0..=asked.depth {
        for setup in setups {
            if len == 0 {
                explorer.guarded(|explorer| explorer.creation(setup))?;
                continue;
            }
            for prelude in PRELUDES {
                for word in Words::new(&Op::ALL, len) {
                    if asked.until.is_some_and(|until| Instant::now() > until) {
                        return Ok(false);
                    }
                    explorer.guarded(|explorer| explorer.word(setup, prelude, &word))?;
                }
            }
        }
        println!("words of {len}: {} pairs", explorer.pairs());
    }
    Ok(true)
}

fn random(asked: &Asked, explorer: &mut Explorer) -> Result<bool, Failure> {
    for seed in asked.seed..asked.seed + asked.count {
        if asked.until.is_some_and(|until| Instant::now() > until) {
            return Ok(false);
        }
        explorer.guarded(|explorer| explorer.random(seed, asked.on.first().copied()))?;
    }
    Ok(true)
}

fn main() -> ExitCode {
    let asked = match asked() {
        Ok(asked) => asked,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let mut explorer = Explorer::new(telling_limits(asked.seed), asked.deep);
    let start = Instant::now();
    let outcome = match asked.mode.as_str() {
        "exhaustive" => exhaustive(&asked, &mut explorer),
        "random" => random(&asked, &mut explorer),
        mode => {
            eprintln!("{mode} is neither exhaustive nor random");
            return ExitCode::from(2);
        }
    };
    for (outcome, hits) in explorer.hits() {
        println!("{outcome}: {hits}");
    }
    let pairs = explorer.pairs();
    println!("{pairs} distinct pairs of image and obligations");
    println!("{:.0} pairs per second", pairs as f64 / start.elapsed().as_secs_f64());
    match outcome {
        Ok(complete) => {
            println!("complete: {}", if complete { "yes" } else { "no" });
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("complete: no\nfailed: {failure}");
            ExitCode::FAILURE
        }
    }
}
