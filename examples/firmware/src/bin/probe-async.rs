//! The log of `probe-log`, awaited.
#![no_std]
#![no_main]

use core::future::Future;
use core::hint::black_box;
use core::pin::pin;
use core::task::{Context, Poll, Waker};

use cortex_m_rt::entry;
use embedded_storage::nor_flash::NorFlash;
use walstone_core::asynch::flat::{FlatStorage, NorDevice};
use walstone_core::asynch::{Log, Unopened};
use walstone_core::flat::{FlatCapacity, FlatRoom};
use walstone_core::{Capacity, Options, Workspace};
use walstone_firmware::board;
use walstone_firmware::nor::{Nor, SECTOR_LEN};

type Storage<'r> = FlatStorage<'r, NorDevice<Nor>>;
type Room = (Workspace<16, 8, 4, 768>, FlatRoom<16, 64>);

const TABLE: u64 = 7;
const RECORDS: u64 = 200;
const DELETED: u64 = 150;

async fn log(flash: Nor, slots: FlatCapacity<'_>, room: Capacity<'_>) -> Option<()> {
    let storage = FlatStorage::open(NorDevice::new(flash), SECTOR_LEN as u32, slots)
        .await
        .ok()?;
    let options = Options::new(black_box(1), black_box(7));
    let mut place = Unopened::new(storage, room, options);
    let log = place.open_or_create().await.ok()?;
    for _ in 0..black_box(RECORDS) {
        log.append(black_box(TABLE), black_box(b"sixteen bytes..."))
            .await
            .ok()?;
    }
    log.sync().await.ok()?;
    log.delete_up_to(black_box(TABLE), black_box(DELETED)).await.ok()?;
    log.reclaim().await.ok()?;
    let mut left = 0;
    let mut reads = log.read(black_box(Some(TABLE)), black_box(1)..);
    while let Some(record) = reads.next().await {
        black_box(record.ok()?);
        left += 1;
    }
    (left == RECORDS - DELETED).then_some(())
}

#[inline(never)]
fn work(flash: Nor, slots: FlatCapacity<'_>, room: Capacity<'_>) -> Option<()> {
    let mut future = pin!(log(flash, slots, room));
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return done;
        }
    }
}

#[entry]
fn main() -> ! {
    let mut flash = Nor::new(board::cells(black_box(16 * SECTOR_LEN)));
    let mut good = flash.erase(0, 16 * SECTOR_LEN as u32).is_ok();
    let (room, slots): &mut Room = board::lent((Workspace::new(), FlatRoom::new()));
    let stack = board::stack_of(|| good &= work(flash, slots.lend(), room.lend()).is_some());
    board::print(c"stack ");
    board::print_number(stack);
    board::print(c" state ");
    board::print_number((size_of::<Log<'_, Storage<'_>>>() - size_of::<Nor>()) as u32);
    board::print(c"\n");
    board::exit(good)
}
