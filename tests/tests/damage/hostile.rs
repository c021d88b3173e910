//! Images that somebody made up: checksums verify, and what they cover says anything. Never a panic, never work
//! without an end. (Arithmetic is checked in debug builds, which is how these are worth most.)

use walstone_core::frame::{self, Kind};
use walstone_core::ram::RamStorage;
use walstone_core::segment::header::Header;
use walstone_core::{Capacity, Checksum, Error, Geometry, Log, Options, Reason, SegmentId};
use walstone_tests::hostile::{frames, ids, mutate, use_all};
use walstone_tests::images;
use walstone_tests::repeatable::Dice;

const SUM: Checksum = Checksum::BYTEWISE;

#[test]
fn frames_that_verify_and_lie() {
    let mut dice = Dice::new(&[1]);
    let small = Geometry::new(1536).unwrap();
    let units = small.with_erased(None).unwrap();
    let images = [
        images::many_sessions(small, false),
        images::many_sessions(units, true),
        images::many_tears(small),
    ];
    let mut opened = 0;
    for round in 0..6000 {
        let mut ram = images[round % images.len()].ram.clone();
        let region = ids(&ram)
            .first()
            .map(|&id| Header::decode(ram.bytes(id).unwrap(), SUM).unwrap().region);
        for _ in 0..=draw(&mut dice, 3) {
            let ids = ids(&ram);
            let newest = draw(&mut dice, 2) == 0;
            let id = if newest {
                ids[ids.len() - 1 - draw(&mut dice, 3).min(ids.len() - 1)]
            } else {
                ids[draw(&mut dice, ids.len())]
            };
            mutate(ram.bytes_mut(id).unwrap(), &mut dice);
        }
        opened += usize::from(use_all(&ram, region.unwrap()));
    }
    assert!(opened > 1000, "{opened}");
}

fn draw(dice: &mut Dice, end: usize) -> usize {
    dice.below(end as u64) as usize
}

/// One segment with this id and first sequence, and whatever frames follow.
fn made_up(id: u64, first_sequence: u64, more: &[(u32, frame::Header)]) -> RamStorage {
    let geometry = Geometry::new(4096).unwrap();
    let header = Header {
        geometry,
        region: 7,
        segment: SegmentId(id),
        salt: 1,
    };
    let binding = header.binding(SUM);
    let mut bytes = vec![0; 4096];
    bytes[..64].copy_from_slice(&header.encode(SUM));
    bytes[88..96].copy_from_slice(&first_sequence.to_le_bytes());
    let manifest = frame::Header {
        payload_len: 16,
        payload_crc: SUM.of(&bytes[88..104]),
        ..frame_of(Kind::Manifest)
    };
    bytes[64..88].copy_from_slice(&manifest.encode(&binding, 64));
    for (offset, frame) in more {
        let at = *offset as usize;
        bytes[at..at + 24].copy_from_slice(&frame.encode(&binding, *offset));
    }
    let mut ram = RamStorage::new(geometry);
    ram.insert(SegmentId(id), bytes);
    ram
}

fn frame_of(kind: Kind) -> frame::Header {
    frame::Header {
        kind,
        with_epoch: false,
        incarnation: 1,
        payload_len: 0,
        sequence_delta: 0,
        watermark: 0,
        payload_crc: 0,
    }
}

/// Behind the last id and the last sequence there is nothing.
#[test]
fn the_last_numbers_of_all() {
    for id in [1, u64::MAX - 2, u64::MAX - 1, u64::MAX] {
        for first in [1, u64::MAX - 1, u64::MAX] {
            assert!(use_all(&made_up(id, first, &[]), 7), "{id} {first}");
        }
    }
}

/// A resume frame that cuts back into the middle of a frame: no walk ever comes by that place, so cutting there and
/// starting anew would go on for ever.
#[test]
fn a_cut_that_no_walk_comes_by() {
    let pad = frame::Header {
        payload_len: 40,
        ..frame_of(Kind::Pad)
    };
    let resume = |incarnation, from| frame::Header {
        incarnation,
        payload_crc: from,
        ..frame_of(Kind::Resume)
    };
    for from in [112, 116, 120, 136] {
        use_all(&made_up(1, 1, &[(104, pad), (512, resume(2, from))]), 7);
        use_all(
            &made_up(1, 1, &[(104, pad), (168, resume(2, from)), (512, resume(3, from))]),
            7,
        );
    }
    // Each of many cuts off the one before: a walk for each would be quadratic work.
    let mut many: Vec<_> = (0..100)
        .map(|n| (168 + 24 * n, resume(2 + n, 168 + 24 * n.saturating_sub(1))))
        .collect();
    many.push((104, pad));
    let opened = Log::open(made_up(1, 1, &many), Capacity::heap(0), Options::new(7, 1));
    assert!(opened.is_err());
}

/// A manifest that verifies and lists segments whose first sequences fall, or one of them twice, or in another order.
/// Reading finds a sequence by the order of the segments, so it would have passed over records.
#[test]
fn a_manifest_whose_segments_do_not_rise() {
    let geometry = Geometry::new(4096).unwrap();
    let mut log = Log::create(RamStorage::new(geometry), Capacity::heap(0), Options::new(7, 1)).unwrap();
    while log.written_mark().segment < SegmentId(4) {
        log.append(1, &[9; 200]).unwrap();
    }
    log.sync().unwrap();
    let (last, newest) = (log.last_sequence(), log.written_mark().segment);
    let image = log.into_storage();
    let items = |ram: &RamStorage| -> Vec<[u8; 24]> {
        let items = ram.bytes(newest).unwrap()[104..].chunks_exact(24);
        items.take(3).map(|item| item.try_into().unwrap()).collect()
    };
    let with = |listed: &[[u8; 24]]| {
        let mut ram = image.clone();
        let mut bytes = ram.bytes(newest).unwrap().to_vec();
        bytes[104..176].copy_from_slice(&listed.concat());
        let (binding, found) = frames(&bytes).unwrap();
        let manifest = frame::Header {
            payload_crc: SUM.of(&bytes[88..176]),
            ..found[0].1
        };
        bytes[64..88].copy_from_slice(&manifest.encode(&binding, 64));
        ram.insert(newest, bytes);
        Log::open(ram, Capacity::heap(0), Options::new(7, 2)).map(|log| log.last_sequence())
    };
    let [first, second, third] = items(&image).try_into().unwrap();
    assert_eq!(with(&[first, second, third]), Ok(last));
    let mut falling = second;
    falling[8..16].copy_from_slice(&(u64::from_le_bytes(third[8..16].try_into().unwrap()) + 1).to_le_bytes());
    for listed in [[first, falling, third], [second, first, third], [first, first, third]] {
        let refused = with(&listed).unwrap_err();
        let Error::Corrupt(corruption) = refused else {
            panic!("{refused}")
        };
        assert_eq!((corruption.segment, corruption.reason), (newest, Reason::Manifest));
    }
}
