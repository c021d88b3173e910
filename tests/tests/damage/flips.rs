//! Every single bit, turned over; every sector lost or in the wrong place.

use walstone_tests::damage::sweep::{Sweep, Tally};
use walstone_tests::damage::{self, Damage};
use walstone_tests::images::Image;

fn sweep(name: &str, image: &Image, damages: &[Damage]) -> Tally {
    let tally = Sweep::new(image).run(damages);
    println!("{name}: {tally}");
    assert!(
        tally.is_clean(),
        "{name}: {:?} {:?}",
        tally.silent.first(),
        tally.wrong.first()
    );
    tally
}

#[test]
fn no_flipped_bit_is_silent_outside_the_last_group() {
    for (name, image) in super::all() {
        // Of the larger images one bit a byte where nothing was ever written; all bits elsewhere.
        let telling = |damage: &Damage| match *damage {
            Damage::Bit { segment, at, bit } => {
                let bytes = image.ram.bytes(segment).unwrap();
                bytes.len() <= 2048 || bit as usize == at % 8 || bytes[at..].iter().any(|&byte| byte != 0)
            }
            _ => true,
        };
        let mut bits = damage::bits(&image);
        bits.retain(telling);
        let tally = sweep(name, &image, &bits);
        assert!(tally.reported > 0 && tally.meaningless > 0 && tally.ambiguous_lost + tally.ambiguous_whole > 0);
    }
}

#[test]
fn no_lost_or_misplaced_sector_is_silent() {
    for (name, image) in super::all() {
        let tally = sweep(name, &image, &damage::sectors_lost(&image, 64));
        assert!(tally.reported > 0 && tally.ambiguous_lost > 0);
        sweep(name, &image, &damage::sectors_misplaced(&image, 512));
        sweep(name, &image, &damage::frames_misplaced(&image));
    }
}
