//! The engine through its public interface.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics fails")]

mod behaviour;
mod in_place;
mod limits;
mod reading;
mod regressions;
mod salvage;
mod smoke;
