//! What every log does, whatever storage it stands on and wherever its room comes from.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use walstone_core::{
    Batch, Capacity, Checksum, Error, Found, Log, NewRecord, Options, Position, SegmentId, Storage, StorageError, Tail,
    Workspace,
};

use crate::images::Random;

/// The live records: by sequence, the table and the value.
type Live = BTreeMap<u64, (u64, Vec<u8>)>;

/// Where a log has its room.
#[derive(Debug)]
pub enum Room {
    /// On the heap, with so many bytes to read into.
    Heap(usize),
    /// Lent.
    Lent(Box<Workspace<24, 24, 6, 2048>>),
}

impl Room {
    /// A lent room.
    #[must_use]
    pub fn lent() -> Self {
        Self::Lent(Box::new(Workspace::new()))
    }

    fn capacity(&mut self) -> Capacity<'_> {
        match self {
            Self::Heap(buffer_len) => Capacity::heap(*buffer_len),
            Self::Lent(workspace) => workspace.lend(),
        }
    }
}

fn options(region: u64) -> Options {
    Options {
        checksum: Checksum::BYTEWISE,
        ..Options::new(region, 42)
    }
}

fn create<S: Storage>(storage: S, room: &mut Room) -> Log<'_, S> {
    let made = Log::create(storage, room.capacity(), options(7));
    made.unwrap_or_else(|error| panic!("create: {error}"))
}

fn open<S: Storage>(storage: S, room: &mut Room) -> Log<'_, S> {
    let opened = Log::open(storage, room.capacity(), options(7));
    opened.unwrap_or_else(|error| panic!("open: {error}"))
}

/// Panics with the error's own words.
#[track_caller]
fn ok<T, E: StorageError>(result: Result<T, Error<E>>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}

fn all<S: Storage>(log: &mut Log<'_, S>, table: Option<u64>) -> Live {
    within(log, table, (Bound::Unbounded, Bound::Unbounded))
}

fn within<S: Storage>(log: &mut Log<'_, S>, table: Option<u64>, range: (Bound<u64>, Bound<u64>)) -> Live {
    let mut live = Live::new();
    let mut reads = log.read(table, range);
    while let Some(record) = reads.next() {
        let record = ok(record);
        let last = live.last_key_value().map_or(0, |(&last, _)| last);
        assert!(record.sequence > last, "{} behind {last}", record.sequence);
        live.insert(record.sequence, (record.table, record.value.to_vec()));
    }
    live
}

/// Every byte of every segment.
///
/// # Panics
/// Where the storage fails.
pub fn bytes_of<S: Storage>(storage: &mut S) -> BTreeMap<SegmentId, Vec<u8>> {
    let mut ids = Vec::new();
    let mut visit = |found| {
        if let Found::Segment(id) = found {
            ids.push(id);
        }
        ControlFlow::Continue(())
    };
    assert!(storage.segments(&mut visit).is_ok());
    let len = storage.geometry().segment_len();
    let mut buffer = vec![0; len as usize];
    let mut read = |id| match storage.read(id, 0, len, &mut buffer) {
        Ok(bytes) => (id, bytes.to_vec()),
        Err(error) => panic!("{error}"),
    };
    ids.into_iter().map(&mut read).collect()
}

/// All checks on blank storages that `blank` gives. Every one has room for six segments at least.
///
/// # Panics
/// Where the log does something else.
pub fn check_log<S: Storage>(blank: impl Fn() -> S, room: &mut Room) {
    check_sequences(blank(), room);
    check_bounds(blank(), room);
    check_deleting(blank(), room);
    check_batches(blank(), room);
    check_positions(blank(), room);
    check_closing(blank(), room);
    check_opening(blank(), room);
    check_full(blank(), room);
    for seed in 1..=4 {
        check_model(blank(), room, seed);
    }
}

/// The first sequence is 1; they rise by one, through tables, reopening and deleting everything.
fn check_sequences<S: Storage>(storage: S, room: &mut Room) {
    let mut log = create(storage, room);
    assert_eq!(log.last_sequence(), 0);
    assert_eq!(log.report().tail, Tail::New);
    for n in 1..=5 {
        let appended = ok(log.append(n % 2, b"value"));
        assert_eq!((appended.first, appended.last), (n, n));
    }
    assert_eq!(log.last_sequence(), 5);
    ok(log.sync());
    let mut log = open(log.into_storage(), room);
    assert_eq!(log.last_sequence(), 5);
    for table in 0..2 {
        ok(log.delete_up_to(table, u64::MAX));
    }
    assert_eq!(ok(log.append(0, b"")).first, 6);
    ok(log.delete_up_to(0, 6));
    ok(log.sync());
    let mut log = open(log.into_storage(), room);
    assert_eq!(all(&mut log, None), Live::new());
    assert_eq!(log.last_sequence(), 6);
    assert_eq!(ok(log.append(1, b"")).first, 7);
}

