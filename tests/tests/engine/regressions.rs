//! Failures that logs had, this one or others, each told as a story.

use walstone_core::frame::{self, Kind};
use walstone_core::ram::RamStorage;
use walstone_core::segment::header::Header;
use walstone_core::{
    Capacity, Checksum, Corruption, Error, Fault, Geometry, Log, Options, Reason, SegmentId, Storage, Tail,
};
use walstone_tests::images::late_session;
use walstone_tests::storages::Method;
use walstone_tests::storages::faulty::Faulty;

type RamLog = Log<'static, RamStorage>;
const ONE: SegmentId = SegmentId(1);

fn options() -> Options {
    Options::new(7, 42)
}

fn plain() -> Geometry {
    Geometry::new(4096).unwrap()
}

fn create(geometry: Geometry) -> RamLog {
    Log::create(RamStorage::new(geometry), Capacity::heap(0), options()).unwrap()
}

fn open(ram: RamStorage) -> RamLog {
    Log::open(ram, Capacity::heap(0), options()).unwrap()
}

fn refused(ram: RamStorage) -> Corruption {
    match Log::open(ram, Capacity::heap(0), options()) {
        Err(Error::Corrupt(corruption)) => corruption,
        Err(other) => panic!("{other}"),
        Ok(log) => panic!("opened: {:?}", log.report()),
    }
}

fn all<S: Storage>(log: &mut Log<'static, S>) -> Vec<(u64, Vec<u8>)> {
    let mut out = Vec::new();
    let mut reads = log.read(None, ..);
    while let Some(record) = reads.next() {
        let record = record.unwrap();
        out.push((record.sequence, record.value.to_vec()));
    }
    out
}

fn sequences(log: &mut RamLog) -> Vec<u64> {
    all(log).into_iter().map(|(sequence, _)| sequence).collect()
}

/// Offsets of the frames of a kind that verify anywhere in a segment.
fn frames(ram: &RamStorage, id: SegmentId, kind: Kind) -> Vec<u32> {
    let bytes = ram.bytes(id).unwrap();
    let binding = Header::decode(bytes, Checksum::BYTEWISE)
        .unwrap()
        .binding(Checksum::BYTEWISE);
    let at = |offset: &u32| bytes[*offset as usize..].first_chunk();
    (0..bytes.len() as u32)
        .step_by(8)
        .filter(|offset| {
            let header = at(offset).and_then(|bytes| frame::Header::decode(bytes, &binding, *offset, 1).ok());
            header.is_some_and(|header| header.kind == kind)
        })
        .collect()
}

/// Appends until the log goes on in another segment; the sequence of the first record there.
fn rotate(log: &mut RamLog) -> u64 {
    let before = log.written_mark().segment;
    loop {
        let appended = log.append(1, &[9; 100]).unwrap();
        if log.written_mark().segment != before {
            return appended.first;
        }
    }
}

/// HoraeDB, local WAL: records 1 to 6 were written, the page of 3 did not reach the disk. The log was recovered to 2,
/// a new record 3 of the same length filled the hole, and at the next start the stale 4 to 6 lined up behind it.
#[test]
fn stale_records_do_not_return_behind_a_new_one_of_equal_length() {
    for erased in [Some(0), None] {
        for len in 1..=60 {
            let mut log = create(plain().with_erased(erased).unwrap());
            let mut ends = Vec::new();
            for n in 1..=6u8 {
                let appended = log.append(1, &vec![n; len]).unwrap();
                ends.push(appended.mark.end as usize);
                if n <= 2 {
                    log.sync().unwrap();
                }
            }
            let mut ram = log.into_storage();
            ram.bytes_mut(ONE).unwrap()[ends[1]..ends[2]].fill(0);
            let mut log = open(ram);
            assert_eq!(sequences(&mut log), [1, 2]);
            let mut expect = vec![(1, vec![1; len]), (2, vec![2; len])];
            for again in 0..3 {
                let value = vec![100 + again; len];
                let sequence = log.append(1, &value).unwrap().first;
                assert_eq!(sequence, 3 + u64::from(again));
                log.sync().unwrap();
                expect.push((sequence, value));
                log = open(log.into_storage());
                assert_eq!(all(&mut log), expect, "values of {len} bytes, erased {erased:?}");
            }
        }
    }
}

