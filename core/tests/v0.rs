//! Version 0 against directories in its two layouts, and against damage of every single bit and every length.
#![allow(clippy::big_endian_bytes, reason = "version 0 is defined with big-endian integers")]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use walstone_core::v0::{
    self, DecodeError, EncodeError, Layout, Record, Records, SEGMENT_HEADER_LEN, SegmentError, parse_file_name,
};

const BOTH: [Layout; 2] = [Layout::First, Layout::Final];

/// Region, table, sequence, value.
type Row = (u64, u64, u64, Vec<u8>);

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/horaedb-v0")
}

fn fixture_name(layout: Layout) -> &'static str {
    match layout {
        Layout::First => "segment",
        Layout::Final => "seg",
    }
}

fn expected(layout: Layout) -> Vec<Row> {
    let path = fixtures().join(format!("{}.expected", fixture_name(layout)));
    let hex = |text: &str| -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect()
    };
    let row = |line: &str| -> Row {
        let fields: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| fields[at].parse().unwrap();
        (number(0), number(1), number(2), hex(fields[3]))
    };
    fs::read_to_string(path).unwrap().lines().map(row).collect()
}

/// Segment bytes by region and id, both read from the names.
fn directory(layout: Layout) -> BTreeMap<(u64, u64), Vec<u8>> {
    let mut segments = BTreeMap::new();
    for region in fs::read_dir(fixtures().join(fixture_name(layout))).unwrap() {
        let region = region.unwrap();
        let number = region.file_name().to_str().unwrap().parse().unwrap();
        for file in fs::read_dir(region.path()).unwrap() {
            let file = file.unwrap();
            let (found, id) = parse_file_name(file.file_name().to_str().unwrap()).unwrap();
            assert_eq!(found, layout);
            segments.insert((number, id), fs::read(file.path()).unwrap());
        }
    }
    segments
}

/// A segment of six records, among them an empty value, zeros only and the extremes of the numbers.
fn small_segment(layout: Layout) -> Vec<u8> {
    let values: [(u64, u64, &[u8]); 6] = [
        (1, 1, b"\0first"),
        (0, 2, b""),
        (u64::MAX, 3, &[0; 40]),
        (1 << 40, 4, &[0xff; 3]),
        (7, 5, b"\0the longest of the six, still only a line of text"),
        (1, u64::MAX, b"\0"),
    ];
    let mut segment = vec![0; 512];
    let mut end = v0::encode_segment_header(&mut segment).unwrap();
    for (table, sequence, value) in values {
        end += Record { table, sequence, value }
            .encode(layout, &mut segment[end..])
            .unwrap();
    }
    if layout == Layout::First {
        segment.truncate(end);
    }
    segment
}

