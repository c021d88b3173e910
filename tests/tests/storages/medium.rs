//! The crash simulator's own proof: it names the images it should, and no others.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use walstone_core::ram::RamError;
use walstone_core::{Found, SharedStorage, Storage};
use walstone_core::{Geometry, Mark, SegmentId};
use walstone_tests::conformance::header;
use walstone_tests::medium::{Limits, Medium, MediumHandle, Outcome, Phase, Survival, TornKind};
use walstone_tests::storages::SimError;

use crate::flash;

const ONE: SegmentId = SegmentId(1);
const TWO: SegmentId = SegmentId(2);

const UNTORN: Limits = Limits {
    exhaustive: 16,
    places: 256,
    random: 32,
    torn: false,
    seed: 1,
};

fn plain() -> Geometry {
    Geometry::new(4096).unwrap()
}

/// Two segments, each with all its space claimed and durable.
fn medium(geometry: Geometry, unit: u32) -> Medium {
    let mut medium = Medium::new(geometry, unit);
    for id in [ONE, TWO] {
        medium.create(id, &header(id)).unwrap();
        medium.claim(id, 4096).unwrap();
        medium.sync(mark(id, 4096)).unwrap();
    }
    medium
}

const fn mark(segment: SegmentId, end: u32) -> Mark {
    Mark { segment, end }
}

fn states(medium: &Medium, limits: &Limits) -> Vec<(Medium, Survival)> {
    let mut states = Vec::new();
    let count = medium.crash_states(limits, &mut |image, survival| {
        states.push((image, *survival));
        ControlFlow::Continue(())
    });
    assert_eq!(count, states.len());
    states
}

/// What a range may hold after a crash.
fn contents(medium: &Medium, limits: &Limits, id: SegmentId, from: usize, to: usize) -> BTreeSet<Vec<u8>> {
    let states = states(medium, limits);
    let bytes = |(image, _): &(Medium, Survival)| image.bytes(id).map(|bytes| bytes[from..to].to_vec());
    states.iter().filter_map(bytes).collect()
}

fn list(medium: &mut Medium) -> Vec<Found> {
    let mut found = Vec::new();
    let listed = medium.segments(&mut |one| {
        found.push(one);
        ControlFlow::Continue(())
    });
    listed.unwrap();
    found
}

#[test]
fn three_pending_units_give_eight_images() {
    let mut medium = medium(plain(), 512);
    // From the middle of one unit to the middle of the next but one.
    medium.write(ONE, 768, &[&[7; 1024]]).unwrap();
    assert_eq!(medium.pending_count(), 3);
    assert_eq!(medium.bytes(ONE).unwrap()[768..1792], [7; 1024]);
    assert_eq!(medium.durable_bytes(ONE).unwrap()[768..1792], [0; 1024]);
    let states = states(&medium, &UNTORN);
    assert_eq!(states.len(), 8);
    let mut kept = BTreeSet::new();
    for (image, survival) in &states {
        let bytes = image.bytes(ONE).unwrap();
        let parts = [768..1024, 1024..1536, 1536..1792];
        let new = parts.map(|part| {
            let uniform = bytes[part.clone()].iter().all(|&byte| byte == bytes[part.start]);
            assert!(uniform, "a unit is whole");
            bytes[part.start] == 7
        });
        assert_eq!(survival.kept, new.iter().filter(|&&new| new).count());
        assert!(bytes[64..768].iter().chain(&bytes[1792..]).all(|&byte| byte == 0));
        assert_eq!(bytes[..64], header(ONE));
        assert_eq!(image.pending_count(), 0);
        kept.insert(new);
    }
    assert_eq!(kept.len(), 8);
}

#[test]
fn pending_units_of_segments_are_independent() {
    let mut medium = medium(plain(), 4096);
    medium.write(ONE, 64, &[b"a"]).unwrap();
    medium.write(TWO, 64, &[b"b"]).unwrap();
    let states = states(&medium, &UNTORN);
    let bytes = |(image, _): &(Medium, Survival)| (image.bytes(ONE).unwrap()[64], image.bytes(TWO).unwrap()[64]);
    let pairs: BTreeSet<_> = states.iter().map(bytes).collect();
    assert_eq!(pairs, BTreeSet::from([(0, 0), (b'a', 0), (0, b'b'), (b'a', b'b')]));
}

