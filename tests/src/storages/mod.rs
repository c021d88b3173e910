//! Storages that exist for tests: media in memory that behave like flash, and decorators that gather, count and fail.

pub mod counting;
pub mod faulty;
pub mod gather;
pub mod shared;
pub mod slots;

use core::fmt;

use walstone_core::ram::RamError;
use walstone_core::{Fault, StorageError};

/// The calls of a storage, for counting them and for failing them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// `Storage::segments`.
    Segments,
    /// `Storage::create`.
    Create,
    /// `Storage::claim`.
    Claim,
    /// `Storage::extent`.
    Extent,
    /// `Storage::read`.
    Read,
    /// `Storage::write`.
    Write,
    /// `Storage::hand_over`.
    HandOver,
    /// `Storage::sync`.
    Sync,
    /// `Storage::settle`.
    Settle,
    /// `Storage::remove`.
    Remove,
    /// `Storage::release`.
    Release,
    /// `SharedStorage::pin`.
    Pin,
}

/// What a simulated medium answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SimError {
    /// A call that no medium could serve, or that breaks a rule of the `Storage` trait.
    Rule(RamError),
    /// No room for another segment, or for more of one.
    Full,
    /// A sync that was told to fail.
    SyncFailed,
    /// The simulated power is off: nothing works until the medium is opened anew.
    Crashed,
}

impl From<RamError> for SimError {
    fn from(rule: RamError) -> Self {
        Self::Rule(rule)
    }
}

impl fmt::Display for SimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(rule) => rule.fmt(f),
            Self::Full => f.write_str("no room is left"),
            Self::SyncFailed => f.write_str("the sync was told to fail"),
            Self::Crashed => f.write_str("the power is off"),
        }
    }
}

impl core::error::Error for SimError {}

impl embedded_io::Error for SimError {
    fn kind(&self) -> embedded_io::ErrorKind {
        match self {
            Self::Rule(rule) => rule.kind(),
            Self::Full => embedded_io::ErrorKind::OutOfMemory,
            Self::SyncFailed | Self::Crashed => embedded_io::ErrorKind::Other,
        }
    }
}

impl StorageError for SimError {
    fn fault(&self) -> Fault {
        match self {
            Self::Rule(rule) => rule.fault(),
            Self::Full => Fault::Full,
            Self::SyncFailed | Self::Crashed => Fault::Device,
        }
    }
}

/// `parts` one behind the other, filled up with zeros to a multiple of `unit`.
pub(crate) fn gathered(parts: &[&[u8]], unit: u32) -> Vec<u8> {
    let mut bytes = parts.concat();
    bytes.resize(bytes.len().next_multiple_of(unit as usize), 0);
    bytes
}
