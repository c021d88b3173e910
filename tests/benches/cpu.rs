//! Micro-benchmarks of what costs processor time only. Everything that meets a disk is in the `wal` bench.

use std::hint::black_box;
use std::time::Duration;

use crc_fast::{CrcAlgorithm, Digest};
use criterion::{BenchmarkId, Criterion, Throughput};
use walstone_core::checksum::Checksum;

/// Continues a CRC that is already there, as a frame header does with its segment's identity.
const STATE: u32 = 0x1234_5678;

/// A frame header with what is fed in front of it, small records, a page, a scan.
const CRC_LENS: &[usize] = &[28, 64, 256, 4096, 1 << 20];

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    crc(&mut criterion);
    criterion.final_summary();
}

/// The candidates for a hosted log, and what a microcontroller has.
fn crc(criterion: &mut Criterion) {
    let candidates = [
        ("bytewise", Checksum::BYTEWISE),
        ("crc32c", Checksum::new(crc32c::crc32c_append)),
        (
            "crc-fast",
            Checksum::new(|crc, bytes| {
                let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, u64::from(!crc));
                digest.update(bytes);
                digest.finalize() as u32
            }),
        ),
    ];
    let bytes: Vec<u8> = (0..1 << 20)
        .map(|index: u32| index.wrapping_mul(0x9e37_79b9).to_le_bytes()[3])
        .collect();
    let mut group = criterion.benchmark_group("crc");
    for &len in CRC_LENS {
        let (message, _) = bytes.split_at(len);
        let expected = Checksum::BITWISE.extend(STATE, message);
        group.throughput(Throughput::Bytes(len as u64));
        for (name, checksum) in candidates {
            assert_eq!(checksum.extend(STATE, message), expected, "{name} at {len} bytes");
            group.bench_with_input(BenchmarkId::new(name, len), message, |bencher, message| {
                bencher.iter(|| checksum.extend(black_box(STATE), black_box(message)));
            });
        }
    }
    group.finish();
}