/// What a segment yields: its records, each with the offset behind it, then the error if there is one.
fn read(layout: Layout, bytes: &[u8]) -> (Vec<(Record<'_>, usize)>, Option<SegmentError>) {
    let mut records = Records::new(layout, bytes);
    let mut read = Vec::new();
    while let Some(next) = records.next() {
        match next {
            Ok(record) => read.push((record, records.offset())),
            Err(error) => {
                assert_eq!(error.offset, records.offset());
                assert_eq!(records.rest(), &bytes[error.offset..]);
                assert!(records.next().is_none(), "one error, then the end");
                return (read, Some(error));
            }
        }
    }
    assert!(records.next().is_none(), "the end stays");
    assert!(records.rest_is_zero(), "a clean end has nothing behind it");
    assert_eq!(bytes.len(), records.offset() + records.rest().len());
    (read, None)
}

#[test]
fn directories_read_as_expected_in_order() {
    for layout in BOTH {
        let mut rows: Vec<Row> = Vec::new();
        for ((region, _), bytes) in &directory(layout) {
            let (records, error) = read(layout, bytes);
            assert_eq!(error, None);
            rows.extend(
                records
                    .iter()
                    .map(|(r, _)| (*region, r.table, r.sequence, r.value.to_vec())),
            );
        }
        assert_eq!(rows.len(), 120);
        assert_eq!(rows, expected(layout));
    }
}

#[test]
fn encoding_the_records_again_gives_the_same_files() {
    for layout in BOTH {
        for ((region, id), bytes) in &directory(layout) {
            let mut again = vec![0; bytes.len()];
            let mut end = v0::encode_segment_header(&mut again).unwrap();
            for (record, behind) in read(layout, bytes).0 {
                let len = record.encode(layout, &mut again[end..]).unwrap();
                assert_eq!(len, record.encoded_len(layout));
                end += len;
                assert_eq!(end, behind);
            }
            assert!(again == *bytes, "{layout:?} region {region} segment {id}");
            assert!(layout == Layout::Final || end == bytes.len());
        }
    }
}

/// The small segment, and the start of a file, cut within a record.
fn victims(layout: Layout) -> Vec<Vec<u8>> {
    let mut cut = directory(layout).remove(&(1, 0)).unwrap();
    cut.truncate(1500);
    let (records, error) = read(layout, &cut);
    assert!(
        records.len() >= 4 && error.is_some(),
        "the cut should be within a record behind some others"
    );
    vec![small_segment(layout), cut]
}

#[test]
fn any_flipped_bit_is_an_error_where_it_stands() {
    for layout in BOTH {
        for bytes in victims(layout) {
            let (whole, _) = read(layout, &bytes);
            for bit in 0..bytes.len() * 8 {
                let mut damaged = bytes.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                let (records, error) = read(layout, &damaged);

                // All records that end in front of the bit, and the error right behind them.
                let intact = whole.iter().take_while(|(_, end)| *end <= bit / 8).count();
                assert_eq!(records, whole[..intact], "{layout:?} bit {bit}");
                let start = match intact.checked_sub(1) {
                    Some(last) => whole[last].1,
                    None if bit / 8 < SEGMENT_HEADER_LEN => 0,
                    None => SEGMENT_HEADER_LEN,
                };
                assert_eq!(error.map(|error| error.offset), Some(start), "{layout:?} bit {bit}");
            }
        }
    }
}

#[test]
fn any_truncation_is_seen_unless_it_takes_whole_records_or_zeros() {
    for layout in BOTH {
        for bytes in victims(layout) {
            let (whole, _) = read(layout, &bytes);
            for len in 0..bytes.len() {
                let (records, found) = read(layout, &bytes[..len]);
                let intact = whole.iter().take_while(|(_, end)| *end <= len).count();
                assert_eq!(records, whole[..intact], "{layout:?} cut to {len}");

                // Zeros are the tail, or the zero bytes that a cut record begins with: no reader can tell.
                let end = records.last().map_or(SEGMENT_HEADER_LEN, |(_, end)| *end);
                let tail = bytes.get(end..len);
                let zeros = layout == Layout::Final && tail.is_some_and(|tail| tail.iter().all(|&byte| byte == 0));
                let clean = len == end || (len >= SEGMENT_HEADER_LEN && zeros);
                assert_eq!(found.is_none(), clean, "{layout:?} cut to {len}");
            }
        }
    }
}

/// A byte that differs from the original anywhere, in combination with hostile lengths, never panics and never gives
/// a record that was not written.
#[test]
fn hostile_bytes_never_panic() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for layout in BOTH {
        let original = small_segment(layout);
        let (whole, _) = read(layout, &original);
        for _ in 0..20_000 {
            let mut bytes = original.clone();
            bytes.truncate(random() as usize % (bytes.len() + 1));
            for _ in 0..random() % 4 {
                let word = if random() % 2 == 0 {
                    [0xff; 4]
                } else {
                    (random() as u32).to_le_bytes()
                };
                let at = random() as usize % (bytes.len() + 1);
                let room = bytes[at..].len().min(4);
                bytes[at..at + room].copy_from_slice(&word[..room]);
            }
            let (records, _) = read(layout, &bytes);
            assert!(whole.starts_with(&records));
        }
    }
}

