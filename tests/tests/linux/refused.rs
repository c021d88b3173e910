//! What the std backend refuses, the backend of raw system calls refuses with the same meaning, above it and alone; and
//! neither changes anything.

use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use walstone::{Error, Options, Reason, Wal};
use walstone_core::{Capacity, Checksum, Geometry, Log};
use walstone_linux::{Cause, LinuxError, LinuxStorage, Memory, Root, WritePath};

use crate::place::{PATHS, Place, c_path};
use crate::processes::{Alone, run};
use crate::root::{Tree, copy_dir};

const SEGMENT_LEN: u32 = 4096;

/// What an opener is told, whatever words its backend has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    NotADirectory,
    Locked,
    Version0,
    NoRegion,
    Exists,
    Foreign,
    ReadOnly,
    TwoNames(u64),
    /// The file is not as long as its segment.
    Length(u64),
    /// The region was made with another one.
    OtherLength,
    Corrupt(Reason),
    /// The system said no.
    System(i32),
    Other,
}

fn told_by_std(error: &Error) -> Told {
    use walstone::files::Cause;
    match error {
        Error::NotADirectory { .. } => Told::NotADirectory,
        Error::Locked { .. } => Told::Locked,
        Error::Version0 { .. } => Told::Version0,
        Error::NoRegion { .. } => Told::NoRegion,
        Error::RegionExists { .. } => Told::Exists,
        Error::ReadOnly => Told::ReadOnly,
        Error::GeometryMismatch { .. } => Told::OtherLength,
        Error::Corrupt { corruption, .. } => Told::Corrupt(corruption.reason),
        Error::Storage(error) => match error.cause() {
            Cause::Io(error) => error.raw_os_error().map_or(Told::Other, Told::System),
            Cause::Foreign => Told::Foreign,
            Cause::TwoNames { number, .. } => Told::TwoNames(*number),
            Cause::Length { found, .. } => Told::Length(*found),
            _ => Told::Other,
        },
        _ => Told::Other,
    }
}

fn told_by_calls(error: &LinuxError) -> Told {
    match error.cause() {
        Cause::Errno(walstone_linux::sys::Errno::ENOTDIR) => Told::NotADirectory,
        Cause::Errno(errno) => Told::System(errno.number().into()),
        Cause::Locked => Told::Locked,
        Cause::Version0 => Told::Version0,
        Cause::Exists => Told::Exists,
        Cause::Foreign => Told::Foreign,
        Cause::ReadOnly => Told::ReadOnly,
        Cause::NoSegments => Told::Corrupt(Reason::NoManifest),
        Cause::TwoNames { number } => Told::TwoNames(number),
        Cause::Length { found, .. } => Told::Length(found),
        _ => Told::Other,
    }
}

impl From<Error> for Told {
    fn from(error: Error) -> Self {
        told_by_std(&error)
    }
}

impl From<LinuxError> for Told {
    fn from(error: LinuxError) -> Self {
        told_by_calls(&error)
    }
}

impl From<walstone_core::Error<LinuxError>> for Told {
    fn from(error: walstone_core::Error<LinuxError>) -> Self {
        match error {
            walstone_core::Error::Storage(error) => error.into(),
            walstone_core::Error::Corrupt(corruption) => Self::Corrupt(corruption.reason),
            _ => Self::Other,
        }
    }
}

/// What is done with a root.
#[derive(Clone, Copy, Debug)]
enum Do {
    Read(u64),
    ReadOtherLength,
    Make,
    Remove,
    MakeWithoutLock,
}

fn std_options(path: walstone::WritePath, with: Do) -> Options {
    let options = Options::builder().segment_len(SEGMENT_LEN).write_path(path);
    let options = match with {
        Do::ReadOtherLength => options.region_segment_len(7, 2 * SEGMENT_LEN),
        _ => options,
    };
    options.build().unwrap()
}

fn std_does(path: &Path, write_path: walstone::WritePath, with: Do) -> Result<(), Told> {
    let options = std_options(write_path, with);
    let wal = match with {
        Do::MakeWithoutLock => Wal::open_read_only(path, options)?,
        _ => Wal::open(path, options)?,
    };
    match with {
        Do::Make | Do::MakeWithoutLock => drop(wal.create_region(7)?),
        Do::Remove => wal.remove_region(7)?,
        Do::Read(number) => {
            for record in wal.region(number)?.view()?.scan() {
                record?;
            }
        }
        Do::ReadOtherLength => drop(wal.region(7)?),
    }
    Ok(())
}

