//! The data logger: samples and events on a flash chip that loses its power at any moment. Each life knows nothing but
//! what the chip holds.
//!
//! A notebook beside it, which no power cut harms, says what the logger was promised. Every life begins by comparing.

use walstone_core::flat::{FlatError, FlatRoom, FlatStorage, NorDevice, NorError, OpenError};
use walstone_core::{Batch, Error, Log, Options, Report, Workspace};

use crate::chip::{Chip, ChipError, Noise, SECTOR_LEN};

/// One reading of the sensor each.
const SAMPLES: u64 = 1;
/// Rarer, and kept for longer.
const EVENTS: u64 = 2;

/// Which table a sequence goes to, so that the notebook need not hold it.
const fn table_of(sequence: u64) -> u64 {
    if sequence.is_multiple_of(10) { EVENTS } else { SAMPLES }
}

const MAX_VALUE_LEN: usize = 40;

/// What the sensor says at this point of the log.
fn reading(sequence: u64) -> ([u8; MAX_VALUE_LEN], usize) {
    let mut noise = Noise::new(sequence as u32);
    let len = 4 + noise.bits() as usize % (MAX_VALUE_LEN - 3);
    let mut value = [0; MAX_VALUE_LEN];
    value.fill_with(|| noise.bits() as u8);
    (value, len)
}

/// What was promised, and what was tried.
#[derive(Debug, Default)]
pub struct Notebook {
    /// The last sequence that a sync covered.
    durable: u64,
    /// The last sequence that an append was tried for.
    tried: u64,
    /// Samples and events up to here: their deletion is durable.
    deleted: [u64; 2],
    /// Samples and events up to here: their deletion was tried.
    deleting: [u64; 2],
}

const fn place_of(table: u64) -> usize {
    if table == SAMPLES { 0 } else { 1 }
}

/// What does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Fault {
    /// The region does not open, or an operation fails although there is power.
    Refused(Refused),
    /// A record that was durable and not deleted is gone, or one in front of a later one.
    Missing {
        /// Its sequence.
        sequence: u64,
    },
    /// A record that nobody appended like this, or that was deleted.
    Foreign {
        /// Its sequence.
        sequence: u64,
    },
    /// Sequences went back.
    Backwards {
        /// The last one that the log knows.
        sequence: u64,
    },
}

/// An error of the log while there is power.
pub type Refused = Error<FlatError<NorError<ChipError>>>;

/// What one life was.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Life {
    /// What the open found; `None` where the power failed before it was done.
    pub report: Option<Report>,
    /// Appends that were acknowledged.
    pub appended: u32,
    /// Whether the power failed; else the log was closed.
    pub lost_power: bool,
}

type Room = Workspace<16, 8, 4, 768>;
type Slots = FlatRoom<16, 64>;
type Engine<'w, 'r, 'c> = Log<'w, FlatStorage<'r, NorDevice<&'c mut Chip>>>;

/// One life of the logger, from power-up until the power fails or the log is closed.
///
/// # Errors
/// [`Fault`]: a promise was broken.
pub fn live(chip: &mut Chip, notebook: &mut Notebook, noise: &mut Noise) -> Result<Life, Fault> {
    let mut life = Life {
        report: None,
        appended: 0,
        lost_power: true,
    };
    let (mut room, mut slots) = (Room::new(), Slots::new());
    // A sector is erased whole, so it is a slot.
    let device = NorDevice::new(&mut *chip);
    let storage = match FlatStorage::open(device, SECTOR_LEN as u32, slots.lend()) {
        Ok(storage) => storage,
        Err(OpenError::Device(NorError {
            error: ChipError::PowerLost,
            ..
        })) => return Ok(life),
        Err(_) => return Err(Fault::Refused(Error::NoRegion)),
    };
    // Chips have a serial number and some a source of entropy; here both are at hand.
    let options = Options::new(1, u64::from(noise.bits()) << 32 | u64::from(noise.bits()));
    let worked = Log::open_or_create(storage, room.lend(), options)
        .map_err(Stop::from)
        .and_then(|mut log| {
            life.report = Some(log.report());
            compare(&mut log, notebook)?;
            work(&mut log, notebook, noise, &mut life.appended)
        });
    match worked {
        Ok(()) => life.lost_power = false,
        Err(Stop::PowerLost) => {}
        // A sector that cannot be erased is met again at the next open; until then there is no room.
        Err(Stop::Fault(Fault::Refused(Error::Full))) if !chip.has_power() => {}
        Err(Stop::Fault(fault)) => return Err(fault),
    }
    Ok(life)
}

