//! Whole segments that are gone, and what is left of prepared ones.

use walstone_core::{Capacity, Geometry, Log};
use walstone_tests::damage;
use walstone_tests::damage::sweep::Sweep;
use walstone_tests::images::{self, Image, Op, Story, read_all};

#[test]
fn a_missing_segment_is_named() {
    let mut images = super::all();
    images.push(("three segments", three_segments()));
    for (name, image) in images {
        let tally = Sweep::new(&image).run(&damage::segments_lost(&image));
        println!("{name}: {tally}");
        assert!(
            tally.is_clean(),
            "{name}: {:?} {:?}",
            tally.silent.first(),
            tally.wrong.first()
        );
        assert!(tally.reported > 0);
        // Begun because the one before it had no room for a resume frame.
        assert_eq!(tally.newest_gone, u64::from(name == "torn often"), "{name}");
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
    let geometry = Geometry::new(2048).unwrap();
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