fn calls_do(path: &Path, write_path: WritePath, with: Do) -> Result<(), Told> {
    let root = match with {
        Do::MakeWithoutLock => Root::open_read_only(&c_path(path))?,
        _ => Root::open(&c_path(path))?,
    };
    let segment_len = match with {
        Do::ReadOtherLength => 2 * SEGMENT_LEN,
        _ => SEGMENT_LEN,
    };
    let geometry = Geometry::new(segment_len).unwrap();
    let number = match with {
        Do::Make | Do::MakeWithoutLock => {
            root.create_region(7, geometry, write_path, Memory::default(), |_| Ok::<_, LinuxError>(()))?;
            return Ok(());
        }
        Do::Remove => return Ok(root.remove_region(7)?),
        Do::Read(number) => number,
        Do::ReadOtherLength => 7,
    };
    root.regions(&mut |_| ControlFlow::Continue(()))?;
    let files = root.region(number, geometry, write_path, Memory::default());
    let files = files.map_err(|error| match error.cause() {
        Cause::Errno(walstone_linux::sys::Errno::ENOENT | walstone_linux::sys::Errno::ENOTDIR) => Told::NoRegion,
        _ => error.into(),
    })?;
    let options = walstone_core::Options {
        checksum: Checksum::BYTEWISE,
        ..walstone_core::Options::new(number, 42)
    };
    let opened = Log::open(LinuxStorage::new(&files), Capacity::heap(8192), options);
    let mut log = opened.map_err(|error| match (Told::from(error), with) {
        // The caller says how long segments are, and the files say otherwise.
        (Told::Length(found), Do::ReadOtherLength) if found == u64::from(SEGMENT_LEN) => Told::OtherLength,
        (told, _) => told,
    })?;
    let mut records = log.read(None, ..);
    while let Some(record) = records.next() {
        record?;
    }
    Ok(())
}

/// A closed log of two regions with several segments each.
fn log() -> (TempDir, std::path::PathBuf) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("wal");
    let wal = Wal::open(&path, std_options(walstone::WritePath::Mapped, Do::Read(7))).unwrap();
    for number in [7, 8] {
        let region = wal.create_region(number).unwrap();
        for sequence in 0..30u8 {
            region.append(1, &[sequence; 300]).unwrap();
        }
    }
    wal.close().unwrap();
    (dir, path)
}

/// Spoils a log; everybody is told this, and nothing is changed.
fn check(row: &str, spoil: impl Fn(&Path), with: Do, expect: Told) {
    let (_dir, path) = log();
    spoil(&path);
    let before = Tree::of(&path);
    let mut answers = Vec::new();
    for write_path in [
        walstone::WritePath::Mapped,
        walstone::WritePath::Buffered,
        walstone::WritePath::Direct,
    ] {
        answers.push((format!("{write_path:?}"), std_does(&path, write_path, with)));
    }
    for write_path in PATHS {
        answers.push((format!("alone, {write_path:?}"), calls_do(&path, write_path, with)));
    }
    for (by, answer) in answers {
        assert_eq!(answer.err().unwrap_or(Told::Nothing), expect, "{row}: {by}");
    }
    assert!(Tree::of(&path) == before, "{row}: something was changed");
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x40;
    fs::write(path, bytes).unwrap();
}

fn replaced_by_version_0(path: &Path, layout: &str) {
    fs::remove_dir_all(path).unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/horaedb-v0");
    copy_dir(&fixture.join(layout), path);
}

