//! A log in as little room as there may be: without a heap, on plain bytes, in segments of any units; and what a snapshot of
//! a log tells.
#![cfg(feature = "alloc")]

use walstone_core::flat::{DeviceGeometry, FlatRoom, FlatStorage, OpenError, SliceDevice, SliceError};
use walstone_core::ram::RamStorage;
use walstone_core::segment::layout::Layout;
use walstone_core::{
    Batch, Capacity, Error, Geometry, Log, NewRecord, Options, Position, SegmentId, Storage, Tail, Workspace,
};

const DEVICE_LEN: u32 = 16384;
const SLOT_LEN: u32 = 2048;

/// Bytes in the address space, and a chip that is erased.
fn devices() -> [DeviceGeometry; 2] {
    let memory = DeviceGeometry::without_erase(DEVICE_LEN);
    [memory, DeviceGeometry::flash(DEVICE_LEN, 4, 1024)]
}

#[test]
fn a_log_in_lent_room_goes_on_over_reopens() {
    for geometry in devices() {
        let mut bytes = vec![0xff; DEVICE_LEN as usize];
        let mut slots = FlatRoom::<8, 32>::default();
        let mut room = Workspace::<8, 8, 4, 512>::default();
        let mut next = 1;
        for session in 0u64..20 {
            let device = SliceDevice::new(&mut bytes, geometry);
            let storage = FlatStorage::open(device, SLOT_LEN, slots.lend()).expect("the device is cut alike");
            let options = Options::new(1, session);
            let mut log = match session {
                0 => Log::create(storage, room.lend(), options),
                _ => Log::open(storage, room.lend(), options),
            }
            .unwrap_or_else(|error| panic!("session {session}: {error}"));
            assert_eq!(log.last_sequence() + 1, next);
            for value in [&b"a value"[..], &[session as u8; 300]] {
                let appended = log.append(1, value).expect("what is deleted makes room");
                assert_eq!(appended.first, next);
                next += 1;
            }
            log.hand_over().expect("memory does not fail");
            log.delete_up_to(1, next - 2).expect("there is room for deletions");
            log.reclaim().expect("memory does not fail");
            let mut reads = log.read(Some(1), ..);
            let last = reads.next().expect("it is kept").expect("it verifies");
            assert_eq!((last.sequence, last.value), (next - 1, &[session as u8; 300][..]));
            log.close().expect("memory does not fail");
        }
        // The manifest of this room would not fit it.
        let device = SliceDevice::new(&mut bytes, geometry);
        let storage = FlatStorage::open(device, SLOT_LEN, slots.lend()).expect("the device is cut alike");
        let mut small = Workspace::<1, 1, 1, 64>::new();
        let refused = Log::open(storage, small.lend(), Options::new(1, 99)).map(drop);
        assert!(
            matches!(
                refused,
                Err(Error::BufferTooSmall { .. } | Error::TooManySegments { .. })
            ),
            "{refused:?}"
        );
    }
}

/// A seal asked for all the room that a footer may take in a segment of its length, however little there was to say: in a
/// buffer of the length that the documents ask for, a log in longer segments never left its first one.
#[test]
fn the_least_buffer_serves_segments_of_every_length() {
    const BUFFER: usize = Workspace::<6, 4, 3, 0>::min_buffer_len();
    for segment_len in [2048, 65536, 1 << 18] {
        let storage = RamStorage::new(Geometry::new(segment_len).expect("it works"));
        let mut room = Workspace::<6, 4, 3, BUFFER>::new();
        let mut log = Log::create(storage, room.lend(), Options::new(1, 2)).expect("it is empty");
        let value = vec![7; segment_len as usize / 16];
        for n in 0..60 {
            // With more tables than can be remembered, and with fewer.
            let record = NewRecord {
                index: Some(n),
                ..NewRecord::new(n % (2 + n / 20), &value)
            };
            let appended = log.append_record(&record);
            let last = appended.unwrap_or_else(|error| panic!("{segment_len}: {error}")).last;
            for table in 0..4 {
                log.delete_up_to(table, last.saturating_sub(8)).expect("ranges join");
            }
        }
        assert!(
            log.written_mark().segment > SegmentId(3),
            "{segment_len}: it left segments"
        );
        let mut room = Workspace::<6, 4, 3, BUFFER>::new();
        let log = Log::open(log.into_storage(), room.lend(), Options::new(1, 3)).expect("it is whole");
        assert_eq!(log.last_sequence(), 60);
    }
}

#[test]
fn a_device_that_is_shorter_than_it_says_fails_where_it_ends() {
    for geometry in devices() {
        for len in [0, 100, DEVICE_LEN as usize - 1] {
            let mut bytes = vec![0xff; len];
            let mut slots = FlatRoom::<8, 32>::new();
            let device = SliceDevice::new(&mut bytes, geometry);
            let opened = FlatStorage::open(device, SLOT_LEN, slots.lend()).map(drop);
            assert!(
                matches!(opened, Err(OpenError::Device(SliceError))),
                "{len}: {opened:?}"
            );
        }
    }
}

