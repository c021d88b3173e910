//! Bytes in hand, and how what is wanted is taken from them.

/// Bytes in hand, and where they end for good.
pub(crate) struct Window<'a> {
    pub(crate) offset: u32,
    pub(crate) bytes: &'a [u8],
    pub(crate) limit: u32,
}

impl<'a> Window<'a> {
    /// How many bytes from `at` on are in hand and erased, in whole runs: prepared space can be long.
    pub(crate) fn erased_len(&self, at: u32, erased: u8) -> u32 {
        const RUN_LEN: usize = 64;
        let limit = self.limit.saturating_sub(at) as usize;
        let inside = self.behind(at).unwrap_or_default();
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

    /// Whether some of these bytes were never written.
    #[cfg_attr(feature = "alloc", inline)]
    pub(crate) fn ends_before(&self, at: u32, len: u32) -> bool {
        at.checked_add(len).is_none_or(|end| end > self.limit)
    }

    /// What is in hand of the bytes from `at` on.
    #[cfg_attr(feature = "alloc", inline)]
    pub(crate) fn behind(&self, at: u32) -> Option<&'a [u8]> {
        self.bytes.get(at.checked_sub(self.offset)? as usize..)
    }
}
