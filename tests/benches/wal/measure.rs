//! Runs the actors of one row for one window of time.

use std::io;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crate::subject::{Actor, Workload};

/// One row in one round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Median time of one step.
    pub(crate) p50_ns: f64,
    /// Steps of all threads together.
    pub(crate) steps_per_second: f64,
}

/// Lets every actor step on its own thread until `window` is over.
pub(crate) fn sample(actors: Vec<Box<dyn Actor>>, workload: &Workload, window: Duration) -> io::Result<Sample> {
    assert_eq!(actors.len(), workload.threads, "a subject gives one actor a thread");
    let start = Barrier::new(actors.len());
    let runs = thread::scope(|scope| {
        let threads: Vec<_> = actors
            .into_iter()
            .map(|actor| scope.spawn(|| repeat(actor, workload, window, &start)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("an actor reports errors, it does not panic"))
            .collect::<io::Result<Vec<_>>>()
    })?;
    let mut times: Vec<f64> = Vec::new();
    let mut steps_per_second = 0.0;
    for (ended, thread_times) in runs {
        let steps = thread_times.len() * workload.steps_per_look();
        steps_per_second += steps as f64 / ended.as_secs_f64();
        times.extend(thread_times);
    }
    Ok(Sample {
        p50_ns: median(&mut times),
        steps_per_second,
    })
}

/// The time all steps took, and the time of one step at each look at the clock.
fn repeat(
    mut actor: Box<dyn Actor>,
    workload: &Workload,
    window: Duration,
    start: &Barrier,
) -> io::Result<(Duration, Vec<f64>)> {
    let per_look = workload.steps_per_look();
    let mut times = Vec::with_capacity(1 << 16);
    start.wait();
    let began = Instant::now();
    let mut before = began;
    loop {
        for _ in 0..per_look {
            actor.step()?;
        }
        let now = Instant::now();
        times.push((now - before).as_nanos() as f64 / per_look as f64);
        before = now;
        if now - began >= window {
            return Ok((now - began, times));
        }
    }
}

/// The middle value, the upper one of two.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
