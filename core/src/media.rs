//! Reading through a storage that lends or copies, in a window that is kept while it serves.

use super::storage::Storage;
use super::twin;
use crate::error::Error;
use crate::facts::{Footer, Retained};
use crate::fault::{Fault, StorageError};
use crate::frame::{self, Header, Kind};
use crate::geometry::SegmentId;
use crate::region::Region;
use crate::report::{Corruption, Reason};
use crate::scan::walk::Walk;
use crate::scan::{Event, Limit, MAX_WANTED_LEN};
use crate::segment::cuts::Cuts;
use crate::segment::header;
use crate::segment::layout::Layout;

/// What is fed where the medium says that bytes are damaged: no frame, no record, not erased.
static UNREADABLE: [u8; MAX_WANTED_LEN] = [0xa5; MAX_WANTED_LEN];

/// At least `min` and at best `len` bytes at `offset`; `None` where the medium says that they are damaged.
#[twin(AFIT)]
#[cfg_attr(not(feature = "alloc"), inline(never))] // Once: small machines have no room for a copy at each place.
pub(crate) async fn read<'a, S: Storage>(
    storage: &'a mut S,
    buffer: &'a mut [u8],
    id: SegmentId,
    offset: u32,
    (min, len): (u32, u32),
) -> Result<Option<&'a [u8]>, Error<S::Error>> {
    match storage.read(id, offset, len, buffer).await {
        Ok(bytes) if bytes.len() >= min as usize => Ok(Some(bytes)),
        Ok(_) => Err(Error::BufferTooSmall { needed: min as usize }),
        Err(error) if error.fault() == Fault::Unreadable => Ok(None),
        Err(error) => Err(Error::Storage(error)),
    }
}

/// `len` bytes at `offset`, or some that mean nothing.
#[twin(AFIT)]
pub(crate) async fn header<'a, S: Storage>(
    storage: &'a mut S,
    buffer: &'a mut [u8],
    id: SegmentId,
    offset: u32,
    len: usize,
) -> Result<&'a [u8], Error<S::Error>> {
    let bytes = read(storage, buffer, id, offset, (len as u32, len as u32)).await?;
    Ok(bytes.unwrap_or(&UNREADABLE))
}

/// The next event of a walk that is not a wish for bytes.
#[twin(AFIT)]
#[cfg_attr(not(feature = "alloc"), inline(never))]
pub(crate) async fn next<S: Storage>(
    walk: &mut Walk,
    storage: &mut S,
    buffer: &mut [u8],
) -> Result<Event, Error<S::Error>> {
    loop {
        let event = walk.advance(buffer);
        if event != Event::More {
            return Ok(event);
        }
        let (start, wish) = (buffer.as_ptr(), walk.wish());
        match read(storage, buffer, walk.id, wish.offset, (wish.min, wish.len)).await? {
            Some(bytes) => walk.read(bytes, core::ptr::eq(bytes.as_ptr(), start)),
            // What is wanted may stand in front of the damage.
            None if wish.len > wish.min => walk.narrow(),
            None => walk.read(UNREADABLE.get(..wish.min as usize).unwrap_or(&UNREADABLE), false),
        }
    }
}

/// `len` bytes of the segment that is walked, whole.
#[twin(AFIT)]
pub(crate) async fn value<'a, S: Storage>(
    walk: &mut Walk,
    storage: &'a mut S,
    buffer: &'a mut [u8],
    offset: u32,
    len: u32,
) -> Result<&'a [u8], Error<S::Error>> {
    match walk.take_held(offset, len) {
        Some(at) => Ok(buffer.get(at..at + len as usize).unwrap_or_default()),
        None => read_whole(storage, buffer, walk.id, offset, len).await,
    }
}

/// `len` bytes at `offset`, whole.
#[twin(AFIT)]
pub(crate) async fn read_whole<'a, S: Storage>(
    storage: &'a mut S,
    buffer: &'a mut [u8],
    id: SegmentId,
    offset: u32,
    len: u32,
) -> Result<&'a [u8], Error<S::Error>> {
    match read(storage, buffer, id, offset, (len, len)).await? {
        Some(bytes) => Ok(bytes.get(..len as usize).unwrap_or(bytes)),
        None => Err(corrupt(id, offset, Reason::Payload)),
    }
}

