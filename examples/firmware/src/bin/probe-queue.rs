//! What the log is compared with: the queue of sequential-storage. Push, iterate, pop.
#![no_std]
#![no_main]

use core::future::Future;
use core::hint::black_box;
use core::pin::pin;
use core::task::{Context, Poll, Waker};

use cortex_m_rt::entry;
use embedded_storage::nor_flash::NorFlash;
use sequential_storage::cache::{Cache, Uncached};
use sequential_storage::queue::{QueueConfig, QueueStorage};
use walstone_firmware::board;
use walstone_firmware::nor::{Nor, SECTOR_LEN};

type NoCache = Cache<Uncached, Uncached, Uncached, ()>;

const RECORDS: u64 = 200;
const DELETED: u64 = 150;

async fn queue(flash: Nor, buffer: &mut [u8]) -> Option<()> {
    let end = black_box(16 * SECTOR_LEN as u32);
    let mut queue = QueueStorage::new(flash, QueueConfig::try_new(0..end).ok()?, Cache::new_uncached());
    for _ in 0..black_box(RECORDS) {
        queue
            .push(black_box(b"sixteen bytes..."), black_box(false))
            .await
            .ok()?;
    }
    for _ in 0..black_box(DELETED) {
        black_box(queue.pop(buffer).await.ok()??);
    }
    let mut left = 0;
    let mut entries = queue.iter().await.ok()?;
    while let Some(entry) = entries.next(buffer).await.ok()? {
        black_box(&*entry);
        left += 1;
    }
    (left == RECORDS - DELETED).then_some(())
}

#[inline(never)]
fn work(flash: Nor, buffer: &mut [u8]) -> Option<()> {
    let mut future = pin!(queue(flash, buffer));
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
    let buffer = board::lent([0; 640]);
    let stack = board::stack_of(|| good &= work(flash, buffer).is_some());
    board::print(c"stack ");
    board::print_number(stack);
    board::print(c" state ");
    board::print_number((size_of::<QueueStorage<Nor, NoCache>>() - size_of::<Nor>()) as u32);
    board::print(c"\n");
    board::exit(good)
}
