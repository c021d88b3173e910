//! Segments of one region: create, claim, write, read, sync, reopen, remove.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;

use walstone::files::Cause;
use walstone::seam::Seam;
use walstone_core::SegmentId;
use walstone_core::{Found, SharedStorage, Storage};

use crate::observers::{Recorder, Replay};
use crate::{Bench, HEADER, SEGMENT_LEN, append, listed, mark, read};

#[test]
fn a_new_segment_is_whole_and_blank() {
    let bench = Bench::new();
    let mut storage = bench.open();
    assert_eq!(storage.geometry().segment_len(), SEGMENT_LEN);
    assert_eq!(listed(&mut storage).unwrap(), [Found::Segment(SegmentId(1))]);
    // Before it is read: a file system in memory makes pages of the holes that are looked at through a map.
    assert_eq!(storage.extent(SegmentId(1)).unwrap(), 4096);
    assert_eq!(read(&mut storage, 1, 0, 64), HEADER);
    let rest = read(&mut storage, 1, 64, SEGMENT_LEN - 64);
    assert!(rest.iter().all(|byte| *byte == 0));
    assert_eq!(
        fs::metadata(bench.segment_path(1)).unwrap().len(),
        u64::from(SEGMENT_LEN)
    );
    assert_eq!(bench.names(), ["seg_1"]);
}

#[test]
fn what_is_synced_reads_back_after_reopening() {
    let bench = Bench::new();
    let mut storage = bench.open();
    storage.claim(SegmentId(1), 5000).unwrap();
    storage.write(SegmentId(1), 64, &[b"one", b"", b"two"]).unwrap();
    storage
        .write(SegmentId(1), 4990, &[b"over a page"[..10].as_ref()])
        .unwrap();
    storage.hand_over(mark(1, 5000)).unwrap();
    storage.sync(mark(1, 5000)).unwrap();
    drop(storage);
    let mut storage = bench.open();
    assert_eq!(read(&mut storage, 1, 64, 7), b"onetwo\0");
    assert_eq!(read(&mut storage, 1, 4990, 11), b"over a pag\0");
    assert_eq!(storage.extent(SegmentId(1)).unwrap(), 8192);
}

#[test]
fn a_claim_has_blocks_behind_it() {
    let bench = Bench::new();
    let mut storage = bench.open();
    storage.create(SegmentId(2), &HEADER).unwrap();
    let blocks = || fs::metadata(bench.segment_path(2)).unwrap().blocks() * 512;
    for (end, allocated) in [(1, 4096), (4097, 8192), (8192, 8192), (8193, 8192 + 65536)] {
        storage.claim(SegmentId(2), end).unwrap();
        storage.sync(mark(2, end)).unwrap();
        assert_eq!(blocks(), allocated, "claim of {end}");
    }
}

/// A write behind the claimed end would be a store into a hole: a signal on a full disk.
#[test]
fn nothing_is_stored_behind_the_claimed_end() {
    let bench = Bench::new();
    let mut storage = bench.open();
    storage.claim(SegmentId(1), 4096).unwrap();
    storage.write(SegmentId(1), 4000, &[&[1; 96]]).unwrap();
    let error = storage.write(SegmentId(1), 4000, &[&[2; 96], &[2]]).unwrap_err();
    assert!(
        matches!(
            error.cause(),
            Cause::Unclaimed {
                end: 4097,
                claimed: 4096
            }
        ),
        "{error}"
    );
    assert_eq!(
        read(&mut storage, 1, 4000, 98)[..98],
        [&[1u8; 96][..], &[0, 0]].concat()
    );

    let error = storage.claim(SegmentId(1), SEGMENT_LEN + 1).unwrap_err();
    assert!(matches!(error.cause(), Cause::Behind { .. }), "{error}");
    let error = storage.read(SegmentId(1), SEGMENT_LEN, 1, &mut []).unwrap_err();
    assert!(matches!(error.cause(), Cause::Behind { .. }), "{error}");
    let error = storage.pin(SegmentId(1), u32::MAX, u32::MAX).unwrap_err();
    assert!(matches!(error.cause(), Cause::Behind { .. }), "{error}");
}

/// After a reopen nobody knows what was claimed. Frames stand in the file, with holes between and behind them:
/// all holes are filled, and no byte that is there changes.
#[test]
fn a_claim_after_reopening_fills_holes_and_keeps_data() {
    let bench = Bench::new();
    let path = bench.segment_path(1);
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(b"behind a hole", 100_000).unwrap();
    file.write_all_at(&[7; 4096], 16384).unwrap();
    file.sync_all().unwrap();
    let before = fs::read(&path).unwrap();
    let holey = fs::metadata(&path).unwrap().blocks() * 512;

    let mut storage = bench.open();
    assert_eq!(storage.extent(SegmentId(1)).unwrap(), 102_400);
    let error = storage.write(SegmentId(1), 64, &[b"x"]).unwrap_err();
    assert!(matches!(error.cause(), Cause::Unclaimed { claimed: 0, .. }), "{error}");
    storage.claim(SegmentId(1), 110_000).unwrap();
    storage.sync(mark(1, 110_000)).unwrap();
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(holey, 3 * 4096);
    assert_eq!(fs::metadata(&path).unwrap().blocks() * 512, 110_592);
    storage.write(SegmentId(1), 100_013, &[b", stored"]).unwrap();
    assert_eq!(read(&mut storage, 1, 100_000, 21), b"behind a hole, stored");
}

