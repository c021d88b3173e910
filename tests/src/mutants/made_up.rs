//! Segments that no history of one healthy medium leads to, and what the format says of them all the same.

use walstone_core::frame::{self, Binding, Kind};
use walstone_core::ram::RamStorage;
use walstone_core::segment::header::Header;
use walstone_core::{Geometry, SegmentId};

use crate::images;

/// A made-up segment: a manifest of incarnation 1 and first sequence 1, and whatever is put behind it.
#[derive(Clone, Debug)]
pub struct MadeUp {
    binding: Binding,
    bytes: Vec<u8>,
    at: u32,
}

const GEOMETRY: Geometry = match Geometry::new(4096) {
    Ok(geometry) => geometry,
    Err(_) => panic!("this geometry works"),
};
const ID: SegmentId = SegmentId(1);

impl MadeUp {
    /// The manifest alone.
    #[must_use]
    pub fn segment() -> Self {
        let header = Header {
            geometry: GEOMETRY,
            region: images::options().region,
            segment: ID,
            salt: 1,
        };
        let checksum = images::options().checksum;
        let mut bytes = vec![0; GEOMETRY.segment_len() as usize];
        let encoded = header.encode(checksum);
        bytes[..encoded.len()].copy_from_slice(&encoded);
        let made = Self {
            binding: header.binding(checksum),
            bytes,
            at: encoded.len() as u32,
        };
        let first_sequence = 1u64.to_le_bytes();
        let nothing_listed = [0; 8];
        made.payload(Kind::Manifest, 1, 0, &[first_sequence, nothing_listed].concat())
    }

    /// A session begins that found the log to end at `from`, behind `given` records.
    #[must_use]
    pub fn resume(self, incarnation: u32, from: u32, given: u32) -> Self {
        self.frame(Kind::Resume, incarnation, given, (0, 0, from), &[])
    }

    /// A record of table 1, written in this incarnation behind `given` others.
    #[must_use]
    pub fn record(self, incarnation: u32, given: u32) -> Self {
        self.batch(incarnation, given, &[1 << 3, 1, b'v'])
    }

    /// A batch with this payload, whose checksum is right whatever it holds.
    #[must_use]
    pub fn batch(self, incarnation: u32, given: u32, payload: &[u8]) -> Self {
        self.payload(Kind::Batch, incarnation, given, payload)
    }

    /// The header of a pad behind `given` records that says so: everything before `watermark` is durable, and so many bytes
    /// are filled.
    #[must_use]
    pub fn pad(self, incarnation: u32, given: u32, watermark: u32, payload_len: u32) -> Self {
        self.frame(Kind::Pad, incarnation, given, (payload_len, watermark, 0), &[])
    }

    /// A seal behind `given` records with this payload.
    #[must_use]
    pub fn seal(self, incarnation: u32, given: u32, payload: &[u8]) -> Self {
        self.payload(Kind::Seal, incarnation, given, payload)
    }

    /// Bytes that are no frame.
    #[must_use]
    pub fn noise(mut self) -> Self {
        let at = self.at as usize;
        self.bytes[at..at + 24].fill(0xee);
        self.at += 24;
        self
    }

    /// Where the next frame goes.
    #[must_use]
    pub const fn end(&self) -> u32 {
        self.at
    }

    /// A region with this segment alone.
    #[must_use]
    pub fn storage(self) -> RamStorage {
        let mut ram = RamStorage::new(GEOMETRY);
        ram.insert(ID, self.bytes);
        ram
    }

    fn payload(self, kind: Kind, incarnation: u32, given: u32, payload: &[u8]) -> Self {
        let crc = self.binding.checksum().of(payload);
        self.frame(kind, incarnation, given, (payload.len() as u32, 0, crc), payload)
    }

    /// A frame whose header states this payload length, watermark and payload checksum.
    fn frame(mut self, kind: Kind, incarnation: u32, given: u32, stated: (u32, u32, u32), payload: &[u8]) -> Self {
        let frame = frame::Header {
            kind,
            with_epoch: false,
            incarnation,
            payload_len: stated.0,
            sequence_delta: given,
            watermark: stated.1,
            payload_crc: stated.2,
        };
        let bytes = [&frame.encode(&self.binding, self.at), payload].concat();
        let at = self.at as usize;
        self.bytes[at..at + bytes.len()].copy_from_slice(&bytes);
        self.at = (self.at + bytes.len() as u32).next_multiple_of(8);
        self
    }
}
