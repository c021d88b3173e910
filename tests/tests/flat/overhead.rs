//! What a record costs on flash, beside the queue of sequential-storage on the same chip. Run with `--nocapture` for the
//! table.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use embedded_storage::nor_flash::{NorFlash as _, ReadNorFlash as _};
use embedded_storage_async::nor_flash as awaited;
use sequential_storage::cache::Cache;
use sequential_storage::queue::{QueueConfig, QueueStorage};
use walstone_core::flat::{FlatCapacity, FlatStorage, NorDevice};
use walstone_core::{Batch, Capacity, Log, Options};
use walstone_tests::flash::{Chip, ChipError, Counts, NorChip};

const SECTOR: usize = 4096;
const SLOTS: u32 = 16;
const RECORD: [u8; 16] = [0x5a; 16];

type Nor = NorChip<1, 4, SECTOR>;

/// The chip as an async driver shows it; it never waits.
struct Awaited(Nor);

impl awaited::ErrorType for Awaited {
    type Error = ChipError;
}

impl awaited::ReadNorFlash for Awaited {
    const READ_SIZE: usize = Nor::READ_SIZE;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), ChipError> {
        self.0.read(offset, bytes)
    }

    fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

impl awaited::NorFlash for Awaited {
    const WRITE_SIZE: usize = Nor::WRITE_SIZE;
    const ERASE_SIZE: usize = Nor::ERASE_SIZE;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), ChipError> {
        self.0.erase(from, to)
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), ChipError> {
        self.0.write(offset, bytes)
    }
}

fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the chip never waits"),
    }
}

/// What a run cost, for each record.
struct Cost {
    overhead: f64,
    amplification: f64,
    erases_per_mib: f64,
}

fn cost(chip: &Chip, before: Counts, records: u64) -> Cost {
    let after = chip.counts();
    let programmed = (after.bytes_programmed - before.bytes_programmed) as f64;
    let payload = (records * RECORD.len() as u64) as f64;
    Cost {
        overhead: (programmed - payload) / records as f64,
        amplification: programmed / payload,
        erases_per_mib: (after.erases - before.erases) as f64 * f64::from(1 << 20) / payload,
    }
}

/// Durable groups of `group` records; `turns`: until the device was written several times over.
fn walstone(group: u64, slot_len: u32, turns: bool) -> Cost {
    let nor = Nor::new(SLOTS * slot_len / SECTOR as u32);
    let chip = nor.chip.clone();
    let capacity = FlatCapacity::heap(SLOTS as usize, 256);
    let Ok(storage) = FlatStorage::open(NorDevice::new(nor), slot_len, capacity) else {
        panic!("not opened");
    };
    let options = Options {
        ring: true,
        ..Options::new(1, 2)
    };
    let Ok(mut log) = Log::create(storage, Capacity::heap(512), options) else {
        panic!("not made");
    };
    // The session begins, and has its spares.
    assert!(log.append(1, &RECORD).is_ok());
    let before = chip.counts();
    let records = if turns { 160_000 } else { 32 };
    for _ in 0..records / group {
        let appended = if group == 1 {
            log.append(1, &RECORD)
        } else {
            let mut batch = Batch::new();
            (0..group).for_each(|_| batch.push(1, &RECORD));
            log.append_batch(&batch)
        };
        assert!(appended.is_ok() && log.sync().is_ok());
    }
    cost(&chip, before, records)
}

fn sequential(turns: bool) -> Cost {
    let nor = Nor::new(SLOTS);
    let chip = nor.chip.clone();
    let config = QueueConfig::new(0..SLOTS * SECTOR as u32);
    let mut queue = QueueStorage::new(Awaited(nor), config, Cache::new_uncached());
    assert!(ready(queue.push(&RECORD, true)).is_ok());
    let before = chip.counts();
    let records = if turns { 160_000 } else { 32 };
    for _ in 0..records {
        assert!(ready(queue.push(&RECORD, true)).is_ok());
    }
    cost(&chip, before, records)
}

#[test]
fn overhead_and_write_amplification() {
    println!("16-byte records, 4-byte units, sectors of {SECTOR} bytes");
    println!("| | overhead of a record, bytes | written for each byte, long run | erases for each MiB |");
    println!("|---|---|---|---|");
    let print = |name: &str, short: &Cost, long: &Cost| {
        println!(
            "| {name} | {:.1} | {:.2} | {:.0} |",
            short.overhead, long.amplification, long.erases_per_mib
        );
    };
    let both = |group, slot_len| (walstone(group, slot_len, false), walstone(group, slot_len, true));
    let lone = both(1, SECTOR as u32);
    print("walstone, each record durable", &lone.0, &lone.1);
    let batched = both(16, SECTOR as u32);
    print("walstone, batches of 16", &batched.0, &batched.1);
    let larger = both(16, 4 * SECTOR as u32);
    print("walstone, batches of 16, slots of four sectors", &larger.0, &larger.1);
    let queue = (sequential(false), sequential(true));
    print("sequential-storage, queue", &queue.0, &queue.1);
    assert!(lone.0.overhead <= 28.0, "{}", lone.0.overhead);
    assert!(batched.0.overhead <= 4.0, "{}", batched.0.overhead);
    assert!(lone.1.amplification < 3.5, "{}", lone.1.amplification);
    assert!(batched.1.amplification < 1.5, "{}", batched.1.amplification);
    assert!(
        larger.1.amplification < queue.1.amplification,
        "{}",
        larger.1.amplification
    );
    assert!(
        larger.1.erases_per_mib < queue.1.erases_per_mib,
        "{}",
        larger.1.erases_per_mib
    );
}