/// The seal and the frames in front of it are synced as one, so the seal may reach the medium first. It is no proof
/// that the frames were durable, its successor stays until the log has gone on elsewhere, and should the frames turn
/// out readable after all, the log is as it was written.
#[test]
fn a_seal_that_reached_the_medium_before_its_frames() {
    let mut log = create(plain());
    let mut last = (0, 0);
    let (before, image) = loop {
        let (before, image) = (log.last_sequence(), log.storage().clone());
        let start = log.written_mark().end;
        log.append(1, &[9; 100]).unwrap();
        if log.written_mark().segment != ONE {
            break (before, image);
        }
        last = (start as usize, log.written_mark().end as usize);
    };
    // What the rotation wrote to the first segment, without the manifest of the second.
    let mut whole = image;
    whole.insert(ONE, log.storage().bytes(ONE).unwrap().to_vec());
    for id in log.storage().ids().filter(|&id| id != ONE) {
        let mut bytes = log.storage().bytes(id).unwrap().to_vec();
        bytes[64..].fill(0);
        whole.insert(id, bytes);
    }
    let mut torn = whole.clone();
    torn.bytes_mut(ONE).unwrap()[last.0..last.1].fill(0);

    let mut log = open(torn.clone());
    assert!(matches!(log.report().tail, Tail::Torn { .. }), "{:?}", log.report());
    assert_eq!(log.last_sequence(), before - 1);
    let expect = sequences(&mut log);
    // Opened, and died before anything was written: the same again, or all of it if the frame is readable now.
    let mut healed = log.into_storage();
    let mut log = open(healed.clone());
    assert_eq!(sequences(&mut log), expect);
    let frame = whole.bytes(ONE).unwrap()[last.0..last.1].to_vec();
    healed.bytes_mut(ONE).unwrap()[last.0..last.1].copy_from_slice(&frame);
    assert_eq!(open(healed).last_sequence(), before);

    let sequence = log.append(2, b"goes on").unwrap().first;
    assert_eq!(sequence, before, "never durable, so its number is given again");
    log.sync().unwrap();
    let mut log = open(log.into_storage());
    assert_eq!(sequences(&mut log), [expect, vec![sequence]].concat());
}

/// A manifest is believed only if its payload verifies too: its header alone may have reached the medium.
#[test]
fn a_torn_manifest_whose_header_is_intact() {
    let mut log = create(plain());
    rotate(&mut log);
    let second = log.written_mark().segment;
    let mut ram = log.storage().clone();
    let manifest = frames(&ram, second, Kind::Manifest)[0] as usize;
    ram.bytes_mut(second).unwrap()[manifest + frame::HEADER_LEN + 16..].fill(0);
    let mut torn = open(ram);
    let held = torn.last_sequence();
    assert_eq!(sequences(&mut torn), (1..=held).collect::<Vec<_>>());
    assert_eq!(held + 1, log.last_sequence(), "all but the record behind the manifest");
    assert_eq!(torn.append(1, b"goes on").unwrap().first, held + 1);
    torn.sync().unwrap();
    let mut torn = open(torn.into_storage());
    assert!(
        torn.written_mark().segment > second,
        "never gone on in behind a torn manifest"
    );
    assert_eq!(sequences(&mut torn), (1..=held + 1).collect::<Vec<_>>());

    // A later frame that was written after the manifest was durable makes it damage.
    log.sync().unwrap();
    log.append(1, b"later").unwrap();
    let mut ram = log.into_storage();
    ram.bytes_mut(second).unwrap()[manifest + frame::HEADER_LEN + 16] ^= 1;
    assert_eq!(
        (refused(ram.clone()).segment, refused(ram).reason),
        (second, Reason::Manifest)
    );
}

