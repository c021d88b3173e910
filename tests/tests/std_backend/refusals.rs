//! Input that cannot work: each has its own error, and nothing is lost or changed by it.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use walstone::seam::{Call, Observer, Verdict};
use walstone::{BackgroundSync, Batch, Durability, Error, Options, OptionsBuilder, OptionsError, Wal};
use walstone_core::Checksum;
use walstone_core::frame::{self, Header as FrameHeader};
use walstone_core::segment::header::{HEADER_LEN, Header};

use crate::processes::{Alone, run};
use crate::root::{Root, SEGMENT_LENS, Tree, copy_dir, scan, sequences};

#[test]
fn a_record_larger_than_a_segment_takes_no_sequence() {
    for segment_len in SEGMENT_LENS {
        let root = Root::new();
        let wal = root.open_with(root.options().segment_len(segment_len)).unwrap();
        let region = wal.create_region(7).unwrap();
        region.append(1, b"first").unwrap();
        let segments = root.segments(7);
        let fits = |len: usize| match region.append(1, &vec![9; len]) {
            Ok(_) => None,
            Err(Error::RecordTooLarge { len, max }) => Some((len, u64::from(max))),
            Err(error) => panic!("{error}"),
        };
        for len in [segment_len as usize, 10 << 20] {
            let (len_told, max) = fits(len).unwrap();
            assert!(len_told >= len as u64 && max < u64::from(segment_len));
        }
        assert_eq!(root.segments(7), segments);
        assert_eq!(region.last_sequence(), 1);
        let mut batch = Batch::new();
        for _ in 0..segment_len {
            batch.push(1, b"one");
        }
        assert!(matches!(region.append_batch(&batch), Err(Error::RecordTooLarge { .. })));
        assert_eq!(region.last_sequence(), 1);
        // The bound is exact.
        let (told, max) = fits(segment_len as usize).unwrap();
        let head = told as usize - segment_len as usize;
        let most = max as usize - head;
        assert_eq!(fits(most + 1), Some((max + 1, max)));
        assert_eq!(fits(most), None);
        assert_eq!(region.last_sequence(), 2);
        drop((region, wal));
        let wal = root.open();
        assert_eq!(sequences(&wal.region(7).unwrap(), 1), [1, 2]);
    }
}

#[test]
fn an_empty_batch_is_refused_and_an_empty_value_is_not() {
    let root = Root::new();
    let wal = root.open();
    let region = wal.create_region(7).unwrap();
    assert!(matches!(region.append_batch(&Batch::new()), Err(Error::EmptyBatch)));
    assert!(matches!(
        region.submit(&Batch::new(), Durability::Durable),
        Err(Error::EmptyBatch)
    ));
    assert_eq!(region.last_sequence(), 0);
    region.append(u64::MAX, b"").unwrap();
    assert_eq!(scan(&region), [(u64::MAX, 1, Vec::new())]);
}

#[test]
fn a_root_that_is_a_file_or_lies_below_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"mine").unwrap();
    let before = Tree::of(dir.path());
    for path in [file.clone(), file.join("below")] {
        for error in [
            Wal::open(&path, Options::default()).unwrap_err(),
            Wal::open_read_only(&path, Options::default()).unwrap_err(),
        ] {
            assert!(matches!(error, Error::NotADirectory { .. }), "{error:?}");
            assert!(error.to_string().contains("file"), "{error}");
        }
    }
    assert_eq!(Tree::of(dir.path()), before);
    // It left its lock in the working directory.
    let nowhere = Wal::open("", Options::default()).unwrap_err();
    assert!(matches!(nowhere, Error::NotADirectory { .. }), "{nowhere:?}");
    assert!(!std::path::Path::new("LOCK").exists());
    let missing = Wal::open_read_only(dir.path().join("none"), Options::default()).unwrap_err();
    assert!(missing.to_string().contains("none"), "{missing}");
    assert_eq!(Tree::of(dir.path()), before);
}

