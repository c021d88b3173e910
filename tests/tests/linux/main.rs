//! The backend of raw system calls: the same promises, directories and bytes as the others, on both of its write paths;
//! and the tests of the std backend with segments that are written by it: past the page cache, or through it where
//! `WALSTONE_WRITE_PATH=buffered` is in the environment.

#![cfg(target_os = "linux")]

mod conforms;
mod durability;
mod faults;
mod front;
mod place;
mod sharing;
mod traced;

#[path = "../std_backend/behaviours.rs"]
mod behaviours;
#[path = "../std_backend/closing.rs"]
mod closing;
#[path = "../std_backend/damage.rs"]
mod damage;
#[path = "../std_backend/root.rs"]
mod root;
#[path = "../std_backend/views.rs"]
mod views;
#[path = "../std_backend/watch.rs"]
#[allow(dead_code, reason = "it sees fewer calls here")]
mod watch;

use walstone::{OptionsBuilder, WritePath};

/// Calls on segments do not pass the observer.
const OBSERVED: bool = false;

/// How the segments of these tests are written.
fn written(options: OptionsBuilder) -> OptionsBuilder {
    let buffered = std::env::var_os("WALSTONE_WRITE_PATH").is_some_and(|path| path == "buffered");
    options.write_path(if buffered {
        WritePath::Buffered
    } else {
        WritePath::Direct
    })
}
