//! What an open does about each thing that it finds: slots and segments that are to go, and where its session begins.

use std::ops::ControlFlow;

use walstone_core::frame::Kind;
use walstone_core::ram::{RamError, RamStorage};
use walstone_core::segment::layout::HEADER_LEN;
use walstone_core::{Capacity, Error, Found, Geometry, Log, Mark, Reason, SegmentId, Storage};

use super::regressions::{ONE, all, create, frames, open, options, plain, refused, rotate, sequences};

/// What becomes of something that is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Goes,
    Stays,
    /// It is said to have gone.
    Lies,
}

const OUTCOMES: [Outcome; 3] = [Outcome::Goes, Outcome::Stays, Outcome::Lies];

/// A storage with slots that hold no segment, one that lists a segment twice, or one whose bytes change while they are read.
#[derive(Clone, Debug)]
struct Odd {
    ram: RamStorage,
    /// By number; those that are gone say nothing.
    slots: Vec<Option<Outcome>>,
    /// Releases and removals.
    tried: usize,
    removals: Outcome,
    twice: Option<SegmentId>,
    /// A byte that is another once it was read so often.
    changes: Option<(SegmentId, usize, u32)>,
}

impl Odd {
    fn new(ram: RamStorage) -> Self {
        Self {
            ram,
            slots: Vec::new(),
            tried: 0,
            removals: Outcome::Goes,
            twice: None,
            changes: None,
        }
    }
}

impl Storage for Odd {
    type Error = RamError;

    fn geometry(&self) -> Geometry {
        self.ram.geometry()
    }

    fn segments(&mut self, visit: &mut dyn FnMut(Found) -> ControlFlow<()>) -> Result<(), RamError> {
        for (slot, _) in (0..).zip(&self.slots).filter(|(_, outcome)| outcome.is_some()) {
            if visit(Found::Unreadable { slot }).is_break() {
                return Ok(());
            }
        }
        if let Some(id) = self.twice
            && visit(Found::Segment(id)).is_break()
        {
            return Ok(());
        }
        self.ram.segments(visit)
    }

    fn create(&mut self, id: SegmentId, header: &[u8]) -> Result<(), RamError> {
        self.ram.create(id, header)
    }

    fn claim(&mut self, id: SegmentId, end: u32) -> Result<(), RamError> {
        self.ram.claim(id, end)
    }

    fn extent(&mut self, id: SegmentId) -> Result<u32, RamError> {
        self.ram.extent(id)
    }

    fn read<'a>(&'a mut self, id: SegmentId, offset: u32, len: u32, buf: &'a mut [u8]) -> Result<&'a [u8], RamError> {
        if let Some((of, at, reads)) = &mut self.changes
            && *of == id
            && (offset as usize..(offset + len) as usize).contains(at)
        {
            if *reads == 0
                && let Some(bytes) = self.ram.bytes_mut(id)
            {
                bytes[*at] ^= 0xff;
                self.changes = None;
            } else {
                *reads -= 1;
            }
        }
        self.ram.read(id, offset, len, buf)
    }

    fn write(&mut self, id: SegmentId, offset: u32, parts: &[&[u8]]) -> Result<(), RamError> {
        self.ram.write(id, offset, parts)
    }

    fn hand_over(&mut self, to: Mark) -> Result<(), RamError> {
        self.ram.hand_over(to)
    }

    fn sync(&mut self, to: Mark) -> Result<(), RamError> {
        self.ram.sync(to)
    }

    fn settle(&mut self, id: SegmentId, from: u32, to: u32) -> Result<(), RamError> {
        self.ram.settle(id, from, to)
    }

    fn remove(&mut self, id: SegmentId) -> Result<(), RamError> {
        self.tried += 1;
        match self.removals {
            Outcome::Goes => self.ram.remove(id),
            Outcome::Stays => Err(RamError::NotFound { segment: id }),
            Outcome::Lies => Ok(()),
        }
    }

    fn release(&mut self, slot: u32) -> Result<(), RamError> {
        self.tried += 1;
        match self.slots[slot as usize] {
            Some(Outcome::Goes) => self.slots[slot as usize] = None,
            Some(Outcome::Lies) => {}
            _ => return Err(RamError::NoSlot { slot }),
        }
        Ok(())
    }
}

