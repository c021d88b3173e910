//! A log on one device: flash, EEPROM, FRAM, an SD card, a file, bytes in memory. The device is cut into equal slots,
//! one segment each. Knows segment headers, and nothing of frames.
//!
//! ```text
//! slot 0                                     slot 1
//! | header, data ...          | header copy |  header, data ...          | header copy |
//! 0                  segment_len         slot_len
//! ```
//!
//! The two copies of a header stand in different write units, and in different erase blocks where a slot has several.
//! A slot with a copy that verifies holds that segment; one with blank copies is free; any other is unreadable, and the
//! region decides what that means. Which slot holds what is found by reading both copies of every slot once, when the
//! storage is opened; nothing else is kept on the device.
//!
//! * Flash is erased by [`Storage::remove`] and [`Storage::release`], and by [`Storage::create`] only where nobody
//!   knows that the erase of a free slot was not interrupted: on its first use since the storage was opened. No unit is
//!   written twice between two erases.
//! * On a device without erase a slot costs its two header copies when it changes hands, and the place of its manifest.
//!   What else is left in it never counts, as long as salts differ: see [`FlatStorage::format`].
//! * The newest segment lists all others that hold data, 24 bytes each, in at most a quarter of itself; so slots of 4 KiB
//!   serve a device of about 40 of them, and a larger device wants larger slots. Two slots are kept for deleting and
//!   reclaiming on a full device.
//! * Slots are taken in turn, starting behind the highest segment id, so that all of them wear alike.
//!
//! ```
//! use walstone_core::flat::{DeviceGeometry, FlatRoom, FlatStorage, SliceDevice};
//! use walstone_core::{Log, Options, Workspace};
//!
//! # type Error = Box<dyn std::error::Error>;
//! # fn main() -> Result<(), Error> {
//! let mut bytes = [0; 16384];
//! let device = SliceDevice::new(&mut bytes, DeviceGeometry::without_erase(16384));
//! let mut slots = FlatRoom::<8, 32>::new(); // at most 8 slots; programs of 32 bytes
//! let storage = FlatStorage::open(device, 2048, slots.lend()).map_err(|error| error.to_string())?;
//! let mut room = Workspace::<8, 8, 4, 512>::new();
//! let mut log = Log::create(storage, room.lend(), Options::new(1, 0x5eed)).map_err(|error| error.to_string())?;
//! log.append(7, b"value").map_err(|error| error.to_string())?;
//! log.sync().map_err(|error| error.to_string())?;
//! # Ok(()) }
//! ```

mod device;
mod error;
mod geometry;
mod io;
#[cfg(feature = "embedded-storage")]
mod nor;
mod slice;
mod slots;

use core::ops::ControlFlow;

use crate::checksum::Checksum;
use crate::geometry::{Geometry, Mark, SegmentId};
use crate::segment::header::{HEADER_LEN, Header, MAGIC};
use crate::segment::layout::{FRAME_HEADER_LEN, align_up};
use crate::storage::{Fault, Found, Storage, StorageError};

pub use device::Device;
pub use error::{FlatError, OpenError};
pub use geometry::{DeviceGeometry, FlatGeometry, FlatGeometryError};
pub use io::{IoDevice, IoError};
#[cfg(feature = "embedded-storage")]
pub use nor::{ByteDevice, ByteError, NorDevice, NorError};
pub use slice::{SliceDevice, SliceError};
pub use slots::{FlatCapacity, FlatRoom, Slot};

use slots::{Held, State};

/// The segments of one region on one [`Device`]. Reads copy.
#[derive(Debug)]
pub struct FlatStorage<'r, D> {
    device: D,
    geometry: FlatGeometry,
    slots: Held<'r, Slot>,
    /// Programs are gathered here, a whole number of write units at a time.
    gather: Held<'r, u8>,
    /// The slot that is asked first for the next segment.
    cursor: u32,
    /// A sync failed, be it that of a create: what was written before may be lost, and no later sync can tell.
    sync_failed: bool,
}

/// The two places of a header in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copy {
    First,
    Second,
}

