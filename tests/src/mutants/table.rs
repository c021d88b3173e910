//! Which checker is to catch which fault.
//!
//! Some faults that other logs know cannot be made here, and stand here by the nearest that can:
//!
//! | elsewhere | here |
//! |---|---|
//! | a watermark that saturates | [`Mutation::WatermarkOfOlderSegment`]: a watermark is an offset in its own segment and always fits; wrong is one that was brought along and cut to fit |
//! | a checksum without the incarnation | [`Mutation::AcceptAnyIncarnation`]: its low half stands in the header, which the checksum covers; wrong is not to compare it. No crash leads there, since a session begins behind all that an earlier one left, so a made-up segment shows it |
//! | the highest incarnation is not preferred | [`Mutation::LastCutWins`]: were the first cut taken, the walk behind it would come by the higher one and start anew, with the same log in the end |
//! | the directory sync of a create, and of its rename | [`Lie::SegmentMade`]: a create renames, and one sync covers both; [`Lie::RegionNamed`] is that of a rename alone |

use walstone_core::mutation::Mutation;

use super::{Checker, Fault, Mutant};
use crate::files::lie::Lie;

const fn core(mutation: Mutation, checker: Checker) -> Mutant {
    Mutant {
        fault: Fault::Core(mutation),
        checker,
    }
}

const fn backend(mutation: walstone::mutation::Mutation) -> Mutant {
    Mutant {
        fault: Fault::Std(mutation),
        checker: Checker::Faults,
    }
}

const fn disk(lie: Lie) -> Mutant {
    Mutant {
        fault: Fault::Disk(lie),
        checker: Checker::Files,
    }
}

/// All faults.
pub const TABLE: &[Mutant] = &[
    // What is acknowledged.
    core(Mutation::SkipSync, Checker::Words),
    core(Mutation::CountBeforeSync, Checker::Histories),
    core(Mutation::RetrySync, Checker::Histories),
    core(Mutation::SyncWrongSegment, Checker::Words),
    // What counts as a frame.
    core(Mutation::IgnorePayloadChecksum, Checker::Words),
    core(Mutation::IgnoreHeaderChecksum, Checker::Words),
    core(Mutation::ChecksumWithoutSalt, Checker::FormerLife),
    core(Mutation::FixedSalt, Checker::FormerLife),
    core(Mutation::ChecksumWithoutPlace, Checker::Damage),
    core(Mutation::AcceptAnyIncarnation, Checker::MadeUp),
    core(Mutation::LengthBeforeChecksum, Checker::Words),
    // Where the log ends.
    core(Mutation::NoLookAhead, Checker::Words),
    core(Mutation::LookAheadWithoutWatermark, Checker::Words),
    core(Mutation::WatermarkIsWritten, Checker::Words),
    core(Mutation::WatermarkOfOlderSegment, Checker::Words),
    core(Mutation::LastCutWins, Checker::MadeUp),
    // How a session begins.
    core(Mutation::ResumeKeepsIncarnation, Checker::Words),
    core(Mutation::ResumeBeforeSettle, Checker::Words),
    core(Mutation::SkipSettle, Checker::Words),
    // From segment to segment.
    core(Mutation::RemoveBeforeSync, Checker::Histories),
    core(Mutation::ManifestBeforeSync, Checker::Words),
    core(Mutation::ManifestWithoutPayload, Checker::Words),
    core(Mutation::ManifestWithoutVoids, Checker::Words),
    core(Mutation::RemoveTornSuccessor, Checker::Healing),
    core(Mutation::OneSpare, Checker::FullDevice),
    // Sequences.
    core(Mutation::ReuseSequence, Checker::Histories),
    core(Mutation::VoidNotClamped, Checker::Words),
    // Futures that are dropped.
    core(Mutation::ForgetDropped, Checker::Drops),
    core(Mutation::SkipDropped, Checker::Drops),
    // Files and their names.
    backend(walstone::mutation::Mutation::SwallowShortWrite),
    backend(walstone::mutation::Mutation::SkipGroupSync),
    disk(Lie::Header),
    disk(Lie::Segment),
    disk(Lie::WrongSegment),
    disk(Lie::Settled),
    disk(Lie::SegmentMade),
    disk(Lie::SegmentRemoved),
    disk(Lie::RegionNamed),
    disk(Lie::RegionRemoved),
    disk(Lie::RegionListed),
    disk(Lie::RootMade),
    disk(Lie::RootListed),
];
