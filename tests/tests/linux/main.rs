//! The backend of raw system calls: the same promises, directories and bytes as the others, on both of its write paths;
//! and the tests of the std backend with segments that are written by it: past the page cache, or through it where
//! `WALSTONE_WRITE_PATH=buffered` is in the environment.

#![cfg(target_os = "linux")]

mod conforms;
mod durability;
mod faults;
mod front;
mod place;
mod refused;
mod settled;
mod sharing;
mod traced;

#[path = "../std_backend/background.rs"]
mod background;
#[path = "../std_backend/behaviours.rs"]
mod behaviours;
#[path = "../std_backend/closing.rs"]
mod closing;
#[path = "../std_backend/damage.rs"]
mod damage;
#[path = "../std_backend/failed_sync.rs"]
mod failed_sync;
#[path = "../std_backend/forks.rs"]
mod forks;
#[path = "../std_backend/full_disk.rs"]
mod full_disk;
#[path = "../std_backend/group.rs"]
mod group;
#[path = "../std_backend/processes.rs"]
mod processes;
#[path = "../std_backend/read_only.rs"]
mod read_only;
#[path = "../std_backend/refusals.rs"]
mod refusals;
#[path = "../std_backend/root.rs"]
mod root;
#[path = "../std_backend/tickets.rs"]
mod tickets;
#[path = "../std_backend/views.rs"]
mod views;
#[path = "../std_backend/watch.rs"]
#[allow(dead_code, reason = "it sees fewer calls here")]
mod watch;

use walstone::{OptionsBuilder, WritePath};

/// Of the calls on segments, only syncs pass the observer.
const OBSERVED: bool = false;

/// How the segments of these tests are written.
const WRITTEN: &str = "direct";

/// The same, where the environment does not say otherwise.
fn write_path() -> String {
    std::env::var("WALSTONE_WRITE_PATH").unwrap_or_else(|_| WRITTEN.into())
}

fn written(options: OptionsBuilder) -> OptionsBuilder {
    options.write_path(if write_path() == "buffered" {
        WritePath::Buffered
    } else {
        WritePath::Direct
    })
}
