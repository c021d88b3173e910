//! The segments of one region as files in its directory, written through shared maps.

use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use walstone_core::{Found, SharedStorage, Storage};
use walstone_core::{Geometry, Mark, SegmentId};

use super::error::{Cause, Doing, FileError};
use super::ground::{Ground, RegionDir};
use super::names::{self, InRegion};
use super::segment::{Known, SegmentFile};
use super::table::SegmentTable;
use crate::seam::{AppendGate, AppendRight, FILL_LEN, File, Pin};

/// A handle on the segments of one region.
///
/// Clones are handles on the same segments, and so is every storage that the root hands out for this region
/// while one of them lives. The first handle that reads, settles or writes through [`Storage`] becomes the one
/// that appends until it is dropped. To the others `settle` and `write` answer [`Cause::NotAppender`], and `read`
/// copies what may still be written, where the buffer has room, and lends the rest. What is lent to them, or
/// pinned by anybody, is never written again.
///
/// A map store survives the death of the process, so there is nothing to hand over. A page that the device
/// cannot read raises `SIGBUS` when a lent slice is read, as does a file that somebody shortens meanwhile.
pub struct MapStorage {
    region: Arc<RegionFiles>,
    right: Option<AppendRight>,
    /// The segment met last, so that appends need not look it up.
    current: Option<Arc<SegmentFile>>,
    /// What the last slice was read from, for a handle that does not append.
    reading: Option<Pin>,
    /// The unreadable slots of the last listing.
    slots: Vec<Option<PathBuf>>,
    foreign: Vec<PathBuf>,
}

/// What a region directory holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegionListing {
    /// Names of segments, in order.
    pub segments: Vec<SegmentId>,
    /// Interrupted creates.
    pub leftovers: Vec<PathBuf>,
    /// What is not of the log, and left alone.
    pub foreign: Vec<PathBuf>,
}

/// What all handles on one region share.
#[derive(Debug)]
pub(crate) struct RegionFiles {
    ground: Arc<Ground>,
    dir: Arc<RegionDir>,
    geometry: Geometry,
    gate: AppendGate,
    table: Mutex<SegmentTable>,
    /// Names that are listed are durable.
    dir_synced: AtomicBool,
    removed: AtomicBool,
}

impl RegionFiles {
    pub(crate) fn new(ground: Arc<Ground>, dir: PathBuf, geometry: Geometry) -> Self {
        Self {
            ground,
            dir: Arc::new(RegionDir::new(dir)),
            geometry,
            gate: AppendGate::default(),
            table: Mutex::default(),
            dir_synced: AtomicBool::new(false),
            removed: AtomicBool::new(false),
        }
    }

    pub(crate) fn geometry(&self) -> Geometry {
        self.geometry
    }

    pub(crate) fn moved_to(&self, dir: PathBuf) {
        self.dir.moved_to(dir);
    }

    /// The directory is removed: nothing can be opened any more.
    pub(crate) fn removed(&self) {
        self.removed.store(true, Ordering::Release);
        let in_use = self.table().remove_all();
        for segment in in_use {
            segment.removed(&self.ground);
        }
    }

    fn table(&self) -> MutexGuard<'_, SegmentTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_writable(&self, doing: Doing) -> Result<(), FileError> {
        self.ground
            .check_writable()
            .map_err(|cause| FileError::new(doing, &*self.dir.path(), cause))
    }

    fn segment(&self, id: SegmentId) -> Result<Arc<SegmentFile>, FileError> {
        let mut table = self.table();
        if self.removed.load(Ordering::Acquire) {
            return Err(FileError::new(Doing::Open, &*self.dir.path(), Cause::Removed));
        }
        Ok(table.meet(id, |known| self.new_segment(id, known)))
    }

    fn new_segment(&self, id: SegmentId, known: Known) -> SegmentFile {
        let dir = Arc::clone(&self.dir);
        SegmentFile::new(id, dir, self.geometry.segment_len(), known, self.gate.clone())
    }

    fn pin(&self, segment: &Arc<SegmentFile>, from: u32, to: u64) -> Result<Pin, FileError> {
        segment.pin(&self.ground, from, to)
    }
}

impl MapStorage {
    pub(crate) fn new(region: Arc<RegionFiles>) -> Self {
        Self {
            region,
            right: None,
            current: None,
            reading: None,
            slots: Vec::new(),
            foreign: Vec::new(),
        }
    }

    /// The directory of the region.
    #[must_use]
    pub fn dir(&self) -> Arc<Path> {
        self.region.dir.path()
    }

    /// What the last listing of this handle met that is not of the log.
    #[must_use]
    pub fn foreign(&self) -> &[PathBuf] {
        &self.foreign
    }

