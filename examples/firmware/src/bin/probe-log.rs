//! The log: open, append, iterate, delete, reclaim.
#![no_std]
#![no_main]

use core::hint::black_box;

use cortex_m_rt::entry;
use embedded_storage::nor_flash::NorFlash;
use walstone_core::flat::{FlatRoom, FlatStorage, NorDevice};
use walstone_core::{Checksum, Log, Options, Unopened, Workspace};
use walstone_firmware::board;
use walstone_firmware::nor::{Nor, SECTOR_LEN};

type Storage<'r> = FlatStorage<'r, NorDevice<Nor>>;
type Room = (Workspace<16, 8, 4, 768>, FlatRoom<16, 64>);

const TABLE: u64 = 7;
const RECORDS: u64 = 200;
const DELETED: u64 = 150;

// Each part of the work in a function of its own, as in a program: none stands on the stack of another.

#[inline(never)]
fn append(log: &mut Log<'_, Storage<'_>>) -> Option<()> {
    for _ in 0..black_box(RECORDS) {
        log.append(black_box(TABLE), black_box(b"sixteen bytes...")).ok()?;
    }
    Some(())
}

#[inline(never)]
fn sync(log: &mut Log<'_, Storage<'_>>) -> Option<()> {
    log.sync().ok()
}

#[inline(never)]
fn delete(log: &mut Log<'_, Storage<'_>>) -> Option<()> {
    log.delete_up_to(black_box(TABLE), black_box(DELETED)).ok().map(drop)
}

#[inline(never)]
fn reclaim(log: &mut Log<'_, Storage<'_>>) -> Option<()> {
    log.reclaim().ok()
}

#[inline(never)]
fn count(log: &mut Log<'_, Storage<'_>>) -> Option<u64> {
    let mut count = 0;
    let mut reads = log.read(black_box(Some(TABLE)), black_box(1)..);
    while let Some(record) = reads.next() {
        black_box(record.ok()?.value);
        count += 1;
    }
    Some(count)
}

#[inline(never)]
fn unopened<'r>(flash: Nor, (room, slots): &'r mut Room) -> Option<Unopened<'r, Storage<'r>>> {
    let storage = FlatStorage::open(NorDevice::new(flash), SECTOR_LEN as u32, slots.lend()).ok()?;
    let mut options = Options::new(black_box(1), black_box(7));
    if cfg!(feature = "crc-table") {
        options.checksum = Checksum::BYTEWISE;
    }
    Some(Unopened::new(storage, room.lend(), options))
}

#[inline(never)]
fn work(flash: Nor, room: &mut Room) -> Option<()> {
    // Opened and used where it stands: moved, it would stand on the stack twice.
    let mut place = unopened(flash, room);
    let log = place.as_mut()?.open_or_create().ok()?;
    append(log)?;
    sync(log)?;
    delete(log)?;
    reclaim(log)?;
    (count(log)? == RECORDS - DELETED).then_some(())
}

#[entry]
fn main() -> ! {
    let mut flash = Nor::new(board::cells(black_box(16 * SECTOR_LEN)));
    let mut good = flash.erase(0, 16 * SECTOR_LEN as u32).is_ok();
    let room: &mut Room = board::lent((Workspace::new(), FlatRoom::new()));
    let stack = board::stack_of(|| good &= work(flash, room).is_some());
    board::print(c"stack ");
    board::print_number(stack);
    board::print(c" state ");
    board::print_number((size_of::<Log<'_, Storage<'_>>>() - size_of::<Nor>()) as u32);
    board::print(c"\n");
    board::exit(good)
}
