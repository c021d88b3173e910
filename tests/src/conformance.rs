//! What every storage promises, as checks that run on any of them. A check panics where a promise breaks.
//!
//! `make` gives a fresh storage without segments and with room for at least four.

use core::ops::ControlFlow;

use walstone_core::segment::layout::HEADER_LEN;
use walstone_core::{Fault, Found, SharedStorage, Storage, StorageError};
use walstone_core::{Mark, SegmentId};

/// Bytes of a segment header.
pub type Header = [u8; HEADER_LEN as usize];

const MAGIC: &[u8; 8] = b"CONFORMS";

/// A header of no real format that names its segment.
#[must_use]
pub fn header(id: SegmentId) -> Header {
    let mut header = [0x5a; HEADER_LEN as usize];
    header[..8].copy_from_slice(MAGIC);
    header[8..16].copy_from_slice(&id.0.to_le_bytes());
    // Behind everything else, so that a header cut short does not parse.
    header[56..].copy_from_slice(&(!id.0).to_le_bytes());
    header
}

/// The segment that a [`header`] names.
#[must_use]
pub fn parse_header(bytes: &[u8]) -> Option<SegmentId> {
    let id = u64::from_le_bytes(bytes.get(8..16)?.try_into().ok()?);
    let whole = bytes.get(..HEADER_LEN as usize)? == header(SegmentId(id));
    whole.then_some(SegmentId(id))
}

/// Checks all promises that need neither a restart nor a full medium.
pub fn check_storage<S: Storage>(make: impl Fn() -> S) {
    check_storage_with(make, header);
}

/// As [`check_storage`], for a storage that reads the headers it is given.
pub fn check_storage_with<S: Storage>(make: impl Fn() -> S, header: impl Fn(SegmentId) -> Header) {
    let checks: &[fn(&mut Subject<'_, S>)] = &[
        listing,
        header_and_blank,
        write_and_read,
        tail,
        extent,
        durability_calls,
        remove,
        refusals,
    ];
    for check in checks {
        check(&mut Subject {
            storage: make(),
            header: &header,
        });
    }
}

/// Checks that a full storage refuses without changing anything, and has room again after a remove. `make`
/// gives one with room for at most 64 segments.
pub fn check_full<S: Storage>(make: impl Fn() -> S) {
    check_full_with(make, header);
}

/// As [`check_full`], for a storage that reads the headers it is given.
pub fn check_full_with<S: Storage>(make: impl Fn() -> S, header: impl Fn(SegmentId) -> Header) {
    let mut subject = Subject {
        storage: make(),
        header: &header,
    };
    full(&mut subject);
}

/// Checks what outlives the storage value. `die` gives what a new process finds, `lose_power` what is
/// found after a reboot; both may lose whatever the trait lets them lose.
pub fn check_survival<S: Storage>(make: impl Fn() -> S, die: impl Fn(S) -> S, lose_power: impl Fn(S) -> S) {
    check_survival_with(make, die, lose_power, header);
}

/// As [`check_survival`], for a storage that reads the headers it is given.
pub fn check_survival_with<S: Storage>(
    make: impl Fn() -> S,
    die: impl Fn(S) -> S,
    lose_power: impl Fn(S) -> S,
    header: impl Fn(SegmentId) -> Header,
) {
    let id = SegmentId(5);
    for by_sync in [false, true] {
        let mut subject = Subject {
            storage: make(),
            header: &header,
        };
        subject.create(id);
        subject.create(SegmentId(9));
        subject.storage.remove(SegmentId(9)).expect("remove");
        let start = subject.start();
        let data = subject.data(7, 1);
        let end = start + data.len() as u32;
        let mark = Mark { segment: id, end };
        subject.storage.claim(id, end).expect("claim");
        subject.storage.write(id, start, &[&data]).expect("write");
        subject.storage = if by_sync {
            subject.storage.sync(mark).expect("sync");
            lose_power(subject.storage)
        } else {
            subject.storage.hand_over(mark).expect("hand over");
            die(subject.storage)
        };
        assert_eq!(subject.list(), [id], "creates and removes are durable on return");
        assert_eq!(subject.read(id, 0, HEADER_LEN), header(id));
        assert_eq!(subject.read(id, start, data.len() as u32), data, "by_sync: {by_sync}");
    }
}

/// Checks that clones are handles on the same segments and that pins outlive them.
pub fn check_shared<S: SharedStorage>(make: impl Fn() -> S) {
    check_shared_with(make, header);
}

/// As [`check_shared`], for a storage that reads the headers it is given.
pub fn check_shared_with<S: SharedStorage>(make: impl Fn() -> S, header: impl Fn(SegmentId) -> Header) {
    let id = SegmentId(1);
    let mut subject = Subject {
        storage: make(),
        header: &header,
    };
    let mut other = subject.storage.clone();
    subject.create(id);
    let start = subject.start();
    let data = subject.data(9, 1);
    let end = start + data.len() as u32;
    other.claim(id, end).expect("claim by the other handle");
    subject
        .storage
        .write(id, start, &[&data])
        .expect("write by the first handle");
    let pin = other.pin(id, start, end).expect("pin");
    assert_eq!(&*pin, data);
    assert_eq!(
        &*other.pin(id, start + 1, start + 3).expect("pin of a part"),
        &data[1..3]
    );
    other.sync(Mark { segment: id, end }).expect("sync by the other handle");
    other.create(SegmentId(2), &header(SegmentId(2))).expect("create ahead");
    assert_eq!(subject.list(), [id, SegmentId(2)]);
    let copy = pin.clone();
    other.remove(id).expect("remove by the other handle");
    drop(other);
    assert_eq!(subject.list(), [SegmentId(2)]);
    assert!(subject.storage.pin(id, start, end).is_err(), "pinned a removed segment");
    drop(subject);
    assert_eq!(&*copy, data, "a pin outlives its segment and its storage");
}

/// A storage under check, and what its segments begin with.
struct Subject<'a, S> {
    storage: S,
    header: &'a dyn Fn(SegmentId) -> Header,
}

