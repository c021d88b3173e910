//! Runs the data logger through 1,500 lives on the emulated board, and says by defmt frames how it went.
#![no_std]
#![no_main]

use cortex_m_rt::entry;
use defmt_semihosting as _;
use walstone_firmware::board;
use walstone_firmware::chip::{Chip, Noise, SECTOR_LEN, UNIT_LEN};
use walstone_firmware::logger::{Notebook, live};

const SECTORS: usize = 16;
const CUTS: u32 = 1500;

#[entry]
fn main() -> ! {
    let cells = board::cells(SECTORS * SECTOR_LEN);
    let programmed = board::lent([0; SECTORS * SECTOR_LEN / UNIT_LEN]);
    let (mut chip, mut notebook, mut noise) = (Chip::new(cells, programmed, 5), Notebook::default(), Noise::new(11));
    let (mut lives, mut cuts, mut recovering, mut torn, mut appended) = (0u32, 0, 0u32, 0u32, 0);
    while cuts < CUTS {
        // Mostly short lives, that end in the middle of some write; some long enough to go around the chip.
        let bytes = match noise.bits() % 8 {
            0 => noise.bits() % 40_000,
            1..4 => noise.bits() % 6_000,
            _ => noise.bits() % 600,
        };
        chip.power_up(bytes);
        let life = match live(&mut chip, &mut notebook, &mut noise) {
            Ok(life) => life,
            Err(fault) => {
                defmt::error!(
                    "life {} broke a promise: {}, {}",
                    lives,
                    fault,
                    defmt::Debug2Format(&notebook)
                );
                board::exit(false)
            }
        };
        lives += 1;
        cuts += u32::from(life.lost_power);
        recovering += u32::from(life.lost_power && life.appended == 0);
        appended += life.appended;
        let tail = life.report.map(|report| report.tail);
        torn += u32::from(matches!(tail, Some(walstone_core::Tail::Torn { .. })));
        if lives.is_multiple_of(250) {
            defmt::info!("life {}: {}", lives, life);
        }
    }
    defmt::println!(
        "{} power cuts in {} lives: {} before the first append was done, {} torn tails, {} appends",
        cuts,
        lives,
        recovering,
        torn,
        appended
    );
    // Recoveries are cut as well, or this shows less than it says.
    let told = cuts >= 1000 && recovering >= 100 && torn >= 10;
    if told {
        defmt::println!("every promise kept");
    }
    board::exit(told)
}
