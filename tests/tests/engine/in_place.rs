//! A log that is opened where it stands is the log that is moved there, and a failed attempt costs nothing but itself.

use walstone_core::ram::RamStorage;
use walstone_core::{Capacity, Error, Geometry, Log, Options, Report, Unopened, Workspace};

type Room = Workspace<8, 4, 4, 1024>;
type RamError = <RamStorage as walstone_core::Storage>::Error;

#[derive(Clone, Copy, Debug)]
enum Way {
    Open,
    ReadOnly,
    Create,
    OpenOrCreate,
}

const WAYS: [Way; 4] = [Way::Open, Way::ReadOnly, Way::Create, Way::OpenOrCreate];

fn options() -> Options {
    Options::new(7, 42)
}

fn moved(way: Way, storage: RamStorage, room: Capacity<'_>) -> Result<Log<'_, RamStorage>, Error<RamError>> {
    match way {
        Way::Open => Log::open(storage, room, options()),
        Way::ReadOnly => Log::open_read_only(storage, room, options()),
        Way::Create => Log::create(storage, room, options()),
        Way::OpenOrCreate => Log::open_or_create(storage, room, options()),
    }
}

fn in_place<'u, 'w>(
    way: Way,
    place: &'u mut Unopened<'w, RamStorage>,
) -> Result<&'u mut Log<'w, RamStorage>, Error<RamError>> {
    match way {
        Way::Open => place.open(),
        Way::ReadOnly => place.open_read_only(),
        Way::Create => place.create(),
        Way::OpenOrCreate => place.open_or_create(),
    }
}

/// What a user sees of an open log: report, whether it takes an append, and every value.
fn seen(log: &mut Log<'_, RamStorage>) -> (Report, Option<u64>, Vec<Vec<u8>>) {
    let report = log.report();
    let appended = log.append(1, b"more").ok().map(|at| at.first);
    let (mut values, mut reads) = (Vec::new(), log.read(None, ..));
    while let Some(record) = reads.next() {
        values.push(record.unwrap().value.to_vec());
    }
    (report, appended, values)
}

fn storage(records: Option<u32>) -> RamStorage {
    let storage = RamStorage::new(Geometry::new(2048).unwrap());
    let Some(records) = records else { return storage };
    let mut log = Log::create(storage, Capacity::heap(0), options()).unwrap();
    for number in 0..records {
        log.append(1, &number.to_le_bytes()).unwrap();
    }
    log.sync().unwrap();
    log.into_storage()
}

#[test]
fn every_way_to_open_does_the_same_in_place() {
    for records in [None, Some(0), Some(5), Some(200)] {
        for way in WAYS {
            let (mut here, mut there) = (Room::new(), Room::new());
            let mut place = Unopened::new(storage(records), here.lend(), options());
            let opened = in_place(way, &mut place).map(seen);
            let expect = moved(way, storage(records), there.lend()).map(|mut log| seen(&mut log));
            assert_eq!(opened, expect, "{way:?} with {records:?} records");
        }
    }
}

/// Storage and room serve for the next attempt, whatever the first one met, and it changed nothing.
#[test]
fn what_a_failed_attempt_was_given_serves_for_another() {
    type Small = Workspace<2, 4, 4, 1024>;
    let (mut room, mut small) = (Room::new(), Small::new());
    let check = |place: &mut Unopened<'_, RamStorage>, way, expect: Error<RamError>| {
        assert_eq!(in_place(way, place).map(|_| ()).unwrap_err(), expect, "{way:?}");
        for way in WAYS {
            let again = in_place(way, place).map(|_| ());
            assert_eq!(again, Err(Error::Closed), "{way:?} behind {expect}");
        }
    };
    let mut place = Unopened::new(storage(None), room.lend(), options());
    check(&mut place, Way::Open, Error::NoRegion);
    let mut place = Unopened::new(place.into_storage(), small.lend(), options());
    check(&mut place, Way::Create, Error::TooManySegments { needed: 3 });
    let mut place = Unopened::new(place.into_storage(), room.lend(), options());
    place.create().unwrap().append(1, b"kept").unwrap();
    let mut place = Unopened::new(place.into_storage(), room.lend(), options());
    check(&mut place, Way::Create, Error::RegionExists);
    let mut place = Unopened::new(place.into_storage(), room.lend(), options());
    let log = place.open().unwrap();
    assert_eq!(log.read(Some(1), ..).next().unwrap().unwrap().value, b"kept");
    // Open it is, and not to be opened over again.
    assert_eq!(place.open().map(|_| ()), Err(Error::Closed));
}
