//! Histories that once broke a promise, each by its story.

use walstone_tests::crash::history::Op;
use walstone_tests::crash::run::Life;
use walstone_tests::crash::setup::Setup;

use crate::check;

fn named(name: &str) -> Setup {
    Setup::named(name).expect("the medium is known")
}

/// The first manifest ends in zeros: it lists nothing. After a loss of power the medium cannot tell them from a hole
/// and placed the extent in front of them; the walk stopped there and called the manifest damaged.
#[test]
fn a_frame_that_ends_in_erased_bytes_reaches_over_the_extent() {
    check(0, |explorer| explorer.creation(&named("sectors")));
}

/// A torn frame with a whole header was cut off by a session that began within the length that the header names, and
/// the segment ended there too. Recovery read over it; reading the segment later called it damaged.
#[test]
fn a_segment_does_not_end_within_a_torn_frame() {
    check(1, |explorer| {
        explorer.word(&named("bytes"), &[Op::Largest, Op::Durable, Op::Small], &[Op::Largest])
    });
}

/// The log was closed in a segment without room for another session, and kept a spare. The next session wrote its
/// manifest into the spare and lost power. The log behind it still ended with the close frame, so the session after
/// that took the spare for blank and wrote into the same units.
#[test]
fn a_spare_that_a_session_wrote_to_is_not_written_again() {
    // Sessions that write nothing but that they began and closed fill the segment.
    for sessions in 0..14 {
        let mut fill = vec![Op::Durable];
        (0..sessions).for_each(|_| fill.extend([Op::Reclaim, Op::CloseReopen]));
        check(0, |explorer| explorer.word(&named("flash"), &fill, &[Op::Durable]));
    }
}

/// User data filled the list of segments to the limit of a manifest; the one deletion that would have freed all of
/// it needed one more range and was refused for good.
#[test]
fn a_log_at_the_limit_of_its_facts_can_be_deleted_from() {
    for setup in ["bytes", "flash", "sync-units"] {
        check(0, |_| {
            let setup = named(setup);
            let mut life = Life::create(&setup)?;
            while life.counters().refusals == 0 {
                life.perform(Op::Largest)?;
            }
            Ok(life.probe()?)
        });
    }
}

/// A log whose facts were at the limit lost power, and the next session found no room to resume: it went on in a new
/// segment, whose manifest listed one segment more than user data may lead to. The deletion that would have freed all of
/// it was refused for good.
#[test]
fn a_session_takes_nothing_that_is_kept_for_deletions() {
    use Op::{Batch, DeleteOther, Durable, Largest, Reopen, Small, TwoUnits};
    check(0, |_| {
        let setup = named("flash");
        let mut life = Life::create(&setup)?;
        let word = [
            TwoUnits,
            Reopen,
            Largest,
            Durable,
            Durable,
            Durable,
            TwoUnits,
            Largest,
            Small,
            Batch,
            Small,
            Batch,
            Reopen,
            Largest,
            Largest,
            Durable,
            Small,
            Small,
            Largest,
            DeleteOther,
            Reopen,
        ];
        for op in word {
            life.perform(op)?;
        }
        Ok(life.probe()?)
    });
}

/// A process died in the middle of the pad behind its close frame, where that leaves no trace. The next session settled
/// the close frame and not the pad in the same sync unit; when that was torn its own resume frame, which named a later
/// place, proved the log damaged.
#[test]
fn a_session_settles_the_whole_sync_unit() {
    for setup in ["card", "card-blocks"] {
        check(1, |explorer| explorer.word(&named(setup), &[], &[Op::CloseReopen]));
    }
}

/// Deletions that free nothing took the log to the limit of its facts, and its last segment was filled with them.
#[test]
fn a_log_full_of_deletions_can_be_deleted_from() {
    for setup in ["bytes", "flash", "words", "sync-units"] {
        for deletions in 1..8 {
            check(0, |_| {
                let setup = named(setup);
                let mut life = Life::create(&setup)?;
                while life.counters().refusals == 0 {
                    life.perform(Op::Largest)?;
                }
                for _ in 0..40 {
                    let ops = [Op::Batch]
                        .into_iter()
                        .chain([Op::TruncateSuffix; 8].into_iter().take(deletions));
                    for op in ops {
                        life.perform(op)?;
                    }
                }
                Ok(life.probe()?)
            });
        }
    }
}

/// A frame lost its last byte. The session after it began right behind the last byte that was there, and the first
/// byte of what it wrote was the one that the frame had lost: the frame verified, and deleted what it named.
#[test]
fn what_is_written_behind_a_torn_frame_does_not_complete_it() {
    check(1, |explorer| {
        let word = [Op::BatchWithVoids, Op::DeletePrefix];
        explorer.word(&named("bytes"), &[], &word)
    });
}

/// A process died while it wrote the pad behind a frame that was not synced yet. The next one found the frame and made
/// its bytes durable, but not the pad's, which are in the same sync unit and were still on their way: the power failed,
/// the sync unit was torn, and a record that had been recovered was gone.
#[test]
fn what_was_recovered_is_not_torn_by_a_write_of_the_process_before() {
    check(0, |explorer| explorer.word(&named("sync-units"), &[], &[Op::Durable]));
}
