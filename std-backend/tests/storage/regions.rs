//! Regions as directories of a root, and which names are durable when a call returns.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use walstone::files::{Cause, FileError, Root, RootListing, is_version_0};
use walstone::seam::Seam;
use walstone_core::SegmentId;
use walstone_core::{SharedStorage, Storage};

use crate::observers::{Recorder, Step, unsynced_name};
use crate::{Bench, HEADER, REGION, SEGMENT_LEN, append, listed, mark, read};

#[test]
fn a_region_is_there_with_its_first_segment_or_not_at_all() {
    let dir = TempDir::new().unwrap();
    let root = Root::open(Seam::new(), dir.path(), 1).unwrap();
    let refused = root.create_region_dir(3, SEGMENT_LEN, |mut storage| {
        storage.create(SegmentId(1), &HEADER)?;
        assert!(!dir.path().join("3").exists());
        storage.create(SegmentId(1), &HEADER)
    });
    assert!(matches!(refused.unwrap_err().cause(), Cause::Exists));
    assert_eq!(root.list_regions().unwrap(), RootListing::default());

    let made = root.create_region_dir(3, SEGMENT_LEN, |mut storage| {
        storage.create(SegmentId(1), &HEADER)?;
        append(&mut storage, 1, 64, b"early")?;
        Ok::<_, FileError>(storage)
    });
    // The storage of the making goes on under the final name.
    let mut storage = made.unwrap();
    assert_eq!(&*storage.dir(), dir.path().join("3"));
    storage.create(SegmentId(2), &HEADER).unwrap();
    assert_eq!(read(&mut storage, 1, 64, 5), b"early");
    assert_eq!(root.list_regions().unwrap().regions, [3]);
    assert_eq!(root.list_region(3).unwrap().segments, [SegmentId(1), SegmentId(2)]);
    let again = root.create_region_dir(3, SEGMENT_LEN, |_| Ok::<_, FileError>(()));
    assert!(matches!(again.unwrap_err().cause(), Cause::Exists));
    let mut buf = [0; 64];
    assert_eq!(
        root.read_header(3, SegmentId(2), &mut buf).unwrap(),
        (&HEADER[..], u64::from(SEGMENT_LEN))
    );
}

#[test]
fn storages_of_one_region_share_its_segments() {
    let bench = Bench::new();
    let root = bench.root();
    let mut first = root.region(REGION, SEGMENT_LEN).unwrap();
    append(&mut first, 1, 64, b"x").unwrap();
    let mut second = root.region(REGION, SEGMENT_LEN).unwrap();
    assert!(!second.appends());
    drop(first);
    second.write(SegmentId(1), 65, &[b"y"]).unwrap();
    let other_length = root.region(REGION, 2 * SEGMENT_LEN).unwrap_err();
    assert!(matches!(other_length.cause(), Cause::Length { .. }), "{other_length}");
    assert!(root.region(REGION + 1, SEGMENT_LEN).unwrap_err().is_not_found());
    let geometry = root.region(REGION, 7).unwrap_err();
    assert!(matches!(geometry.cause(), Cause::Geometry(_)), "{geometry}");
}

#[test]
fn a_removed_region_is_gone_and_pins_are_not() {
    let bench = Bench::new();
    let root = bench.root();
    let mut storage = root.region(REGION, SEGMENT_LEN).unwrap();
    append(&mut storage, 1, 64, b"kept").unwrap();
    let pin = storage.pin(SegmentId(1), 64, 68).unwrap();
    let mine = bench.region_path().join("mine");
    fs::write(&mine, b"").unwrap();
    let error = root.remove_region_dir(REGION).unwrap_err();
    assert!(matches!(error.cause(), Cause::Foreign), "{error}");
    assert_eq!(error.path(), mine);
    append(&mut storage, 1, 68, b"still there").unwrap();

    fs::remove_file(mine).unwrap();
    root.remove_region_dir(REGION).unwrap();
    assert_eq!(root.list_regions().unwrap(), RootListing::default());
    assert_eq!(&*pin, b"kept");
    assert!(storage.write(SegmentId(1), 68, &[b"x"]).unwrap_err().is_not_found());
    crate::make_region(&root).unwrap();
    // The old handle does not reach into the new region.
    assert!(storage.pin(SegmentId(1), 0, 64).unwrap_err().is_not_found());
    assert!(storage.create(SegmentId(2), &HEADER).unwrap_err().is_not_found());
    let mut storage = root.region(REGION, SEGMENT_LEN).unwrap();
    assert_eq!(read(&mut storage, 1, 64, 4), [0; 4]);
}

#[test]
fn leftovers_and_foreign_names_are_told_apart() {
    let bench = Bench::new();
    let leftover = bench.path().join("tmp_region_9");
    fs::create_dir(&leftover).unwrap();
    fs::write(leftover.join("tmp_1"), b"").unwrap();
    fs::write(leftover.join("seg_4"), b"half").unwrap();
    fs::create_dir(bench.path().join("lost+found")).unwrap();
    let root = bench.root();
    let listing = root.list_regions().unwrap();
    assert_eq!(listing.regions, [REGION]);
    assert_eq!(listing.leftovers, [9]);
    assert_eq!(listing.foreign, [bench.path().join("lost+found")]);
    root.release_leftover(9).unwrap();
    root.release_leftover(9).unwrap();
    assert!(!leftover.exists());

    fs::create_dir(bench.path().join("07")).unwrap();
    let error = root.list_regions().unwrap_err();
    assert!(matches!(error.cause(), Cause::TwoNames { number: 7, .. }), "{error}");
}

