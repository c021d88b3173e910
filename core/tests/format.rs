//! The vectors of the format document, both ways: the bytes hold what the document says, and the public interface
//! writes exactly these bytes. Beside them the sizes that the format promises.
#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics fails")]

use walstone_core::frame::{self, Binding, Kind};
use walstone_core::ram::RamStorage;
use walstone_core::segment::header::Header;
use walstone_core::segment::layout::{Layout, MAX_CUTS, Purpose};
use walstone_core::{
    Batch, Capacity, Checksum, Entries, Entry, Footer, Geometry, GeometryError, Log, NewRecord, Options, Record,
    SegmentId, Tail, Void, Workspace,
};

const FORMAT: &str = include_str!("../docs/format.md");
const CHECKSUM: Checksum = Checksum::BYTEWISE;

type RamLog = Log<'static, RamStorage>;

/// Lines `offset: bytes ; comment` of a vector, as a segment's bytes with zeros where nothing is shown.
fn vector(name: &str, len: usize) -> Vec<u8> {
    let start = FORMAT.find(&format!("vector: {name}\n")).expect(name);
    let block = FORMAT[start..].split("```").next().unwrap();
    let mut bytes = vec![0; len];
    for line in block.lines().skip(1) {
        let (offset, rest) = line.split_once(':').unwrap();
        let offset = usize::from_str_radix(offset.trim(), 16).unwrap();
        let shown = rest.split(';').next().unwrap().split_whitespace();
        for (at, byte) in shown.enumerate() {
            bytes[offset + at] = u8::from_str_radix(byte, 16).unwrap();
        }
    }
    bytes
}

/// The lines of a vector for these bytes, to be put into the document with comments.
fn dump(bytes: &[u8], offset: usize) -> String {
    let lines = bytes.chunks(8).enumerate();
    let lines = lines.filter(|(_, line)| line.iter().any(|&byte| byte != 0));
    lines
        .map(|(at, line)| {
            let shown: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{:04x}: {}\n", offset + 8 * at, shown.join(" "))
        })
        .collect()
}

#[track_caller]
fn assert_vector(name: &str, written: &[u8], offset: usize) {
    let documented = &vector(name, offset + written.len())[offset..];
    assert!(
        documented == written,
        "{name}: the document differs from what is written:\n{}",
        dump(written, offset)
    );
}

fn options() -> Options {
    Options::new(7, 42)
}

fn create(geometry: Geometry) -> RamLog {
    Log::create(RamStorage::new(geometry), Capacity::heap(0), options()).unwrap()
}

fn reopen(log: RamLog) -> RamLog {
    Log::open(log.into_storage(), Capacity::heap(0), options()).unwrap()
}

fn small() -> Geometry {
    Geometry::new(1024).unwrap()
}

/// The story of the whole segment in the document.
fn three_sessions() -> RamLog {
    let mut log = create(small());
    let mut batch = Batch::new();
    batch.push(1, b"a");
    batch.push(2, b"bc");
    log.append_batch(&batch).unwrap();
    log.sync().unwrap();
    log.delete_up_to(1, 1).unwrap();
    log.close().unwrap();
    let mut log = reopen(log);
    assert_eq!(log.report().tail, Tail::Closed);
    let torn = log.append(1, b"torn away").unwrap();
    let mut ram = log.into_storage();
    let end = torn.mark.end as usize;
    ram.bytes_mut(SegmentId(1)).unwrap()[end - 16..end].fill(0);
    let mut log = Log::open(ram, Capacity::heap(0), options()).unwrap();
    assert!(matches!(log.report().tail, Tail::Torn { .. }), "{:?}", log.report());
    while log.written_mark().segment == SegmentId(1) {
        let record = NewRecord::new(1, b"as many as fit");
        log.append_record(&record).unwrap();
        if log.written_mark().segment == SegmentId(1) {
            log.sync().unwrap();
        }
    }
    log
}

/// The frames of a segment that stand one behind the other from `offset` on, up to the first that does not verify.
fn frames(bytes: &[u8], mut offset: usize, base: u32) -> Vec<(usize, frame::Header, Vec<u8>)> {
    let header = Header::decode(bytes, CHECKSUM).unwrap();
    let (binding, layout) = (header.binding(CHECKSUM), Layout::new(header.geometry));
    let mut out = Vec::new();
    while let Some(frame) = frame_at(bytes, offset, base, &binding) {
        let payload_len = frame.payload_len as usize;
        let payload = bytes[offset + 24..offset + 24 + payload_len].to_vec();
        if frame.kind.has_payload() && CHECKSUM.of(&payload) != frame.payload_crc {
            break;
        }
        out.push((offset, frame, payload));
        offset = layout.frame_after(offset as u32, payload_len as u32) as usize;
    }
    out
}

