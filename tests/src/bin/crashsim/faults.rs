//! `crashsim faults`: each call of each word fails in each way that it can, below the engine and below the std backend; with
//! `--raw` only where raw system calls write the segments.

use std::time::Instant;

use walstone_tests::deadline::Deadline;
use walstone_tests::faults::{Tally, backend, engine};

use crate::Outcome;
use crate::arguments::Arguments;

const RAW: &str = "files by raw calls";

type Sweep = fn(u32, Deadline) -> Tally;

pub(crate) fn run(arguments: &mut Arguments) -> Outcome {
    // Raw calls wait for the disk: words of one operation take some minutes.
    let (mut engine_len, mut backend_len, mut raw_len) = (3, 2, 1);
    let (mut deadline, mut raw) = (Deadline::NEVER, false);
    while let Some(name) = arguments.next() {
        match name.as_str() {
            "--ci" => (engine_len, backend_len, raw_len) = (2, 1, 0),
            "--raw" => raw = true,
            "--seconds" => deadline = arguments.end(&name)?,
            _ => return Err(format!("faults has no option {name}")),
        }
    }
    // Each panic is counted and told with the fault that led to it.
    std::panic::set_hook(Box::new(|_| ()));
    let mut all = Tally::default();
    let sweeps: &[(&str, Sweep, u32)] = &[
        ("the engine", engine::sweep, engine_len),
        ("files", backend::sweep, backend_len),
        #[cfg(target_os = "linux")]
        (RAW, backend::sweep_raw, raw_len),
    ];
    for &(name, sweep, most) in sweeps.iter().filter(|(name, ..)| !raw || *name == RAW) {
        for len in 0..=most {
            let start = Instant::now();
            let tally = sweep(len, deadline);
            println!(
                "{name}, words of {len}: {tally}; {:.1} s",
                start.elapsed().as_secs_f64()
            );
            for violation in tally.violations.iter().take(10) {
                println!("  {violation}");
            }
            all.add(tally);
        }
    }
    println!("faults: {all}");
    Ok(all.violations.is_empty())
}
