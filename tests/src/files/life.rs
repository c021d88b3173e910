//! One process with a log open: performs operations, and notes what each promised at which step.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

#[cfg(target_os = "linux")]
use walstone::WritePath;
use walstone::{Appended, Durability, Error, Options, OptionsBuilder, Region, View, Wal};
use walstone_core::Geometry;
use walstone_core::segment::layout::Layout;

use super::expect::{Broken, Due, Expect, Phase, Promise, States};
use super::front;
use super::observe::{observe, open, read};
use super::recorder::Recorder;
use super::step::Step;
use crate::crash::model::{Change, Line, Record, Value};

/// The region that every history has.
pub const FIRST: u64 = 7;

/// The region that histories make and remove.
pub const OTHER: u64 = 8;

/// One operation of a history. Those that need a region that is not there, or make one that is, change nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// Appends a small record, written only.
    Written,
    /// Appends a small record, durably.
    Durable,
    /// Appends a record that takes two fifths of a segment, written only.
    Large,
    /// Appends records and deletions of two tables at once, written only.
    Batch,
    /// Syncs.
    Sync,
    /// Deletes what table 1 was ever given, durably.
    Delete,
    /// Gives up dead segments.
    Reclaim,
    /// Makes the other region, which must not disturb the first.
    Make,
    /// Appends a small record to the other region, written only.
    WrittenOther,
    /// Removes the other region.
    RemoveOther,
    /// Removes the first region and makes it anew.
    Replace,
    /// Takes a view of the first region that keeps what it sees; if there is one, looks whether it did, and ends it.
    View,
    /// Closes the first region alone and opens it again.
    ReopenRegion,
    /// Closes the log and opens it again.
    CloseReopen,
    /// Opens the log again without closing it: the process died, the power stayed.
    Reopen,
}

impl Op {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Written,
        Self::Durable,
        Self::Large,
        Self::Batch,
        Self::Sync,
        Self::Delete,
        Self::Reclaim,
        Self::Make,
        Self::WrittenOther,
        Self::RemoveOther,
        Self::Replace,
        Self::View,
        Self::ReopenRegion,
        Self::CloseReopen,
        Self::Reopen,
    ];
}

/// What happened before a word begins; not explored itself.
pub const PRELUDES: [&[Op]; 5] = [
    &[],
    // Two regions, and a segment that is nearly full.
    &[Op::Make, Op::WrittenOther, Op::Large, Op::Durable, Op::Large],
    // Several segments, the oldest of which is dead.
    &[Op::Large, Op::Large, Op::Delete, Op::Large],
    // A session that found the one before it unclosed.
    &[Op::Durable, Op::Written, Op::Reopen, Op::Written],
    // A dead segment that a view keeps.
    &[Op::Large, Op::View, Op::Large, Op::Delete, Op::Large, Op::Reclaim],
];

/// What a history runs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// For reports.
    pub name: &'static str,
    /// Bytes of a segment.
    pub segment_len: u32,
    /// How segments are written.
    #[cfg(target_os = "linux")]
    pub path: WritePath,
    /// Bytes of each buffer that is written from, where the usual ones are longer than short histories.
    #[cfg(target_os = "linux")]
    pub buffer_len: Option<usize>,
    /// Of writes on their way the one that was sent last ends first.
    #[cfg(target_os = "linux")]
    pub last_first: bool,
    /// The log's own thread works beside the operations: histories are then not the same twice.
    pub background: bool,
}

/// Segments shorter than a page.
pub const SMALL: Setup = Setup {
    name: "small",
    segment_len: 2048,
    #[cfg(target_os = "linux")]
    path: WritePath::Mapped,
    #[cfg(target_os = "linux")]
    buffer_len: None,
    #[cfg(target_os = "linux")]
    last_first: false,
    background: false,
};

/// Segments of three pages, whose space is claimed as it is needed.
pub const PAGES: Setup = Setup {
    name: "pages",
    segment_len: 3 * 4096,
    #[cfg(target_os = "linux")]
    path: WritePath::Mapped,
    #[cfg(target_os = "linux")]
    buffer_len: None,
    #[cfg(target_os = "linux")]
    last_first: false,
    background: false,
};

