//! What users of HoraeDB's log rely on, and what they could have relied on.

use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use walstone::{Batch, Durability, Error, OptionsBuilder, Wal};

use crate::root::{Root, SEGMENT_LENS, row, rows, scan, sequences, value};

/// Runs on every segment length, with many and with one open segment, and with views beside the writer.
fn check(body: impl Fn(&Root, &dyn Fn() -> OptionsBuilder)) {
    for segment_len in SEGMENT_LENS {
        for open_segments in [1, 256] {
            let root = Root::new();
            body(&root, &|| {
                root.options().segment_len(segment_len).max_open_segments(open_segments)
            });
        }
    }
}

#[test]
fn sequences_start_at_one_and_a_batch_gets_contiguous_ones() {
    check(|root, options| {
        let wal = root.open_with(options()).unwrap();
        let region = wal.create_region(7).unwrap();
        assert_eq!(region.last_sequence(), 0);
        assert_eq!(region.durable_through(), 0);
        assert_eq!(scan(&region), []);
        let at = region.append(1, b"a").unwrap();
        assert_eq!((at.first, at.last), (1, 1));
        let mut batch = Batch::new();
        for table in [1, 2, 1] {
            batch.push(table, b"b");
        }
        let at = region.append_batch(&batch).unwrap();
        assert_eq!((at.first, at.last), (2, 4));
        assert_eq!(region.last_sequence(), 4);
        assert_eq!(region.durable_through(), 4);
        assert_eq!(sequences(&region, 1), [1, 2, 4]);
        assert_eq!(sequences(&region, 2), [3]);
        assert_eq!(sequences(&region, 3), []);
    });
}

#[test]
fn reads_take_every_kind_of_bound() {
    check(|root, options| {
        let wal = root.open_with(options()).unwrap();
        let region = wal.create_region(7).unwrap();
        for sequence in 1..=60u64 {
            region
                .append_with(sequence % 2, &value(sequence, 300), Durability::Written)
                .unwrap();
        }
        let view = region.view().unwrap();
        let edges = [0, 1, 2, 13, 30, 59, 60, 61, u64::MAX - 1, u64::MAX];
        let bounds = || {
            let kinds = edges.iter().flat_map(|&at| [Bound::Included(at), Bound::Excluded(at)]);
            kinds.chain([Bound::Unbounded])
        };
        for from in bounds() {
            for to in bounds() {
                use std::ops::RangeBounds;
                let expect: Vec<u64> = (1..=60).filter(|sequence| (from, to).contains(sequence)).collect();
                let got: Vec<u64> = view
                    .scan_range((from, to))
                    .map(|record| record.unwrap().sequence)
                    .collect();
                assert_eq!(got, expect, "{from:?} {to:?}");
                for table in 0..2 {
                    let expect: Vec<u64> = expect.iter().copied().filter(|at| at % 2 == table).collect();
                    let records = view.read(table, (from, to)).map(|record| row(record.unwrap()));
                    let got: Vec<u64> = records
                        .map(|(of, sequence, bytes)| {
                            assert_eq!(of, table);
                            assert_eq!(bytes, value(sequence, 300));
                            sequence
                        })
                        .collect();
                    assert_eq!(got, expect, "{from:?} {to:?} of {table}");
                }
            }
        }
        assert_eq!(view.first(1).unwrap(), Some(1));
        assert_eq!(view.last(1).unwrap(), Some(59));
        assert_eq!(view.last(9).unwrap(), None);
        assert!(view.get(0, 30).unwrap().is_some());
        assert!(view.get(1, 30).unwrap().is_none());
    });
}

