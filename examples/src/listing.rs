//! Records as lines of text: `region table sequence value`, the value in hex, so that two listings can be compared.

use std::io::{self, Write};

/// Writes one record. An index, where there is one, stands before the value; an empty value is a dash.
///
/// # Errors
/// As the writer.
pub fn record(
    out: &mut impl Write,
    region: u64,
    table: u64,
    sequence: u64,
    index: Option<u64>,
    value: &[u8],
) -> io::Result<()> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    write!(out, "{region} {table} {sequence} ")?;
    if let Some(index) = index {
        write!(out, "index={index} ")?;
    }
    if value.is_empty() {
        out.write_all(b"-")?;
    }
    for chunk in value.chunks(128) {
        let mut digits = [0; 256];
        for (pair, &byte) in digits.chunks_exact_mut(2).zip(chunk) {
            pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        out.write_all(&digits[..2 * chunk.len()])?;
    }
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::record;

    fn check(index: Option<u64>, value: &[u8], line: &str) {
        let mut out = Vec::new();
        record(&mut out, 1, 7, 3, index, value).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), line);
    }

    #[test]
    fn a_record_is_one_line() {
        check(None, b"\0a\xff", "1 7 3 0061ff\n");
        check(Some(9), b"a", "1 7 3 index=9 61\n");
        check(None, b"", "1 7 3 -\n");
        check(None, &[0xab; 300], &format!("1 7 3 {}\n", "ab".repeat(300)));
    }
}
