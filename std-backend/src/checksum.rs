//! CRC-32/ISCSI at the speed of the machine, with the results of the core's table-free one.
//!
//! Two kinds of input matter. A frame header is some 28 bytes continued from a stored state, and is paid once per
//! append: there a plain loop over the processor's `crc32` instruction takes 4 ns, a third of what any general
//! implementation needs to get going. A payload or a scan is long: there `crc-fast` folds with carry-less
//! multiplication, 80 GB/s and more where the instruction alone stops at 9.

#![allow(unsafe_code, reason = "one call of a function that needs SSE 4.2")]

use crc_fast::{CrcAlgorithm, Digest};
use walstone_core::Checksum;

/// The fastest implementation this processor has, chosen at run time.
pub(crate) const HARDWARE: Checksum = Checksum::new(extend);

/// From here on the folding implementation is the faster one (measured: as fast at 256 bytes, twice as fast at 512).
#[cfg(target_arch = "x86_64")]
const FOLD_FROM: usize = 257;

fn extend(crc: u32, bytes: &[u8]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if bytes.len() < FOLD_FROM && std::arch::is_x86_feature_detected!("sse4.2") {
        // SAFETY: the only condition of the callee is that the processor has SSE 4.2, which was just asked.
        return unsafe { extend_short(crc, bytes) };
    }
    fold(crc, bytes)
}

/// Any length, any processor.
fn fold(crc: u32, bytes: &[u8]) -> u32 {
    if crc == 0 {
        // Payloads start afresh. This way in knows its parameters; a digest carries a copy of them, some 40 ns.
        return crc_fast::crc32_iscsi(bytes);
    }
    // The digest takes a register, which is a finished CRC without its final complement, and gives it back finished.
    let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, u64::from(!crc));
    digest.update(bytes);
    digest.finalize() as u32
}

/// One stream of `crc32` instructions, eight bytes each.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse4.2")]
fn extend_short(crc: u32, bytes: &[u8]) -> u32 {
    use std::arch::x86_64::{_mm_crc32_u8, _mm_crc32_u32, _mm_crc32_u64};

    let (eights, rest) = bytes.as_chunks::<8>();
    let mut register = u64::from(!crc);
    for eight in eights {
        register = _mm_crc32_u64(register, u64::from_le_bytes(*eight));
    }
    // The instruction leaves the upper half zero.
    let mut register = register as u32;
    let (fours, rest) = rest.as_chunks::<4>();
    for four in fours {
        register = _mm_crc32_u32(register, u32::from_le_bytes(*four));
    }
    for byte in rest {
        register = _mm_crc32_u8(register, *byte);
    }
    !register
}

#[cfg(test)]
mod tests {
    use super::{HARDWARE, fold};
    use walstone_core::Checksum;

    /// A fixed sequence without a pattern a CRC could hide behind.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }

        fn below(&mut self, bound: usize) -> usize {
            (self.next() % bound as u64) as usize
        }
    }

    /// Every length around the switch between the two paths, from unaligned starts, in up to three parts, afresh
    /// and continued from a state that is not zero.
    #[test]
    fn equals_the_bitwise_reference_on_every_length_and_split() {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let bytes: Vec<u8> = (0..400).map(|_| random.next() as u8).collect();
        for len in 0..300 {
            for _ in 0..8 {
                let start = random.below(16);
                let message = &bytes[start..start + len];
                let state = random.next() as u32;
                let expected = Checksum::BITWISE.extend(state, message);
                assert_eq!(HARDWARE.extend(state, message), expected, "len {len}, start {start}");
                assert_eq!(fold(state, message), expected, "folded, len {len}, start {start}");
                assert_eq!(
                    fold(0, message),
                    Checksum::BITWISE.of(message),
                    "folded afresh, len {len}, start {start}"
                );
                let (head, rest) = message.split_at(random.below(len + 1));
                let (middle, tail) = rest.split_at(random.below(rest.len() + 1));
                let parts = [head, middle, tail];
                let continued = parts.iter().fold(state, |crc, part| HARDWARE.extend(crc, part));
                assert_eq!(
                    continued,
                    expected,
                    "parts of {}, {} and {}",
                    head.len(),
                    middle.len(),
                    tail.len()
                );
            }
        }
    }

    #[test]
    fn equals_the_bitwise_reference_on_long_inputs() {
        let mut random = Random(7);
        let bytes: Vec<u8> = (0..70_000).map(|_| random.next() as u8).collect();
        for len in [511, 512, 1023, 4096, 4097, 65_535, 65_536, 69_000] {
            let message = &bytes[random.below(64)..][..len];
            let (head, tail) = message.split_at(random.below(len));
            let expected = Checksum::BITWISE.of(message);
            assert_eq!(HARDWARE.of(message), expected, "len {len}");
            assert_eq!(
                HARDWARE.extend(HARDWARE.of(head), tail),
                expected,
                "len {len} in two parts"
            );
        }
    }

    #[test]
    fn has_the_catalogue_value_and_leaves_a_state_alone_without_bytes() {
        assert_eq!(HARDWARE.of(b"123456789"), 0xe306_9283);
        assert_eq!(HARDWARE.of(b""), 0);
        assert_eq!(HARDWARE.extend(0x1234_5678, b""), 0x1234_5678);
    }
}
