//! Reading through a storage that lends or copies, in a window that is kept while it serves.

use super::storage::Storage;
use super::twin;
use crate::checksum::Checksum;
use crate::error::Error;
use crate::facts::{Footer, Retained};
use crate::fault::{Fault, StorageError};
use crate::frame::{self, Binding, Header, Kind};
use crate::geometry::SegmentId;
use crate::mutation::{self, Mutation};
use crate::report::{Corruption, Reason};
use crate::scan::{Event, Limit, MAX_WANTED_LEN, Scan};
use crate::segment::cuts::Cuts;
use crate::segment::header;
use crate::segment::layout::Layout;

/// What is fed where the medium says that bytes are damaged: no frame, no record, not erased.
static UNREADABLE: [u8; MAX_WANTED_LEN] = [0xa5; MAX_WANTED_LEN];

/// Gives `look` at least `min` and at best `len` bytes at `offset`.
#[twin(AFIT)]
pub(crate) async fn with_bytes<S: Storage, R>(
    storage: &mut S,
    buffer: &mut [u8],
    (id, offset): (SegmentId, u32),
    (min, len): (u32, u32),
    look: impl FnOnce(&[u8]) -> R,
) -> Result<R, Error<S::Error>> {
    for len in [len, min] {
        match storage.read(id, offset, len, buffer).await {
            Ok(bytes) if bytes.len() >= min as usize => return Ok(look(bytes)),
            Ok(_) => return Err(Error::BufferTooSmall { needed: min as usize }),
            Err(error) if error.fault() == Fault::Unreadable => {}
            Err(error) => return Err(Error::Storage(error)),
        }
    }
    Ok(look(UNREADABLE.get(..min as usize).unwrap_or(&UNREADABLE)))
}

/// A walk over one segment of a storage.
#[derive(Debug)]
pub(crate) struct Walk {
    pub(crate) id: SegmentId,
    pub(crate) scan: Scan,
    offset: u32,
    min: u32,
    /// What the caller's buffer holds of this segment, where the storage copies.
    held: Option<(u32, u32)>,
}

#[twin(AFIT)]
impl Walk {
    /// A walk over nothing yet.
    pub(crate) fn new(layout: Layout, checksum: Checksum) -> Self {
        Self {
            id: SegmentId(0),
            scan: Scan::new(layout, checksum),
            offset: 0,
            min: 0,
            held: None,
        }
    }

    /// Walks a segment that ends at `end`.
    pub(crate) fn begin(&mut self, id: SegmentId, end: u32, key: &Key, cuts: Cuts) {
        self.id = id;
        self.min = 0;
        self.held = None;
        self.scan.begin(key.binding.seed(), Limit::Exact(end), key.base, cuts);
    }

    /// The next event that is not a wish for bytes.
    pub(crate) async fn next<S: Storage>(
        &mut self,
        storage: &mut S,
        buffer: &mut [u8],
    ) -> Result<Event, Error<S::Error>> {
        loop {
            let event = if self.min == 0 {
                self.scan.next(0, &[])
            } else if let Some((start, len)) = self.held
                && start <= self.offset
                && self.offset + self.min <= start + len
            {
                self.scan.next(start, buffer.get(..len as usize).unwrap_or_default())
            } else {
                let start = buffer.as_ptr();
                let (offset, scan) = (self.offset, &mut self.scan);
                let wanted = (self.min, scan.limit().saturating_sub(offset).max(self.min));
                let (event, held) = with_bytes(storage, buffer, (self.id, offset), wanted, |bytes| {
                    let copied = core::ptr::eq(bytes.as_ptr(), start);
                    (scan.next(offset, bytes), copied.then_some((offset, bytes.len() as u32)))
                })
                .await?;
                self.held = held;
                event
            };
            match event {
                Event::More { offset, len } => {
                    self.offset = offset;
                    self.min = if mutation::is(Mutation::LengthBeforeChecksum) {
                        len
                    } else {
                        len.clamp(1, MAX_WANTED_LEN as u32)
                    };
                }
                event => return Ok(event),
            }
        }
    }

