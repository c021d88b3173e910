//! Images that somebody made up: what to make of bytes that somebody chose, and everything that can be done with the
//! image then. Never a panic, never work without an end.

use walstone_core::frame::{self, Kind};
use walstone_core::ram::RamStorage;
use walstone_core::segment::header::Header;
use walstone_core::{Capacity, Checksum, Entry, Log, Options, SegmentId, salvage};

use crate::repeatable::Dice;

const SUM: Checksum = Checksum::BYTEWISE;

/// Where choices come from.
pub trait Draw {
    /// Below `end`, which is not zero.
    fn below(&mut self, end: usize) -> usize;

    /// Any number.
    fn number(&mut self) -> u64;

    /// A number that somebody who means harm would choose, at times one near `near`.
    fn word(&mut self, near: u64) -> u64 {
        match self.below(9) {
            0 => u64::MAX,
            1 => u64::MAX - 1,
            2 => 0,
            3 => 1,
            4 => u64::from(u32::MAX),
            5 => near.wrapping_add(self.below(64) as u64),
            6 => near.wrapping_sub(self.below(64) as u64),
            7 => self.below(2048) as u64,
            _ => 1 << self.below(64),
        }
    }
}

impl Draw for Dice {
    fn below(&mut self, end: usize) -> usize {
        Self::below(self, end as u64) as usize
    }

    fn number(&mut self) -> u64 {
        Self::number(self)
    }
}

/// Chosen bytes; zeros behind their end.
#[derive(Clone, Copy, Debug)]
pub struct Chosen<'a>(pub &'a [u8]);

impl<'a> Chosen<'a> {
    /// Whether there are none left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next `len` bytes, or as many as there are.
    pub fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn uint(&mut self, len: usize) -> u64 {
        self.take(len)
            .iter()
            .rev()
            .fold(0, |number, &byte| number << 8 | u64::from(byte))
    }
}

impl Draw for Chosen<'_> {
    fn below(&mut self, end: usize) -> usize {
        let len = if end > 256 { 2 } else { 1 };
        self.uint(len) as usize % end
    }

    fn number(&mut self) -> u64 {
        self.uint(8)
    }
}

/// The ids of the segments of an image, as far as anybody here makes them.
#[must_use]
pub fn ids(ram: &RamStorage) -> Vec<SegmentId> {
    (0..256).map(SegmentId).filter(|&id| ram.bytes(id).is_some()).collect()
}

/// Verified frames of a segment, if its header verifies.
#[must_use]
pub fn frames(bytes: &[u8]) -> Option<(frame::Binding, Vec<(u32, frame::Header)>)> {
    let binding = Header::decode(bytes, SUM).ok()?.binding(SUM);
    let mut base = 0;
    let mut found = Vec::new();
    for offset in (0..bytes.len() as u32 - 24).step_by(8) {
        let at = bytes[offset as usize..].first_chunk()?;
        if let Ok(header) = frame::Header::decode(at, &binding, offset, base) {
            if header.kind == Kind::Manifest {
                base = header.incarnation;
            }
            found.push((offset, header));
        }
    }
    Some((binding, found))
}

