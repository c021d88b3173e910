//! What a damaged image must give, worked out from the format document: which frames are damaged, whether a frame that
//! is left vouches for them, and where the log ends otherwise. Written anew, so that the engine does not judge itself.

use std::ops::Range;

use walstone_core::frame::{self, HEADER_LEN as FRAME_HEADER_LEN, Kind};
use walstone_core::ram::RamStorage;
use walstone_core::segment::header::{HEADER_LEN, Header};
use walstone_core::segment::layout::Layout;
use walstone_core::{Mark, SegmentId};

use crate::images::{self, Image};

/// A frame of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: Kind,
    /// Where its header stands.
    pub at: usize,
    /// Bytes behind the header that mean something.
    pub payload_len: usize,
    /// Where it vouches that the segment is durable.
    pub watermark: u32,
}

impl Frame {
    /// Header and payload.
    #[must_use]
    pub const fn bytes(&self) -> Range<usize> {
        self.at..self.at + FRAME_HEADER_LEN + self.payload_len
    }

    const fn header(&self) -> Range<usize> {
        self.at..self.at + FRAME_HEADER_LEN
    }
}

/// What must come of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// It is named: by the open, or when the damaged bytes are read.
    Report,
    /// Nothing is lost: it is in bytes without a meaning.
    Meaningless,
    /// Nothing is lost: it is in a footer, and a walk gives the same answers.
    Footer,
    /// Nobody vouches for the damaged bytes: the log ends in front of this mark, as if the power had failed.
    EndsBefore(Mark),
}

/// The frames of a segment that are part of the log, in order.
///
/// # Panics
/// Where the image is damaged.
#[must_use]
pub fn frames(image: &Image, segment: SegmentId) -> Vec<Frame> {
    let bytes = image.ram.bytes(segment).unwrap();
    let checksum = images::options().checksum;
    let header = Header::decode(bytes, checksum).unwrap();
    let (binding, layout) = (header.binding(checksum), Layout::new(header.geometry));
    let decode = |at: u32, base| {
        let head = bytes.get(at as usize..)?.first_chunk()?;
        frame::Header::decode(head, &binding, at, base).ok()
    };
    let whole = |at: u32, frame: &frame::Header| {
        let payload = at as usize + FRAME_HEADER_LEN..at as usize + FRAME_HEADER_LEN + frame.payload_len as usize;
        !frame.kind.has_payload() || checksum.of(&bytes[payload]) == frame.payload_crc
    };
    let (mut at, mut base) = (layout.frames_start(), 0);
    let mut frames = Vec::new();
    loop {
        let Some(frame) = decode(at, base).filter(|frame| whole(at, frame)) else {
            // Torn: the next session's resume frame names this place.
            let mut later = (at + 8..bytes.len() as u32).step_by(8);
            let names_it = |frame: frame::Header| frame.kind == Kind::Resume && frame.payload_crc == at;
            match later.find(|&later| decode(later, base).is_some_and(names_it)) {
                Some(resume) => at = resume,
                None => return frames,
            }
            continue;
        };
        if frame.kind == Kind::Manifest {
            base = frame.incarnation;
        }
        let payload_len = if frame.kind == Kind::Pad { 0 } else { frame.payload_len };
        frames.push(Frame {
            kind: frame.kind,
            at: at as usize,
            payload_len: payload_len as usize,
            watermark: frame.watermark,
        });
        if frame.kind == Kind::Seal {
            return frames;
        }
        at = layout.frame_after(at, frame.payload_len);
    }
}

/// What is known of an image that nothing happened to.
#[derive(Debug)]
pub struct Oracle<'a> {
    image: &'a Image,
    segments: Vec<(SegmentId, Vec<Frame>)>,
}

impl<'a> Oracle<'a> {
    /// Reads the frames of all segments.
    #[must_use]
    pub fn new(image: &'a Image) -> Self {
        let segments = image.ram.ids().map(|id| (id, frames(image, id))).collect();
        Self { image, segments }
    }

    /// The frames of a segment, the lowest id first.
    #[must_use]
    pub fn segments(&self) -> &[(SegmentId, Vec<Frame>)] {
        &self.segments
    }

    /// What must come of an image of which no segment is missing.
    #[must_use]
    pub fn expect(&self, damaged: &RamStorage) -> Expect {
        let hurt = |id, range: Range<usize>| self.hurt(damaged, id, range);
        if self.segments.iter().any(|(id, _)| hurt(*id, 0..HEADER_LEN)) {
            return Expect::Report;
        }
        let mut begun: &[_] = &self.segments;
        while let Some(((id, _), rest)) = begun.split_last()
            && *id > self.image.end.segment
        {
            begun = rest;
        }
        let mut end = None;
        while let Some(((id, frames), older)) = begun.split_last() {
            let (id, start) = (*id, frames.first().map_or(0, |manifest| manifest.at));
            let counts = |frame: &&Frame| {
                let by_payload = matches!(frame.kind, Kind::Manifest | Kind::Seal);
                !hurt(id, if by_payload { frame.bytes() } else { frame.header() })
            };
            let vouched = frames
                .iter()
                .filter(counts)
                .map(|frame| frame.watermark)
                .max()
                .unwrap_or(0);
            let mut damaged_frames = frames.iter().filter(|frame| hurt(id, frame.bytes()));
            let Some(first) = damaged_frames.next() else {
                let exact = self.older_ones(older, &hurt);
                return match (exact, end) {
                    (None, _) => Expect::Report,
                    (_, Some(end)) => Expect::EndsBefore(end),
                    (Some(found), None) => found,
                };
            };
            if vouched as usize > first.at {
                return Expect::Report;
            }
            end = Some(Mark {
                segment: id,
                end: first.at as u32,
            });
            if first.at > start {
                let exact = self.older_ones(older, &hurt);
                return exact.and(end).map_or(Expect::Report, Expect::EndsBefore);
            }
            // Its manifest is gone without a trace: the log ends in the segment below.
            begun = older;
        }
        Expect::Report
    }

    fn hurt(&self, damaged: &RamStorage, id: SegmentId, range: Range<usize>) -> bool {
        let (Some(old), Some(new)) = (self.image.ram.bytes(id), damaged.bytes(id)) else {
            return true;
        };
        old.get(range.clone()) != new.get(range)
    }

    /// Segments whose end a manifest states; `None`: damage to them is named.
    fn older_ones(
        &self,
        older: &[(SegmentId, Vec<Frame>)],
        hurt: &impl Fn(SegmentId, Range<usize>) -> bool,
    ) -> Option<Expect> {
        let mut found = Expect::Meaningless;
        for (id, frames) in older {
            for frame in frames.iter().filter(|frame| hurt(*id, frame.bytes())) {
                if frame.kind != Kind::Seal {
                    return None;
                }
                found = Expect::Footer;
            }
        }
        Some(found)
    }
}