    /// `len` bytes at `offset`, whole.
    pub(crate) async fn value<'a, S: Storage>(
        &mut self,
        storage: &'a mut S,
        buffer: &'a mut [u8],
        offset: u32,
        len: u32,
    ) -> Result<&'a [u8], Error<S::Error>> {
        if let Some((start, held)) = self.held
            && start <= offset
            && offset + len <= start + held
        {
            let from = (offset - start) as usize;
            return Ok(buffer.get(from..from + len as usize).unwrap_or_default());
        }
        self.held = None;
        read_whole(storage, buffer, self.id, offset, len).await
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
    match storage.read(id, offset, len, buffer).await {
        Ok(bytes) if bytes.len() >= len as usize => Ok(bytes.get(..len as usize).unwrap_or(bytes)),
        Ok(_) => Err(Error::BufferTooSmall { needed: len as usize }),
        Err(error) if error.fault() == Fault::Unreadable => Err(corrupt(id, offset, Reason::Payload)),
        Err(error) => Err(Error::Storage(error)),
    }
}

pub(crate) fn corrupt<E>(segment: SegmentId, offset: u32, reason: Reason) -> Error<E> {
    Error::Corrupt(Corruption {
        segment,
        offset,
        reason,
    })
}

/// What is needed to decode the frames of a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    pub(crate) binding: Binding,
    pub(crate) base: u32,
}

/// Reads header and manifest header of a segment.
#[twin(AFIT)]
pub(crate) async fn key<S: Storage>(
    storage: &mut S,
    buffer: &mut [u8],
    id: SegmentId,
    checksum: Checksum,
    frames_start: u32,
) -> Result<Key, Error<S::Error>> {
    let header_len = header::HEADER_LEN as u32;
    let binding = with_bytes(storage, buffer, (id, 0), (header_len, header_len), |bytes| {
        header::Header::decode(bytes, checksum).map(|header| (header.segment, header.binding(checksum)))
    })
    .await?;
    let binding = match binding {
        Ok((segment, binding)) if segment == id => binding,
        Ok((found, _)) => return Err(corrupt(id, 0, Reason::Identity { found })),
        Err(error) => return Err(corrupt(id, 0, Reason::Header(error))),
    };
    let frame_len = frame::HEADER_LEN as u32;
    let manifest = with_bytes(storage, buffer, (id, frames_start), (frame_len, frame_len), |bytes| {
        Header::decode(bytes.first_chunk()?, &binding, frames_start, 0).ok()
    })
    .await?;
    match manifest {
        Some(manifest) if manifest.kind == Kind::Manifest => Ok(Key {
            binding,
            base: manifest.incarnation,
        }),
        _ => Err(corrupt(id, frames_start, Reason::Manifest)),
    }
}

/// The footer of a sealed segment; `None` where there is none, it is damaged, or the buffer is too short for it: a walk
/// gives the same answers.
#[twin(AFIT)]
pub(crate) async fn footer<'a, S: Storage>(
    storage: &'a mut S,
    buffer: &'a mut [u8],
    segment: &Retained,
    key: &Key,
) -> Result<Option<Footer<'a>>, Error<S::Error>> {
    let len = segment.seal_len();
    let Some(offset) = segment.end.checked_sub(len).filter(|_| len > 0) else {
        return Ok(None);
    };
    match read_whole(storage, buffer, segment.segment(), offset, len).await {
        Ok(frame) => Ok(Footer::of_frame(frame, &key.binding, offset, key.base)),
        Err(Error::BufferTooSmall { .. } | Error::Corrupt(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The cuts of a segment without a footer.
#[twin(AFIT)]
pub(crate) async fn cuts<S: Storage>(
    storage: &mut S,
    buffer: &mut [u8],
    segment: &Retained,
    key: &Key,
    layout: Layout,
) -> Result<Cuts, Error<S::Error>> {
    let (mut cuts, mut at) = (Cuts::NONE, layout.frames_start());
    let least = frame::HEADER_LEN as u32;
    while at + least <= segment.end {
        let wanted = (least, segment.end - at);
        at = with_bytes(storage, buffer, (segment.segment(), at), wanted, |bytes| {
            cuts.find(bytes, at, layout, &key.binding, key.base)
        })
        .await?;
    }
    Ok(cuts)
}
