//! Walstone.
#![deny(unsafe_code)]
#![warn(clippy::missing_errors_doc, clippy::missing_panics_doc)]
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::unwrap_used))]

#[doc(hidden)]
pub mod files;
#[doc(hidden)]
pub mod seam;
