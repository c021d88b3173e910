//! The adapters: drivers of other crates' traits, files and plain bytes as devices.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::rc::Rc;

use embedded_io::{Error, ErrorKind};
use walstone_core::flat::{
    ByteDevice, Device, DeviceGeometry, FlatCapacity, FlatStorage, IoDevice, IoError, NorDevice, OpenError, SliceDevice,
};
use walstone_core::{Capacity, Fault, Found, Log, Options, SegmentId, Storage, StorageError};
use walstone_tests::behaviour::{Room, check_log};
use walstone_tests::conformance::{check_full_with, check_storage_with, check_survival_with};
use walstone_tests::flash::NorChip;

use crate::{header_for, open};

fn nor<const READ: usize, const WRITE: usize, const ERASE: usize>(slot_len: u32) {
    let make = |blocks| open(NorDevice::new(NorChip::<READ, WRITE, ERASE>::new(blocks)), slot_len);
    let blocks = slot_len / ERASE as u32;
    let header = header_for(&make(5 * blocks));
    check_storage_with(|| make(5 * blocks), &header);
    check_full_with(|| make(5 * blocks), &header);
    check_log(|| make(16 * blocks), &mut Room::lent());
}

#[test]
fn nor_flash_of_any_read_unit() {
    nor::<1, 4, 4096>(4096);
    nor::<4, 4, 1024>(4096);
    nor::<8, 8, 2048>(2048);
    nor::<32, 32, 8192>(8192);
}

/// EEPROM as its driver shows it.
#[derive(Debug)]
struct Eeprom(Vec<u8>);