#[test]
fn a_file_of_another_length_is_an_error_that_says_so() {
    for found in [0, 1, SEGMENT_LEN - 1, SEGMENT_LEN + 1] {
        let bench = Bench::new();
        let file = fs::OpenOptions::new().write(true).open(bench.segment_path(1)).unwrap();
        file.set_len(found.into()).unwrap();
        let mut storage = bench.open();
        let error = storage.extent(SegmentId(1)).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("seg_1"), "{text}");
        assert!(
            text.contains(&format!("is {found} bytes long, and a segment has {SEGMENT_LEN}")),
            "{text}"
        );
        assert!(storage.read(SegmentId(1), 0, 1, &mut [0]).is_err());
        assert!(storage.pin(SegmentId(1), 0, 1).is_err());
        assert!(storage.claim(SegmentId(1), 1).is_err());
    }
}

#[test]
fn leftovers_are_listed_released_and_never_used() {
    let bench = Bench::new();
    fs::write(bench.region_path().join("tmp_2"), b"junk").unwrap();
    fs::write(bench.region_path().join("notes.txt"), b"mine").unwrap();
    let mut storage = bench.open();
    assert_eq!(
        listed(&mut storage).unwrap(),
        [Found::Segment(SegmentId(1)), Found::Unreadable { slot: 0 }]
    );
    assert_eq!(storage.foreign(), [bench.region_path().join("notes.txt")]);

    // The name that a create would take first is taken.
    storage.create(SegmentId(2), &HEADER).unwrap();
    assert_eq!(fs::read(bench.region_path().join("tmp_2")).unwrap(), b"junk");
    assert_eq!(read(&mut storage, 2, 0, 64), HEADER);

    storage.release(0).unwrap();
    assert!(storage.release(0).is_err(), "a slot is released once");
    assert!(storage.release(1).is_err());
    assert_eq!(bench.names(), ["notes.txt", "seg_1", "seg_2"]);
}

#[test]
fn two_names_for_one_segment_are_an_error() {
    let bench = Bench::new();
    fs::copy(bench.segment_path(1), bench.region_path().join("seg_001")).unwrap();
    let error = listed(&mut bench.open()).unwrap_err();
    assert!(matches!(error.cause(), Cause::TwoNames { number: 1, .. }), "{error}");
    fs::rename(bench.region_path().join("seg_001"), bench.region_path().join("seg_002")).unwrap();
    let mut storage = bench.open();
    assert_eq!(listed(&mut storage).unwrap(), [Found::Segment(SegmentId(1))]);
    assert_eq!(storage.foreign(), [bench.region_path().join("seg_002")]);
    fs::copy(bench.segment_path(1), bench.region_path().join("seg_02")).unwrap();
    let error = listed(&mut storage).unwrap_err();
    assert!(matches!(error.cause(), Cause::TwoNames { number: 2, .. }), "{error}");
}

#[test]
fn a_listing_that_fails_is_no_empty_log() {
    let bench = Bench::new();
    let mut storage = bench.open();
    fs::remove_dir_all(bench.region_path()).unwrap();
    assert!(listed(&mut storage).is_err());
}

/// Everything that changes a file goes through the seam, stores into the map included: what a recorder saw
/// makes the same bytes.
#[test]
fn a_recorder_can_rebuild_the_files() {
    let recorder = Arc::new(Recorder::default());
    let bench = Bench {
        dir: tempfile::TempDir::new().unwrap(),
        seam: Seam::observed(recorder.clone()),
        max_open: 1,
    };
    let root = bench.root();
    crate::make_region(&root).unwrap();
    let mut storage = root.region(crate::REGION, SEGMENT_LEN).unwrap();
    storage.create(SegmentId(2), &[3; 64]).unwrap();
    for round in 0..40u32 {
        for id in [1, 2] {
            append(&mut storage, id, 64 + round * 3000, &[round as u8 + 1; 2999]).unwrap();
            if round % 3 == 0 {
                storage.sync(mark(id, 0)).unwrap();
            }
        }
    }
    storage.settle(SegmentId(1), 64, 5000).unwrap();
    storage.create(SegmentId(3), &[3; 64]).unwrap();
    storage.remove(SegmentId(3)).unwrap();
    let replay = Replay::of(&recorder.take());
    for id in [1, 2] {
        let path = bench.segment_path(id);
        assert!(replay.bytes(&path) == fs::read(&path).unwrap(), "segment {id}");
    }
}

