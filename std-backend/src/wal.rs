//! A root and its regions: opening, making, removing, closing.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use walstone_core::segment::header::Header;
use walstone_core::segment::layout::MAX_SEGMENT_LEN;
use walstone_core::{Corruption, Geometry, Log, Reason, Report, Salvage, Salvaged, SegmentId, Storage};

use crate::checksum::HARDWARE;
use crate::error::{Error, Result};
use crate::files::{Cause, FileError, Files, Root, is_version_0};
use crate::options::Options;
use crate::readers::Readers;
use crate::region::Region;
use crate::shared::Shared;
use crate::stats::{self, Stats};
use crate::store::Store;
use crate::worker::{Lifeline, Worker};

/// An open log: a directory with regions. Clones are the same log.
///
/// One process at a time may write; [`Wal::open_read_only`] works beside it. When the last clone and the last handle
/// on its regions is dropped without [`Wal::close`], nothing acknowledged is lost; the next open finds an unclean end.
#[derive(Clone, Debug)]
pub struct Wal {
    inner: Arc<Inner>,
}

struct Inner {
    root: Root,
    options: Options,
    read_only: bool,
    regions: Mutex<Regions>,
    lifeline: Arc<Lifeline>,
    report: WalReport,
}

struct Regions {
    open: BTreeMap<u64, Slot>,
    closed: bool,
}

#[derive(Clone)]
enum Slot {
    Open(Arc<Shared>),
    /// It could not be opened. The others could.
    Failed(Error),
    /// It was closed on its own. Views of it may live on, and be waited for by the next opening.
    Closed(Weak<Readers>),
}

impl Slot {
    fn readers(&self) -> Weak<Readers> {
        match self {
            Self::Open(shared) => Arc::downgrade(&shared.readers),
            Self::Failed(_) => Weak::new(),
            Self::Closed(readers) => readers.clone(),
        }
    }
}

/// What opening a log found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct WalReport {
    /// Regions that are open, by number.
    pub regions: Vec<Report>,
    /// Regions that are not, and why. They are left as they are.
    pub failed: Vec<(u64, Error)>,
    /// What is in the root, or in a region's directory, and not of the log. It is left alone.
    pub foreign: Vec<PathBuf>,
    /// Regions whose making or removal was interrupted, and was undone or completed; opened for reading only, and where
    /// `stuck` or `foreign` say otherwise, what is left of them is still there.
    pub leftovers: Vec<u64>,
    /// Leftovers that could not be removed, and why. They hold disk space, and no region of that number can be made until
    /// they can; the next open tries again.
    pub stuck: Vec<(u64, Error)>,
}

