//! CRC-32/ISCSI at the speed of the machine, with the results of the core's table-free one.
//!
//! Three kinds of input matter. A frame header is some 28 bytes continued from a stored state, and is paid once per
//! append: there a plain loop over the processor's `crc32` instruction takes 4 ns, a third of what any general
//! implementation needs to get going. A small record is some hundred bytes: the instruction takes three cycles and
//! can begin one every cycle, so three streams of them run side by side. What is long `crc-fast` folds with
//! carry-less multiplication, 80 GB/s and more where one stream stops at 9.

#![allow(unsafe_code, reason = "one call of a function that needs SSE 4.2")]

use crc_fast::{CrcAlgorithm, Digest};
use walstone_core::Checksum;

/// The fastest implementation this processor has, chosen at run time.
pub(crate) const HARDWARE: Checksum = Checksum::new(extend);

/// From here on the folding implementation is the faster one.
#[cfg(target_arch = "x86_64")]
const FOLD_FROM: usize = 721;

fn extend(crc: u32, bytes: &[u8]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if bytes.len() < FOLD_FROM && std::arch::is_x86_feature_detected!("sse4.2") {
        if bytes.len() >= 3 * LANE_LEN && std::arch::is_x86_feature_detected!("pclmulqdq") {
            // SAFETY: the only condition of the callee is that the processor has both, which was just asked.
            return unsafe { extend_in_lanes(crc, bytes) };
        }
        // SAFETY: the only condition of the callee is that the processor has SSE 4.2, which was just asked.
        return unsafe { extend_short(crc, bytes) };
    }
    fold(crc, bytes)
}

/// Any length, any processor. Not inlined: [`extend`] would save registers for it that short inputs do not need.
#[inline(never)]
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
    use std::arch::x86_64::{_mm_crc32_u8, _mm_crc32_u16, _mm_crc32_u32, _mm_crc32_u64};

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
    let (twos, rest) = rest.as_chunks::<2>();
    for two in twos {
        register = _mm_crc32_u16(register, u16::from_le_bytes(*two));
    }
    for byte in rest {
        register = _mm_crc32_u8(register, *byte);
    }
    !register
}

/// Bytes of one of three streams.
#[cfg(target_arch = "x86_64")]
const LANE_LEN: usize = 80;

/// What a register is multiplied with to take in that so many zero bytes follow: x to the power of their bits, less
/// the 33 that a carry-less multiplication of reflected values and the reduction by `crc32` add.
#[cfg(target_arch = "x86_64")]
const fn shift_factor(zero_bytes: usize) -> i64 {
    let mut power = 0x8000_0000u32;
    let mut left = 8 * zero_bytes - 33;
    while left > 0 {
        power = (power >> 1) ^ if power & 1 == 1 { 0x82f6_3b78 } else { 0 };
        left -= 1;
    }
    power as i64
}

/// Three streams of `crc32` instructions side by side, brought together after each 240 bytes.
///
/// The method is that of Gopal et al., "Fast CRC Computation for iSCSI Polynomial Using CRC32 Instruction" (2011).
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse4.2,pclmulqdq")]
fn extend_in_lanes(crc: u32, bytes: &[u8]) -> u32 {
    use std::arch::x86_64::{_mm_clmulepi64_si128, _mm_crc32_u64, _mm_cvtsi64_si128, _mm_cvtsi128_si64, _mm_xor_si128};

    const BY_ONE: i64 = shift_factor(LANE_LEN);
    const BY_TWO: i64 = shift_factor(2 * LANE_LEN);

    let (blocks, rest) = bytes.as_chunks::<{ 3 * LANE_LEN }>();
    let mut crc = !crc;
    for block in blocks {
        let words = block.as_chunks::<8>().0;
        let [first, second, third] = words.as_chunks::<{ LANE_LEN / 8 }>().0 else {
            continue;
        };
        let (mut a, mut b, mut c) = (u64::from(crc), 0, 0);
        for ((x, y), z) in first.iter().zip(second).zip(third) {
            a = _mm_crc32_u64(a, u64::from_le_bytes(*x));
            b = _mm_crc32_u64(b, u64::from_le_bytes(*y));
            c = _mm_crc32_u64(c, u64::from_le_bytes(*z));
        }
        let a = _mm_clmulepi64_si128::<0>(_mm_cvtsi64_si128(a as i64), _mm_cvtsi64_si128(BY_TWO));
        let b = _mm_clmulepi64_si128::<0>(_mm_cvtsi64_si128(b as i64), _mm_cvtsi64_si128(BY_ONE));
        let both = _mm_cvtsi128_si64(_mm_xor_si128(a, b)) as u64;
        crc = (_mm_crc32_u64(0, both) ^ c) as u32;
    }
    extend_short(!crc, rest)
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
        let bytes: Vec<u8> = (0..900).map(|_| random.next() as u8).collect();
        for len in (0..300).chain(460..500).chain(700..740) {
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
