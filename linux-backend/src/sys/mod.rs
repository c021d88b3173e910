//! The system calls that the backend makes, one file for each family. Here alone is unsafe code.
//!
//! A call that was interrupted before it did anything is made again, except for the syncs, where an interruption
//! tells nothing about the bytes. Short transfers are the callers', in `transfer`.
//!
//! Programs without a C library may use these calls, too; they may change in any release.

mod aio;
mod arch;
mod dir;
mod errno;
mod fd;
mod file;
mod flock;
mod futex;
mod map;
mod process;
mod transfer;
mod watch;

pub use aio::WriteQueue;
pub(crate) use aio::ended;
pub use dir::{Names, make_dir, remove, remove_dir, rename, sync_dir};
pub use errno::Errno;
pub use fd::{Fd, FdNumber};
pub use file::{Access, DirectIo, allocate, create, direct_io, exists, next_data, open, open_dir, open_or_create};
pub use file::{FileLen, len, set_len};
pub use flock::{try_lock, unlock};
pub use futex::{Futex, Mutex};
#[cfg(feature = "alloc")]
pub use map::FileMap;
pub use map::{AnonymousMap, ForkMark};
pub use process::{exit, fill_random, print, process_id};
pub use transfer::{Durability, drop_cache, read_at, sync_data, write_at, write_zeros};
pub use watch::Call;
#[cfg(feature = "watch")]
pub use watch::{Verdict, Watcher, watch};

/// Attempts until none is interrupted.
fn retried<T>(mut attempt: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match attempt() {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

/// A descriptor, a flag or a special value of the kernel's, as an argument: negative ones are sign-extended.
const fn signed(value: i32) -> usize {
    value as isize as usize
}
