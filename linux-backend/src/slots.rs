//! The open segment files of a region, and what is known of each while it is open.

use walstone_core::{Mark, SegmentId};

use crate::buffer::ALIGN;
use crate::error::Cause;
use crate::names;
use crate::sys::{self, Access, DirectIo, Errno, Fd, FdNumber};

/// Segments that are open at once, at most.
pub(crate) const SLOTS: usize = 16;

/// An open segment.
#[derive(Debug)]
pub(crate) struct Slot {
    id: SegmentId,
    serial: u64,
    /// The file has no name any more; it is closed when nobody uses it.
    gone: bool,
    fd: Fd,
    /// The opening that writes past the page cache.
    direct: Option<Fd>,
    /// Operations that use a descriptor beside the lock.
    users: u32,
    last_used: u64,
    /// Something of it may not be durable.
    pub(crate) unsynced: bool,
    layout: Option<Layout>,
    /// Claimed when it was open before. Blocks that are only reserved look like holes.
    claimed: u32,
    #[cfg(feature = "alloc")]
    map: Option<alloc::sync::Arc<sys::FileMap>>,
}

/// Where a file has blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// There are written blocks from the start up to here.
    pub(crate) claimed: u32,
    /// From here on it reads as zero.
    pub(crate) blank_from: u32,
    /// Whether the file system tells holes from data. Where it cannot all seems to be data.
    pub(crate) tells_holes: bool,
}

/// Why a segment was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotOpened {
    Cause(Cause),
    /// Another one was to be closed for it, and its last sync failed.
    Sync(Errno),
}

impl From<Errno> for NotOpened {
    fn from(errno: Errno) -> Self {
        Self::Cause(errno.into())
    }
}

/// The open segments.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    open: heapless::Vec<Slot, SLOTS>,
    clock: u64,
    /// How far closed segments were claimed: those of the highest numbers, for only they are still appended to.
    claimed: [Option<Mark>; REMEMBERED],
}

/// More than the segment that is appended to and its spares.
const REMEMBERED: usize = 4;

impl Slots {
    pub(crate) fn find(&mut self, id: SegmentId) -> Option<&mut Slot> {
        self.open.iter_mut().find(|slot| slot.id == id && !slot.gone)
    }

    /// The open segment; opens it if it is not.
    pub(crate) fn open(
        &mut self,
        dir: &Fd,
        id: SegmentId,
        segment_len: u32,
        writable: bool,
    ) -> Result<&mut Slot, NotOpened> {
        self.clock += 1;
        let at = match self.open.iter().position(|slot| slot.id == id && !slot.gone) {
            Some(at) => at,
            None => {
                let access = if writable { Access::Write } else { Access::Read };
                let fd = sys::open(dir, names::segment(id).c_str(), access)?;
                let found = sys::len(&fd)?.len;
                if found != u64::from(segment_len) {
                    let expected = segment_len;
                    return Err(NotOpened::Cause(Cause::Length { found, expected }));
                }
                if self.open.is_full() {
                    self.close_one()?;
                }
                let slot = Slot {
                    id,
                    serial: self.clock,
                    gone: false,
                    fd,
                    direct: None,
                    users: 0,
                    last_used: 0,
                    unsynced: false,
                    layout: None,
                    claimed: self.remembered(id),
                    #[cfg(feature = "alloc")]
                    map: None,
                };
                let too_many = |_| NotOpened::Cause(Cause::TooManyOpen);
                self.open.push(slot).map_err(too_many)?;
                self.open.len() - 1
            }
        };
        let slot = self.open.get_mut(at);
        let slot = slot.ok_or(NotOpened::Cause(Cause::TooManyOpen))?;
        slot.last_used = self.clock;
        Ok(slot)
    }

    /// Closes the one that was not used for longest. Bytes not known durable keep a file open as long as another one
    /// can be closed, and are synced before that.
    fn close_one(&mut self) -> Result<(), NotOpened> {
        let idle = self.open.iter().enumerate().filter(|(_, slot)| slot.users == 0);
        let oldest = idle.min_by_key(|(_, slot)| (slot.unsynced, slot.last_used));
        let Some((at, slot)) = oldest else {
            return Err(NotOpened::Cause(Cause::TooManyOpen));
        };
        if slot.unsynced {
            sys::sync_data(slot.fd.number()).map_err(NotOpened::Sync)?;
        }
        let closed = self.open.swap_remove(at);
        self.remember(Mark {
            segment: closed.id,
            end: closed.layout.map_or(closed.claimed, |layout| layout.claimed),
        });
        Ok(())
    }

    fn remembered(&self, id: SegmentId) -> u32 {
        let known = self.claimed.iter().flatten().find(|mark| mark.segment == id);
        known.map_or(0, |mark| mark.end)
    }