/// Reads take every kind of bound, for one table and for all, over several segments.
fn check_bounds<S: Storage>(storage: S, room: &mut Room) {
    let mut log = create(storage, room);
    let mut live = Live::new();
    let first = log.written_mark().segment;
    while log.written_mark().segment.0 < first.0 + 2 {
        let table = log.last_sequence() % 3;
        let appended = ok(log.append(table, &[table as u8; 90]));
        live.insert(appended.first, (table, vec![table as u8; 90]));
    }
    let last = log.last_sequence();
    let points = [0, 1, 2, last / 2, last - 1, last, last + 1, u64::MAX];
    let bounds = |at| [Bound::Included(at), Bound::Excluded(at), Bound::Unbounded];
    for from in points.into_iter().flat_map(bounds) {
        for to in points.into_iter().flat_map(bounds) {
            for table in [None, Some(1), Some(77)] {
                let mut expect = live.clone();
                expect.retain(|sequence, (of, _)| {
                    std::ops::RangeBounds::contains(&(from, to), sequence) && table.is_none_or(|table| table == *of)
                });
                assert_eq!(within(&mut log, table, (from, to)), expect, "{from:?} {to:?} {table:?}");
            }
        }
    }
}

/// Deleting hides one table's records from every read, and stays through reopening, rotation and reclaim.
fn check_deleting<S: Storage>(storage: S, room: &mut Room) {
    let mut log = create(storage, room);
    let mut live = Live::new();
    let first = log.written_mark().segment;
    while log.written_mark().segment == first {
        for table in 1..=3 {
            let appended = ok(log.append(table, &[table as u8; 40]));
            live.insert(appended.first, (table, vec![table as u8; 40]));
        }
    }
    let last = log.last_sequence();
    ok(log.delete_up_to(1, last - 4));
    live.retain(|&sequence, (table, _)| *table != 1 || sequence > last - 4);
    ok(log.truncate_from(2, last - 7));
    live.retain(|&sequence, (table, _)| *table != 2 || sequence < last - 7);
    let check = |log: &mut Log<'_, S>, live: &Live| {
        assert_eq!(all(log, None), *live);
        for table in 1..=3 {
            let mut of_table = live.clone();
            of_table.retain(|_, (of, _)| *of == table);
            assert_eq!(all(log, Some(table)), of_table);
        }
    };
    check(&mut log, &live);
    ok(log.sync());
    let mut log = open(log.into_storage(), room);
    check(&mut log, &live);
    let appended = ok(log.append(2, b"behind what was cut off"));
    live.insert(appended.first, (2, b"behind what was cut off".to_vec()));
    check(&mut log, &live);
    // Nothing more to delete: nothing is written.
    let mark = log.written_mark();
    ok(log.delete_up_to(1, last - 4));
    assert_eq!(log.written_mark(), mark);
    for table in 1..=3 {
        ok(log.delete_up_to(table, last));
        live.retain(|&sequence, (of, _)| *of != table || sequence > last);
    }
    ok(log.reclaim());
    ok(log.sync());
    check(&mut log, &live);
    let mut log = open(log.into_storage(), room);
    check(&mut log, &live);
    assert!(
        !bytes_of(log.storage_mut()).contains_key(&first),
        "the first segment held nothing alive"
    );
}

