//! What errors say, of what kind and fault they are, and what caused them: the part of an error that reaches a log file.
#![cfg(feature = "alloc")]

use std::error::Error as Cause;

use walstone_core::flat::{FlatError, FlatGeometryError, IoError, OpenError, SliceError};
use walstone_core::ram::RamError;
use walstone_core::segment::header::HeaderError;
use walstone_core::{
    Batch, Checksum, Corruption, Error, Fault, Geometry, GeometryError, Malformed, NewRecord, PoisonCause, Reason,
    SegmentId, StorageError, frame,
};

const SEGMENT: SegmentId = SegmentId(5);

#[track_caller]
fn says(error: &dyn Cause, text: &str) {
    assert_eq!(error.to_string(), text);
    let first = text.chars().next();
    assert!(first.is_some_and(|first| !first.is_uppercase()) || text.starts_with("Walstone"));
    assert!(!text.ends_with('.'));
}

type Of = Error<RamError>;

#[test]
fn of_a_log() {
    let given = Geometry::new(4096)
        .and_then(|geometry| geometry.with_erased(None))
        .expect("it works");
    let stored = Geometry::new(8192).expect("it works");
    let poisons = [
        (PoisonCause::Write, "a write failed"),
        (PoisonCause::HandOver, "handing written bytes over failed"),
        (PoisonCause::Sync, "a sync failed"),
        (PoisonCause::Settle, "making recovered bytes durable failed"),
    ];
    for (cause, text) in poisons {
        says(&Of::Poisoned(cause), &format!("poisoned since {text}"));
    }
    let cases: [(Of, &str); 15] = [
        (
            Of::Storage(RamError::Full { limit: 9 }),
            "storage failed: all 9 bytes are claimed",
        ),
        (Of::Full, "no room for more data"),
        (
            Of::RecordTooLarge { len: 9, max: 8 },
            "9 bytes in one batch, at most 8 fit",
        ),
        (Of::EmptyBatch, "empty batch"),
        (Of::TooManyVoids { max: 3 }, "more than 3 deleted ranges"),
        (Of::TooManySegments { needed: 3 }, "room for 3 segments is needed"),
        (Of::BufferTooSmall { needed: 3 }, "a buffer of 3 bytes is needed"),
        (
            Of::GeometryMismatch { stored, given },
            "stored with segments of 8192 bytes, write unit 1, sync unit 1, page 1, erased to 0x00; opened with segments \
             of 4096 bytes, write unit 1, sync unit 1, page 1, no erased state",
        ),
        (Of::NoRegion, "no region on this storage"),
        (Of::RegionExists, "a region exists on this storage"),
        (Of::SequenceExhausted, "all sequences are used up"),
        (Of::IncarnationExhausted, "all incarnations are used up"),
        (Of::ReadOnly, "opened for reading only"),
        (Of::Closed, "closed"),
        (Of::NoRecord, "no such record in this log"),
    ];
    says(&Malformed, "record does not decode although its checksum verifies");
    for (error, text) in cases {
        says(&error, text);
        assert_eq!(
            error.source().is_some(),
            matches!(error, Error::Storage(_)),
            "{error:?}"
        );
    }
}

#[test]
fn of_damage() {
    let header = |error| Reason::Header(error);
    let cases = [
        (header(HeaderError::Short), "segment header is cut short"),
        (header(HeaderError::Magic), "not a Walstone segment"),
        (
            header(HeaderError::Version0),
            "a version 0 segment, which is to be imported",
        ),
        (header(HeaderError::Version(9)), "unknown format version 9"),
        (header(HeaderError::Checksum), "segment header does not verify"),
        (header(HeaderError::Reserved), "segment header uses a reserved field"),
        (
            header(HeaderError::Geometry(GeometryError::WriteUnit { write_unit: 3 })),
            "segment header holds an impossible geometry: write unit of 3 bytes is not a power of two in 1..=4096",
        ),
        (Reason::Region { found: 8 }, "segment belongs to region 8"),
        (Reason::Identity { found: SegmentId(6) }, "header names segment 6"),
        (Reason::Duplicate, "two segments claim this id"),
        (Reason::Manifest, "manifest does not verify"),
        (Reason::FrameHeader, "frame header does not verify"),
        (Reason::FrameLength, "frame length is impossible"),
        (Reason::Payload, "payload does not verify"),
        (Reason::Record, "record does not decode"),
        (Reason::Sequence, "sequence does not follow"),
        (Reason::Resume, "resume frame names an impossible place"),
        (Reason::Seal, "footer does not decode"),
        (Reason::Unsupported, "frame of a later version"),
        (Reason::Missing, "segment is listed but missing"),
        (Reason::SuccessorMissing, "successor of a sealed segment is missing"),
        (Reason::NoManifest, "no segment has a manifest that verifies"),
    ];
    for (reason, text) in cases {
        let found = Corruption {
            segment: SEGMENT,
            offset: 64,
            reason,
        };
        says(&found, &format!("segment 5 at 64: {text}"));
        let error = Of::Corrupt(found);
        says(&error, &format!("corrupt: {found}"));
        assert_eq!(error.source().map(ToString::to_string), Some(found.to_string()));
    }
    says(&frame::HeaderError::Kind, "not a frame kind");
    says(&frame::HeaderError::Checksum, "frame header does not verify");
    says(&frame::HeaderError::Reserved, "frame uses a reserved bit");
}

