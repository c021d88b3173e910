//! Disk images with a known history: what was written, what of it a damage may take away without a trace, and a
//! judge of what a damaged image gives back.

use std::borrow::Cow;
use std::collections::BTreeMap;

use walstone_core::frame;
use walstone_core::ram::{RamError, RamStorage};
use walstone_core::segment::header::Header;
use walstone_core::segment::layout::Layout;
use walstone_core::{
    Appended, Batch, Capacity, Checksum, Corruption, Error, Geometry, Log, Mark, Options, Position, SegmentId, Tail,
};

/// The live records: by sequence, the table and the value.
pub type Live = BTreeMap<u64, (u64, Vec<u8>)>;
type RamLog = Log<'static, RamStorage>;

/// One operation of a batch.
#[derive(Clone, Copy, Debug)]
pub enum Op {
    /// Append a value of so many bytes to a table.
    Push(u64, usize),
    /// Delete a table's records up to a sequence.
    DeleteUpTo(u64, u64),
    /// Delete a table's records from a sequence on.
    TruncateFrom(u64, u64),
}

/// The options of all images.
#[must_use]
pub fn options() -> Options {
    Options {
        checksum: Checksum::new(crc32c::crc32c_append),
        ..Options::new(7, 42)
    }
}

/// A log that is written together with the list of what it holds.
#[derive(Debug)]
pub struct Story {
    log: Option<RamLog>,
    live: Live,
    /// What was live when the log ended at a mark.
    states: Vec<(Mark, Live)>,
    positions: Vec<(u64, Position)>,
    watermark: Mark,
    older: Vec<RamStorage>,
}

/// What a story left on the medium.
#[derive(Clone, Debug)]
pub struct Image {
    /// The medium.
    pub ram: RamStorage,
    /// The live records.
    pub live: Live,
    /// Where records stand.
    pub positions: Vec<(u64, Position)>,
    /// What was live when the log ended at a mark, oldest first.
    pub states: Vec<(Mark, Live)>,
    /// Up to where the last frame vouches for the log.
    pub watermark: Mark,
    /// Where the log ends.
    pub end: Mark,
    /// The medium as it was after each sync.
    pub older: Vec<RamStorage>,
}

/// What a damaged image gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does not open.
    Refused(Corruption),
    /// It does not open: no trace of a region is left.
    NoRegion,
    /// It opens, and reading reports damage. No record was wrong.
    Reported(Corruption),
    /// The storage itself refuses what the log asks of it.
    StorageFailed(RamError),
    /// Every record is there.
    Whole(Tail),
    /// What was live at an earlier mark is there.
    Earlier(Mark, Tail),
}

/// Why there is no verdict on what the log gave.
enum Trouble {
    Storage(RamError),
    Wrong(String),
}

impl Trouble {
    fn met(doing: &str, error: Error<RamError>) -> Self {
        match error {
            Error::Storage(error) => Self::Storage(error),
            error => Self::Wrong(format!("{doing}: {error}")),
        }
    }
}

impl Verdict {
    /// Whether the damage was named.
    #[must_use]
    pub const fn is_reported(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Reported(_) | Self::NoRegion)
    }
}

impl Story {
    /// Makes a region.
    ///
    /// # Panics
    /// As all of this: where the log refuses.
    #[must_use]
    pub fn create(geometry: Geometry) -> Self {
        let log = Log::create(RamStorage::new(geometry), Capacity::heap(0), options()).unwrap();
        let mark = log.durable_mark();
        Self {
            log: Some(log),
            live: Live::new(),
            states: vec![(mark, Live::new())],
            positions: Vec::new(),
            watermark: Mark { end: 0, ..mark },
            older: Vec::new(),
        }
    }

    /// The log.
    pub fn log(&mut self) -> &mut RamLog {
        self.log.as_mut().unwrap()
    }

    /// The segment that is appended to.
    pub fn newest(&mut self) -> SegmentId {
        self.log().written_mark().segment
    }

    fn written(&mut self, appended: Appended) {
        // The frame was written last, so this is the watermark in it.
        self.watermark = self.log().durable_mark();
        self.states.push((appended.mark, self.live.clone()));
    }

    fn delete(&mut self, of: u64, dead: impl Fn(u64) -> bool) {
        self.live
            .retain(|&sequence, (table, _)| *table != of || !dead(sequence));
    }

