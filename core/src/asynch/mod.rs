//! The log for hosts that await their storage.
#![allow(
    clippy::duplicate_mod,
    reason = "one source, with `await` here and without it at the top"
)]

pub mod flat;

#[path = "../examine.rs"]
mod examine;
#[path = "../log.rs"]
mod log;
#[path = "../media.rs"]
mod media;
#[path = "../reads.rs"]
mod reads;
#[path = "../storage.rs"]
mod storage;

use maybe_async::must_be_async as twin;

pub use log::Log;
pub use reads::Reads;
pub use storage::Storage;
