//! Walstone.
