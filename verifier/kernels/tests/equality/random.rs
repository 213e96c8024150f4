//! Numbers that look for trouble.

use assay_kernels::WeightType;
use assay_kernels::float::{bf16_is_finite, f16_is_finite};
use assay_kernels::reference::BLOCK;

/// SplitMix64 (Steele, Lea and Flood, 2014).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Mostly numbers around one; sometimes zeros of both signs, subnormals, tiny and large ones.
    pub fn float(&mut self) -> f32 {
        let plain = (self.next() >> 40) as f32 / (1 << 22) as f32 - 2.0;
        match self.next() % 24 {
            0 => 0.0,
            1 => -0.0,
            2 => f32::from_bits((self.next() % 0x0080_0000) as u32),
            3 => plain * 1e-38,
            4 => plain * 1e18,
            _ => plain,
        }
    }

    pub fn floats(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.float()).collect()
    }

    /// Rows of activations; one block in four is tiny, so that it becomes a zero block.
    pub fn activations(&mut self, count: usize) -> Vec<f32> {
        let mut values = self.floats(count);
        for block in values.chunks_mut(BLOCK).filter(|_| self.next().is_multiple_of(4)) {
            block.iter_mut().for_each(|value| *value *= 1e-38);
        }
        values
    }

    /// The bytes of a matrix in a file, every number of them finite.
    pub fn weights(&mut self, weight_type: WeightType, rows: usize, cols: usize) -> Vec<u8> {
        match weight_type {
            WeightType::F32 => self.floats(rows * cols).into_iter().flat_map(f32::to_le_bytes).collect(),
            WeightType::F16 => {
                (0..rows * cols).flat_map(|_| self.half(f16_is_finite).to_le_bytes()).collect()
            }
            WeightType::BF16 => {
                (0..rows * cols).flat_map(|_| self.half(bf16_is_finite).to_le_bytes()).collect()
            }
            _ => {
                let blocks = rows * cols / weight_type.block().0;
                (0..blocks).flat_map(|_| self.block(weight_type)).collect()
            }
        }
    }

    pub fn half(&mut self, is_finite: fn(u16) -> bool) -> u16 {
        let bits = self.next() as u16;
        if is_finite(bits) { bits } else { 0x8000 }
    }

    /// Bytes at random, or in one block of three extreme ones; scales of any size.
    fn block(&mut self, weight_type: WeightType) -> Vec<u8> {
        let extreme = self.next().is_multiple_of(3);
        let byte = |random: &mut Self| match extreme {
            true => [0x80, 0x7f, 0x00, 0xff][(random.next() % 4) as usize],
            false => random.next() as u8,
        };
        let mut bytes: Vec<u8> = (0..weight_type.block().1).map(|_| byte(self)).collect();
        for at in weight_type.halves_at() {
            bytes[*at..at + 2].copy_from_slice(&self.half(f16_is_finite).to_le_bytes());
        }
        bytes
    }
}