impl<'r, D: Device> FlatStorage<'r, D> {
    /// Reads both header copies of every slot of `slot_len` bytes. Changes nothing.
    ///
    /// # Errors
    /// [`OpenError::Geometry`]; [`OpenError::Room`]; [`OpenError::Device`]; [`OpenError::Mismatch`] where the device
    /// holds segments that were made with another geometry; [`OpenError::Shifted`] where none of them stands in a slot.
    pub fn open(device: D, slot_len: u32, room: FlatCapacity<'r>) -> Result<Self, OpenError<D::Error>> {
        let mut storage = Self::with_room(device, slot_len, room)?;
        let given = storage.geometry.segment();
        let in_slots = storage.read_slots().map_err(OpenError::Device)?;
        let stored = match in_slots {
            // Cut at other places, a full device may look blank.
            None => find_header(&mut storage.device)
                .map_err(OpenError::Device)?
                .map(|header| header.geometry),
            found => found,
        };
        match stored {
            Some(stored) if stored != given => Err(OpenError::Mismatch { stored, given }),
            Some(_) if in_slots.is_none() => Err(OpenError::Shifted),
            _ => Ok(storage),
        }
    }

    /// Wipes the whole device, whatever it holds, and opens it. Without this, what a device without erase held before
    /// can come back where salts come from no entropy ([`Options::seed`](crate::Options::seed)).
    ///
    /// Power loss: some of the old segments may be left; this may be tried again.
    ///
    /// # Errors
    /// As [`FlatStorage::open`], but for what the device holds.
    pub fn format(device: D, slot_len: u32, room: FlatCapacity<'r>) -> Result<Self, OpenError<D::Error>> {
        let mut storage = Self::with_room(device, slot_len, room)?;
        storage.wipe_all().map_err(OpenError::Device)?;
        Ok(storage)
    }

    fn with_room(device: D, slot_len: u32, room: FlatCapacity<'r>) -> Result<Self, OpenError<D::Error>> {
        let geometry = FlatGeometry::new(device.geometry(), slot_len).map_err(OpenError::Geometry)?;
        let unit = geometry.segment().write_unit() as usize;
        let gather_len = room.gather.len() & !(unit - 1);
        let slots = room.slots.first(geometry.slot_count() as usize);
        match (slots, room.gather.first(gather_len)) {
            (Some(slots), Some(gather)) if gather_len > 0 => Ok(Self {
                device,
                geometry,
                slots,
                gather,
                cursor: 0,
                sync_failed: false,
            }),
            _ => Err(OpenError::Room {
                slots: geometry.slot_count(),
                gather: geometry.segment().write_unit(),
            }),
        }
    }

    /// The device.
    pub const fn device(&self) -> &D {
        &self.device
    }

    /// The device, with which nothing else may be done while the storage is used.
    pub const fn device_mut(&mut self) -> &mut D {
        &mut self.device
    }

    /// Gives the device back.
    pub fn into_device(self) -> D {
        self.device
    }

    /// How the device is cut.
    pub const fn flat_geometry(&self) -> FlatGeometry {
        self.geometry
    }

    /// Finds out what each slot holds; the geometry of a segment among them, of one that differs if there is one.
    fn read_slots(&mut self) -> Result<Option<Geometry>, D::Error> {
        let given = self.geometry.segment();
        let mut stored = None;
        let mut highest = SegmentId(0);
        for index in 0..self.geometry.slot_count() {
            let (state, header) = self.look_at(index)?;
            self.set(index, state);
            if let Some(header) = header {
                if stored.is_none_or(|stored| stored == given) {
                    stored = Some(header.geometry);
                }
                if header.segment >= highest {
                    highest = header.segment;
                    self.cursor = index + 1;
                }
            }
        }
        Ok(stored)
    }

    fn look_at(&mut self, index: u32) -> Result<(State, Option<Header>), D::Error> {
        let blank = self.geometry.segment().erased().unwrap_or(0);
        let mut all_blank = true;
        for copy in [Copy::First, Copy::Second] {
            let mut bytes = [0; HEADER_LEN];
            match self.device.read(self.copy_at(index, copy), &mut bytes) {
                Ok(()) => {}
                Err(error) if error.fault() == Fault::Unreadable => {
                    all_blank = false;
                    continue;
                }
                Err(error) => return Err(error),
            }
            if let Ok(header) = Header::decode(&bytes, Checksum::BITWISE) {
                let state = match copy {
                    Copy::First => State::First(header.segment),
                    Copy::Second => State::Second(header.segment),
                };
                return Ok((state, Some(header)));
            }
            all_blank &= bytes.iter().all(|&byte| byte == blank);
        }
        let state = if all_blank { State::Free } else { State::Unreadable };
        Ok((state, None))
    }

