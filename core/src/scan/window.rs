//! Bytes in hand, and how what is wanted is taken from them.

use crate::scan::Event;

/// Bytes in hand, and where they end for good.
pub(crate) struct Window<'a> {
    pub(crate) offset: u32,
    pub(crate) bytes: &'a [u8],
    pub(crate) limit: u32,
}

pub(crate) enum Take<'a> {
    Bytes(&'a [u8]),
    More(Event),
    /// Some of these bytes were never written.
    Beyond,
}

impl<'a> Window<'a> {
    /// How many bytes from `at` on are in hand and erased, in whole runs: prepared space can be long.
    pub(crate) fn erased_len(&self, at: u32, erased: u8) -> u32 {
        const RUN_LEN: usize = 64;
        let limit = self.limit.saturating_sub(at) as usize;
        let inside = at.checked_sub(self.offset);
        let inside = inside
            .and_then(|start| self.bytes.get(start as usize..))
            .unwrap_or_default();
        let runs = inside.get(..limit).unwrap_or(inside).chunks_exact(RUN_LEN);
        // Without a branch for each byte, so that several are compared at once.
        let count = runs
            .take_while(|run| run.iter().fold(0, |differs, byte| differs | (byte ^ erased)) == 0)
            .count();
        (count * RUN_LEN) as u32
    }

    /// Whether fewer than `len` bytes at `at` are in hand.
    pub(crate) fn is_short_of(&self, at: u32, len: u32) -> bool {
        u64::from(at) + u64::from(len) > u64::from(self.offset) + self.bytes.len() as u64
    }

    /// Exactly `len` bytes at `at`.
    #[cfg_attr(feature = "alloc", inline)]
    pub(crate) fn take(&self, at: u32, len: u32) -> Take<'a> {
        if at.checked_add(len).is_none_or(|end| end > self.limit) {
            return Take::Beyond;
        }
        let inside = at
            .checked_sub(self.offset)
            .and_then(|start| self.bytes.get(start as usize..start as usize + len as usize));
        match inside {
            Some(bytes) => Take::Bytes(bytes),
            None => Take::More(Event::More { offset: at, len }),
        }
    }

    /// At least one and at most `len` bytes at `at`, which all lie before the limit.
    pub(crate) fn take_some(&self, at: u32, len: u32) -> Take<'a> {
        if at.checked_add(len).is_none_or(|end| end > self.limit) {
            return Take::Beyond;
        }
        let inside = at
            .checked_sub(self.offset)
            .and_then(|start| self.bytes.get(start as usize..))
            .filter(|bytes| !bytes.is_empty());
        match inside {
            Some(bytes) => Take::Bytes(bytes.get(..len as usize).unwrap_or(bytes)),
            None => Take::More(Event::More { offset: at, len }),
        }
    }
}
