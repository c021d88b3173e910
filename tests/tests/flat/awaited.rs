//! The driver that is awaited: the promises and the bytes of the blocking one, and futures dropped wherever one can be.
//! `crashsim flash` goes on from here.

use std::ops::ControlFlow;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use walstone_core::asynch::flat::{self as awaited, Blocking, NorDevice};
use walstone_core::asynch::{self, Log};
use walstone_core::flat::{FlatCapacity, FlatError, NorError};
use walstone_core::{Capacity, Error, Found, Geometry, Mark, Options, PoisonCause, SegmentId, Storage, Workspace};
use walstone_tests::conformance::{check_full_with, check_storage_with, check_survival_with};
use walstone_tests::crash::explore::{Explorer, telling_limits};
use walstone_tests::crash::history::{Op, PRELUDES, Words};
use walstone_tests::crash::machine::Machine;
use walstone_tests::crash::rows::Row;
use walstone_tests::crash::run::Life;
use walstone_tests::flash::{
    AwaitedChip, AwaitedNor, Awaiting, Chip, ChipError, Dropped, NorChip, block_on, drops, setups,
};

use crate::{devices, header_for};

/// A storage that is awaited, where a blocking one is checked.
struct Waited<S>(S);

impl<S: asynch::Storage> Storage for Waited<S> {
    type Error = S::Error;

    fn geometry(&self) -> Geometry {
        self.0.geometry()
    }

    fn segments(&mut self, visit: &mut dyn FnMut(Found) -> ControlFlow<()>) -> Result<(), S::Error> {
        block_on(self.0.segments(visit))
    }

    fn create(&mut self, id: SegmentId, header: &[u8]) -> Result<(), S::Error> {
        block_on(self.0.create(id, header))
    }

    fn claim(&mut self, id: SegmentId, end: u32) -> Result<(), S::Error> {
        block_on(self.0.claim(id, end))
    }

    fn extent(&mut self, id: SegmentId) -> Result<u32, S::Error> {
        block_on(self.0.extent(id))
    }

    fn read<'a>(&'a mut self, id: SegmentId, offset: u32, len: u32, buf: &'a mut [u8]) -> Result<&'a [u8], S::Error> {
        block_on(self.0.read(id, offset, len, buf))
    }

    fn write(&mut self, id: SegmentId, offset: u32, parts: &[&[u8]]) -> Result<(), S::Error> {
        block_on(self.0.write(id, offset, parts))
    }

    fn hand_over(&mut self, to: Mark) -> Result<(), S::Error> {
        block_on(self.0.hand_over(to))
    }

    fn sync(&mut self, to: Mark) -> Result<(), S::Error> {
        block_on(self.0.sync(to))
    }

    fn settle(&mut self, id: SegmentId, from: u32, to: u32) -> Result<(), S::Error> {
        block_on(self.0.settle(id, from, to))
    }

    fn remove(&mut self, id: SegmentId) -> Result<(), S::Error> {
        block_on(self.0.remove(id))
    }

    fn release(&mut self, slot: u32) -> Result<(), S::Error> {
        block_on(self.0.release(slot))
    }
}

type Storing<D> = awaited::FlatStorage<'static, D>;

