//! Prepares the way of an appender from the background thread: the next segment, and written space. An appender
//! that gets ahead of it does the same itself, so nothing here is needed for anything but speed.

use std::sync::atomic::Ordering;

use walstone_core::{Log, Mark, SegmentId, Storage};

use crate::shared::Shared;
use crate::store::Store;

/// The least and the most space that is claimed ahead, where the segment is long enough.
const MIN_AHEAD: u32 = 1 << 20;
const MAX_AHEAD: u32 = 16 << 20;

/// Space that is claimed in one step: short, for an appender may have to wait for it.
const STEP: u32 = 256 << 10;

/// Steps after which others get their turn.
const STEPS_IN_A_ROW: u32 = 16;

/// Written bytes behind which write-back is started, so that the sync of a rotation finds little left to do.
const WRITE_BACK: u32 = 4 << 20;

/// What is ready ahead of the appender.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ahead {
    /// Where the session began, in bytes of log.
    begun_at: u64,
    /// What was written and not durable when this was last found short: so much is appended between two syncs.
    unsynced: u32,
}

/// What the appender should not have to do itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    /// Claim space of a segment, of which so much is used up between two syncs.
    Claim { to: Mark, unsynced: u32 },
    /// Start write-back of the active segment before this mark.
    WriteBack { to: Mark },
}

impl Ahead {
    pub(crate) fn new(log: &Log<'static, Store>) -> Self {
        Self {
            begun_at: place(log, log.written_mark()),
            unsynced: 0,
        }
    }

    /// How far to claim ahead: as much as this session has appended so far, so that a region which is hardly used
    /// stays small.
    fn distance(self, log: &Log<'static, Store>) -> u32 {
        let appended = place(log, log.written_mark()).saturating_sub(self.begun_at);
        let wanted = u32::try_from(appended).unwrap_or(MAX_AHEAD);
        let len = log.storage().geometry().segment_len();
        wanted.clamp(MIN_AHEAD, MAX_AHEAD).min(len / 4)
    }

    /// Whether the background thread should be woken.
    #[inline]
    pub(crate) fn is_short(self, log: &Log<'static, Store>) -> bool {
        let [active, _] = log.claimed();
        active.is_some_and(|claimed| {
            let len = log.storage().geometry().segment_len();
            let left = claimed.end.saturating_sub(log.written_mark().end);
            claimed.end < len && left < MAX_AHEAD && left < self.distance(log) / 2
        })
    }

    /// Takes in how much is appended between two syncs, as an append sees it that was not synced yet.
    pub(crate) fn appended(&mut self, log: &Log<'static, Store>) {
        self.unsynced = unsynced(log);
    }

    /// The next thing to do. Space of the active segment comes first, then, past half full, of the one after it.
    fn task(self, log: &Log<'static, Store>, started: Mark) -> Option<Task> {
        let len = log.storage().geometry().segment_len();
        let distance = self.distance(log);
        let [active, spare] = log.claimed();
        let tail = log.written_mark();
        // A region that nobody appends to gets nothing ahead.
        let active = active.filter(|claimed| claimed.end > 0)?;
        let durable = log.durable_mark().end;
        let unsynced = self.unsynced.max(unsynced(log));
        let claim = |claimed: Mark, wanted: u32| {
            let end = claimed.end.saturating_add(STEP).min(wanted);
            Task::Claim {
                to: Mark { end, ..claimed },
                unsynced,
            }
        };
        let behind = if started.segment == tail.segment {
            started.end
        } else {
            0
        };
        // First, because it never has much to do at a time; claiming may never end where many append.
        if tail.end.saturating_sub(behind.max(durable)) > WRITE_BACK {
            return Some(Task::WriteBack { to: tail });
        }
        // Space for data is worth nothing without a segment to go on in, and may be the last that this one could have.
        let spare = spare.filter(|claimed| claimed.end > 0)?;
        let wanted = tail.end.saturating_add(distance).min(len);
        if active.end < wanted {
            return Some(claim(active, wanted));
        }
        (tail.end > len / 2 && spare.end < distance).then(|| claim(spare, distance))
    }
}

fn unsynced(log: &Log<'static, Store>) -> u32 {
    log.written_mark().end.saturating_sub(log.durable_mark().end)
}

fn place(log: &Log<'static, Store>, mark: Mark) -> u64 {
    let len = u64::from(log.storage().geometry().segment_len());
    mark.segment.0.saturating_mul(len).saturating_add(u64::from(mark.end))
}

impl Shared {
    /// Creates the next segment, claims space ahead of the appender and starts write-back behind it. Holds the log
    /// only to look at it, so that appends go on meanwhile. True: there is more to do, but others wait for the thread,
    /// and where many append this could keep it for ever.
    pub(crate) fn prepare(&self) -> bool {
        self.preparing.store(false, Ordering::Release);
        let _ahead = self.ahead();
        if self.is_closed() {
            return false;
        }
        let mut started = Mark {
            segment: SegmentId(0),
            end: 0,
        };
        let mut files = self.files.clone();
        let mut steps = 0;
        loop {
            if steps >= STEPS_IN_A_ROW && self.worker().is_wanted() {
                return true;
            }
            steps += 1;
            let mut log = self.log();
            if self.is_closed() || log.poisoned().is_some() {
                return false;
            }
            if log.wants_spare()
                && let Some((id, header)) = log.begin_create()
            {
                drop(log);
                if self.create_ahead(id, &header) {
                    continue;
                }
                return false;
            }
            let task = log.ahead.task(&log, started);
            drop(log);
            match task {
                None => return false,
                Some(Task::Claim { to, unsynced }) => {
                    // No room now is no failure: an append that needs it will say so.
                    if files.claim_ahead(to, unsynced).is_err() {
                        return false;
                    }
                    self.log().claimed_ahead(to);
                }
                Some(Task::WriteBack { to }) => {
                    files.start_write_back(to);
                    started = to;
                }
            }
        }
    }

    fn create_ahead(&self, id: SegmentId, header: &[u8]) -> bool {
        let mut files = self.files.clone();
        let created = files.create(id, header);
        let mut log = self.log();
        match created {
            Ok(()) => {
                if !log.created_ahead(id) {
                    drop(log);
                    let _ = files.remove(id);
                }
                true
            }
            // An append that needs one tries itself, and says so.
            Err(_) => {
                log.create_ahead_failed();
                false
            }
        }
    }
}
