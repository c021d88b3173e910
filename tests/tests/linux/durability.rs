//! What an acknowledgement costs, and what it is worth.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::{fs, thread};

use tempfile::TempDir;
use walstone_core::{Geometry, Mark, SegmentId, SharedStorage, Storage};
use walstone_linux::{LinuxStorage, Memory, RegionFiles, WritePath, sys};

use crate::place::{PATHS, Place, REGION, c_path, fresh_in};
use crate::traced::{counted, is_traceable, recovered, run, told};

#[test]
fn a_durable_append_past_the_page_cache_is_one_system_call() {
    if !is_traceable() {
        return;
    }
    let dir = TempDir::new().unwrap();
    let (output, trace) = run(&dir.path().join("wal"), WritePath::Direct, "durable", None);
    assert!(told(&output).done, "{output:?}");
    let calls = counted(&trace);
    assert_eq!(calls.into_iter().collect::<Vec<_>>(), [("pwritev2".to_owned(), 500)]);
    let writes = || trace.lines().filter(|line| line.contains(" pwritev2("));
    assert!(writes().count() >= 500);
    assert!(writes().all(|line| line.contains("RWF_DSYNC")), "{:?}", writes().next());
    let opened = |line: &str| line.contains("\"seg_") && line.contains("O_DIRECT") && !line.contains(" = -1 ");
    assert!(trace.lines().any(opened), "past the page cache");
}

#[test]
fn a_written_group_is_one_system_call() {
    if !is_traceable() {
        return;
    }
    for path in PATHS {
        let dir = TempDir::new().unwrap();
        let (output, trace) = run(&dir.path().join("wal"), path, "written", None);
        assert!(told(&output).done, "{output:?}");
        let calls = counted(&trace);
        assert_eq!(calls.into_iter().collect::<Vec<_>>(), [("pwrite64".to_owned(), 100)]);
    }
}

#[test]
fn what_was_handed_over_survives_the_death_of_the_process() {
    if !is_traceable() {
        return;
    }
    for path in PATHS {
        let dir = TempDir::new().unwrap();
        let root = dir.path().join("wal");
        let (output, _) = run(&root, path, "kill", None);
        assert!(!told(&output).done, "{output:?}");
        assert_eq!(told(&output).acknowledged, 1000, "{output:?}");
        assert_eq!(recovered(&root, path, 8 << 20), (1..=1000).collect::<Vec<_>>());
    }
}

fn byte(offset: u32) -> u8 {
    (offset.wrapping_mul(0x9e37_79b9) >> 24) as u8 | 1
}

/// One writes and hands over or syncs, by turns and in odd lengths; three read what is published, while another one keeps
/// dropping the page cache. Then every byte is compared as the device has it.
#[test]
fn readers_see_the_bytes_of_the_device_whatever_the_cache_held() {
    const SEGMENT_LEN: u32 = 1 << 20;
    const END: u32 = 600_000;
    for path in PATHS {
        let dir = TempDir::new().unwrap();
        let path_of_file = dir.path().join(format!("{REGION}/seg_1"));
        let storage = fresh_in(Place::Directory(dir), Geometry::new(SEGMENT_LEN).unwrap(), path);
        let id = SegmentId(1);
        let mut appender = storage.clone();
        appender.create(id, &[0xa5; 64]).unwrap();
        let region = sys::open_dir(None, &c_path(path_of_file.parent().unwrap())).unwrap();
        let cached = sys::open(&region, c"seg_1", sys::Access::Read).unwrap();
        let published = AtomicU32::new(64);
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            for reader in 0..3u32 {
                let storage = storage.clone();
                let (published, over) = (&published, &over);
                scope.spawn(move || {
                    let mut storage = storage;
                    let mut seed = reader + 1;
                    while !over.load(Ordering::Acquire) {
                        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        let end = published.load(Ordering::Acquire);
                        let from = 64 + seed % (end - 63);
                        let from = if seed & 1 == 0 {
                            from
                        } else {
                            from.max(end.saturating_sub(2000).max(64))
                        };
                        let same = |bytes: &[u8]| bytes.iter().zip(from..).all(|(found, at)| *found == byte(at));
                        if seed & 2 == 0 {
                            let pin = storage.pin(id, from, end).unwrap();
                            assert!(same(&pin), "pinned {from}..{end}");
                        } else {
                            let mut buf = vec![0; (end - from) as usize];
                            assert!(
                                same(storage.read(id, from, end - from, &mut buf).unwrap()),
                                "read {from}..{end}"
                            );
                        }
                    }
                });
            }
            scope.spawn(|| {
                while !over.load(Ordering::Acquire) {
                    sys::drop_cache(cached.number()).unwrap();
                    thread::yield_now();
                }
            });
            let mut at = 64;
            let mut turn = 0u32;
            while at < END {
                turn = turn.wrapping_mul(1_103_515_245).wrapping_add(12_345);
                let len = 1 + (turn >> 8) % 3000;
                let bytes: Vec<u8> = (at..at + len).map(byte).collect();
                appender.claim(id, at + len).unwrap();
                appender.write(id, at, &[&bytes]).unwrap();
                at += len;
                let to = Mark { segment: id, end: at };
                match turn >> 30 {
                    0 => appender.sync(to).unwrap(),
                    1 => appender.hand_over(to).unwrap(),
                    _ => {}
                }
                published.store(at, Ordering::Release);
            }
            appender.sync(Mark { segment: id, end: at }).unwrap();
            published.store(at, Ordering::Release);
            over.store(true, Ordering::Release);
        });
        let end = published.load(Ordering::Acquire);
        sys::sync_data(cached.number()).unwrap();
        sys::drop_cache(cached.number()).unwrap();
        let bytes = fs::read(&path_of_file).unwrap();
        assert!((64..end).all(|at| bytes[at as usize] == byte(at)));
        assert!(bytes[end as usize..].iter().all(|&byte| byte == 0));
        drop(storage);
    }
}

