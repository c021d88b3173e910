//! How many bytes opening and reading ask for, and in how many pieces.

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

/// A frame of which only the first bytes reached a file that tells its holes: the payload ends far behind the extent. For a
/// while what stands there was read in pieces of 64 bytes, each with a call of its own.
#[test]
fn a_torn_frame_that_ends_behind_the_extent_is_read_in_few_pieces() {
    const VALUE_LEN: usize = 512 << 10;
    const BUFFER_LEN: usize = 4096;
    let geometry = Geometry::new(1 << 20).unwrap();
    let mut log = Log::create(RamStorage::new(geometry), Capacity::heap(0), Options::new(7, 42)).unwrap();
    log.append(1, b"whole").unwrap();
    log.sync().unwrap();
    let whole = log.written_mark();
    log.append(1, &[3; VALUE_LEN]).unwrap();
    assert_eq!(log.written_mark().segment, whole.segment);
    let bytes = log.into_storage().bytes_mut(whole.segment).unwrap().to_vec();
    let (start, arrived) = (Layout::new(geometry).frames_start(), whole.end + 64);
    let mut ram = RamStorage::new(geometry);
    ram.create(whole.segment, &bytes[..64]).unwrap();
    ram.claim(whole.segment, geometry.segment_len()).unwrap();
    let frames = &bytes[start as usize..arrived as usize];
    ram.write(whole.segment, start, &[frames]).unwrap();
    assert_eq!(ram.extent(whole.segment).unwrap(), arrived);

    fn check<S: Storage>(storage: S) {
        let storage = Counting::new(storage);
        let tallies = storage.tallies();
        let log = Log::open(storage, Capacity::heap(BUFFER_LEN), Options::new(7, 42)).unwrap();
        assert_eq!(log.last_sequence(), 1);
        let calls = tallies.of_segment(Method::Read, log.report().newest).calls;
        assert!(calls <= (VALUE_LEN / BUFFER_LEN) as u64 + 32, "{calls} reads");
    }
    check(ram.clone());
    check(SharedRam::new(ram));
}
