//! Little-endian fields in byte slices, and variable-length integers. Never panics.

use core::ops::Range;

/// The most bytes of a variable-length integer.
pub(crate) const MAX_VARINT_LEN: usize = 10;

/// Bytes `range` of `bytes`, if they are there and `N` long.
#[cfg_attr(feature = "alloc", inline)]
pub(crate) fn field<const N: usize>(bytes: &[u8], range: Range<usize>) -> Option<[u8; N]> {
    bytes.get(range)?.try_into().ok()
}

#[cfg_attr(feature = "alloc", inline)]
pub(crate) fn u16_at(bytes: &[u8], range: Range<usize>) -> Option<u16> {
    field(bytes, range).map(u16::from_le_bytes)
}

#[cfg_attr(feature = "alloc", inline)]
pub(crate) fn u32_at(bytes: &[u8], range: Range<usize>) -> Option<u32> {
    field(bytes, range).map(u32::from_le_bytes)
}

#[cfg_attr(feature = "alloc", inline)]
pub(crate) fn u64_at(bytes: &[u8], range: Range<usize>) -> Option<u64> {
    field(bytes, range).map(u64::from_le_bytes)
}

/// Puts `value` at `range`. Ranges are constants that fit; one that does not writes nothing.
#[cfg_attr(feature = "alloc", inline)]
pub(crate) fn put(bytes: &mut [u8], range: Range<usize>, value: &[u8]) {
    if let Some(slot) = bytes.get_mut(range)
        && slot.len() == value.len()
    {
        slot.copy_from_slice(value);
    }
}

/// Bytes that end with the encoding of `value`: seven bits a byte, least first, the top bit set on all but
/// the last (LEB128). Returns its length, or `None` where `out` is too short.
#[cfg_attr(feature = "alloc", inline)]
pub(crate) fn put_varint(out: &mut [u8], mut value: u64) -> Option<usize> {
    let mut len = 0;
    loop {
        let slot = out.get_mut(len)?;
        len += 1;
        if value < 0x80 {
            *slot = value as u8;
            return Some(len);
        }
        *slot = value as u8 | 0x80;
        value >>= 7;
    }
}

/// A variable-length integer and its length. `None`: cut short, longer than 64 bits, or not the shortest form.
#[cfg_attr(feature = "alloc", inline)]
pub(crate) fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    if first < 0x80 {
        return Some((u64::from(first), 1));
    }
    if let Some(&second @ 1..0x80) = bytes.get(1) {
        return Some((u64::from(first & 0x7f) | u64::from(second) << 7, 2));
    }
    long_varint(bytes)
}

/// A variable-length integer of three bytes or more, or none.
fn long_varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for (index, &byte) in bytes.iter().take(MAX_VARINT_LEN).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if index == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * index as u32);
        if byte < 0x80 {
            return (byte != 0).then_some((value, index + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{MAX_VARINT_LEN, put_varint, varint};

    #[test]
    fn varints_return_what_was_put_and_refuse_other_forms() {
        for shift in 0..64 {
            for value in [1u64 << shift, (1u64 << shift) - 1, u64::MAX >> shift] {
                let mut out = [0xa5; MAX_VARINT_LEN];
                let len = put_varint(&mut out, value).unwrap();
                assert_eq!(varint(&out[..len]), Some((value, len)));
                assert_eq!(varint(&out[..len - 1]), None, "cut short: {value}");
                assert_eq!(put_varint(&mut out[..len - 1], value), None);
            }
        }
        assert_eq!(varint(&[0x80, 0x00]), None, "not the shortest form");
        assert_eq!(
            varint(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]),
            None
        );
        assert_eq!(varint(&[0x80; 11]), None);
    }
}