/// A durable write vouches for its own bytes only: what was handed over before needs a sync of the file.
#[test]
fn a_sync_vouches_for_what_was_handed_over_too() {
    for path in PATHS {
        let place = Place::Directory(TempDir::new().unwrap());
        let mut storage = fresh_in(place, Geometry::new(64 << 10).unwrap(), path);
        let id = SegmentId(1);
        storage.create(id, &[0xa5; 64]).unwrap();
        storage.claim(id, 32 << 10).unwrap();
        let mut end = 64;
        let mut append = |storage: &mut crate::place::Storage| {
            storage.write(id, end, &[&[7; 100]]).unwrap();
            end += 100;
            Mark { segment: id, end }
        };
        let counts = |storage: &crate::place::Storage| {
            let stats = storage.files().stats();
            (stats.durable_writes, stats.writes, stats.syncs)
        };
        let begun = counts(&storage);
        let to = append(&mut storage);
        storage.sync(to).unwrap();
        storage.sync(to).unwrap();
        let (durable, written, synced) = counts(&storage);
        let direct = path == WritePath::Direct;
        let expect = if direct { (1, 0, 0) } else { (0, 1, 1) };
        assert_eq!((durable - begun.0, written - begun.1, synced - begun.2), expect);
        let begun = counts(&storage);
        let to = append(&mut storage);
        storage.hand_over(to).unwrap();
        storage.hand_over(to).unwrap();
        let to = append(&mut storage);
        storage.sync(to).unwrap();
        let (durable, written, synced) = counts(&storage);
        assert_eq!((durable - begun.0, written - begun.1, synced - begun.2), (0, 2, 1));
    }
}

