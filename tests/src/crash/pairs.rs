//! Which pairs of image and obligations were explored, and how deep: shared by all threads, one number for each.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::repeatable::scramble;

/// The pairs explored so far.
///
/// A pair is its digest of 64 bits. Among 10^8 pairs two that share a digest, the second of which is then taken for
/// explored, are to be expected once in 3,000 runs.
#[derive(Debug)]
pub struct Pairs {
    shards: Vec<Mutex<Shard>>,
    len: AtomicUsize,
    /// Numbers in all: a pair that was explored deeper has several.
    numbers: AtomicUsize,
}

type Shard = HashSet<u64, BuildHasherDefault<Given>>;

impl Default for Pairs {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            len: AtomicUsize::new(0),
            numbers: AtomicUsize::new(0),
        }
    }
}

impl Pairs {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Whether nothing was explored yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether more would take more than 5 GB of memory.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.numbers.load(Ordering::Relaxed) >= MOST
    }

    /// Adds a pair; whether it is still to be explored so deep.
    pub fn insert(&self, pair: u64, depth: u8) -> bool {
        let is_new = self.enter(pair);
        if is_new {
            self.len.fetch_add(1, Ordering::Relaxed);
        }
        if depth == 0 {
            return is_new;
        }
        // A second number for the same pair.
        self.enter(scramble(pair ^ u64::from(depth)))
    }

    fn enter(&self, number: u64) -> bool {
        let shard = &self.shards[(number >> 40) as usize % SHARDS];
        let is_new = shard.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
        if is_new {
            self.numbers.fetch_add(1, Ordering::Relaxed);
        }
        is_new
    }
}

/// So many that threads seldom meet, and that one grows while the others do not.
const SHARDS: usize = 256;

/// All shards double at about the same time, to 2^21 places of 9 bytes at last, seven of eight of which are used.
const MOST: usize = SHARDS * (1 << 21) / 8 * 7 / 100 * 99;

/// The number is its own hash: it is a digest.
#[derive(Clone, Copy, Debug, Default)]
struct Given(u64);

impl Hasher for Given {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only numbers are hashed");
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}
