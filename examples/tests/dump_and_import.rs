//! The programs `dump` and `import` from outside.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use walstone::{Durability, Options, SegmentState, Wal};
use walstone_core::v0::{Layout, Record, encode_segment_header};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/horaedb-v0");

fn program(path: &str, arguments: &[&str], operands: &[&Path]) -> Output {
    let mut command = Command::new(path);
    command.args(arguments).args(operands).stdin(Stdio::null());
    command.output().unwrap()
}

fn dump(arguments: &[&str], root: &Path) -> Output {
    program(env!("CARGO_BIN_EXE_dump"), arguments, &[root])
}

fn import(arguments: &[&str], from: &Path, to: &Path) -> Output {
    program(env!("CARGO_BIN_EXE_import"), arguments, &[from, to])
}

#[track_caller]
fn sound(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(said, "");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Ends with this code and says this.
#[track_caller]
fn says(output: &Output, code: i32, words: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(words), "{said:?} does not say {words:?}");
}

/// Every name below a directory, with the time stamp and the bytes.
fn everything(path: &Path, into: &mut BTreeMap<PathBuf, (SystemTime, Vec<u8>)>) {
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    if !path.is_dir() {
        into.insert(path.to_owned(), (modified, fs::read(path).unwrap()));
        return;
    }
    into.insert(path.to_owned(), (modified, Vec::new()));
    for entry in fs::read_dir(path).unwrap() {
        everything(&entry.unwrap().path(), into);
    }
}

fn snapshot(path: &Path) -> BTreeMap<PathBuf, (SystemTime, Vec<u8>)> {
    let mut all = BTreeMap::new();
    everything(path, &mut all);
    all
}

/// Writes a version-0 segment with these sequences, and returns its path.
fn write_v0(root: &Path, layout: Layout, region: u64, id: u64, sequences: &[u64]) -> PathBuf {
    let mut bytes = vec![0; 4096];
    let mut end = encode_segment_header(&mut bytes).unwrap();
    for &sequence in sequences {
        let value = [b"\0value ".as_slice(), &sequence.to_le_bytes()].concat();
        let record = Record {
            table: sequence % 3,
            sequence,
            value: &value,
        };
        end += record.encode(layout, &mut bytes[end..]).unwrap();
    }
    let name = match layout {
        Layout::First => {
            bytes.truncate(end);
            format!("segment_{id}.wal")
        }
        Layout::Final => format!("seg_{id}"),
    };
    let path = root.join(region.to_string()).join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

/// A root with one region, 5, of small segments, several of them sealed; its length up to the end of each.
fn write_v1(root: &Path) -> Vec<(u64, u32, SegmentState)> {
    let options = Options::builder().segment_len(16384).durability(Durability::Written);
    let wal = Wal::open(root, options.build().unwrap()).unwrap();
    let region = wal.create_region(5).unwrap();
    for number in 0..200u64 {
        region
            .append(number % 2, format!("value {number} {}", "x".repeat(200)).as_bytes())
            .unwrap();
    }
    let stats = wal.stats().unwrap();
    wal.close().unwrap();
    let segments = &stats.regions[0].segments;
    segments
        .iter()
        .map(|segment| (segment.id.0, segment.bytes, segment.state))
        .collect()
}

#[test]
fn a_log_of_either_layout_and_its_import_agree_record_for_record() {
    for layout in ["seg", "segment"] {
        let from = Path::new(FIXTURES).join(layout);
        let expected = fs::read_to_string(Path::new(FIXTURES).join(format!("{layout}.expected"))).unwrap();
        assert!(sound(&dump(&["--records"], &from)) == expected, "{layout}");

        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("new");
        sound(&import(&[], &from, &to));
        assert!(sound(&dump(&["--records", "--by-index"], &to)) == expected, "{layout}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
    }
}

#[test]
fn old_sequences_become_indexes() {
    for layout in [Layout::First, Layout::Final] {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("old"), dir.path().join("new"));
        // Segments in front were deleted, and the order of ids is not that of their spellings.
        write_v0(&from, layout, 7, 9, &[1000, 1001, 1005]);
        write_v0(&from, layout, 7, 10, &[1 << 40, u64::MAX]);
        write_v0(&from, layout, 8, 0, &[]);
        fs::create_dir(&to).unwrap();
        sound(&import(&[], &from, &to));
        let old = sound(&dump(&["--records"], &from));
        assert_eq!(old.lines().count(), 5);
        assert_eq!(sound(&dump(&["--records", "--by-index"], &to)), old);
        let new = sound(&dump(&["--records"], &to));
        assert!(new.starts_with("7 1 1 index=1000 00"), "{new}");
        assert!(sound(&dump(&[], &to)).contains("region 8: 1 segments"));
    }
}

#[test]
fn an_import_writes_nothing_of_a_log_that_it_cannot_copy_whole() {
    type Spoil = fn(&Path);
    let cases: [(&str, Spoil); 5] = [
        ("sequence 2 follows 3", |from| {
            write_v0(from, Layout::Final, 2, 1, &[2, 4]);
        }),
        ("sequence 3 follows 3", |from| {
            write_v0(from, Layout::Final, 2, 1, &[3]);
        }),
        ("segments of both layouts", |from| {
            write_v0(from, Layout::First, 2, 1, &[9]);
        }),
        ("the region has segments", |from| {
            write_v0(from, Layout::First, 2, 0, &[9]);
        }),
        ("record states checksum", |from| {
            write_v0(from, Layout::Final, 2, 1, &[9]);
            flip(&from.join("2/seg_0"), 11 + 25);
        }),
    ];
    for (words, spoil) in cases {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("old"), dir.path().join("new"));
        write_v0(&from, Layout::Final, 1, 0, &[1]);
        write_v0(&from, Layout::Final, 2, 0, &[1, 2, 3]);
        spoil(&from);
        for arguments in [&[][..], &["--skip-invalid"]] {
            says(&import(arguments, &from, &to), 2, words);
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "{words}");
        }
        says(&dump(&[], &from), 1, words);
    }
}

