//! Every public error and report can be logged through defmt. That this links shows that the feature alone asks a host
//! for no logger.
#![cfg(all(feature = "defmt", feature = "alloc"))]

use std::convert::Infallible;
use std::fs;
use std::path::Path;

use walstone_core::{flat, frame, ram, segment, v0};

/// Does not compile for a type that cannot be logged.
const fn check<T: defmt::Format>() {}

#[test]
fn errors_and_reports_can_be_logged() {
    check::<walstone_core::Error<Infallible>>();
    check::<walstone_core::PoisonCause>();
    check::<walstone_core::Corruption>();
    check::<walstone_core::Reason>();
    check::<walstone_core::Report>();
    check::<walstone_core::Tail>();
    check::<walstone_core::Appended>();
    check::<walstone_core::Position>();
    check::<walstone_core::BatchFull>();
    check::<walstone_core::Malformed>();
    check::<walstone_core::Record<'_>>();
    check::<walstone_core::Entry<'_>>();
    check::<walstone_core::TableRange>();
    check::<walstone_core::Geometry>();
    check::<walstone_core::GeometryError>();
    check::<walstone_core::Mark>();
    check::<walstone_core::Found>();
    check::<walstone_core::Fault>();
    check::<walstone_core::Salvaged<'_>>();
    check::<walstone_core::Gap>();
    check::<frame::Header>();
    check::<frame::HeaderError>();
    check::<segment::header::Header>();
    check::<segment::header::HeaderError>();
    check::<segment::layout::Layout>();
    check::<flat::FlatError<Infallible>>();
    check::<flat::OpenError<Infallible>>();
    check::<flat::FlatGeometry>();
    check::<flat::FlatGeometryError>();
    check::<flat::SliceError>();
    check::<flat::IoError<Infallible>>();
    check::<ram::RamError>();
    check::<v0::DecodeError>();
    check::<v0::EncodeError>();
    check::<v0::SegmentError>();
    #[cfg(feature = "embedded-storage")]
    {
        check::<flat::NorError<Infallible>>();
        check::<flat::ByteError<Infallible>>();
    }
}

/// What is no error, report or value: handles, rooms, and what holds functions.
const NOT_LOGGED: [&str; 30] = [
    "Batch",
    "Binding",
    "Blocking",
    "ByteDevice",
    "Capacity",
    "Checksum",
    "Entries",
    "FlatCapacity",
    "FlatRoom",
    "FlatStorage",
    "Footer",
    "Frame",
    "Frames",
    "IoDevice",
    "Log",
    "Mutation",
    "NorDevice",
    "Options",
    "Prepared",
    "RamStorage",
    "Reads",
    "Records",
    "Salvage",
    "Segment",
    "SegmentReader",
    "SliceDevice",
    "Slot",
    "Snapshot",
    "Unopened",
    "Workspace",
];

/// Whoever adds a public type derives the trait for it, or says above that it is none to be logged.
#[test]
fn no_type_is_left_out() {
    fn sources(folder: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).expect("the sources are there") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                sources(&path, found);
            } else {
                found.push(fs::read_to_string(path).expect("a source"));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = Vec::new();
    sources(&root.join("src"), &mut all);
    let (mut logged, mut left_out) = (0, Vec::new());
    for source in &all {
        let mut is_logged = false;
        for line in source.lines().map(str::trim_start) {
            let declared = ["pub struct ", "pub enum ", "pub union "];
            if let Some(name) = declared.iter().find_map(|declared| line.strip_prefix(declared)) {
                let end = name.find(|c: char| !c.is_alphanumeric()).unwrap_or(name.len());
                if is_logged {
                    logged += 1;
                } else {
                    left_out.push(&name[..end]);
                }
            }
            // Attributes and what else stands between them and the declaration.
            is_logged = line.contains("derive(defmt::Format)")
                || is_logged && (line.starts_with('#') || line.starts_with("//"));
        }
    }
    left_out.sort_unstable();
    assert_eq!(left_out, NOT_LOGGED);
    assert!(logged > 40, "{logged} types");
}
