//! What reading a log passes over: the manifests of older segments, and the footers, without which a segment is read
//! whole. Damage there loses nothing yet, and should be known all the same.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use walstone::{Corruption, Reason, RegionStats, SegmentState, SegmentStats};
use walstone_core::Checksum;
use walstone_core::frame::{self, Binding, Header, Kind};
use walstone_core::segment::{header, layout::Layout};

/// Verifies manifest and footer of each segment of a region.
pub(crate) fn verify(root: &Path, region: &RegionStats, damage: &mut Vec<String>) {
    for segment in &region.segments {
        let path = root.join(region.region.to_string()).join(format!("seg_{}", segment.id));
        match fs::read(&path) {
            Ok(bytes) => {
                if let Err((offset, reason)) = verify_segment(&bytes, segment) {
                    let corruption = Corruption {
                        segment: segment.id,
                        offset,
                        reason,
                    };
                    damage.push(format!("region {}: {corruption}", region.region));
                }
            }
            // Reclaimed by a writer since it was listed.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => damage.push(format!("region {}: {}: {error}", region.region, path.display())),
        }
    }
}

fn verify_segment(bytes: &[u8], segment: &SegmentStats) -> Result<(), (u32, Reason)> {
    let header = header::Header::decode(bytes, Checksum::BYTEWISE).map_err(|error| (0, Reason::Header(error)))?;
    let (binding, layout) = (header.binding(Checksum::BYTEWISE), Layout::new(header.geometry));
    let start = layout.frames_start();
    let manifest = frame_at(bytes, &binding, start, 0).filter(|(header, _)| header.kind == Kind::Manifest);
    let (manifest, whole) = manifest.ok_or((start, Reason::Manifest))?;
    if !whole {
        return Err((start, Reason::Manifest));
    }
    if segment.state != SegmentState::Sealed {
        return Ok(());
    }
    // The footer ends the segment; how long it is stands in front of it.
    let aligned = layout.frame_align() as usize;
    let from = segment
        .bytes
        .saturating_sub(layout.max_seal_len())
        .next_multiple_of(layout.frame_align());
    let ends_it = |(offset, (header, whole)): (u32, (Header, bool))| {
        let end = offset + frame::HEADER_LEN as u32 + header.payload_len;
        (header.kind == Kind::Seal && end == segment.bytes).then_some((offset, whole))
    };
    let footer = (from..segment.bytes)
        .step_by(aligned)
        .filter_map(|offset| Some((offset, frame_at(bytes, &binding, offset, manifest.incarnation)?)))
        .find_map(ends_it);
    match footer {
        Some((_, true)) => Ok(()),
        Some((offset, false)) => Err((offset, Reason::Seal)),
        None => Err((from, Reason::Seal)),
    }
}

/// The frame header at `offset`, and whether its payload verifies.
fn frame_at(bytes: &[u8], binding: &Binding, offset: u32, base: u32) -> Option<(Header, bool)> {
    let rest = bytes.get(offset as usize..)?;
    let (head, rest) = rest.split_first_chunk()?;
    let header = Header::decode(head, binding, offset, base).ok()?;
    let payload = rest.get(..header.payload_len as usize);
    let whole = payload.is_some_and(|payload| binding.checksum().of(payload) == header.payload_crc);
    Some((header, whole))
}
