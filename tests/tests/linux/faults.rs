//! Every system call fails or is the last one: nothing acknowledged is lost, and nothing in doubt is acknowledged.

use tempfile::TempDir;
use walstone_linux::WritePath;

use crate::place::PATHS;
use crate::traced::{is_traceable, recovered, run, told};

const SEGMENT_LEN: u32 = 16 << 10;

/// Runs with this fault and looks at what is left; whether the fault was met.
fn check(path: WritePath, inject: &str) -> bool {
    let dir = TempDir::new().unwrap();
    let root = dir.path().join("wal");
    let (output, trace) = run(&root, path, "mixed", Some(inject));
    let told = told(&output);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!error.contains("panicked"), "{path:?} {inject}: {error}");
    let met = trace.contains("(INJECTED)") || trace.contains("killed by SIGKILL");
    if told.acknowledged == 0 && !root.join("7").is_dir() {
        // It failed before there was a region.
        assert!(met, "{path:?} {inject}: {error}");
        return true;
    }
    let found = recovered(&root, path, SEGMENT_LEN);
    let all = found.windows(2).all(|pair| pair[0] + 1 == pair[1]);
    assert!(all, "{path:?} {inject}: {found:?}");
    let last = found.last().copied().unwrap_or(0);
    assert!(
        last >= told.acknowledged,
        "{path:?} {inject}: {last} of {}: {error}",
        told.acknowledged
    );
    let first = found.first().copied().unwrap_or(1);
    assert!(first > told.deleted, "{path:?} {inject}: {first} came back");
    assert!(met || told.done, "{path:?} {inject}: {error}");
    met
}

/// At the first, second, .. call, further and further apart, until a run ends before that.
fn sweep(path: WritePath, call: &str, fault: &str) -> u32 {
    let mut met = 0;
    let mut when = 1;
    while check(path, &format!("{call}:{fault}:when={when}")) {
        met += 1;
        when += 1 + when / 2;
    }
    met
}

#[test]
fn failed_calls() {
    if !is_traceable() {
        return;
    }
    for path in PATHS {
        for (call, faults) in [
            (
                "pwrite64",
                &["error=EIO", "error=ENOSPC", "error=EINTR", "retval=0"][..],
            ),
            ("fdatasync", &["error=EIO", "error=ENOSPC", "error=EINTR"]),
            ("fsync", &["error=EIO", "error=EINTR"]),
            ("openat", &["error=EMFILE", "error=EINTR"]),
            ("fallocate", &["error=ENOSPC", "error=EOPNOTSUPP", "error=EIO"]),
            ("renameat2", &["error=EIO"]),
            ("ftruncate", &["error=ENOSPC"]),
            ("unlinkat", &["error=EIO"]),
            ("pread64", &["error=EIO"]),
            ("getdents64", &["error=EIO"]),
        ] {
            for fault in faults {
                assert!(sweep(path, call, fault) > 0, "{path:?}: {call} is never made");
            }
        }
    }
    for fault in [
        "error=EIO",
        "error=ENOSPC",
        "error=EINTR",
        "retval=100",
        "retval=0",
        "error=EOPNOTSUPP",
    ] {
        assert!(sweep(WritePath::Direct, "pwritev2", fault) > 3, "{fault}");
    }
}

#[test]
fn killed_at_a_call() {
    if !is_traceable() {
        return;
    }
    for path in PATHS {
        let calls = [
            "pwrite64",
            "fdatasync",
            "fsync",
            "fallocate",
            "renameat2",
            "openat",
            "unlinkat",
        ];
        for call in calls.iter().chain((path == WritePath::Direct).then_some(&"pwritev2")) {
            sweep(path, call, "signal=KILL");
        }
    }
}

/// Two handles hand the same bytes over, and the write that carries them fails while the other one waits for it. That one
/// found nothing gathered any more and reported success; then the bytes, which the file never got, were lent.
#[test]
fn a_failed_write_fails_for_all_who_wait_for_it() {
    if !is_traceable() {
        return;
    }
    for path in PATHS {
        let dir = TempDir::new().unwrap();
        let root = dir.path().join("wal");
        let (output, _) = run(&root, path, "written", None);
        assert!(told(&output).done, "{output:?}");
        let inject = "pwrite64:error=EIO:delay_enter=300000:when=2+";
        let (output, trace) = run(&root, path, "beside", Some(inject));
        assert!(trace.contains("(INJECTED)"), "{output:?}");
        assert!(told(&output).done, "{path:?}: {output:?}");
    }
}

/// A failed durable write or sync is the last one: the log is poisoned, and says so.
#[test]
fn a_failed_sync_poisons() {
    for (path, call) in [
        (WritePath::Direct, "pwritev2"),
        (WritePath::Direct, "fdatasync"),
        (WritePath::Buffered, "fdatasync"),
        (WritePath::Buffered, "pwrite64"),
    ] {
        if !is_traceable() {
            return;
        }
        let dir = TempDir::new().unwrap();
        let root = dir.path().join("wal");
        let (output, _) = run(&root, path, "mixed", Some(&format!("{call}:error=EIO:when=4")));
        let told = told(&output);
        assert!(told.poisoned && !told.done, "{output:?}");
    }
}
