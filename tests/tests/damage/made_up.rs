//! What frames may say: they verify, and are believed only where a session could have written them.

use walstone_core::{Capacity, Error, Log, Reason};
use walstone_tests::images::{self, read_all};
use walstone_tests::mutants::made_up::MadeUp;

/// How many records a made-up segment holds, or what is damaged in it.
#[track_caller]
fn check(segment: MadeUp, expect: Result<usize, Reason>) {
    let found = match Log::open(segment.storage(), Capacity::heap(0), images::options()) {
        Ok(mut log) => {
            let (live, error) = read_all(&mut log, None);
            assert_eq!(error, None);
            Ok(live.len())
        }
        Err(Error::Corrupt(found)) => Err(found.reason),
        Err(other) => panic!("{other:?}"),
    };
    assert_eq!(found, expect);
}

#[test]
fn a_resume_frame_is_believed_where_a_session_could_have_written_it() {
    let start = MadeUp::segment().end();
    let one = || MadeUp::segment().record(1, 0);
    let end = one().end();
    check(one(), Ok(1));
    // As it should be: at the end, and back over what its session did not see.
    check(one().resume(2, end, 1).record(2, 1), Ok(2));
    check(one().resume(2, start, 0).record(2, 0).record(2, 1), Ok(2));
    // The incarnation does not rise: what stands there was torn, and nothing behind it counts.
    check(one().resume(1, end, 1).record(1, 1), Ok(1));
    check(one().resume(2, end, 1).resume(2, end, 1).record(2, 1), Ok(1));
    // It names a place behind itself.
    check(one().resume(2, end + 8, 1).record(2, 1), Ok(1));
    check(one().resume(2, u32::MAX, 1).record(2, 1), Ok(1));
    // A session that saw more than a later one did: what the later one cut off again is not counted twice.
    let seen = one().record(1, 1).resume(2, end, 1).record(2, 1);
    check(seen.clone(), Ok(2));
    check(seen.resume(3, end, 1).record(3, 1).record(3, 2), Ok(3));
    // Frames of a session that did not begin here, and of one that is over.
    check(one().record(2, 1), Ok(1));
    check(one().resume(2, end, 1).record(1, 1), Ok(1));
    // It cuts off the manifest, and what is in front of all frames.
    check(one().resume(2, 64, 0), Err(Reason::Manifest));
    check(one().resume(2, 56, 0), Err(Reason::Resume));
    check(one().resume(2, 0, 0), Err(Reason::Resume));
    // Its sequence does not follow.
    check(one().resume(2, end, 0), Err(Reason::Sequence));
    check(one().resume(2, end, 2), Err(Reason::Sequence));
}

#[test]
fn a_record_stays_within_its_batch_and_a_deletion_behind_what_was_given() {
    let batch = |payload: &[u8]| MadeUp::segment().batch(1, 0, payload);
    let void = |from: u64, to: u64| [&[1, 1][..], &from.to_le_bytes(), &to.to_le_bytes()].concat();
    let one = [1 << 3, 1, b'v'];
    check(batch(&one), Ok(1));
    check(batch(&[one, one].concat()), Ok(2));
    // A value, or what stands in front of it, that is longer than the rest.
    for cut in 1..3 {
        check(batch(&one[..cut]), Err(Reason::Record));
    }
    check(batch(&[2 << 3, 1, b'v']), Err(Reason::Record));
    check(batch(&[5 << 3, 1, b'v']).record(1, 1), Err(Reason::Record));
    check(batch(&[&one[..], &[40 << 3, 1, b'v']].concat()), Err(Reason::Record));
    // The table of the one before, where there is none.
    check(batch(&[1 << 3 | 2, b'v']), Err(Reason::Record));
    check(batch(&[&one[..], &[1 << 3 | 2, b'v']].concat()), Ok(2));
    // Bits and fields that nobody writes.
    check(batch(&[3, 1]), Err(Reason::Record));
    check(batch(&[1 << 3 | 4, 1, 0, b'v']), Err(Reason::Record));
    check(batch(&[1 << 3 | 4, 1, 4, b'v']), Err(Reason::Record));
    // A deletion of what was given, of what comes next, and of what comes later.
    check(batch(&[&one[..], &void(1, 1), &one].concat()), Ok(1));
    check(batch(&[&one[..], &void(1, 2), &one].concat()), Err(Reason::Record));
    check(batch(&[&one[..], &void(1, 9), &one].concat()), Err(Reason::Record));
    check(batch(&void(1, 1)), Err(Reason::Record));
}

