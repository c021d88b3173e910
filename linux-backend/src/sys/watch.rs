//! Where a recorder sits that takes down what calls change, or refuses them. Without the feature `watch` nothing is left of it.

use core::ffi::CStr;

use super::errno::Errno;

/// A call that changes the file system or opens a part of it. Directories and files are the numbers of descriptors.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the fields are the arguments of the calls")]
pub enum Call<'a> {
    /// openat(2); gives the descriptor.
    Open {
        dir: i32,
        name: &'a CStr,
        directory: bool,
        create: bool,
    },
    /// ftruncate(2).
    SetLen { file: i32, len: u64 },
    /// fallocate(2).
    Allocate { file: i32, from: u64, to: u64 },
    /// One transfer into a file; gives the bytes of it. With `durable`, these bytes are so when it returns.
    Write {
        file: i32,
        offset: u64,
        data: &'a [u8],
        durable: bool,
    },
    /// io_submit(2) of one transfer: it may reach the device from here on, and is a [`Call::Write`] when it has ended.
    Submit { file: i32, offset: u64, data: &'a [u8] },
    /// One transfer of zeros; gives the bytes of it.
    WriteZeros { file: i32, offset: u64, len: usize },
    /// fdatasync(2).
    SyncData { file: i32 },
    /// fsync(2) of a directory.
    SyncDir { dir: i32 },
    /// mkdirat(2).
    MakeDir { dir: i32, name: &'a CStr },
    /// unlinkat(2) of a file.
    Remove { dir: i32, name: &'a CStr },
    /// unlinkat(2) of a directory.
    RemoveDir { dir: i32, name: &'a CStr },
    /// renameat2(2) within one directory.
    Rename { dir: i32, from: &'a CStr, to: &'a CStr },
}

/// What a watcher lets happen.
#[cfg(feature = "watch")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The call is made.
    Proceed,
    /// A transfer is of at most so many bytes; other calls are made.
    Short(usize),
    /// The call is made, and this is told of it.
    Fail(Errno),
}

/// What is called around each attempt of a call of this process, on the thread that makes it. It makes no call of this
/// crate itself.
#[cfg(feature = "watch")]
#[derive(Clone, Copy, Debug)]
pub struct Watcher {
    /// An error is the outcome, and the call is not made.
    pub before: fn(&Call<'_>) -> Result<Verdict, Errno>,
    /// What the call gave, or why it failed.
    pub after: fn(&Call<'_>, Result<usize, Errno>),
    /// Of so many writes of one queue that ended, which one is told of now; 0 is the one that the kernel told of first.
    pub next: fn(usize) -> usize,
}

#[cfg(feature = "watch")]
static WATCHER: super::Mutex<Option<Watcher>> = super::Mutex::new(None);

/// Sets the watcher of this process.
#[cfg(feature = "watch")]
pub fn watch(watcher: Watcher) {
    *WATCHER.lock() = Some(watcher);
}

/// Makes a transfer of so many bytes, or of fewer where the watcher says so.
#[cfg(feature = "watch")]
pub(super) fn transferred(
    call: Call<'_>,
    len: usize,
    make: impl FnOnce(usize) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    let watcher = *WATCHER.lock();
    let Some(Watcher { before, after, .. }) = watcher else {
        return make(len);
    };
    let given = before(&call).and_then(|verdict| match verdict {
        Verdict::Proceed => make(len),
        Verdict::Short(most) => make(len.min(most)),
        Verdict::Fail(errno) => make(len).and(Err(errno)),
    });
    after(&call, given);
    given
}

#[cfg(not(feature = "watch"))]
#[inline(always)]
pub(super) fn transferred(
    _: Call<'_>,
    len: usize,
    make: impl FnOnce(usize) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    make(len)
}

/// Makes a call that transfers nothing.
pub(super) fn watched(call: Call<'_>, make: impl FnOnce() -> Result<usize, Errno>) -> Result<usize, Errno> {
    transferred(call, 0, |_| make())
}

/// A write that ended: its number, and the bytes written or why not.
pub(super) type Ended = (u64, Result<usize, Errno>);

/// Writes on their way, whose ends are told in the order that a watcher wants.
#[cfg(feature = "watch")]
#[derive(Debug)]
pub(super) struct Order {
    on_their_way: usize,
    untold: heapless::Vec<Ended, 4>,
}

#[cfg(feature = "watch")]
impl Order {
    /// Nothing is on its way.
    pub(super) const fn new() -> Self {
        Self {
            on_their_way: 0,
            untold: heapless::Vec::new(),
        }
    }

    /// One more is on its way.
    pub(super) fn sent(&mut self) {
        self.on_their_way += 1;
    }

    /// The next end. `wait` gives one after the other in the order of the kernel: where somebody watches, all of them first.
    pub(super) fn next(&mut self, mut wait: impl FnMut() -> Result<Ended, Errno>) -> Result<Ended, Errno> {
        let watcher = *WATCHER.lock();
        let all = watcher.is_some();
        while self.on_their_way > 0 && !self.untold.is_full() && (all || self.untold.is_empty()) {
            let ended = wait()?;
            self.on_their_way -= 1;
            // There is room.
            let _ = self.untold.push(ended);
        }
        let next = watcher.map_or(0, |watcher| (watcher.next)(self.untold.len()));
        if next < self.untold.len() {
            Ok(self.untold.remove(next))
        } else {
            wait()
        }
    }
}

#[cfg(not(feature = "watch"))]
#[derive(Debug)]
pub(super) struct Order;

#[cfg(not(feature = "watch"))]
impl Order {
    pub(super) const fn new() -> Self {
        Self
    }

    #[inline(always)]
    pub(super) fn sent(&self) {}

    #[inline(always)]
    pub(super) fn next(&self, wait: impl FnOnce() -> Result<Ended, Errno>) -> Result<Ended, Errno> {
        wait()
    }
}
