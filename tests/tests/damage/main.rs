//! What damage to a medium may do: cost the last synced group at most, never be silent elsewhere, never give wrong
//! records, never panic.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics fails")]

mod cuts;
mod flips;
mod footers;
mod fuzzed;
mod hostile;
mod loss;
mod made_up;
mod peers;
mod random;

use walstone_core::Geometry;
use walstone_tests::images::{self, Image};

/// The images that all damages are done to.
fn all() -> Vec<(&'static str, Image)> {
    let small = Geometry::new(1536).unwrap();
    let page = Geometry::new(4096).unwrap();
    vec![
        ("small, closed", images::many_sessions(small, true)),
        ("small, unclosed", images::many_sessions(small, false)),
        ("page, closed", images::many_sessions(page, true)),
        ("page, unclosed", images::many_sessions(page, false)),
        ("torn often", images::many_tears(small)),
    ]
}