/// A position is plain data: 24 bytes or fewer that lead back to the record, in this log alone.
#[test]
fn positions_are_stored_and_found_again() {
    let geometry = Geometry::new(2048).expect("it works");
    let mut log = Log::create(RamStorage::new(geometry), Capacity::heap(0), Options::new(1, 2)).expect("it is empty");
    let mut batch = Batch::new();
    (0u8..3).for_each(|value| batch.push(1, &[value; 20]));
    let mut stored = Vec::new();
    for _ in 0..30 {
        let appended = log.append_batch(&batch).expect("there is room");
        for (nth, sequence) in (0..).zip(appended.first..=appended.last) {
            let position = appended.position.plus(nth);
            assert_eq!(position.record(), nth);
            stored.push((position.to_bytes(), sequence));
        }
    }
    log.sync().expect("memory does not fail");
    let snapshot = log.snapshot(true);
    assert_eq!(snapshot.last_sequence(), 90);
    assert!(snapshot.segment_count() > 1, "the batches fill more than one segment");
    assert!(snapshot.active_tables().is_some_and(|tables| !tables.is_empty()));
    assert!(log.snapshot(false).active_tables().is_none());
    for at in 0..snapshot.segment_count() {
        let segment = snapshot.segment(at).expect("it is listed");
        assert_eq!(snapshot.position_of(segment.id), Some(at));
        assert_eq!(snapshot.position_for(segment.first_sequence), at);
    }
    assert!(snapshot.segment(snapshot.segment_count()).is_none());
    assert_eq!(snapshot.position_of(SegmentId(u64::MAX)), None);

    let mut log = Log::open(log.into_storage(), Capacity::heap(0), Options::new(1, 3)).expect("it is whole");
    assert_eq!(log.report().tail, Tail::Clean);
    for (bytes, sequence) in stored {
        let position = Position::from_bytes(bytes);
        assert_eq!(position.to_bytes(), bytes);
        assert_eq!(log.read_at(position).map(|record| record.sequence), Ok(sequence));
        assert_eq!(log.read_at(position.plus(3)).map(drop), Err(Error::NoRecord));
    }
}

/// The reserve for deletions grew with the segment, however much each of their frames takes. With units of 2 KiB and more
/// it was longer than some segments: lengths wrapped, no record fitted anywhere, and an append made segment after segment.
#[test]
fn the_largest_record_fits_a_segment_of_any_units() {
    let (mut judged, mut tried) = (0, 0);
    for unit in (7..=16).map(|shift| 1u32 << shift) {
        let with_units = |len: u32, write_unit: u32, sync_unit| {
            let geometry = Geometry::new(len).and_then(|geometry| geometry.with_sync_unit(sync_unit));
            geometry.and_then(|geometry| geometry.with_write_unit(write_unit as u16))
        };
        for count in 1..=320 {
            let (len, writes) = (count * unit, unit.min(4096));
            let made = [
                with_units(len, writes, 1),
                with_units(len, 1, unit),
                with_units(len, writes, unit),
            ];
            for geometry in made.into_iter().flatten() {
                let layout = Layout::new(geometry);
                let max = layout.max_payload_len();
                assert!(max >= 64 && max < len, "{geometry}: records of {max}");
                assert!(layout.max_manifest_len() >= 256, "{geometry}");
                judged += 1;
                // The others would take long.
                if len <= 1 << 18 && count.is_multiple_of(16) {
                    let storage = RamStorage::new(geometry).with_capacity_limit(6 * u64::from(len));
                    fill_and_reopen(storage, max as usize);
                    tried += 1;
                }
            }
        }
    }
    assert!(judged > 5000 && tried > 100, "{judged} {tried}");
}

/// Appends records as long as may be, and deletes them; what is left is there when the log is opened again.
fn fill_and_reopen(storage: RamStorage, max: usize) {
    let geometry = storage.geometry();
    let mut log = Log::create(storage, Capacity::heap(0), Options::new(1, 2)).expect("it is empty");
    for _ in 0..3 {
        // Less what stands in front of it.
        let appended = log.append(1, &vec![9; max - 8]);
        let last = appended.unwrap_or_else(|error| panic!("{geometry}: {error}")).last;
        log.delete_up_to(1, last - 1).expect("there is room for deletions");
        log.sync().expect("memory does not fail");
    }
    log.close().expect("memory does not fail");
    let log = Log::open(log.into_storage(), Capacity::heap(0), Options::new(1, 3)).expect("it is whole");
    assert_eq!(log.last_sequence(), 3, "{geometry}");
}

