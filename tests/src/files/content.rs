//! The bytes of one file: what is durable, what a process sees, and what may reach the device before the next sync.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Bytes of a sector, which a device writes as one, or tears.
pub const SECTOR_LEN: usize = 512;

/// Bytes of a page, the least that a file system allocates.
pub const PAGE_LEN: usize = 4096;

const SECTORS_OF_PAGE: u32 = (PAGE_LEN / SECTOR_LEN) as u32;

/// One version of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Content {
    /// The length in bytes.
    pub len: u64,
    /// Bytes, zero where there is a hole; any number of whole pages.
    bytes: Vec<u8>,
    /// The pages that are no holes.
    pages: BTreeSet<u32>,
}

/// What a sector held at a time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Version {
    at: usize,
    bytes: Vec<u8>,
}

/// Something of a file that is not durable, and what may become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pending {
    /// A sector, with so many versions newer than the durable one.
    Sector(u32, usize),
    /// A page that was a hole.
    Page(u32),
    /// The length, with so many newer values.
    Len(usize),
}

/// A file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct File {
    durable: Content,
    now: Content,
    sectors: BTreeMap<u32, Vec<Version>>,
    pages: BTreeMap<u32, usize>,
    lens: Vec<(usize, u64)>,
    /// Where bytes are on their way.
    flights: Vec<Range<usize>>,
}

/// When it will be done that is on its way: no sync covers it yet.
const FLYING: usize = usize::MAX;

impl Content {
    /// Bytes of a page that is no hole, as far as the file reaches.
    pub fn allocated(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.pages.iter().filter_map(|&page| {
            let start = page as usize * PAGE_LEN;
            let end = (start + PAGE_LEN).min(usize::try_from(self.len).unwrap_or(usize::MAX));
            Some((start as u64, self.bytes.get(start..end)?)).filter(|(_, bytes)| !bytes.is_empty())
        })
    }

    /// All bytes, holes included.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        bytes.resize(usize::try_from(self.len).unwrap_or_default(), 0);
        bytes
    }

    fn sector(&self, sector: u32) -> Vec<u8> {
        let start = sector as usize * SECTOR_LEN;
        let mut bytes = self.bytes.get(start..).unwrap_or_default().to_vec();
        bytes.resize(SECTOR_LEN, 0);
        bytes
    }

    fn set_sector(&mut self, sector: u32, bytes: &[u8]) {
        let start = sector as usize * SECTOR_LEN;
        self.reach(start + SECTOR_LEN);
        self.bytes[start..start + SECTOR_LEN].copy_from_slice(bytes);
        self.pages.insert(sector / SECTORS_OF_PAGE);
    }

    fn reach(&mut self, end: usize) {
        if self.bytes.len() < end {
            self.bytes.resize(end.next_multiple_of(PAGE_LEN), 0);
        }
    }
}

impl File {
    /// One that was there before anything was recorded.
    #[must_use]
    pub fn settled(content: Content) -> Self {
        Self {
            durable: content.clone(),
            now: content,
            ..Self::default()
        }
    }

    /// What a process sees.
    #[must_use]
    pub const fn now(&self) -> &Content {
        &self.now
    }

    /// Bytes are on their way: they may have arrived from now on, each sector for itself.
    ///
    /// # Panics
    /// As [`File::write`].
    pub fn submit(&mut self, offset: u64, data: &[u8]) {
        self.write(FLYING, offset, data);
        let start = usize::try_from(offset).expect("files here are small");
        self.flights.push(start..start + data.len());
    }

    /// Bytes that were on their way have arrived.
    pub fn landed(&mut self, at: usize, from: usize, to: usize) {
        self.flights.retain(|flight| *flight != (from..to));
        let flew = |then: &usize| *then == FLYING;
        for (_, versions) in self.sectors.iter_mut().filter(|(sector, _)| {
            let start = **sector as usize * SECTOR_LEN;
            start < to && from < start + SECTOR_LEN
        }) {
            versions
                .iter_mut()
                .filter(|version| flew(&version.at))
                .for_each(|version| version.at = at);
        }
        for (_, then) in self.pages.iter_mut().filter(|(page, _)| {
            let start = **page as usize * PAGE_LEN;
            start < to && from < start + PAGE_LEN
        }) {
            *then = (*then).min(at);
        }
        // Which of them made the file longer is not told apart.
        if self.flights.is_empty() {
            self.lens
                .iter_mut()
                .filter(|(then, _)| flew(then))
                .for_each(|(then, _)| *then = at);
        }
    }

    /// The same, and no sync will ever cover them.
    pub fn lost(&mut self, from: usize, to: usize) {
        self.flights.retain(|flight| *flight != (from..to));
    }

    /// Bytes are written.
    ///
    /// # Panics
    /// Where bytes are on their way: which of them arrive last nobody knows.
    pub fn write(&mut self, at: usize, offset: u64, data: &[u8]) {
        let start = usize::try_from(offset).expect("files here are small");
        let end = start + data.len();
        let meets = |flight: &Range<usize>| start < flight.end && flight.start < end;
        assert!(!self.flights.iter().any(meets), "what is on its way is written again");
        self.allocate(at, start, end);
        let touched = (start / SECTOR_LEN) as u32..end.div_ceil(SECTOR_LEN) as u32;
        let before: Vec<_> = touched.clone().map(|sector| self.now.sector(sector)).collect();
        self.now.reach(end);
        self.now.bytes[start..end].copy_from_slice(data);
        for (sector, before) in touched.zip(before) {
            let bytes = self.now.sector(sector);
            if bytes != before {
                self.sectors.entry(sector).or_default().push(Version { at, bytes });
            }
        }
        if end as u64 > self.now.len {
            self.set_len(at, end as u64);
        }
    }