/// As [`SMALL`], by raw system calls through the page cache.
#[cfg(target_os = "linux")]
pub const BUFFERED: Setup = Setup {
    name: "buffered",
    path: WritePath::Buffered,
    ..SMALL
};

/// As [`SMALL`], each write of a sync durable by itself; too short for direct access.
#[cfg(target_os = "linux")]
pub const DURABLE_WRITES: Setup = Setup {
    name: "durable writes",
    path: WritePath::Direct,
    ..SMALL
};

/// As [`PAGES`], past the page cache where the file system can.
#[cfg(target_os = "linux")]
pub const DIRECT: Setup = Setup {
    name: "direct",
    path: WritePath::Direct,
    ..PAGES
};

/// Past the page cache from buffers of a page, so that several writes of one large record are on their way together.
#[cfg(target_os = "linux")]
pub const FLIGHTS: Setup = Setup {
    name: "in flight",
    segment_len: 8 * 4096,
    path: WritePath::Direct,
    buffer_len: Some(4096),
    ..PAGES
};

/// The same, and of several writes the last one ends first.
#[cfg(target_os = "linux")]
pub const LAST_FIRST: Setup = Setup {
    name: "in flight, last first",
    last_first: true,
    ..FLIGHTS
};

impl Setup {
    /// With the log's own thread at work.
    #[must_use]
    pub const fn beside(self) -> Self {
        Self {
            background: true,
            ..self
        }
    }

    /// Options with what the setup says.
    #[must_use]
    pub fn options(&self) -> OptionsBuilder {
        let options = Options::builder().segment_len(self.segment_len);
        #[cfg(target_os = "linux")]
        let options = options.write_path(self.path);
        #[cfg(target_os = "linux")]
        if let Some(len) = self.buffer_len {
            return options.buffer_len(len);
        }
        options
    }

    /// Whether raw system calls write the segments.
    #[must_use]
    pub fn is_raw(&self) -> bool {
        #[cfg(target_os = "linux")]
        let is_raw = self.path != WritePath::Mapped;
        #[cfg(not(target_os = "linux"))]
        let is_raw = false;
        is_raw
    }

    fn large_len(&self) -> u32 {
        let geometry = Geometry::new(self.segment_len).expect("the setups work");
        Layout::new(geometry).max_payload_len() * 2 / 5
    }
}

/// What was promised from which step on.
#[derive(Clone, Debug)]
struct Promised {
    step: usize,
    /// It holds where no further step is done, too: more is promised than before, not less.
    at_once: bool,
    expect: Expect,
}

/// A process, from its start to its end.
#[derive(Debug)]
pub struct Life {
    setup: Setup,
    root: PathBuf,
    recorder: Arc<Recorder>,
    wal: Option<Wal>,
    view: Option<(View, Vec<Record>)>,
    expect: Expect,
    promised: Vec<Promised>,
    values: u32,
    opens: u64,
}

impl Life {
    /// A process that finds what is due in the root below `base`. `values` and `opens` go on from earlier lives.
    #[must_use]
    pub fn new(setup: Setup, base: &Path, expect: Expect, values: u32, opens: u64) -> Self {
        let promised = vec![Promised {
            step: 0,
            at_once: true,
            expect: expect.clone(),
        }];
        #[cfg(target_os = "linux")]
        super::raw::end_in_order(setup.last_first);
        Self {
            setup,
            root: base.join("wal"),
            recorder: Recorder::new(base, setup.background),
            wal: None,
            view: None,
            expect,
            promised,
            values,
            opens,
        }
    }

    /// What held when it began, as is known only now.
    pub fn begins_with(&mut self, expect: Expect) {
        self.promised[0].expect = expect;
    }

    /// What it runs with.
    #[must_use]
    pub const fn setup(&self) -> Setup {
        self.setup
    }

    /// Whether an operation returned when so many steps were done, and nothing else was under way.
    #[must_use]
    pub fn is_acknowledged(&self, steps: usize) -> bool {
        // What it began with was acknowledged by nobody.
        let mut at = self.promised.iter().skip(1).filter(|promised| promised.step == steps);
        !self.setup.background && at.any(|promised| promised.at_once)
    }