impl embedded_storage::ReadStorage for Eeprom {
    type Error = Infallible;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.copy_from_slice(&self.0[offset as usize..][..bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.0.len()
    }
}

impl embedded_storage::Storage for Eeprom {
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Infallible> {
        self.0[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
}

#[test]
fn eeprom() {
    let device = |slots: usize, fresh| ByteDevice::new(Eeprom(vec![fresh; slots * 2048]));
    let make = || open(device(5, 0), 2048);
    let header = header_for(&make());
    check_storage_with(make, &header);
    check_full_with(make, &header);
    check_log(|| open(device(16, 0), 2048), &mut Room::lent());
    // One that comes with other bytes in it is formatted, or its slots are released by the first log.
    let format = || match FlatStorage::format(device(16, 0xff), 2048, FlatCapacity::heap(16, 16)) {
        Ok(storage) => storage,
        Err(error) => panic!("{error}"),
    };
    check_storage_with(format, &header);
    check_log(|| open(device(16, 0xff), 2048), &mut Room::lent());
}

#[test]
fn plain_bytes() {
    let flash = DeviceGeometry::flash(5 * 4096, 4, 4096);
    for geometry in [flash, DeviceGeometry::without_erase(5 * 4096)] {
        let make = || {
            let bytes = vec![geometry.erased().unwrap_or(0); 5 * 4096];
            open(SliceDevice::new(bytes.leak(), geometry), 4096)
        };
        let header = header_for(&make());
        check_storage_with(make, &header);
        check_full_with(make, &header);
    }
    let mut short = [0; 100];
    let mut device = SliceDevice::new(&mut short, flash);
    assert!(device.read(99, &mut [0; 2]).is_err());
    assert!(device.program(u32::MAX, &[0]).is_err());
}

/// A file through the traits of `embedded_io`.
#[derive(Debug)]
struct Stream(std::fs::File);

impl embedded_io::ErrorType for Stream {
    type Error = ErrorKind;
}

fn kind(error: std::io::Error) -> ErrorKind {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
        _ => ErrorKind::Other,
    }
}

impl embedded_io::Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, ErrorKind> {
        self.0.read(buf).map_err(kind)
    }
}

impl embedded_io::Write for Stream {
    fn write(&mut self, buf: &[u8]) -> Result<usize, ErrorKind> {
        self.0.write(buf).map_err(kind)
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        self.0.flush().map_err(kind)
    }
}

impl embedded_io::Seek for Stream {
    fn seek(&mut self, to: embedded_io::SeekFrom) -> Result<u64, ErrorKind> {
        let to = match to {
            embedded_io::SeekFrom::Start(to) => SeekFrom::Start(to),
            embedded_io::SeekFrom::End(by) => SeekFrom::End(by),
            embedded_io::SeekFrom::Current(by) => SeekFrom::Current(by),
        };
        self.0.seek(to).map_err(kind)
    }
}

fn stream(len: u64) -> Stream {
    let file = tempfile::tempfile().unwrap();
    file.set_len(len).unwrap();
    Stream(file)
}

#[test]
fn a_file_in_place_of_an_sd_card() {
    let sectors = |slots: u32| DeviceGeometry::without_erase(slots * 16384).with_sync_unit(512);
    let make = |slots: u32| {
        let device = IoDevice::new(stream(u64::from(slots) * 16384), sectors(slots), |io: &mut Stream| {
            io.0.sync_data().map_err(kind)
        });
        open(device, 16384)
    };
    let header = header_for(&make(5));
    check_storage_with(|| make(5), &header);
    check_full_with(|| make(5), &header);
    check_log(|| make(16), &mut Room::lent());
}

#[test]
fn a_file_keeps_what_was_synced_and_the_hook_is_what_syncs() {
    let geometry = DeviceGeometry::without_erase(5 * 4096);
    let syncs = Rc::new(Cell::new(0));
    let device = |io: Stream| {
        let syncs = syncs.clone();
        IoDevice::new(io, geometry, move |io: &mut Stream| {
            syncs.set(syncs.get() + 1);
            io.0.sync_data().map_err(kind)
        })
    };
    let make = || open(device(stream(5 * 4096)), 4096);
    let header = header_for(&make());
    let reopen =
        |storage: FlatStorage<'static, IoDevice<Stream, _>>| open(device(storage.into_device().into_inner()), 4096);
    check_survival_with(make, reopen, reopen, &header);
    // Two lives, each with two creates, what makes sure of the free slots before them, one remove, and in one of them one sync.
    assert_eq!(syncs.get(), 2 * 4 + 1);
}

#[test]
fn a_file_that_is_too_short_says_so() {
    let geometry = DeviceGeometry::without_erase(5 * 4096);
    let mut device = IoDevice::new(stream(100), geometry, |_: &mut Stream| Err(ErrorKind::TimedOut));
    let short = device.read(99, &mut [0; 2]).unwrap_err();
    assert_eq!((short, short.kind()), (IoError::Short, ErrorKind::InvalidData));
    let failed = device.sync().unwrap_err();
    assert_eq!((failed.kind(), failed.fault()), (ErrorKind::TimedOut, Fault::Device));
}

/// What cannot be opened is still there to be formatted.
#[test]
fn a_device_may_be_lent() {
    let geometry = DeviceGeometry::without_erase(8 * 4096);
    let mut bytes = vec![0; 8 * 4096];
    let mut device = SliceDevice::new(&mut bytes, geometry);
    {
        let log = Log::create(open(&mut device, 4096), Capacity::heap(512), Options::new(1, 2));
        assert!(log.is_ok_and(|mut log| log.append(1, b"value").is_ok()));
    }
    let refused = FlatStorage::open(&mut device, 8192, FlatCapacity::heap(4, 8));
    assert!(matches!(refused, Err(OpenError::Mismatch { .. })));
    assert!(FlatStorage::format(&mut device, 8192, FlatCapacity::heap(4, 8)).is_ok());
    assert!(FlatStorage::open(&mut device, 8192, FlatCapacity::heap(4, 8)).is_ok());
}

/// Bytes that are written in place may be seen as flash. An erase of theirs was nothing: what a segment had held before stood
/// behind the end of the next one.
#[test]
fn bytes_that_are_seen_as_flash_are_erased() {
    let flash = DeviceGeometry::flash(16 * 4096, 4, 4096);
    let make = || {
        open(
            ByteDevice::new(Eeprom(vec![0x11; 16 * 4096])).with_geometry(flash),
            4096,
        )
    };
    let mut storage = make();
    let header = header_for(&storage);
    storage.release(0).unwrap();
    storage.create(SegmentId(1), &header(SegmentId(1))).unwrap();
    let mut behind = [0; 64];
    let read = storage.read(SegmentId(1), 64, 64, &mut behind).unwrap();
    assert_eq!(read, [0xff; 64]);
    check_log(make, &mut Room::lent());
}

/// What takes no more bytes and says so by writing none: `write_all` panics there.
#[test]
fn bytes_that_end_are_an_error() {
    struct Full;
    impl embedded_io::ErrorType for Full {
        type Error = ErrorKind;
    }
    impl embedded_io::Read for Full {
        fn read(&mut self, _: &mut [u8]) -> Result<usize, ErrorKind> {
            Ok(0)
        }
    }
    impl embedded_io::Write for Full {
        fn write(&mut self, buf: &[u8]) -> Result<usize, ErrorKind> {
            // A few at a time, and then none.
            Ok(if buf.len() > 10 { 7 } else { 0 })
        }
        fn flush(&mut self) -> Result<(), ErrorKind> {
            Ok(())
        }
    }
    impl embedded_io::Seek for Full {
        fn seek(&mut self, to: embedded_io::SeekFrom) -> Result<u64, ErrorKind> {
            match to {
                embedded_io::SeekFrom::Start(to) => Ok(to),
                _ => Err(ErrorKind::Unsupported),
            }
        }
    }
    let mut device = IoDevice::new(Full, DeviceGeometry::flash(4096, 4, 1024), |_: &mut Full| Ok(()));
    assert_eq!(device.program(0, &[1; 64]), Err(IoError::Short));
    assert_eq!(device.erase(0, 1024), Err(IoError::Short));
    assert_eq!(device.read(0, &mut [0; 4]), Err(IoError::Short));
}

/// A file as its cache shows it and as the disk holds it.
#[derive(Debug, Default)]
struct Disk {
    seen: Vec<u8>,
    durable: Vec<u8>,
    dirty: Vec<bool>,
    fails: bool,
}

impl Disk {
    fn blank(geometry: DeviceGeometry) -> Rc<RefCell<Self>> {
        let blank = vec![geometry.erased().unwrap_or(0); geometry.len() as usize];
        Rc::new(RefCell::new(Self {
            dirty: vec![false; blank.len()],
            seen: blank.clone(),
            durable: blank,
            fails: false,
        }))
    }

