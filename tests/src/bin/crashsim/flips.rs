//! `crashsim flips`: every bit of two images of 64 KiB (one with `--ci`), every sector, every length, every file.

use std::time::Instant;

use walstone_tests::damage::sweep::{Sweep, Tally};
use walstone_tests::damage::{self, Damage};
use walstone_tests::deadline::Deadline;
use walstone_tests::images::{self, Image};

use crate::Outcome;
use crate::arguments::Arguments;

type Kind = (&'static str, fn(&Image) -> Vec<Damage>);

const KINDS: [Kind; 6] = [
    ("bits turned over", damage::bits),
    ("sectors zeroed or old", |image| {
        let mut all = damage::sectors_lost(image, 512);
        all.extend(damage::sectors_lost(image, 64));
        all
    }),
    ("sectors and frames misplaced", |image| {
        let mut all = damage::sectors_misplaced(image, 512);
        all.extend(damage::frames_misplaced(image));
        all
    }),
    ("erased from a byte on", damage::erasures),
    ("ending at a byte", damage::truncations),
    ("segments gone or old", damage::segments_lost),
];

/// By name, and whether the log was closed.
const IMAGES: [(&str, bool); 2] = [("unclosed", false), ("closed", true)];

/// Prints a line for each kind and one in all; fails where a loss is silent or anything is wrong.
pub(crate) fn run(arguments: &mut Arguments) -> Outcome {
    let (mut images, mut deadline) = (&IMAGES[..], Deadline::NEVER);
    while let Some(name) = arguments.next() {
        match name.as_str() {
            // What a log leaves that was not closed has more that is ambiguous.
            "--ci" => images = &IMAGES[..1],
            "--seconds" => deadline = arguments.end(&name)?,
            _ => return Err(format!("flips has no option {name}")),
        }
    }
    // Each panic is counted and told with the damage that led to it.
    std::panic::set_hook(Box::new(|_| ()));
    let mut all = Tally::default();
    for &(name, closed) in images {
        let image = images::eight_segments(closed);
        let mut sweep = Sweep::new(&image);
        sweep.deadline = deadline;
        for (kind, damages) in KINDS {
            let start = Instant::now();
            let tally = sweep.run(&damages(&image));
            println!("{name}, {kind}: {tally}; {:.1} s", start.elapsed().as_secs_f64());
            for failure in tally.silent.iter().chain(&tally.wrong).take(5) {
                println!("  {failure}");
            }
            all += tally;
        }
    }
    println!("flips: {all}");
    Ok(all.is_clean())
}
