//! A process that appends is killed, and what it left is compared with what it had said.

use std::process::Command;

/// Twenty deaths; a thousand with `crashsim kill`.
#[track_caller]
fn check(write_path: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crashsim"));
    let output = command
        .args(["kill", "--rounds", "20"])
        .env("WALSTONE_WRITE_PATH", write_path)
        .output()
        .expect("the program is there");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains("0 violations"), "{said}");
}

#[test]
fn what_a_killed_process_acknowledged_is_there() {
    check("mapped");
}

/// Segments written by raw system calls, through the page cache and past it.
#[test]
#[cfg(target_os = "linux")]
fn what_a_killed_process_acknowledged_by_raw_calls_is_there() {
    check("buffered");
    check("direct");
}
