//! Devices that hold anything: no panic, no endless loop, and no more reading than a fixed multiple of the device.

use walstone_core::flat::{FlatCapacity, FlatStorage};
use walstone_core::frame::{self, Kind};
use walstone_core::segment::header::Header;
use walstone_core::{Capacity, Checksum, Log, Options, SegmentId};
use walstone_tests::crash::machine::Machine;
use walstone_tests::flash::{Chip, FlashSetup, setups};
use walstone_tests::images::Random;

/// How many bytes opening may read: what `walstone_core::flat` says.
fn most_read(setup: &FlashSetup) -> u64 {
    2 * u64::from(setup.device.len()) + 40 * u64::from(setup.slot_len)
}

/// A device that was used for a while.
fn used(setup: &FlashSetup) -> Chip {
    let chip = setup.blank();
    let mut log = log(setup, &chip).unwrap();
    for at in 0..60u64 {
        let _ = log.append(at % 3, &[at as u8; 90]);
        if at % 20 == 19 {
            let _ = log.delete_up_to(at % 3, at / 2);
            let _ = log.reclaim();
        }
    }
    let _ = log.sync();
    drop(log);
    chip
}

fn log(setup: &FlashSetup, chip: &Chip) -> Option<Log<'static, FlatStorage<'static, Chip>>> {
    let slots = (setup.device.len() / setup.slot_len) as usize;
    let storage = FlatStorage::open(chip.clone(), setup.slot_len, FlatCapacity::heap(slots, 64)).ok()?;
    Log::open_or_create(storage, Capacity::heap(512), Options::new(7, 5)).ok()
}

/// Opens and reads what is there, or is refused; then, writing, as a program would.
fn visit(setup: &FlashSetup, image: &[u8]) -> u64 {
    let chip = Chip::from_bytes(setup.device, image);
    let len = u64::from(setup.device.len());
    let opened = log(setup, &chip);
    let read = chip.counts().bytes_read;
    assert!(
        read <= most_read(setup),
        "{}: {read} bytes read at open of {len}",
        setup.name
    );
    if let Some(mut log) = opened {
        let mut reads = log.read(None, ..);
        let mut count = 0;
        while reads.next().is_some() {
            count += 1;
            assert!(count < 100_000, "reading does not end");
        }
        let _ = log.append(1, b"more").and_then(|_| log.sync());
        let _ = log.reclaim();
    }
    read * 100 / len
}

/// One segment full of resume frames, each of which cuts off the one before: a walk for each would be quadratic work.
fn cuts_of_cuts(setup: &FlashSetup) -> Vec<u8> {
    const SUM: Checksum = Checksum::BYTEWISE;
    let mut image = setup.blank().bytes().to_vec();
    let geometry = setup.geometry().segment();
    let header = Header {
        geometry,
        region: 7,
        segment: SegmentId(1),
        salt: 1,
    };
    let binding = header.binding(SUM);
    let segment_len = geometry.segment_len() as usize;
    for at in [0, segment_len] {
        image[at..at + 64].copy_from_slice(&header.encode(SUM));
    }
    let mut manifest = [0; 16];
    manifest[0] = 1;
    let frame = |kind, incarnation, payload_len, payload_crc| frame::Header {
        kind,
        with_epoch: false,
        incarnation,
        payload_len,
        sequence_delta: 0,
        watermark: 0,
        payload_crc,
    };
    let mut frames = vec![
        (64, frame(Kind::Manifest, 1, 16, SUM.of(&manifest))),
        (104, frame(Kind::Pad, 1, 40, 0)),
    ];
    let places = (168..segment_len as u32 - 24).step_by(24);
    frames.extend((2..).zip(places).map(|(incarnation, at)| {
        let from = if at == 168 { at } else { at - 24 };
        (at, frame(Kind::Resume, incarnation, 0, from))
    }));
    image[88..104].copy_from_slice(&manifest);
    for (at, frame) in frames {
        image[at as usize..][..24].copy_from_slice(&frame.encode(&binding, at));
    }
    image
}

#[test]
fn anything_can_be_opened() {
    let mut random = Random::new(0x4057);
    let mut most = 0;
    for setup in setups() {
        let used = used(&setup).bytes().to_vec();
        let (len, slot_len) = (used.len(), setup.slot_len as usize);
        let mut images: Vec<Vec<u8>> = [0, 0xff, 0x57].map(|byte| vec![byte; len]).to_vec();
        images.push(used.clone());
        // Where frames stand at multiples of 8.
        if setup.device.write_unit() <= 8 && setup.device.sync_unit() == 1 {
            images.push(cuts_of_cuts(&setup));
        }
        for _ in 0..20 {
            images.push((0..len).map(|_| random.below(256) as u8).collect());
        }
        for _ in 0..120 {
            let mut image = used.clone();
            // Some bits, a slot over another, a stretch of another place.
            for _ in 0..random.below(4) {
                image[random.below(len)] ^= 1 << random.below(8);
            }
            if random.below(2) == 0 {
                let [from, to] = [0, 1].map(|_| random.below(len / slot_len) * slot_len);
                image.copy_within(from..from + slot_len, to);
            }
            if random.below(2) == 0 {
                let [from, to] = [0, 1].map(|_| random.below(len - 600) / 8 * 8);
                image.copy_within(from..from + 8 * random.below(64), to);
            }
            images.push(image);
        }
        // Headers that verify, with ids of the attacker's choice, in front of what frames are left.
        for _ in 0..40 {
            let mut image = used.clone();
            for start in (0..len).step_by(slot_len) {
                if random.below(2) == 0 {
                    let header = Header {
                        geometry: setup.geometry().segment(),
                        region: 7,
                        segment: SegmentId([1, 2, 3, u64::MAX - 1, u64::MAX][random.below(5)]),
                        salt: random.below(1 << 20) as u64,
                    };
                    image[start..start + 64].copy_from_slice(&header.encode(Checksum::BYTEWISE));
                }
            }
            images.push(image);
        }
        for image in images {
            most = most.max(visit(&setup, &image));
        }
    }
    println!(
        "opening reads at most {}.{:02} times the device",
        most / 100,
        most % 100
    );
}