fn open<D: awaited::Device>(device: D, slot_len: u32) -> Storing<D> {
    let unit = usize::from(device.geometry().write_unit());
    let slots = device.geometry().len() / slot_len;
    let opened = awaited::FlatStorage::open(device, slot_len, FlatCapacity::heap(slots as usize, unit));
    match block_on(opened) {
        Ok(storage) => storage,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn every_device_keeps_the_promises_of_a_storage() {
    for (name, geometry, slot_len) in devices(5) {
        println!("{name}");
        let make = || Waited(open(Blocking(Chip::new(geometry)), slot_len));
        let header = header_for(&make());
        check_storage_with(make, &header);
        check_full_with(make, &header);
        let reopen = |storage: Waited<Storing<_>>| Waited(open(storage.0.into_device(), slot_len));
        check_survival_with(make, reopen, reopen, &header);
    }
}

/// The same operations leave the same bytes, whichever driver performs them.
#[test]
fn both_drivers_write_the_same_bytes() {
    for setup in setups() {
        let words = Words::new(&Op::NAMED, 2).some(40, 1);
        for (nth, word) in words.enumerate() {
            let prelude = PRELUDES[nth % PRELUDES.len()];
            let awaiting = Awaiting(setup);
            let mut blocking = Life::create(&setup).expect("made");
            let mut awaited = Life::create(&awaiting).expect("made");
            for &op in prelude.iter().chain(&word) {
                assert_eq!(
                    blocking.perform(op),
                    awaited.perform(op),
                    "{} {prelude:?} {word:?}",
                    setup.name
                );
                assert!(
                    *blocking.process().bytes() == *awaited.process().chip.bytes(),
                    "{} differs behind {op:?} of {prelude:?} {word:?}",
                    setup.name
                );
            }
        }
    }
}

#[test]
fn a_crash_is_survived_awaiting_too() {
    let mut explorer = Explorer::new(telling_limits(1), 0);
    for (setup, prelude) in setups().into_iter().zip(PRELUDES.iter().cycle()) {
        let explored = explorer.creation(&Awaiting(setup)).and_then(|()| {
            let mut words = Words::new(&Op::ALL, 1).all();
            words.try_for_each(|word| explorer.word(&Awaiting(setup), prelude, &word))
        });
        if let Err(failure) = explored {
            panic!("{failure}");
        }
    }
    assert!(explorer.pairs() > 5000, "{} pairs", explorer.pairs());
}

#[test]
fn futures_are_dropped_at_every_call() {
    let mut explorer = Explorer::new(telling_limits(1), 0);
    for (setup, prelude) in setups().into_iter().zip(PRELUDES.iter().cycle()) {
        let awaiting = Awaiting(setup);
        let dropped = drops(&mut explorer, &awaiting, &[], &[], false).and_then(|()| {
            let mut words = Words::new(&Op::ALL, 1).all();
            words.try_for_each(|word| drops(&mut explorer, &awaiting, prelude, &word, false))
        });
        if let Err(failure) = dropped {
            panic!("{failure}");
        }
    }
    let count = explorer.hits().of(Row::Dropped);
    assert!(count > 5000, "{count} futures");
}

#[test]
fn futures_of_recoveries_are_dropped_again() {
    let mut explorer = Explorer::new(telling_limits(1), 0);
    for setup in setups().into_iter().step_by(4) {
        for op in [Op::Small, Op::Largest, Op::BatchWithVoids] {
            if let Err(failure) = drops(&mut explorer, &Awaiting(setup), PRELUDES[2], &[op], true) {
                panic!("{failure}");
            }
        }
    }
    let count = explorer.hits().of(Row::Dropped);
    assert!(count > 5000, "{count} futures");
}

type Flash<'f> = NorDevice<&'f mut AwaitedNor<4, 8, 4096>>;
type Opened<'f> = Result<Log<'static, Storing<Flash<'f>>>, Error<FlatError<NorError<ChipError>>>>;

/// A log on flash that is lent, so that a dropped open gives it back.
async fn open_log(flash: &mut AwaitedNor<4, 8, 4096>, seed: u64) -> Opened<'_> {
    let storage = awaited::FlatStorage::open(NorDevice::new(flash), 4096, FlatCapacity::heap(8, 64)).await;
    let storage = storage.unwrap_or_else(|error| panic!("{error}"));
    Log::open_or_create(storage, Capacity::heap(1024), Options::new(1, seed)).await
}

/// Polls so often and then drops the future; whether it was done by then.
fn polled<T>(times: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    (0..times).find_map(|_| match future.as_mut().poll(&mut context) {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    })
}

/// As an application meets it: deadlines that come too soon, over a driver of `embedded-storage-async`.
#[test]
fn deadlines_over_a_driver_of_nor_flash() {
    let mut flash = AwaitedNor(NorChip::new(8));
    for times in 0..20 {
        assert!(
            polled(times, open_log(&mut flash, 1)).is_none(),
            "{times} polls are too few"
        );
    }
    let mut log = block_on(open_log(&mut flash, 2)).expect("opens");
    let mut answered = Vec::new();
    for number in 0..400u32 {
        let value = number.to_le_bytes();
        let tried = polled(1 + number as usize % 5, log.append(1, &value));
        let appended = tried.unwrap_or_else(|| block_on(log.append(1, &value)));
        answered.push((appended.expect("appends").last, number));
        if number % 50 == 49 {
            let deleted = block_on(log.delete_up_to(1, answered[answered.len() / 2].0));
            answered.drain(..=answered.len() / 2);
            deleted.expect("deletes");
        }
    }
    let closed = polled(1, log.close()).unwrap_or_else(|| block_on(log.close()));
    closed.expect("closes");
    drop(log);
    let mut log = block_on(open_log(&mut flash, 3)).expect("opens again");
    let mut found = Vec::new();
    let mut reads = log.read(Some(1), ..);
    while let Some(record) = block_on(reads.next()) {
        let record = record.expect("reads");
        found.push((record.sequence, u32::from_le_bytes(record.value.try_into().unwrap())));
    }
    // What was dropped may have come to stay in front of the one that was answered.
    found.retain(|record| answered.contains(record));
    assert_eq!(found, answered);
}

/// A future that opens in place leaves what it was lent there when it is dropped: the log is the same behind every such open.
#[test]
fn an_open_in_place_is_dropped_at_every_call() {
    let mut flash = AwaitedNor(NorChip::new(8));
    let mut log = block_on(open_log(&mut flash, 1)).expect("opens");
    let first = block_on(log.append(1, b"kept")).expect("appends").first;
    drop(log);
    let mut room = Workspace::<8, 4, 4, 1024>::new();
    let storage = awaited::FlatStorage::open(NorDevice::new(&mut flash), 4096, FlatCapacity::heap(8, 64));
    let mut storage = block_on(storage).expect("opens");
    for times in 1.. {
        let mut place = asynch::Unopened::new(storage, room.lend(), Options::new(1, times));
        let opened = polled(times as usize, place.open()).map(|opened| opened.map(drop));
        let Some(opened) = opened else {
            assert_eq!(block_on(place.open()).map(drop), Err(Error::Closed));
            storage = place.into_storage();
            continue;
        };
        assert_eq!(opened, Ok(()));
        assert!(times > 10, "{times} polls");
        storage = place.into_storage();
        break;
    }
    let mut place = asynch::Unopened::new(storage, room.lend(), Options::new(1, 1));
    let log = block_on(place.open()).expect("opens");
    let mut reads = log.read(None, ..);
    let record = block_on(reads.next()).expect("a record").expect("reads");
    assert_eq!((record.sequence, record.value), (first, &b"kept"[..]));
}

/// Reading, recovering and examining take turns with one walk. A future that is dropped in one of them leaves it wherever it
/// stood, and bytes of one read half in the place of others: whatever comes next finds the records that there are.
#[test]
fn a_walk_that_was_left_half_way_is_begun_anew() {
    let mut flash = AwaitedNor(NorChip::new(8));
    let mut log = block_on(open_log(&mut flash, 2)).expect("opens");
    let (mut expect, mut drops) = (Vec::new(), 0);
    for number in 0..60u32 {
        let value = [number as u8; 200];
        let table = u64::from(number % 2);
        let appended = block_on(log.append(table, &value)).expect("appends");
        expect.push((table, appended.last, value.to_vec()));
        if number % 20 == 19 {
            // Both ends of the range are dead in the first segments, so that they are walked and not told by their footers.
            let upto = appended.last - 10;
            block_on(log.delete_up_to(0, upto)).expect("deletes");
            expect.retain(|record| record.0 == 1 || record.1 > upto);
        }
        if number % 3 > 0 {
            continue;
        }
        let mut times = 1;
        while polled(times, log.reclaim()).is_none() {
            (times, drops) = (times + 1 + number as usize % 4, drops + 1);
            let mut reads = log.read(None, ..);
            // Left half way, now and then behind a record.
            for _ in 0..times % 3 {
                let _ = polled(times * 2, reads.next());
            }
        }
        for narrow in [None, Some(1)] {
            let (mut reads, mut found, mut times) = (log.read(narrow, ..), Vec::new(), 1);
            loop {
                match polled(times, reads.next()) {
                    Some(Some(record)) => {
                        let record = record.expect("reads");
                        found.push((record.table, record.sequence, record.value.to_vec()));
                        times = 1;
                    }
                    Some(None) => break,
                    None => (times, drops) = (times + 1, drops + 1),
                }
            }
            let wanted = expect
                .iter()
                .filter(|record| narrow.is_none_or(|table| table == record.0));
            assert!(found.iter().eq(wanted), "{number}, {narrow:?}: {found:?}");
        }
    }
    assert!(drops > 500, "{drops} futures");
}

/// A recovery behind a dropped future that cannot settle is not tried again: a second sync may say yes about bytes that are
/// gone. Reading went on behind a failed sync of any other kind, and was refused behind this one.
#[test]
fn a_failed_settle_behind_a_dropped_future_poisons() {
    let setup = setups()[0];
    let chip = AwaitedChip::new(Chip::new(setup.device));
    let storage = open(chip.clone(), setup.slot_len);
    let opened = Log::open_or_create(storage, Capacity::heap(setup.slot_len as usize), Options::new(1, 1));
    let mut log = block_on(opened).expect("opens");
    block_on(log.append(1, b"written")).expect("appends");
    assert!(polled(1, log.append(1, b"dropped")).is_none());
    chip.chip.fail_after(Some(0));
    assert!(matches!(block_on(log.sync()), Err(Error::Storage(_))));
    chip.chip.fail_after(None);
    let poisoned = Error::Poisoned(PoisonCause::Settle);
    assert_eq!(block_on(log.sync()), Err(poisoned));
    assert_eq!(block_on(log.append(1, b"more")), Err(poisoned));
    let mut reads = log.read(None, ..);
    assert_eq!(block_on(reads.next()).unwrap().unwrap().value, b"written");
    assert_eq!(block_on(reads.next()), None);
    assert_eq!(log.last_sequence(), 1);
    assert_eq!(block_on(log.close()), Err(poisoned));
}

/// A dropped close did not close: asked again, it makes durable what it promises.
#[test]
fn a_dropped_close_is_asked_for_again() {
    for setup in setups() {
        let storage = open(AwaitedChip::new(Chip::new(setup.device)), setup.slot_len);
        let opened = Log::open_or_create(storage, Capacity::heap(setup.slot_len as usize), Options::new(1, 1));
        let mut log = block_on(opened).expect("opens");
        block_on(log.append(1, b"value")).expect("appends");
        assert!(polled(1, log.close()).is_none(), "{}", setup.name);
        block_on(log.close()).expect("closes");
        assert_eq!(log.durable_mark(), log.written_mark(), "{}", setup.name);
        assert!(
            matches!(block_on(log.append(1, b"late")), Err(Error::Closed)),
            "{}",
            setup.name
        );
    }
}

/// A segment was half made when the future was dropped, and its slot could not be erased any more. Its id was given to the
/// next segment, and the device held two of one id, which no open takes.
#[test]
fn the_id_of_a_dropped_create_is_not_given_again() {
    for setup in setups().into_iter().filter(|setup| setup.device.erase_unit().is_some()) {
        let capacity = || Capacity::heap(setup.slot_len as usize);
        let mut dropped = 0;
        for nth in 1.. {
            let chip = AwaitedChip::new(setup.blank());
            // All slots are erased in this session, so that some are left to go on in.
            let slots = FlatCapacity::heap(8, 64);
            let storage = block_on(awaited::FlatStorage::format(chip.clone(), setup.slot_len, slots));
            let opened = Log::open_or_create(storage.unwrap(), capacity(), Options::new(1, 1));
            let mut log = block_on(opened).expect("opens");
            chip.drop_at(nth, Dropped::All);
            for _ in 0..3 {
                // A dropped one may have happened.
                let _ = chip.run(log.append(1, &[7; 100]), Error::Closed);
                if !chip.is_to_drop() {
                    break;
                }
            }
            if chip.is_to_drop() {
                break;
            }
            dropped += 1;
            chip.chip.wear_out(0..setup.device.len());
            block_on(log.append(1, &[8; 100])).expect("appends");
            block_on(log.sync()).expect("syncs");
            let last = log.last_sequence();
            drop(log);
            let opened = Log::open(open(chip, setup.slot_len), capacity(), Options::new(1, 2));
            let log = block_on(opened).unwrap_or_else(|error| panic!("{}, call {nth}: {error}", setup.name));
            assert_eq!(log.last_sequence(), last, "{}, call {nth}", setup.name);
        }
        assert!(dropped > 5, "{}: {dropped} calls", setup.name);
    }
}

/// The recovery behind a dropped future was dropped too, and until the next one the log said that no sequence was given.
#[test]
fn the_last_sequence_outlives_a_dropped_recovery() {
    for setup in setups() {
        let storage = open(AwaitedChip::new(setup.blank()), setup.slot_len);
        let opened = Log::open_or_create(storage, Capacity::heap(setup.slot_len as usize), Options::new(1, 1));
        let mut log = block_on(opened).expect("opens");
        for _ in 0..5 {
            block_on(log.append(1, b"value")).expect("appends");
        }
        for times in 1..10 {
            assert!(polled(times, log.append(1, b"dropped")).is_none());
            assert_eq!(log.last_sequence(), 5, "{}, {times} polls", setup.name);
        }
    }
}
