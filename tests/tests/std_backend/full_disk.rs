//! A full disk: an error value, no poison, no signal; deleting, reclaiming, closing and opening go on working.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use walstone::{Error, OptionsBuilder};

use crate::processes::{Alone, run};
use crate::root::{Root, scan, sequences, value};

/// A small file system at the root; unmounted when dropped.
struct Disk(PathBuf);

impl Disk {
    /// `None` where this process may not mount.
    fn mount(root: &Root, size: &str) -> Option<Self> {
        fs::create_dir(root.path()).unwrap();
        let option = format!("size={size}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &option, "tmpfs"]).arg(root.path());
        if !run(&mut mount).is_ok_and(|output| output.status.success()) {
            eprintln!("SKIPPED: mounting a small file system is not allowed here");
            return None;
        }
        Some(Self(root.path()))
    }

    /// Leaves no byte free.
    fn fill(&self) {
        let mut filler = File::options()
            .create(true)
            .append(true)
            .open(self.0.join("filler"))
            .unwrap();
        for len in [1 << 20, 4096, 1] {
            let block = vec![0xff; len];
            while filler.write_all(&block).is_ok() {}
        }
        assert_eq!(rustix::fs::statvfs(&self.0).unwrap().f_bfree, 0);
    }

    fn free(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let lazily = run(Command::new("umount").arg("-l").arg(&self.0));
        assert!(lazily.is_ok_and(|output| output.status.success()) || std::thread::panicking());
    }
}

/// Fills a disk under a log, then does everything that must work without a free byte.
fn check(options: impl Fn(&Root) -> OptionsBuilder, value_len: usize) {
    let _alone = Alone::wait();
    let root = Root::new();
    let Some(disk) = Disk::mount(&root, "4m") else { return };
    let wal = root.open_with(options(&root)).unwrap();
    let region = wal.create_region(7).unwrap();
    let mut last = 0;
    while root.segments(7).len() < 4 {
        last = region.append(1, &value(last + 1, value_len)).unwrap().last;
    }
    root.watch.wait_quiet();
    disk.fill();
    let full = loop {
        match region.append(1, &value(last + 1, value_len)) {
            Ok(at) => last = at.last,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, Error::Full), "{full:?}");
    assert!(matches!(region.append(1, &value(0, value_len)), Err(Error::Full)));
    assert_eq!(region.poisoned(), None);
    assert_eq!(region.last_sequence(), last, "no sequence is used");
    assert!(matches!(wal.create_region(8), Err(Error::Full | Error::Storage(_))));
    assert!(scan(&region).iter().map(|row| row.1).eq(1..=last), "nothing is lost");

    // Closing and opening.
    wal.close().unwrap();
    drop((region, wal));
    let wal = root.open_with(options(&root)).unwrap();
    assert_eq!(wal.regions(), [7]);
    let region = wal.region(7).unwrap();
    assert!(scan(&region).iter().map(|row| row.1).eq(1..=last));

    // Deleting and reclaiming, and writing again in what that gave back.
    region.delete_up_to(1, last - 1).unwrap();
    let segments = root.segments(7).len();
    region.reclaim().unwrap();
    assert!(
        root.segments(7).len() < segments,
        "{segments} -> {:?}",
        root.segments(7)
    );
    assert_eq!(sequences(&region, 1), [last]);
    let at = region.append(1, &value(last + 1, value_len)).unwrap();
    assert_eq!(at.first, last + 1);
    wal.close().unwrap();
    drop((region, wal));

    // And with room everything is as it was.
    disk.free();
    let wal = root.open_with(options(&root)).unwrap();
    let region = wal.region(7).unwrap();
    assert_eq!(sequences(&region, 1), [last, last + 1]);
    for sequence in last + 2..last + 40 {
        assert_eq!(region.append(1, &value(sequence, value_len)).unwrap().first, sequence);
    }
    wal.create_region(8).unwrap();
    wal.close().unwrap();
    drop((region, wal));
    drop(disk);
}

#[test]
fn short_segments() {
    check(|root| root.options().segment_len(16 << 10), 700);
}

/// The last segment in hand had no room claimed for its manifest: reclaiming was refused for want of space.
#[test]
fn segments_of_many_steps() {
    check(|root| root.options().segment_len(512 << 10), 9000);
}

#[test]
fn one_open_segment() {
    check(|root| root.options().segment_len(64 << 10).max_open_segments(1), 3000);
}
