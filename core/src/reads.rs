//! Reading records in order, and one record by its position. Changes nothing.

use core::ops::RangeBounds;

use super::log::Log;
use super::media::{self, corrupt};
use super::storage::Storage;
use super::{examine, twin};
use crate::error::Error;
use crate::facts::{Footer, Retained};
use crate::frame::{self, Header, Kind};
use crate::mutation::{self, Mutation};
use crate::position::Position;
use crate::record::{Record, sequences};
use crate::report::Reason;
use crate::scan::walk::Walk;
use crate::scan::{End, Event};
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
    /// The walk of the log is under way, for this.
    walking: bool,
    /// A record was found, and is yet to be lent.
    found: bool,
    done: bool,
}

#[twin(AFIT)]
impl<'l, 'w, S: Storage> Reads<'l, 'w, S> {
    pub(crate) fn new(log: &'l mut Log<'w, S>, table: Option<u64>, range: impl RangeBounds<u64>) -> Self {
        let bounds = sequences(&range);
        let (from, to) = bounds.unwrap_or_default();
        Self {
            walking: false,
            log,
            table,
            from,
            to,
            segment: 0,
            found: false,
            done: bounds.is_none(),
        }
    }

    /// The next record. After an error, which names where it is, the reading goes on behind the damaged segment.
    #[allow(clippy::should_implement_trait, reason = "an iterator cannot lend")]
    #[cfg_attr(not(feature = "alloc"), inline(never))]
    pub async fn next(&mut self) -> Option<Result<Record<'_>, Error<S::Error>>> {
        if !self.found {
            match self.find().await {
                Ok(true) => self.found = true,
                Ok(false) => return None,
                Err(error) => {
                    self.walking = false;
                    return Some(Err(error));
                }
            }
        }
        let Log { engine, storage } = &mut *self.log;
        let lent = lend(&mut engine.walk, storage, engine.buffer.whole()).await;
        self.found = false;
        Some(lent)
    }

    /// Walks on to the next record that is wanted; false where there is none.
    async fn find(&mut self) -> Result<bool, Error<S::Error>> {
        self.log.resume().await?;
        loop {
            if !self.walking && !self.open_next().await? {
                return Ok(false);
            }
            let Log { engine, storage } = &mut *self.log;
            let walk = &mut *engine.walk;
            match media::next(walk, storage, engine.buffer.whole()).await? {
                Event::Record => {
                    let record = walk.scan.record();
                    if record.sequence > self.to {
                        self.done = true;
                        self.walking = false;
                        return Ok(false);
                    }
                    let wanted = record.sequence >= self.from && self.table.is_none_or(|table| table == record.table);
                    if wanted && !voids::covers(engine.region.voids.as_slice(), record.table, record.sequence) {
                        return Ok(true);
                    }
                }
                Event::End => match walk.scan.end() {
                    End::Exact => self.walking = false,
                    End::Damaged { offset, damage } => return Err(corrupt(walk.id, offset, damage.into())),
                    End::NoManifest { .. } => return Err(corrupt(walk.id, walk.scan.offset(), Reason::Manifest)),
                    _ => return Err(corrupt(walk.id, walk.scan.offset(), Reason::Resume)),
                },
                Event::Restart => return Err(corrupt(walk.id, walk.scan.offset(), Reason::Resume)),
                _ => {}
            }
        }
    }

    /// Begins the walk over the next segment that may hold what is wanted.
    #[inline(never)] // Once a segment.
    async fn open_next(&mut self) -> Result<bool, Error<S::Error>> {
        loop {
            let segment = match self.choose() {
                Choice::Nothing => return Ok(false),
                Choice::Active => {
                    examine::begin_active(&mut self.log.engine.walk, &self.log.engine.region);
                    self.walking = true;
                    return Ok(true);
                }
                Choice::Listed(segment) => segment,
            };
            let Log { engine, storage } = &mut *self.log;
            let wanted = self.table;
            let mut may_hold = true;
            let begun = media::begin(
                &mut engine.walk,
                storage,
                engine.buffer.whole(),
                &engine.region,
                &segment,
                &mut |footer: &Footer<'_>| {
                    may_hold = wanted.is_none_or(|table| !footer.is_complete() || footer.table(table).is_some());
                },
            )
            .await;
            // Not before: a future that is dropped must not leave out a segment.
            self.segment = segment.id + 1;
            begun?;
            self.walking = may_hold;
            if may_hold {
                return Ok(true);
            }
        }
    }

    /// The next segment that may hold what is wanted.
    #[cfg_attr(not(feature = "alloc"), inline(never))] // What is compared leaves the stack before anything is read.
    fn choose(&mut self) -> Choice {
        let region = &self.log.engine.region;
        let active = &region.active;
        while !self.done {
            let mut listed = region.listed().filter(|segment| segment.id >= self.segment);
            let Some(segment) = listed.next() else {
                self.done = true;
                if self.segment > active.id.0 || active.first_sequence > self.to {
                    break;
                }
                self.segment = active.id.0.saturating_add(1);
                return Choice::Active;
            };
            let next = listed.next().map_or(active.first_sequence, |next| next.first_sequence);
            drop(listed);
            if next <= self.from || segment.first_sequence == next {
                self.segment = segment.id + 1;
                continue;
            }
            if segment.first_sequence > self.to {
                self.done = true;
                break;
            }
            if mutation::is(Mutation::SkipDropped) {
                self.segment = segment.id + 1;
            }
            return Choice::Listed(*segment);
        }
        Choice::Nothing
    }
}