/// Rot in the frame that a session begins with must not hide the session: later frames prove that it was durable.
#[test]
fn rot_in_a_resume_frame() {
    let mut log = create(plain());
    log.append(1, b"first session").unwrap();
    let mut log = open(log.into_storage());
    log.append(1, b"second session").unwrap();
    log.sync().unwrap();
    let ram = log.into_storage();
    let resume = frames(&ram, ONE, Kind::Resume)[0];
    for at in resume..resume + frame::HEADER_LEN as u32 {
        let mut ram = ram.clone();
        ram.bytes_mut(ONE).unwrap()[at as usize] ^= 4;
        let corruption = refused(ram.clone());
        assert_eq!((corruption.segment, corruption.offset), (ONE, resume), "byte {at}");
        // Nothing behind it: nothing is lost, and the log goes on.
        ram.bytes_mut(ONE).unwrap()[resume as usize + frame::HEADER_LEN..].fill(0);
        let mut log = open(ram);
        assert_eq!(sequences(&mut log), [1]);
        log.append(1, b"third session").unwrap();
        log.sync().unwrap();
        assert_eq!(sequences(&mut open(log.into_storage())), [1, 2]);
    }
}

/// Removing a file is not durable by itself: a removed segment may be there again after a power loss. The manifest
/// does not list it, so it is not read, and removed again.
#[test]
fn a_removed_segment_that_is_met_again() {
    let mut log = create(plain());
    rotate(&mut log);
    let (removed, last) = (log.storage().bytes(ONE).unwrap().to_vec(), log.last_sequence());
    log.delete_up_to(1, last).unwrap();
    log.reclaim().unwrap();
    log.sync().unwrap();
    assert!(log.storage().bytes(ONE).is_none());
    log.append(1, b"alive").unwrap();
    log.sync().unwrap();
    let mut ram = log.into_storage();
    ram.insert(ONE, removed);
    let mut log = open(ram);
    assert!(log.report().removed_segments >= 1, "{:?}", log.report());
    assert!(log.storage().bytes(ONE).is_none());
    assert_eq!(all(&mut log), [(last + 1, b"alive".to_vec())]);
}

/// On EEPROM a new segment shows the bytes of the one removed before it, frames and all. Those were bound to
/// another id and salt.
#[test]
fn stale_bytes_of_a_removed_segment_are_never_frames() {
    let mut log = create(plain().with_erased(None).unwrap());
    for round in 0..12 {
        let last = rotate(&mut log);
        log.delete_up_to(1, last - 1).unwrap();
        log.reclaim().unwrap();
        log.sync().unwrap();
        let first = log.append(1, &[round; 100]).unwrap().first;
        let mut log2 = open(log.storage().clone());
        assert_eq!(sequences(&mut log2), [last, first]);
        log.delete_up_to(1, first).unwrap();
        log.sync().unwrap();
        assert_eq!(sequences(&mut open(log.storage().clone())), [0u64; 0]);
    }
    assert!(log.written_mark().segment > SegmentId(12));
}

/// An interrupted program of a flash page can leave cells that read as erased and cannot be relied on. After an
/// unclean end the session begins behind the page that may have been under way.
#[test]
fn a_tail_that_looks_erased_after_an_interrupted_program() {
    let flash = plain().with_write_unit(4).unwrap().with_erased(Some(0xff)).unwrap();
    let geometry = flash.with_page_len(256).unwrap();
    let mut log = create(geometry);
    let end = log.append(1, b"durable").unwrap().mark.end;
    log.sync().unwrap();
    let mut log = open(log.into_storage());
    assert_eq!(log.report().tail, Tail::Clean, "nothing shows what was under way");
    log.append(1, b"next").unwrap();
    log.close().unwrap();
    let ram = log.into_storage();
    let resumes = frames(&ram, ONE, Kind::Resume);
    assert_eq!(resumes, [end.next_multiple_of(256) + 256]);
    let closed = frames(&ram, ONE, Kind::Close)[0];

    // A session after the close may have been interrupted without a trace, so the page behind it is left alone too.
    let mut log = open(ram);
    log.append(1, b"third").unwrap();
    log.sync().unwrap();
    let third = (closed + 24).next_multiple_of(256) + 256;
    assert_eq!(frames(log.storage(), ONE, Kind::Resume), [resumes[0], third]);
    assert_eq!(sequences(&mut open(log.into_storage())), [1, 2, 3]);
}