/// A session states the low half of its incarnation alone, so it begins no further from the manifest than that tells.
#[test]
fn a_session_that_is_too_far_from_the_manifest_begins_a_new_segment() {
    for (incarnation, segment) in [(2, 1), (65_535, 1), (65_536, 2)] {
        let one = MadeUp::segment().record(1, 0);
        let made = one.clone().resume(incarnation, one.end(), 1).record(incarnation, 1);
        let mut log = Log::open(made.storage(), Capacity::heap(0), images::options()).unwrap();
        assert_eq!(log.append(1, b"third").map(|at| at.first), Ok(3));
        assert_eq!(log.written_mark().segment.0, segment, "{incarnation}");
    }
}

#[test]
fn a_seal_names_its_successor() {
    let sealed = |payload: &[u8]| MadeUp::segment().record(1, 0).seal(1, 1, payload);
    let named = |id: u64| [&id.to_le_bytes()[..], &[0; 24]].concat();
    check(sealed(&named(2)), Err(Reason::SuccessorMissing));
    check(sealed(&named(1)), Err(Reason::SuccessorMissing));
    check(sealed(&named(0)), Err(Reason::Seal));
    check(sealed(&named(2)[..8]), Err(Reason::SuccessorMissing));
    check(sealed(&named(2)[..7]), Err(Reason::Seal));
}

/// Behind the first offset without a frame, only what a session of this log could have written there proves anything.
#[test]
fn what_is_met_behind_the_end_proves_what_it_could_know() {
    let torn = || MadeUp::segment().record(1, 0).noise();
    let end = torn().end() - 24;
    check(torn(), Ok(1));
    // What stands before `end` was durable, as far as anyone says; a byte more, and a durable byte is damaged.
    check(torn().pad(1, 1, end, 0), Ok(1));
    check(torn().pad(1, 1, end + 1, 0), Err(Reason::FrameHeader));
    check(torn().pad(2, 1, end + 1, 0), Err(Reason::FrameHeader));
    // One that proves it is not unsaid by another behind it.
    check(torn().pad(1, 1, end + 1, 0).pad(1, 1, end, 0), Err(Reason::FrameHeader));
    // Of a session before this one.
    let later = || MadeUp::segment().record(1, 0).resume(2, end, 1).noise();
    check(later().pad(2, 1, later().end(), 0), Err(Reason::FrameHeader));
    check(later().pad(1, 1, later().end(), 0), Ok(1));
    // Durable to behind itself.
    let at = torn().end();
    check(torn().pad(1, 1, at, 0), Err(Reason::FrameHeader));
    check(torn().pad(1, 1, at + 1, 0), Ok(1));
    // As long as the segment allows, and longer.
    let rest = 4096 - at - 24;
    check(torn().pad(1, 1, at, rest), Err(Reason::FrameHeader));
    for len in [rest + 1, rest + 24, rest + 48, rest + at, u32::MAX] {
        check(torn().pad(1, 1, at, len), Ok(1));
    }
    // A session that went on behind it, and one that could not have.
    check(torn().resume(2, end, 1).record(2, 1), Ok(2));
    check(torn().resume(1, end, 1).record(1, 1), Ok(1));
    check(torn().resume(2, end + 8, 1).record(2, 1), Ok(1));
    // The latest one goes on.
    let third = || torn().resume(3, end, 1).record(3, 1).record(3, 2).noise();
    check(third(), Ok(3));
    check(third().resume(2, end, 1).record(2, 1), Ok(3));
    check(torn().resume(2, end, 1).record(2, 1).noise().resume(3, end, 1), Ok(1));
}
