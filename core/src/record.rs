//! Records inside the payload of a batch. Knows nothing of frames, checksums or segments.
//!
//! ```text
//! user record   varint(value_len << 3 | extended << 2 | same_table << 1 | 0)
//!               varint(table)                     unless same_table
//!               fields u8, varint per field       if extended: bit 0 timestamp, bit 1 index
//!               value
//! void          varint(0 << 3 | 1)  varint(table)  from u64  to u64
//! ```
//!
//! `same_table` repeats the table of the user record before it in the same batch. The range of a void has a fixed
//! width, because `to` is clamped to the last given sequence only when the batch gets its own; a void whose
//! `from` lies behind its `to` deletes nothing.

use core::ops::{Bound, RangeBounds};

use crate::mutation::{self, Mutation};
use crate::wire;

/// A record as it is read back. The value is lent by the storage or by the caller's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Record<'a> {
    /// The table it was appended to.
    pub table: u64,
    /// Its number in the region, from 1.
    pub sequence: u64,
    /// What was appended.
    pub value: &'a [u8],
    /// The caller's time stamp, in the caller's unit.
    pub timestamp: Option<u64>,
    /// The caller's own number of this record.
    pub index: Option<u64>,
    /// The epoch of the batch it came in.
    pub epoch: Option<u64>,
}

/// What a user appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct NewRecord<'a> {
    /// The table it goes to.
    pub table: u64,
    /// The bytes to keep.
    pub value: &'a [u8],
    /// An optional time stamp, in any unit.
    pub timestamp: Option<u64>,
    /// An optional number of the caller's own.
    pub index: Option<u64>,
}

impl<'a> NewRecord<'a> {
    /// A record without optional fields.
    #[must_use]
    #[cfg_attr(feature = "alloc", inline)]
    pub const fn new(table: u64, value: &'a [u8]) -> Self {
        Self {
            table,
            value,
            timestamp: None,
            index: None,
        }
    }
}

/// A range of one table's sequences that is dead, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Void {
    /// The table whose records die.
    pub table: u64,
    /// The first dead sequence.
    pub from: u64,
    /// The last dead sequence; never one that was not yet given.
    pub to: u64,
}

impl Void {
    /// As much of it as was given when `next_sequence` is the next one to give.
    pub(crate) const fn given(self, next_sequence: u64) -> Self {
        let last = next_sequence.saturating_sub(1);
        Self {
            to: if self.to < last { self.to } else { last },
            ..self
        }
    }

    /// Whether it deletes nothing.
    pub(crate) const fn is_empty(self) -> bool {
        self.from > self.to
    }
}

/// What stands in front of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    User {
        table: u64,
        value_len: u32,
        timestamp: Option<u64>,
        index: Option<u64>,
    },
    Void(Void),
}

/// The most bytes in front of a value, and of a void.
pub(crate) const MAX_HEAD_LEN: usize = 4 * wire::MAX_VARINT_LEN + 1;

/// Bytes of a void's range.
const VOID_RANGE_LEN: usize = 16;
const CONTROL: u64 = 1;
const SAME_TABLE: u64 = 2;
const EXTENDED: u64 = 4;
const FLAG_BITS: u32 = 3;
const FIELD_TIMESTAMP: u8 = 1;
const FIELD_INDEX: u8 = 2;

/// Clamps each void of an encoded payload to the sequences given before it, where the payload's first record gets
/// `first_sequence`.
pub(crate) fn clamp_voids(payload: &mut [u8], first_sequence: u64) -> Result<(), Malformed> {
    let (mut at, mut sequence, mut table) = (0, first_sequence, None);
    while at < payload.len() {
        let rest = payload.get(at..).ok_or(Malformed)?;
        let (head, len) = Head::decode(rest, table)?;
        at += len;
        match head {
            Head::Void(void) => {
                let to = if mutation::is(Mutation::VoidNotClamped) {
                    void.to
                } else {
                    void.given(sequence).to
                };
                wire::put(payload, at - 8..at, &to.to_le_bytes());
            }
            Head::User {
                table: of, value_len, ..
            } => {
                at += value_len as usize;
                table = Some(of);
                sequence += 1;
            }
        }
    }
    Ok(())
}

