//! Reading records in order, and one record by its position. Changes nothing.

use core::ops::{Bound, RangeBounds};

use crate::error::Error;
use crate::examine::{cuts_of, walk_of};
use crate::facts::{Cuts, Retained};
use crate::frame::{self, Header, Kind};
use crate::geometry::SegmentId;
use crate::log::Log;
use crate::media::{self, Key, Walk, corrupt};
use crate::position::Position;
use crate::record::Record;
use crate::report::Reason;
use crate::scan::{End, Event, Limit, RecordAt, Scan, Start};
use crate::storage::Storage;
use crate::voids;

/// Live records, by rising sequence. Lends each until the next is asked for.
#[derive(Debug)]
pub struct Reads<'l, 'w, S> {
    log: &'l mut Log<'w, S>,
    table: Option<u64>,
    from: u64,
    to: u64,
    /// The id of the segment to look at next.
    segment: u64,
    walk: Option<Walk>,
    done: bool,
}

impl<'l, 'w, S: Storage> Reads<'l, 'w, S> {
    pub(crate) fn new(log: &'l mut Log<'w, S>, table: Option<u64>, range: impl RangeBounds<u64>) -> Self {
        let from = match range.start_bound() {
            Bound::Included(&from) => Some(from),
            Bound::Excluded(&before) => before.checked_add(1),
            Bound::Unbounded => Some(0),
        };
        let to = match range.end_bound() {
            Bound::Included(&to) => Some(to),
            Bound::Excluded(&behind) => behind.checked_sub(1),
            Bound::Unbounded => Some(u64::MAX),
        };
        Self {
            log,
            table,
            from: from.unwrap_or(u64::MAX),
            to: to.unwrap_or(0),
            segment: 0,
            walk: None,
            done: from.is_none() || to.is_none(),
        }
    }