/// "Delete everything of this table" must not delete what is appended later.
#[test]
fn deleting_up_to_the_greatest_sequence_spares_later_records() {
    let mut log = create(plain());
    log.append(1, b"dead").unwrap();
    log.delete_up_to(1, u64::MAX).unwrap();
    assert_eq!(log.append(1, b"alive").unwrap().first, 2);
    assert_eq!(sequences(&mut log), [2]);
    log.truncate_from(1, 0).unwrap();
    log.append(1, b"alive again").unwrap();
    log.sync().unwrap();
    assert_eq!(sequences(&mut open(log.into_storage())), [3]);
}

/// The deletion stood in a segment that was reclaimed, while records that it deletes stood in one that was not.
#[test]
fn deleted_stays_deleted_when_the_segment_with_the_deletion_is_reclaimed() {
    let mut log = create(plain());
    log.append(2, b"keeps the first segment alive").unwrap();
    let dead = log.append(3, b"dead").unwrap().first;
    rotate(&mut log);
    let second = log.written_mark().segment;
    log.delete_up_to(3, dead).unwrap();
    rotate(&mut log);
    // Everything in the second segment but the deletion dies.
    let last = log.last_sequence();
    log.delete_up_to(1, last).unwrap();
    log.reclaim().unwrap();
    log.sync().unwrap();
    assert!(log.storage().bytes(second).is_none(), "reclaimed");
    assert!(log.storage().bytes(ONE).is_some(), "alive");
    let mut log = open(log.into_storage());
    assert_eq!(sequences(&mut log), [1]);
    rotate(&mut log);
    log.delete_up_to(1, u64::MAX).unwrap();
    log.reclaim().unwrap();
    log.sync().unwrap();
    assert_eq!(sequences(&mut open(log.into_storage())), [1], "through two manifests");
}

/// A sync failed, the process died, the page cache still shows the bytes although they never reached the disk. What
/// recovery gives out must survive the next power loss.
#[test]
fn recovery_from_a_cache_that_lies_after_a_failed_sync() {
    let mut log = Log::create(Faulty::new(RamStorage::new(plain())), Capacity::heap(0), options()).unwrap();
    log.append(1, b"durable").unwrap();
    log.sync().unwrap();
    log.append(1, b"in the cache").unwrap();
    log.storage().faults().fail(Method::Sync, 1, Fault::Device);
    assert!(matches!(log.sync(), Err(Error::Storage(_))));
    assert!(
        matches!(log.sync(), Err(Error::Poisoned(_))),
        "a sync is never tried again"
    );
    assert!(matches!(log.append(1, b"x"), Err(Error::Poisoned(_))));
    assert_eq!(all(&mut log).len(), 2, "reading goes on");

    let cache = log.into_storage();
    assert_eq!(sequences(&mut open(cache.clone().reboot())), [1], "the cache lies");
    let mut log = Log::open(cache, Capacity::heap(0), options()).unwrap();
    let given_out = all(&mut log);
    assert_eq!(given_out.len(), 2);
    assert!(log.report().settled_bytes > 0);
    let rebooted = log.into_storage().reboot();
    assert_eq!(all(&mut open(rebooted)), given_out);
}

/// A log that takes its next sequence from the newest record it finds starts over when all are deleted.
#[test]
fn sequences_go_on_when_everything_is_deleted() {
    let mut log = create(plain());
    let mut last = 0;
    for round in 0..5 {
        last = rotate(&mut log).max(last);
        log.delete_up_to(1, u64::MAX).unwrap();
        if round % 2 == 0 {
            log.reclaim().unwrap();
        }
        log.sync().unwrap();
        log = open(log.into_storage());
        assert_eq!(sequences(&mut log), [0u64; 0]);
        assert_eq!(log.last_sequence(), last);
        let next = log.append(1, b"next").unwrap().first;
        assert_eq!(next, last + 1);
        last = next;
    }
}