/// Where a reading goes on.
enum Choice {
    Listed(Retained),
    Active,
    Nothing,
}

/// The record that a walk met last.
#[twin(AFIT)]
async fn lend<'a, S: Storage>(
    walk: &mut Walk,
    storage: &'a mut S,
    buffer: &'a mut [u8],
) -> Result<Record<'a>, Error<S::Error>> {
    let record = *walk.scan.record();
    Ok(Record {
        table: record.table,
        sequence: record.sequence,
        value: media::value(walk, storage, buffer, record.value, record.value_len).await?,
        timestamp: record.timestamp,
        index: record.index,
        epoch: record.epoch,
    })
}

#[twin(AFIT)]
impl<S: Storage> Log<'_, S> {
    /// The record at a position that [`Log::append`] or another open of this log gave.
    ///
    /// # Errors
    /// [`Error::NoRecord`] where it was deleted or reclaimed, or the position is of another log;
    /// [`Error::Corrupt`] where its bytes are damaged; [`Error::BufferTooSmall`]; [`Error::Storage`].
    pub async fn read_at(&mut self, position: Position) -> Result<Record<'_>, Error<S::Error>> {
        self.resume().await?;
        let Self { engine, storage } = self;
        let (region, walk, buffer) = (&engine.region, &mut *engine.walk, engine.buffer.whole());
        let (id, offset) = (position.segment(), position.offset);
        let first_sequence = if id == region.active.id {
            examine::begin_active(walk, region);
            region.active.first_sequence
        } else {
            let segment = region.listed().find(|segment| segment.id == id.0);
            let segment = segment.ok_or(Error::NoRecord)?;
            media::begin(walk, storage, buffer, region, segment, &mut |_| {}).await?;
            segment.first_sequence
        };
        let scan = &mut walk.scan;
        let in_bounds = offset
            .checked_add(frame::HEADER_LEN as u32)
            .is_some_and(|end| end <= scan.limit());
        // A frame that was cut off may still verify.
        if !in_bounds || !offset.is_multiple_of(8) || scan.cuts().hold(offset) {
            return Err(Error::NoRecord);
        }
        let bytes = media::header(storage, buffer, id, offset, frame::HEADER_LEN).await?;
        let decode = |bytes| Header::decode(bytes, scan.binding(), offset, scan.base()).ok();
        let header = bytes
            .first_chunk()
            .and_then(decode)
            .filter(|header| header.kind == Kind::Batch && position.matches(bytes));
        if !scan.start_at(offset, &header.ok_or(Error::NoRecord)?, first_sequence) {
            return Err(corrupt(id, offset, Reason::Sequence));
        }
        let mut frames = 0;
        let mut left = position.record;
        loop {
            match media::next(walk, storage, buffer).await? {
                Event::Frame { .. } if frames > 0 => return Err(Error::NoRecord),
                Event::Frame { .. } => frames += 1,
                Event::Record if left == 0 => break,
                Event::Record => left -= 1,
                Event::End => match walk.scan.end() {
                    End::Damaged { offset, damage } => return Err(corrupt(id, offset, damage.into())),
                    _ => return Err(Error::NoRecord),
                },
                Event::Restart => return Err(Error::NoRecord),
                _ => {}
            }
        }
        let record = walk.scan.record();
        if voids::covers(region.voids.as_slice(), record.table, record.sequence) {
            return Err(Error::NoRecord);
        }
        lend(walk, storage, buffer).await
    }
}
