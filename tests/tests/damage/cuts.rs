//! Segments cut off at every byte: what stood behind the cut reads as erased.

use walstone_core::{Geometry, SegmentId, Tail};
use walstone_tests::images::{Image, Op, Story, Verdict};

/// What became of the cuts of one image.
#[derive(Debug, Default)]
struct Counts {
    /// Behind the last sync, or in bytes that had no meaning: nothing is lost.
    whole: u64,
    /// In the last group, as a crash may leave it: an earlier end.
    crash: u64,
    /// In the newest segment before that: looks like an end that never was.
    undecidable: u64,
    /// In a footer: a walk gives the same answers.
    footer: u64,
    reported: u64,
}

fn cut(image: &Image, id: SegmentId, at: usize) -> Result<Verdict, String> {
    let mut ram = image.ram.clone();
    ram.bytes_mut(id).unwrap()[at..].fill(0);
    image.judge(ram)
}

fn cut_all(name: &str, image: &Image) -> Counts {
    let mut counts = Counts::default();
    for id in image.ram.ids() {
        let bytes = image.ram.bytes(id).unwrap().to_vec();
        let (meaning, footer) = image.meaning(id);
        let meaning_end = meaning.iter().map(|range| range.end).max().unwrap_or(0);
        let written = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |at| at + 1);
        for at in 0..=written {
            let place = format!("{name}: segment {id} cut at {at}");
            let verdict = cut(image, id, at).unwrap_or_else(|wrong| panic!("{place}: {wrong}"));
            let newest = id == image.end.segment;
            let crash = image.is_last_group(id, at as u32) && at >= 64;
            let unchanged = at == written;
            // The first byte that the cut changes.
            let at = bytes[at..]
                .iter()
                .position(|&byte| byte != 0)
                .map_or(written, |more| at + more);
            let count = match &verdict {
                Verdict::Whole(_) if unchanged || (!newest && footer.is_empty() && at >= meaning_end) => {
                    &mut counts.whole
                }
                Verdict::Whole(_) if footer.start <= at && at < footer.end => &mut counts.footer,
                // The last frame's padding, and a close frame.
                Verdict::Whole(_) if crash => &mut counts.whole,
                Verdict::Earlier(mark, _) if crash && image.may_end_at(*mark) => &mut counts.crash,
                Verdict::Whole(_) | Verdict::Earlier(..) if newest && !crash => &mut counts.undecidable,
                reported if reported.is_reported() && !crash && at < written => &mut counts.reported,
                wrong => panic!("{place}: {wrong:?}"),
            };
            *count += 1;
        }
    }
    counts
}

#[test]
fn a_cut_is_an_earlier_end_or_corruption() {
    for (name, image) in super::all() {
        let counts = cut_all(name, &image);
        println!("{name}: {counts:?}");
        assert!(counts.reported > 0);
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
