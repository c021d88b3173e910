//! How far space is claimed ahead of stores, and how holes get written blocks. Knows a file, no segment.

use std::io;
use std::ops::Range;

use crate::seam::{FILL_LEN, File, Seam};

/// How far a claim goes, and the step of the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ahead {
    pub(super) end: u32,
    pub(super) step: u32,
}

impl Ahead {
    /// The first claim of a segment takes what was asked for, so that a spare segment or a region that is
    /// hardly used stays small; later ones go ahead by twice as much each time, up to 1 MiB, so that a claim
    /// is rare and never long.
    pub(super) const fn decide(claimed: u32, asked: u32, step: u32, segment_len: u32) -> Self {
        let asked = round_up(asked);
        let ahead = round_up(claimed).saturating_add(step);
        let end = if ahead > asked { ahead } else { asked };
        Self {
            end: if end > segment_len { segment_len } else { end },
            step: match step {
                0 => MIN_STEP,
                _ if step >= MAX_STEP => MAX_STEP,
                _ => step * 2,
            },
        }
    }
}

const MIN_STEP: u32 = 64 << 10;
const MAX_STEP: u32 = 1 << 20;

/// Bytes of one transfer that fills space of which so much is used up between two syncs. The pages of a piece share a
/// folio, and a sync writes a folio whole: no longer than what it has to write anyway. Longer ones cost less (measured,
/// processor time for each MiB that is filled and made ready for stores: 1000 us by 4 KiB, 450 by 16 KiB, 265 by 64 KiB).
pub(super) const fn piece_len(unsynced: u32) -> u32 {
    if unsynced <= FILL_LEN {
        FILL_LEN
    } else if unsynced >= MAX_PIECE_LEN {
        MAX_PIECE_LEN
    } else {
        1 << unsynced.ilog2()
    }
}

const MAX_PIECE_LEN: u32 = 64 << 10;

pub(super) const fn round_up(offset: u32) -> u32 {
    offset.next_multiple_of(FILL_LEN)
}

pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// Writes zeros into the holes of a range; without knowledge of holes, what reads there.
pub(super) fn fill(seam: &Seam, file: &File, range: Range<u32>, piece_len: u32, tells_holes: bool) -> io::Result<()> {
    if !tells_holes {
        return rewrite(seam, file, range);
    }
    let mut at = range.start;
    while at < range.end {
        let within = |offset: u64| u32::try_from(offset).unwrap_or(range.end).min(range.end);
        let (data, behind) = match seam.next_data(file, u64::from(at))? {
            Some(data) => (within(data.start), within(data.end)),
            None => (range.end, range.end),
        };
        seam.fill_zero(file, at, data, piece_len)?;
        at = behind;
    }
    Ok(())
}

/// Writes a range again as it reads, each page by itself.
pub(super) fn rewrite(seam: &Seam, file: &File, range: Range<u32>) -> io::Result<()> {
    let mut page = [0; FILL_LEN as usize];
    let mut at = range.start;
    while at < range.end {
        let end = (at - at % FILL_LEN).saturating_add(FILL_LEN).min(range.end);
        let part = page.get_mut(..(end - at) as usize).unwrap_or_default();
        let read = seam.read_at(file, u64::from(at), part)?;
        if read != part.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        seam.write_at(file, u64::from(at), part)?;
        at = end;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_go_ahead_by_growing_steps() {
        let len = 8 << 20;
        let mut claimed = 4096;
        let mut step = 0;
        let mut ends = Vec::new();
        for _ in 0..9 {
            let ahead = Ahead::decide(claimed, claimed + 1, step, len);
            ends.push((ahead.end - claimed) / 1024);
            claimed = ahead.end;
            step = ahead.step;
        }
        assert_eq!(ends, [4, 64, 128, 256, 512, 1024, 1024, 1024, 1024]);
    }

    #[test]
    fn a_claim_covers_what_was_asked_and_stays_in_the_segment() {
        let check = |claimed, asked, step, end| {
            let ahead = Ahead::decide(claimed, asked, step, 1 << 20);
            assert_eq!(ahead.end, end, "{claimed} {asked} {step}");
        };
        check(0, 1, 0, 4096);
        check(4096, 300_000, MIN_STEP, 303_104);
        check(900_000, 900_001, MAX_STEP, 1 << 20);
        check(0, 1 << 20, 0, 1 << 20);
    }

    #[test]
    fn pieces_are_as_long_as_what_is_appended_between_two_syncs() {
        let lens = [0, 300, 4096, 8191, 8192, 25_600, 65_535, 65_536, u32::MAX].map(|len| piece_len(len) / 1024);
        assert_eq!(lens, [4, 4, 4, 4, 8, 16, 32, 64, 64]);
    }

    /// Some file systems cannot tell holes from data and answer that all is data; believing it would leave
    /// holes under the stores.
    #[test]
    fn without_knowledge_of_holes_every_block_is_written_as_it_reads() {
        use std::os::unix::fs::{FileExt, MetadataExt};
        let seam = Seam::new();
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("file");
        let file = seam.create(&path).unwrap();
        seam.set_len(&file, 100_000).unwrap();
        let direct = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        direct.write_all_at(b"data", 50_000).unwrap();
        let before = std::fs::read(&path).unwrap();
        fill(&seam, &file, 1000..90_000, FILL_LEN, false).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), before);
        assert_eq!(seam.next_data(&file, 0).unwrap(), Some(0..90_112));
        direct.sync_all().unwrap();
        assert_eq!(direct.metadata().unwrap().blocks() * 512, 90_112);
    }
}