    /// Whether this process is a fork of the one that opened the root. Costs one load.
    #[must_use]
    pub fn is_forked(&self) -> bool {
        self.region.ground.is_forked()
    }

    /// Whether the root may be changed through this handle. Costs two loads.
    #[cfg(all(feature = "linux", target_os = "linux"))]
    #[inline]
    pub(crate) fn check_writable(&self, doing: Doing) -> Result<(), FileError> {
        self.region.check_writable(doing)
    }

    /// Where calls pass an observer.
    #[cfg(all(feature = "linux", target_os = "linux"))]
    pub(crate) fn seam(&self) -> &crate::seam::Seam {
        &self.region.ground.seam
    }

    /// Whether the root was opened for reading only.
    #[cfg(all(feature = "linux", target_os = "linux"))]
    pub(crate) fn is_read_only(&self) -> bool {
        self.region.ground.lock.is_none()
    }

    /// Whether nothing is written any more: the log knows of all that fails.
    #[cfg(not(all(feature = "linux", target_os = "linux")))]
    #[expect(clippy::unused_self, reason = "as the other way of writing has it")]
    pub(crate) const fn is_broken(&self) -> bool {
        false
    }

    /// How far what was appended up to `end` can be read: stores are seen at once.
    #[cfg(not(all(feature = "linux", target_os = "linux")))]
    #[expect(clippy::unused_self, reason = "as the other way of writing has it")]
    pub(crate) const fn held_end(&self, _id: SegmentId, end: u32) -> u32 {
        end
    }

    /// [`Storage::hand_over`] beside the handle that appends: stores need none.
    #[cfg(not(all(feature = "linux", target_os = "linux")))]
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "as the other way of writing has it"
    )]
    #[inline]
    pub(crate) fn hand_over_beside(&self, _to: Mark) -> Result<(), FileError> {
        Ok(())
    }

    /// Whether this is the handle that appends; it becomes that now if no other handle is.
    pub fn appends(&mut self) -> bool {
        if self.right.is_none() {
            self.right = self.region.gate.take();
        }
        self.right.is_some()
    }

    /// Leaves appending to another handle: to the one that opens a poisoned region anew.
    pub fn stop_appending(&mut self) {
        self.right = None;
    }

    /// Lets go of the map that was read last, which else stays until something is read elsewhere or changed,
    /// whatever the cache limit says. For a region that will be idle.
    #[inline]
    pub fn end_reading(&mut self) {
        self.reading = None;
        if let Some(right) = &mut self.right {
            right.end_reading();
        }
    }

    /// The start of whatever changes something. What was read last need not stay mapped any more: else the
    /// blocks of a removed segment would not be free yet.
    #[inline]
    fn changing(&mut self, doing: Doing) -> Result<(), FileError> {
        self.end_reading();
        self.region.check_writable(doing)
    }

    /// The segment and the right to change it.
    fn appending(
        &mut self,
        doing: Doing,
        id: SegmentId,
    ) -> Result<(&Arc<SegmentFile>, &Ground, &mut AppendRight), FileError> {
        self.changing(doing)?;
        self.appends();
        let segment = met(&mut self.current, &self.region, id)?;
        let right = self.right.as_mut();
        let right = right.ok_or_else(|| segment.error(doing, Cause::NotAppender))?;
        Ok((segment, &self.region.ground, right))
    }

    /// As [`Storage::claim`], and no more than was asked for. `unsynced`: so many bytes are likely to be appended between
    /// two syncs. The more, the longer the pieces in which space is filled: that costs less, but each page of a piece goes
    /// to the device with the others.
    ///
    /// # Errors
    /// As [`Storage::claim`].
    pub fn claim_ahead(&mut self, to: Mark, unsynced: u32) -> Result<(), FileError> {
        self.changing(Doing::Claim)?;
        met(&mut self.current, &self.region, to.segment)?.claim_ahead(&self.region.ground, to.end, unsynced)
    }

    /// Asks the system to start writing to the device what was stored before this mark. Promises nothing: a sync
    /// that comes later has less to wait for.
    pub fn start_write_back(&mut self, to: Mark) {
        if self.changing(Doing::Sync).is_ok()
            && let Ok(segment) = met(&mut self.current, &self.region, to.segment)
        {
            segment.start_write_back(&self.region.ground, to.end);
        }
    }

    /// Makes a file under a temporary name and gives it its final one.
    fn create_file(&self, dir: &Path, id: SegmentId, header: &[u8]) -> Result<u32, FileError> {
        let seam = &self.region.ground.seam;
        let len = self.region.geometry.segment_len();
        let path = dir.join(names::segment(id));
        let io = |error| FileError::io(Doing::Create, &path, error);

        let mut page = [0; FILL_LEN as usize];
        let page = page.get_mut(..FILL_LEN.min(len) as usize).unwrap_or_default();
        let Some(start) = page.get_mut(..header.len()) else {
            let end = header.len() as u64;
            return Err(FileError::new(
                Doing::Create,
                &path,
                Cause::Behind { end, segment_len: len },
            ));
        };
        start.copy_from_slice(header);
        // A rename would replace it.
        if seam.exists(&path).map_err(io)? {
            return Err(FileError::new(Doing::Create, &path, Cause::Exists));
        }

        let (file, temporary) = self.create_temporary(dir, id).map_err(io)?;
        let whole = seam
            .set_len(&file, u64::from(len))
            .and_then(|()| seam.write_at(&file, 0, page))
            .and_then(|()| seam.sync_file(&file))
            .and_then(|()| seam.rename(&temporary, &path));
        if let Err(error) = whole {
            // Where even this fails the next listing meets it.
            let _ = seam.unlink(&temporary);
            return Err(io(error));
        }
        if let Err(error) = seam.sync_dir(dir) {
            let _ = seam.unlink(&path);
            return Err(io(error));
        }
        Ok(page.len() as u32)
    }

    /// Leftovers of an earlier life are never used again, so their names are stepped past.
    fn create_temporary(&self, dir: &Path, id: SegmentId) -> io::Result<(File, PathBuf)> {
        let mut attempt = 0;
        loop {
            let path = dir.join(names::temporary(id, attempt));
            match self.region.ground.seam.create(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < MAX_ATTEMPTS => attempt += 1,
                result => return result.map(|file| (file, path)),
            }
        }
    }
}

