//! Reading beside the writer: a stable snapshot that lends records from the maps.

use std::fmt;
use std::ops::RangeBounds;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use walstone_core::{
    Corruption, Entries, Entry, Frames, Position, Reason, Record, SegmentId, SegmentReader, SharedStorage, Snapshot,
    Storage, sequences,
};

use crate::error::{Error, Result};
use crate::files::Files;
use crate::shared::{Facts, Shared};

type Pin = <Files as SharedStorage>::Pin;

/// A region as it was when the view was made. Stays valid through appends, deletions, rotation, reclaim and close.
///
/// A segment is pinned when it is first read, and stays pinned until the view is dropped. Segments that were
/// reclaimed meanwhile give their space back then. In a forked child only what is pinned can be read.
pub struct View {
    shared: Arc<Shared>,
    facts: Arc<Facts>,
    /// Where the active segment ended.
    end: u32,
    pins: Box<[OnceLock<Pin>]>,
    number: u64,
}

impl View {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        let read = || {
            let facts = shared.facts();
            let end = facts.end.load(Ordering::Acquire);
            let count = facts.snapshot.segment_count();
            let id = |at| facts.snapshot.segment(at).map_or(SegmentId(0), |segment| segment.id);
            ((id(0), id(count - 1)), (facts, end))
        };
        let (number, (facts, end)) = loop {
            match shared.readers.begin(read) {
                Some(begun) => break begun,
                // An operation removes segments right now: once it lets go of the log there are newer facts.
                None => drop(shared.log()),
            }
        };
        let count = facts.snapshot.segment_count();
        Self {
            shared: Arc::clone(shared),
            end,
            pins: (0..count).map(|_| OnceLock::new()).collect(),
            facts,
            number,
        }
    }

    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.facts.snapshot
    }

    pub(crate) fn end(&self) -> u32 {
        self.end
    }

    pub(crate) fn corrupt(&self, corruption: Corruption) -> Error {
        Error::Corrupt {
            region: self.shared.id,
            corruption,
        }
    }

    /// The bytes of the segment at `at`, pinned.
    fn bytes(&self, at: usize) -> Result<&[u8]> {
        let (Some(slot), Some(segment)) = (self.pins.get(at), self.snapshot().segment(at)) else {
            return Err(Error::NoRecord);
        };
        if let Some(pin) = slot.get() {
            return Ok(pin);
        }
        self.shared.check_process()?;
        let end = if at + 1 == self.pins.len() {
            // Of an append that failed there may be nothing; what was acknowledged before it is there.
            self.shared.files.held_end(segment.id, self.end)
        } else {
            segment.end
        };
        let pin = self.shared.files.pin(segment.id, 0, end)?;
        self.shared.check_segment(segment.id, &pin)?;
        Ok(slot.get_or_init(|| pin))
    }

    pub(crate) fn reader(&self, at: usize) -> Result<SegmentReader<'_>> {
        let bytes = self.bytes(at)?;
        self.snapshot()
            .reader(at, bytes)
            .map_err(|corruption| self.corrupt(corruption))
    }

    /// The live records of `table` with sequences in `range`, by rising sequence.
    ///
    /// A damaged segment gives one error, which names the place, and the reading goes on behind it.
    pub fn read(&self, table: u64, range: impl RangeBounds<u64>) -> Records<'_> {
        Records::new(self, Some(table), &range)
    }

    /// The live records of all tables, by rising sequence.
    pub fn scan(&self) -> Records<'_> {
        Records::new(self, None, &..)
    }

    /// The live records of all tables with sequences in `range`, by rising sequence.
    pub fn scan_range(&self, range: impl RangeBounds<u64>) -> Records<'_> {
        Records::new(self, None, &range)
    }

    /// The record of `table` with this sequence, if it is live.
    ///
    /// # Errors
    /// [`Error::Corrupt`]; [`Error::Storage`].
    pub fn get(&self, table: u64, sequence: u64) -> Result<Option<Record<'_>>> {
        self.read(table, sequence..=sequence).next().transpose()
    }

    /// The sequence of the first live record of `table`.
    ///
    /// # Errors
    /// [`Error::Corrupt`]; [`Error::Storage`].
    pub fn first(&self, table: u64) -> Result<Option<u64>> {
        let first = self.read(table, ..).next().transpose()?;
        Ok(first.map(|record| record.sequence))
    }

    /// The sequence of the last live record of `table`. Looks at segments from the newest on.
    ///
    /// # Errors
    /// [`Error::Corrupt`]; [`Error::Storage`].
    pub fn last(&self, table: u64) -> Result<Option<u64>> {
        for at in (0..self.snapshot().segment_count()).rev() {
            let reader = self.reader(at)?;
            if let Some(footer) = reader.footer().filter(|footer| footer.is_complete()) {
                match footer.table(table) {
                    None => continue,
                    Some(range) if !self.snapshot().is_deleted(table, range.last) => return Ok(Some(range.last)),
                    Some(_) => {}
                }
            }
            let mut last = None;
            for record in (Records {
                segments: at..at + 1,
                ..Records::new(self, Some(table), &..)
            }) {
                last = Some(record?.sequence);
            }
            if last.is_some() {
                return Ok(last);
            }
        }
        Ok(None)
    }

    /// The record at a position that an append gave, in this life of the log or an earlier one.
    ///
    /// # Errors
    /// [`Error::NoRecord`] where it was deleted or reclaimed, was appended after the view was made, or is of another
    /// log; [`Error::Corrupt`]; [`Error::Storage`].
    pub fn read_at(&self, position: Position) -> Result<Record<'_>> {
        let at = self.snapshot().position_of(position.segment()).ok_or(Error::NoRecord)?;
        let frame = self.reader(at)?.frame_at(&position).ok_or(Error::NoRecord)?;
        let frame = frame.map_err(|corruption| self.corrupt(corruption))?;
        let mut left = position.record();
        for entry in frame.entries().map_err(|corruption| self.corrupt(corruption))? {
            match entry.map_err(|_| self.corrupt(frame.malformed()))? {
                Entry::Record(record) if left == 0 => {
                    if self.snapshot().is_deleted(record.table, record.sequence) {
                        return Err(Error::NoRecord);
                    }
                    return Ok(record);
                }
                Entry::Record(_) => left -= 1,
                Entry::Void(_) => {}
            }
        }
        Err(Error::NoRecord)
    }
}