fn frame_at(bytes: &[u8], offset: usize, base: u32, binding: &Binding) -> Option<frame::Header> {
    let header = bytes.get(offset..)?.first_chunk()?;
    frame::Header::decode(header, binding, offset as u32, base).ok()
}

fn entries<'a>(payload: &'a [u8], first: u64, frame: &frame::Header) -> Vec<Entry<'a>> {
    let entries = Entries::new(payload, first + u64::from(frame.sequence_delta), frame.with_epoch);
    entries.unwrap().map(Result::unwrap).collect()
}

fn record(table: u64, sequence: u64, value: &[u8]) -> Record<'_> {
    Record {
        table,
        sequence,
        value,
        timestamp: None,
        index: None,
        epoch: None,
    }
}

#[test]
fn a_header_without_an_erased_state() {
    let geometry = Geometry::new(4096)
        .and_then(|geometry| geometry.with_write_unit(4))
        .and_then(|geometry| geometry.with_sync_unit(128))
        .and_then(|geometry| geometry.with_page_len(256))
        .and_then(|geometry| geometry.with_erased(None));
    let header = Header {
        geometry: geometry.unwrap(),
        region: 7,
        segment: SegmentId(9),
        salt: 0x0123_4567_89ab_cdef,
    };
    assert_vector("header-without-erased-state", &header.encode(CHECKSUM), 0);
    let documented = vector("header-without-erased-state", 64);
    assert_eq!(Header::decode(&documented, CHECKSUM), Ok(header));
}

#[test]
fn a_whole_segment_of_three_sessions() {
    let log = three_sessions();
    assert_vector("whole-segment", log.storage().bytes(SegmentId(1)).unwrap(), 0);
    let bytes = vector("whole-segment", 1024);
    let header = Header::decode(&bytes, CHECKSUM).unwrap();
    assert_eq!(
        (header.region, header.segment, header.geometry),
        (7, SegmentId(1), small())
    );
    let manifest = frame_at(&bytes, 64, 0, &header.binding(CHECKSUM)).unwrap();
    assert_eq!((manifest.kind, manifest.incarnation), (Kind::Manifest, 1));

    let first = frames(&bytes, 104, 1);
    let seen: Vec<_> = first
        .iter()
        .map(|(at, frame, _)| (*at, frame.kind, frame.incarnation))
        .collect();
    let expect = [
        (0x68, Kind::Batch, 1),
        (0x88, Kind::Batch, 1),
        (0xb8, Kind::Close, 1),
        (0xd0, Kind::Resume, 2),
    ];
    assert_eq!(seen, expect, "up to the torn batch");
    let batch = [Entry::Record(record(1, 1, b"a")), Entry::Record(record(2, 2, b"bc"))];
    assert_eq!(entries(&first[0].2, 1, &first[0].1), batch);
    let void = Void {
        table: 1,
        from: 1,
        to: 1,
    };
    assert_eq!(entries(&first[1].2, 1, &first[1].1), [Entry::Void(void)]);
    assert_eq!(first[2].1.watermark, 0xb8, "the close frame vouches for all before it");
    assert_eq!(first[3].1.payload_crc, 0xd0, "the first resume frame cuts nothing off");

    let torn = frame_at(&bytes, 0xe8, 1, &header.binding(CHECKSUM)).unwrap();
    assert_ne!(
        CHECKSUM.of(&bytes[0x100..0x100 + torn.payload_len as usize]),
        torn.payload_crc
    );

    let last = frames(&bytes, 0x110, 1);
    assert_eq!(
        (last[0].1.kind, last[0].1.incarnation, last[0].1.payload_crc),
        (Kind::Resume, 3, 0xe8)
    );
    for (n, (_, frame, payload)) in last[1..4].iter().enumerate() {
        let sequence = 3 + n as u64;
        assert_eq!(
            entries(payload, 1, frame),
            [Entry::Record(record(1, sequence, b"as many as fit"))]
        );
    }
    let footer = Footer::decode(&last[4].2).unwrap();
    assert_eq!(
        (footer.successor(), footer.next_sequence(), footer.records()),
        (SegmentId(3), 6, 5)
    );
    let tables: Vec<_> = footer
        .tables()
        .map(|table| (table.table, table.first, table.last, table.count))
        .collect();
    assert_eq!(tables, [(1, 1, 5, 4), (2, 2, 2, 1)]);
    assert_eq!(last.len(), 5);
}