impl<S: Storage> Subject<'_, S> {
    fn create(&mut self, id: SegmentId) {
        let header = (self.header)(id);
        self.storage.create(id, &header).expect("create");
    }

    /// The segments, sorted; each must be listed once and none be unreadable.
    fn list(&mut self) -> Vec<SegmentId> {
        let mut ids = Vec::new();
        let listed = self.storage.segments(&mut |found| {
            match found {
                Found::Segment(id) => ids.push(id),
                Found::Unreadable { slot } => panic!("slot {slot} is unreadable"),
            }
            ControlFlow::Continue(())
        });
        listed.expect("segments");
        ids.sort();
        ids
    }

    /// All bytes of a range, however few one call returns.
    fn read(&mut self, id: SegmentId, offset: u32, len: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut buf = [0xa5; 48];
        while bytes.len() < len as usize {
            let done = bytes.len() as u32;
            let wanted = len - done;
            let got = self.storage.read(id, offset + done, wanted, &mut buf).expect("read");
            assert!(
                got.len() == wanted as usize || got.len() == 48,
                "neither all {wanted} bytes nor a full buffer, but {}",
                got.len()
            );
            bytes.extend_from_slice(got);
        }
        bytes
    }

    /// Where the first unit behind the header starts.
    fn start(&self) -> u32 {
        HEADER_LEN.next_multiple_of(self.storage.geometry().write_unit())
    }

    /// `units` write units of bytes that are neither all the same nor erased; of 1 byte, 8 for each.
    fn data(&self, seed: u8, units: u32) -> Vec<u8> {
        let len = units * self.storage.geometry().write_unit().max(8);
        (0..len).map(|at| seed.wrapping_add(at as u8) | 1).collect()
    }

    fn assert_blank(&mut self, id: SegmentId, offset: u32, len: u32) {
        if let Some(erased) = self.storage.geometry().erased() {
            let bytes = self.read(id, offset, len);
            let wrong = bytes.iter().position(|&byte| byte != erased);
            assert_eq!(wrong, None, "a byte behind {offset} of {id} is not blank");
        }
    }
}

