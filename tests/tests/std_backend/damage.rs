//! Damaged regions: named, left as they are, and alone. Torn tails: dropped, told, and survived.

use std::cell::Cell;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use walstone::{Durability, Error, Reason, SegmentId, Tail, Wal};

use crate::root::{Root, scan, sequences, value};

/// A log of three regions, closed; region 7 has several segments.
fn three() -> Root {
    let root = Root::new();
    let wal = root.open();
    for id in [6, 7, 8] {
        let region = wal.create_region(id).unwrap();
        for sequence in 1..=30u64 {
            region
                .append_with(1, &value(sequence, 300), Durability::Written)
                .unwrap();
        }
    }
    wal.close().unwrap();
    drop(wal);
    assert!(root.segments(7).len() >= 3);
    root
}

/// Damages region 7: it fails alone, with this error, and nothing is changed, for writers and for readers.
fn check(damage: impl Fn(&Root), expect: impl Fn(&Root, &Error) -> bool) {
    let root = three();
    damage(&root);
    let before = root.tree();
    let options = || root.options().build().unwrap();
    for read_only in [false, true] {
        let wal = if read_only {
            Wal::open_read_only(root.path(), options()).unwrap()
        } else {
            root.open()
        };
        let failed = &wal.report().failed;
        assert!(failed.len() == 1 && failed[0].0 == 7, "{failed:?}");
        assert!(expect(&root, &failed[0].1), "{:?}", failed[0].1);
        assert!(expect(&root, &wal.region(7).unwrap_err()));
        assert!(expect(&root, &wal.region_or_create(7).unwrap_err()));
        assert_eq!(wal.regions(), [6, 7, 8]);
        for id in [6, 8] {
            assert_eq!(scan(&wal.region(id).unwrap()).len(), 30);
        }
        let stats = wal.stats().unwrap();
        assert_eq!((stats.regions.len(), stats.failed.len()), (2, 1));
        wal.close().unwrap();
        assert_eq!(root.tree(), before);
    }
    let wal = root.open();
    wal.region(6).unwrap().append(1, b"goes on").unwrap();
}

fn corrupt(error: &Error, segment: u64, reason: Reason) -> bool {
    matches!(error, Error::Corrupt { region: 7, corruption }
        if corruption.segment == SegmentId(segment) && corruption.reason == reason)
}

#[test]
fn a_damaged_segment_fails_its_region_alone() {
    let flip = |root: &Root, segment: u64, offset: u64| {
        let file = File::options()
            .read(true)
            .write(true)
            .open(root.segment(7, segment))
            .unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset).unwrap();
        byte[0] ^= 0x40;
        file.write_all_at(&byte, offset).unwrap();
    };
    // The header of a segment in the middle.
    check(
        |root| flip(root, 2, 30),
        |_, error| matches!(error, Error::Corrupt { corruption, .. } if matches!(corruption.reason, Reason::Header(_)) && corruption.segment == SegmentId(2)),
    );
    // A record of the newest segment that its close frame proves durable.
    let newest = Cell::new(0);
    check(
        |root| {
            let wal = Wal::open_read_only(root.path(), root.options().build().unwrap()).unwrap();
            newest.set(wal.report().regions[1].newest.0);
            flip(root, newest.get(), 400);
        },
        |_, error| matches!(error, Error::Corrupt { corruption, .. } if corruption.segment.0 == newest.get()),
    );
}

#[test]
fn a_missing_segment_is_named() {
    check(
        |root| fs::remove_file(root.segment(7, 2)).unwrap(),
        |_, error| corrupt(error, 2, Reason::Missing),
    );
}

#[test]
fn a_truncated_or_empty_segment_is_named_with_its_length() {
    for len in [0, 1, 4095] {
        for segment in [1, 2] {
            check(
                |root| {
                    let file = File::options().write(true).open(root.segment(7, segment)).unwrap();
                    file.set_len(len).unwrap();
                },
                |root, error| {
                    let told = error.to_string();
                    let path = root.segment(7, segment);
                    told.contains(path.to_str().unwrap())
                        && told.contains(&format!("{len} bytes"))
                        && told.contains("4096")
                },
            );
        }
    }
}

#[test]
fn a_segment_under_another_name_is_named() {
    // Under the id of another one.
    check(
        |root| {
            fs::copy(root.segment(7, 1), root.segment(7, 2)).unwrap();
        },
        |_, error| corrupt(error, 2, Reason::Identity { found: SegmentId(1) }),
    );
    // Under an id that nobody has.
    check(
        |root| {
            fs::copy(root.segment(7, 1), root.segment(7, 99)).unwrap();
        },
        |_, error| corrupt(error, 99, Reason::Identity { found: SegmentId(1) }),
    );
    // Under a second spelling of its own id.
    check(
        |root| {
            fs::copy(root.segment(7, 1), root.path().join("7/seg_01")).unwrap();
        },
        |_, error| error.to_string().contains("claims the number 1 too"),
    );
    // Of another region.
    check(
        |root| {
            fs::copy(root.segment(6, 1), root.segment(7, 1)).unwrap();
        },
        |_, error| corrupt(error, 1, Reason::Region { found: 6 }),
    );
}

#[test]
fn a_region_without_segments_is_damage_and_not_a_new_region() {
    check(
        |root| {
            for id in root.segments(7) {
                fs::remove_file(root.segment(7, id)).unwrap();
            }
        },
        |_, error| matches!(error, Error::Corrupt { corruption, .. } if corruption.reason == Reason::NoManifest),
    );
}

/// Cuts a record that was only written at every byte: what stands before it is there, the cut is told, writing goes
/// on, and a third opening agrees.
#[test]
fn a_torn_tail_is_dropped_told_and_survived() {
    for kept in (0..130).step_by(7) {
        let root = Root::new();
        let wal = root.open();
        let region = wal.create_region(7).unwrap();
        for sequence in 1..=3 {
            region.append(1, &value(sequence, 100)).unwrap();
        }
        let torn = region.append_with(1, &[0xee; 100], Durability::Written).unwrap();
        drop((region, wal));
        let at = u64::from(torn.position.offset());
        let file = File::options()
            .write(true)
            .open(root.segment(7, torn.position.segment().0))
            .unwrap();
        file.write_all_at(&[0; 200][..], at + kept).unwrap();
        let wal = root.open();
        let region = wal.region(7).unwrap();
        match region.report().tail {
            Tail::Clean => assert_eq!(kept, 0),
            Tail::Torn { offset, bytes } => {
                assert_eq!(u64::from(offset), at);
                assert!(bytes > 0 && u64::from(bytes) <= 130, "{bytes}");
            }
            // All of its payload was there.
            other => panic!("{other:?}"),
        }
        assert_eq!(sequences(&region, 1), [1, 2, 3], "kept {kept}");
        assert_eq!(region.append(1, b"on").unwrap().first, 4);
        drop((region, wal));
        let wal = root.open();
        assert_eq!(sequences(&wal.region(7).unwrap(), 1), [1, 2, 3, 4]);
    }
}
