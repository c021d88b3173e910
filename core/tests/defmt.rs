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

/// Whoever adds an error adds it above.
#[test]
fn no_error_is_left_out() {
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
    let mut errors = 0;
    for line in all.iter().flat_map(|source| source.lines()) {
        let Some((_, name)) = line.split_once("error::Error for ") else {
            continue;
        };
        let end = name.find(|c: char| !c.is_alphanumeric()).unwrap_or(name.len());
        let listed = [
            format!("::{}>()", &name[..end]),
            format!("::{}<Infallible>>()", &name[..end]),
        ];
        let here = include_str!("defmt.rs");
        assert!(listed.iter().any(|listed| here.contains(listed)), "{name}");
        errors += 1;
    }
    assert!(errors > 10, "{errors} errors");
}
