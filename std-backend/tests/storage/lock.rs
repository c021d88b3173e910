//! One writing opening of a root.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;

use walstone::files::{Cause, Root, RootLock};
use walstone::seam::Seam;
use walstone_core::SegmentId;
use walstone_core::Storage;

use crate::{Bench, append};

#[test]
fn a_second_opening_is_locked_out_until_the_first_is_gone() {
    let bench = Bench::new();
    let first = bench.root();
    let again = || Root::open(Seam::new(), bench.path(), 1);
    assert!(again().unwrap_err().is_locked());
    assert!(RootLock::acquire(&Seam::new(), bench.path()).unwrap_err().is_locked());
    let clone = first.clone();
    drop(first);
    assert!(again().unwrap_err().is_locked());
    // A storage may still write.
    let storage = clone.region(crate::REGION, crate::SEGMENT_LEN).unwrap();
    drop(clone);
    assert!(again().unwrap_err().is_locked());
    drop(storage);
    assert!(again().is_ok());
}

#[test]
fn reading_needs_no_lock_in_either_order() {
    let bench = Bench::new();
    let reader = bench.open_read_only();
    let writer = bench.root();
    let later = bench.open_read_only();
    assert!(!later.dir().join("LOCK").exists());
    assert!(Root::open(Seam::new(), bench.path(), 1).unwrap_err().is_locked());
    drop((reader, later));
    assert!(Root::open(Seam::new(), bench.path(), 1).unwrap_err().is_locked());
    drop(writer);
}

/// Another program that takes the same lock keeps us out, and we keep it out.
#[test]
fn another_process_is_locked_out() {
    let bench = Bench::new();
    let try_lock = || {
        let mut command = Command::new("flock");
        command.arg("--nonblock").arg(bench.path().join("LOCK")).arg("true");
        command.status()
    };
    let Ok(status) = try_lock() else {
        println!("SKIPPED: there is no flock(1) here");
        return;
    };
    assert!(status.success());
    let root = bench.root();
    assert!(!try_lock().unwrap().success());
    drop(root);
    assert!(try_lock().unwrap().success());
}

/// A forked child has the lock, the maps and the descriptors of its parent, and must use none of them.
#[test]
fn a_forked_child_is_refused() {
    let bench = Bench::new();
    let root = bench.root();
    let storage = root.region(crate::REGION, crate::SEGMENT_LEN).unwrap();
    let child = Arc::new(std::sync::Mutex::new(storage));
    let parent = Arc::clone(&child);
    append(&mut parent.lock().unwrap(), 1, 64, b"parent").unwrap();
    assert!(root.owned_by_this_process());
    let in_child = root.clone();
    let mut command = Command::new("true");
    // SAFETY: the closure runs in the forked child before `exec`. It takes a lock that no other thread of the
    // parent uses, and else does no more than compare, and allocate for an error.
    unsafe {
        command.pre_exec(move || {
            let mut storage = child.lock().unwrap();
            let refused = storage.write(SegmentId(1), 70, &[b"child"]);
            let forked = refused.is_err_and(|error| matches!(error.cause(), Cause::Forked));
            if forked && !in_child.owned_by_this_process() {
                Ok(())
            } else {
                Err(std::io::ErrorKind::Other.into())
            }
        });
    }
    assert!(command.status().expect("the child was not refused").success());
    let mut storage = parent.lock().unwrap();
    assert_eq!(crate::read(&mut storage, 1, 64, 11), b"parent\0\0\0\0\0");
    storage.write(SegmentId(1), 70, &[b"again"]).unwrap();
    assert!(Root::open(Seam::new(), bench.path(), 1).unwrap_err().is_locked());
}