/// What can be released is, whatever stands in front of it; what cannot be is tried once and counted, and what is listed again
/// after it was released ends the open's patience, not the open.
#[test]
fn unreadable_slots_are_released_as_far_as_they_go() {
    let mut log = create(plain());
    log.append(1, b"kept").unwrap();
    log.sync().unwrap();
    let ram = log.into_storage();
    // An interrupted create left two segments that were never begun.
    let mut begun = ram.clone();
    let blank = |id| {
        let mut bytes = vec![0; 4096];
        bytes[..HEADER_LEN as usize].copy_from_slice(&ram.bytes(id).unwrap()[..HEADER_LEN as usize]);
        bytes
    };
    let spare = ram.ids().last().unwrap();
    begun.insert(ONE, blank(ONE));
    begun.insert(spare, blank(spare));
    for nth in 0..27 {
        let slots: Vec<_> = [1, 3, 9].map(|unit| Some(OUTCOMES[nth / unit % 3])).to_vec();
        let count = |outcome| slots.iter().filter(|&&slot| slot == Some(outcome)).count();
        let mut odd = Odd::new(ram.clone());
        odd.slots.clone_from(&slots);
        let mut log = Log::open(odd, Capacity::heap(0), options()).unwrap();
        let report = log.report();
        assert_eq!(sequences_of(&mut log), [1]);
        assert_eq!(log.storage().tried, 3, "{slots:?}");
        if count(Outcome::Lies) == 0 {
            let left: Vec<_> = log.storage().slots.iter().flatten().copied().collect();
            assert!(left.iter().all(|&slot| slot == Outcome::Stays), "{slots:?}");
            let found = (report.released_slots as usize, report.not_removed as usize);
            assert_eq!(found, (count(Outcome::Goes), count(Outcome::Stays)), "{slots:?}");
        }
        // Where there is no region, segments go as well.
        for removals in OUTCOMES {
            let mut odd = Odd::new(begun.clone());
            odd.slots.clone_from(&slots);
            odd.removals = removals;
            let mut log = Log::open_or_create(odd, Capacity::heap(0), options()).unwrap();
            let report = log.report();
            assert_eq!(log.storage().tried, 5, "{slots:?}, {removals:?}");
            if count(Outcome::Lies) == 0 && removals != Outcome::Lies {
                let stay = if removals == Outcome::Stays { 2 } else { 0 };
                let kept = log.storage().ram.ids().filter(|&id| id <= spare).count();
                assert_eq!(kept, stay, "{slots:?}, {removals:?}");
                let found = (report.released_slots as usize, report.not_removed as usize);
                assert_eq!(found, (count(Outcome::Goes), count(Outcome::Stays) + stay), "{slots:?}");
                assert_eq!(report.removed_segments as usize, 2 - stay, "{slots:?}");
            }
            assert_eq!(log.append(1, b"first").map(|at| at.first), Ok(1));
            log.sync().unwrap();
            let again = log.into_storage().ram;
            assert_eq!(sequences(&mut open(again)), [1], "{slots:?}, {removals:?}");
        }
    }
}

fn sequences_of(log: &mut Log<'static, Odd>) -> Vec<u64> {
    all(log).into_iter().map(|(sequence, _)| sequence).collect()
}

#[test]
fn a_segment_that_is_listed_twice_is_corruption() {
    let mut log = create(plain());
    rotate(&mut log);
    let ram = log.into_storage();
    for id in ram.clone().ids() {
        let mut odd = Odd::new(ram.clone());
        odd.twice = Some(id);
        match Log::open(odd, Capacity::heap(0), options()).map(drop) {
            Err(Error::Corrupt(found)) => assert_eq!((found.segment, found.reason), (id, Reason::Duplicate)),
            other => panic!("{other:?}"),
        }
    }
}

/// A manifest that read torn when the newest segment was looked for, and whole when what stands above that was: nothing of
/// it is taken into the state of the segment below.
#[test]
fn a_manifest_that_heals_while_the_log_opens_is_corruption() {
    let mut log = create(plain());
    rotate(&mut log);
    log.sync().unwrap();
    let newest = log.written_mark().segment;
    let expect = sequences(&mut log);
    let mut ram = log.into_storage();
    ram.bytes_mut(newest).unwrap()[64] ^= 0xff;
    let mut refused = 0;
    for reads in 0..6 {
        let mut odd = Odd::new(ram.clone());
        odd.changes = Some((newest, 64, reads));
        match Log::open(odd, Capacity::heap(0), options()) {
            Err(Error::Corrupt(found)) => {
                assert_eq!((found.segment, found.reason), (newest, Reason::Manifest));
                refused += 1;
            }
            Err(other) => panic!("{other}"),
            // It healed before the first look, or not at all.
            Ok(mut log) => {
                let found = sequences_of(&mut log);
                assert_eq!(found, expect[..found.len()]);
            }
        }
    }
    assert!(refused > 0);
}