/// CRC-32/ISO-HDLC a bit at a time, written down apart from the code under test.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

#[test]
fn checksums_cover_what_the_format_says() {
    assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    let record = Record {
        table: 0x0102_0304_0506_0708,
        sequence: 0x1112_1314_1516_1718,
        value: b"\0abc",
    };
    let stored_key = b"\x01\x02\x03\x04\x05\x06\x07\x08\x11\x12\x13\x14\x15\x16\x17\x18\0\0\0\x04\0abc";

    // Final: three little-endian u64, though the fields are big-endian and the length's has four bytes.
    let hashed = b"\x08\x07\x06\x05\x04\x03\x02\x01\x18\x17\x16\x15\x14\x13\x12\x11\x04\0\0\0\0\0\0\0\0abc";
    let mut bytes = vec![0];
    bytes.extend(crc32(hashed).to_be_bytes());
    bytes.extend(stored_key);
    assert_eq!(Record::decode(Layout::Final, &bytes), Ok((record, 29)));

    // The same with the length as a 32-bit machine word: what a 32-bit build made.
    let narrow = crc32(&[&hashed[..20], b"\0abc"].concat());
    bytes[1..5].copy_from_slice(&narrow.to_be_bytes());
    let error = DecodeError::Checksum {
        stored: narrow,
        computed: crc32(hashed),
    };
    assert_eq!(Record::decode(Layout::Final, &bytes), Err(error));

    // First: the stored bytes behind `length`.
    let mut bytes = vec![0];
    bytes.extend(crc32(stored_key).to_be_bytes());
    bytes.extend(24_u32.to_be_bytes());
    bytes.extend(stored_key);
    assert_eq!(Record::decode(Layout::First, &bytes), Ok((record, 33)));

    // Zeros are no record: the CRC of a zero key is not zero.
    assert_eq!(
        Record::decode(Layout::Final, &[0; 64]),
        Err(DecodeError::Checksum {
            stored: 0,
            computed: crc32(&[0; 24])
        })
    );
}

/// Each way to be invalid has its own reason; version and `length`, which no CRC covers, are among them.
#[test]
fn errors_name_the_reason() {
    let check = |layout: Layout, change: &dyn Fn(&mut Vec<u8>), offset: usize, reason: DecodeError| {
        let mut bytes = small_segment(layout);
        change(&mut bytes);
        let error = read(layout, &bytes).1.unwrap();
        assert_eq!((error.offset, error.reason), (offset, reason));
        assert_eq!(error.source().unwrap().to_string(), reason.to_string());
    };
    for layout in BOTH {
        let empty = DecodeError::Truncated {
            needed: 11,
            available: 0,
        };
        check(layout, &|bytes| bytes.clear(), 0, empty);
        check(layout, &|bytes| bytes.fill(0), 0, DecodeError::BadMagic);
        check(layout, &|bytes| bytes[10] = b'l', 0, DecodeError::BadMagic);
        check(
            layout,
            &|bytes| bytes[0] = 1,
            0,
            DecodeError::BadSegmentVersion { found: 1 },
        );
        check(layout, &|bytes| bytes[11] = 9, 11, DecodeError::BadVersion { found: 9 });
        let needed = layout.record_header_len();
        check(
            layout,
            &|bytes| bytes.truncate(20),
            11,
            DecodeError::Truncated { needed, available: 9 },
        );
        let end = 11 + needed + 5;
        check(
            layout,
            &|bytes| bytes.truncate(end),
            11,
            DecodeError::LengthOutOfBounds {
                value_len: 6,
                available: 5,
            },
        );
    }
    let last = read(Layout::First, &small_segment(Layout::First)).0.last().unwrap().1;
    check(
        Layout::First,
        &|bytes| bytes.push(0),
        last,
        DecodeError::Truncated {
            needed: 29,
            available: 1,
        },
    );
    check(
        Layout::First,
        &|bytes| bytes[19] = 27,
        11,
        DecodeError::LengthMismatch {
            length: 27,
            value_len: 6,
        },
    );
    let huge = DecodeError::LengthMismatch {
        length: 26,
        value_len: u32::MAX,
    };
    check(Layout::First, &|bytes| bytes[36..40].fill(0xff), 11, huge);
    let huge = DecodeError::LengthOutOfBounds {
        value_len: u32::MAX,
        available: 512 - 36,
    };
    check(Layout::Final, &|bytes| bytes[32..36].fill(0xff), 11, huge);
}

