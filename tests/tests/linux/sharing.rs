//! One root, two backends: who has it, and what the other finds in it.

use tempfile::TempDir;
use walstone::{Options, Wal};
use walstone_core::{Capacity, Checksum, Geometry, Log};
use walstone_linux::{Cause, LinuxStorage, Memory, Root};

use crate::place::{PATHS, REGION, c_path, open};

const SEGMENT_LEN: u32 = 64 << 10;

fn options() -> walstone_core::Options {
    walstone_core::Options {
        checksum: Checksum::BYTEWISE,
        ..walstone_core::Options::new(REGION, 42)
    }
}

fn geometry() -> Geometry {
    Geometry::new(SEGMENT_LEN).unwrap()
}

#[test]
fn only_one_writes() {
    let dir = TempDir::new().unwrap();
    let options = || Options::builder().segment_len(SEGMENT_LEN).build().unwrap();
    let wal = Wal::open(dir.path(), options()).unwrap();
    assert!(open(dir.path()).unwrap_err().is_locked());
    wal.close().unwrap();
    let root = open(dir.path()).unwrap();
    assert!(open(dir.path()).unwrap_err().is_locked(), "in the same process, too");
    let refused = Wal::open(dir.path(), options()).unwrap_err();
    assert!(matches!(refused, walstone::Error::Locked { .. }), "{refused}");
    drop(root);
    // A reader needs no lock and changes nothing.
    let root = open(dir.path()).unwrap();
    let reading = Root::open_read_only(&c_path(dir.path())).unwrap();
    let refused = reading.remove_region(REGION).unwrap_err();
    assert_eq!(refused.cause(), Cause::ReadOnly);
    drop(root);
}

#[test]
fn each_reads_and_goes_on_with_what_the_other_wrote() {
    for path in PATHS {
        let dir = TempDir::new().unwrap();
        let std_options = || Options::builder().segment_len(SEGMENT_LEN).build().unwrap();
        let mut expect = Vec::new();
        for round in 0..6u64 {
            let value = |n: u64| vec![(round * 31 + n) as u8; 700 + n as usize];
            if round % 2 == 0 {
                let wal = Wal::open(dir.path(), std_options()).unwrap();
                let region = wal.region_or_create(REGION).unwrap();
                for n in 0..90 {
                    let at = region.append(n % 3, &value(n)).unwrap();
                    expect.push((at.first, n % 3, value(n)));
                }
                wal.close().unwrap();
            } else {
                let root = open(dir.path()).unwrap();
                let files = root.region(REGION, geometry(), path, Memory::default()).unwrap();
                let storage = LinuxStorage::new(&files);
                let mut log = Log::open(storage, Capacity::heap(4096), options()).unwrap();
                for n in 0..90 {
                    let at = log.append(n % 3, &value(n)).unwrap();
                    expect.push((at.first, n % 3, value(n)));
                    log.sync().unwrap();
                }
                log.close().unwrap();
            }
            let wal = Wal::open(dir.path(), std_options()).unwrap();
            let view = wal.region(REGION).unwrap().view().unwrap();
            let found = view.scan().map(|record| {
                let record = record.unwrap();
                (record.sequence, record.table, record.value.to_vec())
            });
            assert!(found.eq(expect.iter().cloned()), "round {round}");
            drop(view);
            wal.close().unwrap();
        }
    }
}
