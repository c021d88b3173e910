//! A forked child has the parent's handles: they refuse whatever could wait for a lock, and they can be dropped.

use std::process::Command;

use crate::processes::run;
use crate::root::Root;

/// The fork itself is in a program of its own: a test harness has threads, and a child of it may do little.
#[test]
fn only_the_parent_writes() {
    let root = Root::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_fork"));
    let output = run(command.arg(root.path()).arg(crate::write_path())).unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{told}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(told.contains("the parent went on"), "{told}");
}
