//! Chance as an argument: the core draws from a generator that its owner passes in, so that a simulation can repeat a run.

/// A source of random numbers. With encryption on it must be a cryptographic generator: nonces are drawn from it.
pub trait Random: Send {
    /// The next 64 bits.
    fn next(&mut self) -> u64;

    /// Fills `bytes`.
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let drawn = self.next().to_le_bytes();
            chunk.copy_from_slice(&drawn[..chunk.len()]);
        }
    }
}

impl dyn Random + '_ {
    /// A number below `bound`, which must not be 0. Even to within 2^-32 for the pools that exist.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).expect("usize must fit into 64 bits");
        let drawn = (self.next() >> 32) * bound;
        usize::try_from(drawn >> 32).expect("a number below a usize must be one")
    }

    /// A part of `span`, evenly.
    pub(crate) fn part_of(&mut self, span: std::time::Duration) -> std::time::Duration {
        span.mul_f64(self.fraction())
    }

    /// At least 0 and below 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        // 53 bits are what a double holds.
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit exactly")]
        let drawn = (self.next() >> 11) as f64;
        drawn / (1_u64 << 53) as f64
    }

    /// Fisher and Yates.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// SplitMix64: small, repeatable, good enough for choosing members; not cryptographic. For tests, simulations and pools
/// without a key.
#[derive(Debug, Clone)]
pub struct Seeded(u64);

impl Seeded {
    /// The same seed gives the same numbers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }
}

impl Random for Seeded {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
