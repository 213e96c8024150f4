//! Inputs of vectors: written out, or drawn by a generator that `docs/VECTORS.md` defines.

use assay_kernels::WeightType;

/// SplitMix64 (Steele, Lea and Flood, 2014).
pub struct SplitMix64(pub u64);

impl SplitMix64 {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A multiple of 2^−22 in [−2, 2).
    fn plain(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 22) as f32 - 2.0
    }

    /// Mostly plain; sometimes a zero of either sign, a subnormal, a tiny or a large number.
    fn wild(&mut self) -> f32 {
        /// 2^−126 and 2^60.
        const TINY: f32 = f32::MIN_POSITIVE;
        const LARGE: f32 = (1u64 << 60) as f32;
        let plain = self.plain();
        match self.next() % 24 {
            0 => 0.0,
            1 => -0.0,
            2 => f32::from_bits((self.next() % (1 << 23)) as u32),
            3 => plain * TINY,
            4 => plain * LARGE,
            _ => plain,
        }
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..count.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).collect();
        bytes.truncate(count);
        bytes
    }
}

/// How numbers are drawn.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    pub kind: &'static str,
    pub seed: u64,
    pub count: usize,
}

/// Numbers, and the draw that makes them where they are not written out.
#[derive(Clone, Debug)]
pub struct Floats {
    pub values: Vec<f32>,
    pub draw: Option<Draw>,
}

impl Floats {
    pub fn given(values: &[f32]) -> Self {
        Self { values: values.to_vec(), draw: None }
    }

    pub fn plain(seed: u64, count: usize) -> Self {
        let mut random = SplitMix64(seed);
        let values = (0..count).map(|_| random.plain()).collect();
        Self { values, draw: Some(Draw { kind: "plain", seed, count }) }
    }

    pub fn wild(seed: u64, count: usize) -> Self {
        let mut random = SplitMix64(seed);
        let values = (0..count).map(|_| random.wild()).collect();
        Self { values, draw: Some(Draw { kind: "wild", seed, count }) }
    }
}

/// Rows of a matrix as a file has them, and the draw that makes them where they are not written out.
#[derive(Clone, Debug)]
pub struct Rows {
    pub weight_type: WeightType,
    pub cols: usize,
    pub bytes: Vec<u8>,
    pub draw: Option<Draw>,
}

impl Rows {
    pub fn given(weight_type: WeightType, bytes: Vec<u8>, cols: usize) -> Self {
        Self { weight_type, cols, bytes, draw: None }
    }

    /// Random bytes, in which every number of a float type, and every scale and minimum of a block, gets an
    /// exponent that puts its magnitude between 2^−7 and 2.
    pub fn drawn(weight_type: WeightType, rows: usize, cols: usize, seed: u64) -> Self {
        let count = rows * weight_type.row_bytes(cols).expect("columns that fill blocks");
        let mut bytes = SplitMix64(seed).bytes(count);
        let half = |bytes: &mut [u8], set: u8| bytes[1] = bytes[1] & 0xbf | set;
        match weight_type {
            WeightType::F32 => bytes.chunks_exact_mut(4).for_each(|word| half(&mut word[2..], 0x3c)),
            WeightType::F16 => bytes.chunks_exact_mut(2).for_each(|word| half(word, 0x20)),
            WeightType::BF16 => bytes.chunks_exact_mut(2).for_each(|word| half(word, 0x3c)),
            _ => {
                for block in bytes.chunks_exact_mut(weight_type.block().1) {
                    weight_type.halves_at().iter().for_each(|at| half(&mut block[*at..at + 2], 0x20));
                }
            }
        }
        Self { weight_type, cols, bytes, draw: Some(Draw { kind: "weights", seed, count }) }
    }

    pub fn row_bytes(&self) -> usize {
        self.weight_type.row_bytes(self.cols).expect("columns that fill blocks")
    }
}