/// Four threads, three regions, two tables; each thread's records keep their order, and nothing mixes.
#[test]
fn threads_write_several_regions_and_tables_at_once() {
    check(|root, options| {
        let wal = root.open_with(options()).unwrap();
        thread::scope(|scope| {
            for thread in 0..4u64 {
                let wal = wal.clone();
                scope.spawn(move || {
                    for count in 0..60u64 {
                        let region = wal.region_or_create(count % 3).unwrap();
                        let tag = [thread.to_le_bytes(), count.to_le_bytes()].concat();
                        let durability = if count % 9 == 0 {
                            Durability::Durable
                        } else {
                            Durability::Written
                        };
                        region.append_with(count % 2, &tag, durability).unwrap();
                        // Readers beside the writers.
                        let view = region.view().unwrap();
                        let mut last = 0;
                        for record in view.scan() {
                            let record = record.unwrap();
                            assert!(record.sequence > last);
                            last = record.sequence;
                        }
                        assert!(last >= 1);
                    }
                });
            }
        });
        let verify = |wal: &Wal| {
            for id in 0..3u64 {
                let region = wal.region(id).unwrap();
                let all = scan(&region);
                assert_eq!(all.len(), 80);
                assert!(all.iter().map(|(_, sequence, _)| *sequence).eq(1..=80));
                for thread in 0..4u64 {
                    let of = all.iter().filter(|row| row.2.starts_with(&thread.to_le_bytes()));
                    let counts = of.map(|(table, _, bytes)| {
                        let count = u64::from_le_bytes(bytes[8..].try_into().unwrap());
                        assert_eq!(count % 2, *table);
                        count
                    });
                    assert!(counts.eq((0..60).filter(|count| count % 3 == id)));
                }
            }
        };
        verify(&wal);
        wal.close().unwrap();
        verify(&root.open_with(options()).unwrap());
    });
}

#[test]
fn reopening_keeps_records_and_sequences_closed_or_not() {
    check(|root, options| {
        let mut expect = Vec::new();
        for life in 0..6u64 {
            let wal = root.open_with(options()).unwrap();
            let region = wal.region_or_create(7).unwrap();
            assert_eq!(scan(&region), expect, "life {life}");
            for _ in 0..20 {
                let next = expect.len() as u64 + 1;
                let bytes = value(next, 150);
                assert_eq!(region.append(next % 3, &bytes).unwrap().last, next);
                expect.push((next % 3, next, bytes));
            }
            if life % 2 == 0 {
                wal.close().unwrap();
            }
        }
    });
}

#[test]
fn deleting_hides_that_table_only_and_for_good() {
    check(|root, options| {
        let wal = root.open_with(options()).unwrap();
        let region = wal.create_region(7).unwrap();
        for sequence in 1..=40u64 {
            region.append(sequence % 2, &value(sequence, 200)).unwrap();
        }
        let before = region.view().unwrap();
        region.delete_up_to(0, 20).unwrap();
        region.truncate_from(1, 35).unwrap();
        let live: Vec<u64> = (1..=40)
            .filter(|at| if at % 2 == 0 { *at > 20 } else { *at < 35 })
            .collect();
        let verify = |wal: &Wal| {
            let region = wal.region(7).unwrap();
            let got: Vec<u64> = scan(&region).iter().map(|row| row.1).collect();
            assert_eq!(got, live);
            assert!(sequences(&region, 0).iter().all(|at| *at > 20));
            assert!(sequences(&region, 1).iter().all(|at| *at < 35));
            let view = region.view().unwrap();
            assert!(view.get(0, 20).unwrap().is_none());
            assert_eq!(view.first(0).unwrap(), Some(22));
            assert_eq!(view.last(1).unwrap(), Some(33));
        };
        verify(&wal);
        assert_eq!(rows(&before).len(), 40, "a view made before sees all");
        drop(before);
        wal.region(7).unwrap().reclaim().unwrap();
        verify(&wal);
        drop(region);
        drop(wal);
        let wal = root.open_with(options()).unwrap();
        verify(&wal);
        wal.close().unwrap();
        verify(&root.open_with(options()).unwrap());
    });
}