/// Why a life ends early.
enum Stop {
    PowerLost,
    Fault(Fault),
}

impl From<Refused> for Stop {
    fn from(error: Refused) -> Self {
        match error {
            Error::Storage(FlatError::Device(NorError {
                error: ChipError::PowerLost,
                ..
            })) => Self::PowerLost,
            error => Self::Fault(Fault::Refused(error)),
        }
    }
}

/// Compares what the log holds with what was promised.
fn compare(log: &mut Engine<'_, '_, '_>, notebook: &Notebook) -> Result<(), Stop> {
    let last = log.last_sequence();
    if last < notebook.durable || last > notebook.tried {
        return Err(Stop::Fault(Fault::Backwards { sequence: last }));
    }
    let [samples, events] = notebook.deleting;
    let mut next = samples.min(events) + 1;
    let may_be_gone = |sequence| sequence <= notebook.deleting[place_of(table_of(sequence))];
    let mut records = log.read(None, ..);
    while let Some(record) = records.next() {
        let record = record?;
        let sequence = record.sequence;
        let (value, len) = reading(sequence);
        let deleted = sequence <= notebook.deleted[place_of(record.table)];
        if deleted || record.table != table_of(sequence) || record.value != &value[..len] || sequence > last {
            return Err(Stop::Fault(Fault::Foreign { sequence }));
        }
        if let Some(sequence) = (next..sequence).find(|&gone| !may_be_gone(gone)) {
            return Err(Stop::Fault(Fault::Missing { sequence }));
        }
        next = next.max(sequence + 1);
    }
    match (next..=last).find(|&gone| !may_be_gone(gone)) {
        Some(sequence) => Err(Stop::Fault(Fault::Missing { sequence })),
        None => Ok(()),
    }
}

/// Logs until the power fails or it is time to close.
fn work(
    log: &mut Engine<'_, '_, '_>,
    notebook: &mut Notebook,
    noise: &mut Noise,
    appended: &mut u32,
) -> Result<(), Stop> {
    loop {
        let sequence = log.last_sequence() + 1;
        let (value, len) = reading(sequence);
        notebook.tried = notebook.tried.max(sequence);
        match log.append(table_of(sequence), &value[..len]) {
            Ok(_) => *appended += 1,
            Err(Error::Full) => delete(log, notebook, &[20, 5, 0])?,
            Err(error) => return Err(error.into()),
        }
        match noise.bits() % 256 {
            0..64 => {
                log.sync()?;
                notebook.durable = log.last_sequence();
            }
            // Samples were sent away, and are not needed any more.
            64..72 => delete(log, notebook, &[30, 5, 0])?,
            72..74 => log.reclaim()?,
            74 => {
                log.close()?;
                notebook.durable = log.last_sequence();
                return Ok(());
            }
            _ => {}
        }
    }
}

/// Deletes all but the newest records. A full log refuses what would make no sector free: then fewer are kept.
fn delete(log: &mut Engine<'_, '_, '_>, notebook: &mut Notebook, kept: &[u64]) -> Result<(), Stop> {
    for &kept in kept {
        match delete_all_but(log, notebook, kept) {
            Err(Stop::Fault(Fault::Refused(Error::Full))) => {}
            done => return done,
        }
    }
    Err(Stop::Fault(Fault::Refused(Error::Full)))
}

/// Deletes all but the newest samples, and all but thrice as many of the newest events, both or neither; then gives
/// sectors back.
fn delete_all_but(log: &mut Engine<'_, '_, '_>, notebook: &mut Notebook, kept: u64) -> Result<(), Stop> {
    let last = log.last_sequence();
    let upto = [last.saturating_sub(kept), last.saturating_sub(3 * kept)];
    let mut buffer = [0; 64];
    let mut batch = Batch::lent(&mut buffer);
    for (table, to) in [SAMPLES, EVENTS].into_iter().zip(upto) {
        notebook.deleting[place_of(table)] = notebook.deleting[place_of(table)].max(to);
        let fits = batch.try_delete_up_to(table, to);
        assert!(fits.is_ok(), "the buffer is long enough");
    }
    log.append_batch(&batch)?;
    log.sync()?;
    for (deleted, to) in notebook.deleted.iter_mut().zip(upto) {
        *deleted = (*deleted).max(to);
    }
    notebook.durable = log.last_sequence();
    log.reclaim().map_err(Stop::from)
}