impl Drop for View {
    fn drop(&mut self) {
        if self.shared.is_forked() {
            return;
        }
        for id in self.shared.readers.end(self.number) {
            // Where this fails the next open removes it.
            let _ = self.shared.files.clone().remove(id);
        }
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View")
            .field("region", &self.shared.id)
            .field("segments", &self.pins.len())
            .finish_non_exhaustive()
    }
}

/// Live records of a view, by rising sequence. They lend from the view.
#[derive(Debug)]
pub struct Records<'v> {
    view: &'v View,
    table: Option<u64>,
    from: u64,
    to: u64,
    segments: std::ops::Range<usize>,
    frames: Option<Frames<'v>>,
    entries: Option<Entries<'v>>,
    has_voids: bool,
    /// What is said of the frame in hand should its entries not decode.
    malformed: Corruption,
}

impl<'v> Records<'v> {
    fn new(view: &'v View, table: Option<u64>, range: &impl RangeBounds<u64>) -> Self {
        let snapshot = view.snapshot();
        let bounds = sequences(range);
        let segments = bounds.map_or(0..0, |(from, to)| {
            snapshot.position_for(from)..(snapshot.position_for(to) + 1).min(snapshot.segment_count())
        });
        let (from, to) = bounds.unwrap_or_default();
        Self {
            view,
            table,
            from,
            to,
            segments,
            frames: None,
            entries: None,
            has_voids: !snapshot.voids().is_empty(),
            malformed: Corruption {
                segment: SegmentId(0),
                offset: 0,
                reason: Reason::Record,
            },
        }
    }

    #[inline]
    fn wants(&self, record: &Record<'_>) -> bool {
        record.sequence >= self.from
            && record.sequence <= self.to
            && self.table.is_none_or(|table| table == record.table)
            && !(self.has_voids && self.view.snapshot().is_deleted(record.table, record.sequence))
    }

    fn fail(&mut self, corruption: Corruption) -> Option<Result<Record<'v>>> {
        self.frames = None;
        self.entries = None;
        Some(Err(self.view.corrupt(corruption)))
    }
}

impl<'v> Iterator for Records<'v> {
    type Item = Result<Record<'v>>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entries) = &mut self.entries {
                match entries.next() {
                    Some(Ok(Entry::Record(record))) if self.wants(&record) => return Some(Ok(record)),
                    Some(Ok(_)) => continue,
                    Some(Err(_)) => return self.fail(self.malformed),
                    None => self.entries = None,
                }
            }
            if let Some(frames) = &mut self.frames {
                match frames.next() {
                    Some(Ok(frame)) => match frame.entries() {
                        Ok(entries) => {
                            self.malformed = frame.malformed();
                            self.entries = Some(entries);
                            continue;
                        }
                        Err(corruption) => return self.fail(corruption),
                    },
                    Some(Err(corruption)) => return self.fail(corruption),
                    None => self.frames = None,
                }
            }
            let at = self.segments.next()?;
            match self.view.reader(at) {
                Ok(reader) => self.frames = Some(reader.frames_from(self.from, self.table)),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
