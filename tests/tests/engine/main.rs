//! The engine through its public interface.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics fails")]

mod behaviour;
mod in_place;
mod limits;
mod opening;
mod reading;
mod regressions;
mod room;
mod salvage;
mod smoke;
