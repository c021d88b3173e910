//! Whole segments that are gone, and what is left of prepared ones.

use walstone_core::{Capacity, Geometry, Log, Storage};
use walstone_tests::images::{self, Image, Op, Story, Verdict, read_all};

/// What became of each segment of an image that was taken away.
#[derive(Debug, Default)]
struct Counts {
    reported: u32,
    /// Prepared, blank, and no seal names it.
    prepared: u32,
    /// The newest, begun because the one before had no room for a resume frame.
    newest: u32,
}

#[test]
fn a_missing_segment_is_named() {
    let mut images = super::all();
    images.push(("three segments", three_segments()));
    for (name, image) in images {
        let mut counts = Counts::default();
        for id in image.ram.ids() {
            let mut ram = image.ram.clone();
            ram.remove(id).unwrap();
            let place = format!("{name}: segment {id} of {} removed", image.end.segment);
            let verdict = image.judge(ram).unwrap_or_else(|wrong| panic!("{place}: {wrong}"));
            let count = match verdict {
                Verdict::Refused(_) => &mut counts.reported,
                Verdict::Whole(_) if id > image.end.segment => &mut counts.prepared,
                Verdict::Earlier(mark, _) if name == "torn often" && id == image.end.segment => {
                    assert!(mark.segment < id);
                    &mut counts.newest
                }
                silent => panic!("{place}: {silent:?}"),
            };
            *count += 1;
        }
        println!("{name}: {counts:?}");
        assert!(counts.reported > 0);
    }
}

/// Sealed one by one, each names the next.
fn three_segments() -> Image {
    let mut story = Story::create(Geometry::new(4096).unwrap());
    let mut segments = 1;
    let mut newest = story.newest();
    while segments < 3 {
        story.batch(&[Op::Push(1, 60), Op::Push(2, 60)]);
        if story.newest() != newest {
            newest = story.newest();
            segments += 1;
        }
    }
    story.sync();
    story.leave()
}

/// A prepared segment with a flipped bit is not gone on in: on flash the unit could not be programmed.
#[test]
fn a_prepared_segment_that_is_not_blank_is_made_anew() {
    let geometry = Geometry::new(1536).unwrap();
    let image = images::many_sessions(geometry, true);
    let prepared: Vec<_> = image.ram.ids().filter(|&id| id > image.end.segment).collect();
    assert!(!prepared.is_empty(), "a closed log keeps its prepared segments");
    for id in prepared {
        for at in (64..geometry.segment_len() as usize).step_by(5) {
            let mut ram = image.ram.clone();
            ram.bytes_mut(id).unwrap()[at] ^= 0x10;
            let mut log = Log::open(ram, Capacity::heap(0), images::options()).unwrap();
            let mut live = image.live.clone();
            while log.written_mark().segment.0 < image.end.segment.0 + 4 {
                let appended = log
                    .append(50, &[7; 50])
                    .unwrap_or_else(|error| panic!("byte {at} of segment {id}: {error}"));
                live.insert(appended.first, (50, vec![7; 50]));
            }
            let (read, error) = read_all(&mut log, None);
            assert!(error.is_none() && read == live, "byte {at} of segment {id}: {error:?}");
        }
    }
}