/// A file system that is mounted for reading only; `false` where this process may not mount.
fn mounted(arguments: &[&str], path: &Path) -> bool {
    let mounted = run(Command::new("mount").args(arguments).arg(path));
    let mounted = mounted.is_ok_and(|output| output.status.success());
    if !mounted {
        eprintln!("SKIPPED: mount {arguments:?} is not allowed here");
    }
    mounted
}

#[test]
fn a_root_that_cannot_be_written_is_refused_for_writing_only() {
    let _alone = Alone::wait();
    let root = Root::new();
    fs::create_dir(root.path()).unwrap();
    if !mounted(&["-t", "tmpfs", "-o", "size=4m", "tmpfs"], &root.path()) {
        return;
    }
    let wal = root.open();
    wal.create_region(7).unwrap().append(1, b"a").unwrap();
    wal.close().unwrap();
    drop(wal);
    assert!(mounted(&["-o", "remount,ro"], &root.path()));
    let before = root.tree();
    let refused = root.try_open().unwrap_err();
    let read = Wal::open_read_only(root.path(), Options::default()).unwrap();
    let records = scan(&read.region(7).unwrap());
    let after = root.tree();
    drop(read);
    let unmounted = run(Command::new("umount").arg(root.path())).unwrap();
    assert!(unmounted.status.success());
    assert!(refused.to_string().contains("LOCK"), "{refused}");
    assert!(matches!(refused, Error::Storage(_)), "{refused:?}");
    assert_eq!(records.len(), 1);
    assert_eq!(before, after);
}

#[test]
fn foreign_files_are_reported_and_left_alone() {
    let root = Root::new();
    let wal = root.open();
    wal.create_region(7).unwrap().append(1, b"a").unwrap();
    wal.close().unwrap();
    drop(wal);
    let mut foreign = ["notes.txt", "007x", "7/notes.txt", "7/seg_x"].map(|name| root.path().join(name));
    for path in &foreign {
        fs::write(path, b"mine").unwrap();
    }
    fs::create_dir(root.path().join("lost+found")).unwrap();
    let before = root.tree();
    let wal = root.open();
    let mut reported = wal.report().foreign.clone();
    reported.sort();
    let mut expect = foreign.to_vec();
    expect.push(root.path().join("lost+found"));
    expect.sort();
    assert_eq!(reported, expect);
    assert!(wal.report().failed.is_empty());
    wal.close().unwrap();
    assert_eq!(root.tree(), before);

    // A region with something in it that is not ours is not removed, and its handles go on.
    let wal = root.open();
    let region = wal.region(7).unwrap();
    let refused = wal.remove_region(7).unwrap_err();
    assert!(refused.to_string().contains("not of the log"), "{refused}");
    region.append(1, b"b").unwrap();
    foreign.sort();
    for path in foreign.iter().filter(|path| path.parent() != Some(&root.path())) {
        fs::remove_file(path).unwrap();
    }
    wal.remove_region(7).unwrap();
    assert!(matches!(wal.region(7), Err(Error::NoRegion { .. })));
}

/// What an interrupted removal left holds a foreign file: everything else opens.
#[test]
fn a_leftover_with_a_foreign_file_stops_nothing() {
    let root = Root::new();
    let wal = root.open();
    wal.create_region(7).unwrap().append(1, b"a").unwrap();
    wal.close().unwrap();
    drop(wal);
    fs::create_dir(root.path().join("tmp_region_8")).unwrap();
    let note = root.path().join("tmp_region_8/note");
    fs::write(&note, b"mine").unwrap();
    let wal = root.open();
    assert_eq!(wal.report().leftovers, [8]);
    assert_eq!(wal.report().foreign, std::slice::from_ref(&note));
    assert_eq!(scan(&wal.region(7).unwrap()).len(), 1);
    assert_eq!(fs::read(note).unwrap(), b"mine");
}

