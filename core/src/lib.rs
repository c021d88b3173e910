//! Walstone core.
#![no_std]
#![forbid(unsafe_code)]
#[cfg(feature = "alloc")]
extern crate alloc;

pub mod checksum;
pub mod geometry;
#[cfg(feature = "alloc")]
pub mod ram;
pub mod segment;
pub mod storage;
pub mod v0;