impl Wal {
    /// Opens the log in the directory `path`, and makes the directory where it is missing: takes the lock, recovers
    /// every region. A region that cannot be opened fails alone; [`Wal::report`] tells.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::NotADirectory`], [`Error::Version0`]: nothing was changed. [`Error::Storage`].
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        let path = path.as_ref();
        check_root(path, &options)?;
        let root = Root::open(options.seam.clone(), path, options.max_open_segments)?;
        Self::with_root(root, options, false)
    }

    /// Opens the log for reading: takes no lock, changes no byte, name or time stamp, and works beside a writer.
    /// Regions and records that the writer adds later are not seen.
    ///
    /// # Errors
    /// [`Error::NotADirectory`]; [`Error::Version0`]; [`Error::Storage`].
    pub fn open_read_only(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        let path = path.as_ref();
        check_root(path, &options)?;
        let root = Root::open_read_only(options.seam.clone(), path, options.max_open_segments)?;
        Self::with_root(root, options, true)
    }

    fn with_root(root: Root, options: Options, read_only: bool) -> Result<Self> {
        let listing = root.list_regions()?;
        let mut report = WalReport {
            foreign: listing.foreign,
            leftovers: listing.leftovers,
            ..WalReport::default()
        };
        if !read_only {
            for &leftover in &report.leftovers {
                match root.release_leftover(leftover) {
                    Ok(()) => {}
                    Err(error) if matches!(error.cause(), Cause::Foreign) => {
                        report.foreign.push(error.path().to_path_buf());
                    }
                    Err(error) => report.stuck.push((leftover, error.into())),
                }
            }
        }
        let worker = Arc::new(Worker::new(root.process()));
        let mut open = BTreeMap::new();
        for id in listing.regions {
            let readers = Arc::default();
            let opened = open_region(&root, &options, &worker, id, read_only, &readers, &mut report.foreign);
            let slot = match opened {
                Ok(shared) => {
                    report.regions.push(shared.report);
                    Slot::Open(Arc::new(shared))
                }
                Err(error) => {
                    report.failed.push((id, error.clone()));
                    Slot::Failed(error)
                }
            };
            open.insert(id, slot);
        }
        Ok(Self {
            inner: Arc::new(Inner {
                root,
                options,
                read_only,
                regions: Mutex::new(Regions { open, closed: false }),
                lifeline: Arc::new(Lifeline(worker)),
                report,
            }),
        })
    }

    /// Shows everything in a region that still verifies, deleted records included, and names the gaps; whatever its
    /// state, and without opening the log. Takes no lock and changes nothing.
    ///
    /// # Errors
    /// [`Error::NoRegion`]; [`Error::Storage`] where files cannot be listed or read at all.
    pub fn salvage(path: impl AsRef<Path>, region: u64, visit: &mut dyn FnMut(Salvaged<'_>)) -> Result<()> {
        let root = Root::open_read_only(crate::seam::Seam::new(), path.as_ref(), 1)?;
        if !root.list_regions()?.regions.contains(&region) {
            return Err(Error::NoRegion { region });
        }
        let segments = root.list_region(region)?.segments;
        let read = |id| -> Result<Vec<u8>> {
            let (_, len) = root.read_header(region, id, &mut [])?;
            let mut bytes = vec![0; usize::try_from(len).unwrap_or(0).min(MAX_SEGMENT_LEN as usize)];
            let (read, _) = root.read_header(region, id, &mut bytes)?;
            let read = read.len();
            bytes.truncate(read);
            Ok(bytes)
        };
        let mut salvage = Salvage::new(HARDWARE);
        for &id in &segments {
            salvage.learn(id, &read(id)?);
        }
        for &id in &segments {
            salvage.segment(id, &read(id)?, visit);
        }
        Ok(())
    }

    /// What opening found.
    #[must_use]
    pub fn report(&self) -> &WalReport {
        &self.inner.report
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.inner.root.path()
    }

    /// The regions there are, by number, those that could not be opened included. None for a forked child.
    #[must_use]
    pub fn regions(&self) -> Vec<u64> {
        if self.inner.is_forked() {
            return Vec::new();
        }
        self.inner.regions().open.keys().copied().collect()
    }

    /// A handle on a region that exists. One that [`Wal::close_region`] closed is opened again.
    ///
    /// # Errors
    /// [`Error::NoRegion`]; [`Error::Closed`]; [`Error::Forked`]; why the region could not be opened.
    pub fn region(&self, region: u64) -> Result<Region> {
        let mut regions = self.inner.writable_or_open()?;
        let slot = regions.open.get(&region).cloned();
        match slot {
            Some(Slot::Open(shared)) if !shared.is_closed() => Ok(self.inner.handle(shared)),
            Some(Slot::Failed(error)) => Err(error),
            Some(slot @ (Slot::Open(_) | Slot::Closed(_))) => {
                // Views of it may live, whose segments the new opening must not take away.
                let readers = slot.readers().upgrade().unwrap_or_default();
                let shared = Arc::new(self.inner.open_region(region, &readers)?);
                regions.open.insert(region, Slot::Open(Arc::clone(&shared)));
                Ok(self.inner.handle(shared))
            }
            None => Err(Error::NoRegion { region }),
        }
    }

    /// Makes a region. On return it is durable.
    ///
    /// # Errors
    /// [`Error::RegionExists`]; [`Error::Full`]; [`Error::ReadOnly`]; [`Error::Closed`]; [`Error::Storage`].
    pub fn create_region(&self, region: u64) -> Result<Region> {
        let mut regions = self.inner.writable()?;
        if regions.open.contains_key(&region) {
            return Err(Error::RegionExists { region });
        }
        let shared = Arc::new(self.inner.create_region(region)?);
        regions.open.insert(region, Slot::Open(Arc::clone(&shared)));
        Ok(self.inner.handle(shared))
    }

    /// A handle on a region, which is made where it does not exist.
    ///
    /// # Errors
    /// As [`Wal::region`] and [`Wal::create_region`].
    pub fn region_or_create(&self, region: u64) -> Result<Region> {
        match self.region(region) {
            Err(Error::NoRegion { .. }) => {}
            other => return other,
        }
        match self.create_region(region) {
            // Somebody else was faster.
            Err(Error::RegionExists { .. }) => self.region(region),
            other => other,
        }
    }

    /// Closes one region: everything in it is durable. Its handles answer [`Error::Closed`]; views stay valid. This
    /// is also the way to open a poisoned region anew: close it, whatever that says, and ask for it again.
    ///
    /// # Errors
    /// [`Error::NoRegion`]; as [`Region::sync`]: the region is closed even so.
    pub fn close_region(&self, region: u64) -> Result<()> {
        let mut regions = self.inner.writable_or_open()?;
        match regions.open.get(&region).cloned() {
            Some(slot) => {
                regions.open.insert(region, Slot::Closed(slot.readers()));
                match slot {
                    Slot::Open(shared) => shared.close(),
                    Slot::Failed(_) | Slot::Closed(_) => Ok(()),
                }
            }
            None => Err(Error::NoRegion { region }),
        }
    }

    /// Removes a region and everything in it. On return it is gone, whatever happens to the power. Its handles answer
    /// [`Error::Closed`]; what views have read stays valid.
    ///
    /// # Errors
    /// [`Error::NoRegion`]; [`Error::ReadOnly`]; [`Error::Closed`]; [`Error::Storage`] where its directory holds
    /// foreign files (nothing was changed) or removing failed.
    pub fn remove_region(&self, region: u64) -> Result<()> {
        let mut regions = self.inner.writable()?;
        let Some(slot) = regions.open.get(&region).cloned() else {
            return Err(Error::NoRegion { region });
        };
        self.inner.root.check_removable(region)?;
        if let Slot::Open(shared) = slot {
            // Closed without a word: what it holds is not wanted any more.
            shared.abandon();
        }
        regions.open.insert(region, Slot::Closed(Weak::new()));
        self.inner.root.remove_region_dir(region)?;
        regions.open.remove(&region);
        Ok(())
    }

    /// What the log is made of right now. Reads every record once; a region in which that fails is named with the
    /// error among [`Stats::failed`], and the others are told of.
    ///
    /// # Errors
    /// [`Error::Forked`].
    pub fn stats(&self) -> Result<Stats> {
        self.inner.check_process()?;
        let slots: Vec<_> = self.inner.regions().open.clone().into_iter().collect();
        let mut all = Stats {
            open_segments: self.inner.root.cached_segment_count(),
            ..Stats::default()
        };
        for (id, slot) in slots {
            match slot {
                Slot::Open(shared) => match stats::of_region(&shared) {
                    Ok(stats) => all.regions.push(stats),
                    Err(error) => all.failed.push((id, error)),
                },
                Slot::Failed(error) => all.failed.push((id, error)),
                Slot::Closed(_) => all.failed.push((id, Error::Closed)),
            }
        }
        Ok(all)
    }

    /// Performs background syncs whose interval has passed; the background thread does so by itself. For hosts that
    /// bring their own clock.
    pub fn tick(&self) {
        self.inner.lifeline.0.tick();
    }

    /// Closes every region and the log: everything written is durable, the root may be opened by another. Handles
    /// answer [`Error::Closed`] from now on; views stay valid. A second close does nothing.
    ///
    /// # Errors
    /// The first failure; the rest is closed even so.
    pub fn close(&self) -> Result<()> {
        self.inner.check_process()?;
        let open = {
            let mut regions = self.inner.regions();
            if regions.closed {
                return Ok(());
            }
            regions.closed = true;
            regions.open.clone()
        };
        let mut result = Ok(());
        for slot in open.into_values() {
            if let Slot::Open(shared) = slot
                && let Err(error) = shared.close()
                && result.is_ok()
            {
                result = Err(error);
            }
        }
        self.inner.lifeline.0.stop();
        self.inner.root.unlock();
        result
    }
}