/// Keeps files from being removed, as a disk that fails does.
#[derive(Debug)]
struct Undying;

impl Observer for Undying {
    fn before(&self, call: &Call<'_>) -> io::Result<Verdict> {
        match call {
            Call::Unlink { .. } => Err(io::Error::from_raw_os_error(5)),
            _ => Ok(Verdict::Proceed),
        }
    }
}

/// What an interrupted removal left cannot be removed now: everything else opens, and the next open tries again.
#[test]
fn a_leftover_that_stays_stops_nothing() {
    let root = Root::new();
    let wal = root.open();
    for region in [7, 8] {
        wal.create_region(region).unwrap().append(1, b"a").unwrap();
    }
    wal.close().unwrap();
    drop(wal);
    let leftover = root.path().join("tmp_region_8");
    fs::rename(root.path().join("8"), &leftover).unwrap();

    let wal = root.open_with(root.options().observer(Arc::new(Undying))).unwrap();
    let report = wal.report();
    assert_eq!(report.leftovers, [8]);
    assert!(
        matches!(&report.stuck[..], [(8, Error::Storage(_))]),
        "{:?}",
        report.stuck
    );
    assert_eq!(scan(&wal.region(7).unwrap()).len(), 1);
    assert!(matches!(wal.create_region(8), Err(Error::Storage(_))));
    assert!(matches!(wal.region(8), Err(Error::NoRegion { region: 8 })));
    wal.close().unwrap();
    drop(wal);
    assert!(leftover.exists());

    let wal = root.open();
    assert!(wal.report().stuck.is_empty());
    assert!(!leftover.exists());
    wal.create_region(8).unwrap();
}

#[test]
fn a_version_0_root_is_refused_with_a_word_about_the_import() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/horaedb-v0");
    for layout in ["seg", "segment"] {
        let root = Root::new();
        copy_dir(&fixtures.join(layout), &root.path());
        let before = root.tree();
        for error in [
            root.try_open().unwrap_err(),
            Wal::open_read_only(root.path(), Options::default()).unwrap_err(),
        ] {
            assert!(matches!(&error, Error::Version0 { path } if *path == root.path()));
            assert!(error.to_string().contains("import"), "{error}");
        }
        assert_eq!(root.tree(), before, "{layout}");
        assert!(!root.path().join("LOCK").exists());
    }
}

/// Set in the child: the root it tries to open.
const CHILD: &str = "WALSTONE_TEST_SECOND_PROCESS";

#[test]
fn a_second_process_is_refused() {
    if let Ok(path) = std::env::var(CHILD) {
        let refused = Wal::open(&path, Options::default());
        assert!(matches!(refused, Err(Error::Locked { .. })), "{refused:?}");
        let read = Wal::open_read_only(&path, Options::default()).unwrap();
        assert_eq!(scan(&read.region(7).unwrap()).len(), 1);
        println!("refused as it should");
        return;
    }
    let root = Root::new();
    let wal = root.open();
    let region = wal.create_region(7).unwrap();
    region.append(1, b"a").unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "refusals::a_second_process_is_refused", "--nocapture"]);
    let child = run(child.env(CHILD, root.path())).unwrap();
    let told = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success() && told.contains("refused as it should"),
        "{told}"
    );
    region.append(1, b"b").unwrap();
}

#[test]
fn the_builder_names_the_option_that_cannot_work() {
    use std::time::Duration;
    let refused = |options: OptionsBuilder| options.build().unwrap_err();
    for options in [
        Options::builder().segment_len(0),
        Options::builder().segment_len(100),
        Options::builder().region_segment_len(7, 100),
        Options::builder().segment_len(u32::MAX),
    ] {
        let error = refused(options.clone());
        assert!(matches!(error, OptionsError::SegmentLen(_)), "{error} {options:?}");
        assert!(std::error::Error::source(&error).is_some());
    }
    assert_eq!(
        refused(Options::builder().max_open_segments(0)),
        OptionsError::NoOpenSegments
    );
    assert_eq!(
        refused(Options::builder().background_sync(BackgroundSync::Interval(Duration::ZERO))),
        OptionsError::ZeroInterval
    );
}

