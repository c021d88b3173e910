//! Every system call fails or is the last one: nothing acknowledged is lost, and nothing in doubt is acknowledged.

use tempfile::TempDir;
use walstone_linux::WritePath;

use crate::place::PATHS;
use crate::traced::{is_traceable, recovered, run, told};

const SEGMENT_LEN: u32 = 16 << 10;

const BULK_SEGMENT_LEN: u32 = 256 << 10;

const RESUMED_SEGMENT_LEN: u32 = 8 << 20;

/// Runs with this fault and looks at what is left; whether the fault was met.
fn check(path: WritePath, what: &str, inject: &str) -> bool {
    let dir = TempDir::new().unwrap();
    let root = dir.path().join("wal");
    let mut kept = 0;
    if what == "resume" {
        kept = told(&run(&root, path, "kill", None).0).acknowledged;
        assert_eq!(kept, 1000);
    }
    let (output, trace) = run(&root, path, what, Some(inject));
    let told = told(&output);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!error.contains("panicked"), "{path:?} {inject}: {error}");
    let met = trace.contains("(INJECTED") || trace.contains("killed by SIGKILL");
    kept = kept.max(told.acknowledged);
    if kept == 0 && !root.join("7").is_dir() {
        // It failed before there was a region.
        assert!(met, "{path:?} {inject}: {error}");
        return true;
    }
    let segment_len = match what {
        "bulk" => BULK_SEGMENT_LEN,
        "resume" => RESUMED_SEGMENT_LEN,
        _ => SEGMENT_LEN,
    };
    let found = recovered(&root, path, segment_len);
    let all = found.windows(2).all(|pair| pair[0] + 1 == pair[1]);
    assert!(all, "{path:?} {inject}: {found:?}");
    let last = found.last().copied().unwrap_or(0);
    assert!(last >= kept, "{path:?} {inject}: {last} of {kept}: {error}");
    let first = found.first().copied().unwrap_or(1);
    assert!(first > told.deleted, "{path:?} {inject}: {first} came back");
    assert!(met || told.done, "{path:?} {inject}: {error}");
    met
}

/// At the first, second, .. call, further and further apart, until a run ends before that.
fn sweep(path: WritePath, what: &str, call: &str, fault: &str) -> u32 {
    let mut met = 0;
    let mut when = 1;
    while check(path, what, &format!("{call}:{fault}:when={when}")) {
        met += 1;
        when += 1 + when / 2;
    }
    met
}

/// Each call with each of these faults; how many pairs met one.
fn sweep_all(path: WritePath, what: &str, calls: &[(&str, &[&str])]) -> u32 {
    let mut pairs = 0;
    for (call, faults) in calls {
        for fault in *faults {
            assert!(sweep(path, what, call, fault) > 0, "{path:?}: {call} is never made");
            pairs += 1;
        }
    }
    pairs
}

const CALLS: &[(&str, &[&str])] = &[
    (
        "pwrite64",
        &["error=EIO", "error=ENOSPC", "error=EINTR", "retval=0", "signal=KILL"],
    ),
    (
        "fdatasync",
        &["error=EIO", "error=ENOSPC", "error=EINTR", "signal=KILL"],
    ),
    ("fsync", &["error=EIO", "error=EINTR", "signal=KILL"]),
    ("openat", &["error=EMFILE", "error=EIO", "error=EINTR", "signal=KILL"]),
    (
        "fallocate",
        &[
            "error=ENOSPC",
            "error=EOPNOTSUPP",
            "error=EIO",
            "error=EINTR",
            "signal=KILL",
        ],
    ),
    ("renameat2", &["error=EIO", "error=ENOSPC", "signal=KILL"]),
    (
        "ftruncate",
        &["error=ENOSPC", "error=EIO", "error=EINTR", "signal=KILL"],
    ),
    ("unlinkat", &["error=EIO", "signal=KILL"]),
    ("mkdirat", &["error=EIO", "error=ENOSPC", "signal=KILL"]),
    ("flock", &["error=EIO", "error=EINTR"]),
    ("pread64", &["error=EIO", "error=EINTR", "retval=0", "signal=KILL"]),
    ("getdents64", &["error=EIO", "error=EINTR", "signal=KILL"]),
    ("statx", &["error=EIO", "error=EINTR", "signal=KILL"]),
    ("lseek", &["error=EIO", "error=EINTR", "signal=KILL"]),
];

#[test]
fn failed_calls_through_the_page_cache() {
    if is_traceable() {
        let pairs = sweep_all(WritePath::Buffered, "mixed", CALLS);
        println!("{pairs} pairs of a call and what became of it");
    }
}

#[test]
fn failed_calls_past_the_page_cache() {
    if !is_traceable() {
        return;
    }
    let durable: &[(&str, &[&str])] = &[
        (
            "pwritev2",
            &[
                "error=EIO",
                "error=ENOSPC",
                "error=EINTR",
                "error=EOPNOTSUPP",
                "retval=100",
                "retval=0",
                "signal=KILL",
            ],
        ),
        (
            "pwritev",
            &["error=EIO", "error=ENOSPC", "error=EINTR", "retval=0", "signal=KILL"],
        ),
    ];
    let pairs = sweep_all(WritePath::Direct, "mixed", CALLS) + sweep_all(WritePath::Direct, "mixed", durable);
    println!("{pairs} pairs of a call and what became of it");
}

