//! A root: its lock and its region directories.

use core::ffi::CStr;
use core::ops::ControlFlow;

use walstone_core::{Found, Geometry, SegmentId};

use crate::buffer::Memory;
use crate::directory::{each_name, list};
use crate::error::{Cause, Doing, LinuxError};
use crate::names::{self, InRegion, InRoot, Misspelled, Name};
use crate::region::RegionFiles;
use crate::stats::WritePath;
use crate::sys::{self, Access, Errno, Fd, ForkMark};

/// An open root. It stays locked while it lives.
#[derive(Debug)]
pub struct Root {
    dir: Fd,
    /// None where it was opened for reading only.
    lock: Option<Fd>,
    mark: ForkMark,
}

/// What a name in a root is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoundRegion {
    /// A region.
    Region(u64),
    /// A region whose making or removal was interrupted, by the number it had.
    Leftover(u64),
}

fn error(doing: Doing, name: Name) -> impl Fn(Errno) -> LinuxError {
    move |errno| LinuxError::new(doing, name, errno.into())
}

impl Root {
    /// Opens a root for writing, and makes its directory where it is missing: takes the lock, then syncs the directory,
    /// so that a listing can be relied on.
    ///
    /// # Errors
    /// [`Cause::Locked`] while another opening lives, by this backend or the other; [`Cause::Version0`], before anything
    /// is made; [`Cause::Errno`].
    pub fn open(path: &CStr) -> Result<Self, LinuxError> {
        let name = Name::foreign(path);
        let io = error(Doing::Open, name);
        let dir = match sys::open_dir(None, path) {
            Err(Errno::ENOENT) => make_root(path)?,
            opened => opened.map_err(io)?,
        };
        let mut root = Self {
            dir,
            lock: None,
            mark: ForkMark::new(),
        };
        root.check_version()?;
        let lock_name = Name::foreign(names::LOCK);
        let io = error(Doing::Lock, lock_name);
        let lock = sys::open_or_create(&root.dir, names::LOCK).map_err(&io)?;
        if !sys::try_lock(&lock).map_err(&io)? {
            return Err(LinuxError::new(Doing::Lock, lock_name, Cause::Locked));
        }
        sys::sync_dir(&root.dir).map_err(error(Doing::Sync, name))?;
        root.lock = Some(lock);
        Ok(root)
    }

    /// Opens a root for reading: takes no lock, makes nothing, changes no byte.
    ///
    /// # Errors
    /// [`Cause::Errno`] when it is not there.
    pub fn open_read_only(path: &CStr) -> Result<Self, LinuxError> {
        let dir = sys::open_dir(None, path).map_err(error(Doing::Open, Name::foreign(path)))?;
        Ok(Self {
            dir,
            lock: None,
            mark: ForkMark::new(),
        })
    }

    /// Visits every region and leftover once, in no order.
    ///
    /// # Errors
    /// [`Cause::TwoNames`] where two directories claim one region; [`Cause::Errno`], never a shorter list.
    pub fn regions(&self, visit: &mut dyn FnMut(FoundRegion) -> ControlFlow<()>) -> Result<(), LinuxError> {
        let mut misspelled = Misspelled::default();
        let refused = each_name(&self.dir, |name, is_dir| match names::in_root(name, is_dir) {
            InRoot::Misspelled(number) => match misspelled.add(number) {
                Ok(()) => ControlFlow::Continue(()),
                Err(refused) => ControlFlow::Break((refused, Name::foreign(name))),
            },
            _ => ControlFlow::Continue(()),
        })?;
        if let Some((refused, name)) = refused {
            return Err(LinuxError::new(Doing::List, name, refused.into()));
        }
        for &number in misspelled.numbers() {
            if self.has(number, Doing::List)? {
                let name = names::region(number);
                return Err(LinuxError::new(Doing::List, name, Cause::TwoNames { number }));
            }
        }
        each_name(&self.dir, |name, is_dir| match names::in_root(name, is_dir) {
            InRoot::Region(number) => visit(FoundRegion::Region(number)),
            InRoot::Leftover(number) => visit(FoundRegion::Leftover(number)),
            InRoot::Misspelled(_) | InRoot::Lock | InRoot::Foreign => ControlFlow::Continue(()),
        })?;
        Ok(())
    }