/// What the calls of a region's life change in directories is durable when each returns.
#[test]
fn names_are_durable_when_a_call_returns() {
    let recorder = Arc::new(Recorder::default());
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("above").join("root");
    let check = |what: &str| {
        let steps = recorder.take();
        assert!(steps.iter().any(|step| matches!(step, Step::SyncDir(_))), "{what}");
        assert_eq!(unsynced_name(&steps), None, "after {what}");
        // The test is worth something only if it fails when any one of the needed syncs is missing.
        let missed = (0..steps.len())
            .filter(|at| matches!(steps[*at], Step::SyncDir(_)))
            .filter(|at| {
                let mut fewer = steps.clone();
                fewer.remove(*at);
                unsynced_name(&fewer).is_some()
            })
            .count();
        (steps, missed)
    };
    let seam = Seam::observed(recorder.clone());
    let root = Root::open(seam, &path, 1).unwrap();
    assert_eq!(check("making the root").1, 2);
    drop(root);
    let root = Root::open(Seam::observed(recorder.clone()), &path, 1).unwrap();
    let steps = recorder.take();
    let above = path.parent().unwrap().to_path_buf();
    assert_eq!(steps[0], Step::SyncDir(above), "whoever made it may have died before");
    assert_eq!(steps[2..], [Step::SyncDir(path.clone())], "its listing is relied on");
    crate::make_region(&root).unwrap();
    let (steps, missed) = check("making a region");
    assert_eq!(missed, 1, "{steps:?}");
    let mut storage = root.region(REGION, SEGMENT_LEN).unwrap();
    listed(&mut storage).unwrap();
    assert_eq!(
        recorder.take(),
        [Step::SyncDir(path.join("7"))],
        "a listing is relied on"
    );
    storage.create(SegmentId(2), &HEADER).unwrap();
    let (steps, missed) = check("create");
    assert_eq!(missed, 1);
    // Whole before it has its name.
    let at = |wanted: fn(&Step) -> bool| steps.iter().position(wanted).unwrap();
    let synced = at(|step| matches!(step, Step::SyncFile(_)));
    assert!(at(|step| matches!(step, Step::Write(..))) < synced);
    assert!(at(|step| matches!(step, Step::SetLen(..))) < synced);
    assert!(synced < at(|step| matches!(step, Step::Rename(..))));
    storage.remove(SegmentId(1)).unwrap();
    assert_eq!(check("remove").1, 1);
    fs::write(path.join("7").join("tmp_3"), b"").unwrap();
    listed(&mut storage).unwrap();
    storage.release(0).unwrap();
    assert_eq!(check("release").1, 1);
    root.remove_region_dir(REGION).unwrap();
    let (steps, _) = check("removing a region");
    // The region leaves its name for good before anything in it goes.
    let at = |wanted: &dyn Fn(&Step) -> bool| steps.iter().position(wanted).unwrap();
    let renamed = at(&|step| matches!(step, Step::Rename(..)));
    assert_eq!(steps[renamed + 1], Step::SyncDir(path.clone()));
    assert!(renamed + 1 < at(&|step| matches!(step, Step::Unlink(_))));
    assert_eq!(steps.last(), Some(&Step::SyncDir(path.clone())));
}

#[test]
fn version_0_is_recognised_by_what_is_in_it() {
    let check = |files: &[(&str, &[u8])], expect: bool| {
        let dir = TempDir::new().unwrap();
        for (name, bytes) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        assert_eq!(is_version_0(&Seam::new(), dir.path()).unwrap(), expect, "{files:?}");
    };
    let magic = b"\0HoraeDBWAL and records";
    check(&[], false);
    check(&[("1/seg_0", magic)], true);
    check(&[("1/segment_0.wal", magic)], true);
    check(&[("0/notes", b"x"), ("1/seg_12", magic)], true);
    // One damaged file, and the whole root was taken for a new one.
    check(&[("1/seg_0", b"something else"), ("1/seg_1", magic)], true);
    check(&[("1/seg_0", &magic[..10]), ("2/seg_0", magic)], true);
    check(&[("1/seg_0", &[0; 64]), ("2/seg_0", magic)], true);
    check(&[("1/seg_0", b"WALSTONE and more"), ("2/seg_0", magic)], false);
    check(&[("1/seg_0", &magic[..10])], false);
    check(&[("1/seg_0", b"something else")], false);
    check(&[("1/other", magic)], false);
    check(&[("x/seg_0", magic)], false);
    assert!(!is_version_0(&Seam::new(), Path::new("/no/such/root")).unwrap());
    let bench = Bench::new();
    assert!(!is_version_0(&Seam::new(), bench.path()).unwrap());
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/horaedb-v0");
    for layout in ["seg", "segment"] {
        assert!(is_version_0(&Seam::new(), &data.join(layout)).unwrap(), "{layout}");
    }
}

#[test]
fn a_region_made_by_one_life_is_whole_in_the_next() {
    let bench = Bench::new();
    let mut storage = bench.open();
    append(&mut storage, 1, 64, b"value").unwrap();
    storage.sync(mark(1, 69)).unwrap();
    drop(storage);
    let root = bench.root();
    assert_eq!(root.list_regions().unwrap().regions, [REGION]);
    let mut storage = root.region(REGION, SEGMENT_LEN).unwrap();
    assert_eq!(read(&mut storage, 1, 64, 5), b"value");
}
