//! Salvage hands out everything that verifies and names what does not, whatever the damage.

use std::collections::BTreeMap;

use walstone_core::ram::RamStorage;
use walstone_core::segment::header;
use walstone_core::{Capacity, Checksum, Gap, Geometry, Log, Options, Reason, Salvaged, SegmentId, Void, salvage};
use walstone_tests::images::{late_session, options};

const SEGMENT_LEN: u32 = 4096;

/// A record and where its frame stands.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    segment: SegmentId,
    frame: u32,
    frame_end: u32,
    table: u64,
    value: Vec<u8>,
}

/// What was salvaged.
#[derive(Debug, Default)]
struct Got {
    records: BTreeMap<u64, (u64, Vec<u8>)>,
    undated: usize,
    voids: Vec<Void>,
    gaps: Vec<Gap>,
}

/// A log of several sessions and segments with a deletion in its middle, and its records by sequence.
fn image() -> (RamStorage, BTreeMap<u64, Known>) {
    let storage = RamStorage::new(Geometry::new(SEGMENT_LEN).unwrap());
    let mut log = Log::create(storage, Capacity::heap(0), Options::new(1, 2)).unwrap();
    let mut known = BTreeMap::new();
    for n in 1..=150u64 {
        let value = vec![n as u8; 20 + (n % 60) as usize];
        let at = log.append(n % 4, &value).unwrap();
        let record = Known {
            segment: at.mark.segment,
            frame: at.position.offset(),
            frame_end: at.mark.end,
            table: n % 4,
            value,
        };
        known.insert(at.first, record);
        if n % 20 == 0 {
            // Each session has an incarnation of its own, so that the segments do not share one.
            log.close().unwrap();
            log = Log::open(log.into_storage(), Capacity::heap(0), Options::new(1, n)).unwrap();
        }
        if n == 70 {
            log.delete_up_to(1, 3).unwrap();
        }
    }
    log.sync().unwrap();
    let storage = log.into_storage();
    assert!(storage.ids().count() >= 5);
    (storage, known)
}

fn salvaged(storage: &mut RamStorage) -> Got {
    let mut got = Got::default();
    salvage(storage, Checksum::BYTEWISE, &mut |found| match found {
        Salvaged::Record { record, dated: true } => {
            let twice = got
                .records
                .insert(record.sequence, (record.table, record.value.to_vec()));
            assert_eq!(twice, None, "sequence {} twice", record.sequence);
        }
        Salvaged::Record { .. } => got.undated += 1,
        Salvaged::Void(void) => got.voids.push(void),
        Salvaged::Gap(gap) => got.gaps.push(gap),
        _ => {}
    })
    .unwrap();
    got
}

/// Damages `range` of a segment, salvages, and compares with what was appended.
#[track_caller]
fn check(segment: SegmentId, range: std::ops::Range<u32>, damage: impl Fn(&mut [u8])) -> Got {
    let (mut storage, known) = image();
    let bytes = storage.bytes_mut(segment).unwrap();
    let before = bytes[range.start as usize..range.end as usize].to_vec();
    damage(&mut bytes[range.start as usize..range.end as usize]);
    let changed = bytes[range.start as usize..range.end as usize] != before;
    let got = salvaged(&mut storage);
    if !changed {
        assert_eq!(got.records.len(), known.len());
        return got;
    }
    let header_hit = range.start < header::HEADER_LEN as u32;
    // Erased bytes at the very end of the newest segment look as if nothing had been there.
    let log_end = known
        .values()
        .next_back()
        .map(|last| (last.segment, last.frame_end))
        .unwrap();
    let at_log_end = segment == log_end.0 && range.end >= log_end.1;
    for (sequence, record) in &known {
        let touched =
            record.segment == segment && (header_hit || (record.frame < range.end && range.start < record.frame_end));
        match got.records.get(sequence) {
            Some((table, value)) => assert_eq!((*table, value), (record.table, &record.value), "sequence {sequence}"),
            None => {
                assert!(touched, "sequence {sequence} is whole and was not handed out: {got:?}");
                let named = got
                    .gaps
                    .iter()
                    .any(|gap| gap.segment == segment && gap.from <= record.frame && record.frame < gap.to);
                assert!(
                    named || at_log_end,
                    "sequence {sequence} is lost and no gap says so: {:?}",
                    got.gaps
                );
            }
        }
    }
    assert_eq!(got.undated, 0);
    got
}

fn segments() -> Vec<SegmentId> {
    let (storage, known) = image();
    let used: Vec<_> = storage
        .ids()
        .filter(|id| known.values().any(|record| record.segment == *id))
        .collect();
    assert!(used.len() >= 4, "{used:?}");
    used
}

