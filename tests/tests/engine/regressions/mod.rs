//! Failures that logs had, this one or others, each told as a story.

mod deletions;
mod ends;
mod full;
mod removal;
mod returning;

use walstone_core::frame::{self, Kind};
use walstone_core::ram::RamStorage;
use walstone_core::segment::header::Header;
use walstone_core::{Capacity, Checksum, Corruption, Error, Geometry, Log, Options, SegmentId, Storage};

pub(super) type RamLog = Log<'static, RamStorage>;
pub(super) const ONE: SegmentId = SegmentId(1);

pub(super) fn options() -> Options {
    Options::new(7, 42)
}

pub(super) fn plain() -> Geometry {
    Geometry::new(4096).unwrap()
}

pub(super) fn create(geometry: Geometry) -> RamLog {
    Log::create(RamStorage::new(geometry), Capacity::heap(0), options()).unwrap()
}

pub(super) fn open(ram: RamStorage) -> RamLog {
    Log::open(ram, Capacity::heap(0), options()).unwrap()
}

pub(super) fn refused(ram: RamStorage) -> Corruption {
    match Log::open(ram, Capacity::heap(0), options()) {
        Err(Error::Corrupt(corruption)) => corruption,
        Err(other) => panic!("{other}"),
        Ok(log) => panic!("opened: {:?}", log.report()),
    }
}

pub(super) fn all<S: Storage>(log: &mut Log<'static, S>) -> Vec<(u64, Vec<u8>)> {
    let mut out = Vec::new();
    let mut reads = log.read(None, ..);
    while let Some(record) = reads.next() {
        let record = record.unwrap();
        out.push((record.sequence, record.value.to_vec()));
    }
    out
}

pub(super) fn sequences(log: &mut RamLog) -> Vec<u64> {
    all(log).into_iter().map(|(sequence, _)| sequence).collect()
}

/// Offsets of the frames of a kind that verify anywhere in a segment.
pub(super) fn frames(ram: &RamStorage, id: SegmentId, kind: Kind) -> Vec<u32> {
    let bytes = ram.bytes(id).unwrap();
    let binding = Header::decode(bytes, Checksum::BYTEWISE)
        .unwrap()
        .binding(Checksum::BYTEWISE);
    let at = |offset: &u32| bytes[*offset as usize..].first_chunk();
    (0..bytes.len() as u32)
        .step_by(8)
        .filter(|offset| {
            let header = at(offset).and_then(|bytes| frame::Header::decode(bytes, &binding, *offset, 1).ok());
            header.is_some_and(|header| header.kind == kind)
        })
        .collect()
}

/// Appends until the log goes on in another segment; the sequence of the first record there.
pub(super) fn rotate(log: &mut RamLog) -> u64 {
    let before = log.written_mark().segment;
    loop {
        let appended = log.append(1, &[9; 100]).unwrap();
        if log.written_mark().segment != before {
            return appended.first;
        }
    }
}
