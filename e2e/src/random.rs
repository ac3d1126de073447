//! Enough randomness for moments and choices of a test, which a seed repeats.

use std::time::SystemTime;

/// A sequence of numbers (xorshift64*, <https://doi.org/10.1145/2845077>). The seed is all of it.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of this seed.
    pub fn seeded(seed: u64) -> Self {
        // seeds beside each other begin alike without this, and 0 would stay 0
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The sequence of `PORTCULLIS_SEED`, else of the clock; the seed is printed so that a failure can be tried again.
    /// What other processes do meanwhile is not repeated by it.
    #[expect(clippy::print_stdout, reason = "the seed is for whoever reads the test's output")]
    pub fn printed() -> Self {
        let given = std::env::var("PORTCULLIS_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            u64::from(since.unwrap_or_default().subsec_nanos())
        });
        println!("PORTCULLIS_SEED={seed}");
        Self::seeded(seed)
    }

    /// The next number of 32 bits, below a bound; 0 if the bound is.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        // the upper half: the lower bits alone are none too random
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32).checked_rem(bound).unwrap_or_default()
    }
}

/// How often a test kills: `PORTCULLIS_KILLS`, else so often as fits `make test`.
pub fn kills(short: usize) -> usize {
    std::env::var("PORTCULLIS_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_sequence_and_another_has_its_own() {
        let sequence = |seed| {
            let mut random = Random::seeded(seed);
            (0..8).map(|_| random.below(1000)).collect::<Vec<_>>()
        };
        assert_eq!(sequence(7), sequence(7));
        assert_ne!(sequence(7), sequence(8));
        assert!(sequence(0).iter().any(|number| *number != 0));
    }
}
