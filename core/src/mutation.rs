//! Faults that are put in on purpose, so that the checkers of the test suite can show that they catch them. Compiled in
//! under `--cfg walstone_mutants` alone: without it `is` is a constant `false` and no code is left of any of them.
//!
//! What each one breaks, and which checker is to catch it, stands in `tests/src/mutants`.

#[cfg(walstone_mutants)]
use core::sync::atomic::{AtomicU8, Ordering};

/// One fault. The name says what is done in place of what is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mutation {
    /// A sync is answered without being asked of the storage.
    SkipSync = 1,
    /// What is to be synced counts as durable before the sync returned.
    CountBeforeSync,
    /// A sync that failed is asked for again, and the second answer is believed.
    RetrySync,
    /// The segment in hand for later is synced in place of the one that was written.
    SyncWrongSegment,
    /// The checksum of a payload is not compared.
    IgnorePayloadChecksum,
    /// The checksum of a frame header is not compared.
    IgnoreHeaderChecksum,
    /// Frames are not bound to the salt of their segment.
    ChecksumWithoutSalt,
    /// Frames are not bound to their place.
    ChecksumWithoutPlace,
    /// Frames of an earlier session are taken for frames of this one.
    AcceptAnyIncarnation,
    /// Nothing is looked for behind the first offset without a frame.
    NoLookAhead,
    /// Whatever stands behind the first offset without a frame proves damage.
    LookAheadWithoutWatermark,
    /// Frames vouch for what was written.
    WatermarkIsWritten,
    /// A new segment begins with the watermark of the one before, as far as it fits.
    WatermarkOfOlderSegment,
    /// A session resumes with the incarnation before it.
    ResumeKeepsIncarnation,
    /// Of several cuts the last one found counts, of whichever session it is.
    LastCutWins,
    /// Segments are removed before the manifest that omits them is durable.
    RemoveBeforeSync,
    /// The next manifest is written before the segment in front of it is durable.
    ManifestBeforeSync,
    /// A session begins before what was recovered is settled.
    ResumeBeforeSettle,
    /// What was recovered counts as durable without being settled.
    SkipSettle,
    /// A manifest counts whose payload does not verify.
    ManifestWithoutPayload,
    /// Manifests state no deleted range.
    ManifestWithoutVoids,
    /// Where nothing is left of the log, sequences begin again.
    ReuseSequence,
    /// As many bytes are asked for as a header says that was not verified.
    LengthBeforeChecksum,
    /// A deletion reaches over sequences that were not given yet.
    VoidNotClamped,
    /// The segment that a torn seal may name is removed with the others.
    RemoveTornSuccessor,
    /// All segments have the same salt.
    FixedSalt,
    /// A log goes on without a second segment in hand.
    OneSpare,
    /// An operation goes on behind a dropped future as if nothing had been under way.
    ForgetDropped,
    /// A segment counts as read before its reading began.
    SkipDropped,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Self; 29] = [
        Self::SkipSync,
        Self::CountBeforeSync,
        Self::RetrySync,
        Self::SyncWrongSegment,
        Self::IgnorePayloadChecksum,
        Self::IgnoreHeaderChecksum,
        Self::ChecksumWithoutSalt,
        Self::ChecksumWithoutPlace,
        Self::AcceptAnyIncarnation,
        Self::NoLookAhead,
        Self::LookAheadWithoutWatermark,
        Self::WatermarkIsWritten,
        Self::WatermarkOfOlderSegment,
        Self::ResumeKeepsIncarnation,
        Self::LastCutWins,
        Self::RemoveBeforeSync,
        Self::ManifestBeforeSync,
        Self::ResumeBeforeSettle,
        Self::SkipSettle,
        Self::ManifestWithoutPayload,
        Self::ManifestWithoutVoids,
        Self::ReuseSequence,
        Self::LengthBeforeChecksum,
        Self::VoidNotClamped,
        Self::RemoveTornSuccessor,
        Self::FixedSalt,
        Self::OneSpare,
        Self::ForgetDropped,
        Self::SkipDropped,
    ];
}

/// The fault of this process: 0, or one of [`Mutation`].
#[cfg(walstone_mutants)]
static PRESENT: AtomicU8 = AtomicU8::new(0);

/// Puts a fault in, or takes it out again.
#[cfg(walstone_mutants)]
pub fn put_in(mutation: Option<Mutation>) {
    PRESENT.store(mutation.map_or(0, |mutation| mutation as u8), Ordering::Relaxed);
}

/// Whether this fault was put in.
#[cfg(walstone_mutants)]
pub(crate) fn is(mutation: Mutation) -> bool {
    PRESENT.load(Ordering::Relaxed) == mutation as u8
}

/// Whether this fault was put in.
#[cfg(not(walstone_mutants))]
#[inline(always)]
pub(crate) const fn is(_: Mutation) -> bool {
    false
}
