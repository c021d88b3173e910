//! What an earlier life left is believed when the device holds it, whatever the page cache says.

use std::collections::BTreeSet;

use tempfile::TempDir;

use crate::place::PATHS;
use crate::traced::{is_traceable, run, told};

/// Which of the reads is the second past the page cache, counted from one: the first begins in front of the range.
fn second_direct_read(trace: &str) -> Option<usize> {
    let mut direct = BTreeSet::new();
    let (mut reads, mut met) = (0, 0);
    for line in trace.lines() {
        let call = line.split_once(' ').unwrap_or_default().1.trim_start();
        let answer = call.rsplit_once("= ").unwrap_or_default().1.to_owned();
        if call.starts_with("openat(") {
            match call.contains("O_DIRECT") {
                true => direct.insert(answer),
                false => direct.remove(&answer),
            };
        } else if let Some(arguments) = call.strip_prefix("pread64(") {
            reads += 1;
            let file = arguments.split(',').next().unwrap_or_default();
            met += usize::from(direct.contains(file));
            if met == 2 {
                return Some(reads);
            }
        }
    }
    None
}

/// After a failed sync the page cache holds what the device does not, and a second sync says that all is well. So what
/// recovery counts as durable is written again and read past the cache: where the device answers with another byte, the
/// region does not open.
#[test]
fn a_tail_that_the_device_does_not_hold_is_not_settled() {
    if !is_traceable() {
        return;
    }
    for path in PATHS {
        let left = |dir: &TempDir| {
            let root = dir.path().join("wal");
            let (output, _) = run(&root, path, "kill", None);
            assert_eq!(told(&output).acknowledged, 1000, "{output:?}");
            root
        };
        let dir = TempDir::new().unwrap();
        let (output, trace) = run(&left(&dir), path, "settle", None);
        assert_eq!(
            (told(&output).acknowledged, told(&output).done),
            (1000, true),
            "{output:?}"
        );
        let read = second_direct_read(&trace).expect("the tail is read past the page cache");

        let dir = TempDir::new().unwrap();
        let root = left(&dir);
        let lie = format!("pread64:poke_exit=@arg2=eeeeeeee:when={read}");
        let (output, trace) = run(&root, path, "settle", Some(&lie));
        assert!(trace.contains("(INJECTED"), "{output:?}");
        let refused = told(&output);
        assert!(!refused.done && refused.acknowledged == 0, "{path:?}: {output:?}");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!error.contains("panicked"), "{error}");
        // Nothing was made worse: once the device answers, all is there.
        let (output, _) = run(&root, path, "settle", None);
        assert_eq!(
            (told(&output).acknowledged, told(&output).done),
            (1000, true),
            "{output:?}"
        );
    }
}
