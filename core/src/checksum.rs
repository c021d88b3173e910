//! CRC-32/ISCSI (Castagnoli) as a value a host can replace with a faster implementation.
//!
//! Source of the parameters: the catalogue of parametrised CRC algorithms, entry CRC-32/ISCSI
//! (polynomial 0x1EDC6F41, reflected, initial value and final XOR all ones, check 0xE3069283).

use core::fmt;

use crc::{CRC_32_ISCSI, Crc, NoTable, Table};

static BITWISE: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISCSI);
static BYTEWISE: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISCSI);

/// A CRC-32/ISCSI implementation. Every value of this type must give the same results;
/// they differ in speed and in size only.
#[derive(Clone, Copy)]
pub struct Checksum {
    extend: fn(u32, &[u8]) -> u32,
}

impl Checksum {
    /// Without a table: about 100 bytes of code, eight steps a byte.
    pub const BITWISE: Self = Self::new(|crc, bytes| {
        let mut digest = BITWISE.digest_with_initial((!crc).reverse_bits());
        digest.update(bytes);
        digest.finalize()
    });

    /// With one table of 1 KiB.
    pub const BYTEWISE: Self = Self::new(|crc, bytes| {
        let mut digest = BYTEWISE.digest_with_initial((!crc).reverse_bits());
        digest.update(bytes);
        digest.finalize()
    });

    /// Wraps `extend(crc, bytes)`, which continues a finished CRC: `extend(0, b"")` is 0 and
    /// `extend(extend(0, a), b)` is the CRC of `a` followed by `b`.
    #[must_use]
    pub const fn new(extend: fn(u32, &[u8]) -> u32) -> Self {
        Self { extend }
    }

    /// The CRC of what `crc` stands for, followed by `bytes`.
    #[must_use]
    #[cfg_attr(feature = "alloc", inline)]
    pub fn extend(self, crc: u32, bytes: &[u8]) -> u32 {
        (self.extend)(crc, bytes)
    }

    /// The CRC of `bytes`.
    #[must_use]
    #[cfg_attr(feature = "alloc", inline)]
    pub fn of(self, bytes: &[u8]) -> u32 {
        self.extend(0, bytes)
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Checksum(CRC-32/ISCSI)")
    }
}

#[cfg(test)]
mod tests {
    use super::Checksum;

    #[test]
    fn both_implementations_give_the_catalogue_value_and_continue() {
        for checksum in [Checksum::BITWISE, Checksum::BYTEWISE] {
            assert_eq!(checksum.of(b"123456789"), 0xe306_9283);
            assert_eq!(checksum.of(b""), 0);
            let head = checksum.of(b"1234");
            assert_eq!(checksum.extend(head, b"56789"), 0xe306_9283);
        }
    }
}
