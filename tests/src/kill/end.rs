//! How a child ends.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use walstone::seam::{Call, Observer, Verdict};

/// How a child ends, unless it is done before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The parent kills it after so many acknowledgements.
    Killed(u64),
    /// It kills itself at the `nth` call of a kind, 1 being the first.
    Call {
        /// One of [`KINDS`].
        kind: &'static str,
        /// Which one.
        nth: u64,
        /// When.
        moment: Moment,
    },
    /// `strace` kills it at the `nth` system call of a name.
    SystemCall {
        /// One of [`SYSTEM_CALLS`].
        name: &'static str,
        /// Which one.
        nth: u64,
    },
}

/// When, seen from the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before anything is done.
    Before,
    /// A part of the transfer is done; of other calls nothing.
    Inside,
    /// All is done and nobody knows.
    After,
}

/// The kinds of calls at the seam, by name.
pub const KINDS: [&str; 20] = [
    "Create",
    "Open",
    "Lock",
    "Unlock",
    "Len",
    "SetLen",
    "Write",
    "Read",
    "FindData",
    "Map",
    "Store",
    "StartWriteBack",
    "SyncFile",
    "SyncDir",
    "Rename",
    "Unlink",
    "MakeDir",
    "RemoveDir",
    "ListDir",
    "Exists",
];

/// System calls by which the backend changes something.
pub const SYSTEM_CALLS: [&str; 13] = [
    "openat",
    "ftruncate",
    "pwrite64",
    "pwritev2",
    "fdatasync",
    "fsync",
    "rename",
    "renameat2",
    "unlink",
    "unlinkat",
    "mkdir",
    "mmap",
    "madvise",
];

impl Ending {
    /// As an argument of the child; the parent sees to the other two by itself.
    #[must_use]
    pub fn argument(&self) -> String {
        match self {
            Self::Call { kind, nth, moment } => format!("{kind}:{nth}:{moment}"),
            Self::Killed(_) | Self::SystemCall { .. } => "no:0:before".into(),
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Before => "before",
            Self::Inside => "inside",
            Self::After => "after",
        })
    }
}

/// Kills its process at the n-th call of a kind.
#[derive(Debug)]
pub(super) struct Killer {
    kind: String,
    nth: u64,
    moment: Moment,
    calls: AtomicU64,
}

impl FromStr for Killer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || format!("{text:?} is no call to end at");
        let mut parts = text.split(':');
        let mut part = || parts.next().ok_or_else(unknown);
        Ok(Self {
            kind: part()?.into(),
            nth: part()?.parse().map_err(|_| unknown())?,
            moment: match part()? {
                "before" => Moment::Before,
                "inside" => Moment::Inside,
                "after" => Moment::After,
                _ => return Err(unknown()),
            },
            calls: AtomicU64::new(0),
        })
    }
}

impl Killer {
    fn is_about(&self, call: &Call<'_>) -> bool {
        kind_of(call) == self.kind
    }
}

/// One of [`KINDS`].
const fn kind_of(call: &Call<'_>) -> &'static str {
    match call {
        Call::Create { .. } => "Create",
        Call::Open { .. } => "Open",
        Call::Lock { .. } => "Lock",
        Call::Unlock { .. } => "Unlock",
        Call::Len { .. } => "Len",
        Call::SetLen { .. } => "SetLen",
        Call::Write { .. } => "Write",
        Call::Read { .. } => "Read",
        Call::FindData { .. } => "FindData",
        Call::Map { .. } => "Map",
        Call::Store { .. } => "Store",
        Call::StartWriteBack { .. } => "StartWriteBack",
        Call::SyncFile { .. } => "SyncFile",
        Call::SyncDir { .. } => "SyncDir",
        Call::Rename { .. } => "Rename",
        Call::Unlink { .. } => "Unlink",
        Call::MakeDir { .. } => "MakeDir",
        Call::RemoveDir { .. } => "RemoveDir",
        Call::ListDir { .. } => "ListDir",
        Call::Exists { .. } => "Exists",
        _ => "a new one",
    }
}

impl Observer for Killer {
    fn before(&self, call: &Call<'_>) -> io::Result<Verdict> {
        if !self.is_about(call) {
            return Ok(Verdict::Proceed);
        }
        let nth = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        match (call, self.moment) {
            // The rest of the transfer comes as a call of its own.
            (Call::Write { data, .. } | Call::Store { data, .. }, Moment::Inside)
                if nth == self.nth && data.len() > 1 =>
            {
                Ok(Verdict::Short(data.len() / 2))
            }
            (_, Moment::Inside) if nth > self.nth => die(),
            (_, Moment::Before) if nth == self.nth => die(),
            _ => Ok(Verdict::Proceed),
        }
    }

    fn after(&self, call: &Call<'_>, _: Result<(), &io::Error>) {
        if self.moment == Moment::After && self.is_about(call) && self.calls.load(Ordering::Relaxed) >= self.nth {
            die();
        }
    }
}

/// As a kill from outside: nothing is unwound, no handler runs.
fn die() -> ! {
    use rustix::process::{Signal, getpid, kill_process};
    let _ = kill_process(getpid(), Signal::KILL);
    unreachable!("the signal cannot be caught");
}