    /// Holes get blocks.
    pub fn allocate(&mut self, at: usize, from: usize, to: usize) {
        for page in (from / PAGE_LEN) as u32..to.div_ceil(PAGE_LEN) as u32 {
            if self.now.pages.insert(page) {
                self.pages.insert(page, at);
            }
        }
    }

    /// The length is set.
    ///
    /// # Panics
    /// Where the file gets shorter: no backend does that, and what a crash leaves then is not written down here.
    pub fn set_len(&mut self, at: usize, len: u64) {
        assert!(len >= self.now.len, "a file gets shorter");
        if len != self.now.len {
            self.now.len = len;
            self.lens.push((at, len));
        }
    }

    /// What was done before step `begun` is durable.
    pub fn sync(&mut self, begun: usize) {
        self.sync_range(begun, 0, usize::MAX);
    }

    /// The same for the blocks that a range reaches, with the length that reading them back needs; nothing is said of
    /// others.
    pub fn sync_range(&mut self, begun: usize, from: usize, to: usize) {
        let reached = |place: u32, len: usize| place as usize * len < to && from < (place as usize + 1) * len;
        for (&sector, versions) in self
            .sectors
            .iter_mut()
            .filter(|(sector, _)| reached(**sector, SECTOR_LEN))
        {
            let covered = versions.iter().take_while(|version| version.at < begun).count();
            if let Some(last) = versions.drain(..covered).next_back() {
                self.durable.set_sector(sector, &last.bytes);
            }
        }
        self.sectors.retain(|_, versions| !versions.is_empty());
        let durable = &mut self.durable;
        self.pages.retain(|&page, &mut at| {
            let covered = at < begun && reached(page, PAGE_LEN);
            if covered {
                durable.pages.insert(page);
            }
            !covered
        });
        let covered = self.lens.iter().take_while(|(at, _)| *at < begun).count();
        if (self.durable.len as usize) < to
            && let Some((_, len)) = self.lens.drain(..covered).next_back()
        {
            self.durable.len = len;
        }
    }

    /// Nobody remembers when it was done: what is recorded from now on comes later.
    pub fn restart(&mut self) {
        self.sectors.values_mut().flatten().for_each(|version| version.at = 0);
        self.pages.values_mut().for_each(|at| *at = 0);
        self.lens.iter_mut().for_each(|(at, _)| *at = 0);
        // The system waits for what a process sent before it gives up its files.
        self.flights.clear();
    }

    /// When the oldest and the newest of what is not durable were done.
    #[must_use]
    pub fn pending_since(&self) -> (Option<usize>, Option<usize>) {
        let sectors = self.sectors.values().flatten().map(|version| version.at);
        let all = sectors
            .chain(self.pages.values().copied())
            .chain(self.lens.iter().map(|(at, _)| *at));
        let all: Vec<_> = all.collect();
        (all.iter().min().copied(), all.iter().max().copied())
    }

    /// Everything that is not durable, the oldest first.
    #[must_use]
    pub fn pending(&self) -> Vec<Pending> {
        let lens = self.lens.first().map(|(at, _)| (*at, Pending::Len(self.lens.len())));
        let pages = self.pages.iter().map(|(&page, &at)| (at, Pending::Page(page)));
        let sectors = self.sectors.iter().map(|(&sector, versions)| {
            let at = versions.first().map_or(0, |version| version.at);
            (at, Pending::Sector(sector, versions.len()))
        });
        let mut all: Vec<_> = lens.into_iter().chain(pages).chain(sectors).collect();
        all.sort_unstable();
        all.into_iter().map(|(_, pending)| pending).collect()
    }

    /// The file behind a crash: of each pending thing the version chosen, 0 being the durable one.
    #[must_use]
    pub fn survive(&self, chosen: &[(Pending, usize)]) -> Content {
        let mut content = self.durable.clone();
        for &(pending, version) in chosen {
            let Some(newer) = version.checked_sub(1) else { continue };
            match pending {
                Pending::Len(_) => content.len = self.lens[newer].1,
                Pending::Page(page) => drop(content.pages.insert(page)),
                Pending::Sector(sector, _) => content.set_sector(sector, &self.sectors[&sector][newer].bytes),
            }
        }
        content
    }

    /// As [`File::survive`], and of one sector only the first or the last of the bytes that changed arrived.
    #[must_use]
    pub fn survive_torn(&self, chosen: &[(Pending, usize)], sector: u32, first: bool) -> Content {
        let mut content = self.survive(chosen);
        let mut torn = self.durable.sector(sector);
        let new = self.now.sector(sector);
        let changed: Vec<_> = (0..SECTOR_LEN).filter(|&at| torn[at] != new[at]).collect();
        let (head, tail) = changed.split_at(changed.len() / 2);
        for &at in if first { head } else { tail } {
            torn[at] = new[at];
        }
        content.set_sector(sector, &torn);
        content
    }
}
