//! What fits, at each limit: one less, just so, and one more, which is refused before anything is written.

use walstone_core::flat::{DeviceGeometry, FlatCapacity, FlatError, FlatRoom, FlatStorage, OpenError};
use walstone_core::segment::layout::Layout;
use walstone_core::{Error, Log, Options, SegmentId, Storage, Workspace};
use walstone_tests::flash::{Chip, ChipError};

use crate::header_for;

type Subject<'w> = Log<'w, FlatStorage<'static, Chip>>;
type Refused = Error<FlatError<ChipError>>;

fn chip(slots: u32) -> Chip {
    Chip::new(DeviceGeometry::flash(slots * 4096, 4, 4096))
}

fn storage(chip: &Chip) -> FlatStorage<'static, Chip> {
    match FlatStorage::open(chip.clone(), 4096, FlatCapacity::heap(64, 64)) {
        Ok(storage) => storage,
        Err(error) => panic!("{error}"),
    }
}

fn ok<T>(result: Result<T, Refused>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}

/// What was programmed and erased so far.
fn changes(chip: &Chip) -> (u64, u64) {
    let counts = chip.counts();
    (counts.programs, counts.erases)
}

/// Asserts that `act` is refused, and writes nothing.
#[track_caller]
fn refused<T>(chip: &Chip, act: impl FnOnce() -> Result<T, Refused>) -> Refused {
    let before = changes(chip);
    let Err(error) = act() else { panic!("not refused") };
    assert_eq!(changes(chip), before, "{error}");
    error
}

#[test]
fn slots_of_the_room() {
    fn check<const SLOTS: usize>(fits: bool) {
        let chip = chip(8);
        let mut room = FlatRoom::<SLOTS, 4>::new();
        let opened = FlatStorage::open(chip.clone(), 4096, room.lend());
        match opened {
            Ok(_) => assert!(fits),
            Err(OpenError::Room { slots: 8, gather: 4 }) => assert!(!fits),
            Err(error) => panic!("{error}"),
        }
        assert_eq!(changes(&chip), (0, 0));
    }
    check::<7>(false);
    check::<8>(true);
    check::<9>(true);
}

#[test]
fn segments_of_the_device() {
    for count in [3, 4, 9] {
        let chip = chip(count);
        let mut storage = storage(&chip);
        let header = header_for(&storage);
        for id in (1..=u64::from(count)).map(SegmentId) {
            assert!(storage.create(id, &header(id)).is_ok());
        }
        let before = changes(&chip);
        let id = SegmentId(100);
        assert_eq!(storage.create(id, &header(id)), Err(FlatError::Full));
        assert_eq!(changes(&chip), before);
        assert!(storage.remove(SegmentId(2)).is_ok());
        assert!(storage.create(id, &header(id)).is_ok());
    }
}

#[test]
fn bytes_of_a_record() {
    let chip = chip(4);
    let mut room = Workspace::<4, 8, 4, 4096>::new();
    let mut log = ok(Log::create(storage(&chip), room.lend(), Options::new(1, 2)));
    let payload_len = Layout::new(log.storage().geometry()).max_payload_len();
    // Three bytes of length, one of the table.
    let max = payload_len as usize - 4;
    ok(log.append(1, &vec![7; max - 1]));
    ok(log.append(1, &vec![8; max]));
    let error = refused(&chip, || log.append(1, &vec![9; max + 1]));
    assert!(matches!(error, Error::RecordTooLarge { .. }), "{error}");
    assert_eq!(log.last_sequence(), 2);
    let mut reads = log.read(None, ..);
    for expect in [vec![7; max - 1], vec![8; max]] {
        assert_eq!(ok(reads.next().unwrap()).value, expect);
    }
}

#[test]
fn deleted_ranges_of_the_workspace() {
    fn check<const VOIDS: usize>() {
        let chip = chip(8);
        let mut room = Workspace::<8, VOIDS, 4, 512>::new();
        let mut log = ok(Log::create(storage(&chip), room.lend(), Options::new(1, 2)));
        // One range each, with a record of another table between.
        let append = |log: &mut Subject<'_>| {
            let at = ok(log.append(1, b"gone")).last;
            ok(log.append(2, b"kept"));
            at
        };
        for _ in 0..VOIDS {
            let at = append(&mut log);
            ok(log.truncate_from(1, at));
            ok(log.append(1, b"kept"));
        }
        let at = append(&mut log);
        let error = refused(&chip, || log.truncate_from(1, at));
        assert!(matches!(error, Error::TooManyVoids { max } if max == VOIDS), "{error}");
        // A range that takes in all others gives their room back.
        ok(log.delete_up_to(1, at - 1));
        if VOIDS > 1 {
            ok(log.delete_up_to(2, at - 1));
        }
    }
    check::<1>();
    check::<2>();
    check::<5>();
}

