//! Ten thousand regions: memory, descriptors and disk stay bounded.
//!
//! In memory where there is a file system for that: making a region syncs some eight times, and it is not the device
//! that is tested.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Instant;

use walstone::{Durability, Options, Wal};

const REGIONS: u64 = 10_000;
const OPEN_SEGMENTS: usize = 64;

/// Bytes of memory of this process.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Bytes of the blocks below a path.
fn blocks(path: &Path) -> u64 {
    let metadata = fs::symlink_metadata(path).unwrap();
    let below = metadata
        .is_dir()
        .then(|| fs::read_dir(path).unwrap())
        .into_iter()
        .flatten();
    metadata.blocks() * 512 + below.map(|entry| blocks(&entry.unwrap().path())).sum::<u64>()
}

struct Measured {
    memory: u64,
    descriptors: usize,
}

fn check(what: &str, start: (u64, usize, Instant)) -> Measured {
    let measured = Measured {
        memory: resident().saturating_sub(start.0),
        descriptors: descriptors().saturating_sub(start.1),
    };
    println!(
        "{what}: {} KiB of memory, {} descriptors, {:?}",
        measured.memory >> 10,
        measured.descriptors,
        start.2.elapsed()
    );
    assert!(
        measured.memory <= 64 << 20,
        "{what}: {} bytes of memory",
        measured.memory
    );
    assert!(
        measured.descriptors <= 16 + OPEN_SEGMENTS,
        "{what}: {} descriptors",
        measured.descriptors
    );
    measured
}

#[test]
fn ten_thousand_regions_stay_small() {
    let shm = Path::new("/dev/shm");
    let dir = if shm.is_dir() {
        tempfile::tempdir_in(shm).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    };
    let path = dir.path().join("wal");
    let options = || {
        let options = Options::builder()
            .segment_len(64 << 10)
            .max_open_segments(OPEN_SEGMENTS);
        options.build().unwrap()
    };
    let start = || (resident(), descriptors(), Instant::now());

    let begun = start();
    let wal = Wal::open(&path, options()).unwrap();
    for id in 0..REGIONS {
        wal.create_region(id).unwrap();
    }
    check("made", begun);
    for id in 0..REGIONS {
        let region = wal.region(id).unwrap();
        region.append_with(1, &id.to_le_bytes(), Durability::Written).unwrap();
        region.sync().unwrap();
    }
    check("written", begun);
    wal.close().unwrap();
    drop(wal);
    let disk = blocks(&path);
    println!("{} MiB of disk", disk >> 20);
    assert!(disk <= 2 << 30, "{disk} bytes of disk");

    let begun = start();
    let wal = Wal::open(&path, options()).unwrap();
    check("opened", begun);
    assert_eq!(wal.report().regions.len() as u64, REGIONS);
    for id in (0..REGIONS).step_by(97) {
        let region = wal.region(id).unwrap();
        let view = region.view().unwrap();
        assert_eq!(view.get(1, 1).unwrap().unwrap().value, id.to_le_bytes());
    }
    check("read", begun);
    wal.close().unwrap();
}