/// A recovery that fails, and a session that cannot begin: what the life before handed over is there for the next one.
#[test]
fn failed_calls_of_a_recovery() {
    if !is_traceable() {
        return;
    }
    let calls: &[(&str, &[&str])] = &[
        ("pread64", &["error=EIO", "error=EINTR", "retval=0", "signal=KILL"]),
        (
            "pwrite64",
            &["error=EIO", "error=ENOSPC", "error=EINTR", "retval=0", "signal=KILL"],
        ),
        ("fdatasync", &["error=EIO", "error=EINTR", "signal=KILL"]),
        ("fsync", &["error=EIO", "signal=KILL"]),
        ("openat", &["error=EMFILE", "error=EIO", "signal=KILL"]),
        ("lseek", &["error=EIO", "signal=KILL"]),
        ("statx", &["error=EIO", "signal=KILL"]),
        ("getdents64", &["error=EIO", "signal=KILL"]),
        ("flock", &["error=EIO"]),
    ];
    let durable: &[(&str, &[&str])] = &[("pwritev2", &["error=EIO", "error=EINTR", "retval=100", "signal=KILL"])];
    let mut pairs = sweep_all(WritePath::Direct, "resume", durable);
    for path in PATHS {
        pairs += sweep_all(path, "resume", calls);
    }
    println!("{pairs} pairs of a call and what became of it");
}

/// The std backend above it: its syncs are shared, and a thread of its own works beside.
#[test]
fn failed_calls_below_the_std_backend() {
    if !is_traceable() {
        return;
    }
    let calls: &[(&str, &[&str])] = &[
        ("pwrite64", &["error=EIO", "error=EINTR", "signal=KILL"]),
        ("fdatasync", &["error=EIO", "error=EINTR", "signal=KILL"]),
        ("fsync", &["error=EIO", "signal=KILL"]),
        ("openat", &["error=EMFILE", "error=EIO", "signal=KILL"]),
        ("fallocate", &["error=ENOSPC", "error=EIO", "signal=KILL"]),
        ("pread64", &["error=EIO", "signal=KILL"]),
        ("getdents64", &["error=EIO", "signal=KILL"]),
    ];
    let durable: &[(&str, &[&str])] = &[(
        "pwritev2",
        &["error=EIO", "error=ENOSPC", "error=EINTR", "retval=100", "signal=KILL"],
    )];
    let mut pairs = sweep_all(WritePath::Direct, "front", durable);
    for path in PATHS {
        pairs += sweep_all(path, "front", calls);
    }
    println!("{pairs} pairs of a call and what became of it");
}

/// Writes that nobody waits for: they are refused, fail, or are under way when the process dies.
#[test]
fn failed_calls_of_many_bytes_between_two_syncs() {
    if !is_traceable() {
        return;
    }
    let flights: &[(&str, &[&str])] = &[
        (
            "io_submit",
            &[
                "error=EIO",
                "error=EAGAIN",
                "error=ENOMEM",
                "error=ENOSYS",
                "error=EINTR",
                "retval=0",
                "signal=KILL",
            ],
        ),
        (
            "io_getevents",
            &[
                "error=EIO",
                "error=EAGAIN",
                "error=ENOMEM",
                "error=ENOSYS",
                "error=EINTR",
                "retval=0",
                "signal=KILL",
            ],
        ),
        (
            "io_setup",
            &[
                "error=ENOSYS",
                "error=EPERM",
                "error=EAGAIN",
                "error=ENOMEM",
                "error=EIO",
                "error=EINTR",
                "signal=KILL",
            ],
        ),
        ("io_destroy", &["error=EINVAL", "signal=KILL"]),
        ("pwrite64", &["error=EIO", "error=ENOSPC", "signal=KILL"]),
        ("fdatasync", &["error=EIO", "signal=KILL"]),
    ];
    let mut pairs = sweep_all(WritePath::Direct, "bulk", flights);
    // How the first of them ended, as the kernel tells it: with fewer bytes, with none, with an error. All have ended by then.
    for result in [512, 100, 0, -5, -28_i64] {
        let event: String = [1, 0, result]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let inject = format!("io_getevents:delay_enter=50000:poke_exit=@arg4={event}:when=1");
        assert!(check(WritePath::Direct, "bulk", &inject), "{result}");
        pairs += 1;
    }
    println!("{pairs} pairs of a call and what became of it");
}

