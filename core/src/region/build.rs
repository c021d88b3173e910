//! The frames that a region writes: headers of batches, and control frames from what the region knows.

use crate::facts::{self, Retained, SealFacts, State};
use crate::frame::{self, Header, Kind};
use crate::geometry::SegmentId;
use crate::mutation::{self, Mutation};
use crate::region::{Region, Session};
use crate::voids::{self, Cover};

/// A frame that is not a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt-log", derive(defmt::Format))]
pub(crate) enum Control {
    Manifest,
    Seal,
    Close,
    Resume { from: u32 },
    Pad { payload_len: u32 },
}

impl Region<'_> {
    /// Whether the active segment holds no live record, as far as its ranges tell.
    pub(super) fn active_is_dead(&self) -> bool {
        self.tables.complete().is_some_and(|tables| {
            tables
                .iter()
                .all(|range| voids::cover(self.voids.as_slice(), range.table, range.first, range.last) == Cover::All)
        })
    }

    /// The active segment as the next manifest lists it; `None` where it need not be listed.
    pub(super) fn active_as_retained(&self) -> Option<Retained> {
        if self.active_is_dead() {
            return None;
        }
        Some(self.active_entry())
    }

    /// The least sequence that a segment behind the next manifest can hold.
    pub(super) fn oldest_sequence(&self) -> u64 {
        self.segments
            .as_slice()
            .iter()
            .find(|segment| segment.state() == State::Live)
            .map(|segment| segment.first_sequence)
            .or_else(|| self.active_as_retained().map(|segment| segment.first_sequence))
            .unwrap_or(self.next_sequence)
    }

    /// The incarnation of a frame of this kind.
    pub(super) fn incarnation_of(&self, control: Control) -> u32 {
        match control {
            Control::Resume { .. } if mutation::is(Mutation::ResumeKeepsIncarnation) => self.aside.incarnation,
            Control::Resume { .. } => self.aside.incarnation + 1,
            Control::Manifest if self.session == Session::Successor => self.aside.incarnation + 1,
            _ => self.aside.incarnation,
        }
    }

    /// Bytes that building `control` needs.
    pub(crate) fn control_len(&self, control: Control) -> usize {
        match control {
            Control::Manifest => self.manifest_frame_len(1, 0),
            Control::Seal => {
                let tables = self.tables.complete().map_or(0, <[_]>::len);
                let len = facts::seal_frame_len(tables, self.tables.block_starts().is_some());
                len.min(self.layout.max_seal_len() as usize)
            }
            _ => frame::HEADER_LEN,
        }
    }

    /// Builds a control frame in `out`, which has [`Region::control_len`] bytes; returns its length.
    #[cfg_attr(not(feature = "alloc"), inline(never))]
    pub(crate) fn build(&self, control: Control, offset: u32, out: &mut [u8]) -> usize {
        let (kind, payload_len, payload_crc) = match control {
            Control::Close => (Kind::Close, 0, 0),
            Control::Pad { payload_len } => (Kind::Pad, payload_len, 0),
            Control::Resume { from } => (Kind::Resume, 0, from),
            Control::Seal | Control::Manifest => {
                let payload = out.get_mut(frame::HEADER_LEN..).unwrap_or_default();
                let (kind, len) = if control == Control::Seal {
                    (Kind::Seal, self.build_seal(payload))
                } else {
                    (Kind::Manifest, self.build_manifest(payload))
                };
                let crc = self.checksum.of(payload.get(..len).unwrap_or_default());
                (kind, len as u32, crc)
            }
        };
        let (seed, watermark) = match (control, &self.aside.spares[0]) {
            (Control::Manifest, Some(spare)) => (spare.seed, 0),
            _ => (self.active.seed, self.active.durable),
        };
        let header = Header {
            kind,
            with_epoch: false,
            incarnation: self.incarnation_of(control),
            payload_len,
            sequence_delta: if kind == Kind::Manifest {
                0
            } else {
                (self.next_sequence - self.active.first_sequence) as u32
            },
            watermark,
            payload_crc,
        };
        let encoded = header.encode(&self.binding(seed), offset);
        crate::wire::put(out, 0..frame::HEADER_LEN, &encoded);
        match kind {
            Kind::Seal | Kind::Manifest => frame::HEADER_LEN + payload_len as usize,
            _ => frame::HEADER_LEN,
        }
    }

    pub(super) fn build_manifest(&self, out: &mut [u8]) -> usize {
        let last = self.active_as_retained();
        let live = self
            .segments
            .as_slice()
            .iter()
            .filter(|segment| segment.state() == State::Live);
        let oldest = self.oldest_sequence();
        facts::encode_manifest(
            out,
            self.next_sequence,
            live.chain(last.as_ref()),
            self.voids
                .as_slice()
                .iter()
                .filter(|void| void.to >= oldest && !mutation::is(Mutation::ManifestWithoutVoids)),
        )
    }

    pub(super) fn build_seal(&self, out: &mut [u8]) -> usize {
        let facts = SealFacts {
            successor: self.aside.spares[0].map_or(SegmentId(0), |spare| spare.id()),
            next_sequence: self.next_sequence,
            records: (self.next_sequence - self.active.first_sequence) as u32,
            cuts: &self.aside.cuts,
            tables: self.tables.complete(),
            blocks: self.tables.block_starts(),
        };
        facts.encode(out)
    }

    /// The header of a batch at `offset`.
    #[cfg_attr(feature = "alloc", inline)]
    pub(crate) fn batch_header(&self, payload_len: u32, payload_crc: u32, with_epoch: bool) -> Header {
        Header {
            kind: Kind::Batch,
            with_epoch,
            incarnation: self.aside.incarnation,
            payload_len,
            sequence_delta: (self.next_sequence - self.active.first_sequence) as u32,
            watermark: if mutation::is(Mutation::WatermarkIsWritten) {
                self.active.tail
            } else {
                self.active.durable
            },
            payload_crc,
        }
    }
}
