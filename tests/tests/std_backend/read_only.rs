//! Opening for reading only, beside a writer or without one.

use walstone::{Batch, Durability, Error, Wal};

use crate::root::{Root, scan, value};

#[test]
fn reading_beside_a_live_writer_changes_nothing() {
    let root = Root::new();
    let wal = root.open();
    let region = wal.create_region(7).unwrap();
    for sequence in 1..=40 {
        region.append(1, &value(sequence, 300)).unwrap();
    }
    region.delete_up_to(1, 5).unwrap();
    root.watch.wait_quiet();
    let before = root.tree();
    let read = Wal::open_read_only(root.path(), root.options().build().unwrap()).unwrap();
    let copy = read.region(7).unwrap();
    assert_eq!(scan(&copy), scan(&region));
    assert_eq!(copy.last_sequence(), 40);
    let mut batch = Batch::new();
    batch.push(1, b"x");
    for refused in [
        copy.append(1, b"x").map(drop),
        copy.append_batch(&batch).map(drop),
        copy.delete_up_to(1, 20),
        copy.truncate_from(1, 20),
        copy.reclaim(),
        read.create_region(8).map(drop),
        read.region_or_create(8).map(drop),
        read.remove_region(7),
    ] {
        assert!(matches!(refused, Err(Error::ReadOnly)), "{refused:?}");
    }
    read.stats().unwrap();
    read.close().unwrap();
    assert!(matches!(copy.view(), Err(Error::Closed)));
    assert_eq!(root.tree(), before);
    drop(read);
    assert_eq!(root.tree(), before);
    region.append(1, b"the writer goes on").unwrap();
}

/// Readers open again and again while a writer rotates and reclaims: each sees a run that ends where the log once did.
#[test]
fn every_opening_beside_a_busy_writer_sees_a_whole_log() {
    let root = Root::new();
    let wal = root.open();
    let region = wal.create_region(7).unwrap();
    region.append(1, &value(1, 200)).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for sequence in 2..=250u64 {
                region.append(1, &value(sequence, 200)).unwrap();
                if sequence % 50 == 0 {
                    region.delete_up_to(1, sequence - 25).unwrap();
                    region.reclaim().unwrap();
                }
            }
        });
        let mut opened = 0;
        // One processor may have let the writer end before anybody looked.
        while opened == 0 || !writer.is_finished() {
            let read = Wal::open_read_only(root.path(), root.options().build().unwrap()).unwrap();
            let Ok(copy) = read.region(7) else { continue };
            let view = copy.view().unwrap();
            let seen: Result<Vec<u64>, Error> = view.scan().map(|record| Ok(record?.sequence)).collect();
            // A segment may be reclaimed before it is read; that is an error, never other bytes.
            let Ok(seen) = seen else { continue };
            assert!(seen.windows(2).all(|pair| pair[1] == pair[0] + 1), "{seen:?}");
            opened += 1;
        }
    });
}

/// What a reader without the lock recovers is not durable because of that: nothing was settled.
#[test]
fn a_reader_calls_durable_what_the_log_itself_knows_to_be() {
    let root = Root::new();
    let wal = root.open();
    let region = wal.create_region(7).unwrap();
    let durable = || {
        let read = Wal::open_read_only(root.path(), root.options().build().unwrap()).unwrap();
        let copy = read.region(7).unwrap();
        let known = (copy.durable_through(), copy.last_sequence());
        read.close().unwrap();
        assert_eq!(copy.durable_through(), known.0);
        known
    };
    assert_eq!(durable(), (0, 0));
    let mut durable_sequences = Vec::new();
    for sequence in 1..=40 {
        region
            .append_with(1, &value(sequence, 300), Durability::Written)
            .unwrap();
        if sequence % 10 == 5 {
            region.sync().unwrap();
        }
        let (known, last) = durable();
        assert_eq!(last, sequence);
        // A frame tells of the syncs before it, a segment of those of all older ones.
        assert!(known < sequence, "{known} of {sequence}");
        durable_sequences.push(known);
    }
    assert!(durable_sequences.is_sorted());
    assert!(durable_sequences.contains(&5), "{durable_sequences:?}");
    wal.close().unwrap();
    assert_eq!(durable(), (40, 40));
}
