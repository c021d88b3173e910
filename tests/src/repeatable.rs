//! Numbers that look random and are the same in every run: digests, and dice. Not for hostile input.

/// A digest of numbers in their order.
#[derive(Clone, Copy, Debug)]
pub struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }
}

impl Digest {
    /// That of these numbers.
    #[must_use]
    pub fn of(numbers: &[u64]) -> u64 {
        let mut digest = Self::default();
        numbers.iter().for_each(|&number| digest.number(number));
        digest.finish()
    }

    /// Takes in one more number.
    pub const fn number(&mut self, number: u64) {
        // Odd, so that no input is lost; the rotation carries high bits down.
        self.0 = (self.0 ^ number).wrapping_mul(0xd6e8_feb8_6659_fd93).rotate_left(29);
    }

    /// The digest of what was taken in.
    #[must_use]
    pub const fn finish(self) -> u64 {
        scramble(self.0)
    }
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014): no two
/// numbers give the same one.
#[must_use]
pub const fn scramble(mut number: u64) -> u64 {
    number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

/// SplitMix64: a run of numbers that depends on its seed alone.
#[derive(Clone, Copy, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The run of some seeds.
    #[must_use]
    pub fn new(seeds: &[u64]) -> Self {
        Self(Digest::of(seeds))
    }

    /// The next number.
    pub const fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        scramble(self.0)
    }

    /// Below `end`, which is not zero.
    pub const fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    /// True once in so many times.
    pub const fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    /// One of them.
    ///
    /// # Panics
    /// If there is none.
    pub const fn one_of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }
}