#[test]
fn a_sync_covers_its_segment_up_to_its_mark() {
    let mut medium = medium(plain(), 1);
    medium.write(ONE, 64, &[b"ab"]).unwrap();
    medium.write(TWO, 64, &[b"c"]).unwrap();
    medium.sync(mark(ONE, 65)).unwrap();
    assert_eq!(medium.pending_count(), 2);
    let one = contents(&medium, &UNTORN, ONE, 64, 66);
    assert_eq!(one, BTreeSet::from([b"a\0".to_vec(), b"ab".to_vec()]));
    assert_eq!(contents(&medium, &UNTORN, TWO, 64, 65).len(), 2);
    medium.sync(mark(ONE, 66)).unwrap();
    medium.sync(mark(TWO, 65)).unwrap();
    assert_eq!(medium.pending_count(), 0);
    assert_eq!(
        states(&medium, &Limits::default()).len(),
        1,
        "durable is durable, torn or not"
    );
}

#[test]
fn a_unit_written_in_steps_has_each_step_as_a_version() {
    let mut medium = medium(plain(), 512);
    for (offset, byte) in [(64, b"a"), (65, b"b"), (66, b"c")] {
        medium.write(ONE, offset, &[byte]).unwrap();
    }
    let versions: [&[u8]; 4] = [b"\0\0\0", b"a\0\0", b"ab\0", b"abc"];
    let expected = versions.map(<[u8]>::to_vec);
    assert_eq!(contents(&medium, &UNTORN, ONE, 64, 67), BTreeSet::from(expected));
}

#[test]
fn torn_units_appear_once_for_each_kind_and_surrounding() {
    let geometry = flash(4).with_page_len(256).unwrap();
    let mut medium = medium(geometry, 4);
    medium.write(ONE, 64, &[&[0; 12]]).unwrap();
    let mut seen: BTreeMap<(u32, TornKind), usize> = BTreeMap::new();
    for (image, survival) in states(&medium, &Limits::default()) {
        let Some((segment, offset, kind)) = survival.torn else {
            continue;
        };
        assert_eq!(segment, ONE);
        *seen.entry((offset, kind)).or_default() += 1;
        let unit = &image.bytes(ONE).unwrap()[offset as usize..][..4];
        assert_ne!(unit, [0; 4], "{kind:?}");
        if kind == TornKind::Prefix {
            assert_eq!((unit[0], unit[3]), (0, 0xff), "the front is new, the end old");
        }
    }
    let kinds = [TornKind::Prefix, TornKind::Random, TornKind::Bits];
    for (offset, twice) in [(64, 2), (68, 2), (72, 1)] {
        for kind in kinds {
            // Nothing is newer than the last unit, so both surroundings are one.
            assert_eq!(seen.remove(&(offset, kind)), Some(twice), "{kind:?} at {offset}");
        }
    }
    for offset in [68, 72] {
        assert_eq!(seen.remove(&(offset, TornKind::Traceless)), Some(1));
    }
    assert!(seen.is_empty(), "{seen:?}");
}

/// Nobody could know of an interrupted first program of a session that left no trace; of a later one, all may know.
#[test]
fn a_page_disturbed_without_a_trace_must_not_be_programmed() {
    let geometry = flash(4).with_page_len(256).unwrap();
    let mut medium = medium(geometry, 4);
    medium.begin_session();
    medium.write(ONE, 256, &[&[1; 4]]).unwrap();
    medium.write(ONE, 512, &[&[2; 4]]).unwrap();
    let mut disturbed = Vec::new();
    for (mut image, survival) in states(&medium, &Limits::default()) {
        let Some((_, offset, TornKind::Traceless)) = survival.torn else {
            continue;
        };
        assert_eq!(image.bytes(ONE).unwrap()[512..516], [0xff; 4], "no trace");
        assert!(image.write(ONE, 764, &[&[3; 4]]).is_err(), "the same page");
        assert_eq!(image.write(ONE, 768, &[&[3; 4]]), Ok(()), "the next page");
        disturbed.push(offset);
    }
    assert_eq!(disturbed, [512]);
}

#[test]
fn a_process_that_dies_in_a_write_leaves_a_front_of_it() {
    let mut medium = medium(plain(), 512);
    medium.crash_after(1, Phase::Inside);
    medium.write(ONE, 64, &[&[7; 100]]).unwrap_err();
    let written = |medium: &Medium| medium.bytes(ONE).unwrap().iter().filter(|&&byte| byte == 7).count();
    let lens: Vec<usize> = medium.after_process_death().iter().map(written).collect();
    assert_eq!(lens, [100, 1, 24, 50, 99]);
}

