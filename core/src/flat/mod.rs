//! A log on one device: flash, EEPROM, FRAM, an SD card, a file, bytes in memory. The device is cut into equal slots,
//! one segment each. Knows segment headers, and nothing of frames.
//!
//! ```text
//! slot 0                                     slot 1
//! | header, data ...          | header copy |  header, data ...          | header copy |
//! 0                  segment_len         slot_len
//! ```
//!
//! The two copies of a header stand in different write units, and in different erase blocks where a slot has several.
//! A slot with a copy that verifies holds that segment; one with blank copies is free; any other is unreadable, and the
//! region decides what that means. Which slot holds what is found by reading both copies of every slot once, when the
//! storage is opened; nothing else is kept on the device.
//!
//! * Flash is erased by [`Storage::remove`] and [`Storage::release`], and by [`Storage::create`] only where nobody
//!   knows that the erase of a free slot was not interrupted: on its first use since the storage was opened. No unit is
//!   written twice between two erases; the one exception repeats, byte for byte, a program that the power failed in and
//!   that left no trace ([format](crate::format), what cannot be decided).
//! * On a device without erase a slot costs its two header copies when it changes hands, and the place of its manifest; where
//!   the device may forget, those that were free at the open once more.
//!   What else is left in it never counts, as long as salts differ: see [`FlatStorage::format`].
//! * The newest segment lists all others that hold data, 24 bytes each, in at most a quarter of itself; so slots of 4 KiB
//!   serve a device of about 40 of them, and a larger device wants larger slots. Two slots are kept for deleting and
//!   reclaiming on a full device.
//! * Slots are taken in turn, starting behind the highest segment id, so that all of them wear alike.
//! * Opening reads no more bytes than twice the device has, and forty times a slot, whatever the device holds; of a log
//!   without damage two headers of each slot, one of each segment, and the newest segment once.
//!
//! ```
//! use walstone_core::flat::{DeviceGeometry, FlatRoom, FlatStorage, SliceDevice};
//! use walstone_core::{Log, Options, Workspace};
//!
//! # type Error = Box<dyn std::error::Error>;
//! # fn main() -> Result<(), Error> {
//! let mut bytes = [0; 16384];
//! let device = SliceDevice::new(&mut bytes, DeviceGeometry::without_erase(16384));
//! let mut slots = FlatRoom::<8, 32>::new(); // at most 8 slots; programs of 32 bytes
//! let storage = FlatStorage::open(device, 2048, slots.lend()).map_err(|error| error.to_string())?;
//! let mut room = Workspace::<8, 8, 4, 512>::new();
//! let mut log = Log::create(storage, room.lend(), Options::new(1, 0x5eed)).map_err(|error| error.to_string())?;
//! log.append(7, b"value").map_err(|error| error.to_string())?;
//! log.sync().map_err(|error| error.to_string())?;
//! # Ok(()) }
//! ```

mod device;
#[cfg(feature = "embedded-storage")]
mod driver;
mod error;
mod geometry;
mod io;
#[cfg(feature = "embedded-storage")]
mod nor;
mod slice;
pub(crate) mod slots;
mod storage;

use crate::storage::Storage;
use crate::twin;
#[cfg(feature = "embedded-storage")]
use embedded_storage as embedded;

pub use device::Device;
#[cfg(feature = "embedded-storage")]
pub use driver::{ByteError, NorError};
pub use error::{FlatError, OpenError};
pub use geometry::{DeviceGeometry, FlatGeometry, FlatGeometryError};
pub use io::{IoDevice, IoError};
#[cfg(feature = "embedded-storage")]
pub use nor::{ByteDevice, NorDevice};
pub use slice::{SliceDevice, SliceError};
pub use slots::{FlatCapacity, FlatRoom, Slot};
pub use storage::{FlatStorage, find_header};