#[test]
fn of_impossible_geometries() {
    let cases = [
        (
            GeometryError::SyncUnit { sync_unit: 3 },
            "sync unit of 3 bytes is neither 1 nor a power of two in 128..=65536 of at least the write unit",
        ),
        (
            GeometryError::PageLen { page_len: 3 },
            "page of 3 bytes is not a power of two between the write unit and an eighth of the segment",
        ),
        (
            GeometryError::SegmentTooSmall { segment_len: 1, min: 2 },
            "segment of 1 bytes is smaller than the 2 bytes its reserve needs",
        ),
        (
            GeometryError::SegmentTooLarge { segment_len: 3, max: 2 },
            "segment of 3 bytes is larger than 2 bytes",
        ),
        (
            GeometryError::Unaligned {
                segment_len: 3,
                step: 2,
            },
            "segment of 3 bytes is not a multiple of 2 bytes",
        ),
    ];
    for (error, text) in cases {
        says(&error, text);
        let flat = FlatGeometryError::Segment(error);
        says(&flat, text);
        let open = OpenError::<SliceError>::Geometry(flat);
        says(&open, text);
        assert_eq!(open.source().map(ToString::to_string).as_deref(), Some(text));
    }
    let flat = [
        (
            FlatGeometryError::EraseUnit { erase_unit: 3, unit: 2 },
            "erase block of 3 bytes is not a multiple of 2 bytes",
        ),
        (
            FlatGeometryError::SlotUnaligned { slot_len: 3, step: 2 },
            "slot of 3 bytes is not a multiple of 2 bytes and of the page",
        ),
        (
            FlatGeometryError::SlotTooSmall { slot_len: 3, min: 4 },
            "slot of 3 bytes is smaller than the 4 bytes it needs",
        ),
        (
            FlatGeometryError::TooFewSlots { slots: 1, min: 3 },
            "1 slots on the device, at least 3 are needed",
        ),
    ];
    for (error, text) in flat {
        says(&error, text);
    }
}

/// What a storage says, its kind, and whether nothing changed.
#[track_caller]
fn check<E: StorageError + 'static>(error: E, text: &str, kind: embedded_io::ErrorKind, fault: Fault) {
    says(&error, text);
    assert_eq!((error.kind(), error.fault()), (kind, fault), "{text}");
}

#[test]
fn of_storages() {
    use embedded_io::ErrorKind::{AlreadyExists, InvalidData, InvalidInput, NotFound, OutOfMemory};
    let segment = SEGMENT;
    let (offset, unit) = (3, 2);
    let device = Fault::Device;
    check(
        RamError::NotFound { segment },
        "segment 5 is not there",
        NotFound,
        device,
    );
    check(
        RamError::NoSlot { slot: 1 },
        "there is no unreadable slot 1",
        NotFound,
        device,
    );
    check(
        RamError::Exists { segment },
        "segment 5 is there already",
        AlreadyExists,
        device,
    );
    check(
        RamError::Full { limit: 9 },
        "all 9 bytes are claimed",
        OutOfMemory,
        Fault::Full,
    );
    check(
        RamError::OutOfBounds {
            offset,
            len: 9,
            segment_len: 8,
        },
        "9 bytes at 3 pass the segment's 8 bytes",
        InvalidInput,
        device,
    );
    check(
        RamError::Unaligned { offset, unit },
        "a write at 3 does not start at a unit of 2 bytes",
        InvalidInput,
        device,
    );
    check(
        RamError::NotClaimed { end: 9, claimed: 8 },
        "a write up to 9 passes the claim, which ends at 8",
        InvalidInput,
        device,
    );
    check(
        RamError::Overwritten { segment, offset },
        "the unit at 3 of segment 5 was written before",
        InvalidInput,
        device,
    );
    check(
        RamError::WrongLength { len: 3, segment_len: 8 },
        "a segment has 3 bytes in place of 8",
        InvalidData,
        device,
    );
}

