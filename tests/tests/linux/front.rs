//! The std backend with segments that are written by raw system calls: what only it can show.

use std::thread;

use walstone::{Durability, Options, Wal, WritePath};

const WRITE_PATHS: [WritePath; 2] = [WritePath::Buffered, WritePath::Direct];

fn open(path: &std::path::Path, write_path: WritePath) -> Wal {
    let options = Options::builder().segment_len(1 << 20).write_path(write_path);
    Wal::open(path, options.build().unwrap()).unwrap()
}

/// A log goes on whichever way it was written before.
#[test]
fn every_way_of_writing_goes_on_with_what_the_others_wrote() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut expect = Vec::new();
    for round in 0..6u8 {
        let paths = [WritePath::Mapped, WritePath::Buffered, WritePath::Direct];
        let wal = open(dir.path(), paths[usize::from(round) % 3]);
        let region = wal.region_or_create(7).unwrap();
        for n in 0..50u8 {
            let value = vec![round ^ n; 500 + usize::from(n)];
            let durability = if n % 4 == 0 {
                Durability::Durable
            } else {
                Durability::Written
            };
            region.append_with(1, &value, durability).unwrap();
            expect.push(value);
        }
        let view = region.view().unwrap();
        let found = view.scan().map(|record| record.unwrap().value.to_vec());
        assert!(found.eq(expect.iter().cloned()), "round {round}");
        wal.close().unwrap();
    }
}

/// Large records come past the page cache in several writes that nobody waits for one by one.
#[test]
fn large_records_are_several_writes_on_their_way() {
    let dir = tempfile::TempDir::new().unwrap();
    let options = Options::builder().segment_len(64 << 10).write_path(WritePath::Direct);
    let wal = Wal::open(dir.path(), options.buffer_len(4096).build().unwrap()).unwrap();
    let region = wal.create_region(7).unwrap();
    region.append_with(1, &[1; 12 << 10], Durability::Written).unwrap();
    let linux = wal.stats().unwrap().regions.swap_remove(0).linux.unwrap();
    assert!(
        linux.flights > 1 || linux.direct_refused || linux.flights_refused,
        "{linux:?}"
    );
    let view = region.view().unwrap();
    assert!(
        view.scan()
            .map(|record| record.unwrap().value.to_vec())
            .eq([vec![1; 12 << 10]])
    );
}

/// Syncs are shared, and what each thread was told is there after a reopen.
#[test]
fn threads_share_durable_writes() {
    for write_path in WRITE_PATHS {
        let dir = tempfile::TempDir::new().unwrap();
        let wal = open(dir.path(), write_path);
        let region = wal.create_region(7).unwrap();
        thread::scope(|scope| {
            for n in 0..8u8 {
                let region = region.clone();
                scope.spawn(move || {
                    for _ in 0..50 {
                        region.append(u64::from(n), &[n; 256]).unwrap();
                        region
                            .append_with(u64::from(n), &[n; 100], Durability::Written)
                            .unwrap();
                    }
                });
            }
        });
        let stats = wal.stats().unwrap().regions.swap_remove(0);
        let linux = stats.linux.unwrap();
        assert_eq!(linux.direct, write_path == WritePath::Direct && !linux.direct_refused);
        assert!(
            stats.syncs <= 400 && linux.durable_writes + linux.syncs <= 400 + 100,
            "{stats:?}"
        );
        drop((wal, region));
        let wal = open(dir.path(), write_path);
        let view = wal.region(7).unwrap().view().unwrap();
        for n in 0..8u8 {
            assert_eq!(view.read(n.into(), ..).count(), 100);
        }
    }
}
