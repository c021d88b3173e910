//! The bytes of one segment, which of its units were written, and digests of both.

use walstone_core::Geometry;

/// A segment's bytes, with one bit per write unit for what was written, be it with the erased value.
#[derive(Clone, Debug)]
pub(super) struct Bytes {
    data: Vec<u8>,
    written: Vec<u64>,
    unit: u32,
    erased: Option<u8>,
}

impl Bytes {
    /// A segment without a header: erased, or with the bytes of a former one.
    pub(super) fn blank(geometry: Geometry, stale: Option<&Self>) -> Self {
        let len = geometry.segment_len();
        let units = len / geometry.write_unit();
        let data = match (geometry.erased(), stale) {
            (Some(erased), _) => vec![erased; len as usize],
            (None, Some(stale)) => stale.data.clone(),
            (None, None) => vec![0; len as usize],
        };
        Self {
            data,
            written: vec![0; units.div_ceil(64) as usize],
            unit: geometry.write_unit(),
            erased: geometry.erased(),
        }
    }

    pub(super) fn data(&self) -> &[u8] {
        &self.data
    }

    /// Takes for written only what differs from the erased byte, as after damage or a cut.
    pub(super) fn forget_written(&mut self) {
        self.written.fill(0);
    }

    /// For changes that are no writes.
    pub(super) fn data_mut(&mut self) -> &mut [u8] {
        &mut self.data
    }

    pub(super) fn put(&mut self, offset: u32, bytes: &[u8]) {
        let end = offset + bytes.len() as u32;
        self.data[offset as usize..end as usize].copy_from_slice(bytes);
        for unit in offset / self.unit..end.div_ceil(self.unit) {
            self.written[unit as usize / 64] |= 1 << (unit % 64);
        }
    }

    /// The first unit in a range of whole ones that must not be written, if units may be written once only.
    pub(super) fn first_written(&self, from: u32, to: u32) -> Option<u32> {
        let erased = self.erased?;
        let mut units = from / self.unit..to / self.unit;
        let used = |&unit: &u32| {
            let start = (unit * self.unit) as usize;
            let bytes = &self.data[start..start + self.unit as usize];
            self.written[unit as usize / 64] >> (unit % 64) & 1 == 1 || bytes.iter().any(|&byte| byte != erased)
        };
        units.find(used).map(|unit| unit * self.unit)
    }

    /// Where everything behind reads as erased and was never written.
    pub(super) fn extent(&self) -> u32 {
        let Some(erased) = self.erased else {
            return self.data.len() as u32;
        };
        let last = self.written.iter().rposition(|&word| word != 0);
        let units = last.map_or(0, |at| at as u32 * 64 + 64 - self.written[at].leading_zeros());
        let dirty = self.data.iter().rposition(|&byte| byte != erased);
        (units * self.unit).max(dirty.map_or(0, |at| at as u32 + 1))
    }

    pub(super) fn digest(&self, digest: &mut Digest) {
        let chunks = self.data.chunks_exact(8);
        // A geometry's segment is a multiple of 8 bytes.
        for chunk in chunks {
            digest.number(u64::from_le_bytes(chunk.try_into().expect("a chunk of 8 bytes")));
        }
        self.written.iter().for_each(|&word| digest.number(word));
    }
}

/// A digest of numbers that is the same in every run. Not for hostile input.
#[derive(Clone, Copy, Debug)]
pub(super) struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }
}

impl Digest {
    pub(super) const fn number(&mut self, number: u64) {
        // Odd, so that no input is lost; the rotation carries high bits down.
        self.0 = (self.0 ^ number).wrapping_mul(0xd6e8_feb8_6659_fd93).rotate_left(29);
    }

    pub(super) const fn finish(self) -> u64 {
        scramble(self.0)
    }
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
const fn scramble(mut number: u64) -> u64 {
    number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

/// SplitMix64: numbers that look random and depend on the seed alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seeds: &[u64]) -> Self {
        let mut digest = Digest::default();
        seeds.iter().for_each(|&seed| digest.number(seed));
        Self(digest.finish())
    }

    pub(super) const fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        scramble(self.0)
    }

    /// Below `end`, which is not zero.
    pub(super) const fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }
}
