//! `crashsim mutants`: puts in one fault after the other and waits for the alarm of the checker that is to catch it.
//!
//! Faults are compiled in under a `--cfg` of their own. A build without it builds one with it, in `target/mutants`, and hands
//! over to it. `--ci` shortens the runs without a fault, which must stay silent. Each fault has a process of its own: it may end in a panic, or never.

use std::env;
use std::io;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use walstone_tests::mutants::{Checker, MOST_STATES, TABLE, put_in};

use crate::Outcome;
use crate::arguments::Arguments;

/// After so long a checker is taken for one that sleeps.
const MOST_TIME: Duration = Duration::from_secs(1800);

pub(crate) fn run(arguments: &mut Arguments) -> Outcome {
    let (mut one, mut ci) = (None, false);
    let mut asked: Option<Checker> = None;
    while let Some(name) = arguments.next() {
        match name.as_str() {
            "--ci" => ci = true,
            "--one" => one = Some(arguments.value::<String>(&name)?),
            "--by" => {
                let by: String = arguments.value(&name)?;
                let named = Checker::ALL.into_iter().find(|checker| checker.to_string() == by);
                asked = Some(named.ok_or_else(|| format!("no checker is called {by}"))?);
            }
            _ => return Err(format!("mutants has no option {name}")),
        }
    }
    if !cfg!(walstone_mutants) {
        return hand_over();
    }
    match one {
        Some(name) => alone(&name, asked, ci),
        None => all(ci),
    }
}

/// Builds this program with the faults in it and runs that.
fn hand_over() -> Outcome {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = [
        "run",
        "--quiet",
        "--release",
        "-p",
        "walstone-tests",
        "--bin",
        "crashsim",
    ];
    let status = Command::new(cargo)
        .args(arguments)
        .args(["--target-dir", "target/mutants", "--"])
        .args(env::args().skip(1))
        .env("RUSTFLAGS", "--cfg walstone_mutants")
        .status();
    status
        .map(|status| status.success())
        .map_err(|error| format!("cargo: {error}"))
}

/// One fault, or none, in this process.
fn alone(name: &str, asked: Option<Checker>, ci: bool) -> Outcome {
    // A panic is an alarm, told as such.
    std::panic::set_hook(Box::new(|_| ()));
    let mutant = TABLE.iter().find(|mutant| mutant.fault.to_string() == name);
    let checker = asked.or(mutant.map(|mutant| mutant.checker));
    let checker = checker.ok_or("no checker is asked for")?;
    if let Some(mutant) = mutant
        && !put_in(mutant.fault)
    {
        return Err("faults are not compiled in".into());
    }
    let lie = mutant.and_then(|mutant| mutant.fault.lie());
    let limit = if ci && mutant.is_none() {
        checker.quiet_states()
    } else {
        MOST_STATES
    };
    let run = checker.run(limit, lie);
    println!(
        "{} {}",
        run.states,
        run.alarm.as_deref().unwrap_or("silent").replace('\n', ";")
    );
    Ok(run.alarm.is_none())
}

fn all(ci: bool) -> Outcome {
    let mut survivors = 0;
    for mutant in TABLE {
        let found = child(&mutant.fault.to_string(), mutant.checker, ci)?;
        println!("{} by {}: {found}", mutant.fault, mutant.checker);
        survivors += usize::from(!found.starts_with("caught"));
    }
    let mut alarms = 0;
    for checker in Checker::ALL {
        let found = child("none", checker, ci)?;
        println!("nothing, by {checker}: {found}");
        alarms += usize::from(!found.starts_with("silent"));
    }
    println!(
        "mutants: {} of {} caught, {alarms} false alarms",
        TABLE.len() - survivors,
        TABLE.len()
    );
    Ok(survivors == 0 && alarms == 0)
}

/// What a process with this fault came to.
fn child(name: &str, checker: Checker, ci: bool) -> Result<String, String> {
    let told = |error: io::Error| error.to_string();
    let child = Command::new(env::current_exe().map_err(told)?)
        .args(["mutants", "--one", name, "--by", &checker.to_string()])
        .args(ci.then_some("--ci"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(told)?;
    let Some(output) = wait(child).map_err(told)? else {
        return Ok("no answer".into());
    };
    let Some((states, alarm)) = output.trim().split_once(' ') else {
        return Ok("no answer".into());
    };
    let short: String = alarm.chars().take(100).collect();
    Ok(match alarm {
        "silent" => format!("silent after {states} states"),
        _ => format!("caught after {states} states: {short}"),
    })
}

fn wait(mut child: Child) -> io::Result<Option<String>> {
    let end = Instant::now() + MOST_TIME;
    while child.try_wait()?.is_none() {
        if Instant::now() > end {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output()?;
    Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned()))
}
