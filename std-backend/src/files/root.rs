//! A root: its lock, its region directories, and what its regions share.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use walstone_core::segment::header::MAGIC;
use walstone_core::{Geometry, SegmentId};

use super::cache::Cache;
use super::error::{Cause, Doing, FileError};
use super::ground::Ground;
use super::lock::RootLock;
use super::names::{self, InRegion, InRoot};
use super::storage::{MapStorage, RegionFiles, RegionListing, list_region};
use crate::seam::{ForkMark, Seam};

/// An open root. Clones are the same one; the lock goes with the last of them and of its storages.
#[derive(Clone, Debug)]
pub struct Root {
    path: Arc<Path>,
    ground: Arc<Ground>,
    /// Regions that somebody has a handle on: a second storage of a region must share what the first knows.
    regions: Arc<Mutex<BTreeMap<u64, Weak<RegionFiles>>>>,
}

/// What a root holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RootListing {
    /// Numbers of regions, in order.
    pub regions: Vec<u64>,
    /// Regions whose making or removal was interrupted, by the number they had.
    pub leftovers: Vec<u64>,
    /// What is not of the log, and left alone.
    pub foreign: Vec<PathBuf>,
}

impl Root {
    /// Opens a root for writing, and makes its directory where it is missing. Syncs the directory above, which holds the
    /// root's name, takes the lock, then syncs the directory, so that a listing can be relied on. At most
    /// `max_open_segments` segments (at least one) are kept open beside those that hold bytes not known durable.
    ///
    /// # Errors
    /// [`Cause::Locked`]; [`Cause::Io`].
    pub fn open(seam: Seam, path: &Path, max_open_segments: usize) -> Result<Self, FileError> {
        make_dir_all(&seam, path)?;
        let lock = RootLock::acquire(&seam, path)?;
        seam.sync_dir(path)
            .map_err(|error| FileError::io(Doing::Sync, path, error))?;
        Ok(Self::new(seam, path, Some(lock), max_open_segments))
    }

    /// Opens a root for reading: takes no lock, makes nothing, changes no byte.
    ///
    /// A writer may be at work meanwhile, here or in another process. Bytes that it made known as written do
    /// not change any more; others may, while they are looked at.
    ///
    /// # Errors
    /// [`Cause::Io`] when it is not there.
    pub fn open_read_only(seam: Seam, path: &Path, max_open_segments: usize) -> Result<Self, FileError> {
        seam.list_dir(path)
            .map_err(|error| FileError::io(Doing::Open, path, error))?;
        Ok(Self::new(seam, path, None, max_open_segments))
    }

    fn new(seam: Seam, path: &Path, lock: Option<RootLock>, max_open_segments: usize) -> Self {
        let cache = Cache::new(max_open_segments);
        let process = lock.as_ref().map(|lock| Arc::clone(lock.process())).unwrap_or_default();
        let ground = Ground {
            seam,
            process,
            lock,
            cache,
        };
        Self {
            path: path.into(),
            ground: Arc::new(ground),
            regions: Arc::default(),
        }
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it was opened for reading only.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.ground.lock.is_none()
    }

    /// Whether this process opened it for writing, and is not a fork of the one that did. Costs one load.
    #[must_use]
    pub fn owned_by_this_process(&self) -> bool {
        self.ground.lock.as_ref().is_some_and(RootLock::owned_by_this_process)
    }

    /// Tells the process that opened the root from its forks.
    pub(crate) fn process(&self) -> &Arc<ForkMark> {
        &self.ground.process
    }

    /// Gives the lock up: nothing can be changed through this root any more, what it lent stays valid.
    pub fn unlock(&self) {
        if let Some(lock) = &self.ground.lock {
            lock.release();
        }
    }

    /// Segments that are open now and could be closed.
    #[must_use]
    pub fn cached_segment_count(&self) -> usize {
        self.ground.cache.len()
    }

    /// What the root holds.
    ///
    /// # Errors
    /// [`Cause::TwoNames`] where two directories claim one region; [`Cause::Io`], never a shorter list.
    pub fn list_regions(&self) -> Result<RootListing, FileError> {
        list_root(&self.ground.seam, &self.path)
    }

