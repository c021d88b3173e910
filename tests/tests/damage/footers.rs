//! Footers that are damaged: whoever needs one walks the frames, with the same answers.

use walstone_core::frame::Kind;
use walstone_core::ram::RamStorage;
use walstone_core::{Capacity, Geometry, Log, Snapshot};
use walstone_tests::damage::oracle;
use walstone_tests::images::{self, Image, Live, read_all};

fn open(ram: &RamStorage) -> Log<'static, RamStorage> {
    Log::open(ram.clone(), Capacity::heap(0), images::options()).unwrap()
}

/// What is read of each table, and of the segments beside the log.
fn answers(ram: &RamStorage) -> (Vec<Live>, Vec<Vec<(u64, u64)>>) {
    let mut log = open(ram);
    let mut tables = Vec::new();
    for table in 1..=6 {
        let (live, error) = read_all(&mut log, Some(table));
        assert_eq!(error, None);
        tables.push(live);
    }
    let snapshot: Snapshot = log.snapshot(false);
    let records = |at: usize| {
        let segment = snapshot.segment(at).unwrap();
        let bytes = &ram.bytes(segment.id).unwrap()[..segment.end as usize];
        let reader = snapshot.reader(at, bytes).unwrap();
        let mut out = Vec::new();
        for frame in reader.frames() {
            for entry in frame.unwrap().entries().unwrap() {
                if let walstone_core::Entry::Record(record) = entry.unwrap() {
                    out.push((record.table, record.sequence));
                }
            }
        }
        out
    };
    (tables, (0..snapshot.segment_count()).map(records).collect())
}

/// The segments that are left once everything is deleted and reclaimed.
fn reclaimed(ram: &RamStorage) -> Vec<walstone_core::SegmentId> {
    let mut log = open(ram);
    for table in 1..=6 {
        log.delete_up_to(table, u64::MAX).unwrap();
    }
    log.reclaim().unwrap();
    log.sync().unwrap();
    log.storage().ids().collect()
}

fn check(image: &Image) -> usize {
    let (expect, left) = (answers(&image.ram), reclaimed(&image.ram));
    let mut footers = 0;
    for id in image.ram.ids() {
        let frames = oracle::frames(image, id);
        let Some(footer) = frames.last().filter(|frame| frame.kind == Kind::Seal) else {
            continue;
        };
        footers += 1;
        for at in footer.bytes() {
            let mut ram = image.ram.clone();
            ram.bytes_mut(id).unwrap()[at] ^= 0x41;
            assert_eq!(answers(&ram), expect, "byte {at} of segment {id}");
            assert_eq!(reclaimed(&ram), left, "byte {at} of segment {id}");
        }
    }
    footers
}

#[test]
fn a_damaged_footer_gives_the_same_answers() {
    let mut footers = 0;
    for closed in [true, false] {
        footers += check(&images::many_sessions(Geometry::new(1536).unwrap(), closed));
    }
    // Long enough for a footer with an index.
    footers += check(&images::many_sessions(Geometry::new(16384).unwrap(), true));
    println!("{footers} footers");
    assert!(footers >= 3);
}