    fn set(&mut self, index: u32, state: State) {
        if let Some(slot) = self.slots.get_mut(index as usize) {
            slot.state = state;
        }
    }

    fn state(&self, index: u32) -> State {
        self.slots
            .get(index as usize)
            .map_or(State::Unreadable, |slot| slot.state)
    }

    fn find(&self, id: SegmentId) -> Result<u32, FlatError<D::Error>> {
        self.slots
            .iter()
            .position(|slot| slot.state.segment() == Some(id))
            .map(|index| index as u32)
            .ok_or(FlatError::NotFound { segment: id })
    }

    fn start_of(&self, index: u32) -> u32 {
        index * self.geometry.slot_len()
    }

    fn copy_at(&self, index: u32, copy: Copy) -> u32 {
        let behind = match copy {
            Copy::First => 0,
            Copy::Second => self.geometry.segment().segment_len(),
        };
        self.start_of(index) + behind
    }

    /// The slot of a segment in which there are `len` bytes at `offset`.
    fn locate(&self, id: SegmentId, offset: u32, len: u32) -> Result<u32, FlatError<D::Error>> {
        let index = self.find(id)?;
        match offset.checked_add(len) {
            Some(end) if end <= self.geometry.segment().segment_len() => Ok(index),
            _ => Err(FlatError::OutOfBounds { offset, len }),
        }
    }

    /// Programs parts one behind the other from `at` on, in whole units, the last one filled up with zeros.
    fn program(&mut self, mut at: u32, parts: &[&[u8]]) -> Result<(), D::Error> {
        let unit = self.geometry.segment().write_unit() as usize;
        let gather_len = self.gather.len();
        let mut held = 0;
        for part in parts {
            let mut rest = *part;
            while !rest.is_empty() {
                if held == 0
                    && rest.len() >= gather_len
                    && let Some((whole, behind)) = rest.split_at_checked(rest.len() & !(unit - 1))
                {
                    put(&mut self.device, self.geometry.segment(), at, whole)?;
                    at += whole.len() as u32;
                    rest = behind;
                } else {
                    let room = self.gather.get_mut(held..).unwrap_or_default();
                    let taken = room.len().min(rest.len());
                    if let (Some(room), Some((new, behind))) = (room.get_mut(..taken), rest.split_at_checked(taken)) {
                        room.copy_from_slice(new);
                        rest = behind;
                    }
                    held += taken;
                }
                if held == gather_len {
                    put(&mut self.device, self.geometry.segment(), at, &self.gather)?;
                    at += held as u32;
                    held = 0;
                }
            }
        }
        let filled = align_up(held as u32, unit as u32) as usize;
        if let Some(padding) = self.gather.get_mut(held..filled) {
            padding.fill(0);
        }
        match self.gather.get(..filled) {
            Some(last) => put(&mut self.device, self.geometry.segment(), at, last),
            None => Ok(()),
        }
    }

    /// Programs `from..to` of a segment as it reads, so that the next sync covers it. Headers are left alone: no frame
    /// is written before the create of its segment was synced.
    fn program_again(&mut self, id: SegmentId, from: u32, to: u32) -> Result<(), FlatError<D::Error>> {
        let start = self.start_of(self.find(id)?);
        let unit = self.geometry.segment().write_unit();
        let end = align_up(to, unit).min(self.geometry.segment().segment_len());
        let mut at = (from & !(unit - 1)).max(self.geometry.frames_start());
        while at < end {
            let step = (self.gather.len() as u32).min(end - at);
            let bytes = self.gather.get_mut(..step as usize).unwrap_or_default();
            self.device.read(start + at, bytes)?;
            self.device.program(start + at, bytes)?;
            at += step;
        }
        Ok(())
    }

    /// Writes zeros where there is no erase; all of `at..at + len`, both multiples of the write unit.
    fn zero(&mut self, mut at: u32, len: u32) -> Result<(), D::Error> {
        let end = at + len;
        self.gather.fill(0);
        while at < end {
            let step = (self.gather.len() as u32).min(end - at);
            self.device
                .program(at, self.gather.get(..step as usize).unwrap_or_default())?;
            at += step;
        }
        Ok(())
    }

