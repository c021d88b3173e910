//! Walstone.
#![deny(unsafe_code)]
#![warn(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::missing_errors_doc,
    clippy::missing_panics_doc
)]

#[doc(hidden)]
pub mod files;
#[doc(hidden)]
pub mod seam;
