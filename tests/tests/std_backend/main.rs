//! The std backend as its users meet it: through `Wal`, `Region`, `View` and `Ticket`, on files of a real directory.

mod background;
mod behaviours;
mod closing;
mod damage;
mod failed_sync;
mod forks;
mod full_disk;
mod group;
mod peers;
mod processes;
mod read_only;
mod refusals;
mod root;
mod tickets;
mod views;
mod watch;

use walstone::OptionsBuilder;

/// Calls on segments pass the observer.
const OBSERVED: bool = true;

/// How the segments of these tests are written: as the options have it.
fn write_path() -> String {
    "mapped".into()
}

fn written(options: OptionsBuilder) -> OptionsBuilder {
    options
}