/// A frame did not read back, was cut off, and reads back later: a weak cell, a cable, a cache. It was not part of
/// the log in between, so it never is.
#[test]
fn reads_that_heal_do_not_bring_back_what_was_cut_off() {
    let mut log = create(plain());
    log.append(1, b"one").unwrap();
    log.sync().unwrap();
    let start = log.written_mark().end as usize;
    log.append(1, b"unreadable for a while").unwrap();
    log.append(1, b"behind it").unwrap();
    let end = log.written_mark().end as usize;
    let mut ram = log.into_storage();
    let healthy = ram.bytes(ONE).unwrap()[start..end].to_vec();
    ram.bytes_mut(ONE).unwrap()[start + 24] ^= 0xff;
    let mut log = open(ram);
    assert!(matches!(log.report().tail, Tail::Torn { .. }));
    assert_eq!(log.append(1, b"two").unwrap().first, 2);
    log.sync().unwrap();
    let mut ram = log.into_storage();
    let expect = [(1, b"one".to_vec()), (2, b"two".to_vec())];
    ram.bytes_mut(ONE).unwrap()[start..end].copy_from_slice(&healthy);
    let mut log = open(ram);
    assert_eq!(all(&mut log), expect);
    // The same once the segment is sealed and read by its recorded end.
    let last = rotate(&mut log);
    log.sync().unwrap();
    let mut log = open(log.into_storage());
    assert_eq!(all(&mut log)[..2], expect);
    assert_eq!(log.last_sequence(), last);
}

/// etcd: a zero length reads as the end of the log, so a zeroed sector cut off everything behind it.
#[test]
fn a_zeroed_sector_is_not_the_end() {
    let mut log = create(plain());
    let mut last = 0;
    for n in 0..20 {
        last = log.append(1, &[n; 60]).unwrap().position.offset() as usize;
        log.sync().unwrap();
    }
    let ram = log.into_storage();
    // One frame behind the sector is enough to prove that it was durable.
    for start in (64..=last - 512).step_by(64) {
        let mut ram = ram.clone();
        ram.bytes_mut(ONE).unwrap()[start..start + 512].fill(0);
        let corruption = refused(ram);
        assert!(corruption.offset as usize <= start, "{corruption}");
    }
}

/// NATS, etcd: a flipped bit in a length made the frame reach past the end of the file: taken for a torn tail, or
/// allocated.
#[test]
fn a_length_with_a_flipped_bit() {
    let mut log = create(plain());
    let mut starts = Vec::new();
    for n in 0..5 {
        starts.push(log.append(1, &[n; 60]).unwrap().position.offset());
        log.sync().unwrap();
    }
    let ram = log.into_storage();
    for bit in 0..32 {
        for (n, &start) in starts.iter().enumerate() {
            let mut ram = ram.clone();
            ram.bytes_mut(ONE).unwrap()[start as usize + 4 + bit / 8] ^= 1 << (bit % 8);
            if n == 4 {
                // The last group: nothing tells it from an interrupted write, and that is said.
                let mut log = open(ram);
                assert!(matches!(log.report().tail, Tail::Torn { offset, .. } if offset == start));
                assert_eq!(sequences(&mut log), [1, 2, 3, 4]);
            } else {
                let corruption = refused(ram);
                assert_eq!(
                    (corruption.offset, corruption.reason),
                    (start, Reason::FrameHeader),
                    "bit {bit}"
                );
            }
        }
    }
}

/// The prepared segment that a rotation left behind had its header, but no room for a manifest. On a storage that was
/// full to the last byte the log then could not be reclaimed any more, and so never written again.
#[test]
fn a_full_storage_is_reclaimed_whatever_its_size() {
    let geometry = Geometry::new(2048).unwrap();
    let mut tried = 0;
    // Room for the active segment and two more.
    for limit in (3 * 2048..7 * 2048).step_by(8) {
        for closed in [false, true] {
            let storage = RamStorage::new(geometry).with_capacity_limit(limit);
            let Ok(mut log) = Log::create(storage, Capacity::heap(0), options()) else {
                continue;
            };
            while log.append(1, &[9; 90]).is_ok() {}
            assert_eq!(log.poisoned(), None);
            let last = log.last_sequence();
            if last == 0 {
                continue;
            }
            if closed {
                log.close().unwrap();
            } else {
                log.sync().unwrap();
            }
            let mut log = open(log.into_storage());
            assert_eq!(sequences(&mut log), (1..=last).collect::<Vec<_>>());
            log.delete_up_to(1, last).unwrap();
            log.reclaim()
                .unwrap_or_else(|error| panic!("{limit} bytes, closed {closed}: {error}"));
            log.sync().unwrap();
            let next = log
                .append(1, &[9; 90])
                .unwrap_or_else(|error| panic!("{limit} bytes, closed {closed}: {error}"));
            assert_eq!(next.first, last + 1);
            log.close().unwrap();
            assert_eq!(sequences(&mut open(log.into_storage())), [last + 1]);
            tried += 1;
        }
    }
    assert!(tried > 500, "{tried}");
}