/// A ring whose facts filled a manifest gave up its oldest segment and went on in the segment that it was in. So nothing
/// durable said that it was given up: it was told to be lost, was read on, and came back with the next open.
#[test]
fn what_a_ring_said_is_lost_stays_lost() {
    let storage = RamStorage::new(Geometry::new(1024).expect("it works"));
    let options = Options {
        ring: true,
        ..Options::new(1, 2)
    };
    let mut log = Log::create(storage, Capacity::heap(0), options).expect("it is empty");
    let (mut told, mut random) = (0, 1u64);
    for _ in 0..1000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let (table, deletions) = ((random >> 40) % 4, (random >> 50) % 8);
        let last = log.append(table, &[9; 60]).expect("a ring makes room").last;
        // Few, and each of a range of its own: segments and ranges share the manifest.
        if deletions == 0 {
            match log.truncate_from(table, last) {
                Ok(_) | Err(Error::TooManyVoids { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        let Some(lost) = log.lost() else { continue };
        told += 1;
        log.sync().expect("memory does not fail");
        assert!(log.read(None, lost.clone()).next().is_none(), "{lost:?} at {last}");
        let again = Log::open(log.storage().clone(), Capacity::heap(0), options);
        let mut again = again.expect("it is whole");
        assert!(
            again.read(None, lost.clone()).next().is_none(),
            "{lost:?} came back at {last}"
        );
    }
    assert!(told > 10, "{told}");
}

/// A log in room for two segments stopped for good: it never had a spare to reclaim in.
#[test]
fn room_for_two_segments_is_refused() {
    let storage = RamStorage::new(Geometry::new(1024).expect("it works"));
    let mut room = Workspace::<2, 4, 2, 1024>::new();
    let refused = Log::create(storage.clone(), room.lend(), Options::new(1, 2)).map(drop);
    assert_eq!(refused, Err(Error::TooManySegments { needed: 3 }));
    let mut room = Workspace::<3, 4, 2, 1024>::new();
    let mut log = Log::create(storage, room.lend(), Options::new(1, 2)).expect("it is empty");
    for _ in 0..100 {
        while log.append(1, &[9; 60]).is_ok() {}
        log.delete_up_to(1, u64::MAX).expect("there is room for deletions");
        log.reclaim().expect("all is dead");
    }
}

/// A ring gave up its oldest segment for an append that found no room even so, and said that it was lost while nothing
/// omitted it: it was read on.
#[test]
fn what_a_ring_could_not_give_up_is_not_lost() {
    let (mut full, mut told) = (0, 0);
    for shared_room in [false, true] {
        let storage = RamStorage::new(Geometry::new(1024).expect("it works"));
        let options = Options {
            ring: true,
            shared_room,
            ..Options::new(1, 2)
        };
        let mut log = Log::create(storage, Capacity::heap(0), options).expect("it is empty");
        for at in 0..1000u64 {
            // Others take what there is, and give it back.
            let limit = if at % 7 < 3 { 1024 } else { 5 * 1024 };
            log.storage_mut().set_capacity_limit(Some(limit));
            match log.append(1, &[9; 60]) {
                Err(Error::Full) => full += 1,
                appended => drop(appended.expect("memory does not fail")),
            }
            let Some(lost) = log.lost() else { continue };
            told += 1;
            assert!(log.read(None, lost.clone()).next().is_none(), "{lost:?}, append {at}");
        }
    }
    assert!(full > 10 && told > 10, "{full} {told}");
}

/// Where others make room too, one segment was kept in hand. But nobody makes room in a full list: deletions that filled
/// the newest segment took the one in hand, and when all was deleted nothing could be reclaimed any more.
#[test]
fn a_full_list_is_reclaimed_whoever_makes_room() {
    for shared_room in [false, true] {
        let storage = RamStorage::new(Geometry::new(1024).expect("it works"));
        let mut room = Workspace::<4, 4, 2, 1024>::new();
        let options = Options {
            shared_room,
            ..Options::new(1, 2)
        };
        let mut log = Log::create(storage, room.lend(), options).expect("it is empty");
        for table in (1..=2).cycle() {
            match log.append(table, &[9; 8]) {
                Ok(_) => {}
                Err(Error::Full) => break,
                Err(error) => panic!("{error}"),
            }
        }
        let last = log.last_sequence();
        // The other table keeps every segment.
        for upto in 1..=last {
            log.delete_up_to(2, upto).expect("there is room for deletions");
        }
        log.delete_up_to(1, last).expect("there is room for deletions");
        let reclaimed = log.reclaim();
        assert_eq!(reclaimed, Ok(()), "shared {shared_room}");
        let appended = log.append(1, b"again").map(|appended| appended.first);
        assert_eq!(appended, Ok(last + 1), "shared {shared_room}");
    }
}

/// Only deletions pass through the buffer, since they are clamped when their batch gets its sequences: a batch of records may be
/// longer than that.
#[test]
fn a_batch_of_records_may_be_longer_than_the_buffer() {
    let storage = RamStorage::new(Geometry::new(65536).expect("it works"));
    let mut room = Workspace::<6, 4, 3, 512>::new();
    let mut log = Log::create(storage, room.lend(), Options::new(1, 2)).expect("it is empty");
    let mut batch = Batch::new();
    (0..8).for_each(|_| batch.push(1, &[7; 100]));
    assert_eq!(log.append_batch(&batch).map(|at| at.last), Ok(8));
    batch.delete_up_to(1, 4);
    let refused = log.append_batch(&batch).map(drop);
    assert!(matches!(refused, Err(Error::BufferTooSmall { needed }) if needed > 800));
    assert_eq!(log.last_sequence(), 8);
}