#[test]
fn a_medium_has_so_many_slots() {
    let mut medium = Medium::new(plain(), 512).with_slots(2);
    medium.add_unreadable();
    medium.create(ONE, &header(ONE)).unwrap();
    assert_eq!(medium.create(TWO, &header(TWO)), Err(SimError::Full));
    medium.release(0).unwrap();
    assert_eq!(medium.create(TWO, &header(TWO)), Ok(()));
}

#[test]
fn partial_bits_only_move_from_old_to_new() {
    let mut medium = medium(flash(4), 4);
    medium.write(ONE, 64, &[&[0xf0, 0x0f, 0xaa, 0x55]]).unwrap();
    let mut torn = 0;
    for (image, survival) in states(&medium, &Limits::default()) {
        if matches!(survival.torn, Some((_, _, TornKind::Bits))) {
            torn += 1;
            let unit = &image.bytes(ONE).unwrap()[64..68];
            for (&byte, new) in unit.iter().zip([0xf0, 0x0f, 0xaa, 0x55]) {
                assert_eq!(byte & new, new, "a programmed bit that should not be");
            }
        }
    }
    assert_eq!(torn, 1);
}

#[test]
fn only_a_shared_sync_unit_is_harmed_beyond_what_was_written() {
    let geometry = plain().with_sync_unit(128).unwrap();
    let mut medium = medium(geometry, 1);
    medium.write(ONE, 512, &[&[9; 150]]).unwrap();
    medium.sync(mark(ONE, 662)).unwrap();
    medium.write(ONE, 662, &[&[8; 8]]).unwrap();
    let mut harmed = 0;
    for (image, survival) in states(&medium, &Limits::default()) {
        let bytes = image.bytes(ONE).unwrap();
        let block = matches!(survival.torn, Some((_, _, TornKind::SyncUnit)));
        assert_eq!(bytes[512..640], [9; 128], "another sync unit");
        assert_eq!(bytes[768..], [0; 3328], "another sync unit");
        assert_eq!(bytes[640..662] != [9; 22], block, "older bytes of the same sync unit");
        assert_eq!(bytes[670..768] != [0; 98], block, "blank bytes of the same sync unit");
        harmed += usize::from(block);
    }
    assert!(harmed > 0);
}

#[test]
fn many_units_give_the_telling_patterns() {
    let mut medium = medium(plain(), 1);
    let count = 40;
    medium.write(ONE, 64, &[&vec![1; count]]).unwrap();
    let limits = Limits { random: 0, ..UNTORN };
    let seen = contents(&medium, &limits, ONE, 64, 64 + count);
    let pattern = |new: &dyn Fn(usize) -> bool| (0..count).map(|at| u8::from(new(at))).collect::<Vec<_>>();
    for place in 0..count {
        assert!(seen.contains(&pattern(&|at| at != place)), "missing {place}");
        assert!(seen.contains(&pattern(&|at| at == place)), "alone {place}");
        assert!(seen.contains(&pattern(&|at| at < place)), "prefix {place}");
        assert!(seen.contains(&pattern(&|at| at >= place)), "suffix {place}");
    }
    assert!(seen.contains(&pattern(&|_| true)));
    assert!(seen.len() < 4 * count + 2, "each is shown once");
    let more = contents(&medium, &UNTORN, ONE, 64, 64 + count);
    assert!(
        more.len() > seen.len() && more.is_superset(&seen),
        "random ones come on top"
    );
    assert_eq!(
        contents(&medium, &UNTORN, ONE, 64, 64 + count),
        more,
        "the same in every run"
    );
    let few = Limits { places: 5, ..limits };
    assert!(contents(&medium, &few, ONE, 64, 64 + count).len() <= 22);
}