/// A batch has one run of sequences over its tables, and its operations apply in order.
fn check_batches<S: Storage>(storage: S, room: &mut Room) {
    let mut log = create(storage, room);
    ok(log.append(1, b"before"));
    let mut bytes = [0; 512];
    let mut batch = Batch::lent(&mut bytes);
    assert!(matches!(log.append_batch(&batch), Err(Error::EmptyBatch)));
    batch.set_epoch(3).unwrap();
    let push = |batch: &mut Batch<'_>, table, value: &[u8], index| {
        let record = NewRecord {
            index,
            ..NewRecord::new(table, value)
        };
        batch.try_push(&record).unwrap();
    };
    push(&mut batch, 1, b"dies", None);
    batch.try_delete_up_to(1, u64::MAX).unwrap();
    push(&mut batch, 1, b"lives", Some(8));
    push(&mut batch, 2, b"", None);
    batch.try_truncate_from(2, 1).unwrap();
    push(&mut batch, 2, b"lives too", None);
    let appended = ok(log.append_batch(&batch));
    assert_eq!((appended.first, appended.last), (2, 5));
    let expect: Live = [(3, (1, b"lives".to_vec())), (5, (2, b"lives too".to_vec()))].into();
    assert_eq!(all(&mut log, None), expect);
    let record = ok(log.read_at(appended.position.plus(1)));
    assert_eq!(
        (record.value, record.index, record.epoch),
        (&b"lives"[..], Some(8), Some(3))
    );
    ok(log.sync());
    let mut log = open(log.into_storage(), room);
    assert_eq!(all(&mut log, None), expect);
    batch.clear();
    batch.try_delete_up_to(2, u64::MAX).unwrap();
    let appended = ok(log.append_batch(&batch));
    assert_eq!(
        (appended.first, appended.last),
        (6, 5),
        "no sequence for a batch that only deletes"
    );

    let too_long = vec![0; log.storage().geometry().segment_len() as usize];
    let mark = log.written_mark();
    assert!(matches!(log.append(1, &too_long), Err(Error::RecordTooLarge { .. })));
    assert_eq!((log.written_mark(), log.last_sequence()), (mark, 5), "nothing changed");
    assert_eq!(ok(log.append(1, b"after")).first, 6);
}

/// A position is good after reopening, and for nothing but its record.
fn check_positions<S: Storage>(storage: S, room: &mut Room) {
    let mut log = create(storage, room);
    let mut positions = Vec::new();
    let first = log.written_mark().segment;
    while log.written_mark().segment == first {
        let value = vec![positions.len() as u8; 50];
        positions.push((ok(log.append(1, &value)).position, value));
    }
    ok(log.sync());
    let mut log = open(log.into_storage(), room);
    for (n, (position, value)) in positions.iter().enumerate() {
        let stored = Position::from_bytes(position.to_bytes());
        let record = ok(log.read_at(stored));
        assert_eq!((record.sequence, record.value), (n as u64 + 1, &value[..]));
        assert!(matches!(log.read_at(position.plus(1)), Err(Error::NoRecord)));
    }
    let mut foreign = positions[0].0.to_bytes();
    foreign[19] ^= 1;
    assert!(matches!(
        log.read_at(Position::from_bytes(foreign)),
        Err(Error::NoRecord)
    ));
    assert!(matches!(
        log.read_at(Position::from_bytes([0xff; 20])),
        Err(Error::NoRecord)
    ));
    assert!(matches!(log.read_at(Position::default()), Err(Error::NoRecord)));
    ok(log.delete_up_to(1, log.last_sequence()));
    assert!(matches!(log.read_at(positions[0].0), Err(Error::NoRecord)), "deleted");
    ok(log.reclaim());
    ok(log.sync());
    assert!(matches!(log.read_at(positions[0].0), Err(Error::NoRecord)), "reclaimed");
}

/// A closed log says so, takes no more, is read on, and is not written to where there is nothing to say.
fn check_closing<S: Storage>(storage: S, room: &mut Room) {
    let mut log = create(storage, room);
    ok(log.append(1, b"kept"));
    ok(log.close());
    ok(log.close());
    assert!(matches!(log.append(1, b"x"), Err(Error::Closed)));
    assert!(matches!(log.sync(), Err(Error::Closed)));
    assert!(matches!(log.delete_up_to(1, 1), Err(Error::Closed)));
    assert_eq!(all(&mut log, None).len(), 1);
    let mut storage = log.into_storage();
    let bytes = bytes_of(&mut storage);
    for _ in 0..2 {
        let mut log = open(storage, room);
        assert_eq!(log.report().tail, Tail::Closed);
        assert_eq!(log.report().settled_bytes, 0);
        ok(log.close());
        storage = log.into_storage();
        assert!(
            bytes_of(&mut storage) == bytes,
            "nothing was written, so nothing is to be said"
        );
    }
}

