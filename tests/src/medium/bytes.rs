//! The bytes of one segment, which of its units were written, and a digest of both that keeps up with every change.

use core::ops::Range;

use walstone_core::Geometry;

/// A segment's bytes, with one bit per write unit for what was written, be it with the erased value.
#[derive(Clone, Debug)]
pub(super) struct Bytes {
    data: Vec<u8>,
    /// Of how the data differ from those of a new segment.
    digest: u64,
    written: Vec<u64>,
    /// The digest of `written`.
    marks: u64,
    unit: u32,
    erased: Option<u8>,
    grain: u32,
    /// Where everything behind is as in a new segment.
    reached: u32,
}

impl Bytes {
    /// A segment without a header: erased, or with the bytes of a former one. Its digest is made of grains of so many
    /// bytes, at most 8.
    pub(super) fn blank(geometry: Geometry, stale: Option<&Self>, grain: u32) -> Self {
        let len = geometry.segment_len();
        let units = len / geometry.write_unit();
        // What every new segment shows needs no name.
        let (data, digest) = match (geometry.erased(), stale) {
            (Some(erased), _) => (vec![erased; len as usize], 0),
            (None, Some(stale)) => (stale.data.clone(), stale.digest),
            (None, None) => (vec![0; len as usize], 0),
        };
        Self {
            data,
            digest,
            written: vec![0; units.div_ceil(64) as usize],
            marks: 0,
            unit: geometry.write_unit(),
            erased: geometry.erased(),
            grain,
            reached: 0,
        }
    }

    pub(super) fn data(&self) -> &[u8] {
        &self.data
    }

    /// Takes for written only what differs from the erased byte, as after damage or a cut.
    pub(super) fn forget_written(&mut self) {
        for at in 0..self.written.len() {
            self.set_written(at, 0);
        }
    }

    /// Takes for written what `other` does.
    pub(super) fn take_marks(&mut self, other: &Self) {
        self.written.clone_from(&other.written);
        self.marks = other.marks;
    }

    fn set_written(&mut self, at: usize, bits: u64) {
        let mark = |bits: u64| if bits == 0 { 0 } else { mix(!(at as u64), bits) };
        self.marks ^= mark(self.written[at]) ^ mark(bits);
        self.written[at] = bits;
    }

    /// A change that is no write.
    pub(super) fn change(&mut self, range: Range<u32>, change: impl FnOnce(&mut [u8])) {
        let from = range.start / self.grain * self.grain;
        let to = range.end.next_multiple_of(self.grain);
        self.reached = self.reached.max(range.end);
        let (grains, range) = (from as usize..to as usize, range.start as usize..range.end as usize);
        self.digest ^= digest_of(&self.data[grains.clone()], from, self.grain);
        change(&mut self.data[range]);
        self.digest ^= digest_of(&self.data[grains], from, self.grain);
    }

    /// The part of the digest that these bytes at `offset` would make up.
    pub(super) fn part(&self, bytes: &[u8], offset: u32) -> u64 {
        digest_of(bytes, offset, self.grain)
    }

    pub(super) fn put(&mut self, offset: u32, bytes: &[u8]) {
        let end = offset + bytes.len() as u32;
        self.change(offset..end, |data| data.copy_from_slice(bytes));
        let units = offset / self.unit..end.div_ceil(self.unit);
        let (mut at, last) = (units.start, units.end);
        while at < last {
            let next = last.min((at / 64 + 1) * 64);
            let bits = (u64::MAX >> (64 - (next - at))) << (at % 64);
            let word = at as usize / 64;
            self.set_written(word, self.written[word] | bits);
            at = next;
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
        let dirty = self.data[..self.reached as usize]
            .iter()
            .rposition(|&byte| byte != erased);
        (units * self.unit).max(dirty.map_or(0, |at| at as u32 + 1))
    }

    pub(super) const fn digest(&self) -> u64 {
        self.digest ^ self.marks
    }
}

/// The grains of `bytes`, which stand at `offset`, in a sum that forgets their order but not their places.
fn digest_of(bytes: &[u8], offset: u32, grain: u32) -> u64 {
    if grain == 8 && bytes.len().is_multiple_of(8) {
        let (grains, _) = bytes.as_chunks::<8>();
        let numbers = grains.iter().zip(u64::from(offset / 8)..);
        return numbers.fold(0, |digest, (grain, at)| digest ^ mix(at, u64::from_le_bytes(*grain)));
    }
    let grains = bytes.chunks(grain as usize).zip(u64::from(offset / grain)..);
    grains.fold(0, |digest, (grain, at)| {
        let number = grain.iter().rfold(0, |number, &byte| number << 8 | u64::from(byte));
        digest ^ mix(at, number)
    })
}

/// One number for a place and what is there.
const fn mix(place: u64, number: u64) -> u64 {
    let keyed = number ^ place.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let product = (keyed ^ keyed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    (product ^ product >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ product >> 32
}
