//! The names of a region: listing, making and removing segments.

use core::ffi::CStr;
use core::ops::ControlFlow;

use walstone_core::{Found, SegmentId};

use crate::error::{Cause, Doing, LinuxError};
use crate::names::{self, InRegion, Misspelled, Name, Refused};
use crate::region::RegionFiles;
use crate::sys::{self, Durability, Errno, Fd, Names};

/// Names that a create tries, should leftovers have taken the first ones.
const MAX_ATTEMPTS: u32 = 64;

/// Bytes written behind the header, zeros: they are blocks for the manifest.
const START_LEN: usize = 4096;

impl From<Refused> for Cause {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::TwoNames(number) => Self::TwoNames { number },
            Refused::TooMany => Self::TooManyMisspelled,
        }
    }
}

/// Visits every name of a directory with what it says.
pub(crate) fn each_name<T>(
    dir: &Fd,
    mut visit: impl FnMut(&CStr, bool) -> ControlFlow<T>,
) -> Result<Option<T>, LinuxError> {
    let io = |errno: Errno| LinuxError::new(Doing::List, Name::region(), errno.into());
    let mut names = Names::list(dir).map_err(io)?;
    while let Some((name, is_dir)) = names.next_name().map_err(io)? {
        if let ControlFlow::Break(value) = visit(name, is_dir) {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// Visits what a region directory holds: segments, and leftovers by their slot.
///
/// # Errors
/// Where two names claim one number, after everything was visited.
pub(crate) fn list(dir: &Fd, visit: &mut dyn FnMut(Found, &CStr) -> ControlFlow<()>) -> Result<(), LinuxError> {
    // First the strange names: a listing that is refused shows nothing.
    let mut misspelled = Misspelled::default();
    let refused = each_name(dir, |name, is_dir| match names::in_region(name, is_dir) {
        InRegion::Misspelled(id) => match misspelled.add(id.0) {
            Ok(()) => ControlFlow::Continue(()),
            Err(refused) => ControlFlow::Break((refused, Name::foreign(name))),
        },
        _ => ControlFlow::Continue(()),
    })?;
    if let Some((refused, name)) = refused {
        return Err(LinuxError::new(Doing::List, name, refused.into()));
    }
    for &number in misspelled.numbers() {
        let name = names::segment(SegmentId(number));
        let error = |cause| LinuxError::new(Doing::List, name, cause);
        if sys::exists(dir, name.c_str()).map_err(|errno| error(errno.into()))? {
            return Err(error(Cause::TwoNames { number }));
        }
    }
    each_name(dir, |name, is_dir| match names::in_region(name, is_dir) {
        InRegion::Segment(id) => visit(Found::Segment(id), name),
        InRegion::Leftover => {
            let slot = names::slot(name);
            visit(Found::Unreadable { slot }, name)
        }
        InRegion::Misspelled(_) | InRegion::Foreign => ControlFlow::Continue(()),
    })?;
    Ok(())
}

impl RegionFiles<'_> {
    pub(crate) fn segments(&self, visit: &mut dyn FnMut(Found) -> ControlFlow<()>) -> Result<(), LinuxError> {
        self.check_process(Doing::List)?;
        self.sync_names()?;
        list(self.dir(), &mut |found, _| visit(found))
    }

    /// Makes a file under a temporary name and gives it its final one.
    pub(crate) fn create(&self, id: SegmentId, header: &[u8]) -> Result<(), LinuxError> {
        self.check_writable(Doing::Create)?;
        let name = names::segment(id);
        let error = |cause: Cause| LinuxError::new(Doing::Create, name, cause);
        let io = |errno: Errno| error(errno.into());
        let segment_len = self.geometry().segment_len();
        let mut start = [0; START_LEN];
        let start = start.get_mut(..START_LEN.min(segment_len as usize)).unwrap_or_default();
        let Some(room) = start.get_mut(..header.len()) else {
            let end = header.len() as u64;
            return Err(error(Cause::Behind { end, segment_len }));
        };
        room.copy_from_slice(header);
        let dir = self.dir();
        // A rename would replace it.
        if sys::exists(dir, name.c_str()).map_err(io)? {
            return Err(error(Cause::Exists));
        }

        let (file, temporary) = create_temporary(dir, id).map_err(io)?;
        let whole = sys::set_len(&file, u64::from(segment_len))
            .and_then(|()| sys::write_at(file.number(), start, 0, 1, Durability::Written))
            .and_then(|()| sys::sync_data(file.number()))
            .and_then(|()| sys::rename(dir, temporary.c_str(), name.c_str()));
        if let Err(errno) = whole {
            // Where even this fails the next listing meets it.
            let _ = sys::remove(dir, temporary.c_str());
            return Err(io(errno));
        }
        if let Err(errno) = sys::sync_dir(dir) {
            let _ = sys::remove(dir, name.c_str());
            return Err(io(errno));
        }
        Ok(())
    }

    pub(crate) fn remove(&self, id: SegmentId) -> Result<(), LinuxError> {
        self.check_writable(Doing::Remove)?;
        let name = names::segment(id);
        self.remove_name(name)?;
        self.forget(id);
        self.sync_removal(name)
    }

    /// Removes the leftover that has this slot.
    pub(crate) fn release(&self, slot: u32) -> Result<(), LinuxError> {
        self.check_writable(Doing::Remove)?;
        let mut removed = None;
        let found = each_name(self.dir(), |name, is_dir| {
            let leftover = names::in_region(name, is_dir) == InRegion::Leftover;
            if !leftover || names::slot(name) != slot {
                return ControlFlow::Continue(());
            }
            removed = Some(sys::remove(self.dir(), name));
            ControlFlow::Break(Name::foreign(name))
        })?;
        let (Some(name), Some(removed)) = (found, removed) else {
            let cause = Cause::Slot { slot };
            return Err(LinuxError::new(Doing::Remove, Name::region(), cause));
        };
        removed.map_err(|errno| LinuxError::new(Doing::Remove, name, errno.into()))?;
        self.sync_removal(name)
    }

    fn remove_name(&self, name: Name) -> Result<(), LinuxError> {
        sys::remove(self.dir(), name.c_str()).map_err(|errno| LinuxError::new(Doing::Remove, name, errno.into()))
    }

    fn sync_removal(&self, name: Name) -> Result<(), LinuxError> {
        sys::sync_dir(self.dir()).map_err(|errno| LinuxError::new(Doing::Remove, name, errno.into()))
    }
}

/// Leftovers of an earlier life are never used again, so their names are stepped past.
fn create_temporary(dir: &Fd, id: SegmentId) -> Result<(Fd, Name), Errno> {
    let mut attempt = 0;
    loop {
        let name = names::temporary(id, attempt);
        match sys::create(dir, name.c_str()) {
            Err(Errno::EEXIST) if attempt < MAX_ATTEMPTS => attempt += 1,
            result => return result.map(|file| (file, name)),
        }
    }
}
