//! Start-up, driver and measuring alone: what is taken off the figures of the other probes.
#![no_std]
#![no_main]

use core::hint::black_box;

use cortex_m_rt::entry;
use embedded_storage::nor_flash::{NorFlash, ReadNorFlash};
use walstone_firmware::board;
use walstone_firmware::nor::{Nor, SECTOR_LEN};

#[inline(never)]
fn work(flash: &mut Nor) -> Option<()> {
    let mut bytes = [0; 16];
    flash.erase(black_box(0), black_box(SECTOR_LEN as u32)).ok()?;
    flash.write(black_box(0), black_box(&bytes)).ok()?;
    flash.read(black_box(0), black_box(&mut bytes)).ok()?;
    black_box(flash.capacity());
    Some(())
}

#[entry]
fn main() -> ! {
    let mut flash = Nor::new(board::cells(black_box(16 * SECTOR_LEN)));
    let room = board::lent([0u32; 4]);
    black_box(room);
    let mut good = false;
    let stack = board::stack_of(|| good = work(black_box(&mut flash)).is_some());
    board::print(c"stack ");
    board::print_number(stack);
    board::print(c" state ");
    board::print_number(0);
    board::print(c"\n");
    board::exit(good)
}