    /// Appends one record.
    pub fn append(&mut self, table: u64, len: usize) -> Appended {
        self.batch(&[Op::Push(table, len)])
    }

    /// Appends a batch.
    pub fn batch(&mut self, ops: &[Op]) -> Appended {
        let mut batch = Batch::new();
        let mut sequence = self.log().last_sequence();
        let mut pushed = Vec::new();
        for &op in ops {
            match op {
                Op::Push(table, len) => {
                    sequence += 1;
                    let value: Vec<u8> = (0..len).map(|at| (sequence as usize * 31 + at) as u8).collect();
                    batch.push(table, &value);
                    self.live.insert(sequence, (table, value));
                    pushed.push(sequence);
                }
                Op::DeleteUpTo(table, to) => {
                    batch.delete_up_to(table, to);
                    self.delete(table, |sequence| sequence <= to);
                }
                Op::TruncateFrom(table, from) => {
                    batch.truncate_from(table, from);
                    self.delete(table, |sequence| sequence >= from);
                }
            }
        }
        let appended = self.log().append_batch(&batch).unwrap();
        for (n, sequence) in pushed.into_iter().enumerate() {
            self.positions.push((sequence, appended.position.plus(n as u32)));
        }
        self.written(appended);
        appended
    }

    /// Deletes, in a frame of its own.
    pub fn delete_up_to(&mut self, table: u64, to: u64) {
        let appended = self.log().delete_up_to(table, to).unwrap();
        self.delete(table, |sequence| sequence <= to);
        self.written(appended);
    }

    /// Makes everything durable.
    pub fn sync(&mut self) {
        self.log().sync().unwrap();
        let older = self.log().storage().clone();
        self.older.push(older);
    }

    /// Gives up dead segments.
    pub fn reclaim(&mut self) {
        let before = self.newest();
        self.log().reclaim().unwrap();
        self.sync();
        if self.newest() != before {
            // The newest frame is a manifest, which vouches for older segments only.
            let mark = self.log().written_mark();
            self.watermark = Mark { end: 0, ..mark };
            self.states.push((mark, self.live.clone()));
        }
    }

    /// Closes and opens again.
    pub fn reopen(self) -> Self {
        let image = self.close();
        Self::open(image)
    }

    fn open(image: Image) -> Self {
        Self {
            log: Some(Log::open(image.ram, Capacity::heap(0), options()).unwrap()),
            live: image.live,
            states: image.states,
            positions: image.positions,
            watermark: image.watermark,
            older: image.older,
        }
    }

    /// Dies with `lost` bytes of the last frame not written, and opens again.
    pub fn tear(self, lost: usize) -> Self {
        let mut image = self.leave();
        let end = image.end.end as usize;
        image.ram.bytes_mut(image.end.segment).unwrap()[end - lost..end].fill(0);
        image.states.pop();
        let (_, live) = image.states.last().unwrap();
        image.live = live.clone();
        image
            .positions
            .retain(|(sequence, _)| image.live.contains_key(sequence));
        Self::open(image)
    }

    /// Ends without a close.
    #[must_use]
    pub fn leave(mut self) -> Image {
        let end = self.log().written_mark();
        Image {
            ram: self.log.take().unwrap().into_storage(),
            live: self.live,
            positions: self.positions,
            states: self.states,
            watermark: self.watermark,
            end,
            older: self.older,
        }
    }

    /// Ends with a close.
    #[must_use]
    pub fn close(mut self) -> Image {
        self.sync();
        let before = self.log().written_mark();
        self.log().close().unwrap();
        if self.log().written_mark() != before {
            self.watermark = before;
            let live = self.live.clone();
            let mark = self.log().written_mark();
            self.states.push((mark, live));
        }
        self.leave()
    }
}

/// A generator of numbers for tests: xorshift64* (Vigna 2016).
#[derive(Clone, Copy, Debug)]
pub struct Random(u64);

impl Random {
    /// The same numbers for the same seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// A number below `bound`.
    pub const fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}

/// Everything that a log holds, of one table or of all, up to the first damage that it reports.
#[must_use]
pub fn read_all(log: &mut RamLog, table: Option<u64>) -> (Live, Option<Error<RamError>>) {
    let (mut live, mut error, mut last) = (Live::new(), None, 0);
    let mut reads = log.read(table, ..);
    // Reading goes on behind a damaged segment; records still rise.
    while let Some(record) = reads.next() {
        match record {
            Ok(record) => {
                assert!(record.sequence > last, "{} behind {last}", record.sequence);
                last = record.sequence;
                live.insert(record.sequence, (record.table, record.value.to_vec()));
            }
            Err(err) => error = error.or(Some(err)),
        }
    }
    (live, error)
}

