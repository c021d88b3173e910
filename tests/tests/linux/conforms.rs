//! One line per write path and promise.

use std::collections::BTreeMap;

use tempfile::TempDir;
use walstone::seam::Seam;
use walstone_core::ram::RamStorage;
use walstone_core::{Geometry, SegmentId};
use walstone_linux::WritePath;
use walstone_tests::behaviour::{Room, check_log, fixed_bytes};
use walstone_tests::conformance::{check_full, check_shared, check_storage, check_survival};

use crate::place::{PATHS, Place, fresh_in, places, reopened};
use crate::processes::Alone;

fn geometries() -> Vec<Geometry> {
    let plain = Geometry::new(4096).unwrap();
    vec![
        plain,
        // No multiple of a block: the last one cannot be written past the page cache.
        Geometry::new(10_000).unwrap(),
        Geometry::new(65536).unwrap().with_sync_unit(512).unwrap(),
        Geometry::new(65536).unwrap().with_write_unit(512).unwrap(),
        Geometry::new(1 << 20).unwrap(),
    ]
}

#[test]
fn storages() {
    for path in PATHS {
        for geometry in geometries() {
            for at in 0..places().len() {
                let make = || fresh_in(places().swap_remove(at), geometry, path);
                check_storage(make);
                check_shared(make);
                check_survival(make, reopened, reopened);
            }
        }
    }
}

#[test]
fn logs() {
    let _alone = Alone::wait();
    for path in PATHS {
        for len in [4096, 65536] {
            let room = 12 * u64::from(len);
            let Some(_) = Place::mounted(room) else { return };
            let make = || fresh_in(Place::mounted(room).unwrap(), Geometry::new(len).unwrap(), path);
            check_full(make);
            check_log(make, &mut Room::Heap(512));
            check_log(make, &mut Room::lent());
        }
    }
}

/// Nothing but geometry, seed and operations decides the bytes.
#[test]
fn the_same_bytes_as_in_memory_and_in_maps() {
    for len in [4096, 65536] {
        let geometry = Geometry::new(len).unwrap();
        let expect = fixed_bytes(RamStorage::new(geometry), &mut Room::Heap(512));
        assert!(mapped_bytes(len) == expect, "mapped");
        for path in PATHS {
            for dir in places() {
                assert!(fixed_bytes(fresh_in(dir, geometry, path), &mut Room::Heap(512)) == expect);
            }
        }
    }
}

fn mapped_bytes(segment_len: u32) -> BTreeMap<SegmentId, Vec<u8>> {
    let dir = TempDir::new().unwrap();
    let root = walstone::files::Root::open(Seam::new(), dir.path(), 4).unwrap();
    let bytes = root.create_region_dir(7, segment_len, |storage| {
        Ok::<_, walstone::files::FileError>(fixed_bytes(storage, &mut Room::Heap(512)))
    });
    bytes.unwrap()
}

#[test]
fn stats_tell_what_had_to_be_done_without() {
    let odd = fresh_in(
        Place::Directory(TempDir::new().unwrap()),
        Geometry::new(10_000).unwrap(),
        WritePath::Direct,
    );
    let files = check_one_append(odd);
    assert!(!files.direct && files.direct_refused && files.block == 1, "{files:?}");
    let asked = fresh_in(
        Place::Directory(TempDir::new().unwrap()),
        Geometry::new(1 << 20).unwrap(),
        WritePath::Buffered,
    );
    let files = check_one_append(asked);
    assert!(!files.direct && !files.direct_refused, "{files:?}");
}

fn check_one_append(mut storage: crate::place::Storage) -> walstone_linux::Stats {
    use walstone_core::{Mark, Storage};
    storage.create(SegmentId(1), &[7; 64]).unwrap();
    storage.claim(SegmentId(1), 5000).unwrap();
    storage.write(SegmentId(1), 64, &[b"bytes"]).unwrap();
    let to = Mark {
        segment: SegmentId(1),
        end: 69,
    };
    storage.sync(to).unwrap();
    storage.files().stats()
}