#[test]
fn another_segment_length_is_refused_for_a_region_that_is_named() {
    let root = Root::new();
    let wal = root.open();
    wal.create_region(7).unwrap().append(1, b"a").unwrap();
    wal.close().unwrap();
    drop(wal);
    let before = root.tree();
    let wal = root.open_with(root.options().region_segment_len(7, 8192)).unwrap();
    let error = wal.region(7).unwrap_err();
    assert!(
        matches!(&error, Error::GeometryMismatch { region: 7, stored, given }
            if stored.segment_len() == 4096 && given.segment_len() == 8192),
        "{error:?}"
    );
    drop(wal);
    assert_eq!(root.tree(), before);
    // Without a word about this region it keeps the length that it was made with.
    let wal = root.open_with(root.options().segment_len(8192)).unwrap();
    wal.region(7).unwrap().append(1, b"b").unwrap();
    assert_eq!(fs::metadata(root.segment(7, 1)).unwrap().len(), 4096);
    wal.create_region(8).unwrap();
    assert_eq!(fs::metadata(root.segment(8, 1)).unwrap().len(), 8192);
}

/// A manifest whose first sequence is near the end of all sequences, under checksums that hold.
fn set_first_sequence(path: &Path, first: u64) {
    let mut bytes = fs::read(path).unwrap();
    let checksum = Checksum::BITWISE;
    let header = Header::decode(&bytes, checksum).unwrap();
    let binding = header.binding(checksum);
    let at = HEADER_LEN;
    let payload_at = at + frame::HEADER_LEN;
    let encoded = bytes[at..payload_at].try_into().unwrap();
    let mut manifest = FrameHeader::decode(encoded, &binding, at as u32, 0).unwrap();
    bytes[payload_at..payload_at + 8].copy_from_slice(&first.to_le_bytes());
    manifest.payload_crc = checksum.of(&bytes[payload_at..payload_at + manifest.payload_len as usize]);
    bytes[at..payload_at].copy_from_slice(&manifest.encode(&binding, at as u32));
    fs::write(path, bytes).unwrap();
}

#[test]
fn the_last_sequence_is_given_once_and_none_after_it() {
    let root = Root::new();
    let wal = root.open();
    wal.create_region(7).unwrap();
    wal.close().unwrap();
    drop(wal);
    set_first_sequence(&root.segment(7, 1), u64::MAX - 2);
    let wal = root.open();
    let region = wal.region(7).unwrap();
    let mut batch = Batch::new();
    for _ in 0..4 {
        batch.push(1, b"x");
    }
    assert!(matches!(region.append_batch(&batch), Err(Error::SequenceExhausted)));
    let mut given = 0;
    let refused = loop {
        match region.append(1, b"x") {
            Ok(at) => {
                given += 1;
                assert_eq!(at.first, u64::MAX - 3 + given);
                assert!(given <= 3);
            }
            Err(error) => break error,
        }
    };
    assert!(given >= 1);
    assert!(matches!(refused, Error::SequenceExhausted), "{refused:?}");
    assert!(matches!(region.append(1, b"x"), Err(Error::SequenceExhausted)));
    assert_eq!(scan(&region).len(), given as usize);
    region.delete_up_to(1, u64::MAX).unwrap();
    assert_eq!(scan(&region), []);
    wal.close().unwrap();
    drop((region, wal));
    let wal = root.open();
    let region = wal.region(7).unwrap();
    assert!(matches!(region.append(1, b"x"), Err(Error::SequenceExhausted)));
    assert_eq!(region.last_sequence(), u64::MAX - 3 + given);
}