/// HoraeDB does not wipe what stands behind a torn record: valid records behind an invalid one stay unread.
#[test]
fn records_behind_an_invalid_one_are_not_read() {
    for layout in BOTH {
        let mut bytes = small_segment(layout);
        let (whole, _) = read(layout, &bytes);
        let torn = whole[1].1;
        assert_eq!(whole.len(), 6);
        let first_two = [(1, 1), (0, 2)];
        bytes[torn + 1..torn + 12].fill(0);
        let (records, error) = read(layout, &bytes);
        let keys: Vec<(u64, u64)> = records.iter().map(|(r, _)| (r.table, r.sequence)).collect();
        assert_eq!(keys, first_two);
        assert_eq!(error.unwrap().offset, torn);

        let mut records = Records::new(layout, &bytes);
        assert_eq!(records.by_ref().filter(Result::is_err).count(), 1);
        assert!(!records.rest_is_zero());
    }
}

#[test]
fn encoding_touches_its_own_bytes_only() {
    let record = Record {
        table: 1,
        sequence: 2,
        value: b"\0value",
    };
    for layout in BOTH {
        let needed = record.encoded_len(layout);
        let mut buf = vec![0xa5; needed + 8];
        let short = EncodeError::BufferTooSmall {
            needed,
            available: needed - 1,
        };
        assert_eq!(record.encode(layout, &mut buf[..needed - 1]), Err(short));
        assert_eq!(buf, vec![0xa5; needed + 8]);
        assert_eq!(record.encode(layout, &mut buf), Ok(needed));
        assert_eq!(buf[needed..], [0xa5; 8]);
        assert_eq!(Record::decode(layout, &buf), Ok((record, needed)));
    }
    let mut buf = [0xa5; 12];
    let short = EncodeError::BufferTooSmall {
        needed: 11,
        available: 10,
    };
    assert_eq!(v0::encode_segment_header(&mut buf[..10]), Err(short));
    assert_eq!(buf, [0xa5; 12]);
    assert_eq!(v0::encode_segment_header(&mut buf), Ok(11));
    assert_eq!(&buf, b"\0HoraeDBWAL\xa5");
    assert_eq!(v0::decode_segment_header(&buf), Ok(11));
}

#[test]
fn file_names_have_one_spelling() {
    assert_eq!(parse_file_name("seg_0"), Some((Layout::Final, 0)));
    assert_eq!(
        parse_file_name("seg_18446744073709551615"),
        Some((Layout::Final, u64::MAX))
    );
    assert_eq!(parse_file_name("segment_42.wal"), Some((Layout::First, 42)));
    for name in [
        "",
        "seg_",
        "seg_x",
        "seg_+1",
        "seg_-1",
        "seg_01",
        "seg_00",
        "seg_1.wal",
        "seg_1 ",
        "Seg_1",
        "segment_1",
        "segment_.wal",
        "segment_01.wal",
        "segment_1.wal.tmp",
        "seg_18446744073709551616",
        "seg_\u{661}",
    ] {
        assert_eq!(parse_file_name(name), None, "{name}");
    }
}
