//! The backend of raw system calls: the same promises, directories and bytes as the others, on both of its write paths.

#![cfg(target_os = "linux")]

mod conforms;
mod durability;
mod faults;
mod root;
mod sharing;
mod traced;