#[test]
fn of_flat_devices() {
    use embedded_io::ErrorKind::{AlreadyExists, InvalidData, InvalidInput, NotFound, Other, OutOfMemory};
    type Flat = FlatError<IoError<SliceError>>;
    let (segment, device) = (SEGMENT, Fault::Device);
    let short = "the bytes end before the device does";
    check(SliceError, short, InvalidInput, device);
    check(IoError::Io(SliceError), short, InvalidInput, device);
    check(IoError::<SliceError>::Short, short, InvalidData, device);
    let failed = format!("device failed: {short}");
    check(Flat::Device(IoError::Short), &failed, InvalidData, device);
    check(Flat::Full, "no slot is free", OutOfMemory, Fault::Full);
    check(Flat::SyncFailed, "an earlier sync failed", Other, device);
    check(Flat::NotFound { segment }, "segment 5 is not there", NotFound, device);
    check(
        Flat::Exists { segment },
        "segment 5 is there already",
        AlreadyExists,
        device,
    );
    check(
        Flat::NoSlot { slot: 1 },
        "there is no unreadable slot 1",
        NotFound,
        device,
    );
    check(
        Flat::OutOfBounds { offset: 3, len: 9 },
        "9 bytes at 3 pass the end of the segment",
        InvalidInput,
        device,
    );
    check(
        Flat::Unaligned { offset: 3 },
        "a write at 3 does not start at a write unit",
        InvalidInput,
        device,
    );
    let error = Flat::from(IoError::Io(SliceError));
    assert!(error.source().is_some_and(|cause| cause.source().is_none()));
    assert!(Flat::Full.source().is_none());

    type Open = OpenError<SliceError>;
    let stored = Geometry::new(4096).expect("it works");
    says(&Open::Device(SliceError), &failed);
    says(
        &Open::Room { slots: 3, gather: 8 },
        "room for 3 slots and for gathering 8 bytes is needed",
    );
    says(&Open::Shifted, "the segments of the device stand beside the slots");
    let given = stored;
    says(
        &Open::Mismatch { stored, given },
        &format!("stored with {stored}; opened with {given}"),
    );
    assert!(Open::Device(SliceError).source().is_some() && Open::Shifted.source().is_none());
}

#[cfg(feature = "embedded-storage")]
#[test]
fn of_drivers() {
    use embedded_io::ErrorKind::{InvalidData, InvalidInput, Other};
    use embedded_storage::nor_flash::NorFlashErrorKind;
    use walstone_core::flat::{ByteError, NorError};
    let nor = |error, unreadable| NorError { error, unreadable };
    let device = Fault::Device;
    check(
        nor(NorFlashErrorKind::NotAligned, false),
        "flash driver was given something unaligned",
        InvalidInput,
        device,
    );
    check(
        nor(NorFlashErrorKind::OutOfBounds, false),
        "flash driver was asked for something out of bounds",
        InvalidInput,
        device,
    );
    check(
        nor(NorFlashErrorKind::Other, false),
        "flash driver failed",
        Other,
        device,
    );
    check(
        nor(NorFlashErrorKind::Other, true),
        "flash is unreadable here",
        InvalidData,
        Fault::Unreadable,
    );
    check(ByteError { error: "it" }, "storage driver failed", Other, device);
}

#[test]
fn of_version_0() {
    use walstone_core::v0::{DecodeError, EncodeError};
    let decoding = [
        (
            DecodeError::Truncated {
                needed: 9,
                available: 8,
            },
            "the fixed part takes 9 bytes, 8 are there",
        ),
        (
            DecodeError::BadSegmentVersion { found: 1 },
            "segment version is 1, not 0",
        ),
        (DecodeError::BadMagic, "segment header does not name HoraeDBWAL"),
        (DecodeError::BadVersion { found: 1 }, "record version is 1, not 0"),
        (
            DecodeError::LengthMismatch {
                length: 9,
                value_len: 8,
            },
            "record length 9 contradicts a value of 8 bytes",
        ),
        (
            DecodeError::LengthOutOfBounds {
                value_len: 9,
                available: 8,
            },
            "the value takes 9 bytes, 8 are there",
        ),
        (
            DecodeError::Checksum {
                stored: 1,
                computed: 0xabc,
            },
            "record states checksum 00000001 and has 00000abc",
        ),
    ];
    for (error, text) in decoding {
        says(&error, text);
    }
    says(
        &EncodeError::ValueTooLong { len: 9, max: 8 },
        "the value has 9 bytes, at most 8 can be stated",
    );
    says(
        &EncodeError::BufferTooSmall {
            needed: 9,
            available: 8,
        },
        "the encoding takes 9 bytes, the buffer has 8",
    );
}

/// What a program prints of values that hold memory is short, whatever they hold.
#[test]
fn of_debug_output() {
    let mut room = [0; 64];
    let batch = Batch::lent(&mut room);
    assert!(format!("{batch:?}").contains("Buffer(64 bytes)"));
    assert_eq!(format!("{:?}", Checksum::BITWISE), "Checksum(CRC-32/ISCSI)");
}

/// A batch in lent memory that is full says what it would have needed.
#[test]
fn of_a_full_batch() {
    let mut room = [0; 16];
    let mut batch = Batch::lent(&mut room);
    let full = batch
        .try_push(&NewRecord::new(1, &[7; 64]))
        .expect_err("64 bytes do not fit 16");
    assert!(full.needed > 64);
    says(&full, &format!("the batch needs {} bytes", full.needed));
}