    /// What the directory of a region holds.
    ///
    /// # Errors
    /// [`Cause::TwoNames`] where two files claim one segment; [`Cause::Io`], never a shorter list.
    pub fn list_region(&self, region: u64) -> Result<RegionListing, FileError> {
        list_region(&self.ground, &self.region_path(region))
    }

    /// The first bytes of a segment file, as many as it has of `buf`, and the length of the file: the header
    /// says what geometry to open the region with.
    ///
    /// # Errors
    /// [`Cause::Io`].
    pub fn read_header<'a>(&self, region: u64, id: SegmentId, buf: &'a mut [u8]) -> Result<(&'a [u8], u64), FileError> {
        let path = self.region_path(region).join(names::segment(id));
        let io = |error| FileError::io(Doing::Read, &path, error);
        let seam = &self.ground.seam;
        let file = seam.open(&path, false).map_err(io)?;
        let read = seam.read_at(&file, 0, buf).map_err(io)?;
        let len = seam.len(&file).map_err(io)?;
        Ok((buf.get(..read).unwrap_or_default(), len))
    }

    /// The storage of a region that is there. Reads nothing yet.
    ///
    /// While another handle on the region lives the new one shares its segments, and must be opened with the
    /// same segment length.
    ///
    /// # Errors
    /// [`Cause::Io`] (not found) without such a region; [`Cause::Geometry`]; [`Cause::Length`].
    pub fn region(&self, region: u64, segment_len: u32) -> Result<MapStorage, FileError> {
        let path = self.region_path(region);
        let geometry = geometry(&path, segment_len)?;
        let found = self.ground.seam.exists(&path);
        match found {
            Ok(true) => {}
            Ok(false) => return Err(FileError::io(Doing::Open, path, io::ErrorKind::NotFound.into())),
            Err(error) => return Err(FileError::io(Doing::Open, path, error)),
        }
        let mut regions = self.regions();
        if let Some(shared) = regions.get(&region).and_then(Weak::upgrade) {
            if shared.geometry() != geometry {
                let cause = Cause::Length {
                    found: u64::from(shared.geometry().segment_len()),
                    expected: segment_len,
                };
                return Err(FileError::new(Doing::Open, path, cause));
            }
            return Ok(MapStorage::new(shared));
        }
        let files = Arc::new(RegionFiles::new(Arc::clone(&self.ground), path, geometry));
        regions.insert(region, Arc::downgrade(&files));
        Ok(MapStorage::new(files))
    }

    /// Makes a region: `prepare` gets its storage, still under a temporary name, and makes its first segment;
    /// then the region gets its final name. The storage goes on being valid under that name.
    ///
    /// Power loss: the region is there as `prepare` left it, or not at all.
    ///
    /// # Errors
    /// [`Cause::Exists`]; [`Cause::ReadOnly`], [`Cause::Forked`], [`Cause::Geometry`], [`Cause::Io`]; and what
    /// `prepare` returns. No region is there then.
    pub fn create_region_dir<T, E: From<FileError>>(
        &self,
        region: u64,
        segment_len: u32,
        prepare: impl FnOnce(MapStorage) -> Result<T, E>,
    ) -> Result<T, E> {
        let path = self.region_path(region);
        let io = |error| FileError::io(Doing::Create, &path, error);
        self.check_writable(Doing::Create, &path)?;
        let geometry = geometry(&path, segment_len)?;
        let seam = &self.ground.seam;
        if seam.exists(&path).map_err(io)? {
            return Err(FileError::new(Doing::Create, &path, Cause::Exists).into());
        }
        self.release_leftover(region)?;

        let temporary = self.path.join(names::temporary_region(region));
        seam.make_dir(&temporary).map_err(io)?;
        let files = RegionFiles::new(Arc::clone(&self.ground), temporary.clone(), geometry);
        let files = Arc::new(files);
        let prepared = prepare(MapStorage::new(Arc::clone(&files))).and_then(|prepared| {
            // All names in it are synced already unless `prepare` made none.
            seam.sync_dir(&temporary).map_err(io)?;
            seam.rename(&temporary, &path).map_err(io)?;
            Ok(prepared)
        });
        let named = prepared.and_then(|prepared| match seam.sync_dir(&self.path) {
            Ok(()) => Ok(prepared),
            Err(error) => {
                let _ = seam.rename(&path, &temporary);
                Err(io(error).into())
            }
        });
        match named {
            Ok(prepared) => {
                files.moved_to(path);
                self.regions().insert(region, Arc::downgrade(&files));
                Ok(prepared)
            }
            Err(error) => {
                files.removed();
                // Where even this fails it is listed as a leftover.
                let _ = self.clear_temporary(region);
                Err(error)
            }
        }
    }

    /// Removes a region and all in it. Handles on it answer [`Cause::Removed`] from then on; what they lent
    /// stays valid.
    ///
    /// Power loss: the region is whole, or a leftover, or gone.
    ///
    /// # Errors
    /// [`Cause::Foreign`] where its directory holds something that is not of the log, and nothing is changed;
    /// [`Cause::ReadOnly`], [`Cause::Forked`], [`Cause::Io`]: it may be any of the three.
    pub fn remove_region_dir(&self, region: u64) -> Result<(), FileError> {
        let path = self.region_path(region);
        let io = |error| FileError::io(Doing::Remove, &path, error);
        self.check_writable(Doing::Remove, &path)?;
        self.check_removable(region)?;
        self.release_leftover(region)?;
        let seam = &self.ground.seam;
        if !seam.exists(&path).map_err(io)? {
            // An earlier try got as far as this.
            return seam.sync_dir(&self.path).map_err(io);
        }
        seam.rename(&path, &self.path.join(names::temporary_region(region)))
            .map_err(io)?;
        if let Some(files) = self.regions().remove(&region).and_then(|files| files.upgrade()) {
            files.removed();
        }
        seam.sync_dir(&self.path).map_err(io)?;
        self.clear_temporary(region)?;
        seam.sync_dir(&self.path).map_err(io)
    }

    /// Whether [`Root::remove_region_dir`] would find nothing that is not of the log.
    ///
    /// # Errors
    /// [`Cause::Foreign`]; [`Cause::TwoNames`]; [`Cause::Io`].
    pub fn check_removable(&self, region: u64) -> Result<(), FileError> {
        let path = self.region_path(region);
        let io = |error| FileError::io(Doing::Remove, &path, error);
        if !self.ground.seam.exists(&path).map_err(io)? {
            return Ok(());
        }
        check_all_ours(&list_region(&self.ground, &path)?)
    }

    /// Removes what an interrupted making or removal of a region left behind; without one, nothing.
    ///
    /// # Errors
    /// [`Cause::Foreign`], [`Cause::ReadOnly`], [`Cause::Forked`], [`Cause::Io`]: it is still listed, perhaps
    /// with less in it.
    pub fn release_leftover(&self, region: u64) -> Result<(), FileError> {
        let path = self.path.join(names::temporary_region(region));
        let io = |error| FileError::io(Doing::Remove, &path, error);
        self.check_writable(Doing::Remove, &path)?;
        if !self.ground.seam.exists(&path).map_err(io)? {
            return Ok(());
        }
        self.clear_temporary(region)?;
        self.ground.seam.sync_dir(&self.path).map_err(io)
    }

    fn clear_temporary(&self, region: u64) -> Result<(), FileError> {
        let path = self.path.join(names::temporary_region(region));
        let seam = &self.ground.seam;
        let listing = list_region(&self.ground, &path)?;
        check_all_ours(&listing)?;
        let segments = listing.segments.iter().map(|id| path.join(names::segment(*id)));
        for file in segments.chain(listing.leftovers) {
            seam.unlink(&file)
                .map_err(|error| FileError::io(Doing::Remove, &file, error))?;
        }
        seam.remove_dir(&path)
            .map_err(|error| FileError::io(Doing::Remove, &path, error))
    }

    fn region_path(&self, region: u64) -> PathBuf {
        self.path.join(names::region(region))
    }

    fn regions(&self) -> MutexGuard<'_, BTreeMap<u64, Weak<RegionFiles>>> {
        self.regions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_writable(&self, doing: Doing, path: &Path) -> Result<(), FileError> {
        self.ground
            .check_writable()
            .map_err(|cause| FileError::new(doing, path, cause))
    }
}