/// Makes one frame of a segment lie, with checksums that verify.
pub fn mutate(bytes: &mut [u8], draw: &mut impl Draw) {
    let Some((binding, found)) = frames(bytes).filter(|(_, found)| !found.is_empty()) else {
        return;
    };
    let (mut offset, mut header) = found[draw.below(found.len())];
    let payload = offset as usize + 24;
    match draw.below(12) {
        0 => header.payload_len = draw.word(header.payload_len.into()) as u32,
        1 => header.sequence_delta = draw.word(header.sequence_delta.into()) as u32,
        2 => header.watermark = draw.word(header.watermark.into()) as u32,
        3 => header.incarnation = draw.word(header.incarnation.into()) as u32,
        4 | 5 => {
            // A frame anywhere that cuts back to anywhere.
            header.kind = [Kind::Resume, Kind::Resume, Kind::Pad, Kind::Close][draw.below(4)];
            header.incarnation = header.incarnation.wrapping_add(draw.below(4) as u32);
            header.payload_len = 0;
            offset = (64 + draw.below(bytes.len() - 96) / 8 * 8) as u32;
            header.payload_crc = if draw.below(2) == 0 {
                found[draw.below(found.len())].0 + draw.below(3) as u32 * 4
            } else {
                draw.word(offset.into()) as u32
            };
        }
        _ if header.payload_len >= 8 && payload + header.payload_len as usize <= bytes.len() => {
            let width = if draw.below(2) == 0 { 4 } else { 8 };
            let at = payload + draw.below((header.payload_len as usize - width) / 4 + 1) * 4;
            let old = u64::from_le_bytes(*bytes[at..].first_chunk().unwrap_or(&[0; 8]));
            bytes[at..at + width].copy_from_slice(&draw.word(old).to_le_bytes()[..width]);
        }
        _ => header.with_epoch = !header.with_epoch,
    }
    let end = payload + header.payload_len as usize;
    if header.kind.has_payload() && end <= bytes.len() {
        header.payload_crc = SUM.of(&bytes[payload..end]);
    }
    let place = offset as usize;
    bytes[place..place + 24].copy_from_slice(&header.encode(&binding, offset));
}

/// Does everything that can be done with an image. True where it opens.
///
/// # Panics
/// Where something has no end, or reading changes something.
pub fn use_all(ram: &RamStorage, region: u64) -> bool {
    let bounded = |count: &mut usize| {
        *count += 1;
        assert!(*count < 10_000, "without an end");
    };
    let mut count = 0;
    salvage(&mut ram.clone(), SUM, &mut |_| bounded(&mut count)).expect("nothing fails in memory");
    read_only(ram, region, bounded);
    let Ok(mut log) = Log::open(ram.clone(), Capacity::heap(0), Options::new(region, 99)) else {
        return false;
    };
    let mut positions = Vec::new();
    let snapshot = log.snapshot(true);
    for at in 0..snapshot.segment_count() {
        let segment = snapshot.segment(at).expect("it is counted");
        let bytes = ram.bytes(segment.id).expect("an open looked at it");
        let bytes = &bytes[..bytes.len().min(segment.end as usize)];
        let Ok(reader) = snapshot.reader(at, bytes) else {
            continue;
        };
        let mut count = 0;
        for from in [0, 5, u64::MAX] {
            for table in [None, Some(1), Some(2), Some(u64::MAX)] {
                for frame in reader.frames_from(from, table).flatten() {
                    bounded(&mut count);
                    positions.push(frame.position());
                    for entry in frame.entries().into_iter().flatten() {
                        bounded(&mut count);
                        let _ = entry.is_ok_and(|entry| matches!(entry, Entry::Record(_)));
                    }
                }
            }
        }
    }
    positions.sort_unstable();
    positions.dedup();
    for position in positions {
        let _ = log.read_at(position).map(|record| record.sequence);
    }
    for table in [None, Some(1), Some(u64::MAX)] {
        let mut count = 0;
        let mut reads = log.read(table, ..);
        while reads.next().is_some() {
            bounded(&mut count);
        }
    }
    for round in 0..40 {
        let _ = log.append(round % 3, &[round as u8; 60]);
        if round % 7 == 0 {
            let _ = log.truncate_from(1, 3);
            let _ = log.delete_up_to(2, u64::MAX);
            let _ = log.reclaim();
        }
        let _ = log.sync();
    }
    let _ = log.close();
    let _ = Log::open(log.into_storage(), Capacity::heap(0), Options::new(region, 7)).map(drop);
    true
}

fn read_only(ram: &RamStorage, region: u64, bounded: impl Fn(&mut usize)) {
    let opened = Log::open_read_only(ram.clone(), Capacity::heap(0), Options::new(region, 99));
    let Ok(mut log) = opened else { return };
    let mut count = 0;
    let mut reads = log.read(None, ..);
    while reads.next().is_some() {
        bounded(&mut count);
    }
    let after = log.into_storage();
    for id in ids(ram) {
        assert_eq!(ram.bytes(id), after.bytes(id), "reading changed segment {id}");
    }
}
