//! One batch on its way into the log: what it will be, where it goes, and what it leaves in the state.

use crate::batch::{Batch, Heads};
use crate::checksum::Checksum;
use crate::engine::Engine;
use crate::error::{Error, PoisonCause, Refusal};
use crate::frame;
use crate::geometry::{Mark, SegmentId};
use crate::position::Position;
use crate::record::{EncodedHead, Head, NewRecord, Void, clamp_voids};
use crate::region::plan::{Goal, Step};
use crate::segment::layout::Purpose;
use crate::voids::{self, Cover};
use crate::wire;

/// An append, as far as it went: *written*, not yet durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Appended {
    /// The sequence of the first record; of the next one to come where the batch only deletes.
    pub first: u64,
    /// The sequence of the last record; less than `first` where the batch only deletes.
    pub last: u64,
    /// Where the first record stands. Valid after reopening.
    pub position: Position,
    /// What is to be synced for the batch to be durable.
    pub mark: Mark,
}

/// One record, encoded and checksummed.
#[derive(Clone, Copy, Debug)]
pub struct Prepared<'a> {
    head: EncodedHead,
    value: &'a [u8],
    crc: u32,
    table: u64,
    index: Option<u64>,
}

impl<'a> Prepared<'a> {
    /// Encodes what stands in front of the value, and checksums both.
    #[must_use]
    pub fn new(record: &NewRecord<'a>, checksum: Checksum) -> Self {
        let head = EncodedHead::user(record, None);
        Self {
            crc: checksum.extend(checksum.of(head.as_slice()), record.value),
            head,
            value: record.value,
            table: record.table,
            index: record.index,
        }
    }
}

/// Where the payload of a batch comes from.
enum Content<'a> {
    /// One record.
    Record(&'a Prepared<'a>),
    /// Records without a deletion.
    Records(&'a Batch<'a>),
    /// Records and deletions: they pass through the engine's buffer, since deletions are clamped when the batch gets
    /// its sequence.
    Mixed(&'a Batch<'a>),
    /// One deletion.
    Void(&'a EncodedHead),
}

/// What a batch will be.
pub(crate) struct Draft<'a> {
    content: Content<'a>,
    payload_len: u32,
    crc: u32,
    /// User records.
    count: u32,
    purpose: Purpose,
}

impl Draft<'_> {
    #[cfg_attr(feature = "alloc", inline)]
    pub(crate) fn goal(&self) -> Goal {
        Goal::Append {
            payload_len: self.payload_len,
            purpose: self.purpose,
        }
    }
}