    /// Steps done so far.
    #[must_use]
    pub fn step_count(&self) -> usize {
        self.recorder.count()
    }

    /// Every step.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        self.recorder.steps()
    }

    /// Values appended so far, in all lives.
    #[must_use]
    pub const fn values(&self) -> u32 {
        self.values
    }

    /// Opens so far, in all lives.
    #[must_use]
    pub const fn opens(&self) -> u64 {
        self.opens
    }

    /// What is promised where so many steps are done: its number, and the promise.
    #[must_use]
    pub fn promised_at(&self, steps: usize) -> (usize, &Expect) {
        let holds = |promised: &Promised| promised.step < steps || (promised.at_once && promised.step == steps);
        let at = self.promised.iter().rposition(holds).unwrap_or_default();
        (at, &self.promised[at].expect)
    }

    /// An operation is about to begin: a crash in it may leave more than before.
    fn begin(&mut self) {
        self.note(false);
    }

    /// An operation was acknowledged.
    fn end(&mut self) {
        self.note(true);
    }

    fn note(&mut self, at_once: bool) {
        self.promised.push(Promised {
            step: self.recorder.count(),
            at_once,
            expect: self.expect.clone(),
        });
    }

    /// Opens the log, making it where it is not; what is found must be what is due.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn open(&mut self, due: &Due) -> Result<States, Broken> {
        self.wal = None;
        self.opens += 1;
        let wal = open(&self.root, self.setup, self.opens, &self.recorder, false)?;
        let found = due.judge(&observe(&wal)?)?;
        self.wal = Some(wal);
        // Nothing that was found may be lost from now on.
        self.expect = Expect::only(&found);
        self.end();
        Ok(found)
    }

    fn wal(&self) -> &Wal {
        self.wal.as_ref().expect("the log was opened")
    }

    fn has(&self, region: u64) -> bool {
        self.expect.regions.contains_key(&region)
    }

    fn region(&self, region: u64) -> Result<Region, Broken> {
        self.wal().region(region).map_err(refused)
    }

    /// Makes a region; it may be there from now on, and must be behind this.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn make(&mut self, region: u64) -> Result<(), Broken> {
        let promise = Promise {
            phase: Phase::Making,
            line: Line::new(Rc::default()),
        };
        self.expect.regions.insert(region, promise);
        self.begin();
        self.wal().create_region(region).map_err(refused)?;
        self.phase(region, Phase::There);
        self.end();
        Ok(())
    }

    fn remove(&mut self, region: u64) -> Result<(), Broken> {
        self.phase(region, Phase::Removing);
        self.begin();
        self.wal().remove_region(region).map_err(refused)?;
        self.expect.regions.remove(&region);
        self.end();
        Ok(())
    }

    fn phase(&mut self, region: u64, phase: Phase) {
        if let Some(promise) = self.expect.regions.get_mut(&region) {
            promise.phase = phase;
        }
    }

    fn line(&mut self, region: u64) -> &mut Line {
        let promise = self.expect.regions.get_mut(&region);
        &mut promise.expect("only what is there is appended to").line
    }

    /// Everything appended so far is durable.
    fn settled(&mut self, region: u64) {
        let line = self.line(region);
        line.settle(line.answered());
    }

    fn value(&mut self, len: u32) -> Value {
        self.values += 1;
        let number = self.values;
        Value { number, len }
    }

    fn append(&mut self, region: u64, changes: &[Change], durability: Durability) -> Result<(), Broken> {
        let handle = self.region(region)?;
        let before = self.line(region).newest().last;
        self.line(region).issue(changes);
        self.begin();
        let appended: Option<Appended> = front::append(&handle, changes, durability).map_err(refused)?;
        self.line(region).answer();
        if durability == Durability::Durable {
            self.settled(region);
        }
        self.end();
        match appended {
            Some(Appended { first: got, .. }) if got != before + 1 => Err(Broken::Sequence {
                region,
                due: before + 1,
                got,
            }),
            _ => Ok(()),
        }
    }

    /// Performs one operation.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn perform(&mut self, op: Op) -> Result<(), Broken> {
        use Durability::{Durable, Written};
        let last = self
            .expect
            .regions
            .get(&FIRST)
            .map_or(0, |promise| promise.line.newest().last);
        match op {
            Op::Written | Op::Durable => {
                let value = self.value(8);
                let durability = if op == Op::Durable { Durable } else { Written };
                self.append(FIRST, &[Change::Put(1, value)], durability)
            }
            Op::Large => {
                let value = self.value(self.setup.large_len());
                self.append(FIRST, &[Change::Put(1, value)], Written)
            }
            Op::Batch => {
                let changes = [
                    Change::Put(2, self.value(9)),
                    Change::DeleteUpTo(1, last.max(1)),
                    Change::Put(1, self.value(600)),
                ];
                self.append(FIRST, &changes, Written)
            }
            Op::Delete => self.append(FIRST, &[Change::DeleteUpTo(1, last.max(1))], Durable),
            Op::Sync => {
                self.region(FIRST)?.sync().map_err(refused)?;
                self.settled(FIRST);
                self.end();
                Ok(())
            }
            Op::Reclaim => {
                self.region(FIRST)?.reclaim().map_err(refused)?;
                self.settled(FIRST);
                self.end();
                Ok(())
            }
            Op::Make if !self.has(OTHER) => self.make(OTHER),
            Op::WrittenOther if self.has(OTHER) => {
                let value = self.value(10);
                self.append(OTHER, &[Change::Put(1, value)], Written)
            }
            Op::RemoveOther if self.has(OTHER) => self.remove(OTHER),
            Op::Make | Op::WrittenOther | Op::RemoveOther => Ok(()),
            Op::Replace => {
                self.remove(FIRST)?;
                self.make(FIRST)
            }
            Op::View => match self.view.take() {
                None => {
                    let view = self.region(FIRST)?.view().map_err(refused)?;
                    let records = read(FIRST, &view)?;
                    self.view = Some((view, records));
                    Ok(())
                }
                Some((view, records)) if read(FIRST, &view)? == records => Ok(()),
                Some(_) => Err(Broken::Read(FIRST, "a view changed".into())),
            },
            Op::ReopenRegion => {
                self.wal().close_region(FIRST).map_err(refused)?;
                self.settled(FIRST);
                self.end();
                self.region(FIRST)?;
                self.expect.left(false).judge(&observe(self.wal())?).map(drop)
            }
            Op::CloseReopen => {
                self.wal().close().map_err(refused)?;
                self.expect
                    .regions
                    .keys()
                    .copied()
                    .collect::<Vec<_>>()
                    .into_iter()
                    .for_each(|of| self.settled(of));
                self.end();
                self.open(&self.expect.left(false)).map(drop)
            }
            Op::Reopen => {
                // It would keep the lock of the process that died.
                self.view = None;
                self.wal = None;
                self.open(&self.expect.left(false)).map(drop)
            }
        }
    }

    /// Whether an operation does something in the state that this life is in.
    #[must_use]
    pub fn applies(&self, op: Op) -> bool {
        match op {
            Op::Make => !self.has(OTHER),
            Op::WrittenOther | Op::RemoveOther => self.has(OTHER),
            _ => true,
        }
    }

    /// What every opened log must be able to do: make a region that is not there, append durably to each.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn probe(&mut self) -> Result<(), Broken> {
        if !self.has(FIRST) {
            self.make(FIRST)?;
        }
        for region in self.expect.regions.keys().copied().collect::<Vec<_>>() {
            let value = self.value(8);
            self.append(region, &[Change::Put(1, value)], Durability::Durable)?;
        }
        Ok(())
    }

    /// What the next process must find where this one ends.
    #[must_use]
    pub fn left(&self, power_loss: bool) -> Due {
        self.expect.left(power_loss)
    }

    /// Ends without closing.
    pub fn end_process(&mut self) {
        self.view = None;
        self.wal = None;
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err gives")]
fn refused(error: Error) -> Broken {
    Broken::Refused(error.to_string())
}