    /// Keeps it in place of what is known of the same segment, else of the lowest.
    fn remember(&mut self, closed: Mark) {
        let same = |mark: &Option<Mark>| mark.is_some_and(|mark| mark.segment == closed.segment);
        let place = match self.claimed.iter().position(same) {
            Some(at) => self.claimed.get_mut(at),
            None => self.claimed.iter_mut().min(),
        };
        if let Some(place) = place {
            *place = (*place).max(Some(closed));
        }
    }

    /// Ends what [`Slot::enter`] began.
    pub(crate) fn leave(&mut self, entered: Entered) {
        let slot = self.open.iter_mut().find(|slot| slot.serial == entered.serial);
        if let Some(slot) = slot {
            slot.users -= 1;
        }
        self.open.retain(|slot| !slot.gone || slot.users > 0);
    }

    /// A segment is no more: its file is closed, now or when those that use it are done.
    pub(crate) fn removed(&mut self, id: SegmentId) {
        if let Some(slot) = self.find(id) {
            slot.gone = true;
        }
        for known in &mut self.claimed {
            *known = known.filter(|mark| mark.segment != id);
        }
        self.open.retain(|slot| !slot.gone || slot.users > 0);
    }
}

/// A file that somebody uses beside the lock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entered {
    serial: u64,
    pub(crate) fd: FdNumber,
}

impl Slot {
    pub(crate) fn fd(&self) -> FdNumber {
        self.fd.number()
    }

    /// Keeps the file open until [`Slots::leave`].
    pub(crate) fn enter(&mut self) -> Entered {
        self.users += 1;
        Entered {
            serial: self.serial,
            fd: self.fd.number(),
        }
    }

    pub(crate) fn direct_io(&self) -> Result<DirectIo, Errno> {
        sys::direct_io(&self.fd)
    }

    /// The descriptor that writes go by.
    pub(crate) fn writer(&mut self, dir: &Fd, direct: bool) -> Result<FdNumber, Errno> {
        if !direct {
            return Ok(self.fd());
        }
        let fd = match self.direct.take() {
            Some(fd) => fd,
            None => sys::open(dir, names::segment(self.id).c_str(), Access::WriteDirect)?,
        };
        Ok(self.direct.insert(fd).number())
    }

    /// An opening that reads past the page cache whole units of the largest alignment; `None` where there is no such thing.
    pub(crate) fn past_cache(&self, dir: &Fd, segment_len: u32) -> Result<Option<Fd>, Errno> {
        let possible = match self.direct_io()? {
            DirectIo::Aligned(align) => align as usize <= ALIGN,
            DirectIo::Unknown => true,
            DirectIo::No => false,
        };
        if !possible || !(segment_len as usize).is_multiple_of(ALIGN) {
            return Ok(None);
        }
        match sys::open(dir, names::segment(self.id).c_str(), Access::WriteDirect) {
            Err(Errno::EINVAL) => Ok(None),
            opened => opened.map(Some),
        }
    }

    /// Another opening of the file.
    pub(crate) fn another(&self, dir: &Fd) -> Result<Fd, Errno> {
        sys::open(dir, names::segment(self.id).c_str(), Access::Write)
    }

    /// Where the file has blocks.
    pub(crate) fn layout(&mut self) -> Result<&mut Layout, Errno> {
        let layout = match self.layout {
            Some(layout) => layout,
            None => {
                let found = Layout::of(&self.fd)?;
                Layout {
                    claimed: found.claimed.max(self.claimed),
                    ..found
                }
            }
        };
        Ok(self.layout.insert(layout))
    }

    /// Where no data follows any more, as the file is now.
    pub(crate) fn data_end(&self) -> Result<u32, Errno> {
        Layout::of(&self.fd).map(|layout| layout.blank_from)
    }

    /// The map of the file.
    #[cfg(feature = "alloc")]
    pub(crate) fn map(&mut self, segment_len: u32) -> Result<&alloc::sync::Arc<sys::FileMap>, Errno> {
        let map = match self.map.take() {
            Some(map) => map,
            None => alloc::sync::Arc::new(sys::FileMap::new(&self.fd, segment_len)?),
        };
        Ok(self.map.insert(map))
    }
}

impl Layout {
    fn of(fd: &Fd) -> Result<Self, Errno> {
        let (mut claimed, mut blank_from, mut data) = (0, 0, 0);
        let mut at = 0;
        while let Some(range) = sys::next_data(fd.number(), at)? {
            let end = u32::try_from(range.end).unwrap_or(u32::MAX);
            if range.start == u64::from(claimed) {
                claimed = end;
            }
            blank_from = end;
            data += range.end - range.start;
            if range.end <= at {
                break;
            }
            at = range.end;
        }
        let tells_holes = sys::len(fd)?.allocated >= data;
        Ok(Self {
            claimed: if tells_holes { claimed } else { 0 },
            blank_from,
            tells_holes,
        })
    }
}
