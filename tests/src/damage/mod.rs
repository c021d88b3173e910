//! Damage to the image of a region: one change at a time, all changes of a kind, and what each may cost.
//!
//! What a change may cost is worked out from the format document ([`oracle`]), not from what the engine says. What it
//! does cost is found by opening the damaged image and reading all of it ([`Image::judge`]).

pub mod oracle;
pub mod sweep;

use std::fmt;
use std::ops::Range;

use walstone_core::ram::RamStorage;
use walstone_core::{SegmentId, Storage};

use crate::images::Image;

/// A run of bytes of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The segment.
    pub segment: SegmentId,
    /// Its bytes.
    pub bytes: Range<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes {:?} of {}", self.bytes, self.segment)
    }
}

/// One change to an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// One bit turned over.
    Bit {
        /// The segment.
        segment: SegmentId,
        /// The byte.
        at: usize,
        /// The bit.
        bit: u8,
    },
    /// Reads as zero.
    Zeroed(Place),
    /// Two places of the same length hold each other's bytes.
    Swapped(Place, Place),
    /// The second place holds the bytes of the first one too: a misdirected write.
    Doubled(Place, Place),
    /// The bytes as they were after an earlier sync.
    Older(Place, usize),
    /// From this byte on the segment reads as erased: what a loss of power may leave of its last writes.
    Erased(SegmentId, usize),
    /// The file ends here.
    Shorter(SegmentId, usize),
    /// The file is gone.
    Removed(SegmentId),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bit { segment, at, bit } => write!(f, "bit {bit} of byte {at} of {segment} turned over"),
            Self::Zeroed(place) => write!(f, "{place} zeroed"),
            Self::Swapped(one, two) => write!(f, "{one} and {two} swapped"),
            Self::Doubled(from, to) => write!(f, "{from} written over {to} too"),
            Self::Older(place, version) => write!(f, "{place} as after sync {version}"),
            Self::Erased(segment, at) => write!(f, "{segment} erased from byte {at} on"),
            Self::Shorter(segment, len) => write!(f, "{segment} cut off to {len} bytes"),
            Self::Removed(segment) => write!(f, "{segment} removed"),
        }
    }
}

impl Damage {
    /// The damaged image; `None` where the damage is none, since the bytes are the same.
    ///
    /// # Panics
    /// Where the place is not in the image.
    #[must_use]
    pub fn apply(&self, image: &Image) -> Option<RamStorage> {
        let mut ram = image.ram.clone();
        let old = |place: &Place| image.ram.bytes(place.segment).unwrap()[place.bytes.clone()].to_vec();
        let mut put = |place: &Place, bytes: &[u8]| {
            let target = &mut ram.bytes_mut(place.segment).unwrap()[place.bytes.clone()];
            let differs = target != bytes;
            target.copy_from_slice(bytes);
            differs
        };
        let differs = match self {
            Self::Bit { segment, at, bit } => {
                ram.bytes_mut(*segment).unwrap()[*at] ^= 1 << bit;
                true
            }
            Self::Zeroed(place) => put(place, &vec![0; place.bytes.len()]),
            Self::Swapped(one, two) => {
                let (first, second) = (old(one), old(two));
                put(one, &second) | put(two, &first)
            }
            Self::Doubled(from, to) => put(to, &old(from)),
            Self::Older(place, version) => {
                let older = image.older[*version].bytes(place.segment);
                older.is_some_and(|bytes| put(place, &bytes[place.bytes.clone()]))
            }
            Self::Erased(segment, at) => {
                let erased = ram.geometry().erased().unwrap_or(0);
                let tail = &mut ram.bytes_mut(*segment).unwrap()[*at..];
                let differs = tail.iter().any(|&byte| byte != erased);
                tail.fill(erased);
                differs
            }
            Self::Shorter(segment, len) => {
                let bytes = image.ram.bytes(*segment).unwrap();
                ram.insert(*segment, bytes[..*len].to_vec());
                *len < bytes.len()
            }
            Self::Removed(segment) => ram.remove(*segment).is_ok(),
        };
        differs.then_some(ram)
    }
}

/// Every aligned run of `len` bytes.
fn sectors(image: &Image, len: usize) -> Vec<Place> {
    let of = |segment| {
        let end = image.ram.bytes(segment).map_or(0, <[u8]>::len);
        (0..end).step_by(len).map(move |at| Place {
            segment,
            bytes: at..end.min(at + len),
        })
    };
    image.ram.ids().flat_map(of).collect()
}

fn lengths(image: &Image) -> impl Iterator<Item = (SegmentId, usize)> + '_ {
    let ids = image.ram.ids();
    ids.flat_map(|id| (0..image.ram.bytes(id).map_or(0, <[u8]>::len)).map(move |at| (id, at)))
}

/// Every bit.
#[must_use]
pub fn bits(image: &Image) -> Vec<Damage> {
    let all = lengths(image).flat_map(|(segment, at)| (0..8).map(move |bit| Damage::Bit { segment, at, bit }));
    all.collect()
}

/// Every sector of `len` bytes zeroed, and put back to each of its older versions.
#[must_use]
pub fn sectors_lost(image: &Image, len: usize) -> Vec<Damage> {
    let mut all = Vec::new();
    for place in sectors(image, len) {
        all.push(Damage::Zeroed(place.clone()));
        all.extend((0..image.older.len()).map(|version| Damage::Older(place.clone(), version)));
    }
    all
}

/// Every two sectors of `len` bytes swapped, and each written over each other one.
#[must_use]
pub fn sectors_misplaced(image: &Image, len: usize) -> Vec<Damage> {
    let places: Vec<_> = sectors(image, len).into_iter().collect();
    let mut all = Vec::new();
    for (n, one) in places.iter().enumerate() {
        for two in places.get(n + 1..).unwrap_or_default() {
            all.push(Damage::Swapped(one.clone(), two.clone()));
            all.push(Damage::Doubled(one.clone(), two.clone()));
            all.push(Damage::Doubled(two.clone(), one.clone()));
        }
    }
    all
}

/// Every frame written over each frame of the same length.
#[must_use]
pub fn frames_misplaced(image: &Image) -> Vec<Damage> {
    let mut places = Vec::new();
    for segment in image.ram.ids() {
        for frame in oracle::frames(image, segment) {
            places.push(Place {
                segment,
                bytes: frame.bytes(),
            });
        }
    }
    let mut all = Vec::new();
    for from in &places {
        let same = |to: &&Place| *to != from && to.bytes.len() == from.bytes.len();
        all.extend(
            places
                .iter()
                .filter(same)
                .map(|to| Damage::Doubled(from.clone(), to.clone())),
        );
    }
    all
}

/// Every segment that reads as erased from each of its bytes on.
#[must_use]
pub fn erasures(image: &Image) -> Vec<Damage> {
    lengths(image).map(|(id, at)| Damage::Erased(id, at)).collect()
}

/// Every segment cut off at each of its bytes.
#[must_use]
pub fn truncations(image: &Image) -> Vec<Damage> {
    lengths(image).map(|(id, len)| Damage::Shorter(id, len)).collect()
}

/// Every segment gone, and every segment put back to each of its older versions.
#[must_use]
pub fn segments_lost(image: &Image) -> Vec<Damage> {
    let mut all = Vec::new();
    for segment in image.ram.ids() {
        let bytes = 0..image.ram.bytes(segment).map_or(0, <[u8]>::len);
        all.push(Damage::Removed(segment));
        let whole = Place { segment, bytes };
        all.extend((0..image.older.len()).map(|version| Damage::Older(whole.clone(), version)));
    }
    all
}