fn listing<S: Storage>(subject: &mut Subject<'_, S>) {
    assert_eq!(subject.list(), []);
    for id in [3, 1, 200] {
        subject.create(SegmentId(id));
    }
    assert_eq!(subject.list(), [1, 3, 200].map(SegmentId));
    let mut visits = 0;
    let listed = subject.storage.segments(&mut |_| {
        visits += 1;
        ControlFlow::Break(())
    });
    listed.expect("segments");
    assert_eq!(visits, 1, "a visitor that breaks is not called again");
}

fn header_and_blank<S: Storage>(subject: &mut Subject<'_, S>) {
    let id = SegmentId(1);
    let geometry = subject.storage.geometry();
    subject.create(id);
    assert_eq!(subject.read(id, 0, HEADER_LEN), (subject.header)(id));
    let start = subject.start();
    let rest = geometry.segment_len() - start;
    subject.assert_blank(id, start, rest);
    let claimed = start + subject.data(0, 4).len() as u32;
    subject.storage.claim(id, claimed).expect("claim");
    subject.storage.claim(id, 0).expect("claiming less");
    subject.assert_blank(id, start, rest);
    subject
        .storage
        .claim(id, geometry.segment_len())
        .expect("claim of everything");
    subject.assert_blank(id, start, rest);
    assert_eq!(subject.read(id, 0, HEADER_LEN), (subject.header)(id));
}

fn write_and_read<S: Storage>(subject: &mut Subject<'_, S>) {
    let (one, two) = (SegmentId(1), SegmentId(2));
    let end = subject.storage.geometry().segment_len();
    for id in [one, two] {
        subject.create(id);
        subject.storage.claim(id, end).expect("claim");
    }
    let start = subject.start();
    let (first, second) = (subject.data(1, 3), subject.data(100, 1));
    let len = first.len() as u32;
    let (left, right) = first.split_at(5);
    subject
        .storage
        .write(one, start, &[left, &[], right])
        .expect("write of parts");
    subject.storage.write(two, start, &[&second]).expect("write");
    assert_eq!(subject.read(one, start, len), first);
    assert_eq!(
        subject.read(two, start, second.len() as u32),
        second,
        "segments are separate"
    );
    assert_eq!(subject.read(one, start + 3, 6), first[3..9]);
    assert_eq!(subject.read(one, 0, HEADER_LEN), (subject.header)(one));

    // A write before one that came earlier, and one that leaves a gap.
    let gap = second.len() as u32;
    let far = start + len + gap;
    subject.storage.write(one, far, &[&second]).expect("write behind a gap");
    subject
        .storage
        .write(one, start + len, &[&second])
        .expect("write into the gap");
    let both = [first.as_slice(), &second, &second].concat();
    assert_eq!(subject.read(one, start, both.len() as u32), both);
    let behind = start + both.len() as u32;
    subject.assert_blank(one, behind, end - behind);

    // The last bytes of a segment are bytes like any other.
    let last = end - second.len() as u32;
    subject.storage.write(two, last, &[&second]).expect("write at the end");
    assert_eq!(subject.read(two, last, second.len() as u32), second);
    assert_eq!(subject.read(two, end, 0), []);

    if subject.storage.geometry().erased().is_none() {
        subject.storage.write(two, start, &[&first]).expect("a second write");
        assert_eq!(subject.read(two, start, len), first);
    }
}