impl Inner {
    fn regions(&self) -> MutexGuard<'_, Regions> {
        self.regions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_forked(&self) -> bool {
        !self.root.process().is_here()
    }

    /// In a fork nobody may wait for locks that a thread of the parent held.
    fn check_process(&self) -> Result<()> {
        if self.is_forked() { Err(Error::Forked) } else { Ok(()) }
    }

    fn writable_or_open(&self) -> Result<MutexGuard<'_, Regions>> {
        self.check_process()?;
        let regions = self.regions();
        if regions.closed {
            Err(Error::Closed)
        } else {
            Ok(regions)
        }
    }

    fn writable(&self) -> Result<MutexGuard<'_, Regions>> {
        if self.read_only {
            return Err(Error::ReadOnly);
        }
        self.writable_or_open()
    }

    fn handle(&self, shared: Arc<Shared>) -> Region {
        Region {
            shared,
            lifeline: Arc::clone(&self.lifeline),
        }
    }

    fn open_region(&self, region: u64, readers: &Arc<Readers>) -> Result<Shared> {
        let foreign = &mut Vec::new();
        open_region(
            &self.root,
            &self.options,
            &self.lifeline.0,
            region,
            self.read_only,
            readers,
            foreign,
        )
    }

    fn create_region(&self, region: u64) -> Result<Shared> {
        let options = &self.options;
        let segment_len = options.region_segment_len.get(&region).copied();
        let segment_len = segment_len.unwrap_or(options.segment_len);
        let readers = Arc::new(Readers::default());
        let (log, files) = self.root.create_region_dir(region, segment_len, |files| {
            let files = options.files(files)?;
            let store = Store::new(files.clone(), Arc::clone(&readers));
            let log = Log::create(store, options.capacity(), engine_options(options, region))
                .map_err(|error| Error::of_region(region, error))?;
            Ok::<_, Error>((log, files))
        })?;
        Ok(Shared::new(
            region,
            log,
            files,
            readers,
            options,
            &self.lifeline.0,
            false,
        ))
    }
}