/// Whether a directory is the root of a HoraeDB log, version 0, which this log does not write.
///
/// The first segment file whose start can be told decides: version 0's final layout has the same names as ours, and
/// one damaged file says nothing about the others. A directory that is not there is no such root.
///
/// # Errors
/// [`Cause::Io`], [`Cause::TwoNames`].
pub fn is_version_0(seam: &Seam, root: &Path) -> Result<bool, FileError> {
    let listing = match list_root(seam, root) {
        Err(error) if error.is_not_found() => return Ok(false),
        listing => listing?,
    };
    for region in listing.regions {
        let dir = root.join(names::region(region));
        let entries = seam
            .list_dir(&dir)
            .map_err(|error| FileError::io(Doing::List, &dir, error))?;
        for entry in entries.iter().filter(|entry| !entry.is_dir) {
            let of_ours = !matches!(
                names::in_region(&entry.name, false),
                InRegion::Foreign | InRegion::Leftover
            );
            if !of_ours && !is_first_layout(&entry.name) {
                continue;
            }
            let path = dir.join(&entry.name);
            let io = |error| FileError::io(Doing::Read, &path, error);
            let file = match seam.open(&path, false) {
                // Reclaimed by a writer since the listing.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened.map_err(io)?,
            };
            let mut start = [0; VERSION_0.len()];
            let read = seam.read_at(&file, 0, &mut start).map_err(io)?;
            if read == start.len() && start == *VERSION_0 {
                return Ok(true);
            }
            if of_ours && start.starts_with(&MAGIC) {
                return Ok(false);
            }
        }
    }
    Ok(false)
}

