//! Segments cut off at every byte: what stood behind the cut reads as erased, or is not there.

use walstone_core::{Geometry, SegmentId, Tail};
use walstone_tests::damage;
use walstone_tests::damage::sweep::Sweep;
use walstone_tests::images::{Image, Op, Story, Verdict};

fn cut(image: &Image, id: SegmentId, at: usize) -> Result<Verdict, String> {
    let mut ram = image.ram.clone();
    ram.bytes_mut(id).unwrap()[at..].fill(0);
    image.judge(ram)
}

#[test]
fn a_cut_is_an_earlier_end_or_corruption() {
    for (name, image) in super::all() {
        let sweep = Sweep::new(&image);
        let erased = sweep.run(&damage::erasures(&image));
        println!("{name}, erased from a byte on: {erased}");
        assert!(
            erased.is_clean(),
            "{name}: {:?} {:?}",
            erased.silent.first(),
            erased.wrong.first()
        );
        assert!(erased.reported > 0 && erased.ambiguous_lost > 0);
        let shorter = sweep.run(&damage::truncations(&image));
        println!("{name}, ending at a byte: {shorter}");
        assert!(
            shorter.is_clean(),
            "{name}: {:?} {:?}",
            shorter.silent.first(),
            shorter.wrong.first()
        );
    }
}

/// A batch of records and deletions of several tables, cut at every byte: all of it or nothing.
#[test]
fn a_cut_batch_is_all_or_nothing() {
    let geometry = Geometry::new(4096).unwrap();
    let with_voids = [
        Op::Push(1, 30),
        Op::DeleteUpTo(1, 2),
        Op::Push(2, 200),
        Op::TruncateFrom(2, 4),
        Op::Push(1, 0),
        Op::DeleteUpTo(3, u64::MAX),
    ];
    let plain = [Op::Push(1, 30), Op::Push(2, 200), Op::Push(1, 0), Op::Push(9, 77)];
    let (mut all, mut nothing) = (0, 0);
    for ops in [&plain[..], &with_voids] {
        let mut story = Story::create(geometry);
        for table in [1, 1, 2, 2, 3, 3] {
            story.append(table, 12);
        }
        story.sync();
        let from = story.log().written_mark();
        story.batch(ops);
        let image = story.leave();
        for at in from.end..=image.end.end {
            match cut(&image, image.end.segment, at as usize) {
                Ok(Verdict::Whole(_)) => all += 1,
                Ok(Verdict::Earlier(mark, tail)) => {
                    assert!(mark.end <= from.end, "{mark:?}");
                    assert!(matches!(tail, Tail::Torn { .. } | Tail::Clean), "{tail:?}");
                    nothing += 1;
                }
                other => panic!("cut at {at}: {other:?}"),
            }
        }
    }
    println!("cut batches: {all} whole, {nothing} gone");
    assert!(all >= 2 && nothing > 500);
}

/// The same on bits of 64 bytes that did not reach the medium, whatever came behind them.
#[test]
fn a_batch_with_a_hole_is_nothing() {
    let geometry = Geometry::new(4096).unwrap();
    let mut story = Story::create(geometry);
    story.append(1, 12);
    story.sync();
    let from = story.log().written_mark().end;
    story.batch(&[Op::Push(1, 100), Op::DeleteUpTo(1, 1), Op::Push(2, 500)]);
    let image: Image = story.leave();
    for at in from..image.end.end - 64 {
        let mut ram = image.ram.clone();
        ram.bytes_mut(image.end.segment).unwrap()[at as usize..at as usize + 64].fill(0);
        match image.judge(ram) {
            Ok(Verdict::Earlier(mark, Tail::Torn { offset, .. })) => assert_eq!((mark.end, offset), (from, from)),
            other => panic!("hole at {at}: {other:?}"),
        }
    }
}