#[test]
fn a_removed_segment_is_gone_and_its_number_free() {
    let bench = Bench::new();
    let mut storage = bench.open();
    let mut other = storage.clone();
    append(&mut storage, 1, 64, b"pinned").unwrap();
    let pin = other.pin(SegmentId(1), 64, 70).unwrap();
    storage.remove(SegmentId(1)).unwrap();
    assert_eq!(&*pin, b"pinned");
    assert!(bench.names().is_empty());
    assert!(other.pin(SegmentId(1), 64, 70).unwrap_err().is_not_found());
    assert!(other.sync(mark(1, 70)).unwrap_err().is_not_found());
    storage.create(SegmentId(1), &[9; 64]).unwrap();
    assert_eq!(read(&mut other, 1, 0, 64), [9; 64]);
    assert_eq!(read(&mut storage, 1, 64, 6), [0; 6]);
    assert_eq!(&*pin.clone(), b"pinned");
}

#[test]
fn a_name_that_is_taken_is_not_replaced() {
    let bench = Bench::new();
    let mut storage = bench.open();
    let error = storage.create(SegmentId(1), &[0; 64]).unwrap_err();
    assert!(matches!(error.cause(), Cause::Exists), "{error}");
    assert_eq!(read(&mut storage, 1, 0, 64), HEADER);
}

#[test]
fn one_handle_appends_and_what_it_lent_to_others_stays() {
    let bench = Bench::new();
    let mut storage = bench.open();
    append(&mut storage, 1, 64, b"first").unwrap();
    let mut other = storage.clone();
    for error in [
        other.write(SegmentId(1), 69, &[b"x"]).unwrap_err(),
        other.settle(SegmentId(1), 0, 64).unwrap_err(),
    ] {
        assert!(matches!(error.cause(), Cause::NotAppender), "{error}");
    }
    assert!(storage.appends());
    assert!(!other.appends());
    // Space may be claimed ahead by anybody.
    other.claim(SegmentId(1), 5000).unwrap();

    // A look ahead by another handle is a copy where there is room, so that appending goes on.
    assert_eq!(read(&mut other, 1, 64, 9), b"first\0\0\0\0");
    storage.write(SegmentId(1), 69, &[b" more"]).unwrap();
    // Lent: nothing is stored below any more.
    assert_eq!(
        other.read(SegmentId(1), 64, 20, &mut []).unwrap(),
        b"first more\0\0\0\0\0\0\0\0\0\0"
    );
    let error = storage.write(SegmentId(1), 74, &[b"x"]).unwrap_err();
    assert!(matches!(error.cause(), Cause::Lent { offset: 74, lent: 84 }), "{error}");
    storage.write(SegmentId(1), 84, &[b"behind"]).unwrap();

    // The appender's own reads hold nothing up.
    assert_eq!(read(&mut storage, 1, 84, 100)[..6], *b"behind");
    storage.write(SegmentId(1), 90, &[b"!"]).unwrap();

    storage.stop_appending();
    other.write(SegmentId(1), 91, &[b"?"]).unwrap();
    assert_eq!(&*storage.pin(SegmentId(1), 84, 92).unwrap(), b"behind!?");
}

#[test]
fn reading_only_changes_nothing() {
    let bench = Bench::new();
    let mut storage = bench.open();
    append(&mut storage, 1, 64, b"value").unwrap();
    storage.sync(mark(1, 69)).unwrap();
    drop(storage);
    fs::write(bench.region_path().join("tmp_9"), b"").unwrap();
    let recorder = Arc::new(Recorder::default());
    let bench = Bench {
        seam: Seam::observed(recorder.clone()),
        ..bench
    };
    let state = || {
        [
            bench.path().into(),
            bench.region_path(),
            bench.segment_path(1),
            bench.path().join("LOCK"),
        ]
        .map(|path| {
            let metadata = fs::metadata(path).unwrap();
            (metadata.modified().unwrap(), metadata.ctime_nsec(), metadata.blocks())
        })
    };
    let before = state();
    let mut storage = bench.open_read_only();
    assert_eq!(listed(&mut storage).unwrap().len(), 2);
    assert_eq!(read(&mut storage, 1, 64, 5), b"value");
    assert_eq!(storage.extent(SegmentId(1)).unwrap(), 4096);
    assert_eq!(&*storage.pin(SegmentId(1), 64, 69).unwrap(), b"value");
    let id = SegmentId(1);
    for (what, refused) in [
        ("create", storage.create(SegmentId(2), &HEADER)),
        ("claim", storage.claim(id, 100)),
        ("write", storage.write(id, 69, &[b"x"])),
        ("hand over", storage.hand_over(mark(1, 70))),
        ("sync", storage.sync(mark(1, 70))),
        ("settle", storage.settle(id, 0, 70)),
        ("remove", storage.remove(id)),
        ("release", storage.release(0)),
    ] {
        let error = refused.unwrap_err();
        assert!(matches!(error.cause(), Cause::ReadOnly), "{what}: {error}");
    }
    assert_eq!(recorder.writable_calls(), 0);
    assert_eq!(state(), before);
    assert_eq!(bench.names(), ["seg_1", "tmp_9"]);
}

#[test]
fn reading_only_makes_no_root() {
    let dir = tempfile::TempDir::new().unwrap();
    let missing = dir.path().join("none");
    let error = walstone::files::Root::open_read_only(Seam::new(), &missing, 1).unwrap_err();
    assert!(error.is_not_found(), "{error}");
    assert!(!missing.exists());
}
