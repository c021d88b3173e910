//! How many bytes opening and reading ask for.

use walstone_core::ram::RamStorage;
use walstone_core::segment::layout::Layout;
use walstone_core::{Capacity, Geometry, Log, Options, SegmentId, Storage};
use walstone_tests::storages::Method;
use walstone_tests::storages::counting::Counting;
use walstone_tests::storages::shared::SharedRam;

const SEALED: u64 = 12;

/// A region with twelve sealed segments, one table in each, but for the record that did not fit any more.
fn sealed() -> RamStorage {
    let geometry = Geometry::new(65536).unwrap();
    let mut log = Log::create(RamStorage::new(geometry), Capacity::heap(0), Options::new(7, 42)).unwrap();
    while log.written_mark().segment.0 <= SEALED {
        log.append(log.written_mark().segment.0, &[3; 500]).unwrap();
    }
    log.close().unwrap();
    log.into_storage()
}

fn check<S: Storage>(storage: S) {
    let layout = Layout::new(storage.geometry());
    let bound = u64::from(64 + layout.max_manifest_len() + layout.max_seal_len());
    let storage = Counting::new(storage);
    let tallies = storage.tallies();
    let mut log = Log::open(storage, Capacity::heap(4096), Options::new(7, 42)).unwrap();
    let newest = log.report().newest.0;
    assert!(newest > SEALED);
    let mut most = 0;
    for id in (1..newest).map(SegmentId) {
        let read = tallies.of_segment(Method::Read, id);
        most = most.max(read.bytes);
        assert!(
            read.bytes <= bound,
            "{} bytes of sealed segment {id}, at most {bound}",
            read.bytes
        );
        assert_eq!(tallies.of_segment(Method::Settle, id).calls, 0);
        assert_eq!(tallies.of_segment(Method::Write, id).calls, 0);
    }
    println!("opening reads {most} bytes of a sealed segment, may read {bound}");

    // Reading a table that stands in one segment: the others are told by their footers.
    tallies.reset();
    let mut reads = log.read(Some(5), ..);
    let mut records = 0;
    while let Some(record) = reads.next() {
        assert_eq!(record.unwrap().table, 5);
        records += 1;
    }
    assert!(records > 100);
    for id in (1..newest).filter(|id| !(5..=6).contains(id)).map(SegmentId) {
        let read = tallies.of_segment(Method::Read, id).bytes;
        most = most.max(read);
        assert!(
            read <= bound,
            "{read} bytes of segment {id}, which has no record of table 5"
        );
    }
    println!("reading one table reads at most {most} bytes of a segment without it");
}

#[test]
fn a_sealed_segment_is_not_walked_to_open_or_to_skip_it() {
    let ram = sealed();
    check(ram.clone());
    check(SharedRam::new(ram));
}