#[test]
fn a_manifest_and_the_region_of_both_vectors() {
    let log = three_sessions();
    let written = log.storage().bytes(SegmentId(3)).unwrap();
    assert_vector("manifest", &written[..152], 0);
    let manifest = &vector("manifest", 1024)[64 + 24..152];
    let long = |at: usize| u64::from_le_bytes(manifest[at..at + 8].try_into().unwrap());
    let word = |at: usize| u32::from_le_bytes(manifest[at..at + 4].try_into().unwrap());
    assert_eq!(
        (long(0), word(8), word(12)),
        (6, 1, 1),
        "first sequence, segments, voids"
    );
    assert_eq!(
        (long(16), long(24), word(32), word(36)),
        (1, 1, 0x218, 120),
        "segment 1"
    );
    assert_eq!((long(40), long(48), long(56)), (1, 1, 1), "void");

    let mut ram = RamStorage::new(small());
    ram.insert(SegmentId(1), vector("whole-segment", 1024));
    ram.insert(SegmentId(3), vector("manifest", 1024));
    let mut log = Log::open(ram, Capacity::heap(0), options()).unwrap();
    let mut reads = log.read(None, ..);
    let mut seen = Vec::new();
    while let Some(record) = reads.next() {
        let record = record.unwrap();
        seen.push((record.table, record.sequence, record.value.to_vec()));
    }
    let mut expect = vec![(2, 2, b"bc".to_vec())];
    expect.extend((3..=5).map(|sequence| (1, sequence, b"as many as fit".to_vec())));
    assert_eq!(seen, expect);
}

fn optional_fields() -> RamLog {
    let mut log = create(small());
    let mut batch = Batch::new();
    batch.set_epoch(5).unwrap();
    batch.push(1, b"epoch");
    log.append_batch(&batch).unwrap();
    let mut add = |timestamp, index, value: &[u8]| {
        let record = NewRecord {
            timestamp,
            index,
            ..NewRecord::new(1, value)
        };
        log.append_record(&record).unwrap();
    };
    add(Some(300), None, b"timestamp");
    add(None, Some(9), b"index");
    add(Some(1), Some(20), b"both");
    log
}

#[test]
fn each_optional_field() {
    let log = optional_fields();
    let end = log.written_mark().end as usize;
    assert_vector(
        "optional-fields",
        &log.storage().bytes(SegmentId(1)).unwrap()[104..end],
        104,
    );
    let mut bytes = log.storage().bytes(SegmentId(1)).unwrap()[..104].to_vec();
    bytes.extend(&vector("optional-fields", 1024)[104..]);
    let frames = frames(&bytes, 104, 1);
    let seen: Vec<Entry<'_>> = frames
        .iter()
        .flat_map(|(_, frame, payload)| entries(payload, 1, frame))
        .collect();
    let with = |sequence, value, epoch, timestamp, index| {
        Entry::Record(Record {
            epoch,
            timestamp,
            index,
            ..record(1, sequence, value)
        })
    };
    let expect = [
        with(1, b"epoch", Some(5), None, None),
        with(2, b"timestamp", None, Some(300), None),
        with(3, b"index", None, None, Some(9)),
        with(4, b"both", None, Some(1), Some(20)),
    ];
    assert_eq!(seen, expect);
}

#[test]
fn a_seal_with_record_indexes() {
    let mut log = optional_fields();
    while log.written_mark().segment == SegmentId(1) {
        log.append(2, b"no index").unwrap();
    }
    let bytes = log.storage().bytes(SegmentId(1)).unwrap();
    let (offset, ..) = *frames(bytes, 104, 1).last().unwrap();
    assert_vector(
        "seal-with-record-indexes",
        &bytes[offset..offset + 24 + 32 + 2 * 44],
        offset,
    );
    let seal = vector("seal-with-record-indexes", 1024);
    let header = Header::decode(bytes, CHECKSUM).unwrap();
    let frame = frame_at(&seal, offset, 1, &header.binding(CHECKSUM)).unwrap();
    assert_eq!(frame.kind, Kind::Seal);
    let payload = &seal[offset + 24..][..frame.payload_len as usize];
    assert_eq!(CHECKSUM.of(payload), frame.payload_crc);
    let footer = Footer::decode(payload).unwrap();
    assert_eq!(footer.table(1).unwrap().index, Some((9, 20)));
    assert_eq!(footer.table(2).unwrap().index, None);
}