/// A pad fills the sync unit behind a close frame; the log was closed all the same.
#[test]
fn a_close_frame_with_a_pad_behind_it() {
    let mut log = create(Geometry::new(8192).unwrap().with_sync_unit(512).unwrap());
    log.append(1, b"kept").unwrap();
    log.close().unwrap();
    let log = open(log.into_storage());
    assert_eq!((log.report().tail, log.report().settled_bytes), (Tail::Closed, 0));
}

/// A position was given out for a record that a crash lost; its bytes outlived it behind the torn frame. It is not
/// part of the log, and its number belongs to another record now.
#[test]
fn the_position_of_a_record_that_was_cut_off() {
    let mut log = create(plain());
    log.append(1, b"one").unwrap();
    log.sync().unwrap();
    let torn = log.append(1, b"torn").unwrap().position;
    let whole = log.append(1, b"behind it").unwrap().position;
    let mut ram = log.into_storage();
    ram.bytes_mut(ONE).unwrap()[torn.offset() as usize + 24] ^= 0xff;
    let mut log = open(ram);
    let kept = log.append(1, b"two").unwrap().position;
    log.append(1, b"three").unwrap();
    log.sync().unwrap();
    for sealed in [false, true] {
        for lost in [torn, whole] {
            assert!(matches!(log.read_at(lost), Err(Error::NoRecord)), "sealed: {sealed}");
            let snapshot = log.snapshot(false);
            let segment = snapshot.segment(0).unwrap();
            let bytes = &log.storage().bytes(segment.id).unwrap()[..segment.end as usize];
            let reader = snapshot.reader(0, bytes).unwrap();
            assert!(reader.frame_at(&lost).is_none(), "sealed: {sealed}");
            assert!(reader.frame_at(&kept).is_some());
        }
        assert_eq!(log.read_at(kept).unwrap().value, b"two");
        rotate(&mut log);
    }
}

/// As above, and then the footer of that segment rotted, and a frame in front of the cut. The cuts were looked for by a
/// walk, which ended at the damage and found none: the position led to the lost record again.
#[test]
fn damage_elsewhere_does_not_bring_back_what_was_cut_off() {
    let mut log = create(plain());
    let first = log.append(1, b"one").unwrap().position;
    log.sync().unwrap();
    let torn = log.append(1, b"torn").unwrap().position;
    let lost = log.append(1, b"behind it").unwrap().position;
    let mut ram = log.into_storage();
    ram.bytes_mut(ONE).unwrap()[torn.offset() as usize + 24] ^= 0xff;
    let mut log = open(ram);
    let kept = log.append(1, b"two").unwrap().position;
    rotate(&mut log);
    log.sync().unwrap();
    let mut ram = log.into_storage();
    let seal = frames(&ram, ONE, Kind::Seal)[0];
    for damaged in [seal + 24, first.offset() + 24] {
        ram.bytes_mut(ONE).unwrap()[damaged as usize] ^= 0xff;
    }
    let mut log = open(ram);
    assert!(matches!(log.read_at(lost), Err(Error::NoRecord)));
    assert_eq!(log.read_at(kept).unwrap().value, b"two");
    assert!(matches!(log.read_at(first), Err(Error::Corrupt(_))));
}