/// Refuses what is no root of this version, before anything is made.
fn check_root(path: &Path, options: &Options) -> Result<()> {
    let path_buf = || path.to_path_buf();
    // Names joined to an empty path would be of the working directory.
    if path.as_os_str().is_empty() || (path.exists() && !path.is_dir()) {
        return Err(Error::NotADirectory { path: path_buf() });
    }
    if is_version_0(&options.seam, path)? {
        return Err(Error::Version0 { path: path_buf() });
    }
    Ok(())
}

fn engine_options(options: &Options, region: u64) -> walstone_core::Options {
    walstone_core::Options {
        shared_room: true,
        checksum: HARDWARE,
        ..walstone_core::Options::new(region, options.draw_seed())
    }
}

/// How often a reader without the lock looks again before it calls damage damage.
const LOOKS: u64 = 40;

fn open_region(
    root: &Root,
    options: &Options,
    worker: &Arc<Worker>,
    region: u64,
    read_only: bool,
    readers: &Arc<Readers>,
    foreign: &mut Vec<PathBuf>,
) -> Result<Shared> {
    let mut look = 0;
    let known = foreign.len();
    loop {
        look += 1;
        foreign.truncate(known);
        match try_open_region(root, options, worker, region, read_only, readers, foreign) {
            Err(Error::Corrupt { .. } | Error::Storage(_)) if read_only && look < LOOKS => {
                // Beside a busy writer a segment may go between the listing and the look.
                std::thread::sleep(std::time::Duration::from_micros(100 * look));
            }
            result => return result,
        }
    }
}

fn try_open_region(
    root: &Root,
    options: &Options,
    worker: &Arc<Worker>,
    region: u64,
    read_only: bool,
    readers: &Arc<Readers>,
    foreign: &mut Vec<PathBuf>,
) -> Result<Shared> {
    let mut listing = root.list_region(region)?;
    foreign.append(&mut listing.foreign);
    let stored = stored_geometry(root, region, &listing.segments)?;
    let given = options.region_segment_len.get(&region);
    let given = given.map(|&segment_len| Geometry::new(segment_len));
    if let (Some(stored), Some(Ok(given))) = (stored, given)
        && stored.segment_len() != given.segment_len()
    {
        return Err(Error::GeometryMismatch { region, stored, given });
    }
    let asked = options
        .region_segment_len
        .get(&region)
        .copied()
        .unwrap_or(options.segment_len);
    let segment_len = stored.map_or(asked, |stored| stored.segment_len());
    let files = options.files(root.region(region, segment_len)?)?;
    let store = Store::new(files.clone(), Arc::clone(readers));
    let engine = engine_options(options, region);
    let log = if read_only {
        Log::open_read_only(store, options.capacity(), engine)
    } else {
        Log::open(store, options.capacity(), engine)
    };
    let mut log = log.map_err(|error| match error {
        // A region gets its name only after its first segment is durable.
        walstone_core::Error::NoRegion => Error::Corrupt {
            region,
            corruption: Corruption {
                segment: listing.segments.last().copied().unwrap_or(SegmentId(0)),
                offset: 0,
                reason: Reason::NoManifest,
            },
        },
        error => Error::of_region(region, error),
    })?;
    // Else each region that is not used keeps a map, whatever the cache limit says.
    log.storage_mut().end_reading();
    let readers = Arc::clone(readers);
    Ok(Shared::new(region, log, files, readers, options, worker, read_only))
}

/// The geometry that the region was made with, as the first header that verifies says; where none does, one with the
/// length of a file, so that the engine names the header and not the length as what is wrong.
fn stored_geometry(root: &Root, region: u64, segments: &[SegmentId]) -> Result<Option<Geometry>, FileError> {
    let mut of_file = None;
    for &id in segments {
        let mut buf = [0; walstone_core::segment::header::HEADER_LEN];
        let (bytes, len) = match root.read_header(region, id, &mut buf) {
            // Reclaimed by a writer since the listing.
            Err(error) if error.is_not_found() => continue,
            read => read?,
        };
        if let Ok(header) = Header::decode(bytes, HARDWARE) {
            return Ok(Some(header.geometry));
        }
        of_file = u32::try_from(len).ok().and_then(|len| Geometry::new(len).ok());
    }
    Ok(of_file)
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wal")
            .field("path", &self.root.path())
            .finish_non_exhaustive()
    }
}

const _: fn() = || {
    fn is_storage<S: Storage + Send>() {}
    is_storage::<Store>();
    is_storage::<Files>();
};
