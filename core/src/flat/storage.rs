//! A device cut into slots, as a storage of segments: which slot holds what, and how it changes hands.

use core::ops::ControlFlow;

use super::{Device, Storage, twin};
use crate::checksum::Checksum;
use crate::fault::{Fault, Found, StorageError};
use crate::flat::slots::{Held, State};
use crate::flat::{FlatCapacity, FlatError, FlatGeometry, OpenError, Slot};
use crate::geometry::{Geometry, Mark, SegmentId};
use crate::segment::header::{HEADER_LEN, Header, MAGIC};
use crate::segment::layout::{FRAME_HEADER_LEN, align_up};

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

#[twin(AFIT)]
impl<'r, D: Device> FlatStorage<'r, D> {
    /// Reads both header copies of every slot of `slot_len` bytes. Changes nothing. A device that is lent (`&mut`) is not lost
    /// where this fails.
    ///
    /// # Errors
    /// [`OpenError::Geometry`]; [`OpenError::Room`]; [`OpenError::Device`]; [`OpenError::Mismatch`] where the device
    /// holds segments that were made with another geometry; [`OpenError::Shifted`] where none of them stands in a slot.
    #[cfg_attr(not(feature = "alloc"), inline(never))]
    pub async fn open(device: D, slot_len: u32, room: FlatCapacity<'r>) -> Result<Self, OpenError<D::Error>> {
        let mut storage = Self::with_room(device, slot_len, room)?;
        let given = storage.geometry.segment();
        let in_slots = storage.read_slots().await.map_err(OpenError::Device)?;
        match in_slots {
            Some((stored, _)) if stored != given => return Err(OpenError::Mismatch { stored, given }),
            Some((_, true)) => return Ok(storage),
            // Cut at other places, a full device may look blank; and where it begins a header copy further, each slot shows
            // one copy of the segment beside it.
            _ => {}
        }
        let geometry = storage.geometry;
        let beside = |at, header: &Header| {
            let is_other = in_slots.is_none() || header.geometry == given;
            !geometry.is_header_at(at) && is_other
        };
        match search(&mut storage.device, beside).await.map_err(OpenError::Device)? {
            Some(Header { geometry: stored, .. }) if stored != given => Err(OpenError::Mismatch { stored, given }),
            Some(_) => Err(OpenError::Shifted),
            None => Ok(storage),
        }
    }

