//! The log for hosts that await their storage: what stands at the top of this crate, with `await` at every call of a
//! device. The sources are the same, and so is every byte.
//!
//! ```
//! use walstone_core::asynch::Log;
//! use walstone_core::asynch::flat::{Blocking, FlatStorage};
//! use walstone_core::flat::{DeviceGeometry, FlatRoom, SliceDevice};
//! use walstone_core::{Options, Workspace};
//!
//! async fn note(bytes: &mut [u8; 16384]) -> Result<u64, Box<dyn std::error::Error>> {
//!     // On a board: a `NorDevice` over its driver.
//!     let device = Blocking(SliceDevice::new(bytes, DeviceGeometry::without_erase(16384)));
//!     let (mut slots, mut room) = (FlatRoom::<8, 32>::new(), Workspace::<8, 8, 4, 512>::new());
//!     let storage = FlatStorage::open(device, 2048, slots.lend()).await.map_err(|error| error.to_string())?;
//!     let log = Log::open_or_create(storage, room.lend(), Options::new(1, 0x5eed)).await;
//!     let mut log = log.map_err(|error| error.to_string())?;
//!     let at = log.append(7, b"value").await.map_err(|error| error.to_string())?; // written
//!     log.sync().await.map_err(|error| error.to_string())?; // durable
//!     let mut reads = log.read(Some(7), at.first..);
//!     let record = reads.next().await.expect("it was appended").map_err(|error| error.to_string())?;
//!     Ok(record.sequence)
//! }
//! # let mut bytes = [0; 16384];
//! # let mut context = core::task::Context::from_waker(core::task::Waker::noop());
//! # let noted = core::pin::pin!(note(&mut bytes)).poll(&mut context);
//! # assert!(matches!(noted, core::task::Poll::Ready(Ok(1))));
//! ```
//!
//! # A future that is dropped
//!
//! An operation whose future is dropped before it is done has happened or has not, as one that a loss of power
//! interrupted; on the medium it may be torn. The log remembers that, and **the next operation, whichever it is, first
//! recovers the region from the medium, exactly as an open does and in the same room, and then goes on.** So nothing that
//! was acknowledged is lost, be it written only; a batch is there whole or not at all; a sequence that was given stays
//! given; and what was torn is stepped over, never programmed again. It costs what an open costs, and a session begins anew:
//! a deadline is better set where it is seldom missed.
//!
//! * Until then [`Log::last_sequence`] and the like speak of the last operation that was done. Where that recovery was dropped
//!   itself, or failed, the last and the durable sequence still do; marks, the oldest sequence and the report mean nothing
//!   until one succeeds.
//! * A dropped read changes nothing. The next future of [`Reads::next`] gives the record that this one did not.
//! * A dropped [`Log::close`] has not closed the log.
//! * Where that recovery fails, so does the operation, and the next one tries again; but not where what was recovered
//!   could not be made durable, which poisons the log as a failed sync does: reading goes on with what was recovered.
//! * A future of [`Log::open`] takes storage and room with it; one of [`Unopened::open`] leaves them. A driver that is lent
//!   (`&mut`) comes back.
//!
//! # What is asked of a device
//!
//! What [`flat::Device`] says of a loss of power holds for a dropped future of that call alone: the bytes that it was to
//! change are old, new or torn, and no others are harmed. It may still be under way when the next call comes, which waits
//! for it. The sync behind a dropped one covers what that one should have covered, or fails.
//!
//! No future is asked to be `Send`; those of a device whose own are `Send` are.
#![allow(
    clippy::duplicate_mod,
    reason = "one source, with `await` here and without it at the top"
)]

pub mod flat;

#[path = "../examine.rs"]
mod examine;
#[path = "../log.rs"]
mod log;
#[path = "../media.rs"]
mod media;
#[path = "../reads.rs"]
mod reads;
#[path = "../storage.rs"]
mod storage;
#[path = "../unopened.rs"]
mod unopened;

use maybe_async::must_be_async as twin;
/// Whether an operation can end in the middle of one of its calls.
const CAN_BE_DROPPED: bool = true;

pub use log::Log;
pub use reads::Reads;
pub use storage::Storage;
pub use unopened::Unopened;