#[test]
fn a_pad_behind_a_manifest() {
    let geometry = Geometry::new(4096).unwrap().with_sync_unit(128).unwrap();
    let log = create(geometry);
    let bytes = log.storage().bytes(SegmentId(1)).unwrap();
    assert_vector("pad", &bytes[128..256], 128);
    let mut documented = bytes[..128].to_vec();
    documented.extend(&vector("pad", 4096)[128..]);
    let frames = frames(&documented, 168, 1);
    let pads: Vec<_> = frames
        .iter()
        .map(|(at, frame, _)| (*at, frame.kind, frame.payload_len))
        .collect();
    assert_eq!(pads, [(168, Kind::Pad, 64)]);
}

/// The places of a segment, once more from the words of the document: of the least segment of each pair of units, of some
/// that are larger, and of lengths at which one of the bounds is reached.
#[test]
fn where_things_stand_and_what_is_kept_free() {
    let up = |value: u32, unit: u32| value.div_ceil(unit) * unit;
    let sync_units = [1, 128, 512, 1024, 2048, 4096, 65536];
    for (sync_unit, write_unit) in sync_units
        .iter()
        .flat_map(|&sync| [1, 4, 16, 512, 4096].map(|write| (sync, write)))
    {
        if sync_unit != 1 && sync_unit < u32::from(write_unit) {
            continue;
        }
        let cut = |len| {
            Geometry::new(len)?
                .with_sync_unit(sync_unit)?
                .with_write_unit(write_unit)
        };
        let align = u32::from(write_unit).max(8);
        let unit = align.max(sync_unit);
        let control = if sync_unit > 1 { 2 * sync_unit } else { up(64, align) };
        // Header, manifest, a record, six control frames, seal.
        let least = up(64, unit) + up(256, unit) + up(128, unit) + 6 * control + up(192, unit);
        let short = GeometryError::SegmentTooSmall {
            segment_len: least - unit,
            min: least,
        };
        assert_eq!(cut(least - unit), Err(short));
        // Where the seal or the voids reach one of their bounds.
        let bounds =
            [6144, 65536 * 32, 4 * 64 * control, 5 * 64 * control, 64 * 64 * control].map(|bound| up(bound, unit));
        let lens = bounds.iter().flat_map(|bound| [bound - unit, *bound, bound + unit]);
        for len in lens.chain([least, least + unit]).filter(|&len| len >= least) {
            let layout = Layout::new(cut(len).unwrap());
            let seal = up((len / 32).clamp(192, 65536), unit);
            let voids = (len / (64 * control)).clamp(4, 64);
            let behind = [
                (Purpose::Seal, 0),
                (Purpose::Close, seal),
                (Purpose::Resume, seal + control),
                (Purpose::Void, seal + 2 * control),
                (Purpose::User, seal + 2 * control + voids * control),
            ];
            let name = format!("{len} bytes, units of {write_unit} and {sync_unit}");
            assert_eq!(
                (layout.frame_align(), layout.frames_start()),
                (align, up(64, unit)),
                "{name}"
            );
            assert_eq!((layout.max_seal_len(), layout.reserve()), (seal, behind[4].1), "{name}");
            let frame_at = |offset| match up(offset, align) {
                at if sync_unit > 1 && up(at, sync_unit) - at < 24 => up(at, sync_unit),
                at => at,
            };
            for offset in (unit..3 * unit)
                .step_by(if unit > 4096 { 97 } else { 5 })
                .chain([2 * unit.max(16) - 24, 2 * unit.max(16) - 23])
            {
                assert_eq!(layout.frame_at(offset), frame_at(offset), "{name}: {offset}");
                assert_eq!(layout.frame_after(offset, 3), frame_at(offset + 27), "{name}: {offset}");
                let tail = frame_at(offset);
                let pad = (sync_unit > 1 && tail % sync_unit > 0).then(|| up(tail, sync_unit) - tail - 24);
                assert_eq!(layout.pad_at(tail), pad, "{name}: {tail}");
            }
            for (purpose, room) in behind {
                assert_eq!(layout.room_behind(purpose), room, "{name}: {purpose:?}");
                // The last place, and the next one.
                let span = unit.max(64);
                let last = len - room - span;
                for (tail, payload_len) in [
                    (last, span - 24),
                    (last + 1, span - 24),
                    (last, span - 23),
                    (last, u32::MAX),
                ] {
                    let at = frame_at(tail);
                    let end = u64::from(at) + 24 + u64::from(payload_len);
                    let fits = end <= u64::from(len) && frame_at(end as u32) + room <= len;
                    assert_eq!(
                        layout.place(tail, payload_len, purpose),
                        fits.then_some(at),
                        "{name}: {purpose:?}"
                    );
                }
                assert_eq!(layout.place(u32::MAX - 65536, 0, purpose), None);
            }
            let most = len - behind[4].1;
            for (end, claim) in [
                (0, len - most),
                (most, len),
                (most - unit, len - unit),
                (most + 1, len),
                (u32::MAX, len),
            ] {
                assert_eq!(layout.claim_for(end), claim, "{name}: {end}");
            }
            // A manifest takes a quarter, or what the least record leaves of the room.
            let room = len - layout.frames_start() - layout.reserve();
            let manifest = layout.max_manifest_len();
            assert_eq!(manifest, (len / 4).min(room - up(128, unit)), "{name}");
            let start = layout.frames_start() + up(manifest, unit);
            let payload = layout.max_payload_len();
            assert!(payload >= 128 - 24, "{name}: {payload}");
            assert_eq!(layout.place(start, payload, Purpose::User), Some(start), "{name}");
            assert_eq!(layout.place(start, payload + 1, Purpose::User), None, "{name}");
        }
    }
}