    /// Wipes the whole device, whatever it holds, and opens it. Without this, what a device without erase held before
    /// can come back where salts come from no entropy ([`Options::seed`](crate::Options::seed)).
    ///
    /// Power loss: some of the old segments may be left; this may be tried again.
    ///
    /// # Errors
    /// As [`FlatStorage::open`], but for what the device holds.
    pub async fn format(device: D, slot_len: u32, room: FlatCapacity<'r>) -> Result<Self, OpenError<D::Error>> {
        let mut storage = Self::with_room(device, slot_len, room)?;
        storage.wipe_all().await.map_err(OpenError::Device)?;
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

    /// Finds out what each slot holds; the geometry of a segment among them, of one that differs if there is one, and
    /// whether any has both copies of its header.
    async fn read_slots(&mut self) -> Result<Option<(Geometry, bool)>, D::Error> {
        let given = self.geometry.segment();
        let (mut stored, mut paired) = (None, false);
        let mut highest = SegmentId(0);
        for index in 0..self.geometry.slot_count() {
            let (state, header) = self.look_at(index).await?;
            self.set(index, state);
            if let Some(header) = header {
                if !paired && matches!(state, State::First(_)) {
                    let second = self.copy_at(index, Copy::Second);
                    paired = header_at(&mut self.device, second).await? == Some(header);
                }
                if stored.is_none_or(|stored| stored == given) {
                    stored = Some(header.geometry);
                }
                if header.segment >= highest {
                    highest = header.segment;
                    self.cursor = index + 1;
                }
            }
        }
        Ok(stored.map(|stored| (stored, paired)))
    }

    async fn look_at(&mut self, index: u32) -> Result<(State, Option<Header>), D::Error> {
        let blank = self.geometry.segment().erased().unwrap_or(0);
        let mut all_blank = true;
        for copy in [Copy::First, Copy::Second] {
            let mut bytes = [0; HEADER_LEN];
            match self.device.read(self.copy_at(index, copy), &mut bytes).await {
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
    #[cfg_attr(not(feature = "alloc"), inline(never))]
    fn locate(&self, id: SegmentId, offset: u32, len: u32) -> Result<u32, FlatError<D::Error>> {
        let index = self.find(id)?;
        match offset.checked_add(len) {
            Some(end) if end <= self.geometry.segment().segment_len() => Ok(index),
            _ => Err(FlatError::OutOfBounds { offset, len }),
        }
    }

    /// Programs parts one behind the other from `at` on, in whole units, the last one filled up with zeros.
    async fn program(&mut self, mut at: u32, parts: &[&[u8]]) -> Result<(), D::Error> {
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
                    put(&mut self.device, self.geometry.segment(), at, whole).await?;
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
                    put(&mut self.device, self.geometry.segment(), at, &self.gather).await?;
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
            Some(last) if filled > 0 => put(&mut self.device, self.geometry.segment(), at, last).await,
            _ => Ok(()),
        }
    }

    /// Programs `from..to` of a segment as it reads, so that the next sync covers it. Headers are left alone: no frame
    /// is written before the create of its segment was synced.
    async fn program_again(&mut self, id: SegmentId, from: u32, to: u32) -> Result<(), FlatError<D::Error>> {
        let start = self.start_of(self.find(id)?);
        let unit = self.geometry.segment().write_unit();
        let end = align_up(to, unit).min(self.geometry.segment().segment_len());
        let mut at = (from & !(unit - 1)).max(self.geometry.frames_start());
        while at < end {
            let step = (self.gather.len() as u32).min(end - at);
            let bytes = self.gather.get_mut(..step as usize).unwrap_or_default();
            self.device.read(start + at, bytes).await?;
            self.device.program(start + at, bytes).await?;
            at += step;
        }
        Ok(())
    }

    /// Writes zeros where there is no erase; all of `at..at + len`, both multiples of the write unit.
    async fn zero(&mut self, mut at: u32, len: u32) -> Result<(), D::Error> {
        let end = at + len;
        self.gather.fill(0);
        while at < end {
            let step = (self.gather.len() as u32).min(end - at);
            self.device
                .program(at, self.gather.get(..step as usize).unwrap_or_default())
                .await?;
            at += step;
        }
        Ok(())
    }

    /// Makes a slot free, whatever it holds. It counts as unreadable until that is done.
    async fn wipe(&mut self, index: u32) -> Result<(), FlatError<D::Error>> {
        self.set(index, State::Unreadable);
        self.clear(index).await?;
        self.sync_device().await?;
        self.set(index, State::Erased);
        Ok(())
    }

    /// Leaves neither copy of a header in a slot.
    async fn clear(&mut self, index: u32) -> Result<(), D::Error> {
        if self.geometry.has_erase() {
            let start = self.start_of(index);
            return self.device.erase(start, self.geometry.slot_len()).await;
        }
        for copy in [Copy::First, Copy::Second] {
            self.zero(self.copy_at(index, copy), self.geometry.copy_len()).await?;
        }
        Ok(())
    }

    /// Makes sure of the free slots of a device that may forget. What an earlier process cleared may show in its cache alone:
    /// the segment would come back beside the one that is to be created, which may have its id.
    async fn clear_free(&mut self) -> Result<(), FlatError<D::Error>> {
        let is_free = |slot: &&mut Slot| slot.state == State::Free;
        if !self.device.may_forget() || !self.slots.iter_mut().any(|slot| is_free(&slot)) {
            return Ok(());
        }
        for index in 0..self.geometry.slot_count() {
            if self.state(index) == State::Free {
                self.clear(index).await?;
            }
        }
        self.sync_device().await?;
        for slot in self.slots.iter_mut().filter(is_free) {
            slot.state = State::Erased;
        }
        Ok(())
    }

    async fn sync_device(&mut self) -> Result<(), FlatError<D::Error>> {
        if self.sync_failed {
            return Err(FlatError::SyncFailed);
        }
        self.device.sync().await.map_err(|error| {
            self.sync_failed = true;
            FlatError::Device(error)
        })
    }

    async fn wipe_all(&mut self) -> Result<(), D::Error> {
        let device = self.device.geometry();
        let unit = device.erase_unit().unwrap_or(u32::from(device.write_unit()));
        // What the last slot leaves over may have been part of one of another length.
        let end = device.len() - device.len() % unit;
        let mut start = 0;
        while start < end {
            let len = self.geometry.slot_len().min(end - start);
            if self.geometry.has_erase() {
                self.device.erase(start, len).await?;
            } else {
                self.zero(start, len).await?;
            }
            start += len;
        }
        self.slots.iter_mut().for_each(|slot| slot.state = State::Erased);
        self.device.sync().await
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
#[twin(AFIT)]
async fn put<D: Device>(device: &mut D, geometry: Geometry, mut at: u32, mut bytes: &[u8]) -> Result<(), D::Error> {
    let Some(erased) = geometry.erased() else {
        return device.program(at, bytes).await;
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
            device.program(at, run).await?;
        }
        at += run.len() as u32;
        bytes = behind;
    }
    Ok(())
}

#[twin(AFIT)]
impl<D: Device> Storage for FlatStorage<'_, D> {
    type Error = FlatError<D::Error>;

    fn geometry(&self) -> Geometry {
        self.geometry.segment()
    }

    async fn segments(&mut self, visit: &mut dyn FnMut(Found) -> ControlFlow<()>) -> Result<(), Self::Error> {
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

    async fn create(&mut self, id: SegmentId, header: &[u8]) -> Result<(), Self::Error> {
        if self.find(id).is_ok() {
            return Err(FlatError::Exists { segment: id });
        }
        let index = self.free_slot().ok_or(FlatError::Full)?;
        self.clear_free().await?;
        if self.geometry.has_erase() {
            if self.state(index) == State::Free {
                self.wipe(index).await?;
            }
        } else {
            // The manifest of an earlier life, should the salt be the same.
            let start = self.start_of(index) + self.geometry.frames_start();
            self.zero(start, align_up(FRAME_HEADER_LEN, self.geometry().write_unit()))
                .await?;
        }
        self.cursor = index + 1;
        self.set(index, State::Unreadable);
        self.program(self.copy_at(index, Copy::Second), &[header]).await?;
        self.program(self.copy_at(index, Copy::First), &[header]).await?;
        self.sync_device().await?;
        self.set(index, State::First(id));
        Ok(())
    }

    async fn claim(&mut self, id: SegmentId, end: u32) -> Result<(), Self::Error> {
        self.locate(id, end, 0).map(drop)
    }

    async fn extent(&mut self, id: SegmentId) -> Result<u32, Self::Error> {
        // Programmed cells can hold the erased value, so the device cannot tell.
        self.find(id)?;
        Ok(self.geometry().segment_len())
    }

    async fn read<'a>(
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
                self.device
                    .read(self.copy_at(index, Copy::Second) + offset, copied)
                    .await?;
            }
            if !rest.is_empty() {
                let at = self.start_of(index) + offset + from_second as u32;
                self.device.read(at, rest).await?;
            }
        }
        Ok(bytes)
    }

    async fn write(&mut self, id: SegmentId, offset: u32, parts: &[&[u8]]) -> Result<(), Self::Error> {
        let len = parts.iter().try_fold(0usize, |sum, part| sum.checked_add(part.len()));
        let len = len.and_then(|len| u32::try_from(len).ok()).unwrap_or(u32::MAX);
        let index = self.locate(id, offset, len)?;
        if offset & (self.geometry().write_unit() - 1) != 0 {
            return Err(FlatError::Unaligned { offset });
        }
        self.program(self.start_of(index) + offset, parts).await?;
        Ok(())
    }

    async fn hand_over(&mut self, to: Mark) -> Result<(), Self::Error> {
        self.locate(to.segment, to.end, 0).map(drop)
    }

    async fn sync(&mut self, to: Mark) -> Result<(), Self::Error> {
        self.locate(to.segment, to.end, 0)?;
        self.sync_device().await
    }

    async fn settle(&mut self, id: SegmentId, from: u32, to: u32) -> Result<(), Self::Error> {
        self.locate(id, to, 0)?;
        if self.device.may_forget() {
            self.program_again(id, from, to).await?;
        }
        self.sync(Mark { segment: id, end: to }).await
    }

    async fn remove(&mut self, id: SegmentId) -> Result<(), Self::Error> {
        let index = self.find(id)?;
        self.wipe(index).await
    }

    async fn release(&mut self, slot: u32) -> Result<(), Self::Error> {
        match self.slots.get(slot as usize) {
            Some(found) if found.state == State::Unreadable => self.wipe(slot).await,
            _ => Err(FlatError::NoSlot { slot }),
        }
    }
}

/// The first segment header that stands on a device, wherever its slots start: what a copy of a device of which nothing
/// is known is to be opened with. Looks at each erase block once, or at each unit where there is no erase.
///
/// # Errors
/// Those of the device. What cannot be read is passed over.
#[twin(AFIT)]
pub async fn find_header<D: Device>(device: &mut D) -> Result<Option<Header>, D::Error> {
    search(device, |_, _| true).await
}

/// The first header that is accepted, of all that stand where a slot could start.
#[twin(AFIT)]
async fn search<D: Device>(device: &mut D, accept: impl Fn(u32, &Header) -> bool) -> Result<Option<Header>, D::Error> {
    let geometry = device.geometry();
    let step = geometry.slot_step();
    let mut at = 0u32;
    while at
        .checked_add(HEADER_LEN as u32)
        .is_some_and(|end| end <= geometry.len())
    {
        if let Some(header) = header_at(device, at).await?
            && accept(at, &header)
        {
            return Ok(Some(header));
        }
        at = match at.checked_add(step) {
            Some(next) => next,
            None => break,
        };
    }
    Ok(None)
}

/// The header at `at`, if one verifies there. Most places are told by their first bytes.
#[twin(AFIT)]
async fn header_at<D: Device>(device: &mut D, at: u32) -> Result<Option<Header>, D::Error> {
    let mut bytes = [0; HEADER_LEN];
    let (magic, rest) = bytes.split_at_mut(MAGIC.len());
    let read = match device.read(at, magic).await {
        Ok(()) if *magic == MAGIC => device.read(at + MAGIC.len() as u32, rest).await,
        other => other,
    };
    match read {
        Ok(()) => Ok(Header::decode(&bytes, Checksum::BITWISE).ok()),
        Err(error) if error.fault() == Fault::Unreadable => Ok(None),
        Err(error) => Err(error),
    }
}