/// A device of few slots, full of live data. Deletions that freed nothing filled the reserve, and the next one took the
/// last slot: then no slot was left for the manifest that would have given segments up, whatever was deleted.
#[test]
fn deletions_do_not_take_the_last_slot_for_nothing() {
    use walstone_tests::storages::slots::{SlotMedium, SlotStorage};
    let parse = |bytes: &[u8]| {
        Header::decode(bytes, Checksum::BYTEWISE)
            .ok()
            .map(|header| header.segment)
    };
    let geometry = Geometry::new(2048).unwrap().with_write_unit(8).unwrap();
    let geometry = geometry.with_erased(Some(0xff)).unwrap();
    let mut stuck = Vec::new();
    for slots in 4..10 {
        for deletions in 0..12 {
            let medium = SlotMedium::new(geometry, slots);
            let storage = SlotStorage::open(&medium, parse);
            let mut log = Log::create(storage, Capacity::heap(4096), options()).unwrap();
            let mut table = 1;
            while log.append(table, &[9; 90]).is_ok() {
                table = 3 - table;
            }
            assert_eq!(log.poisoned(), None);
            let last = log.last_sequence();
            for sequence in 1..=deletions {
                if log.delete_up_to(2, 2 * sequence).is_err() {
                    break;
                }
            }
            let freed = log.delete_up_to(1, last).and_then(|_| log.delete_up_to(2, last));
            if freed.is_err() || log.reclaim().is_err() || log.append(1, b"room again").is_err() {
                stuck.push((slots, deletions));
            }
        }
    }
    assert_eq!(stuck, [], "(slots, deletions)");
}

/// A device of few slots, full of live data. Each start tried an append, which was refused, and the power failed: each
/// wrote a resume frame first, until the next session took the last slot. Then nothing could be given up any more.
#[test]
fn starts_on_a_full_device_do_not_take_the_last_slot() {
    use walstone_tests::storages::slots::{SlotMedium, SlotStorage};
    let parse = |bytes: &[u8]| {
        Header::decode(bytes, Checksum::BYTEWISE)
            .ok()
            .map(|header| header.segment)
    };
    let geometry = Geometry::new(2048).unwrap().with_write_unit(8).unwrap();
    let geometry = geometry.with_erased(Some(0xff)).unwrap();
    let mut stuck = Vec::new();
    for slots in 4..10 {
        for starts in [0, 1, 4, 8, 16, 32, 64] {
            let medium = SlotMedium::new(geometry, slots);
            let storage = SlotStorage::open(&medium, parse);
            let mut log = Log::create(storage, Capacity::heap(4096), options()).unwrap();
            while log.append(1, &[9; 90]).is_ok() {}
            let mut last = log.last_sequence();
            for _ in 0..starts {
                log = Log::open(SlotStorage::open(&medium, parse), Capacity::heap(4096), options()).unwrap();
                let _ = log.append(1, &[9; 90]);
                last = log.last_sequence();
            }
            let mut log = Log::open(SlotStorage::open(&medium, parse), Capacity::heap(4096), options()).unwrap();
            if log.delete_up_to(1, last).is_err() || log.reclaim().is_err() || log.append(1, b"room again").is_err() {
                stuck.push((slots, starts));
            }
        }
    }
    assert_eq!(stuck, [], "(slots, starts)");
}

/// A region in its 66,001st session lost a bit of the only manifest that was left. Later frames name the low half of their
/// incarnation, and were decoded as if the log had just been made: none verified, so nothing showed that there had been
/// a log, and the next open with leave to make one did, over it.
#[test]
fn a_damaged_manifest_of_a_late_session_is_no_new_region() {
    for erased in [Some(0), Some(0xff), None] {
        let geometry = plain().with_erased(erased).unwrap();
        let mut ram = late_session(geometry);
        let mut log = open(ram);
        log.append(1, b"durable").unwrap();
        log.sync().unwrap();
        ram = log.into_storage();
        for bit in 0..40 * 8 {
            let (at, mask) = (64 + bit / 8, 1 << (bit % 8));
            if erased.is_none() && (72..76).contains(&at) {
                // The whole incarnation: where no erased byte shows that something stands behind, nothing else tells.
                continue;
            }
            let mut damaged = ram.clone();
            damaged.bytes_mut(ONE).unwrap()[at] ^= mask;
            let corruption = refused(damaged.clone());
            assert_eq!(corruption.segment, ONE, "{erased:?}, bit {bit}");
            let made = Log::open_or_create(damaged, Capacity::heap(0), options());
            assert!(matches!(made, Err(Error::Corrupt(_))), "{erased:?}, bit {bit}");
        }
    }
}
