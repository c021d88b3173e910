//! Every public error and report can be logged through defmt. That this links shows that the feature alone asks a host
//! for no logger.
#![cfg(all(feature = "defmt", feature = "alloc"))]

use std::convert::Infallible;

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
}
