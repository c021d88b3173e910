//! What the programs of this folder share.
//!
//! `logger` is the example to read: a data logger on NOR flash that loses its power again and again. The `probe-*`
//! programs measure what the engine costs; see `.ci/footprint`.
#![no_std]

#[cfg(target_arch = "arm")]
pub mod board;
pub mod chip;
pub mod logger;
pub mod nor;
