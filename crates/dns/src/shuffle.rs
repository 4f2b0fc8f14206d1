//! Random order, from a few bits of state: instances take turns at being first.

/// xorshift64*: fast, and good enough to spread load. One a socket; no lock.
#[derive(Debug, Clone)]
pub struct Shuffle(u64);

impl Shuffle {
    /// From a seed; every seed is fine.
    pub fn new(seed: u64) -> Self {
        // Zero is the one state it never leaves.
        Shuffle(seed | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `bound`, which is not 0. The bias of the remainder is below `bound` / 2⁶⁴.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX);
        usize::try_from(self.next() % bound).unwrap_or(0)
    }

    /// Fisher and Yates.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_first_about_equally_often() {
        let mut shuffle = Shuffle::new(7);
        let mut first = [0_u32; 10];
        for _ in 0..10_000 {
            let mut items: Vec<usize> = (0..10).collect();
            shuffle.shuffle(&mut items);
            first[items[0]] += 1;
        }
        assert!(
            first.iter().all(|times| (850..1_150).contains(times)),
            "{first:?}"
        );
    }
}
