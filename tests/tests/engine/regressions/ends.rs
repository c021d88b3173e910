//! Where a log ends, and what is damage.

use walstone_core::frame::{self, Kind};
use walstone_core::ram::RamStorage;
use walstone_core::{Capacity, Error, Fault, Geometry, Log, Reason, Tail};
use walstone_tests::images::late_session;
use walstone_tests::storages::Method;
use walstone_tests::storages::faulty::Faulty;

use super::{ONE, all, create, frames, open, options, plain, refused, rotate, sequences};

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
        (refused(ram.clone()).segment, refused(ram.clone()).reason),
        (second, Reason::Manifest)
    );
    // Whatever of it is damaged: which incarnation that later frame is of, the segment below tells.
    for bit in 0..(frame::HEADER_LEN + 16) * 8 {
        let mut damaged = ram.clone();
        let bytes = damaged.bytes_mut(second).unwrap();
        bytes[manifest + frame::HEADER_LEN + 16] ^= 1;
        bytes[manifest + bit / 8] ^= 1 << (bit % 8);
        assert_eq!(refused(damaged).segment, second, "bit {bit}");
    }
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

/// A pad fills the sync unit behind a close frame; the log was closed all the same.
#[test]
fn a_close_frame_with_a_pad_behind_it() {
    let mut log = create(Geometry::new(8192).unwrap().with_sync_unit(512).unwrap());
    log.append(1, b"kept").unwrap();
    log.close().unwrap();
    let log = open(log.into_storage());
    assert_eq!((log.report().tail, log.report().settled_bytes), (Tail::Closed, 0));
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

/// What could be read around damage was put together in the host's buffer, and a storage that lends its map needs none: where
/// it said that a unit cannot be read, the open asked for a longer buffer, which no host on the heap can give.
#[test]
fn damage_that_a_lending_storage_tells_of_needs_no_buffer() {
    let mut log = create(plain());
    log.append(1, b"durable").unwrap();
    log.sync().unwrap();
    log.append(1, &[7; 100]).unwrap();
    let image = log.into_storage();
    let mut opened = 0;
    for nth in 1..24 {
        let storage = Faulty::new(image.clone());
        // One look at the same bytes after the other.
        for more in 0..12 {
            storage.faults().fail(Method::Read, nth + more, Fault::Unreadable);
        }
        match Log::open(storage, Capacity::heap(0), options()) {
            Ok(_) => opened += 1,
            Err(Error::Corrupt(_)) => {}
            Err(error) => panic!("{nth}: {error}"),
        }
    }
    assert!(opened > 0);
}