#[test]
fn a_whole_log_has_no_gap_and_says_what_was_deleted() {
    let got = check(SegmentId(1), 0..0, |_| {});
    assert_eq!(got.gaps, []);
    assert_eq!(
        got.voids,
        [Void {
            table: 1,
            from: 1,
            to: 3
        }]
    );
}

#[test]
fn every_flipped_byte_costs_its_own_frame_at_most() {
    for segment in segments() {
        for at in (0..SEGMENT_LEN).step_by(29) {
            check(segment, at..at + 1, |bytes| bytes[0] ^= 0x10);
        }
    }
}

#[test]
fn zeroed_and_foreign_sectors_cost_the_frames_they_touch() {
    for segment in segments() {
        for at in (0..SEGMENT_LEN).step_by(512) {
            check(segment, at..at + 512, |bytes| bytes.fill(0));
            check(segment, at..at + 512, |bytes| bytes.fill(0xff));
        }
    }
}

#[test]
fn a_segment_without_its_header_is_one_gap() {
    let segment = segments()[1];
    let got = check(segment, 0..64, |bytes| bytes.fill(0));
    let whole: Vec<_> = got.gaps.iter().filter(|gap| gap.segment == segment).collect();
    assert_eq!(whole.len(), 1);
    assert_eq!((whole[0].from, whole[0].to), (0, SEGMENT_LEN));
    assert_eq!(whole[0].reason, Reason::Header(header::HeaderError::Magic));
}

#[test]
fn a_damaged_manifest_leaves_its_segment_dated() {
    // Each segment but the first is dated by its neighbours; the first starts at 1 by its own listing elsewhere.
    for segment in segments() {
        let got = check(segment, 70..80, |bytes| bytes.fill(0x55));
        assert!(
            got.gaps
                .iter()
                .any(|gap| gap.segment == segment && gap.reason == Reason::Manifest)
        );
    }
}

#[test]
fn a_missing_segment_costs_its_records_alone() {
    for segment in segments() {
        let (storage, known) = image();
        let mut left = RamStorage::new(Geometry::new(SEGMENT_LEN).unwrap());
        for id in storage.ids().filter(|id| *id != segment) {
            left.insert(id, storage.bytes(id).unwrap().to_vec());
        }
        let got = salvaged(&mut left);
        let expect: Vec<u64> = known
            .iter()
            .filter(|(_, record)| record.segment != segment)
            .map(|(sequence, _)| *sequence)
            .collect();
        assert_eq!(got.records.keys().copied().collect::<Vec<_>>(), expect);
    }
}

/// What recovery cut off is no part of the log, however well it verifies.
#[test]
fn what_a_resume_frame_cut_off_is_not_handed_out() {
    let storage = RamStorage::new(Geometry::new(SEGMENT_LEN).unwrap());
    let mut log = Log::create(storage, Capacity::heap(0), Options::new(1, 2)).unwrap();
    log.append(1, b"kept").unwrap();
    log.sync().unwrap();
    let torn = log.append(1, b"torn").unwrap();
    log.append(1, b"behind the torn one").unwrap();
    let whole = log.into_storage();
    let mut damaged = whole.clone();
    let at = torn.position.offset() as usize;
    damaged.bytes_mut(torn.mark.segment).unwrap()[at] = 0;
    let mut log = Log::open(damaged, Capacity::heap(0), Options::new(1, 3)).unwrap();
    log.append(1, b"later").unwrap();
    log.sync().unwrap();
    let mut healed = log.into_storage();
    healed.bytes_mut(torn.mark.segment).unwrap()[at] = whole.bytes(torn.mark.segment).unwrap()[at];
    let values: Vec<_> = salvaged(&mut healed)
        .records
        .into_values()
        .map(|(_, value)| value)
        .collect();
    assert_eq!(values, [b"kept".to_vec(), b"later".to_vec()]);
}

/// All segments were decoded with the incarnation of the newest manifest: frames of a segment without its own manifest
/// were lost where their sessions were older.
#[test]
fn a_damaged_manifest_header_costs_no_records() {
    let (_, known) = image();
    for segment in segments() {
        for at in 64..64 + 24 {
            let got = check(segment, at..at + 1, |bytes| bytes[0] ^= 0x10);
            assert_eq!(got.records.len(), known.len(), "segment {segment}, byte {at}");
        }
    }
}

/// The only segment, in which more sessions wrote than an incarnation's low half counts: nothing but its manifest tells
/// from where they count.
#[test]
fn a_late_session_in_the_only_segment() {
    let mut log = Log::open(
        late_session(Geometry::new(SEGMENT_LEN).unwrap()),
        Capacity::heap(0),
        options(),
    )
    .unwrap();
    log.append(1, b"late").unwrap();
    log.sync().unwrap();
    let mut storage = log.into_storage();
    storage.bytes_mut(SegmentId(1)).unwrap()[64] ^= 1;
    let got = salvaged(&mut storage);
    assert_eq!((got.records.len(), got.undated), (0, 1));
}
