//! The generator of the weights.

/// SplitMix64 (Steele, Lea and Flood, 2014).
pub(super) struct Random(pub u64);

/// By how much its state grows with each draw: 2^64 divided by the golden ratio.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Random {
    /// The generator after so many draws: its state counts them.
    pub const fn after(&self, draws: usize) -> Self {
        Self(self.0.wrapping_add(STEP.wrapping_mul(draws as u64)))
    }

    /// 64 bits.
    pub fn next(&mut self) -> u64 {
        *self = self.after(1);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [−1, 1), exact multiples of 2^−23.
    pub fn symmetric(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// Uniform in `low..=high`, up to a bias of 2^-56.
    pub fn between(&mut self, low: u8, high: u8) -> u8 {
        let span = u64::from(high - low) + 1;
        low + (self.next() % span) as u8
    }

    /// Random bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }
}
