//! A log on one device whose driver is awaited. What it keeps on the device, and what the device must be, is said in
//! [`flat`](mod@crate::flat), whose every byte it writes the same.

mod blocking;
#[path = "../flat/device.rs"]
mod device;
#[path = "../flat/nor.rs"]
mod nor;
#[path = "../flat/storage.rs"]
mod storage;

use embedded_storage_async as embedded;

use super::Storage;
use super::twin;

pub use blocking::Blocking;
pub use device::Device;
pub use nor::{ByteDevice, NorDevice};
pub use storage::{FlatStorage, find_header};
