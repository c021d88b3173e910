//! Logs on a chip whose driver is awaited, and every way to drop a future of theirs: the same log goes on, or the power
//! fails right behind it.

use std::ops::ControlFlow;

use walstone_core::asynch::{Log, Storage, flat::FlatStorage};
use walstone_core::flat::{FlatCapacity, FlatError, OpenError};
use walstone_core::{Appended, Batch, Capacity, Error, Mark, PoisonCause, Position, Report, SegmentId};

use super::{AwaitedChip, Chip, ChipError, Dropped, FlashSetup};
use crate::crash::explore::{Explorer, Failure, guarded};
use crate::crash::history::Op;
use crate::crash::log::{Driven, Subjected, Wanted, options};
use crate::crash::machine::{Denied, How, Machine, Plan, Subject, Visit};
use crate::crash::model::{Change, Record, Value};
use crate::crash::rows::Row;
use crate::crash::run::{Life, Stop};
use crate::medium::Limits;

/// What a dropped future answers.
const DROPPED: Error<FlatError<ChipError>> = Error::Storage(FlatError::Device(ChipError::Dropped));

type Storing = FlatStorage<'static, AwaitedChip>;
type Answer<T> = Result<T, Error<FlatError<ChipError>>>;

/// A log, and the chip that all its futures wait for.
#[derive(Debug)]
pub struct AwaitedLog {
    chip: AwaitedChip,
    log: Log<'static, Storing>,
    ended: Option<PoisonCause>,
}

impl AwaitedLog {
    fn run<'l, T, F: Future<Output = Answer<T>>>(
        &'l mut self,
        begin: impl FnOnce(&'l mut Log<'static, Storing>) -> F,
    ) -> Answer<T> {
        if let Some(cause) = self.ended {
            return Err(Error::Poisoned(cause));
        }
        self.chip.run(begin(&mut self.log), DROPPED)
    }
}

impl Driven for AwaitedLog {
    type Error = FlatError<ChipError>;

    fn append(&mut self, table: u64, value: &[u8]) -> Answer<Appended> {
        self.run(|log| log.append(table, value))
    }

    fn append_batch(&mut self, batch: &Batch<'_>) -> Answer<Appended> {
        self.run(|log| log.append_batch(batch))
    }

    fn delete_up_to(&mut self, table: u64, sequence: u64) -> Answer<Appended> {
        self.run(|log| log.delete_up_to(table, sequence))
    }

    fn truncate_from(&mut self, table: u64, sequence: u64) -> Answer<Appended> {
        self.run(|log| log.truncate_from(table, sequence))
    }

    fn sync(&mut self) -> Answer<()> {
        self.run(Log::sync)
    }

    fn hand_over(&mut self) -> Answer<()> {
        self.run(Log::hand_over)
    }

    fn reclaim(&mut self) -> Answer<()> {
        self.run(Log::reclaim)
    }

    fn close(&mut self) -> Answer<()> {
        self.run(Log::close)
    }

    fn poison(&mut self, cause: PoisonCause) {
        self.ended = Some(cause);
    }

    fn poisoned(&self) -> Option<PoisonCause> {
        self.ended.or(self.log.poisoned())
    }