#[test]
fn a_crash_ends_everything_before_inside_or_after_its_call() {
    for (phase, pending) in [(Phase::Before, 0), (Phase::Inside, 1), (Phase::After, 1)] {
        let mut medium = medium(plain(), 512);
        let before = medium.call_count();
        medium.crash_after(2, phase);
        medium.hand_over(mark(ONE, 64)).unwrap();
        assert_eq!(medium.write(ONE, 64, &[b"x"]), Err(SimError::Crashed));
        assert!(medium.has_crashed());
        assert_eq!(medium.call_count() - before, 2);
        assert_eq!(medium.pending_count(), pending, "{phase:?}");
        assert_eq!(medium.extent(ONE), Err(SimError::Crashed));
        assert_eq!(medium.sync(mark(ONE, 65)), Err(SimError::Crashed));
        assert_eq!(states(&medium, &UNTORN).len(), 1 + pending);
    }
    for (phase, pending) in [(Phase::Before, 1), (Phase::Inside, 1), (Phase::After, 0)] {
        let mut medium = medium(plain(), 512);
        medium.write(ONE, 64, &[b"x"]).unwrap();
        medium.crash_after(1, phase);
        assert_eq!(medium.sync(mark(ONE, 65)), Err(SimError::Crashed));
        assert_eq!(medium.pending_count(), pending, "{phase:?}");
    }
}

#[test]
fn an_interrupted_create_or_remove_has_three_outcomes() {
    let three = SegmentId(3);
    let here = |id| Found::Segment(id);
    let lost = Found::Unreadable { slot: 0 };
    let outcomes = |act: &dyn Fn(&mut Medium) -> Result<(), SimError>, phase| {
        let mut medium = medium(plain(), 512);
        medium.crash_after(1, phase);
        assert_eq!(act(&mut medium), Err(SimError::Crashed));
        let states = states(&medium, &UNTORN).into_iter();
        states
            .map(|(mut image, survival)| (survival.outcome, list(&mut image)))
            .collect::<Vec<_>>()
    };
    let create = |medium: &mut Medium| medium.create(three, &header(three));
    let without = (Outcome::Before, vec![here(ONE), here(TWO)]);
    assert_eq!(outcomes(&create, Phase::Before), std::slice::from_ref(&without));
    let made = vec![here(ONE), here(TWO), here(three)];
    assert_eq!(
        outcomes(&create, Phase::Inside),
        [
            without.clone(),
            (Outcome::Unreadable, vec![lost, here(ONE), here(TWO)]),
            (Outcome::After, made.clone())
        ]
    );
    assert_eq!(outcomes(&create, Phase::After), [(Outcome::Before, made)]);

    let remove = |medium: &mut Medium| medium.remove(TWO);
    let gone = vec![here(ONE)];
    assert_eq!(
        outcomes(&remove, Phase::Inside),
        [
            without,
            (Outcome::Unreadable, vec![lost, here(ONE)]),
            (Outcome::After, gone.clone())
        ]
    );
    assert_eq!(outcomes(&remove, Phase::After), [(Outcome::Before, gone)]);
}

#[test]
fn an_unreadable_slot_is_released_or_still_there() {
    let mut medium = medium(plain(), 512);
    medium.add_unreadable();
    let mut released = medium.clone();
    released.release(0).unwrap();
    assert_eq!(list(&mut released).len(), 2);
    assert!(released.release(0).is_err());
    medium.crash_after(1, Phase::Inside);
    medium.release(0).unwrap_err();
    let states = states(&medium, &UNTORN);
    let lens: Vec<usize> = states
        .into_iter()
        .map(|(mut image, _)| list(&mut image).len())
        .collect();
    assert_eq!(lens, [3, 2]);
}

#[test]
fn after_a_failed_sync_the_next_one_lies() {
    let mut medium = medium(plain(), 512);
    medium.write(ONE, 64, &[b"lost"]).unwrap();
    medium.fail_sync(2);
    medium.sync(mark(TWO, 64)).unwrap();
    assert_eq!(medium.sync(mark(ONE, 68)), Err(SimError::SyncFailed));
    assert_eq!(medium.sync(mark(ONE, 68)), Ok(()));
    assert_eq!(medium.bytes(ONE).unwrap()[64..68], *b"lost");
    assert_eq!(contents(&medium, &UNTORN, ONE, 64, 68).len(), 2);
    let [restarted] = <[Medium; 1]>::try_from(medium.after_process_death()).unwrap();
    assert_eq!(
        contents(&restarted, &UNTORN, ONE, 64, 68).len(),
        2,
        "a new process cannot tell"
    );
    medium.settle(ONE, 64, 68).unwrap();
    assert_eq!(
        contents(&medium, &UNTORN, ONE, 64, 68),
        BTreeSet::from([b"lost".to_vec()])
    );
}

