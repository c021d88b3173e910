//! The engine through its public interface.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics fails")]

mod behaviour;
mod limits;
mod reading;
mod regressions;
mod salvage;
mod smoke;