    fn read(&mut self, (table, range): Wanted, take: &mut dyn FnMut(Record) -> bool) -> Answer<bool> {
        let mut reads = self.log.read(table, range);
        loop {
            let next = async { reads.next().await.transpose().map(|record| record.map(Record::from)) };
            match self.chip.run(next, DROPPED) {
                Ok(None) => return Ok(true),
                Ok(Some(record)) if take(record) => {}
                Ok(Some(_)) => return Ok(false),
                // The next future gives what this one did not.
                Err(DROPPED) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn read_at(&mut self, position: Position) -> Answer<Record> {
        loop {
            let read = async { self.log.read_at(position).await.map(Record::from) };
            match self.chip.run(read, DROPPED) {
                Err(DROPPED) => {}
                answer => return answer,
            }
        }
    }

    fn read_segment(&mut self, segment: SegmentId, buf: &mut [u8]) -> Option<usize> {
        let storage = self.log.storage_mut();
        let read = async { storage.read(segment, 0, buf.len() as u32, buf).await.map(<[u8]>::len) };
        self.chip.run(read, FlatError::Device(ChipError::Dropped)).ok()
    }

    fn oldest_sequence(&self) -> u64 {
        self.log.oldest_sequence()
    }

    fn last_sequence(&self) -> u64 {
        self.log.last_sequence()
    }

    fn durable_sequence(&self) -> u64 {
        self.log.durable_sequence()
    }

    fn durable_mark(&self) -> Mark {
        self.log.durable_mark()
    }

    fn written_mark(&self) -> Mark {
        self.log.written_mark()
    }

    fn report(&self) -> Report {
        self.log.report()
    }
}

/// The same device, awaited.
#[derive(Clone, Copy, Debug)]
pub struct Awaiting(pub FlashSetup);

impl Awaiting {
    async fn open(&self, chip: AwaitedChip, how: How, nth: u64) -> Answer<AwaitedLog> {
        chip.chip.begin_session();
        let capacity = FlatCapacity::heap(self.0.geometry().slot_count() as usize, 64);
        let opened = FlatStorage::open(chip.clone(), self.0.slot_len, capacity).await;
        let storage = opened.map_err(|error| match error {
            OpenError::Device(error) => Error::Storage(FlatError::Device(error)),
            error => panic!("{error}"),
        })?;
        let (capacity, options) = (Capacity::heap(self.0.slot_len as usize), options(nth));
        let log = match how {
            How::Create => Log::open_or_create(storage, capacity, options).await,
            How::Write => Log::open(storage, capacity, options).await,
            How::Read => Log::open_read_only(storage, capacity, options).await,
        }?;
        Ok(AwaitedLog { chip, log, ended: None })
    }
}

impl Machine for Awaiting {
    type Image = Chip;
    type Process = AwaitedChip;
    type Log = Subjected<AwaitedLog>;

    fn name(&self) -> &'static str {
        self.0.name
    }

    fn two_units_len(&self) -> u32 {
        self.0.two_units_len()
    }

    fn largest_len(&self) -> u32 {
        self.0.largest_len()
    }

    fn blank(&self) -> Chip {
        self.0.blank()
    }

    fn digest(&self, image: &Chip) -> u64 {
        self.0.digest(image)
    }

    fn is_settled(&self, image: &Chip) -> bool {
        self.0.is_settled(image)
    }

    fn boot(&self, image: Chip, record: bool) -> AwaitedChip {
        AwaitedChip::new(self.0.boot(image, record))
    }

    fn record(&self, process: &mut AwaitedChip) {
        self.0.record(&mut process.chip);
    }

    fn open(&self, process: &mut AwaitedChip, how: How, nth: u64) -> Result<Self::Log, Denied> {
        Subjected::new(process.run(self.open(process.clone(), how, nth), DROPPED))
    }

    fn plan(&self, process: &mut AwaitedChip, plan: Plan) {
        self.0.plan(&mut process.chip, plan);
    }

    fn repeats(&self, process: &AwaitedChip) -> u64 {
        self.0.repeats(&process.chip)
    }

    fn has_crashed(&self, process: &AwaitedChip) -> bool {
        self.0.has_crashed(&process.chip)
    }

    fn moments(&self, process: &AwaitedChip) -> usize {
        self.0.moments(&process.chip)
    }

    fn power_loss(
        &self,
        process: &AwaitedChip,
        moment: Option<usize>,
        limits: &Limits,
        visit: &mut Visit<'_, Chip>,
    ) -> ControlFlow<()> {
        self.0.power_loss(&process.chip, moment, limits, visit)
    }

    fn process_death(
        &self,
        process: &AwaitedChip,
        moment: Option<usize>,
        visit: &mut Visit<'_, Chip>,
    ) -> ControlFlow<()> {
        self.0.process_death(&process.chip, moment, visit)
    }
}

/// How a log goes on behind a dropped future.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Read,
    Append,
    Reclaim,
    /// It syncs, whose future is dropped at its `nth` call, and then reads.
    DropAgain(u64),
}

/// Performs `word` behind `prelude`, and drops the future of its last operation at each call in turn. The making of the
/// region is such an operation: that of no word at all. `twice`: the recovery behind it is dropped too, at each call.
///
/// # Errors
/// [`Failure`].
pub fn drops(
    explorer: &mut Explorer,
    machine: &Awaiting,
    prelude: &[Op],
    word: &[Op],
    twice: bool,
) -> Result<(), Failure> {
    let ops = [prelude, word].concat();
    // Another process has other futures.
    if ops.last() == Some(&Op::PowerLoss) {
        return Ok(());
    }
    for left in Dropped::EACH {
        let mut nth = 1;
        while !explorer.is_over() && dropped(explorer, machine, &ops, (nth, left), Then::Read)?.is_some() {
            for then in [Then::Append, Then::Reclaim] {
                dropped(explorer, machine, &ops, (nth, left), then)?;
            }
            let mut again = 1;
            while twice && dropped(explorer, machine, &ops, (nth, left), Then::DropAgain(again))? == Some(true) {
                again += 1;
            }
            nth += 1;
        }
    }
    Ok(())
}

/// Drops one future; `None` where the operation was done before, else whether there was a second one to drop.
fn dropped(
    explorer: &mut Explorer,
    machine: &Awaiting,
    ops: &[Op],
    (nth, left): (u64, Dropped),
    then: Then,
) -> Result<Option<bool>, Failure> {
    let mut outcome = None;
    let explored = guarded(|| {
        let Some(mut life) = before_last(machine, ops)? else {
            return Ok(());
        };
        life.process().drop_at(nth, left);
        let ended = match ops.last() {
            Some(&last) => life.perform(last),
            None => life.create_log(),
        };
        let waiting = life.process().is_to_drop();
        match ended {
            Err(Stop::Crashed) => {}
            Err(Stop::Poisoned) => return Ok(()),
            Err(stop) => return Err(stop.into()),
            Ok(()) if waiting => return Ok(()),
            // That of a read, which was tried again.
            Ok(()) => {
                outcome = Some(false);
                explorer.hit(Row::Dropped);
                return Ok(());
            }
        }
        outcome = Some(false);
        explorer.hit(Row::Dropped);
        // A making that ended in the middle is looked at in `Explorer::creation`.
        if then == Then::Read && !ops.is_empty() {
            explorer.end(machine, &life, 0)?;
        }
        let put = [Change::Put(
            2,
            Value {
                number: u32::MAX,
                len: 12,
            },
        )];
        let resumed = match then {
            Then::Append => life.resume(&put, |log| log.append(&put).map(drop)),
            Then::Reclaim => life.resume(&[], Subject::reclaim),
            Then::Read => life.resume(&[], |_| Ok(())),
            Then::DropAgain(again) => {
                life.process().drop_at(again, left);
                let first = life.resume(&[], Subject::sync);
                if life.process().is_to_drop() {
                    return Ok(());
                }
                outcome = Some(true);
                explorer.hit(Row::Dropped);
                match first {
                    Err(Stop::Crashed) => life.resume(&[], |_| Ok(())),
                    first => first,
                }
            }
        };
        resumed?;
        life.compare()?;
        life.probe()?;
        explorer.end(machine, &life, 0)
    });
    explored.map_err(|failure| {
        let trail = format!("{ops:?}, future dropped at call {nth}, leaving {left:?}, then {then:?}");
        failure.behind(trail).behind(format!("on {}, awaited", machine.name()))
    })?;
    Ok(outcome)
}

/// A life in which all but the last operation were performed; `None` where it has no log for it.
fn before_last<'m>(machine: &'m Awaiting, ops: &[Op]) -> Result<Option<Life<'m, Awaiting>>, Failure> {
    let Some((&last, before)) = ops.split_last() else {
        return Ok(Some(Life::unmade(machine)));
    };
    let mut life = Life::create(machine)?;
    for &op in before {
        if !life.can_perform(op) {
            return Ok(None);
        }
        match life.perform(op) {
            Ok(()) | Err(Stop::Poisoned) => {}
            Err(stop) => return Err(stop.into()),
        }
    }
    Ok(life.can_perform(last).then_some(life))
}