/// Blocks that are only reserved look like holes to one who opens the file again. A claim that took them for such wrote
/// zeros over what was appended beside it, once the segment had been closed for others.
#[test]
fn a_claim_after_a_segment_was_closed_for_others_leaves_appends_beside_it_alone() {
    const RESERVED: u32 = 2 << 20;
    for path in PATHS {
        let dir = TempDir::new().unwrap();
        let path_of_file = dir.path().join(format!("{REGION}/seg_40"));
        let storage = fresh_in(Place::Directory(dir), Geometry::new(4 << 20).unwrap(), path);
        let id = SegmentId(40);
        let mut appender = storage.clone();
        appender.create(id, &[0xa5; 64]).unwrap();
        let to = |end| Mark { segment: id, end };
        storage.claim_exactly(to(RESERVED), true).unwrap();
        let append = |appender: &mut crate::place::Storage, range: std::ops::Range<u32>| {
            let end = range.end;
            let bytes: Vec<u8> = range.clone().map(byte).collect();
            appender.write(id, range.start, &[&bytes]).unwrap();
            appender.hand_over(to(end)).unwrap();
        };
        append(&mut appender, 64..8192);
        appender.sync(to(8192)).unwrap();
        let mut pins = Vec::new();
        // Below it, for what is lent is kept by one mark.
        for other in 1..40 {
            appender.create(SegmentId(other), &[0xa5; 64]).unwrap();
            pins.push(storage.pin(SegmentId(other), 0, 64).unwrap());
        }
        let region = sys::open_dir(None, &c_path(path_of_file.parent().unwrap())).unwrap();
        let file = sys::open(&region, c"seg_40", sys::Access::Read).unwrap();
        let data_behind = || sys::next_data(file.number(), 8192).unwrap();
        let tells_reserved = data_behind().is_none();
        storage.claim_exactly(to(RESERVED + 4096), false).unwrap();
        let filled = data_behind().is_some_and(|data| data.start < u64::from(RESERVED));
        assert!(!(tells_reserved && filled), "{path:?}: filled where an append may be");
        thread::scope(|scope| {
            scope.spawn(|| storage.claim_exactly(to(4 << 20), false).unwrap());
            for from in (8192..RESERVED).step_by(8192) {
                append(&mut appender, from..from + 8192);
            }
        });
        appender.sync(to(RESERVED)).unwrap();
        let bytes = fs::read(&path_of_file).unwrap();
        let differs = (64..RESERVED).find(|at| bytes[*at as usize] != byte(*at));
        assert_eq!(differs, None, "{path:?}");
        assert!(bytes[RESERVED as usize..].iter().all(|&byte| byte == 0));
        assert!(pins.iter().all(|pin| **pin == [0xa5; 64]));
    }
}

/// Memory that the caller lends serves as well as that which is mapped, and too little is refused.
#[test]
fn memory_is_lent_or_mapped() {
    let dir = TempDir::new().unwrap();
    let region = dir.path().join("7");
    fs::create_dir(&region).unwrap();
    let geometry = Geometry::new(64 << 10).unwrap();
    let open = |memory| RegionFiles::open_dir(&c_path(&region), true, geometry, WritePath::Direct, memory);
    let mut small = [0; 4096];
    let refused = open(Memory::lend(&mut small)).unwrap_err();
    assert!(
        matches!(refused.cause(), walstone_linux::Cause::Memory { .. }),
        "{refused}"
    );
    let mut lent = vec![0; 16 << 10];
    let files = Arc::new(open(Memory::lend(&mut lent)).unwrap());
    let mut storage = LinuxStorage::new(Arc::clone(&files));
    storage.create(SegmentId(1), &[1; 64]).unwrap();
    let bytes: Vec<u8> = (64..40_000).map(byte).collect();
    storage.claim(SegmentId(1), 40_000).unwrap();
    storage.write(SegmentId(1), 64, &[&bytes]).unwrap();
    let mark = Mark {
        segment: SegmentId(1),
        end: 40_000,
    };
    storage.sync(mark).unwrap();
    assert_eq!(fs::read(region.join("seg_1")).unwrap()[64..40_000], bytes);
    assert!(files.stats().written_bytes >= 40_000 - 64);
}

/// The kernel tells a failed write-back once to each opening of the file. A claim that took the news from the opening that
/// appends are synced by would leave none for them.
#[test]
fn a_claim_syncs_by_an_opening_of_its_own() {
    if !is_traceable() {
        return;
    }
    for path in PATHS {
        let dir = TempDir::new().unwrap();
        let (output, trace) = run(&dir.path().join("wal"), path, "durable", None);
        assert!(told(&output).done, "{output:?}");
        let calls: Vec<_> = trace
            .lines()
            .filter_map(|line| line.split_once(' ').unwrap_or_default().1.trim_start().split_once('('))
            .collect();
        let file = |arguments: &str| arguments.split([',', ')']).next().unwrap_or_default().to_owned();
        let mut claims = 0;
        for (at, (_, reserved)) in calls.iter().enumerate().filter(|(_, call)| call.0 == "fallocate") {
            let rest = &calls[at..];
            let synced = rest.iter().position(|call| call.0 == "fdatasync").unwrap();
            let by = file(rest[synced].1);
            assert_ne!(by, file(reserved), "{path:?}: the opening that appends are synced by");
            assert_eq!(
                (rest[synced + 1].0, file(rest[synced + 1].1)),
                ("close", by),
                "{path:?}"
            );
            claims += 1;
        }
        assert!(claims > 2, "{path:?}: {claims}");
    }
}
