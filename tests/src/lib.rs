//! What the tests of the workspace share: storages that fail on purpose, and the checks that every storage must pass.

pub mod behaviour;
pub mod conformance;
pub mod crash;
pub mod damage;
pub mod deadline;
pub mod faults;
pub mod files;
pub mod flash;
pub mod fuzz;
pub mod hostile;
pub mod images;
pub mod kill;
pub mod medium;
pub mod mutants;
pub mod repeatable;
pub mod storages;
