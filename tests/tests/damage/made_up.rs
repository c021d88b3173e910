//! What a resume frame may say: it verifies, and is believed only where a session could have written it.

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
    // It cuts off what is in front of all frames.
    check(one().resume(2, 56, 0), Err(Reason::Resume));
    check(one().resume(2, 0, 0), Err(Reason::Resume));
    // Its sequence does not follow.
    check(one().resume(2, end, 0), Err(Reason::Sequence));
    check(one().resume(2, end, 2), Err(Reason::Sequence));
}