fn tail<S: Storage>(subject: &mut Subject<'_, S>) {
    let id = SegmentId(1);
    let unit = subject.storage.geometry().write_unit();
    subject.create(id);
    let mut at = subject.start();
    for len in [1, 3, unit as usize + 1, 2 * unit as usize] {
        let data = vec![0xc3; len];
        let filled = (len as u32).next_multiple_of(unit);
        subject.storage.claim(id, at + filled).expect("claim");
        subject.storage.write(id, at, &[&data]).expect("write of a tail");
        let mut expected = data;
        expected.resize(filled as usize, 0);
        assert_eq!(
            subject.read(id, at, filled),
            expected,
            "the last unit is filled with zeros"
        );
        at += filled;
    }
    let before = subject.read(id, 0, at);
    subject.storage.write(id, at, &[]).expect("write of nothing");
    subject.storage.write(id, at, &[&[], &[]]).expect("write of nothing");
    assert_eq!(subject.read(id, 0, at), before);
}

fn extent<S: Storage>(subject: &mut Subject<'_, S>) {
    let id = SegmentId(1);
    let geometry = subject.storage.geometry();
    let len = geometry.segment_len();
    subject.create(id);
    let mut end = subject.start();
    let blank = subject.storage.extent(id).expect("extent");
    assert!((HEADER_LEN..=len).contains(&blank), "{blank} does not cover the header");
    subject.storage.claim(id, len).expect("claim");
    // Bytes that look erased were written all the same.
    let erased = vec![geometry.erased().unwrap_or(0); subject.data(0, 1).len()];
    for data in [subject.data(1, 2), erased] {
        subject.storage.write(id, end, &[&data]).expect("write");
        end += data.len() as u32;
        let extent = subject.storage.extent(id).expect("extent");
        assert!(
            (end..=len).contains(&extent),
            "extent {extent} does not cover a write up to {end}"
        );
        subject.assert_blank(id, extent, len - extent);
        if geometry.erased().is_none() {
            assert_eq!(extent, len, "stale bytes stand everywhere");
        }
    }
}

fn durability_calls<S: Storage>(subject: &mut Subject<'_, S>) {
    let (one, two) = (SegmentId(1), SegmentId(2));
    subject.create(one);
    subject.create(two);
    let start = subject.start();
    let data = subject.data(1, 2);
    let len = data.len() as u32;
    for id in [one, two] {
        subject.storage.claim(id, start + 2 * len).expect("claim");
        subject.storage.write(id, start, &[&data]).expect("write");
    }
    let mark = |segment, end| Mark { segment, end };
    subject.storage.hand_over(mark(one, start)).expect("hand over of less");
    subject.storage.hand_over(mark(one, start + len)).expect("hand over");
    subject.storage.sync(mark(one, start + len)).expect("sync");
    subject
        .storage
        .sync(mark(one, start + len))
        .expect("sync of nothing new");
    subject.storage.write(one, start + len, &[&data]).expect("write");
    subject.storage.settle(one, 0, start + 2 * len).expect("settle");
    subject.storage.settle(two, start, start).expect("settle of nothing");
    subject
        .storage
        .sync(mark(two, start + len))
        .expect("sync of an older write");
    assert_eq!(subject.read(one, start, 2 * len), [data.clone(), data.clone()].concat());
    assert_eq!(subject.read(two, start, len), data);
    assert_eq!(subject.read(one, 0, HEADER_LEN), (subject.header)(one));
}

fn remove<S: Storage>(subject: &mut Subject<'_, S>) {
    let (one, two) = (SegmentId(1), SegmentId(2));
    subject.create(one);
    subject.create(two);
    let start = subject.start();
    let end = subject.storage.geometry().segment_len();
    let data = subject.data(1, 2);
    for id in [one, two] {
        subject.storage.claim(id, end).expect("claim");
        subject.storage.write(id, start, &[&data]).expect("write");
    }
    subject.storage.remove(one).expect("remove");
    assert_eq!(subject.list(), [two]);
    assert!(
        subject.storage.read(one, 0, 1, &mut [0]).is_err(),
        "read of a removed segment"
    );
    assert_eq!(subject.read(two, start, data.len() as u32), data);
    // Nothing of the former life shows.
    subject.create(one);
    assert_eq!(subject.read(one, 0, HEADER_LEN), (subject.header)(one));
    subject.assert_blank(one, start, end - start);
    subject.storage.remove(two).expect("remove");
    subject.storage.remove(one).expect("remove");
    assert_eq!(subject.list(), []);
}

