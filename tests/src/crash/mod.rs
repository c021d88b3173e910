//! The crash simulator of the engine: runs histories on a medium that knows what a loss of power may leave, cuts
//! each one at every call, opens every image that may be left, and judges it with an oracle that knows no bytes.

pub mod explore;
pub mod history;
pub mod log;
pub mod machine;
pub mod model;
pub mod pairs;
pub mod random;
pub mod rows;
pub mod run;
pub mod segments;
pub mod setup;
pub mod sweep;
