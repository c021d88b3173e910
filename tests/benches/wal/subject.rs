//! What is measured (`Workload`) and who is measured doing it (`Subject`).

use std::io;
use std::path::Path;

/// Something that can carry out workloads: a raw loop, or a log.
pub(crate) trait Subject: Sync {
    /// The row's name.
    fn name(&self) -> &'static str;

    /// Whether this subject has a row in that workload.
    fn takes(&self, workload: &Workload) -> bool;

    /// Everything that is not to be timed: files made and written, maps faulted in, data for a scan appended.
    /// `dir` is empty and removed afterwards. One actor for each thread of the workload; with
    /// [`Streams::Shared`] all of them act on one stream.
    fn open(&self, workload: &Workload, dir: &Path) -> io::Result<Vec<Box<dyn Actor>>>;
}

/// One thread's share of a subject.
pub(crate) trait Actor: Send {
    /// Does one step of the workload. On return its promise holds: see [`Task`].
    fn step(&mut self) -> io::Result<()>;
}

/// What one step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Append `batch` records of `record_len` bytes each as one unit; durable on return.
    Durable { record_len: usize, batch: usize },
    /// As `Durable`, past the page cache, where every thread of the baseline has a stream of its own.
    Direct { record_len: usize, batch: usize },
    /// Append `count` records of `record_len` bytes each past the page cache; all of them durable on return.
    Bulk { record_len: usize, count: usize },
    /// Append one record; on return it survives the death of the process.
    Written { record_len: usize },
    /// Verify all of `len` bytes that are in memory already.
    Verify { len: usize },
    /// Read all of `len` bytes that are in memory already.
    Read { len: usize },
    /// Open a log of `len` bytes that are in memory already, so that appending and reading may begin.
    Open { len: usize },
}

/// Where the threads of a workload append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Streams {
    Shared,
    PerThread,
}

#[derive(Debug)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) task: Task,
    pub(crate) threads: usize,
    pub(crate) streams: Streams,
}

impl Workload {
    /// Records that one step moves; a scan counts as one.
    pub(crate) fn records_per_step(&self) -> usize {
        match self.task {
            Task::Durable { batch, .. } | Task::Direct { batch, .. } => batch,
            Task::Bulk { count, .. } => count,
            Task::Written { .. } | Task::Verify { .. } | Task::Read { .. } | Task::Open { .. } => 1,
        }
    }

    /// Payload bytes that one step moves.
    pub(crate) fn bytes_per_step(&self) -> usize {
        match self.task {
            Task::Durable { record_len, batch } | Task::Direct { record_len, batch } => record_len * batch,
            Task::Bulk { record_len, count } => record_len * count,
            Task::Written { record_len } => record_len,
            Task::Verify { len } | Task::Read { len } | Task::Open { len } => len,
        }
    }

    /// Steps between two looks at the clock, which costs as much as a small store does.
    pub(crate) fn steps_per_look(&self) -> usize {
        match self.task {
            Task::Written { record_len } if record_len < 64 << 10 => 128,
            _ => 1,
        }
    }
}

const SCAN_LEN: usize = 64 << 20;

const fn alone(name: &'static str, task: Task) -> Workload {
    Workload {
        name,
        task,
        threads: 1,
        streams: Streams::Shared,
    }
}

/// In the order of the table.
pub(crate) const WORKLOADS: &[Workload] = &[
    alone(
        "durable 256 B",
        Task::Durable {
            record_len: 256,
            batch: 1,
        },
    ),
    alone(
        "durable 4 KiB",
        Task::Durable {
            record_len: 4096,
            batch: 1,
        },
    ),
    alone(
        "durable 100 x 256 B",
        Task::Durable {
            record_len: 256,
            batch: 100,
        },
    ),
    Workload {
        name: "durable 256 B, 8 threads, one stream",
        task: Task::Durable {
            record_len: 256,
            batch: 1,
        },
        threads: 8,
        streams: Streams::Shared,
    },
    Workload {
        name: "durable 256 B, 8 threads, a stream each",
        task: Task::Durable {
            record_len: 256,
            batch: 1,
        },
        threads: 8,
        streams: Streams::PerThread,
    },
    alone(
        "direct 256 B",
        Task::Direct {
            record_len: 256,
            batch: 1,
        },
    ),
    alone(
        "direct 4 KiB",
        Task::Direct {
            record_len: 4096,
            batch: 1,
        },
    ),
    alone(
        "direct 100 x 256 B",
        Task::Direct {
            record_len: 256,
            batch: 100,
        },
    ),
    Workload {
        name: "direct 256 B, 8 threads, one stream",
        task: Task::Direct {
            record_len: 256,
            batch: 1,
        },
        threads: 8,
        streams: Streams::Shared,
    },
    alone(
        "bulk 256 x 64 KiB, one sync",
        Task::Bulk {
            record_len: 64 << 10,
            count: 256,
        },
    ),
    alone("written 256 B", Task::Written { record_len: 256 }),
    alone("written 4 KiB", Task::Written { record_len: 4096 }),
    alone("written 64 KiB", Task::Written { record_len: 64 << 10 }),
    alone("verify 64 MiB in memory", Task::Verify { len: SCAN_LEN }),
    alone("read 64 MiB in memory", Task::Read { len: SCAN_LEN }),
    alone("open 64 MiB", Task::Open { len: SCAN_LEN }),
    alone("open 512 MiB", Task::Open { len: 8 * SCAN_LEN }),
];