/// Whether a log holds these records and no others, and all of them read.
fn reads_as<'a>(log: &mut RamLog, mut expected: impl Iterator<Item = (&'a u64, &'a (u64, Vec<u8>))>) -> bool {
    let mut reads = log.read(None, ..);
    while let Some(record) = reads.next() {
        let same = match (record, expected.next()) {
            (Ok(record), Some((sequence, (table, value)))) => {
                record.sequence == *sequence && record.table == *table && record.value == value
            }
            _ => false,
        };
        if !same {
            return false;
        }
    }
    expected.next().is_none()
}

impl Image {
    /// What an open and a reading of everything give once `damaged` stands in the place of the image. Where no
    /// damage is reported, checks that the log can be written on, too.
    ///
    /// # Errors
    /// A wrong record, an error that names no damage, a log that cannot go on: how the judge tells a failure.
    pub fn judge(&self, damaged: RamStorage) -> Result<Verdict, String> {
        match self.examine(damaged) {
            Ok(verdict) => Ok(verdict),
            Err(Trouble::Storage(error)) => Ok(Verdict::StorageFailed(error)),
            Err(Trouble::Wrong(wrong)) => Err(wrong),
        }
    }

    fn examine(&self, damaged: RamStorage) -> Result<Verdict, Trouble> {
        let mut log = match Log::open(damaged, Capacity::heap(0), options()) {
            Ok(log) => log,
            Err(Error::Corrupt(corruption)) => return Ok(Verdict::Refused(corruption)),
            Err(Error::NoRegion) => return Ok(Verdict::NoRegion),
            Err(other) => return Err(Trouble::met("open", other)),
        };
        let (live, error) = if reads_as(&mut log, self.live.iter()) {
            (Cow::Borrowed(&self.live), None)
        } else {
            let (live, error) = read_all(&mut log, None);
            (Cow::Owned(live), error)
        };
        for (sequence, position) in &self.positions {
            if let Ok(record) = log.read_at(*position)
                && !self.was_written(*sequence, record.table, record.value)
            {
                return Err(Trouble::Wrong(format!("{position:?} gives {record:?}")));
            }
        }
        if let Some(error) = error {
            let Error::Corrupt(corruption) = error else {
                return Err(Trouble::met("read", error));
            };
            let mut wrong = live
                .iter()
                .filter(|(sequence, (table, value))| !self.was_written(**sequence, *table, value));
            return match wrong.next() {
                Some(wrong) => Err(Trouble::Wrong(format!("never written: {wrong:?}"))),
                None => Ok(Verdict::Reported(corruption)),
            };
        }
        let tail = log.report().tail;
        self.goes_on(log, &live)?;
        if *live == self.live {
            return Ok(Verdict::Whole(tail));
        }
        match self.states.iter().rev().find(|(_, state)| *state == *live) {
            Some((mark, _)) => Ok(Verdict::Earlier(*mark, tail)),
            None => Err(Trouble::Wrong(format!(
                "never the state of this log, tail {tail:?}: {:?}",
                live.keys().collect::<Vec<_>>()
            ))),
        }
    }

    fn was_written(&self, sequence: u64, table: u64, value: &[u8]) -> bool {
        self.states.iter().rev().any(|(_, state)| {
            state
                .get(&sequence)
                .is_some_and(|(of, written)| *of == table && written == value)
        })
    }

    /// One more record is appended, made durable, and found again beside all others.
    fn goes_on(&self, mut log: RamLog, live: &Live) -> Result<(), Trouble> {
        let appended = log.append(99, b"goes on");
        let appended = appended.map_err(|error| Trouble::met("append", error))?;
        log.sync().map_err(|error| Trouble::met("sync", error))?;
        let again = Log::open(log.into_storage(), Capacity::heap(0), options());
        let mut log = again.map_err(|error| Trouble::met("open behind an append", error))?;
        let more = (99, b"goes on".to_vec());
        if !reads_as(&mut log, live.iter().chain([(&appended.first, &more)])) {
            return Err(Trouble::Wrong("after an append other records".into()));
        }
        Ok(())
    }