/// Fills a log until it refuses; the records it took.
fn fill(log: &mut Subject<'_>) -> (u64, Refused) {
    for count in 0..10_000 {
        if let Err(error) = log.append(1, &[5; 300]) {
            return (count, error);
        }
    }
    panic!("never full")
}

/// A log that had filled its list of segments had one more on the device, and could not be opened again with the same
/// room.
#[test]
fn segments_of_the_workspace() {
    fn check<const SEGMENTS: usize>() -> u64 {
        let chip = chip(16);
        let mut room = Workspace::<SEGMENTS, 8, 4, 1024>::new();
        let mut log = ok(Log::create(storage(&chip), room.lend(), Options::new(1, 2)));
        let (count, error) = fill(&mut log);
        assert_eq!(error, Error::Full);
        refused(&chip, || log.append(1, &[5; 300]));
        // Whatever the log came to, the same room is enough to open it again.
        for seed in 3..6 {
            drop(log);
            log = ok(Log::open(storage(&chip), room.lend(), Options::new(1, seed)));
            assert_eq!(log.last_sequence(), count);
        }
        ok(log.delete_up_to(1, count));
        ok(log.reclaim());
        drop(log);
        log = ok(Log::open(storage(&chip), room.lend(), Options::new(1, 6)));
        ok(log.append(1, &[5; 300]));
        ok(log.sync());
        count
    }
    let counts = [check::<3>(), check::<4>(), check::<5>()];
    let step = counts[1] - counts[0];
    assert_eq!(counts[2] - counts[1], step, "{counts:?}");
}

/// A full device refuses records and nothing else; every slot more holds as many records more.
#[test]
fn slots_of_a_full_log() {
    let mut counts = Vec::new();
    for slots in 3..=10 {
        let chip = chip(slots);
        let mut room = Workspace::<16, 8, 4, 1024>::new();
        let mut log = ok(Log::create(storage(&chip), room.lend(), Options::new(1, 2)));
        let (count, error) = fill(&mut log);
        assert_eq!(error, Error::Full);
        for _ in 0..3 {
            assert_eq!(refused(&chip, || log.append(1, &[5; 300])), Error::Full);
        }
        assert_eq!(log.last_sequence(), count);
        ok(log.delete_up_to(1, count));
        ok(log.reclaim());
        let (again, _) = fill(&mut log);
        assert!(
            again + 11 >= count,
            "{slots} slots: {again} of {count} records fit again"
        );
        counts.push(count);
    }
    let steps: Vec<_> = counts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // A longer manifest takes some of it.
    assert!(steps.iter().all(|&step| step == 9 || step == 10), "{counts:?}");
}

#[test]
fn a_full_device_deletes_and_reclaims_after_any_number_of_losses_of_power() {
    for (name, device, slot_len) in crate::devices(8) {
        let chip = Chip::new(device);
        let open = |chip: &Chip| match FlatStorage::open(chip.clone(), slot_len, FlatCapacity::heap(64, 512)) {
            Ok(storage) => storage,
            Err(error) => panic!("{error}"),
        };
        let mut room = Workspace::<16, 8, 4, 4096>::new();
        let mut log = ok(Log::create(open(&chip), room.lend(), Options::new(1, 2)));
        let value = vec![5; slot_len as usize / 16];
        let mut count = 0;
        while log.append(1, &value).is_ok() {
            count += 1;
        }
        ok(log.sync());
        drop(log);
        for seed in 0..100 {
            // What each session begins with, and an append that is torn or refused.
            let mut log = ok(Log::open(open(&chip), room.lend(), Options::new(1, seed + 3)));
            ok(log.delete_up_to(2, 7));
            let _ = log.append(2, b"never");
            ok(log.delete_up_to(2, u64::MAX));
            ok(log.sync());
        }
        let mut log = ok(Log::open(open(&chip), room.lend(), Options::new(1, 200)));
        ok(log.delete_up_to(1, count / 2));
        ok(log.reclaim());
        let appended = log.append(1, &value);
        assert!(appended.is_ok(), "{name}: {appended:?}");
    }
}
