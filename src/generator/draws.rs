//! Draws of chance that are the same for the same seed, for ever.
//!
//! ChaCha8 is specified to the bit; how a number of a range is made from its output is written
//! here rather than taken from a library, whose next version may do it otherwise.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// One independent sequence of draws.
#[derive(Debug)]
pub(super) struct Draws(ChaCha8Rng);

impl Draws {
    /// The sequence `stream` of `seed`.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let mut source = ChaCha8Rng::from_seed(key);
        source.set_stream(stream);
        Self(source)
    }

    /// A number from 0 to `limit` - 1; 0 when `limit` is 0.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        // The high half of the product is evenly spread but for a part in 2^64 / limit.
        let product = u128::from(self.0.next_u64()) * u128::from(limit);
        u64::try_from(product >> 64).unwrap_or(0)
    }

    /// A number from `low` to `high` - 1; `low` when the range is empty.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        let width = u64::try_from(high.saturating_sub(low)).unwrap_or(0);
        low + i64::try_from(self.below(width)).unwrap_or(0)
    }

    /// Whether something of this probability happens.
    pub(super) fn chance_ppm(&mut self, ppm: u32) -> bool {
        self.below(1_000_000) < u64::from(ppm)
    }

    /// Whether something of this probability happens.
    pub(super) fn chance(&mut self, per_mille: u32) -> bool {
        self.below(1_000) < u64::from(per_mille)
    }

    /// The place of an entry, drawn by the entries' weights.
    pub(super) fn weighted(&mut self, weights: impl Iterator<Item = u32> + Clone) -> u8 {
        let mut left = self.below(weights.clone().map(u64::from).sum());
        let mut place = 0;
        for weight in weights.map(u64::from) {
            if left < weight {
                break;
            }
            left -= weight;
            place += 1;
        }
        place
    }

    /// The place of one of `count` equally likely entries.
    pub(super) fn place(&mut self, count: usize) -> u8 {
        u8::try_from(self.below(u64::try_from(count).unwrap_or(0))).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_stay_in_their_range_and_follow_their_weights() {
        let mut draws = Draws::new(7, 0);
        let mut counts = [0; 3];
        for _ in 0..10_000 {
            assert!((-5..5).contains(&draws.between(-5, 5)));
            counts[usize::from(draws.weighted([1, 0, 3].into_iter()))] += 1;
        }
        assert_eq!(counts[1], 0);
        assert!((2_300..2_700).contains(&counts[0]), "{counts:?}");
        assert_eq!((draws.below(0), draws.between(3, 3), draws.chance(0)), (0, 3, false));
        assert!(draws.chance(1_000));
    }

    #[test]
    fn streams_of_one_seed_differ_and_repeat() {
        let first = |seed, stream| Draws::new(seed, stream).below(u64::MAX);
        assert_eq!(first(1, 0), first(1, 0));
        assert_ne!(first(1, 0), first(1, 1));
        assert_ne!(first(1, 0), first(2, 0));
    }
}