/// Bytes that do not decode although their checksum verifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Malformed;

impl core::fmt::Display for Malformed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("record does not decode although its checksum verifies")
    }
}

impl core::error::Error for Malformed {}

/// An encoded head: the bytes in front of a value, or a whole void.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EncodedHead {
    bytes: [u8; MAX_HEAD_LEN],
    len: u8,
}

impl EncodedHead {
    #[cfg_attr(feature = "alloc", inline)]
    pub(crate) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len.into()).unwrap_or_default()
    }

    /// Nothing yet.
    pub(crate) const EMPTY: Self = Self {
        bytes: [0; MAX_HEAD_LEN],
        len: 0,
    };

    #[cfg_attr(feature = "alloc", inline)]
    fn varint(&mut self, value: u64) {
        if let Some(rest) = self.bytes.get_mut(self.len.into()..)
            && let Some(len) = wire::put_varint(rest, value)
        {
            self.len += len as u8;
        }
    }

    #[cfg_attr(feature = "alloc", inline)]
    fn byte(&mut self, value: u8) {
        if let Some(slot) = self.bytes.get_mut(usize::from(self.len)) {
            *slot = value;
            self.len += 1;
        }
    }

    /// The head of a user record that follows one of `previous_table`.
    #[cfg_attr(feature = "alloc", inline)]
    pub(crate) fn user(record: &NewRecord<'_>, previous_table: Option<u64>) -> Self {
        let mut head = Self::EMPTY;
        let same_table = previous_table == Some(record.table);
        let extended = record.timestamp.is_some() || record.index.is_some();
        let mut first = (record.value.len() as u64) << FLAG_BITS;
        if same_table {
            first |= SAME_TABLE;
        }
        if extended {
            first |= EXTENDED;
        }
        head.varint(first);
        if !same_table {
            head.varint(record.table);
        }
        if extended {
            let timestamp = if record.timestamp.is_some() { FIELD_TIMESTAMP } else { 0 };
            let index = if record.index.is_some() { FIELD_INDEX } else { 0 };
            head.byte(timestamp | index);
            for field in [record.timestamp, record.index].into_iter().flatten() {
                head.varint(field);
            }
        }
        head
    }

    pub(crate) fn void(void: Void) -> Self {
        let mut head = Self::EMPTY;
        head.put_void(void);
        head
    }

    /// Puts a whole void behind what is there.
    pub(crate) fn put_void(&mut self, void: Void) {
        self.varint(CONTROL);
        self.varint(void.table);
        for byte in void.from.to_le_bytes().into_iter().chain(void.to.to_le_bytes()) {
            self.byte(byte);
        }
    }
}

impl Head {
    /// The head at the start of `bytes` and its length. `bytes` reaches to the end of the payload or holds
    /// at least [`MAX_HEAD_LEN`] bytes.
    #[cfg_attr(feature = "alloc", inline)]
    pub(crate) fn decode(bytes: &[u8], previous_table: Option<u64>) -> Result<(Self, usize), Malformed> {
        decode_head(bytes, previous_table).ok_or(Malformed)
    }
}