    /// Makes a slot free, whatever it holds. It counts as unreadable until that is done.
    fn wipe(&mut self, index: u32) -> Result<(), FlatError<D::Error>> {
        self.set(index, State::Unreadable);
        if self.geometry.has_erase() {
            self.device.erase(self.start_of(index), self.geometry.slot_len())?;
        } else {
            let len = self.geometry.copy_len();
            for copy in [Copy::First, Copy::Second] {
                self.zero(self.copy_at(index, copy), len)?;
            }
        }
        self.sync_device()?;
        self.set(index, State::Erased);
        Ok(())
    }

    fn sync_device(&mut self) -> Result<(), FlatError<D::Error>> {
        if self.sync_failed {
            return Err(FlatError::SyncFailed);
        }
        self.device.sync().map_err(|error| {
            self.sync_failed = true;
            FlatError::Device(error)
        })
    }

    fn wipe_all(&mut self) -> Result<(), D::Error> {
        for index in 0..self.geometry.slot_count() {
            let (start, len) = (self.start_of(index), self.geometry.slot_len());
            if self.geometry.has_erase() {
                self.device.erase(start, len)?;
            } else {
                self.zero(start, len)?;
            }
            self.set(index, State::Erased);
        }
        self.device.sync()
    }

    /// The next free slot in turn.
    fn free_slot(&self) -> Option<u32> {
        let count = self.geometry.slot_count();
        let free = |&index: &u32| matches!(self.state(index), State::Erased | State::Free);
        (self.cursor..count).chain(0..self.cursor.min(count)).find(free)
    }
}

/// Programs whole units. Those that would only hold what an erase leaves are left alone, so that no unit reads as erased
/// that was programmed: recovery tells by that where it may write.
fn put<D: Device>(device: &mut D, geometry: Geometry, mut at: u32, mut bytes: &[u8]) -> Result<(), D::Error> {
    let Some(erased) = geometry.erased() else {
        return device.program(at, bytes);
    };
    // The compiler cannot know that no unit is empty.
    let unit = (geometry.write_unit() as usize).max(1);
    let is_blank = |unit: &[u8]| unit.iter().all(|&byte| byte == erased);
    while let Some(first) = bytes.get(..unit) {
        let blank = is_blank(first);
        let run = bytes.chunks(unit).take_while(|unit| is_blank(unit) == blank).count() * unit;
        let Some((run, behind)) = bytes.split_at_checked(run) else {
            break;
        };
        if !blank {
            device.program(at, run)?;
        }
        at += run.len() as u32;
        bytes = behind;
    }
    Ok(())
}

