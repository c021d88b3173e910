//! What a batch counts, what it needs, and what its operations do in their order.
#![cfg(feature = "alloc")]

use walstone_core::ram::RamStorage;
use walstone_core::{Batch, BatchFull, Capacity, Geometry, Log, NewRecord, Options};

type Addition = fn(&mut Batch<'_>) -> Result<(), BatchFull>;

/// Additions, and the records and deletions behind each.
const ADDITIONS: [(Addition, u32, u32); 4] = [
    (|batch| batch.try_delete_up_to(1, 3), 0, 1),
    (|batch| batch.try_push(&NewRecord::new(1, b"value")), 1, 1),
    (|batch| batch.try_truncate_from(u64::MAX, 9), 1, 2),
    (
        |batch| {
            let largest = NewRecord {
                timestamp: Some(u64::MAX),
                index: Some(u64::MAX),
                ..NewRecord::new(u64::MAX, &[7; 300])
            };
            batch.try_push(&largest)
        },
        2,
        2,
    ),
];

#[test]
fn a_batch_counts_what_was_added() {
    let mut batch = Batch::new();
    assert!(batch.is_empty() && batch.payload().is_empty());
    for round in 0..2 {
        for (add, records, deletions) in ADDITIONS {
            add(&mut batch).expect("an owned batch grows");
            assert_eq!(
                (batch.records(), batch.deletions()),
                (records, deletions),
                "round {round}"
            );
            assert!(!batch.is_empty());
            assert_eq!(batch.payload().len(), batch.payload_len());
        }
        batch.clear();
        assert!(batch.is_empty());
        assert_eq!((batch.records(), batch.deletions(), batch.payload_len()), (0, 0, 0));
    }
}

/// Lent memory of exactly what is needed takes a batch, one byte less refuses the last addition and changes nothing.
#[test]
fn a_full_batch_is_as_it_was_and_says_what_it_needs() {
    for epoch in [None, Some(0), Some(u64::MAX)] {
        let mut whole = Batch::new();
        if let Some(epoch) = epoch {
            whole.set_epoch(epoch).expect("it is empty");
        }
        for (add, ..) in ADDITIONS {
            let before = whole.payload().to_vec();
            add(&mut whole).expect("an owned batch grows");
            let needed = whole.payload_len();
            for (room, fits) in [(needed, true), (needed - 1, false)] {
                let mut room = vec![0xa5; room];
                let mut lent = Batch::lent(&mut room);
                if let Some(epoch) = epoch {
                    lent.set_epoch(epoch).expect("there is room for the epoch");
                }
                let counts = |batch: &Batch<'_>| (batch.records(), batch.deletions());
                let mut now = counts(&lent);
                for (again, ..) in ADDITIONS {
                    let added = again(&mut lent);
                    if added.is_err() || lent.payload_len() == needed {
                        assert_eq!(added, if fits { Ok(()) } else { Err(BatchFull { needed }) });
                        break;
                    }
                    now = counts(&lent);
                }
                assert_eq!(lent.payload(), if fits { whole.payload() } else { &before });
                assert!(fits || counts(&lent) == now);
            }
        }
        assert_eq!(
            whole.set_epoch(1),
            Err(BatchFull { needed: usize::MAX }),
            "it is not empty"
        );
    }
}

/// A deletion reaches what was given before it takes effect, and nothing behind, whatever it names.
#[test]
fn operations_of_a_batch_apply_in_their_order() {
    let geometry = Geometry::new(4096).expect("it works");
    let mut log = Log::create(RamStorage::new(geometry), Capacity::heap(0), Options::new(1, 2)).expect("it is empty");
    log.append(1, b"before").expect("there is room");
    let mut batch = Batch::new();
    batch.push(1, b"deleted");
    batch.push(2, b"another table");
    batch.delete_up_to(1, u64::MAX);
    batch.push(1, b"kept");
    batch.truncate_from(2, 0);
    batch.push(2, b"kept too");
    let appended = log.append_batch(&batch).expect("there is room");
    assert_eq!((appended.first, appended.last), (2, 5));
    log.sync().expect("memory does not fail");
    let mut log = Log::open(log.into_storage(), Capacity::heap(0), Options::new(1, 3)).expect("it is whole");
    let mut found = Vec::new();
    let mut reads = log.read(None, ..);
    while let Some(record) = reads.next() {
        let record = record.expect("it verifies");
        found.push((record.table, record.sequence, record.value.to_vec()));
    }
    assert_eq!(found, [(1, 4, b"kept".to_vec()), (2, 5, b"kept too".to_vec())]);
}
