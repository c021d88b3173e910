//! Every state that a crash may leave of the files and names of the std backend; with `--raw` only where raw system calls
//! write the segments.

use std::thread;
use std::time::Instant;

use walstone_tests::deadline::Deadline;
use walstone_tests::files::explore::Known;
use walstone_tests::files::lie::Lie;
use walstone_tests::files::life::{PAGES, SMALL, Setup};
use walstone_tests::files::survivors::Limits;
use walstone_tests::files::sweep::{History, Plan, Summary, behind_large, explore, random, telling, words};

use crate::Outcome;
use crate::arguments::Arguments;

pub(crate) fn run(arguments: &mut Arguments) -> Outcome {
    let (mut ci, mut lies, mut raw, mut deadline) = (false, false, false, Deadline::NEVER);
    while let Some(name) = arguments.next() {
        match name.as_str() {
            "--ci" => ci = true,
            "--lies" => lies = true,
            "--raw" => raw = true,
            "--seconds" => deadline = arguments.end(&name)?,
            _ => return Err(format!("files has no option {name}")),
        }
    }
    let begun = Instant::now();
    let plan = Plan {
        limits: if ci { Limits::SHORT } else { Limits::LONG },
        lie: None,
        threads: thread::available_parallelism().map_or(1, usize::from),
        deadline,
    };
    if lies {
        return Ok(every_lie(plan));
    }
    let mut stages = if ci { short_stages() } else { long_stages() };
    if raw {
        let is_raw = |history: &History| history.setup.is_raw();
        stages.retain(|(_, histories)| histories.iter().all(is_raw));
    }
    Ok(all_stages(&stages, &plan, begun))
}

type Stage = (&'static str, Vec<History>);

/// Segments that raw system calls write.
#[cfg(target_os = "linux")]
fn raw() -> &'static [Setup] {
    use walstone_tests::files::life::{BUFFERED, DIRECT, DURABLE_WRITES, FLIGHTS};
    &[BUFFERED, DURABLE_WRITES, DIRECT, FLIGHTS]
}

/// Behind a large record that sends several writes on their way, which end in one order or the other.
#[cfg(target_os = "linux")]
fn in_flight(len: usize, depth: u8) -> Vec<History> {
    use walstone_tests::files::life::{FLIGHTS, LAST_FIRST};
    let setups = [FLIGHTS, LAST_FIRST].into_iter();
    setups.flat_map(|setup| behind_large(setup, len, depth)).collect()
}

#[cfg(not(target_os = "linux"))]
fn in_flight(_len: usize, _depth: u8) -> Vec<History> {
    Vec::new()
}

#[cfg(not(target_os = "linux"))]
fn raw() -> &'static [Setup] {
    &[]
}

fn raw_words(len: usize, depth: u8) -> Vec<History> {
    raw().iter().flat_map(|&setup| words(setup, len, depth)).collect()
}

fn short_stages() -> Vec<Stage> {
    vec![
        ("making a log, recovery cut short", words(SMALL, 0, 1)),
        ("one operation", words(SMALL, 1, 0)),
        ("one operation, segments of several pages", words(PAGES, 1, 0)),
        (
            "random, beside the background thread",
            random(SMALL.beside(), 1, 10, 20, 0),
        ),
        (
            "random, pages, beside the background thread",
            random(PAGES.beside(), 2, 1, 8, 0),
        ),
        ("making a log, raw calls", raw_words(0, 0)),
        ("one operation, raw calls, small segments", {
            let small = raw().iter().filter(|setup| setup.segment_len == SMALL.segment_len);
            small.flat_map(|&setup| words(setup, 1, 0)).collect()
        }),
        ("a large record in flight", in_flight(0, 0)),
        ("two operations", words(SMALL, 2, 0)),
    ]
}

fn long_stages() -> Vec<Stage> {
    let mut stages = short_stages();
    stages.extend([
        ("one operation, recovery cut short", words(SMALL, 1, 1)),
        ("two operations, pages", words(PAGES, 2, 0)),
        ("making a log, raw calls, recovery cut short", raw_words(0, 1)),
        ("one operation, raw calls", raw_words(1, 0)),
        ("two operations, raw calls", raw_words(2, 0)),
        ("a large record in flight, and one operation", in_flight(1, 0)),
        ("a large record in flight, recovery cut short", in_flight(0, 1)),
        ("one operation, raw calls, recovery cut short", raw_words(1, 1)),
        (
            "random, raw calls, beside the background thread",
            raw()
                .iter()
                .flat_map(|setup| random(setup.beside(), 4, 200, 30, 0))
                .collect(),
        ),
        ("two operations, recovery cut short", words(SMALL, 2, 1)),
        ("one operation, pages, recovery cut short", words(PAGES, 1, 1)),
        ("one operation, recovery cut short twice", words(SMALL, 1, 2)),
        (
            "random, beside the background thread",
            random(SMALL.beside(), 3, 2000, 40, 0),
        ),
        ("three operations", words(SMALL, 3, 0)),
    ]);
    stages
}

fn all_stages(stages: &[Stage], plan: &Plan, begun: Instant) -> bool {
    let known = Known::default();
    let mut all = Summary {
        finished: true,
        ..Summary::default()
    };
    for (name, histories) in stages {
        match explore(histories, plan, &known) {
            Ok(summary) => {
                all += summary;
                let complete = if summary.is_complete() { "yes" } else { "no" };
                let tally = summary.tally;
                println!(
                    "{name}: {} of {} histories, {} states, {} crashes sampled, complete: {complete}",
                    tally.words,
                    histories.len(),
                    tally.states,
                    tally.sampled
                );
            }
            Err(failure) => {
                println!("{name}: {failure}\nfiles: failed");
                return false;
            }
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "files: {} states, {} distinct pairs of disk and obligations in {seconds:.0} s, 0 violations, complete: {}",
        all.tally.states,
        known.count(),
        if all.is_complete() { "yes" } else { "no" }
    );
    true
}

/// Whether the simulator notices each kind of sync that is only said to be done.
fn every_lie(plan: Plan) -> bool {
    let (mut caught, mut told) = (0, 0);
    let small = |setup: &&Setup| setup.segment_len == SMALL.segment_len;
    for setup in [SMALL].iter().chain(raw().iter().filter(small)) {
        let histories = telling(*setup);
        for lie in Lie::ALL {
            let (known, plan) = (Known::default(), Plan { lie: Some(lie), ..plan });
            told += 1;
            let name = setup.name;
            match explore(&histories, &plan, &known) {
                Ok(_) => println!("{name}, {lie:?}: not caught in {} pairs", known.count()),
                Err(failure) => {
                    caught += 1;
                    println!(
                        "{name}, {lie:?}: caught in {} pairs: {:?}",
                        known.count(),
                        failure.broken
                    );
                }
            }
        }
    }
    println!("files: {caught} of {told} lies caught");
    caught == told
}
