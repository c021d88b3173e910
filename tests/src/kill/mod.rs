//! Kills a process that appends, opens what it left, and compares with what it had said.
//!
//! ```text
//! parent: Judge    reads what the child says, kills it, opens the root, compares
//!   pipe: Line     "I begin this", "that was acknowledged"
//! child: Worker    several threads on a log; dies at a chosen call, or when it is told nothing more
//! ```
//!
//! The system goes on, so everything that was acknowledged must be there, written or durable. Of what was begun and
//! not acknowledged all is there, or nothing. The last one is what each thread had begun when the end came.
//!
//! Three ways to die: at a random moment, by the parent; at the n-th call of one kind at the seam, before it, after it
//! or in the middle of a transfer, by the child itself; at the n-th system call of one name, by `strace`. Roots live for
//! several rounds, so that a child also dies in the recovery from the one before it.
//!
//! ```text
//! cargo run --release -p walstone-tests --bin crashsim -- kill --rounds 1000
//! cargo run --release -p walstone-tests --bin crashsim -- kill --rounds 100 --strace
//! WALSTONE_WRITE_PATH=direct cargo run --release -p walstone-tests --bin crashsim -- kill --rounds 100 --strace
//! ```

mod child;
mod end;
mod judge;
mod line;

pub use child::work;
pub use end::{Ending, KINDS, Moment, SYSTEM_CALLS};
pub use judge::{Judge, Outcome};

/// How segments are written: `WALSTONE_WRITE_PATH` in the environment says `mapped`, `buffered` or `direct`.
fn written(options: walstone::OptionsBuilder) -> walstone::OptionsBuilder {
    #[cfg(target_os = "linux")]
    {
        use walstone::WritePath;
        let path = std::env::var("WALSTONE_WRITE_PATH");
        options.write_path(match path.as_deref() {
            Ok("direct") => WritePath::Direct,
            Ok("buffered") => WritePath::Buffered,
            _ => WritePath::Mapped,
        })
    }
    #[cfg(not(target_os = "linux"))]
    options
}

/// Threads of a child.
pub const THREADS: u32 = 3;

/// The region that all threads append to, each to a table of its own.
pub const SHARED: u64 = 1;

/// The region that the first thread makes and removes.
pub const OWN: u64 = 2;

/// Bytes of a segment.
const SEGMENT_LEN: u32 = 8192;

/// A small generator of numbers that are random enough.
#[derive(Clone, Copy, Debug)]
pub struct Random(u64);

impl Random {
    /// The same numbers for the same seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `end`.
    pub const fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }
}
