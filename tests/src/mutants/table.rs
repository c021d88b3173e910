//! Which checker is to catch which fault.

use walstone_core::mutation::Mutation;

use super::{Checker, Fault, Mutant};

const fn core(mutation: Mutation, checker: Checker) -> Mutant {
    Mutant {
        fault: Fault::Core(mutation),
        checker,
    }
}

/// All faults.
pub const TABLE: &[Mutant] = &[
    core(Mutation::SkipSync, Checker::Words),
    core(Mutation::CountBeforeSync, Checker::Words),
    core(Mutation::RetrySync, Checker::Words),
    core(Mutation::SyncWrongSegment, Checker::Words),
    core(Mutation::IgnorePayloadChecksum, Checker::Words),
    core(Mutation::IgnoreHeaderChecksum, Checker::Words),
    core(Mutation::ChecksumWithoutSalt, Checker::Words),
    core(Mutation::ChecksumWithoutPlace, Checker::Words),
    core(Mutation::AcceptAnyIncarnation, Checker::Words),
    core(Mutation::NoLookAhead, Checker::Words),
    core(Mutation::LookAheadWithoutWatermark, Checker::Words),
    core(Mutation::WatermarkIsWritten, Checker::Words),
    core(Mutation::WatermarkOfOlderSegment, Checker::Words),
    core(Mutation::ResumeKeepsIncarnation, Checker::Words),
    core(Mutation::FirstCutWins, Checker::Words),
    core(Mutation::RemoveBeforeSync, Checker::Words),
    core(Mutation::ManifestBeforeSync, Checker::Words),
    core(Mutation::ResumeBeforeSettle, Checker::Words),
    core(Mutation::SkipSettle, Checker::Words),
    core(Mutation::ManifestWithoutPayload, Checker::Words),
    core(Mutation::ManifestWithoutVoids, Checker::Words),
    core(Mutation::ReuseSequence, Checker::Words),
    core(Mutation::LengthBeforeChecksum, Checker::Words),
    core(Mutation::VoidNotClamped, Checker::Words),
    core(Mutation::RemoveTornSuccessor, Checker::Words),
    core(Mutation::FixedSalt, Checker::Words),
    core(Mutation::OneSpare, Checker::Words),
];