pub(crate) fn corrupt<E>(segment: SegmentId, offset: u32, reason: Reason) -> Error<E> {
    Error::Corrupt(Corruption {
        segment,
        offset,
        reason,
    })
}

/// Reads header and manifest header of a segment, and begins a walk over it up to `end`, without cuts yet.
#[twin(AFIT)]
#[cfg_attr(not(feature = "alloc"), inline(never))]
pub(crate) async fn begin<S: Storage>(
    walk: &mut Walk,
    storage: &mut S,
    buffer: &mut [u8],
    region: &Region<'_>,
    id: SegmentId,
    end: u32,
) -> Result<(), Error<S::Error>> {
    let bytes = header(storage, buffer, id, 0, header::HEADER_LEN).await?;
    let binding = match header::Header::decode(bytes, region.checksum) {
        Ok(header) if header.segment == id => header.binding(region.checksum),
        Ok(header) => return Err(corrupt(id, 0, Reason::Identity { found: header.segment })),
        Err(error) => return Err(corrupt(id, 0, Reason::Header(error))),
    };
    let start = region.layout.frames_start();
    let bytes = header(storage, buffer, id, start, frame::HEADER_LEN).await?;
    let manifest = bytes.first_chunk();
    let manifest = manifest.and_then(|bytes| Header::decode(bytes, &binding, start, 0).ok());
    let Some(Header {
        kind: Kind::Manifest,
        incarnation: base,
        ..
    }) = manifest
    else {
        return Err(corrupt(id, start, Reason::Manifest));
    };
    walk.begin(id, binding.seed(), Limit::Exact(end), base, &Cuts::NONE);
    Ok(())
}

/// Shows `look` the footer of a sealed segment, and takes its cuts into the walk. False where there is none, it is damaged,
/// or the buffer is too short for it: a walk gives the same answers.
#[twin(AFIT)]
#[cfg_attr(not(feature = "alloc"), inline(never))]
pub(crate) async fn footer<S: Storage>(
    walk: &mut Walk,
    storage: &mut S,
    buffer: &mut [u8],
    segment: &Retained,
    look: &mut dyn FnMut(&Footer<'_>),
) -> Result<bool, Error<S::Error>> {
    let len = segment.seal_len();
    let Some(offset) = segment.end.checked_sub(len).filter(|_| len > 0) else {
        return Ok(false);
    };
    let frame = match read_whole(storage, buffer, walk.id, offset, len).await {
        Ok(frame) => frame,
        Err(Error::BufferTooSmall { .. } | Error::Corrupt(_)) => return Ok(false),
        Err(error) => return Err(error),
    };
    let footer = Footer::of_frame(frame, walk.scan.binding(), offset, walk.scan.base());
    if let Some(footer) = &footer {
        *walk.scan.cuts_mut() = *footer.cuts();
        look(footer);
    }
    Ok(footer.is_some())
}

/// Takes the cuts of a segment without a footer into the walk.
#[twin(AFIT)]
#[cfg_attr(not(feature = "alloc"), inline(never))]
pub(crate) async fn cuts<S: Storage>(
    walk: &mut Walk,
    storage: &mut S,
    buffer: &mut [u8],
    segment: &Retained,
    layout: Layout,
) -> Result<(), Error<S::Error>> {
    let mut at = layout.frames_start();
    let least = frame::HEADER_LEN as u32;
    let mut len = segment.end;
    while at + least <= segment.end {
        len = len.min(segment.end - at);
        match read(storage, buffer, walk.id, at, (least, len)).await? {
            Some(bytes) => {
                let (binding, base) = (*walk.scan.binding(), walk.scan.base());
                at = walk.scan.cuts_mut().find(bytes, at, layout, &binding, base);
                len = segment.end;
            }
            None if len > least => len = least,
            None => {
                at += layout.frame_align();
                len = segment.end;
            }
        }
    }
    Ok(())
}
