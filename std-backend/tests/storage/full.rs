//! A file system without room: an error value, never a signal, and nothing changed by it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use walstone::files::Root;
use walstone::seam::Seam;
use walstone_core::SegmentId;
use walstone_core::{Fault, Storage, StorageError};

use crate::{HEADER, REGION, append, mark, read};

const SEGMENT_LEN: u32 = 8 << 20;

/// A small file system, mounted while this lives.
struct Mount {
    dir: TempDir,
    image: Option<TempDir>,
}

impl Mount {
    fn tmpfs(size: &str) -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]);
        Self::run(command.arg(dir.path()), "mount a tmpfs")?;
        Some(Self { dir, image: None })
    }

    fn ext4(len: u64) -> Option<Self> {
        let image = TempDir::new().unwrap();
        let file = image.path().join("image");
        fs::File::create(&file).unwrap().set_len(len).unwrap();
        let mut make = Command::new("mkfs.ext4");
        make.args(["-q", "-F", "-m", "0", "-b", "4096", "-O", "^has_journal"]);
        Self::run(make.arg(&file), "make an ext4 image")?;
        let dir = TempDir::new().unwrap();
        let mut mount = Command::new("mount");
        Self::run(
            mount.args(["-o", "loop"]).arg(&file).arg(dir.path()),
            "mount an ext4 image",
        )?;
        Some(Self {
            dir,
            image: Some(image),
        })
    }

    fn run(command: &mut Command, what: &str) -> Option<()> {
        let output = command.output();
        if output.as_ref().is_ok_and(|output| output.status.success()) {
            return Some(());
        }
        println!("SKIPPED: cannot {what} here: {output:?}");
        None
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("wal")
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.dir.path()).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            println!("cannot unmount {} ({:?})", self.dir.path().display(), self.image);
        }
    }
}

/// Fills the file system by claims, then lives on in it.
fn check(path: &Path) {
    let root = Root::open(Seam::new(), path, 2).unwrap();
    let mut storage = root
        .create_region_dir(REGION, SEGMENT_LEN, |mut storage| {
            storage.create(SegmentId(1), &HEADER)?;
            Ok::<_, walstone::files::FileError>(storage)
        })
        .unwrap();
    let chunk = [0x5a; 1000];
    let mut end = 64;
    let error = loop {
        match append(&mut storage, 1, end, &chunk) {
            Ok(()) => end += chunk.len() as u32,
            Err(error) => break error,
        }
    };
    assert_eq!(error.fault(), Fault::Full, "{error}");
    assert!(end > 20_000, "only {end}");
    // Nothing changed: what fitted before still does, and each byte of it is durable.
    let blocks = end.next_multiple_of(4096);
    storage
        .write(SegmentId(1), end, &[&chunk[..(blocks - end) as usize]])
        .unwrap();
    storage.sync(mark(1, blocks)).unwrap();
    let error = storage.claim(SegmentId(1), SEGMENT_LEN).unwrap_err();
    assert_eq!(error.fault(), Fault::Full, "{error}");

    // Somebody else takes the last blocks.
    let other = path.join("other");
    let mut taken = 0;
    while fs::write(other.with_extension(taken.to_string()), [1; 4096]).is_ok() {
        taken += 1;
    }
    let _ = fs::remove_file(other.with_extension(taken.to_string()));
    let _ = fs::write(&other, [1; 100_000]);
    let error = storage.create(SegmentId(2), &HEADER).unwrap_err();
    assert_eq!(error.fault(), Fault::Full, "{error}");
    let mut names: Vec<_> = fs::read_dir(path.join("7"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["seg_1"]);
    let error = crate_region(&root).unwrap_err();
    assert_eq!(error.fault(), Fault::Full, "{error}");
    assert_eq!(root.list_regions().unwrap().regions, [REGION]);
    assert!(root.list_regions().unwrap().leftovers.is_empty());
    drop((storage, root));

    // Reopening, claiming again what is there, settling, storing: all without a free block.
    let root = Root::open(Seam::new(), path, 2).unwrap();
    let mut storage = root.region(REGION, SEGMENT_LEN).unwrap();
    crate::listed(&mut storage).unwrap();
    storage.claim(SegmentId(1), blocks).unwrap();
    storage.settle(SegmentId(1), 0, blocks).unwrap();
    for page in (0..blocks).step_by(4096) {
        storage.write(SegmentId(1), page.max(64), &[b"again"]).unwrap();
    }
    storage.sync(mark(1, blocks)).unwrap();
    assert_eq!(read(&mut storage, 1, blocks - 4096, 6), b"againZ");
    let error = storage.claim(SegmentId(1), SEGMENT_LEN).unwrap_err();
    assert_eq!(error.fault(), Fault::Full, "{error}");

    // Removing gives room.
    storage.remove(SegmentId(1)).unwrap();
    storage.create(SegmentId(2), &HEADER).unwrap();
    append(&mut storage, 2, 64, &chunk).unwrap();
    storage.sync(mark(2, 1064)).unwrap();
}

fn crate_region(root: &Root) -> Result<(), walstone::files::FileError> {
    root.create_region_dir(8, SEGMENT_LEN, |mut storage| storage.create(SegmentId(1), &HEADER))
}

#[test]
fn a_full_tmpfs_is_an_error_value() {
    if let Some(mount) = Mount::tmpfs("400k") {
        check(&mount.root());
    }
}

#[test]
fn a_full_ext4_is_an_error_value() {
    if let Some(mount) = Mount::ext4(3 << 20) {
        check(&mount.root());
    }
}