fn refusals<S: Storage>(subject: &mut Subject<'_, S>) {
    let (here, gone) = (SegmentId(1), SegmentId(2));
    let end = subject.storage.geometry().segment_len();
    let start = subject.start();
    subject.create(here);
    subject.storage.claim(here, end).expect("claim");
    let data = subject.data(1, 1);
    subject.storage.write(here, start, &[&data]).expect("write");

    let header = (subject.header)(here);
    let storage = &mut subject.storage;
    let mut buf = [0; 8];
    let refused = [
        ("create", storage.create(here, &header).err()),
        ("claim", storage.claim(gone, start).err()),
        ("extent", storage.extent(gone).err()),
        ("read", storage.read(gone, 0, 8, &mut buf).err()),
        ("write", storage.write(gone, start, &[&data]).err()),
        ("remove", storage.remove(gone).err()),
        ("release", storage.release(7).err()),
        ("claim past the end", storage.claim(here, end + 1).err()),
        ("read past the end", storage.read(here, end - 4, 8, &mut buf).err()),
        ("read far past the end", storage.read(here, u32::MAX, 8, &mut buf).err()),
        ("write past the end", storage.write(here, end, &[&data]).err()),
    ];
    for (call, error) in refused {
        let error = error.unwrap_or_else(|| panic!("{call} must be refused"));
        assert_eq!(error.fault(), Fault::Device, "{call}: {error}");
    }
    assert_eq!(subject.list(), [here]);
    assert_eq!(subject.read(here, start, data.len() as u32), data);
    let behind = start + data.len() as u32;
    subject.assert_blank(here, behind, end - behind);
}

fn full<S: Storage>(subject: &mut Subject<'_, S>) {
    let end = subject.storage.geometry().segment_len();
    let start = subject.start();
    let data = subject.data(1, 1);
    let len = data.len() as u32;
    let mut written = Vec::new();
    let mut refusal = None;
    for id in (1..=65).map(SegmentId) {
        let header = (subject.header)(id);
        if let Err(error) = subject.storage.create(id, &header) {
            refusal = Some(error);
            break;
        }
        if let Err(error) = subject.storage.claim(id, end) {
            // Room for a header but not for the rest: the segment is there, and blank.
            subject.assert_blank(id, start, end - start);
            subject.storage.remove(id).expect("remove of a segment without room");
            refusal = Some(error);
            break;
        }
        subject.storage.write(id, start, &[&data]).expect("write");
        written.push(id);
    }
    let refusal = refusal.expect("a storage that gets full within 64 segments");
    assert_eq!(refusal.fault(), Fault::Full, "{refusal}");
    assert_eq!(subject.list(), written);
    for &id in &written {
        assert_eq!(subject.read(id, 0, HEADER_LEN), (subject.header)(id));
        assert_eq!(subject.read(id, start, len), data);
    }
    // What was claimed can still be written and synced, and a remove makes room.
    let (&first, &last) = (written.first().expect("one segment"), written.last().expect("one"));
    subject
        .storage
        .write(last, end - len, &[&data])
        .expect("write on a full medium");
    subject
        .storage
        .sync(Mark { segment: last, end })
        .expect("sync on a full medium");
    subject.storage.remove(first).expect("remove on a full medium");
    let id = SegmentId(100);
    subject.create(id);
    subject.storage.claim(id, end).expect("claim of the room made");
    subject.storage.write(id, start, &[&data]).expect("write");
    assert_eq!(subject.read(id, start, len), data);
}
