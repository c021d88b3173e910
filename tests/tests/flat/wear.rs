//! Slots are taken in turn: no block wears more than its neighbours.

use walstone_core::flat::{DeviceGeometry, FlatCapacity, FlatStorage};
use walstone_core::segment::header::HEADER_LEN;
use walstone_core::segment::layout::Layout;
use walstone_core::{Log, Options, SegmentId, Storage, Workspace};
use walstone_tests::flash::Chip;

use crate::header_for;

const SLOTS: u32 = 8;

fn ok<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}

fn chip(slot_len: u32, erase_unit: u32) -> Chip {
    Chip::new(DeviceGeometry::flash(SLOTS * slot_len, 4, erase_unit))
}

fn storage(chip: &Chip, slot_len: u32) -> FlatStorage<'static, Chip> {
    ok(FlatStorage::open(
        chip.clone(),
        slot_len,
        FlatCapacity::heap(SLOTS as usize, 64),
    ))
}

/// How far apart the counts are, without those of the first `skip` blocks.
fn spread(chip: &Chip, skip: usize) -> u64 {
    let counts = chip.erase_counts();
    let counts = &counts[skip..];
    counts.iter().max().unwrap() - counts.iter().min().unwrap()
}

/// Appends the largest record there is, for which no segment has room twice, and deletes it.
fn rotate(log: &mut Log<'_, FlatStorage<'static, Chip>>) {
    let max = Layout::new(log.storage().geometry()).max_payload_len() as usize;
    let last = ok(log.append(1, &vec![7; max - 4])).last;
    ok(log.delete_up_to(1, last));
}

#[test]
fn a_hundred_thousand_rotations_wear_all_slots_alike() {
    for pinned in [false, true] {
        let chip = chip(1088, 1088);
        let mut room = Workspace::<8, 8, 4, 512>::new();
        let mut log = ok(Log::create(storage(&chip, 1088), room.lend(), Options::new(1, 2)));
        if pinned {
            // In the first segment, which is in the first slot.
            ok(log.append(9, b"kept"));
        }
        // Two of them fit the least segment.
        for _ in 0..200_000 {
            rotate(&mut log);
        }
        let total: u64 = chip.erase_counts().iter().sum();
        assert!(total >= 100_000, "{total} erases");
        println!("{:?} erases, the first slot pinned: {pinned}", chip.erase_counts());
        assert!(spread(&chip, usize::from(pinned)) <= 1, "{:?}", chip.erase_counts());
        if pinned {
            assert!(chip.erase_counts()[0] <= 1, "{:?}", chip.erase_counts());
            assert_eq!(ok(log.read(Some(9), ..).next().unwrap()).value, b"kept");
        }
    }
}

#[test]
fn a_ring_wears_all_slots_alike_and_erases_each_once_a_turn() {
    let chip = chip(4096, 1024);
    let mut room = Workspace::<8, 8, 4, 512>::new();
    let ring = Options {
        ring: true,
        ..Options::new(1, 2)
    };
    let mut log = ok(Log::create(storage(&chip, 4096), room.lend(), ring));
    let (mut segments, mut newest) = (0, log.written_mark().segment);
    while segments < 10_000 {
        ok(log.append(1, &[3; 900]));
        if log.written_mark().segment != newest {
            newest = log.written_mark().segment;
            segments += 1;
        }
    }
    assert!(spread(&chip, 0) <= 1, "{:?}", chip.erase_counts());
    // Four blocks a segment.
    let total: u64 = chip.erase_counts().iter().sum();
    assert!(
        total <= 4 * (segments + u64::from(SLOTS)),
        "{total} erases for {segments} segments"
    );
}

/// A free slot that was erased in this session is not erased again when it is used.
#[test]
fn remove_and_create_erase_once() {
    let chip = chip(4096, 1024);
    let mut room = Workspace::<8, 8, 4, 512>::new();
    let mut log = ok(Log::create(storage(&chip, 4096), room.lend(), Options::new(1, 2)));
    for _ in 0..2 * SLOTS {
        rotate(&mut log);
    }
    let before = chip.counts().erases;
    for _ in 0..100 {
        rotate(&mut log);
    }
    assert_eq!(chip.counts().erases - before, 100 * 4);
}

/// A slot without erase changes hands for its two headers and the place of its manifest, however long it is.
#[test]
fn a_slot_without_erase_is_not_rewritten() {
    const HEADERS: u64 = 2 * HEADER_LEN as u64;
    for slot_len in [1088, 4096, 16384] {
        let chip = Chip::new(DeviceGeometry::without_erase(SLOTS * slot_len));
        let mut storage = storage(&chip, slot_len);
        let header = header_for(&storage);
        // The chip stands for a file too, whose free slots are made sure of once.
        ok(storage.create(SegmentId(1), &header(SegmentId(1))));
        assert_eq!(chip.counts().bytes_programmed, HEADERS * u64::from(SLOTS + 1) + 24);
        for id in (2..=20).map(SegmentId) {
            let before = chip.counts().bytes_programmed;
            ok(storage.create(id, &header(id)));
            let made = chip.counts().bytes_programmed;
            assert_eq!(made - before, HEADERS + 24, "made, {slot_len}");
            ok(storage.write(id, 64, &[&[7; 512]]));
            let written = chip.counts().bytes_programmed;
            ok(storage.remove(id));
            assert_eq!(chip.counts().bytes_programmed - written, HEADERS, "removed, {slot_len}");
        }
    }
}