    fn lose_power(&mut self) {
        self.seen.clone_from(&self.durable);
        self.dirty.fill(false);
    }

    /// Where it fails, what was dirty counts as clean from then on.
    fn sync(&mut self) -> Result<(), ErrorKind> {
        let fails = std::mem::take(&mut self.fails);
        for (at, dirty) in self.dirty.iter_mut().enumerate() {
            if std::mem::take(dirty) && !fails {
                self.durable[at] = self.seen[at];
            }
        }
        if fails { Err(ErrorKind::Other) } else { Ok(()) }
    }
}

/// An open file.
#[derive(Debug)]
struct Cached(Rc<RefCell<Disk>>, usize);

impl embedded_io::ErrorType for Cached {
    type Error = ErrorKind;
}

impl embedded_io::Read for Cached {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, ErrorKind> {
        buf.copy_from_slice(&self.0.borrow().seen[self.1..][..buf.len()]);
        self.1 += buf.len();
        Ok(buf.len())
    }
}

impl embedded_io::Write for Cached {
    fn write(&mut self, buf: &[u8]) -> Result<usize, ErrorKind> {
        let mut disk = self.0.borrow_mut();
        disk.seen[self.1..][..buf.len()].copy_from_slice(buf);
        disk.dirty[self.1..][..buf.len()].fill(true);
        self.1 += buf.len();
        Ok(buf.len())
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

impl embedded_io::Seek for Cached {
    fn seek(&mut self, to: embedded_io::SeekFrom) -> Result<u64, ErrorKind> {
        let embedded_io::SeekFrom::Start(to) = to else {
            return Err(ErrorKind::Unsupported);
        };
        self.1 = to as usize;
        Ok(to)
    }
}

/// A sync of a log in a file failed, and the cache forgot the record that it was for. The next session read that record
/// from the cache, synced, and took it for durable; the record that was appended and synced behind it stood behind a
/// hole once the power had failed, and the log was refused.
#[test]
fn what_a_failed_sync_forgot_is_written_again() {
    const LEN: u32 = 5 * 4096;
    for geometry in [DeviceGeometry::without_erase(LEN), DeviceGeometry::flash(LEN, 4, 4096)] {
        let disk = Disk::blank(geometry);
        let start = |seed| {
            let sync = |io: &mut Cached| io.0.borrow_mut().sync();
            let storage = open(IoDevice::new(Cached(disk.clone(), 0), geometry, sync), 4096);
            Log::open_or_create(storage, Capacity::heap(512), Options::new(7, seed))
                .unwrap_or_else(|error| panic!("{error}"))
        };
        let mut log = start(1);
        assert!(log.append(1, b"A").and_then(|_| log.sync()).is_ok());
        // Longer than what is gathered.
        let long = [0xb; 200];
        assert!(log.append(1, &long).is_ok());
        disk.borrow_mut().fails = true;
        assert!(log.sync().is_err());
        let mut log = start(2);
        assert!(log.append(1, b"C").and_then(|_| log.sync()).is_ok());
        disk.borrow_mut().lose_power();
        let mut log = start(3);
        let mut reads = log.read(None, ..);
        for expected in [&b"A"[..], &long, b"C"] {
            assert_eq!(reads.next().unwrap().unwrap().value, expected, "{geometry:?}");
        }
        assert!(reads.next().is_none());
    }
}

/// A process removed a segment, and what cleared its slot stayed in the cache: the sync failed, or never came. The next one
/// saw a free slot, took the segment's id for a new one in another slot, and once the power had failed there were two of one
/// id, which no open takes.
#[test]
fn no_segment_comes_back_beside_another_of_its_id() {
    const LEN: u32 = 5 * 4096;
    for geometry in [DeviceGeometry::without_erase(LEN), DeviceGeometry::flash(LEN, 4, 4096)] {
        let disk = Disk::blank(geometry);
        let start = || {
            let sync = |io: &mut Cached| io.0.borrow_mut().sync();
            open(IoDevice::new(Cached(disk.clone(), 0), geometry, sync), 4096)
        };
        let mut storage = start();
        let header = header_for(&storage);
        let create = |storage: &mut FlatStorage<'static, IoDevice<Cached, _>>, id| {
            storage.create(SegmentId(id), &header(SegmentId(id))).unwrap();
        };
        [6, 2, 7, 8].into_iter().for_each(|id| create(&mut storage, id));
        let mut storage = start();
        storage.remove(SegmentId(2)).unwrap();
        storage.remove(SegmentId(7)).unwrap();
        disk.borrow_mut().fails = true;
        assert!(storage.remove(SegmentId(8)).is_err());
        let mut storage = start();
        // In the slots behind that of 6: 8 goes where 7 was.
        [7, 8].into_iter().for_each(|id| create(&mut storage, id));
        disk.borrow_mut().lose_power();
        let mut found = Vec::new();
        let listed = start().segments(&mut |segment| {
            found.push(segment);
            ControlFlow::Continue(())
        });
        assert!(listed.is_ok());
        assert_eq!(found, [6, 7, 8].map(|id| Found::Segment(SegmentId(id))), "{geometry:?}");
    }
}