/// What every segment of version 0 starts with.
const VERSION_0: &[u8; 11] = b"\0HoraeDBWAL";

/// `segment_<id>.wal`: the names of version 0's first layout.
fn is_first_layout(name: &std::ffi::OsStr) -> bool {
    let number = name
        .to_str()
        .and_then(|name| name.strip_prefix("segment_")?.strip_suffix(".wal"));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

fn geometry(path: &Path, segment_len: u32) -> Result<Geometry, FileError> {
    Geometry::new(segment_len).map_err(|error| FileError::new(Doing::Open, path, Cause::Geometry(error)))
}

fn check_all_ours(listing: &RegionListing) -> Result<(), FileError> {
    match listing.foreign.first() {
        Some(path) => Err(FileError::new(Doing::Remove, path, Cause::Foreign)),
        None => Ok(()),
    }
}

fn list_root(seam: &Seam, root: &Path) -> Result<RootListing, FileError> {
    let entries = seam
        .list_dir(root)
        .map_err(|error| FileError::io(Doing::List, root, error))?;
    let mut listing = RootListing::default();
    let mut misspelled = Vec::new();
    for entry in entries {
        match names::in_root(&entry.name, entry.is_dir) {
            InRoot::Region(region) => listing.regions.push(region),
            InRoot::Leftover(region) => listing.leftovers.push(region),
            InRoot::Misspelled(region) => misspelled.push((region, root.join(entry.name))),
            InRoot::Lock => {}
            InRoot::Foreign => listing.foreign.push(root.join(entry.name)),
        }
    }
    listing.regions.sort_unstable();
    listing.leftovers.sort_unstable();
    for (number, path) in misspelled {
        if listing.regions.binary_search(&number).is_ok() {
            let other = root.join(names::region(number));
            return Err(FileError::new(Doing::List, path, Cause::TwoNames { number, other }));
        }
        listing.foreign.push(path);
    }
    listing.foreign.sort_unstable();
    Ok(listing)
}

/// Makes a directory and those above it, each name durable; that of the first one there is, too: who made it may have
/// died before its name was durable.
fn make_dir_all(seam: &Seam, path: &Path) -> Result<(), FileError> {
    let io = |error| FileError::io(Doing::Create, path, error);
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    let above = match path.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    if seam.exists(path).map_err(io)? {
        return match seam.sync_dir(above) {
            // Nobody who makes names there durable is kept from it: the directory is not of our making.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            result => result.map_err(io),
        };
    }
    make_dir_all(seam, above)?;
    match seam.make_dir(path) {
        // Another opener was faster; the lock decides between the two.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        result => result.map_err(io)?,
    }
    seam.sync_dir(above).map_err(io)
}