#[cfg_attr(feature = "alloc", inline)]
fn decode_head(bytes: &[u8], previous_table: Option<u64>) -> Option<(Head, usize)> {
    let (first, mut len) = wire::varint(bytes)?;
    let mut next = |bytes: &[u8]| -> Option<u64> {
        let (value, value_len) = wire::varint(bytes.get(len..)?)?;
        len += value_len;
        Some(value)
    };
    if first & CONTROL != 0 {
        if first != CONTROL {
            return None;
        }
        let table = next(bytes)?;
        let range = bytes.get(len..)?;
        let from = wire::u64_at(range, 0..8)?;
        let to = wire::u64_at(range, 8..16)?;
        return Some((Head::Void(Void { table, from, to }), len + VOID_RANGE_LEN));
    }
    let value_len = u32::try_from(first >> FLAG_BITS).ok()?;
    let table = if first & SAME_TABLE != 0 {
        previous_table?
    } else {
        next(bytes)?
    };
    let (mut timestamp, mut index) = (None, None);
    if first & EXTENDED != 0 {
        let fields = *bytes.get(len)?;
        len += 1;
        if fields == 0 || fields & !(FIELD_TIMESTAMP | FIELD_INDEX) != 0 {
            return None;
        }
        let mut next = |bytes: &[u8]| -> Option<u64> {
            let (value, value_len) = wire::varint(bytes.get(len..)?)?;
            len += value_len;
            Some(value)
        };
        if fields & FIELD_TIMESTAMP != 0 {
            timestamp = Some(next(bytes)?);
        }
        if fields & FIELD_INDEX != 0 {
            index = Some(next(bytes)?);
        }
    }
    let head = Head::User {
        table,
        value_len,
        timestamp,
        index,
    };
    Some((head, len))
}

/// What a payload holds, in the order in which it applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Entry<'a> {
    /// A user record.
    Record(Record<'a>),
    /// A deletion.
    Void(Void),
}

/// The entries of one verified payload.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    rest: &'a [u8],
    table: Option<u64>,
    sequence: u64,
    epoch: Option<u64>,
}

impl<'a> Entries<'a> {
    /// Walks `payload`, whose first user record has the number `first_sequence`. `with_epoch`: the payload
    /// starts with an epoch.
    ///
    /// # Errors
    /// [`Malformed`] where the epoch does not decode.
    #[cfg_attr(feature = "alloc", inline)]
    pub fn new(payload: &'a [u8], first_sequence: u64, with_epoch: bool) -> Result<Self, Malformed> {
        let (epoch, rest) = if with_epoch {
            let (epoch, len) = wire::varint(payload).ok_or(Malformed)?;
            (Some(epoch), payload.get(len..).ok_or(Malformed)?)
        } else {
            (None, payload)
        };
        Ok(Self {
            rest,
            table: None,
            sequence: first_sequence,
            epoch,
        })
    }

    #[cfg_attr(feature = "alloc", inline)]
    fn decode(&mut self) -> Result<Entry<'a>, Malformed> {
        let (head, len) = Head::decode(self.rest, self.table)?;
        match head {
            Head::Void(void) => {
                // A void may name only sequences that were given before it.
                if void.to >= self.sequence {
                    return Err(Malformed);
                }
                self.rest = self.rest.get(len..).ok_or(Malformed)?;
                Ok(Entry::Void(void))
            }
            Head::User {
                table,
                value_len,
                timestamp,
                index,
            } => {
                let rest = self.rest.get(len..).ok_or(Malformed)?;
                let (value, rest) = rest.split_at_checked(value_len as usize).ok_or(Malformed)?;
                let sequence = self.sequence;
                self.sequence = sequence.checked_add(1).ok_or(Malformed)?;
                self.rest = rest;
                self.table = Some(table);
                Ok(Entry::Record(Record {
                    table,
                    sequence,
                    value,
                    timestamp,
                    index,
                    epoch: self.epoch,
                }))
            }
        }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, Malformed>;

    #[cfg_attr(feature = "alloc", inline)]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let entry = self.decode();
        if entry.is_err() {
            self.rest = &[];
        }
        Some(entry)
    }
}

/// The first and the last sequence that a range holds; `None` where it holds none.
#[must_use]
pub fn sequences(range: &impl RangeBounds<u64>) -> Option<(u64, u64)> {
    let from = match range.start_bound() {
        Bound::Included(&from) => from,
        Bound::Excluded(&before) => before.checked_add(1)?,
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(&to) => to,
        Bound::Excluded(&behind) => behind.checked_sub(1)?,
        Bound::Unbounded => u64::MAX,
    };
    (from <= to).then_some((from, to))
}