#[test]
fn a_torn_end_is_left_out_only_when_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("old"), dir.path().join("new"));
    let newest = write_v0(&from, Layout::First, 1, 0, &[1, 2]);
    let bytes = fs::read(&newest).unwrap();
    fs::write(&newest, &bytes[..bytes.len() - 1]).unwrap();
    says(
        &dump(&[], &from),
        1,
        "segment_0.wal at 55: the value takes 15 bytes, 14 are there",
    );
    says(&import(&[], &from, &to), 2, "--skip-invalid");
    assert!(!to.exists());
    says(&import(&["--skip-invalid"], &from, &to), 0, "a torn write or damage");
    assert_eq!(sound(&dump(&["--records", "--by-index"], &to)).lines().count(), 1);
}

#[test]
fn an_import_keeps_off_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("old"), dir.path().join("new"));
    write_v0(&from, Layout::Final, 1, 0, &[1]);
    says(&import(&[], &dir.path().join("missing"), &to), 2, "missing");

    fs::create_dir(&to).unwrap();
    fs::write(to.join("mine"), "x").unwrap();
    says(&import(&[], &from, &to), 2, "is not empty");
    fs::remove_file(to.join("mine")).unwrap();

    fs::create_dir(dir.path().join("new.importing")).unwrap();
    says(&import(&[], &from, &to), 2, "remove it");
    fs::remove_dir(dir.path().join("new.importing")).unwrap();

    says(&import(&["--segment-len", "x"], &from, &to), 2, "--segment-len x");
    sound(&import(&[], &from, &to));
    says(&import(&[], &from, &to), 2, "is not empty");
    says(
        &import(&[], &to, &dir.path().join("newer")),
        2,
        "damaged; nothing was written",
    );
    assert!(!dir.path().join("newer").exists());
}