    /// Bytes of a segment that the last frame does not vouch for.
    #[must_use]
    pub fn is_last_group(&self, segment: SegmentId, offset: u32) -> bool {
        segment == self.end.segment && (self.watermark.segment != segment || offset >= self.watermark.end)
    }
}

/// A small region with everything in it: several segments and tables, deletions alone and in batches, a reclaim, a
/// session that ended in a torn frame, prepared segments.
#[must_use]
pub fn many_sessions(geometry: Geometry, closed: bool) -> Image {
    ended(sessions(geometry), closed)
}

/// The same grown to eight segments of 8 KiB, prepared ones included.
#[must_use]
pub fn eight_segments(closed: bool) -> Image {
    let mut story = sessions(Geometry::new(8192).unwrap());
    while story.log().storage().ids().count() < 8 {
        story.batch(&[Op::Push(1, 200), Op::Push(4, 70), Op::DeleteUpTo(5, u64::MAX)]);
        story.append(5, 120);
        story.sync();
    }
    let image = ended(story, closed);
    assert_eq!(image.ram.ids().count() * 8192, 64 << 10, "the image is to have 64 KiB");
    image
}

fn sessions(geometry: Geometry) -> Story {
    let mut story = Story::create(geometry);
    let record_len = geometry.segment_len() as usize / 40;
    let first = story.newest();
    while story.newest() == first {
        story.append(1, record_len);
        story.batch(&[Op::Push(2, record_len / 2), Op::Push(1, 3), Op::Push(3, 0)]);
        story.sync();
    }
    // Everything in the first segment is deleted, partly by a batch that also appends.
    let last = story.log().last_sequence();
    story.delete_up_to(1, last);
    story.batch(&[
        Op::DeleteUpTo(2, last),
        Op::Push(2, 5),
        Op::DeleteUpTo(3, last),
        Op::Push(3, 6),
    ]);
    story.reclaim();
    assert!(story.log().storage().bytes(first).is_none(), "reclaimed");
    let mut story = story.reopen();
    for table in [1, 2, 2, 4] {
        story.append(table, record_len);
    }
    // Frames of the same length that begin with the same sequence: only their place tells them apart.
    let last = story.log().last_sequence();
    story.delete_up_to(1, last);
    story.delete_up_to(4, last);
    story.sync();
    story.append(1, 2 * record_len);
    let mut story = story.tear(record_len);
    let torn_in = story.newest();
    while story.newest() == torn_in {
        story.batch(&[Op::Push(1, record_len), Op::Push(4, 7)]);
        story.append(5, record_len / 2);
        story.sync();
    }
    let last = story.log().last_sequence();
    story.batch(&[Op::Push(4, 9), Op::TruncateFrom(4, last - 4), Op::Push(4, 10)]);
    let mut story = story.reopen();
    story.append(2, record_len);
    story.sync();
    story.append(6, record_len);
    story.batch(&[Op::Push(1, 4), Op::DeleteUpTo(6, u64::MAX)]);
    story.append(5, 11);
    story
}

fn ended(mut story: Story, closed: bool) -> Image {
    if closed {
        story.close()
    } else {
        story.sync();
        story.leave()
    }
}

/// A region whose sessions tore so often that the last one began in a new segment.
#[must_use]
pub fn many_tears(geometry: Geometry) -> Image {
    let mut story = Story::create(geometry);
    let first = story.newest();
    while story.newest() == first {
        story.append(1, 10);
        story.sync();
        story.append(1, 20);
        story = story.tear(16);
        story.append(2, 5);
        story.sync();
    }
    story.leave()
}

/// An empty region of one segment whose manifest is of a late session: one with more before it than an incarnation's low
/// half counts.
#[must_use]
pub fn late_session(geometry: Geometry) -> RamStorage {
    let log = Log::create(RamStorage::new(geometry), Capacity::heap(0), options()).unwrap();
    let (id, offset) = (log.written_mark().segment, Layout::new(geometry).frames_start());
    let mut ram = log.into_storage();
    let bytes = ram.bytes_mut(id).unwrap();
    let binding = Header::decode(bytes, options().checksum)
        .unwrap()
        .binding(options().checksum);
    let at = offset as usize..offset as usize + frame::HEADER_LEN;
    let header = bytes[at.clone()].first_chunk().unwrap();
    let mut manifest = frame::Header::decode(header, &binding, offset, 0).unwrap();
    manifest.incarnation = 66_000;
    bytes[at].copy_from_slice(&manifest.encode(&binding, offset));
    ram
}