impl Engine<'_> {
    /// The draft of one record.
    #[cfg_attr(feature = "alloc", inline)]
    pub(crate) fn draft_record<'a>(&self, record: &'a Prepared<'a>) -> Result<Draft<'a>, Refusal> {
        let len = record.head.as_slice().len() + record.value.len();
        self.draft(Content::Record(record), len, record.crc, 1)
    }

    /// The draft of a batch. `crc`: of its payload, where it deletes nothing.
    #[cfg_attr(feature = "alloc", inline)]
    pub(crate) fn draft_batch<'a>(&self, batch: &'a Batch<'a>, crc: u32) -> Result<Draft<'a>, Refusal> {
        if batch.is_empty() {
            return Err(Error::EmptyBatch);
        }
        let mixed = batch.deletions() > 0;
        let content = if mixed {
            Content::Mixed(batch)
        } else {
            Content::Records(batch)
        };
        let draft = self.draft(content, batch.payload_len(), crc, batch.records())?;
        if mixed {
            self.voids_fit(batch)?;
        }
        Ok(draft)
    }

    /// The draft of a deletion, as far as its sequences were given; `None` where there is nothing to delete. It is encoded in
    /// `head`.
    pub(crate) fn draft_void<'a>(&self, void: Void, head: &'a mut EncodedHead) -> Result<Option<Draft<'a>>, Refusal> {
        self.writable()?;
        let void = void.given(self.region.next_sequence);
        let nothing =
            void.is_empty() || voids::cover(self.region.voids.as_slice(), void.table, void.from, void.to) == Cover::All;
        if nothing && self.region.poisoned.is_none() {
            return Ok(None);
        }
        self.growth_fits(self.region.voids.growth(void))?;
        head.put_void(void);
        let (len, crc) = (head.as_slice().len(), self.region.checksum.of(head.as_slice()));
        self.draft(Content::Void(head), len, crc, 0).map(Some)
    }

    #[cfg_attr(feature = "alloc", inline)]
    fn draft<'a>(&self, content: Content<'a>, len: usize, crc: u32, count: u32) -> Result<Draft<'a>, Refusal> {
        self.writable()?;
        let max = self.region.layout.max_payload_len();
        let payload_len = u32::try_from(len).ok().filter(|&len| len <= max);
        let payload_len = payload_len.ok_or(Error::RecordTooLarge { len: len as u64, max })?;
        if self.region.next_sequence.checked_add(u64::from(count)).is_none() {
            return Err(Error::SequenceExhausted);
        }
        Ok(Draft {
            content,
            payload_len,
            crc,
            count,
            purpose: if count == 0 { Purpose::Void } else { Purpose::User },
        })
    }

    fn voids_fit(&self, batch: &Batch<'_>) -> Result<(), Refusal> {
        // Records come where a quarter of the manifest's items is left: the one that they may need is there.
        let (mut growth, mut sequence) = (0, self.region.next_sequence);
        for head in Heads::new(batch.entries()).flatten() {
            match head {
                Head::User { .. } => sequence += 1,
                Head::Void(void) if !void.given(sequence).is_empty() => {
                    growth += self.region.voids.growth(void.given(sequence)).max(0);
                }
                Head::Void(_) => {}
            }
        }
        self.growth_fits(growth)
    }

    fn growth_fits(&self, growth: isize) -> Result<(), Refusal> {
        if growth <= 0 {
            return Ok(());
        }
        let max = self.region.max_voids();
        let voids = self.region.voids.as_slice().len().saturating_add_signed(growth);
        if voids > max {
            return Err(Error::TooManyVoids { max });
        }
        Ok(())
    }

    /// Where the draft may be written at once; `None`: its goal is to be reached first.
    #[cfg_attr(feature = "alloc", inline)]
    pub(crate) fn ready_at(&self, draft: &Draft<'_>) -> Option<u32> {
        if cfg!(not(feature = "alloc")) {
            return None; // The short way saves time, and costs code.
        }
        let offset = self.region.ready_at(draft.payload_len, draft.purpose)?;
        debug_assert_eq!(
            self.region.plan(draft.goal()),
            Ok(Step::Ready { offset }),
            "the short way is the same way"
        );
        Some(offset)
    }

    /// The header of the draft's frame at `offset` of the active segment; deletions are clamped.
    #[cfg_attr(feature = "alloc", inline)]
    pub(crate) fn frame_header(
        &mut self,
        draft: &mut Draft<'_>,
        offset: u32,
    ) -> Result<[u8; frame::HEADER_LEN], Refusal> {
        let mut with_epoch = false;
        match draft.content {
            Content::Record(_) | Content::Void(_) => {}
            Content::Records(batch) => with_epoch = batch.with_epoch(),
            Content::Mixed(batch) => {
                with_epoch = batch.with_epoch();
                draft.crc = self.clamp(batch)?;
            }
        }
        let header = self.region.batch_header(draft.payload_len, draft.crc, with_epoch);
        Ok(header.encode(&self.region.binding(self.region.active.seed), offset))
    }

    /// Copies a batch into the buffer with its deletions clamped; returns its checksum.
    fn clamp(&mut self, batch: &Batch<'_>) -> Result<u32, Refusal> {
        let needed = batch.payload_len();
        let copy = self.buffer.at_least(needed).and_then(|buffer| buffer.get_mut(..needed));
        let copy = copy.ok_or(Error::BufferTooSmall { needed })?;
        wire::put(copy, 0..needed, batch.payload());
        if let Some(entries) = copy.get_mut(batch.entries_start()..) {
            // The batch was encoded by this crate.
            let _ = clamp_voids(entries, self.region.next_sequence);
        }
        Ok(self.region.checksum.of(copy))
    }

    /// The payload of a draft whose header was made.
    #[cfg_attr(feature = "alloc", inline)]
    pub(crate) fn payload<'a>(&'a self, draft: &'a Draft<'_>) -> [&'a [u8]; 2] {
        match &draft.content {
            Content::Record(record) => [record.head.as_slice(), record.value],
            Content::Records(batch) => [batch.payload(), &[]],
            Content::Mixed(batch) => [
                self.buffer.as_slice().get(..batch.payload_len()).unwrap_or_default(),
                &[],
            ],
            Content::Void(head) => [head.as_slice(), &[]],
        }
    }

    /// Takes in what became of the write of a draft.
    #[cfg_attr(feature = "alloc", inline)]
    pub(crate) fn written<E>(
        &mut self,
        draft: &Draft<'_>,
        offset: u32,
        header: &[u8; frame::HEADER_LEN],
        outcome: Result<(), E>,
    ) -> Result<Appended, Error<E>> {
        self.checked(outcome, PoisonCause::Write)?;
        let Self { region, buffer, .. } = self;
        let position = Position::of(region.active.id, offset, header);
        region.batch_written(offset, draft.payload_len);
        let first = region.next_sequence;
        let entries = match &draft.content {
            Content::Record(record) => {
                region.record_written(record.table, record.index, offset);
                &[]
            }
            Content::Void(head) => head.as_slice(),
            Content::Records(batch) => batch.entries(),
            Content::Mixed(batch) => {
                let entries = buffer.as_slice().get(batch.entries_start()..batch.payload_len());
                entries.unwrap_or_default()
            }
        };
        for head in Heads::new(entries).flatten() {
            match head {
                Head::User { table, index, .. } => region.record_written(table, index, offset),
                Head::Void(void) => region.void_written(void),
            }
        }
        Ok(Appended {
            first,
            last: first + u64::from(draft.count) - 1,
            position,
            mark: region.written_mark(),
        })
    }

    /// What an append returns that had nothing to write.
    pub(crate) fn nothing_appended(&self) -> Appended {
        Appended {
            first: self.region.next_sequence,
            last: self.region.next_sequence - 1,
            position: Position::default(),
            mark: self.region.written_mark(),
        }
    }

    /// The segment that is appended to.
    #[cfg_attr(feature = "alloc", inline)]
    pub(crate) fn active(&self) -> SegmentId {
        self.region.active.id
    }
}