    fn has(&self, number: u64, doing: Doing) -> Result<bool, LinuxError> {
        let name = names::region(number);
        sys::exists(&self.dir, name.c_str()).map_err(error(doing, name))
    }

    /// The files of a region that is there, for writing if the root is. One value for each region at a time.
    ///
    /// # Errors
    /// [`Cause::Errno`] (`ENOENT`) without such a region; [`Cause::NoSegments`], for writing, where it lost all of them: it is
    /// damaged, and not to be begun anew; [`Cause::TwoNames`]; [`Cause::Erased`]; [`Cause::Memory`].
    pub fn region<'m>(
        &'m self,
        number: u64,
        geometry: Geometry,
        path: WritePath,
        memory: Memory<'m>,
    ) -> Result<RegionFiles<'m>, LinuxError> {
        let name = names::region(number);
        let dir = sys::open_dir(Some(&self.dir), name.c_str()).map_err(error(Doing::Open, name))?;
        // Beside a writer the last one that was listed may just have been replaced.
        if self.lock.is_some() {
            let mut has_segment = false;
            list(&dir, &mut |found, _| {
                has_segment |= matches!(found, Found::Segment(_));
                ControlFlow::Continue(())
            })?;
            if !has_segment {
                return Err(LinuxError::new(Doing::Open, name, Cause::NoSegments));
            }
        }
        RegionFiles::new(dir, geometry, path, memory, self.lock.is_some())
            .map_err(|cause| LinuxError::new(Doing::Open, name, cause))
    }

    /// Makes a region: `prepare` gets its files, still under a temporary name, and makes its first segment; then the
    /// region gets its final name.
    ///
    /// Power loss: the region is there as `prepare` left it, or not at all.
    ///
    /// # Errors
    /// [`Cause::Exists`]; [`Cause::ReadOnly`], [`Cause::Forked`], [`Cause::Erased`], [`Cause::Memory`],
    /// [`Cause::Errno`]; and what `prepare` returns. No region is there then.
    pub fn create_region<E: From<LinuxError>>(
        &self,
        number: u64,
        geometry: Geometry,
        path: WritePath,
        memory: Memory<'_>,
        prepare: impl FnOnce(&RegionFiles<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let name = names::region(number);
        let io = error(Doing::Create, name);
        self.check_writable(Doing::Create, name)?;
        if self.has(number, Doing::Create)? {
            return Err(LinuxError::new(Doing::Create, name, Cause::Exists).into());
        }
        self.release_leftover(number)?;

        let temporary = names::temporary_region(number);
        sys::make_dir(Some(&self.dir), temporary.c_str()).map_err(&io)?;
        let prepared = (|| {
            let dir = sys::open_dir(Some(&self.dir), temporary.c_str()).map_err(&io)?;
            let files = RegionFiles::new(dir, geometry, path, memory, true)
                .map_err(|cause| LinuxError::new(Doing::Create, name, cause))?;
            prepare(&files)?;
            // All names in it are synced already unless `prepare` made none.
            sys::sync_dir(files.dir()).map_err(&io)?;
            sys::rename(&self.dir, temporary.c_str(), name.c_str()).map_err(&io)?;
            Ok::<_, E>(())
        })();
        let named = prepared.and_then(|()| {
            sys::sync_dir(&self.dir).map_err(|errno| {
                let _ = sys::rename(&self.dir, name.c_str(), temporary.c_str());
                io(errno).into()
            })
        });
        if named.is_err() {
            // Where even this fails it is listed as a leftover.
            let _ = self.clear_temporary(temporary);
        }
        named
    }

    /// Removes a region and all in it. Its files must not be used any more; what they lent stays valid.
    ///
    /// Power loss: the region is whole, or a leftover, or gone.
    ///
    /// # Errors
    /// [`Cause::Foreign`] where its directory holds something that is not of the log, and nothing is changed;
    /// [`Cause::ReadOnly`], [`Cause::Forked`], [`Cause::Errno`]: it may be any of the three.
    pub fn remove_region(&self, number: u64) -> Result<(), LinuxError> {
        let name = names::region(number);
        let io = error(Doing::Remove, name);
        self.check_writable(Doing::Remove, name)?;
        if self.has(number, Doing::Remove)? {
            let dir = sys::open_dir(Some(&self.dir), name.c_str()).map_err(&io)?;
            check_all_ours(&dir, name)?;
        }
        self.release_leftover(number)?;
        if !self.has(number, Doing::Remove)? {
            // An earlier try got as far as this.
            return sys::sync_dir(&self.dir).map_err(&io);
        }
        let temporary = names::temporary_region(number);
        sys::rename(&self.dir, name.c_str(), temporary.c_str()).map_err(&io)?;
        sys::sync_dir(&self.dir).map_err(&io)?;
        self.clear_temporary(temporary)?;
        sys::sync_dir(&self.dir).map_err(&io)
    }

    /// Removes what an interrupted making or removal of a region left behind; without one, nothing.
    ///
    /// # Errors
    /// [`Cause::Foreign`], [`Cause::ReadOnly`], [`Cause::Forked`], [`Cause::Errno`]: it is still there, perhaps with
    /// less in it.
    pub fn release_leftover(&self, number: u64) -> Result<(), LinuxError> {
        let name = names::temporary_region(number);
        let io = error(Doing::Remove, name);
        self.check_writable(Doing::Remove, name)?;
        if !sys::exists(&self.dir, name.c_str()).map_err(&io)? {
            return Ok(());
        }
        self.clear_temporary(name)?;
        sys::sync_dir(&self.dir).map_err(&io)
    }

    fn clear_temporary(&self, name: Name) -> Result<(), LinuxError> {
        let io = error(Doing::Remove, name);
        let dir = sys::open_dir(Some(&self.dir), name.c_str()).map_err(&io)?;
        check_all_ours(&dir, name)?;
        loop {
            // A listing may pass over names while others go.
            let mut failed = None;
            let mut met = false;
            list(&dir, &mut |_, file| {
                met = true;
                failed = sys::remove(&dir, file).err();
                if failed.is_some() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })?;
            match failed {
                Some(errno) => return Err(io(errno)),
                None if !met => break,
                None => {}
            }
        }
        sys::remove_dir(&self.dir, name.c_str()).map_err(io)
    }

    fn check_writable(&self, doing: Doing, name: Name) -> Result<(), LinuxError> {
        let cause = match &self.lock {
            None => Cause::ReadOnly,
            Some(_) if self.mark.is_here() => return Ok(()),
            Some(_) => Cause::Forked,
        };
        Err(LinuxError::new(doing, name, cause))
    }

    /// Refuses the root of a HoraeDB log: it has names as ours, so the first bytes of its segments are looked at.
    fn check_version(&self) -> Result<(), LinuxError> {
        let mut outcome = Ok(());
        each_name(&self.dir, |name, is_dir| {
            if let InRoot::Region(_) = names::in_root(name, is_dir) {
                outcome = self.check_region_version(name);
            }
            if outcome.is_ok() {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        outcome
    }

    fn check_region_version(&self, region: &CStr) -> Result<(), LinuxError> {
        let name = Name::foreign(region);
        let io = error(Doing::Open, name);
        let dir = sys::open_dir(Some(&self.dir), region).map_err(&io)?;
        let mut outcome = Ok(());
        each_name(&dir, |file, is_dir| {
            let ours = matches!(
                names::in_region(file, is_dir),
                InRegion::Segment(_) | InRegion::Misspelled(_)
            );
            if is_dir || !(ours || file.to_bytes().ends_with(b".wal")) {
                return ControlFlow::Continue(());
            }
            outcome = match starts_as_version_0(&dir, file) {
                Ok(true) => Err(LinuxError::new(Doing::Open, name, Cause::Version0)),
                Ok(false) => return ControlFlow::Continue(()),
                Err(errno) => Err(io(errno)),
            };
            ControlFlow::Break(())
        })?;
        outcome
    }
}

impl Drop for Root {
    /// Unlocks instead of leaving it to the closing of the file: a child that was forked just now, on its way to another
    /// program, still shares the opening, and the next opener here would find it locked.
    fn drop(&mut self) {
        if let Some(lock) = &self.lock
            && self.mark.is_here()
        {
            let _ = sys::unlock(lock);
        }
    }
}

/// What every segment of version 0 starts with.
const VERSION_0: &[u8; 11] = b"\0HoraeDBWAL";

fn starts_as_version_0(dir: &Fd, file: &CStr) -> Result<bool, Errno> {
    let file = sys::open(dir, file, Access::Read)?;
    let mut start = [0; VERSION_0.len()];
    let read = sys::read_at(file.number(), &mut start, 0)?;
    Ok(read == start.len() && start == *VERSION_0)
}

/// Refuses a directory with something in it that is not of the log.
fn check_all_ours(dir: &Fd, name: Name) -> Result<(), LinuxError> {
    let foreign = each_name(dir, |name, is_dir| match names::in_region(name, is_dir) {
        InRegion::Segment(_) | InRegion::Leftover => ControlFlow::Continue(()),
        InRegion::Misspelled(_) | InRegion::Foreign => ControlFlow::Break(()),
    })?;
    match foreign {
        None => Ok(()),
        Some(()) => Err(LinuxError::new(Doing::Remove, name, Cause::Foreign)),
    }
}

/// Makes the directory of a root, whose parent is there, and its name durable.
fn make_root(path: &CStr) -> Result<Fd, LinuxError> {
    let io = error(Doing::Create, Name::foreign(path));
    match sys::make_dir(None, path) {
        Err(Errno::EEXIST) => {}
        made => made.map_err(&io)?,
    }
    let dir = sys::open_dir(None, path).map_err(&io)?;
    let parent = sys::open_dir(Some(&dir), c"..").map_err(&io)?;
    sys::sync_dir(&parent).map_err(&io)?;
    Ok(dir)
}

impl<'m> RegionFiles<'m> {
    /// The files of the region in this directory, for who keeps the root locked himself, or reads only.
    ///
    /// # Errors
    /// As [`Root::region`].
    pub fn open_dir(
        path: &CStr,
        writable: bool,
        geometry: Geometry,
        write_path: WritePath,
        memory: Memory<'m>,
    ) -> Result<Self, LinuxError> {
        let name = Name::foreign(path);
        let dir = sys::open_dir(None, path).map_err(error(Doing::Open, name))?;
        Self::new(dir, geometry, write_path, memory, writable)
            .map_err(|cause| LinuxError::new(Doing::Open, name, cause))
    }

    /// The segment with the lowest number and its first bytes, as many as it has of `buf`: its header says with what
    /// geometry to open the region. `None` without a segment.
    ///
    /// # Errors
    /// [`Cause::Errno`].
    pub fn first_header<'b>(
        root: &Root,
        number: u64,
        buf: &'b mut [u8],
    ) -> Result<Option<(SegmentId, &'b [u8])>, LinuxError> {
        let name = names::region(number);
        let io = error(Doing::Read, name);
        let dir = sys::open_dir(Some(&root.dir), name.c_str()).map_err(&io)?;
        let mut first: Option<SegmentId> = None;
        list(&dir, &mut |found, _| {
            if let Found::Segment(id) = found {
                first = Some(first.map_or(id, |first| first.min(id)));
            }
            ControlFlow::Continue(())
        })?;
        let Some(id) = first else { return Ok(None) };
        let file = sys::open(&dir, names::segment(id).c_str(), Access::Read).map_err(&io)?;
        let read = sys::read_at(file.number(), buf, 0).map_err(&io)?;
        Ok(Some((id, buf.get(..read).unwrap_or_default())))
    }
}