/// A segment, by way of the one met last.
#[inline]
fn met<'a>(
    current: &'a mut Option<Arc<SegmentFile>>,
    region: &RegionFiles,
    id: SegmentId,
) -> Result<&'a Arc<SegmentFile>, FileError> {
    let segment = match current.take() {
        Some(last) if last.id() == id && !last.is_gone() => last,
        _ => region.segment(id)?,
    };
    Ok(current.insert(segment))
}

/// Names that a create tries, should leftovers have taken the first ones.
const MAX_ATTEMPTS: u32 = 64;

/// Lists a region directory.
pub(crate) fn list_region(ground: &Ground, dir: &Path) -> Result<RegionListing, FileError> {
    let entries = ground
        .seam
        .list_dir(dir)
        .map_err(|error| FileError::io(Doing::List, dir, error))?;
    let mut listing = RegionListing::default();
    let mut misspelled = Vec::new();
    for entry in entries {
        let path = dir.join(&entry.name);
        match names::in_region(&entry.name, entry.is_dir) {
            InRegion::Segment(id) => listing.segments.push(id),
            InRegion::Misspelled(id) => misspelled.push((id, path)),
            InRegion::Leftover => listing.leftovers.push(path),
            InRegion::Foreign => listing.foreign.push(path),
        }
    }
    listing.segments.sort_unstable();
    misspelled.sort_unstable();
    let mut last: Option<(SegmentId, PathBuf)> = None;
    for (id, path) in misspelled {
        let other = match last {
            _ if listing.segments.binary_search(&id).is_ok() => Some(dir.join(names::segment(id))),
            Some((earlier, other)) if earlier == id => Some(other),
            _ => None,
        };
        if let Some(other) = other {
            return Err(FileError::new(
                Doing::List,
                path,
                Cause::TwoNames { number: id.0, other },
            ));
        }
        listing.foreign.push(path.clone());
        last = Some((id, path));
    }
    listing.leftovers.sort_unstable();
    listing.foreign.sort_unstable();
    Ok(listing)
}

impl Storage for MapStorage {
    type Error = FileError;

    fn geometry(&self) -> Geometry {
        self.region.geometry
    }