/// What is there is opened, what is not is not, and a read-only open changes nothing.
fn check_opening<S: Storage>(storage: S, room: &mut Room) {
    // An error takes the storage with it, so these are tried on handles or never: a blank storage is opened first.
    let mut log = ok(Log::open_or_create(storage, room.capacity(), options(7)));
    ok(log.append(1, b"unsynced"));
    let mut storage = log.into_storage();
    let bytes = bytes_of(&mut storage);
    let mut log = ok(Log::open_read_only(storage, room.capacity(), options(7)));
    assert!(matches!(log.append(1, b"x"), Err(Error::ReadOnly)));
    assert!(matches!(log.reclaim(), Err(Error::ReadOnly)));
    assert_eq!(all(&mut log, None).len(), 1);
    ok(log.close());
    let mut storage = log.into_storage();
    assert!(bytes_of(&mut storage) == bytes, "changed by a read-only open");
    let log = ok(Log::open_or_create(storage, room.capacity(), options(7)));
    assert_eq!(log.last_sequence(), 1);
    let opened = Log::open(log.into_storage(), room.capacity(), options(8));
    assert!(matches!(opened, Err(Error::Corrupt(_))), "another region");
}

/// A full storage refuses records, goes on reading, deleting, reclaiming and closing, and takes records again.
fn check_full<S: Storage>(storage: S, room: &mut Room) {
    let mut log = create(storage, room);
    let mut live = Live::new();
    for _ in 0..4_000 {
        match log.append(1, &[5; 200]) {
            Ok(appended) => drop(live.insert(appended.first, (1, vec![5; 200]))),
            Err(Error::Full) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(live.len() < 4_000, "never full");
    assert_eq!(log.poisoned(), None);
    assert_eq!(all(&mut log, None), live);
    ok(log.sync());
    let mut log = open(log.into_storage(), room);
    assert_eq!(all(&mut log, None), live);
    ok(log.delete_up_to(1, log.last_sequence()));
    ok(log.reclaim());
    ok(log.sync());
    for _ in 0..20 {
        ok(log.append(1, &[5; 200]));
    }
    ok(log.close());
}

/// Random operations against a list in memory.
fn check_model<S: Storage>(storage: S, room: &mut Room, seed: u64) {
    let mut random = Random::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut live = Live::new();
    let mut log = create(storage, room);
    for _ in 0..300 {
        let table = random.below(4) as u64;
        let last = log.last_sequence();
        match random.below(20) {
            0..=11 => {
                let value = vec![last as u8; random.below(150)];
                match log.append(table, &value) {
                    Ok(appended) => {
                        assert_eq!(appended.first, last + 1);
                        live.insert(appended.first, (table, value));
                    }
                    Err(Error::Full) => {
                        for table in 0..4 {
                            ok(log.delete_up_to(table, last));
                        }
                        live.clear();
                        ok(log.reclaim());
                        ok(log.sync());
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            12 => {
                let to = random.below(last as usize + 2) as u64;
                match log.delete_up_to(table, to) {
                    Ok(_) => live.retain(|&sequence, (of, _)| *of != table || sequence > to),
                    Err(Error::TooManyVoids { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            13 => {
                let from = last.saturating_sub(random.below(10) as u64);
                match log.truncate_from(table, from) {
                    Ok(_) => live.retain(|&sequence, (of, _)| *of != table || sequence < from),
                    Err(Error::TooManyVoids { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            14 | 15 => ok(log.sync()),
            16 => ok(log.reclaim()),
            17 => {
                ok(log.close());
                log = open(log.into_storage(), room);
                assert!(!matches!(log.report().tail, Tail::Torn { .. }));
            }
            18 => {
                ok(log.sync());
                log = open(log.into_storage(), room);
            }
            _ => {
                let from = random.below(last as usize + 2) as u64;
                let mut expect = live.clone();
                expect.retain(|&sequence, (of, _)| sequence >= from && *of == table);
                let range = (Bound::Included(from), Bound::Unbounded);
                assert_eq!(within(&mut log, Some(table), range), expect);
            }
        }
        assert_eq!(log.last_sequence().max(last), log.last_sequence());
    }
    assert_eq!(all(&mut log, None), live);
}

/// A fixed sequence of operations; what it left on the storage.
///
/// # Panics
/// Where the log refuses.
pub fn fixed_bytes<S: Storage>(storage: S, room: &mut Room) -> BTreeMap<SegmentId, Vec<u8>> {
    let mut log = create(storage, room);
    for session in 0..3u8 {
        for n in 0..60 {
            ok(log.append(u64::from(n % 3), &vec![n; usize::from(n) * 2]));
            if n % 7 == 0 {
                ok(log.sync());
            }
        }
        ok(log.delete_up_to(u64::from(session), log.last_sequence() - 30));
        ok(log.reclaim());
        ok(log.close());
        log = open(log.into_storage(), room);
    }
    bytes_of(log.storage_mut())
}