/// A log whose first segment is full: with records of so many tables, and cut short so often.
fn full_segment(geometry: Geometry, tables: u64, cuts: usize, index: Option<u64>) -> RamLog {
    let mut log = create(geometry);
    for _ in 0..cuts {
        log.append(1, b"kept").unwrap();
        log.sync().unwrap();
        let end = log.append(1, b"torn away").unwrap().mark.end as usize;
        let mut ram = log.into_storage();
        ram.bytes_mut(SegmentId(1)).unwrap()[end - 16..end].fill(0);
        log = Log::open(ram, Capacity::heap(0), options()).unwrap();
    }
    let value = vec![7; geometry.segment_len() as usize / 40];
    for n in 0.. {
        if n == 3 {
            // What another session wrote is stated as well.
            log.close().unwrap();
            log = reopen(log);
        }
        let index = index.filter(|_| n % tables == 0);
        let record = NewRecord {
            index,
            ..NewRecord::new(1 + n % tables, &value)
        };
        log.append_record(&record).unwrap();
        if log.written_mark().segment > SegmentId(1) {
            break;
        }
    }
    log
}

/// What a footer states in its room, once more from the words of the document: all, without the index, or no table. The
/// segments are so long that each of these fills the room to the last byte for some number of tables.
#[test]
fn a_footer_states_what_its_room_holds() {
    let mut met = [0; 3];
    for room in (192..=640).step_by(8) {
        let geometry = Geometry::new(32 * room).unwrap();
        assert_eq!(Layout::new(geometry).max_seal_len(), room);
        for (tables, cuts, index) in
            (1..=14).flat_map(|tables| [(tables, 0, None), (tables, 0, Some(5)), (tables, 2, None)])
        {
            let name = format!("{room} bytes, {tables} tables, {cuts} cuts, index {index:?}");
            let log = full_segment(geometry, tables, cuts, index);
            let bytes = log.storage().bytes(SegmentId(1)).unwrap();
            let table_len = if index.is_some() { 44 } else { 28 };
            // A writer remembers no more tables than fit beside the most cuts.
            let (count, head) = (tables as usize, 32 + 8 * cuts);
            let remembered = count <= (room as usize - 24 - 32 - 8 * MAX_CUTS) / 28;
            let fits = |len: usize| remembered && len <= room as usize - 24;
            let with_index = head + 256 + (table_len + 8) * count;
            let (len, flags) = match head + table_len * count {
                _ if fits(with_index) => (with_index, 2),
                len if fits(len) => (len, 0),
                _ => (head, 1),
            };
            let flags = flags | if flags != 1 && index.is_some() { 4 } else { 0 };
            met[usize::from(flags & 3)] += 1;

            let snapshot = log.snapshot(false);
            let end = snapshot.segment(0).unwrap().end as usize;
            let payload = &bytes[end - len..end];
            assert_eq!(bytes[end - len - 24], Kind::Seal as u8, "{name}");
            assert_eq!(payload[24..26], [flags, cuts as u8], "{name}");
            let footer = Footer::decode(payload).expect(&name);
            assert_eq!(footer.is_complete(), flags != 1, "{name}");
            assert_eq!(footer.tables().count(), if flags == 1 { 0 } else { count }, "{name}");
            if cuts == 0 && flags & 2 != 0 {
                assert_index(bytes, &footer, &payload[head + 256..], tables, &name);
            }
        }
    }
    assert!(met.iter().all(|&met| met > 0), "{met:?}");
}

