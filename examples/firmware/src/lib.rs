//! What the programs of this folder share: the emulated board and its flash.
#![no_std]

#[cfg(target_arch = "arm")]
pub mod board;
pub mod nor;
pub mod slots;