impl<D: Device> Storage for FlatStorage<'_, D> {
    type Error = FlatError<D::Error>;

    fn geometry(&self) -> Geometry {
        self.geometry.segment()
    }

    fn segments(&mut self, visit: &mut dyn FnMut(Found) -> ControlFlow<()>) -> Result<(), Self::Error> {
        for (slot, index) in self.slots.iter().zip(0..) {
            let found = match slot.state {
                State::First(id) | State::Second(id) => Found::Segment(id),
                State::Unreadable => Found::Unreadable { slot: index },
                State::Erased | State::Free => continue,
            };
            if visit(found).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn create(&mut self, id: SegmentId, header: &[u8]) -> Result<(), Self::Error> {
        if self.find(id).is_ok() {
            return Err(FlatError::Exists { segment: id });
        }
        let index = self.free_slot().ok_or(FlatError::Full)?;
        if self.geometry.has_erase() {
            if self.state(index) == State::Free {
                self.wipe(index)?;
            }
        } else {
            // The manifest of an earlier life, should the salt be the same.
            let start = self.start_of(index) + self.geometry.frames_start();
            self.zero(start, align_up(FRAME_HEADER_LEN, self.geometry().write_unit()))?;
        }
        self.cursor = index + 1;
        self.set(index, State::Unreadable);
        self.program(self.copy_at(index, Copy::Second), &[header])?;
        self.program(self.copy_at(index, Copy::First), &[header])?;
        self.sync_device()?;
        self.set(index, State::First(id));
        Ok(())
    }

    fn claim(&mut self, id: SegmentId, end: u32) -> Result<(), Self::Error> {
        self.locate(id, end, 0).map(drop)
    }

    fn extent(&mut self, id: SegmentId) -> Result<u32, Self::Error> {
        // Programmed cells can hold the erased value, so the device cannot tell.
        self.find(id)?;
        Ok(self.geometry().segment_len())
    }

    fn read<'a>(
        &'a mut self,
        id: SegmentId,
        offset: u32,
        len: u32,
        buf: &'a mut [u8],
    ) -> Result<&'a [u8], Self::Error> {
        let index = self.locate(id, offset, len)?;
        let len = buf.len().min(len as usize);
        let bytes = buf.get_mut(..len).unwrap_or_default();
        // Only the header has a second copy.
        let in_header = (HEADER_LEN as u32).saturating_sub(offset) as usize;
        let from_second = match self.state(index) {
            State::Second(_) => in_header.min(len),
            _ => 0,
        };
        if let Some((copied, rest)) = bytes.split_at_mut_checked(from_second) {
            if !copied.is_empty() {
                self.device.read(self.copy_at(index, Copy::Second) + offset, copied)?;
            }
            if !rest.is_empty() {
                let at = self.start_of(index) + offset + from_second as u32;
                self.device.read(at, rest)?;
            }
        }
        Ok(bytes)
    }

    fn write(&mut self, id: SegmentId, offset: u32, parts: &[&[u8]]) -> Result<(), Self::Error> {
        let len = parts.iter().try_fold(0usize, |sum, part| sum.checked_add(part.len()));
        let len = len.and_then(|len| u32::try_from(len).ok()).unwrap_or(u32::MAX);
        let index = self.locate(id, offset, len)?;
        if offset & (self.geometry().write_unit() - 1) != 0 {
            return Err(FlatError::Unaligned { offset });
        }
        self.program(self.start_of(index) + offset, parts)?;
        Ok(())
    }

    fn hand_over(&mut self, to: Mark) -> Result<(), Self::Error> {
        self.locate(to.segment, to.end, 0).map(drop)
    }

    fn sync(&mut self, to: Mark) -> Result<(), Self::Error> {
        self.locate(to.segment, to.end, 0)?;
        self.sync_device()
    }

    fn settle(&mut self, id: SegmentId, from: u32, to: u32) -> Result<(), Self::Error> {
        self.locate(id, to, 0)?;
        if self.device.may_forget() {
            self.program_again(id, from, to)?;
        }
        self.sync(Mark { segment: id, end: to })
    }

    fn remove(&mut self, id: SegmentId) -> Result<(), Self::Error> {
        let index = self.find(id)?;
        self.wipe(index)
    }

    fn release(&mut self, slot: u32) -> Result<(), Self::Error> {
        match self.slots.get(slot as usize) {
            Some(found) if found.state == State::Unreadable => self.wipe(slot),
            _ => Err(FlatError::NoSlot { slot }),
        }
    }
}

/// The first segment header that stands on a device, wherever its slots start: what a copy of a device of which nothing
/// is known is to be opened with. Looks at each erase block once, or at each unit where there is no erase.
///
/// # Errors
/// Those of the device. What cannot be read is passed over.
pub fn find_header<D: Device>(device: &mut D) -> Result<Option<Header>, D::Error> {
    let geometry = device.geometry();
    let step = geometry.slot_step();
    let mut at = 0u32;
    while let Some(end) = at.checked_add(HEADER_LEN as u32).filter(|&end| end <= geometry.len()) {
        let mut bytes = [0; HEADER_LEN];
        let (magic, rest) = bytes.split_at_mut(MAGIC.len());
        let read = match device.read(at, magic) {
            Ok(()) if *magic == MAGIC => device.read(end - rest.len() as u32, rest),
            other => other,
        };
        match read {
            Ok(()) => {
                if let Ok(header) = Header::decode(&bytes, Checksum::BITWISE) {
                    return Ok(Some(header));
                }
            }
            Err(error) if error.fault() == Fault::Unreadable => {}
            Err(error) => return Err(error),
        }
        at = match at.checked_add(step) {
            Some(next) => next,
            None => break,
        };
    }
    Ok(None)
}
