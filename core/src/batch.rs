//! What one atomic frame will hold: user records and deletions, encoded as they are added.

use crate::capacity::Buffer;
use crate::record::{EncodedHead, Head, Malformed, NewRecord, Void};
use crate::wire;

/// Records and deletions of several tables that are appended as one: after a crash all of them are there, or none.
/// They apply in the order in which they were added.
#[derive(Debug)]
pub struct Batch<'b> {
    buffer: Buffer<'b>,
    len: usize,
    /// Where the first record stands, behind the epoch.
    start: usize,
    records: u32,
    voids: u32,
    table: Option<u64>,
}

/// The buffer lent to a batch is full. The batch is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BatchFull {
    /// Bytes that the batch would have needed.
    pub needed: usize,
}

impl core::fmt::Display for BatchFull {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "the batch needs {} bytes", self.needed)
    }
}

impl core::error::Error for BatchFull {}

impl<'b> Batch<'b> {
    /// An empty batch that encodes into `buffer`.
    #[must_use]
    pub fn lent(buffer: &'b mut [u8]) -> Self {
        Self::with(Buffer::Lent(buffer))
    }

    fn with(buffer: Buffer<'b>) -> Self {
        Self {
            buffer,
            len: 0,
            start: 0,
            records: 0,
            voids: 0,
            table: None,
        }
    }

    /// Empties the batch and keeps its room.
    pub fn clear(&mut self) {
        self.len = 0;
        self.start = 0;
        self.records = 0;
        self.voids = 0;
        self.table = None;
    }

    /// Whether nothing was added.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.records == 0 && self.voids == 0
    }

    /// User records added.
    #[must_use]
    pub const fn records(&self) -> u32 {
        self.records
    }

    /// Deletions added.
    #[must_use]
    pub const fn deletions(&self) -> u32 {
        self.voids
    }

    /// Bytes of the payload.
    #[must_use]
    pub const fn payload_len(&self) -> usize {
        self.len
    }

    pub(crate) const fn with_epoch(&self) -> bool {
        self.start > 0
    }

    /// The encoded payload.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.buffer.as_slice().get(..self.len).unwrap_or_default()
    }

    /// The records behind the epoch.
    pub(crate) fn entries(&self) -> &[u8] {
        self.payload().get(self.start..).unwrap_or_default()
    }

    pub(crate) const fn entries_start(&self) -> usize {
        self.start
    }

    fn extend(&mut self, parts: [&[u8]; 2]) -> Result<(), BatchFull> {
        let needed = self.len + parts[0].len() + parts[1].len();
        let buffer = self.buffer.at_least(needed).ok_or(BatchFull { needed })?;
        for part in parts {
            let end = self.len + part.len();
            wire::put(buffer, self.len..end, part);
            self.len = end;
        }
        Ok(())
    }

    /// Gives the whole batch an epoch. Only on an empty batch.
    ///
    /// # Errors
    /// [`BatchFull`] where a lent buffer is too short, or the batch is not empty.
    pub fn set_epoch(&mut self, epoch: u64) -> Result<(), BatchFull> {
        if self.len > 0 {
            return Err(BatchFull { needed: usize::MAX });
        }
        let mut bytes = [0; wire::MAX_VARINT_LEN];
        let len = wire::put_varint(&mut bytes, epoch).unwrap_or_default();
        self.extend([bytes.get(..len).unwrap_or_default(), &[]])?;
        self.start = len;
        Ok(())
    }

    /// Adds a record.
    ///
    /// # Errors
    /// [`BatchFull`] where a lent buffer is too short.
    pub fn try_push(&mut self, record: &NewRecord<'_>) -> Result<(), BatchFull> {
        let head = EncodedHead::user(record, self.table);
        self.extend([head.as_slice(), record.value])?;
        self.table = Some(record.table);
        self.records += 1;
        Ok(())
    }

    fn try_void(&mut self, void: Void) -> Result<(), BatchFull> {
        self.extend([EncodedHead::void(void).as_slice(), &[]])?;
        self.voids += 1;
        Ok(())
    }

    /// Deletes the records of `table` up to `sequence`, that one included, as far as they were given when this
    /// takes effect.
    ///
    /// # Errors
    /// [`BatchFull`] where a lent buffer is too short.
    pub fn try_delete_up_to(&mut self, table: u64, sequence: u64) -> Result<(), BatchFull> {
        self.try_void(Void {
            table,
            from: 1,
            to: sequence,
        })
    }

    /// Deletes the records of `table` from `sequence` on, that one included, that were given when this takes
    /// effect. Later ones are not touched.
    ///
    /// # Errors
    /// [`BatchFull`] where a lent buffer is too short.
    pub fn try_truncate_from(&mut self, table: u64, sequence: u64) -> Result<(), BatchFull> {
        self.try_void(Void {
            table,
            from: sequence.max(1),
            to: u64::MAX,
        })
    }
}

#[cfg(feature = "alloc")]
impl Batch<'static> {
    /// An empty batch that grows on the heap.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Buffer::owned(0))
    }

    /// Adds a value of `table`.
    pub fn push(&mut self, table: u64, value: &[u8]) {
        self.push_record(&NewRecord::new(table, value));
    }

    /// Adds a record with its optional fields.
    pub fn push_record(&mut self, record: &NewRecord<'_>) {
        let added = self.try_push(record);
        debug_assert!(added.is_ok(), "an owned batch grows");
    }

    /// Deletes the records of `table` up to `sequence`; see [`Batch::try_delete_up_to`].
    pub fn delete_up_to(&mut self, table: u64, sequence: u64) {
        let added = self.try_delete_up_to(table, sequence);
        debug_assert!(added.is_ok(), "an owned batch grows");
    }

    /// Deletes the records of `table` from `sequence` on; see [`Batch::try_truncate_from`].
    pub fn truncate_from(&mut self, table: u64, sequence: u64) {
        let added = self.try_truncate_from(table, sequence);
        debug_assert!(added.is_ok(), "an owned batch grows");
    }
}

#[cfg(feature = "alloc")]
impl Default for Batch<'static> {
    fn default() -> Self {
        Self::new()
    }
}

/// The heads of encoded entries, values skipped.
pub(crate) struct Heads<'a> {
    rest: &'a [u8],
    table: Option<u64>,
}

impl<'a> Heads<'a> {
    pub(crate) const fn new(entries: &'a [u8]) -> Self {
        Self {
            rest: entries,
            table: None,
        }
    }
}

impl Iterator for Heads<'_> {
    type Item = Result<Head, Malformed>;

    #[cfg_attr(feature = "alloc", inline)]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let decoded = Head::decode(self.rest, self.table).and_then(|(head, len)| {
            let value_len = match head {
                Head::User { table, value_len, .. } => {
                    self.table = Some(table);
                    value_len as usize
                }
                Head::Void(_) => 0,
            };
            self.rest = self.rest.get(len + value_len..).ok_or(Malformed)?;
            Ok(head)
        });
        Some(decoded)
    }
}