#[test]
fn a_device_without_a_cache_leaves_only_the_last_write_open() {
    let mut medium = medium(flash(4), 4).write_through();
    medium.write(ONE, 64, &[&[1; 8]]).unwrap();
    assert_eq!(medium.pending_count(), 0);
    medium.crash_after(1, Phase::Inside);
    medium.write(ONE, 72, &[&[2; 8]]).unwrap_err();
    let states = states(&medium, &UNTORN);
    assert_eq!(states.len(), 4);
    assert!(
        states
            .iter()
            .all(|(image, _)| image.bytes(ONE).unwrap()[64..72] == [1; 8])
    );
}

#[test]
fn claims_survive_with_the_next_sync() {
    let claimed = |medium: &Medium| {
        let (mut image, _) = states(medium, &UNTORN).remove(0);
        image.write(ONE, 64, &[b"x"]).is_ok()
    };
    let mut medium = Medium::new(plain(), 512).with_capacity_limit(4096);
    medium.create(ONE, &header(ONE)).unwrap();
    medium.claim(ONE, 4096).unwrap();
    assert!(!claimed(&medium));
    assert_eq!(medium.create(TWO, &header(TWO)), Err(SimError::Full));
    medium.sync(mark(ONE, 64)).unwrap();
    assert!(claimed(&medium));
}

#[test]
fn units_are_written_once_but_what_was_lost_can_be_written_again() {
    let mut medium = medium(flash(4), 4);
    medium.write(ONE, 64, &[&[0xff; 4]]).unwrap();
    let overwritten = RamError::Overwritten {
        segment: ONE,
        offset: 64,
    };
    assert_eq!(
        medium.write(ONE, 64, &[&[1; 4]]),
        Err(SimError::Rule(overwritten)),
        "the erased value was written"
    );
    medium.write(ONE, 68, &[&[1; 4]]).unwrap();
    for (mut image, survival) in states(&medium, &UNTORN) {
        let lost = image.bytes(ONE).unwrap()[68] == 0xff;
        assert_eq!(image.write(ONE, 68, &[&[2; 4]]).is_ok(), lost, "{survival:?}");
    }
}

#[test]
fn without_an_erased_state_the_newer_write_wins() {
    let mut medium = medium(plain().with_erased(None).unwrap(), 512);
    medium.write(ONE, 100, &[b"older"]).unwrap();
    medium.write(ONE, 64, &[&[b'n'; 40]]).unwrap();
    medium.sync(mark(ONE, 65)).unwrap();
    // The sync reached the newer write, which starts before the mark.
    let seen = contents(&medium, &UNTORN, ONE, 100, 105);
    assert_eq!(seen, BTreeSet::from([b"nnnnr".to_vec()]));
}

#[test]
fn digests_name_content() {
    let mut one = medium(plain(), 512);
    let mut other = medium(plain(), 512);
    assert_eq!(one.digest(), other.digest());
    one.write(ONE, 64, &[b"x"]).unwrap();
    assert_ne!(one.digest(), other.digest(), "pending bytes count");
    other.write(ONE, 64, &[b"x"]).unwrap();
    one.sync(mark(ONE, 65)).unwrap();
    other.sync(mark(ONE, 65)).unwrap();
    assert_eq!(one.digest(), other.digest());
    assert!(other.damage(ONE, |bytes| bytes[4095] ^= 1));
    assert_ne!(one.digest(), other.digest());
    other.claim(ONE, 4096).unwrap();
    other.damage(ONE, |bytes| bytes[64..].fill(0));
    other.write(ONE, 64, &[b"cut off before"]).unwrap();
    one.add_unreadable();
    let with_slot = one.digest();
    one.release(0).unwrap();
    assert_ne!(one.digest(), with_slot);
    assert!(!one.damage(SegmentId(9), |_| ()));
}

#[test]
fn handles_share_a_medium_and_images_do_not() {
    let mut handle = MediumHandle::new(medium(plain(), 512));
    let image = handle.medium();
    let other = handle.clone();
    handle.write(ONE, 64, &[b"x"]).unwrap();
    assert_eq!(&*other.pin(ONE, 63, 66).unwrap(), [header(ONE)[63], b'x', 0]);
    assert_eq!(other.medium().pending_count(), 1);
    assert_eq!(image.pending_count(), 0);
    assert_eq!(image.bytes(ONE).unwrap()[64], 0);
    other.change(|medium| medium.crash_after(1, Phase::After));
    assert_eq!(handle.sync(mark(ONE, 65)), Err(SimError::Crashed));
    assert_eq!(other.medium().pending_count(), 0);
    assert!(other.pin(ONE, 0, 1).is_err());
}