/// Each sixty-fourth of the segment leads to the batch that starts in it first, and each table to those with its records.
fn assert_index(bytes: &[u8], footer: &Footer<'_>, listed: &[u8], tables: u64, name: &str) {
    let block_len = bytes.len().div_ceil(64);
    let (mut starts, mut blocks) = ([None; 64], vec![0u64; tables as usize]);
    let batches = frames(bytes, 64, 1).into_iter().skip(1);
    for (nth, (at, ..)) in batches.filter(|(_, frame, _)| frame.kind == Kind::Batch).enumerate() {
        starts[at / block_len].get_or_insert(at as u32);
        blocks[nth % tables as usize] |= 1 << (at / block_len);
    }
    let stated: Vec<_> = (0..64).map(|block| footer.block_start(block)).collect();
    assert_eq!(stated, starts, "{name}");
    assert_eq!(footer.block_start(64), None, "{name}");
    for (table, blocks) in listed.chunks(listed.len() / tables as usize).zip(blocks) {
        assert_eq!(table[28..36], blocks.to_le_bytes(), "{name}");
    }
}

/// The least room for control frames: a manifest with one segment more than there may be, or a footer with the most cuts
/// and record indexes, whichever is longer.
#[test]
fn the_least_buffer_is_as_long_as_the_longest_control_frame() {
    let lens = [
        (Workspace::<0, 0, 0, 0>::min_buffer_len(), 24 + 32 + 8 * MAX_CUTS),
        (Workspace::<1, 0, 0, 0>::min_buffer_len(), 24 + 16 + 2 * 24),
        (Workspace::<6, 4, 3, 0>::min_buffer_len(), 24 + 16 + 11 * 24),
        (
            Workspace::<2, 3, 9, 0>::min_buffer_len(),
            24 + 32 + 8 * MAX_CUTS + 9 * 44,
        ),
        (Workspace::<100, 900, 7, 0>::min_buffer_len(), 24 + 16 + 1001 * 24),
    ];
    for (len, expect) in lens {
        assert_eq!(len, expect);
    }
}

/// What a frame and a record cost, as it is advertised: 24 bytes a frame, 2 to 4 a record, and padding.
#[test]
fn overhead_of_frames_and_records() {
    const { assert!(frame::HEADER_LEN <= 24) };
    println!("value  records  frame header  heads a record  bytes a record beside the value");
    for (value_len, count) in [(16, 1), (256, 1), (4096, 1), (16, 100), (256, 100), (4096, 100)] {
        let mut log = create(Geometry::new(1 << 20).unwrap());
        let mut batch = Batch::new();
        for _ in 0..count {
            batch.push(7, &vec![1; value_len]);
        }
        let before = log.written_mark().end;
        let after = log.append_batch(&batch).unwrap().mark.end;
        let heads = batch.payload_len() - count * value_len;
        let beside = (after - before) as usize - count * value_len;
        println!(
            "{value_len:5}  {count:7}  {:12}  {:14.2}  {:.2}",
            frame::HEADER_LEN,
            heads as f64 / count as f64,
            beside as f64 / count as f64
        );
        assert!(heads <= 4 * count, "{heads} bytes in front of {count} values");
        assert!(beside < frame::HEADER_LEN + heads + 8, "padding");
    }
}