#[test]
fn both_backends_refuse_with_the_same_meaning() {
    let segment = |path: &Path, number: u64, id: u64| path.join(format!("{number}/seg_{id}"));
    let read = Do::Read(7);
    check("nothing is wrong", |_| (), read, Told::Nothing);
    check(
        "names of others",
        |path| {
            for name in ["notes", "007x", "7/notes", "7/seg_x"] {
                fs::write(path.join(name), b"mine").unwrap();
            }
        },
        read,
        Told::Nothing,
    );
    check(
        "a root that is a file",
        |path| {
            fs::remove_dir_all(path).unwrap();
            fs::write(path, b"mine").unwrap();
        },
        read,
        Told::NotADirectory,
    );
    check(
        "a lock that is a directory",
        |path| {
            fs::remove_file(path.join("LOCK")).unwrap();
            fs::create_dir(path.join("LOCK")).unwrap();
        },
        read,
        Told::System(21),
    );
    for layout in ["seg", "segment"] {
        check(
            "a log of version 0",
            |path| replaced_by_version_0(path, layout),
            read,
            Told::Version0,
        );
    }
    check("no such region", |_| (), Do::Read(9), Told::NoRegion);
    check(
        "a region that is a file",
        |path| fs::write(path.join("9"), b"mine").unwrap(),
        Do::Read(9),
        Told::NoRegion,
    );
    check("a region that is there", |_| (), Do::Make, Told::Exists);
    check(
        "a region with a name of others",
        |path| fs::write(path.join("7/notes"), b"mine").unwrap(),
        Do::Remove,
        Told::Foreign,
    );
    check(
        "without the lock",
        |path| fs::remove_dir_all(path.join("7")).unwrap(),
        Do::MakeWithoutLock,
        Told::ReadOnly,
    );
    check(
        "another length of segments",
        |_| (),
        Do::ReadOtherLength,
        Told::OtherLength,
    );
    check(
        "two names of a segment",
        |path| {
            fs::copy(segment(path, 7, 1), path.join("7/seg_01")).unwrap();
        },
        read,
        Told::TwoNames(1),
    );
    check(
        "two names of a region",
        |path| copy_dir(&path.join("7"), &path.join("07")),
        read,
        Told::TwoNames(7),
    );
    for len in [0, 1, 4095] {
        for id in [1, 2] {
            check(
                "a segment that was cut",
                |path| {
                    let file = File::options().write(true).open(segment(path, 7, id)).unwrap();
                    file.set_len(len).unwrap();
                },
                read,
                Told::Length(len),
            );
        }
    }
    check(
        "a segment is missing",
        |path| fs::remove_file(segment(path, 7, 2)).unwrap(),
        read,
        Told::Corrupt(Reason::Missing),
    );
    check(
        "no segment is left",
        |path| {
            fs::remove_dir_all(path.join("7")).unwrap();
            fs::create_dir(path.join("7")).unwrap();
        },
        read,
        Told::Corrupt(Reason::NoManifest),
    );
    check(
        "a segment of another number",
        |path| {
            fs::copy(segment(path, 7, 1), segment(path, 7, 2)).unwrap();
        },
        read,
        Told::Corrupt(Reason::Identity {
            found: walstone::SegmentId(1),
        }),
    );
    check(
        "a segment of another region",
        |path| {
            fs::copy(segment(path, 8, 1), segment(path, 7, 1)).unwrap();
        },
        read,
        Told::Corrupt(Reason::Region { found: 8 }),
    );
}

/// Damage that is met inside a segment: the same reason, whatever it is.
#[test]
fn both_backends_find_the_same_damage() {
    for (id, at) in [(1, 5), (1, 30), (1, 62), (2, 70), (2, 400), (2, 2000), (2, 4000)] {
        let (_dir, path) = log();
        flip(&path.join(format!("7/seg_{id}")), at);
        let before = Tree::of(&path);
        let expect = std_does(&path, walstone::WritePath::Mapped, Do::Read(7));
        for write_path in PATHS {
            assert_eq!(calls_do(&path, write_path, Do::Read(7)), expect, "{id} {at}");
        }
        assert_eq!(
            std_does(&path, walstone::WritePath::Direct, Do::Read(7)),
            expect,
            "{id} {at}"
        );
        assert!(Tree::of(&path) == before, "{id} {at}");
    }
}

#[test]
fn both_backends_wait_for_each_other_and_for_no_one_else() {
    let (_dir, path) = log();
    let root = Root::open(&c_path(&path)).unwrap();
    assert_eq!(
        std_does(&path, walstone::WritePath::Direct, Do::Read(7)),
        Err(Told::Locked)
    );
    assert_eq!(calls_do(&path, WritePath::Direct, Do::Read(7)), Err(Told::Locked));
    drop(root);
    let wal = Wal::open(&path, std_options(walstone::WritePath::Direct, Do::Read(7))).unwrap();
    assert_eq!(calls_do(&path, WritePath::Direct, Do::Read(7)), Err(Told::Locked));
    drop(wal);
    assert_eq!(calls_do(&path, WritePath::Direct, Do::Read(7)), Ok(()));
}

#[test]
fn a_file_system_that_may_only_be_read() {
    let _alone = Alone::wait();
    let Some(place) = Place::mounted(4 << 20) else { return };
    let path = place.path().to_owned();
    let (_dir, from) = log();
    copy_dir(&from, &path);
    let remounted = run(Command::new("mount").args(["-o", "remount,ro"]).arg(&path));
    assert!(remounted.is_ok_and(|output| output.status.success()));
    let before = Tree::of(&path);
    for write_path in [walstone::WritePath::Mapped, walstone::WritePath::Direct] {
        assert_eq!(std_does(&path, write_path, Do::Read(7)), Err(Told::System(30)));
    }
    assert_eq!(calls_do(&path, WritePath::Direct, Do::Read(7)), Err(Told::System(30)));
    assert!(Tree::of(&path) == before);
}