    fn segments(&mut self, visit: &mut dyn FnMut(Found) -> ControlFlow<()>) -> Result<(), FileError> {
        let dir = self.dir();
        let ground = &self.region.ground;
        // A name that an earlier life did not make durable may vanish after something was built on it.
        if ground.check_writable().is_ok() && !self.region.dir_synced.load(Ordering::Acquire) {
            ground
                .seam
                .sync_dir(&dir)
                .map_err(|error| FileError::io(Doing::List, &*dir, error))?;
            self.region.dir_synced.store(true, Ordering::Release);
        }
        let listing = list_region(ground, &dir)?;
        self.foreign = listing.foreign;
        self.slots = listing.leftovers.into_iter().map(Some).collect();
        for id in listing.segments {
            if visit(Found::Segment(id)).is_break() {
                return Ok(());
            }
        }
        for slot in 0..self.slots.len() {
            if visit(Found::Unreadable { slot: slot as u32 }).is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn create(&mut self, id: SegmentId, header: &[u8]) -> Result<(), FileError> {
        self.changing(Doing::Create)?;
        let dir = self.dir();
        if self.region.removed.load(Ordering::Acquire) {
            return Err(FileError::new(Doing::Create, &*dir, Cause::Removed));
        }
        let claimed = self.create_file(&dir, id, header)?;
        let known = Known {
            claimed,
            ..Known::default()
        };
        let segment = Arc::new(self.region.new_segment(id, known));
        self.region.table().made(segment);
        self.current = self.current.take().filter(|current| current.id() != id);
        Ok(())
    }

    fn claim(&mut self, id: SegmentId, end: u32) -> Result<(), FileError> {
        self.changing(Doing::Claim)?;
        met(&mut self.current, &self.region, id)?.claim(&self.region.ground, end)
    }

    fn extent(&mut self, id: SegmentId) -> Result<u32, FileError> {
        met(&mut self.current, &self.region, id)?.extent(&self.region.ground)
    }

    fn read<'a>(&'a mut self, id: SegmentId, offset: u32, len: u32, buf: &'a mut [u8]) -> Result<&'a [u8], FileError> {
        let to = u64::from(offset) + u64::from(len);
        self.appends();
        let segment = met(&mut self.current, &self.region, id)?;
        let ground = &self.region.ground;
        if let Some(right) = &mut self.right {
            return segment.read(ground, right, offset, to);
        }
        if let Some(copied) = segment.copy(ground, offset, to, buf)? {
            return Ok(copied);
        }
        Ok(self.reading.insert(self.region.pin(segment, offset, to)?))
    }

    /// Write units are single bytes, so there is never one to fill up.
    fn write(&mut self, id: SegmentId, offset: u32, parts: &[&[u8]]) -> Result<(), FileError> {
        let (segment, ground, right) = self.appending(Doing::Write, id)?;
        segment.write(ground, right, offset, parts)
    }

    /// Stores into a shared map are in the page cache already, which the process does not take with it.
    fn hand_over(&mut self, to: Mark) -> Result<(), FileError> {
        let _ = to;
        self.changing(Doing::Write)
    }

    fn sync(&mut self, to: Mark) -> Result<(), FileError> {
        self.changing(Doing::Sync)?;
        met(&mut self.current, &self.region, to.segment)?.sync(&self.region.ground, Doing::Sync)
    }

    fn settle(&mut self, id: SegmentId, from: u32, to: u32) -> Result<(), FileError> {
        let (segment, ground, _right) = self.appending(Doing::Settle, id)?;
        segment.settle(ground, from, to)
    }

    fn remove(&mut self, id: SegmentId) -> Result<(), FileError> {
        self.changing(Doing::Remove)?;
        let segment = self.region.segment(id)?;
        let path = segment.path();
        let io = |error| FileError::io(Doing::Remove, &path, error);
        let seam = &self.region.ground.seam;
        segment.remove(&self.region.ground, || match seam.unlink(&path) {
            // An earlier try got as far as this.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        })?;
        self.region.table().remove(id);
        self.current = None;
        seam.sync_dir(&self.dir()).map_err(io)
    }

    fn release(&mut self, slot: u32) -> Result<(), FileError> {
        self.changing(Doing::Remove)?;
        let dir = self.dir();
        let seam = &self.region.ground.seam;
        let known = self.slots.get_mut(slot as usize).filter(|path| path.is_some());
        let Some(place) = known else {
            return Err(FileError::new(Doing::Remove, &*dir, Cause::Slot { slot }));
        };
        let path = place.clone().unwrap_or_default();
        let io = |error| FileError::io(Doing::Remove, &path, error);
        match seam.unlink(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => result.map_err(io)?,
        }
        seam.sync_dir(&dir).map_err(io)?;
        *place = None;
        Ok(())
    }
}

impl SharedStorage for MapStorage {
    type Pin = Pin;

    fn pin(&self, id: SegmentId, from: u32, to: u32) -> Result<Pin, FileError> {
        self.region.pin(&self.region.segment(id)?, from, u64::from(to))
    }
}

impl Clone for MapStorage {
    /// Another handle, which does not append and knows no slots.
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.region))
    }
}

impl fmt::Debug for MapStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapStorage")
            .field("dir", &self.dir())
            .field("appends", &self.right.is_some())
            .finish_non_exhaustive()
    }
}