#[test]
fn a_value_that_fits_no_segment_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("old"), dir.path().join("new"));
    let mut bytes = vec![0; 100_000];
    let end = encode_segment_header(&mut bytes).unwrap();
    let record = Record {
        table: 1,
        sequence: 12,
        value: &[7; 80_000],
    };
    record.encode(Layout::Final, &mut bytes[end..]).unwrap();
    fs::create_dir_all(from.join("1")).unwrap();
    fs::write(from.join("1/seg_0"), bytes).unwrap();
    let small = ["--segment-len", "65536"];
    says(
        &import(&small, &from, &to),
        2,
        "the value of sequence 12 has 80000 bytes, at most",
    );
    assert!(!to.exists());
    fs::remove_dir_all(dir.path().join("new.importing")).unwrap();
    sound(&import(&[], &from, &to));
    assert_eq!(
        sound(&dump(&["--records", "--by-index"], &to)),
        sound(&dump(&["--records"], &from))
    );
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn damage_anywhere_is_found_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    let segments = write_v1(&root);
    assert!(segments.len() >= 4);
    let summary = sound(&dump(&[], &root));
    assert!(
        summary.contains("200 records") || summary.contains("100 records"),
        "{summary}"
    );
    let all = sound(&dump(&["--records"], &root));
    assert_eq!(all.lines().count(), 200);

    let (id, end, state) = segments[1];
    assert_eq!(state, SegmentState::Sealed);
    let file = root.join(format!("5/seg_{id}"));
    let end = end as usize;
    let spots: [(&str, Range<usize>); 6] = [
        ("header", 0..64),
        ("manifest header", 64..88),
        ("manifest", 88..100),
        ("a frame header", 2048..2048 + 256),
        ("values", 4096..4096 + 128),
        ("footer", end - 16..end),
    ];
    for (what, range) in spots {
        for at in range.step_by(13) {
            flip(&file, at);
            let output = dump(&[], &root);
            says(&output, 1, &format!("damage: region 5: segment {id} at "));
            let records = String::from_utf8(dump(&["--records"], &root).stdout).unwrap();
            assert!(records.lines().all(|line| all.contains(line)), "{what} at {at}");
            flip(&file, at);
        }
    }
    sound(&dump(&[], &root));

    fs::remove_file(file).unwrap();
    says(
        &dump(&[], &root),
        1,
        &format!("damage: region 5: segment {id} at 0: segment is listed but missing"),
    );
}

#[test]
fn one_damaged_region_hides_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    write_v1(&root);
    let wal = Wal::open(&root, Options::default()).unwrap();
    wal.create_region(6).unwrap().append(1, b"a").unwrap();
    wal.close().unwrap();
    // Without a header the region does not open.
    for entry in fs::read_dir(root.join("5")).unwrap() {
        flip(&entry.unwrap().path(), 3);
    }
    let output = dump(&[], &root);
    says(&output, 1, "damage: region 5: segment ");
    let summary = String::from_utf8(output.stdout).unwrap();
    assert!(summary.contains("region 5: does not open\n"), "{summary}");
    assert!(summary.contains("  segment 1: active, "), "{summary}");
    assert!(
        summary.contains("  table 1: 1 records, sequences 1 to 1\n"),
        "{summary}"
    );
    assert_eq!(
        String::from_utf8(dump(&["--records"], &root).stdout).unwrap(),
        "6 1 1 61\n"
    );
}

#[track_caller]
fn dump_changes_nothing(root: &Path, records: usize) {
    let before = snapshot(root);
    assert_eq!(sound(&dump(&["--records"], root)).lines().count(), records);
    sound(&dump(&[], root));
    assert!(before == snapshot(root), "{} changed", root.display());
}

#[test]
fn nothing_changes_while_a_log_is_dumped() {
    dump_changes_nothing(&Path::new(FIXTURES).join("seg"), 120);

    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    write_v1(&root);
    dump_changes_nothing(&root, 200);

    // Held by a writer that is at rest.
    let wal = Wal::open(&root, Options::default()).unwrap();
    dump_changes_nothing(&root, 200);

    // Left by a writer that did not close: copied while it is open.
    wal.region(5).unwrap().append(0, b"the last").unwrap();
    let copy = dir.path().join("copy");
    fs::create_dir_all(copy.join("5")).unwrap();
    for entry in fs::read_dir(root.join("5")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.join("5").join(entry.file_name())).unwrap();
    }
    assert!(sound(&dump(&[], &copy)).contains(", not closed\n"));
    dump_changes_nothing(&copy, 201);
}

#[test]
fn beside_a_writer_that_rotates_and_reclaims_nothing_looks_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    let options = Options::builder().segment_len(16384).durability(Durability::Written);
    let wal = Wal::open(&root, options.build().unwrap()).unwrap();
    let region = wal.create_region(1).unwrap();
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                let at = region.append(1, &[7; 500]).unwrap();
                if at.last.is_multiple_of(64) {
                    region.delete_up_to(1, at.last - 32).unwrap();
                }
            }
        });
        let outputs: Vec<_> = (0..20).map(|_| dump(&["--records"], &root)).collect();
        ended.store(true, Ordering::Relaxed);
        for output in outputs {
            let listed = sound(&output);
            let sequences: Vec<u64> = listed
                .lines()
                .map(|line| line.split(' ').nth(2).unwrap().parse().unwrap())
                .collect();
            assert!(
                sequences.windows(2).all(|pair| pair[1] == pair[0] + 1),
                "a gap in {sequences:?}"
            );
        }
    });
}