    /// The next record. After an error, which names where it is, the reading goes on behind the damaged segment.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend")]
    pub fn next(&mut self) -> Option<Result<Record<'_>, Error<S::Error>>> {
        match self.find() {
            Ok(Some((id, record))) => Some(self.lend(id, record)),
            Ok(None) => None,
            Err(error) => {
                self.walk = None;
                Some(Err(error))
            }
        }
    }

    fn lend(&mut self, id: SegmentId, record: RecordAt) -> Result<Record<'_>, Error<S::Error>> {
        let (storage, buffer) = (&mut self.log.storage, self.log.engine.buffer.whole());
        let value = match &mut self.walk {
            Some(walk) => walk.value(storage, buffer, record.value, record.value_len)?,
            None => media::read_whole(storage, buffer, id, record.value, record.value_len)?,
        };
        Ok(as_record(record, value))
    }

    fn find(&mut self) -> Result<Option<(SegmentId, RecordAt)>, Error<S::Error>> {
        loop {
            if self.walk.is_none() && !self.open_next()? {
                return Ok(None);
            }
            let Some(walk) = &mut self.walk else { continue };
            match walk.next(&mut self.log.storage, self.log.engine.buffer.whole())? {
                Event::Record(record) => {
                    if record.sequence > self.to {
                        self.done = true;
                        self.walk = None;
                        return Ok(None);
                    }
                    let wanted = record.sequence >= self.from && self.table.is_none_or(|table| table == record.table);
                    if wanted && !voids::covers(self.log.engine.region.voids.as_slice(), record.table, record.sequence)
                    {
                        return Ok(Some((walk.id, record)));
                    }
                }
                Event::End(End::Exact) => self.walk = None,
                Event::End(End::Damaged { offset, reason }) => return Err(corrupt(walk.id, offset, reason)),
                Event::End(_) | Event::Restart => return Err(corrupt(walk.id, walk.scan.offset(), Reason::Resume)),
                _ => {}
            }
        }
    }

    /// Begins the walk over the next segment that may hold what is wanted.
    fn open_next(&mut self) -> Result<bool, Error<S::Error>> {
        while !self.done {
            let region = &self.log.engine.region;
            let mut listed = region.listed().filter(|segment| segment.id >= self.segment);
            let Some(segment) = listed.next().copied() else {
                self.done = true;
                if self.segment > region.active.id.0 || region.active.first_sequence > self.to {
                    return Ok(false);
                }
                self.segment = region.active.id.0.saturating_add(1);
                self.walk = Some(active_walk(self.log));
                return Ok(true);
            };
            let next = listed
                .next()
                .map_or(region.active.first_sequence, |next| next.first_sequence);
            drop(listed);
            self.segment = segment.id + 1;
            if next <= self.from || segment.first_sequence == next {
                continue;
            }
            if segment.first_sequence > self.to {
                self.done = true;
                return Ok(false);
            }
            if let Some(walk) = self.sealed_walk(&segment)? {
                self.walk = Some(walk);
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn sealed_walk(&mut self, segment: &Retained) -> Result<Option<Walk>, Error<S::Error>> {
        let key = self.log.key(segment.segment())?;
        let wanted = self.table;
        let found = media::with_footer(
            &mut self.log.storage,
            self.log.engine.buffer.whole(),
            segment,
            &key,
            |footer| {
                let may_hold = wanted.is_none_or(|table| !footer.is_complete() || footer.table(table).is_some());
                may_hold.then_some(*footer.cuts())
            },
        )?;
        let cuts = match found {
            Some(Some(cuts)) => cuts,
            Some(None) => return Ok(None),
            None => self.log.cuts(segment, &key),
        };
        Ok(Some(walk_of(&self.log.engine.region, segment, &key, cuts)))
    }
}

fn as_record(record: RecordAt, value: &[u8]) -> Record<'_> {
    Record {
        table: record.table,
        sequence: record.sequence,
        value,
        timestamp: record.timestamp,
        index: record.index,
        epoch: record.epoch,
    }
}

fn active_walk<S>(log: &Log<'_, S>) -> Walk {
    let region = &log.engine.region;
    let active = &region.active;
    let key = Key {
        binding: region.binding(active.seed),
        base: active.base,
    };
    let whole = Retained::new(active.id.0, active.first_sequence, active.end(), 0);
    walk_of(region, &whole, &key, region.aside.cuts)
}

impl<S: Storage> Log<'_, S> {
    fn key(&mut self, id: SegmentId) -> Result<Key, Error<S::Error>> {
        let frames_start = self.engine.region.layout.frames_start();
        let checksum = self.engine.region.checksum;
        media::key(
            &mut self.storage,
            self.engine.buffer.whole(),
            id,
            checksum,
            frames_start,
        )
    }

    fn cuts(&mut self, segment: &Retained, key: &Key) -> Cuts {
        cuts_of(
            &mut self.storage,
            self.engine.buffer.whole(),
            &self.engine.region,
            segment,
            key,
        )
        .unwrap_or_default()
    }

    fn sealed_cuts(&mut self, segment: &Retained, key: &Key) -> Result<Cuts, Error<S::Error>> {
        let buffer = self.engine.buffer.whole();
        let found = media::with_footer(&mut self.storage, buffer, segment, key, |footer| *footer.cuts())?;
        Ok(found.unwrap_or_else(|| self.cuts(segment, key)))
    }

    /// The record at a position that [`Log::append`] or another open of this log gave.
    ///
    /// # Errors
    /// [`Error::NoRecord`] where it was deleted or reclaimed, or the position is of another log;
    /// [`Error::Corrupt`] where its bytes are damaged; [`Error::BufferTooSmall`]; [`Error::Storage`].
    pub fn read_at(&mut self, position: Position) -> Result<Record<'_>, Error<S::Error>> {
        let id = position.segment();
        let region = &self.engine.region;
        let (key, end, first_sequence, cuts) = if id == region.active.id {
            let active = &region.active;
            let key = Key {
                binding: region.binding(active.seed),
                base: active.base,
            };
            (key, active.tail, active.first_sequence, region.aside.cuts)
        } else {
            let segment = region.listed().find(|segment| segment.id == id.0).copied();
            let segment = segment.ok_or(Error::NoRecord)?;
            let key = self.key(id)?;
            let cuts = self.sealed_cuts(&segment, &key)?;
            (key, segment.end, segment.first_sequence, cuts)
        };
        let header_len = frame::HEADER_LEN as u32;
        let in_bounds = position
            .offset
            .checked_add(header_len)
            .is_some_and(|behind| behind <= end);
        // A frame that was cut off may still verify.
        if !in_bounds || !position.offset.is_multiple_of(8) || cuts.hold(position.offset) {
            return Err(Error::NoRecord);
        }
        let wanted = (header_len, header_len);
        let at = (id, position.offset);
        let header = media::with_bytes(&mut self.storage, self.engine.buffer.whole(), at, wanted, |bytes| {
            let header = Header::decode(bytes.first_chunk()?, &key.binding, position.offset, key.base).ok()?;
            (header.kind == Kind::Batch && position.matches(bytes)).then_some(header)
        })?;
        let header = header.ok_or(Error::NoRecord)?;
        let sequence = first_sequence
            .checked_add(u64::from(header.sequence_delta))
            .ok_or_else(|| corrupt(id, position.offset, Reason::Sequence))?;
        let start = Start {
            base: key.base,
            incarnation: header.incarnation,
            first_sequence,
            sequence,
            cuts: Cuts::default(),
        };
        let scan = Scan::new(
            key.binding,
            self.engine.region.layout,
            self.engine.region.layout.geometry().erased(),
            Limit::Exact(end),
            key.base,
        );
        let mut walk = Walk::new(id, scan.starting_at(position.offset, start));
        let mut frames = 0;
        let mut left = position.record;
        let record = loop {
            match walk.next(&mut self.storage, self.engine.buffer.whole())? {
                Event::Frame { .. } if frames > 0 => return Err(Error::NoRecord),
                Event::Frame { .. } => frames += 1,
                Event::Record(record) if left == 0 => break record,
                Event::Record(_) => left -= 1,
                Event::End(End::Damaged { offset, reason }) => return Err(corrupt(id, offset, reason)),
                Event::End(_) | Event::Restart => return Err(Error::NoRecord),
                _ => {}
            }
        };
        if voids::covers(self.engine.region.voids.as_slice(), record.table, record.sequence) {
            return Err(Error::NoRecord);
        }
        let value = walk.value(
            &mut self.storage,
            self.engine.buffer.whole(),
            record.value,
            record.value_len,
        )?;
        Ok(as_record(record, value))
    }
}
