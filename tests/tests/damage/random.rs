//! Damage of many bytes at once, drawn at random: nothing but errors or an earlier state, and never a panic.

use std::collections::BTreeMap;

use walstone_core::ram::RamStorage;
use walstone_core::{Capacity, Log, SegmentId};
use walstone_tests::images::{self, Image, Random, Verdict};

const ROUNDS: usize = 20_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Damage {
    Bytes,
    Cut,
    Zeroed,
    Swapped,
    Doubled,
    Older,
}

const DAMAGES: [Damage; 6] = [
    Damage::Bytes,
    Damage::Cut,
    Damage::Zeroed,
    Damage::Swapped,
    Damage::Doubled,
    Damage::Older,
];

fn any_segment(random: &mut Random, image: &Image) -> SegmentId {
    let ids: Vec<_> = image.ram.ids().collect();
    ids[random.below(ids.len())]
}

fn sector(random: &mut Random, image: &Image) -> (SegmentId, std::ops::Range<usize>) {
    let id = any_segment(random, image);
    let len = [8, 64, 128, 512][random.below(4)];
    let at = random.below(image.ram.bytes(id).unwrap().len() / len) * len;
    (id, at..at + len)
}

fn damage(random: &mut Random, image: &Image, how: Damage, ram: &mut RamStorage) {
    let (id, range) = sector(random, image);
    match how {
        Damage::Bytes => {
            for _ in 0..1 + random.below(8) {
                let id = any_segment(random, image);
                let bytes = ram.bytes_mut(id).unwrap();
                bytes[random.below(bytes.len())] = random.below(256) as u8;
            }
        }
        Damage::Cut => {
            let bytes = ram.bytes_mut(id).unwrap();
            let at = random.below(bytes.len());
            bytes[at..].fill(0);
        }
        Damage::Zeroed => ram.bytes_mut(id).unwrap()[range].fill(0),
        Damage::Swapped => {
            let (other, place) = sector(random, image);
            let len = range.len().min(place.len());
            let (here, there) = (range.start..range.start + len, place.start..place.start + len);
            let one = ram.bytes(id).unwrap()[here.clone()].to_vec();
            let two = ram.bytes(other).unwrap()[there.clone()].to_vec();
            ram.bytes_mut(id).unwrap()[here].copy_from_slice(&two);
            ram.bytes_mut(other).unwrap()[there].copy_from_slice(&one);
        }
        Damage::Doubled => {
            let (other, place) = sector(random, image);
            let len = range.len().min(place.len());
            let one = ram.bytes(id).unwrap()[range.start..range.start + len].to_vec();
            ram.bytes_mut(other).unwrap()[place.start..place.start + len].copy_from_slice(&one);
        }
        Damage::Older => {
            let older = &image.older[random.below(image.older.len())];
            if let Some(old) = older.bytes(id) {
                ram.bytes_mut(id).unwrap()[range.clone()].copy_from_slice(&old[range]);
            }
        }
    }
}

#[test]
fn random_damage_gives_errors_or_an_earlier_state() {
    let images = super::all();
    let mut random = Random::new(1);
    let mut counts: BTreeMap<(Damage, &str), u32> = BTreeMap::new();
    for round in 0..ROUNDS {
        let (name, image) = &images[random.below(images.len())];
        let how = DAMAGES[random.below(DAMAGES.len())];
        let mut ram = image.ram.clone();
        for _ in 0..1 + random.below(3) {
            damage(&mut random, image, how, &mut ram);
        }
        let verdict = image
            .judge(ram)
            .unwrap_or_else(|wrong| panic!("round {round}, {name}, {how:?}: {wrong}"));
        let told = match verdict {
            Verdict::Refused(_) => "refused",
            Verdict::Reported(_) => "reported",
            Verdict::NoRegion => "no region",
            Verdict::StorageFailed(error) => panic!("round {round}, {name}, {how:?}: {error}"),
            Verdict::Whole(_) => "whole",
            Verdict::Earlier(..) => "earlier",
        };
        *counts.entry((how, told)).or_default() += 1;
    }
    println!("{counts:#?}");
    for how in DAMAGES {
        assert!(counts.contains_key(&(how, "refused")), "{how:?}");
        assert!(counts.contains_key(&(how, "whole")), "{how:?}");
    }
}

/// Files of another length, and bytes that never were a log.
#[test]
fn lengths_and_noise_never_panic() {
    let (_, image) = super::all().swap_remove(0);
    let mut random = Random::new(2);
    let mut refused = 0;
    for _ in 0..2_000 {
        let mut ram = image.ram.clone();
        let id = any_segment(&mut random, &image);
        let mut bytes = image.ram.bytes(id).unwrap().to_vec();
        match random.below(3) {
            0 => bytes.truncate(random.below(bytes.len())),
            1 => bytes.resize(bytes.len() + 1 + random.below(5_000), 0),
            _ => bytes[64 * random.below(2)..].fill_with(|| random.below(256) as u8),
        }
        ram.insert(id, bytes);
        let Ok(mut log) = Log::open(ram, Capacity::heap(0), images::options()) else {
            refused += 1;
            continue;
        };
        let _ = images::read_all(&mut log, None);
        let _ = images::read_all(&mut log, Some(2));
    }
    println!("{refused} of 2000 refused at open");
    assert!(refused > 200);
}
