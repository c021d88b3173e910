//! Reading through a storage that lends or copies, in a window that is kept while it serves.

use super::storage::Storage;
use super::twin;
use crate::checksum::Checksum;
use crate::error::{Error, Halt};
use crate::facts::{Footer, Retained};
use crate::fault::{Fault, StorageError};
use crate::frame::{self, Binding, Header, Kind};
use crate::geometry::SegmentId;
use crate::region::Region;
use crate::report::{Corruption, Reason};
use crate::scan::walk::Walk;
use crate::scan::{Event, Limit, MAX_WANTED_LEN};
use crate::segment::cuts::Cuts;
use crate::segment::header;
use crate::segment::layout::Layout;

/// Frames stand at multiples of this, or of more.
const PIECE_LEN: usize = 8;

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
) -> Result<Option<&'a [u8]>, Halt<S::Error>> {
    match storage.read(id, offset, len, buffer).await {
        Ok(bytes) if bytes.len() >= min as usize => Ok(Some(bytes)),
        Ok(_) => Err(Halt::BufferTooSmall { needed: min as usize }),
        Err(error) if error.fault() == Fault::Unreadable => Ok(None),
        Err(error) => Err(Halt::Storage(error)),
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
) -> Result<&'a [u8], Halt<S::Error>> {
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
) -> Result<Event, Halt<S::Error>> {
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
            None => {
                let bytes = read_pieces(storage, buffer, walk.id, wish.offset, wish.min).await?;
                walk.read(bytes, true);
            }
        }
    }
}

/// `len` bytes at `offset`, of which not all can be read. What can be is told apart, for it may be the header of a frame that
/// stands behind the damage.
#[twin(AFIT)]
#[cfg_attr(not(feature = "alloc"), inline(never))]
async fn read_pieces<'a, S: Storage>(
    storage: &mut S,
    buffer: &'a mut [u8],
    id: SegmentId,
    offset: u32,
    len: u32,
) -> Result<&'a [u8], Halt<S::Error>> {
    let too_small = Halt::BufferTooSmall { needed: len as usize };
    let whole = buffer.get_mut(..len as usize).ok_or(too_small)?;
    let mut at = offset;
    for piece in whole.chunks_mut(PIECE_LEN) {
        let mut bytes = [0; PIECE_LEN];
        let bytes = header(storage, &mut bytes, id, at, piece.len()).await?;
        piece.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        at += PIECE_LEN as u32;
    }
    Ok(whole)
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

/// Begins a walk over a listed segment, up to its footer: that says nothing that the frames do not, so damage to it costs
/// nothing but time. `look` is shown the footer first, where there is one.
#[twin(AFIT)]
pub(crate) async fn begin<S: Storage>(
    walk: &mut Walk,
    storage: &mut S,
    buffer: &mut [u8],
    region: &Region<'_>,
    segment: &Retained,
    look: &mut dyn FnMut(&Footer<'_>),
) -> Result<(), Error<S::Error>> {
    match try_begin(walk, storage, buffer, region, segment, look).await? {
        Begun::Walk => Ok(()),
        Begun::Damaged { offset, reason } => Err(corrupt(segment.segment(), offset, reason)),
    }
}

/// What became of a walk that was to begin.
pub(crate) enum Begun {
    Walk,
    /// Neither header nor manifest may be damaged.
    Damaged {
        offset: u32,
        reason: Reason,
    },
}

/// As [`begin`], where damage is not an error.
#[twin(AFIT)]
#[cfg_attr(not(feature = "alloc"), inline(never))]
pub(crate) async fn try_begin<S: Storage>(
    walk: &mut Walk,
    storage: &mut S,
    buffer: &mut [u8],
    region: &Region<'_>,
    segment: &Retained,
    look: &mut dyn FnMut(&Footer<'_>),
) -> Result<Begun, Halt<S::Error>> {
    let (id, start) = (segment.segment(), region.layout.frames_start());
    let bytes = header(storage, buffer, id, 0, header::HEADER_LEN).await?;
    let seed = match seed_of(bytes, id, region.checksum) {
        Ok(seed) => seed,
        Err(reason) => return Ok(Begun::Damaged { offset: 0, reason }),
    };
    let bytes = header(storage, buffer, id, start, frame::HEADER_LEN).await?;
    let Some(base) = base_of(bytes, &region.binding(seed), start) else {
        return Ok(Begun::Damaged {
            offset: start,
            reason: Reason::Manifest,
        });
    };
    let seal_len = segment.seal_len();
    let end = segment.end.saturating_sub(seal_len);
    walk.begin(id, seed, Limit::Exact(end), base, &Cuts::NONE);
    // Where there is no footer, it is damaged, or the buffer is too short for it, a walk gives the same answers.
    let has_footer = seal_len > 0
        && match read(storage, buffer, id, end, (seal_len, seal_len)).await {
            Ok(Some(bytes)) => {
                let frame = bytes.get(..seal_len as usize).unwrap_or(bytes);
                let payload = Footer::verified(frame, walk.scan.binding(), end, base);
                payload.is_some_and(|payload| footer(walk, payload, look))
            }
            Ok(None) | Err(Halt::BufferTooSmall { .. }) => false,
            Err(halt) => return Err(halt),
        };
    if !has_footer {
        cuts(walk, storage, buffer, segment, region.layout).await?;
    }
    Ok(Begun::Walk)
}

// What is decoded stands on the stack while nothing is read.

/// What the checksums of a segment start with.
#[cfg_attr(not(feature = "alloc"), inline(never))]
fn seed_of(header: &[u8], id: SegmentId, checksum: Checksum) -> Result<u32, Reason> {
    match header::Header::decode(header, checksum) {
        Ok(header) if header.segment == id => Ok(header.binding(checksum).seed()),
        Ok(header) => Err(Reason::Identity { found: header.segment }),
        Err(error) => Err(Reason::Header(error)),
    }
}

/// The incarnation of a segment's manifest.
fn base_of(bytes: &[u8], binding: &Binding, start: u32) -> Option<u32> {
    let header = bytes.first_chunk();
    let header = header.and_then(|bytes| Header::decode(bytes, binding, start, 0).ok())?;
    (header.kind == Kind::Manifest).then_some(header.incarnation)
}

/// Shows a footer, and takes its cuts into the walk; false where it does not decode.
#[cfg_attr(not(feature = "alloc"), inline(never))]
fn footer(walk: &mut Walk, payload: &[u8], look: &mut dyn FnMut(&Footer<'_>)) -> bool {
    let footer = Footer::parse(payload);
    if let Some(footer) = &footer {
        footer.put_cuts(walk.scan.cuts_mut());
        look(footer);
    }
    footer.is_some()
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
) -> Result<(), Halt<S::Error>> {
    let mut at = layout.frames_start();
    let least = frame::HEADER_LEN as u32;
    // As far as a walk reaches.
    let mut len = segment.end;
    while at + least <= segment.end {
        len = len.min(segment.end - at);
        match read(storage, buffer, walk.id, at, (least, len)).await? {
            Some(bytes) => {
                let (binding, base) = (*walk.scan.binding(), walk.scan.base());
                len = (bytes.len() as u32).saturating_mul(2);
                at = walk.scan.cuts_mut().find(bytes, at, layout, &binding, base);
            }
            None if len > least => len = least,
            None => at += layout.frame_align(),
        }
    }
    Ok(())
}
