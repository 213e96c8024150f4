//! A small counter-based generator: the same seed gives the same corpus and weights on every machine.

/// SplitMix64 (Steele, Lea, Flood 2014), one independent stream per `(seed, stream)`.
#[derive(Clone, Debug)]
pub struct Random(u64);

/// Increment of SplitMix64's counter: the odd integer nearest to 2^64 divided by the golden ratio.
const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

impl Random {
    /// Starts stream number `stream` of `seed`.
    pub fn new(seed: u64, stream: u64) -> Self {
        Self(mix(mix(seed.wrapping_add(GAMMA)) ^ stream.wrapping_mul(GAMMA)))
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        mix(self.0)
    }

    /// An integer from 0 to `end` exclusive. The bias of at most `end / 2^32` does not matter for text.
    pub fn below(&mut self, end: usize) -> usize {
        (((self.bits() >> 32) * end as u64) >> 32) as usize
    }

    /// An integer from `start` to `end` inclusive.
    pub fn between(&mut self, start: usize, end: usize) -> usize {
        start + self.below(end + 1 - start)
    }

    /// A uniform number in [0, 1) with 24 bits.
    pub fn uniform(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u32 << 24) as f32
    }

    /// About normal, mean 0 and deviation 1: a sum of twelve uniforms, which needs no transcendental.
    pub fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.uniform()).fold(-6.0, |sum, value| sum + value)
    }

    /// One of the items.
    pub fn pick<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.below(items.len())]
    }

    /// `count` different items in random order.
    pub fn sample<'a, T: ?Sized>(&mut self, items: &[&'a T], count: usize) -> Vec<&'a T> {
        let mut items = items.to_vec();
        for i in 0..count {
            let j = self.between(i, items.len() - 1);
            items.swap(i, j);
        }
        items.truncate(count);
        items
    }
}

fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_distinct_and_numbers_stay_in_range() {
        let mut random = Random::new(1, 2);
        let items: Vec<&str> = "a b c d e f".split(' ').collect();
        for _ in 0..1000 {
            let mut sample = random.sample(&items, 4);
            sample.sort_unstable();
            sample.dedup();
            assert_eq!(sample.len(), 4);
            assert!((3..=5).contains(&random.between(3, 5)));
            assert!((0.0..1.0).contains(&random.uniform()));
        }
    }

    #[test]
    fn normal_numbers_have_mean_zero_and_deviation_one() {
        let mut random = Random::new(3, 4);
        let numbers: Vec<f64> = (0..100_000).map(|_| random.normal().into()).collect();
        let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
        let variance = numbers.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / numbers.len() as f64;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02, "mean {mean}, variance {variance}");
    }
}