/// Where the first frame of a session stands, in each case of the format document.
#[test]
fn a_session_begins_behind_what_may_have_been_disturbed() {
    let flash = plain().with_write_unit(4).unwrap();
    let stale = plain().with_erased(None).unwrap();
    let paged = flash.with_erased(Some(0xff)).unwrap().with_page_len(256).unwrap();
    let synced = Geometry::new(8192).unwrap().with_sync_unit(512).unwrap();
    for (geometry, closed, expect) in [
        (plain(), false, (|end| end) as fn(u32) -> u32),
        (plain(), true, |end| end),
        (stale, false, |end| end + 24),
        (stale, true, |end| end),
        (paged, false, |end| end.next_multiple_of(256) + 256),
        (paged, true, |end| end.next_multiple_of(256) + 256),
        (synced, false, |end| end),
        (synced.with_erased(None).unwrap(), false, |end| {
            (end + 24).next_multiple_of(512)
        }),
    ] {
        let mut log = create(geometry);
        log.append(1, b"one").unwrap();
        if closed {
            log.close().unwrap();
        } else {
            log.sync().unwrap();
        }
        let end = log.written_mark().end;
        let mut log = open(log.into_storage());
        log.append(1, b"two").unwrap();
        let resumes = frames(log.storage(), ONE, Kind::Resume);
        assert_eq!(resumes, [expect(end)], "{geometry:?}, closed: {closed}");
    }
    // Without an erased state, what was written is known by the headers behind the torn frame.
    let mut log = create(stale);
    log.append(1, b"one").unwrap();
    log.sync().unwrap();
    let torn = log.append(1, b"torn").unwrap().position.offset() as usize;
    log.append(1, b"behind it").unwrap();
    let last = log.append(1, b"last").unwrap().position.offset();
    let mut ram = log.into_storage();
    ram.bytes_mut(ONE).unwrap()[torn + 24] ^= 0xff;
    let mut log = open(ram);
    log.append(1, b"two").unwrap();
    assert_eq!(frames(log.storage(), ONE, Kind::Resume), [last + 24]);
}

/// Three torn tails of one segment are cut off; the fourth session that finds one begins a new segment, and one that has
/// nothing to cut off does not.
#[test]
fn a_segment_has_room_for_three_cuts() {
    let mut log = create(plain());
    let mut cuts = 0;
    for _ in 0..4 {
        log.append(1, b"kept").unwrap();
        log.sync().unwrap();
        let torn = log.append(1, b"torn").unwrap().position.offset() as usize;
        let mut ram = log.into_storage();
        ram.bytes_mut(ONE).unwrap()[torn + 24] ^= 0xff;
        log = open(ram);
        log.append(1, b"kept too").unwrap();
        log.sync().unwrap();
        if log.written_mark().segment != ONE {
            break;
        }
        cuts += 1;
        log = open(log.into_storage());
        log.append(1, b"behind a clean end").unwrap();
        log.sync().unwrap();
        assert_eq!(log.written_mark().segment, ONE);
    }
    assert_eq!(cuts, 3);
    let last = log.last_sequence();
    assert_eq!(sequences(&mut log), (1..=last).collect::<Vec<_>>());
    assert_eq!(sequences(&mut open(log.into_storage())), (1..=last).collect::<Vec<_>>());
}

/// What was prepared is as good as new only after a clean end: else a write may have been under way in it.
#[test]
fn what_was_prepared_is_kept_over_a_close_alone() {
    for (closed, geometry) in [
        (true, plain()),
        (false, plain()),
        (true, plain().with_erased(None).unwrap()),
        (true, plain().with_page_len(256).unwrap()),
    ] {
        let mut log = create(geometry);
        log.append(1, b"one").unwrap();
        if closed {
            log.close().unwrap();
        } else {
            log.sync().unwrap();
        }
        let spares: Vec<_> = log.storage().ids().filter(|&id| id > ONE).collect();
        assert_eq!(spares.len(), 1);
        let mut log = open(log.into_storage());
        log.append(1, b"two").unwrap();
        log.sync().unwrap();
        let now: Vec<_> = log.storage().ids().filter(|&id| id > ONE).collect();
        let kept = now.contains(&spares[0]);
        assert_eq!(kept, closed && geometry == plain(), "{geometry:?}, closed: {closed}");
    }
}

/// Without a manifest there is no region where nothing stands behind what an interrupted create may have written.
#[test]
fn what_an_interrupted_create_may_have_written() {
    let synced = Geometry::new(8192).unwrap().with_sync_unit(512).unwrap();
    for (geometry, end) in [(plain(), 128), (synced, 1024)] {
        let mut log = create(geometry);
        log.append(1, b"one").unwrap();
        let header = log.storage().bytes(ONE).unwrap()[..HEADER_LEN as usize].to_vec();
        let start = if end == 128 { 64 } else { 512 };
        for at in start..geometry.segment_len() as usize {
            let mut bytes = vec![0; geometry.segment_len() as usize];
            bytes[..header.len()].copy_from_slice(&header);
            bytes[at] = 0xee;
            let mut ram = RamStorage::new(geometry);
            ram.insert(ONE, bytes);
            if at < end {
                assert_eq!(
                    Log::open(ram, Capacity::heap(0), options()).map(drop),
                    Err(Error::NoRegion),
                    "{at}"
                );
            } else {
                assert_eq!(refused(ram).reason, Reason::NoManifest, "{at}");
            }
        }
    }
}