/// Deletes everything, ends without closing, and writes again: the new number was never given before.
#[test]
fn sequences_rise_after_delete_after_reopen_and_after_both() {
    for reclaim in [false, true] {
        for close in [false, true] {
            check(|root, options| {
                let mut last = 0;
                for _ in 0..5 {
                    let wal = root.open_with(options()).unwrap();
                    let region = wal.region_or_create(7).unwrap();
                    assert_eq!(region.last_sequence(), last);
                    for _ in 0..3 {
                        for _ in 0..8 {
                            let at = region.append(1, &value(last + 1, 250)).unwrap();
                            assert_eq!(at.first, last + 1);
                            last = at.last;
                        }
                        region.delete_up_to(1, u64::MAX).unwrap();
                        if reclaim {
                            region.reclaim().unwrap();
                        }
                        assert_eq!(scan(&region), []);
                        assert_eq!(region.last_sequence(), last);
                    }
                    if close {
                        wal.close().unwrap();
                    }
                }
            });
        }
    }
}

#[test]
fn a_batch_is_one_piece_with_its_deletions() {
    check(|root, options| {
        let wal = root.open_with(options()).unwrap();
        let region = wal.create_region(7).unwrap();
        for _ in 0..5 {
            region.append(1, b"old").unwrap();
        }
        let mut batch = Batch::new();
        batch.push(1, b"gone at once");
        batch.delete_up_to(1, 6);
        batch.push(1, b"new");
        batch.push(2, b"other");
        let at = region.append_batch(&batch).unwrap();
        assert_eq!((at.first, at.last), (6, 8));
        let mut only = Batch::new();
        only.delete_up_to(2, 1);
        let nothing = region.append_batch(&only).unwrap();
        assert_eq!((nothing.first, nothing.last), (9, 8));
        drop((region, wal));
        let wal = root.open_with(options()).unwrap();
        let region = wal.region(7).unwrap();
        let left = [(1, 7, b"new".to_vec()), (2, 8, b"other".to_vec())];
        // A void that stands behind a record of its own batch reaches it, as operations apply in order.
        assert_eq!(scan(&region), left);
    });
}

/// One thread appends and deletes, others read: no reader sees a hole inside what is live, or an error.
#[test]
fn readers_beside_a_deleting_writer_see_a_run_without_holes() {
    check(|root, options| {
        let wal = root.open_with(options()).unwrap();
        let region = wal.create_region(7).unwrap();
        region.append(1, &value(1, 200)).unwrap();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                for sequence in 2..=400u64 {
                    region
                        .append_with(1, &value(sequence, 200), Durability::Written)
                        .unwrap();
                    if sequence % 20 == 0 {
                        region.delete_up_to_with(1, sequence - 10, Durability::Written).unwrap();
                        region.reclaim().unwrap();
                    }
                }
                done.store(true, Ordering::Release);
            });
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Ordering::Acquire) {
                        let view = region.view().unwrap();
                        let seen = rows(&view);
                        assert!(seen.windows(2).all(|pair| pair[1].1 == pair[0].1 + 1), "{seen:?}");
                        assert!(!seen.is_empty());
                        assert!(seen.iter().all(|row| row.2 == value(row.1, 200)));
                    }
                });
            }
        });
        assert!(root.segments(7).len() <= 8, "{:?}", root.segments(7));
    });
}

/// Segments that a manifest omits were removed by syncs of the user's alone: a log of written appends kept all of its
/// files, a million and more.
#[test]
fn a_log_that_is_never_synced_gives_dead_segments_back() {
    check(|root, options| {
        let wal = root.open_with(options().durability(Durability::Written)).unwrap();
        let region = wal.create_region(7).unwrap();
        let rotations = 40;
        let segment_len = u64::from(region.report().geometry.segment_len());
        for sequence in 1..=rotations * segment_len / 500 {
            region.append(1, &value(sequence, 500)).unwrap();
            region.delete_up_to(1, sequence).unwrap();
        }
        // One that was made ahead and came too late goes, too.
        wal.close().unwrap();
        let left = root.segments(7);
        assert!(left.len() <= 6 && left[0] > 20, "{left:?}");
    });
}

