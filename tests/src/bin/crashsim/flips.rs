//! `crashsim flips`: every bit of two images of 64 KiB, every sector, every length, every file.

use std::time::Instant;

use walstone_tests::damage::sweep::{Sweep, Tally};
use walstone_tests::damage::{self, Damage};
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

/// Prints a line for each kind and one in all; fails where a loss is silent or anything is wrong.
pub(crate) fn run(arguments: &mut Arguments) -> Outcome {
    if let Some(name) = arguments.next() {
        return Err(format!("flips has no option {name}"));
    }
    // Each panic is counted and told with the damage that led to it.
    std::panic::set_hook(Box::new(|_| ()));
    let mut all = Tally::default();
    for (name, closed) in [("closed", true), ("unclosed", false)] {
        let image = images::eight_segments(closed);
        let sweep = Sweep::new(&image);
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