/// What is sent on its way is told by the statistics, and so is that there is no such thing.
#[test]
fn writes_that_nobody_waits_for_are_told_of() {
    if !is_traceable() {
        return;
    }
    let runs = [
        (WritePath::Direct, None),
        (WritePath::Direct, Some("io_setup:error=ENOSYS")),
        (WritePath::Direct, Some("io_setup:error=EPERM")),
        (WritePath::Direct, Some("io_submit:error=EAGAIN")),
        (WritePath::Buffered, None),
    ];
    for (path, inject) in runs {
        let dir = TempDir::new().unwrap();
        let root = dir.path().join("wal");
        let (output, _) = run(&root, path, "bulk", inject);
        let told = told(&output);
        assert!(told.done && told.acknowledged == 120, "{path:?} {inject:?}: {output:?}");
        let expected = path == WritePath::Direct && inject.is_none();
        assert_eq!(told.flights > 0, expected, "{path:?} {inject:?}: {told:?}");
        let refused = inject.is_some_and(|inject| inject.starts_with("io_setup"));
        assert_eq!(
            told.without,
            if refused { vec!["flights"] } else { vec![] },
            "{inject:?}"
        );
        assert_eq!(recovered(&root, path, BULK_SEGMENT_LEN), (1..=120).collect::<Vec<_>>());
    }
}

/// A kernel or a file system that lacks something: the log does without, loses nothing, and says so.
#[test]
fn what_had_to_be_done_without_is_told() {
    if !is_traceable() {
        return;
    }
    // The first one of the region that has its name.
    let opened_direct = || {
        let dir = TempDir::new().unwrap();
        let (_, trace) = run(&dir.path().join("wal"), WritePath::Direct, "mixed", None);
        let named = trace.find(", \"7\", 0)").expect("it gets its name");
        let at = named + trace[named..].find("O_DIRECT|").expect("it is tried");
        trace[..at].matches(" openat(").count()
    };
    let runs = [
        (String::new(), None),
        (format!("openat:error=EINVAL:when={}", opened_direct()), Some("direct")),
        ("pwritev2:error=EOPNOTSUPP".into(), Some("durable")),
        ("pwritev2:error=ENOSYS".into(), Some("durable")),
        ("fallocate:error=EOPNOTSUPP".into(), Some("allocate")),
        ("fallocate:error=ENOSYS".into(), Some("allocate")),
    ];
    for (inject, without) in runs {
        let dir = TempDir::new().unwrap();
        let root = dir.path().join("wal");
        let inject = Some(inject.as_str()).filter(|inject| !inject.is_empty());
        let (output, _) = run(&root, WritePath::Direct, "mixed", inject);
        let told = told(&output);
        assert!(told.done, "{inject:?}: {output:?}");
        assert_eq!(told.without, Vec::from_iter(without), "{inject:?}");
        let found = recovered(&root, WritePath::Direct, SEGMENT_LEN);
        assert_eq!(
            (found.first(), found.last()),
            (Some(&(told.deleted + 1)), Some(&told.acknowledged))
        );
    }
}

/// A write that nobody waited for meets the end of what the file may be: who comes next is told, and nobody gets the bytes.
#[test]
fn a_write_that_nobody_waited_for_fails_the_next_call() {
    if !is_traceable() {
        return;
    }
    for path in PATHS {
        let dir = TempDir::new().unwrap();
        let (output, _) = run(&dir.path().join("wal"), path, "limited", None);
        assert!(told(&output).done, "{path:?}: {output:?}");
    }
}

/// The buffers and the lock on the root outlive what is on its way, however a log ends: another one that opens the root must not
/// meet it. Where the process is killed the kernel waits, before it closes the files: the kills above find no lock.
#[test]
fn the_lock_and_the_buffers_outlive_what_is_on_its_way() {
    if !is_traceable() {
        return;
    }
    // The length of a buffer, by which it is known.
    let ends = [
        ("leave", 8 << 10),
        ("front-drop", 20 << 10),
        ("front-close", 20 << 10),
        ("front-panic", 20 << 10),
    ];
    for (what, buffer_len) in ends {
        let dir = TempDir::new().unwrap();
        let (output, trace) = run(&dir.path().join("wal"), WritePath::Direct, what, None);
        assert!(told(&output).done, "{what}: {output:?}");
        let buffer = format!(", {buffer_len})");
        let (mut flying, mut most, mut unmapped) = (0, 0, 0);
        let (mut made, mut ended, mut unlocked) = (0, 0, false);
        for line in trace.lines() {
            let answers = |name: &str, answer: &str| line.contains(name) && line.ends_with(answer);
            if line.contains("io_submit(") && !line.contains(" = -1 ") {
                flying += 1;
                most = most.max(flying);
                unmapped = 0;
            } else if answers("io_getevents", " = 1") {
                flying -= 1;
            } else if answers("io_setup", " = 0") {
                made += 1;
            } else if answers("io_destroy", " = 0") {
                ended += 1;
                flying = 0;
            } else if line.contains("munmap(") && line.contains(&buffer) {
                // Of four buffers one is gathered in, and the one that could not be sent is free.
                unmapped += 1;
                assert!(
                    unmapped + flying <= 4,
                    "{what}: a buffer that is written from is unmapped"
                );
            } else if line.contains("LOCK_UN") {
                assert_eq!(flying, 0, "{what}: unlocked");
                unlocked = true;
            }
        }
        assert!(most >= 2, "{what}: {most} on their way at once");
        assert!(unlocked && unmapped >= 4, "{what}: {unmapped}");
        assert_eq!(made, ended, "{what}: no queue is left");
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