#[test]
fn what_was_synced_is_known_to_be() {
    if !crate::OBSERVED {
        return;
    }
    check(|root, options| {
        let wal = root.open_with(options().durability(Durability::Written)).unwrap();
        let region = wal.create_region(7).unwrap();
        let before = root.watch.syncs();
        region.append(1, b"a").unwrap();
        let begun = root.watch.syncs();
        region.append(1, b"b").unwrap();
        assert_eq!(root.watch.syncs(), begun, "a written append does not sync");
        assert!(begun >= before);
        assert_eq!(region.durable_through(), 0);
        region.sync().unwrap();
        assert_eq!(region.durable_through(), 2);
        assert_eq!(root.watch.syncs(), begun + 1);
        region.sync().unwrap();
        assert_eq!(root.watch.syncs(), begun + 1, "nothing to sync");
    });
}

#[test]
fn a_second_opener_is_refused_until_the_first_is_done() {
    check(|root, options| {
        let wal = root.open_with(options()).unwrap();
        let region = wal.create_region(7).unwrap();
        let refused = root.open_with(options()).unwrap_err();
        assert!(
            matches!(&refused, Error::Locked { path } if path.ends_with("LOCK")),
            "{refused}"
        );
        wal.close().unwrap();
        let second = root.open_with(options()).unwrap();
        assert!(matches!(region.append(1, b"x"), Err(Error::Closed)));
        drop(second);
        // Dropped without close: the last handle keeps the lock.
        let third = root.open_with(options()).unwrap();
        let region = third.region(7).unwrap();
        drop(third);
        assert!(matches!(root.open_with(options()), Err(Error::Locked { .. })));
        region.append(1, b"x").unwrap();
        drop(region);
        assert_eq!(scan(&root.open_with(options()).unwrap().region(7).unwrap()).len(), 1);
    });
}

#[test]
fn regions_are_made_closed_and_removed_one_by_one() {
    check(|root, options| {
        let wal = root.open_with(options()).unwrap();
        for id in [3, 1, 2] {
            wal.create_region(id).unwrap().append(1, &[id as u8]).unwrap();
        }
        assert_eq!(wal.regions(), [1, 2, 3]);
        assert!(matches!(wal.create_region(2), Err(Error::RegionExists { region: 2 })));
        assert!(matches!(wal.region(4), Err(Error::NoRegion { region: 4 })));
        let old = wal.region(2).unwrap();
        let view = old.view().unwrap();
        assert_eq!(rows(&view).len(), 1);
        wal.remove_region(2).unwrap();
        assert!(!root.path().join("2").exists());
        assert!(matches!(old.append(1, b"x"), Err(Error::Closed)));
        assert_eq!(rows(&view).len(), 1, "what was read stays");
        let new = wal.create_region(2).unwrap();
        assert_eq!(new.append(1, b"y").unwrap().first, 1);
        drop(view);
        assert_eq!(scan(&new).len(), 1);

        let first = wal.region(1).unwrap();
        wal.close_region(1).unwrap();
        assert!(matches!(first.append(1, b"x"), Err(Error::Closed)));
        assert!(matches!(first.sync(), Err(Error::Closed)));
        assert!(matches!(first.view(), Err(Error::Closed)));
        assert_eq!(wal.region(1).unwrap().append(1, b"z").unwrap().first, 2);
        assert!(matches!(wal.remove_region(9), Err(Error::NoRegion { region: 9 })));
        drop((old, new, first, wal));
        let wal = root.open_with(options()).unwrap();
        assert_eq!(wal.regions(), [1, 2, 3]);
        assert!(wal.report().failed.is_empty());
    });
}
