//! Every single bit, turned over.

use walstone_tests::images::{Image, Verdict};

/// What became of the flips of one image.
#[derive(Debug, Default)]
struct Counts {
    /// The open named the damage.
    refused: u64,
    /// A read named it.
    reported: u64,
    /// Silent: in bytes without a meaning.
    meaningless: u64,
    /// Silent, with every record: in the last synced group.
    harmless: u64,
    /// Silent, records lost: in the last synced group.
    lost: u64,
    /// In a footer: a walk gives the same answers.
    footer: u64,
}

fn flip_all(name: &str, image: &Image) -> Counts {
    let mut counts = Counts::default();
    let ids: Vec<_> = image.ram.ids().collect();
    for id in ids {
        let (meaning, footer) = image.meaning(id);
        for at in 0..image.ram.bytes(id).unwrap().len() {
            // Of the larger images one bit a byte where nothing was ever written; all bits elsewhere.
            let blank = image.ram.bytes(id).unwrap()[at..].iter().all(|&byte| byte == 0);
            let bits = if blank && image.ram.bytes(id).unwrap().len() > 2048 {
                at % 8..at % 8 + 1
            } else {
                0..8
            };
            for bit in bits {
                let mut ram = image.ram.clone();
                ram.bytes_mut(id).unwrap()[at] ^= 1 << bit;
                let place = format!("{name}: bit {bit} of byte {at} of segment {id}");
                let verdict = image.judge(ram).unwrap_or_else(|wrong| panic!("{place}: {wrong}"));
                let last_group = image.is_last_group(id, at as u32);
                let meant = meaning.iter().any(|range| range.contains(&at));
                let count = match verdict {
                    Verdict::Refused(_) => &mut counts.refused,
                    Verdict::Reported(_) => &mut counts.reported,
                    Verdict::Whole(_) if !meant && footer.contains(&at) => &mut counts.footer,
                    Verdict::Whole(_) if !meant => &mut counts.meaningless,
                    Verdict::Whole(_) if last_group => &mut counts.harmless,
                    Verdict::Earlier(mark, _) if last_group && image.may_end_at(mark) => &mut counts.lost,
                    silent => panic!("{place}: {silent:?}, meaning {meant}"),
                };
                *count += 1;
            }
        }
    }
    counts
}

#[test]
fn no_flipped_bit_is_silent_outside_the_last_group() {
    for (name, image) in super::all() {
        let start = std::time::Instant::now();
        let counts = flip_all(name, &image);
        println!("{name}: {counts:?} {:?}", start.elapsed());
        assert!(counts.refused > 0 && counts.reported > 0 && counts.meaningless > 0);
    }
}
