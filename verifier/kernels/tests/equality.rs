//! Every instruction set and every number of threads gives the bits of the scalar reference.

use std::num::NonZeroUsize;

use assay_kernels::float::{f16_is_finite, f16_to_f32};
use assay_kernels::reference::{self, BLOCK};
use assay_kernels::{Activations, Cpu, HeadCache, Matrix, PackError, Pool, WeightType, matmul};

/// Column counts around the ends of vectors, blocks and segments.
const FLOAT_COLS: [usize; 8] = [1, 15, 16, 17, 255, 256, 257, 600];
/// Block counts around the ends of segments.
const BLOCKS: [usize; 6] = [1, 2, 7, 8, 9, 17];
/// Row counts around the ends of tiles.
const ROWS: [usize; 6] = [1, 15, 16, 17, 33, 80];

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Mostly numbers around one; sometimes zeros of both signs, subnormals, tiny and large ones.
    fn float(&mut self) -> f32 {
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

    fn floats(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.float()).collect()
    }

    /// Rows of activations; one block in four is tiny, so that it becomes a zero block.
    fn activations(&mut self, count: usize) -> Vec<f32> {
        let mut values = self.floats(count);
        for block in values.chunks_mut(BLOCK).filter(|_| self.next().is_multiple_of(4)) {
            block.iter_mut().for_each(|value| *value *= 1e-38);
        }
        values
    }

    /// The bytes of a matrix in a file, every one of them finite.
    fn weights(&mut self, weight_type: WeightType, rows: usize, cols: usize) -> Vec<u8> {
        match weight_type {
            WeightType::F32 => self.floats(rows * cols).into_iter().flat_map(f32::to_le_bytes).collect(),
            WeightType::F16 => (0..rows * cols).flat_map(|_| self.half().to_le_bytes()).collect(),
            WeightType::Q8_0 | WeightType::Q4_0 => {
                let quants = weight_type.block().1 - 2;
                (0..rows * cols / BLOCK).flat_map(|_| self.block(quants)).collect()
            }
        }
    }

    fn half(&mut self) -> u16 {
        let bits = self.next() as u16;
        if f16_is_finite(bits) { bits } else { 0x8000 }
    }

    fn block(&mut self, quants: usize) -> Vec<u8> {
        let extreme = self.next().is_multiple_of(3);
        let quant = |random: &mut Self| match extreme {
            true => [0x80, 0x7f, 0x00, 0xff][(random.next() % 4) as usize],
            false => random.next() as u8,
        };
        let scale = self.half().to_le_bytes();
        scale.into_iter().chain((0..quants).map(|_| quant(self))).collect()
    }
}

/// Equal bits; which NaN a result is, is not defined, as every NaN is refused.
#[track_caller]
fn assert_same(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let same = found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan());
        assert!(same, "{what}: {index} is {found:e} ({:#x}), not {expected:e}", found.to_bits());
    }
}

/// One pool per instruction set of this CPU and number of threads.
fn pools() -> Vec<Pool> {
    let threads = [1, 3].map(|threads| NonZeroUsize::new(threads).unwrap());
    let pool = |cpu| threads.map(|threads| Pool::new(threads, cpu).unwrap());
    Cpu::available().into_iter().flat_map(pool).collect()
}

/// The blocks of a row of weights in a file: scale and integers.
fn weight_blocks(weight_type: WeightType, row: &[u8]) -> Vec<(f32, [i8; BLOCK])> {
    let block = |bytes: &[u8]| {
        let scale = f16_to_f32(u16::from_le_bytes([bytes[0], bytes[1]]));
        let quants = std::array::from_fn(|i| match weight_type {
            WeightType::Q8_0 => bytes[2 + i] as i8,
            _ if i < BLOCK / 2 => (bytes[2 + i] & 15) as i8 - 8,
            _ => (bytes[2 + i - BLOCK / 2] >> 4) as i8 - 8,
        });
        (scale, quants)
    };
    row.chunks_exact(weight_type.block().1).map(block).collect()
}

fn activation_blocks(x: &[f32]) -> Vec<(f32, [i8; BLOCK])> {
    let block = |x: &[f32; BLOCK]| {
        let mut quants = [0; BLOCK];
        (reference::quantise_block(x, &mut quants), quants)
    };
    x.as_chunks().0.iter().map(block).collect()
}

fn reference_dot(weight_type: WeightType, row: &[u8], x: &[f32]) -> f32 {
    match weight_type {
        WeightType::F32 => {
            let weights: Vec<_> = row.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            reference::dot_f32(&weights, x)
        }
        WeightType::F16 => {
            let weights: Vec<_> = row.as_chunks().0.iter().map(|bytes| u16::from_le_bytes(*bytes)).collect();
            reference::dot_f16(&weights, x)
        }
        _ => reference::dot_blocks(&weight_blocks(weight_type, row), &activation_blocks(x)),
    }
}

fn check_product(weight_type: WeightType, rows: usize, cols: usize, inputs: usize, pools: &[Pool]) {
    let mut random = Random((rows * 31 + cols * 7 + inputs) as u64);
    let bytes = random.weights(weight_type, rows, cols);
    let x = random.activations(inputs * cols);
    let matrix = Matrix::pack(weight_type, rows, cols, &bytes).unwrap();
    let row_bytes = weight_type.row_bytes(cols).unwrap();
    let dot = |x: &[f32]| -> Vec<f32> {
        bytes.chunks_exact(row_bytes).map(|row| reference_dot(weight_type, row, x)).collect()
    };
    let expected: Vec<f32> = x.chunks_exact(cols).flat_map(dot).collect();
    for pool in pools {
        let mut activations = Activations::new(inputs, cols);
        activations.fill(pool, inputs, &[&matrix], |row, out| out.copy_from_slice(&x[row * cols..][..cols]));
        let mut out = vec![f32::NAN; inputs * rows];
        matmul(pool, &matrix, &activations, &mut out);
        let what = format!("{weight_type:?} {rows} x {cols}, {inputs} inputs, {}", pool.cpu().name());
        assert_same(&out, &expected, &what);
    }
}

#[test]
fn products_of_float_weights_equal_the_reference() {
    let pools = pools();
    for weight_type in [WeightType::F32, WeightType::F16] {
        for rows in ROWS {
            FLOAT_COLS.iter().for_each(|cols| check_product(weight_type, rows, *cols, 3, &pools));
        }
    }
}

#[test]
fn products_of_quantised_weights_equal_the_reference() {
    let pools = pools();
    for weight_type in [WeightType::Q8_0, WeightType::Q4_0] {
        for rows in ROWS {
            BLOCKS.iter().for_each(|blocks| check_product(weight_type, rows, blocks * BLOCK, 3, &pools));
        }
    }
}

#[test]
fn products_of_any_number_of_inputs_equal_the_reference() {
    let pools = pools();
    for weight_type in WeightType::ALL {
        for inputs in [1, 2, 4, 5, 8, 13] {
            check_product(weight_type, 130, 320, inputs, &pools);
        }
    }
}

#[test]
fn a_block_with_nan_or_infinity_gives_no_finite_result() {
    let pools = pools();
    for weight_type in WeightType::ALL {
        let bytes = Random(9).weights(weight_type, 20, 64);
        let matrix = Matrix::pack(weight_type, 20, 64, &bytes).unwrap();
        for (pool, bad) in pools.iter().zip([f32::NAN, f32::INFINITY, f32::NEG_INFINITY].into_iter().cycle())
        {
            let mut activations = Activations::new(1, 64);
            activations.fill(pool, 1, &[&matrix], |_, out| {
                out.fill(0.5);
                out[40] = bad;
            });
            let mut out = vec![0.0; 20];
            matmul(pool, &matrix, &activations, &mut out);
            assert!(out.iter().all(|value| !value.is_finite()), "{weight_type:?} {bad}: {out:?}");
        }
    }
}

#[test]
fn rows_of_a_matrix_are_what_its_type_says() {
    for weight_type in WeightType::ALL {
        let (rows, cols) = (19, 96);
        let bytes = Random(3).weights(weight_type, rows, cols);
        let matrix = Matrix::pack(weight_type, rows, cols, &bytes).unwrap();
        for (index, row) in bytes.chunks_exact(weight_type.row_bytes(cols).unwrap()).enumerate() {
            let expected: Vec<f32> = match weight_type {
                WeightType::F32 => row.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
                WeightType::F16 => {
                    row.as_chunks().0.iter().map(|b| f16_to_f32(u16::from_le_bytes(*b))).collect()
                }
                _ => weight_blocks(weight_type, row)
                    .iter()
                    .flat_map(|(scale, quants)| quants.map(|quant| scale * f32::from(quant)))
                    .collect(),
            };
            let mut out = vec![0.0; cols];
            matrix.row(index, &mut out);
            assert_same(&out, &expected, &format!("{weight_type:?} row {index}"));
        }
    }
}

#[test]
fn matrices_that_are_not_finite_or_not_whole_are_refused() {
    for (weight_type, at, bad) in [
        (WeightType::F32, 4 * 64, f32::NAN.to_le_bytes().to_vec()),
        (WeightType::F16, 2 * 64, 0x7c00u16.to_le_bytes().to_vec()),
        (WeightType::Q8_0, 68 + 34, 0xfe00u16.to_le_bytes().to_vec()),
        (WeightType::Q4_0, 36, 0x7c01u16.to_le_bytes().to_vec()),
    ] {
        let mut bytes = Random(5).weights(weight_type, 3, 64);
        bytes[at..at + bad.len()].copy_from_slice(&bad);
        assert_eq!(
            Matrix::pack(weight_type, 3, 64, &bytes).unwrap_err(),
            PackError::NotFinite { row: 1 },
            "{weight_type:?}"
        );
        for (rows, cols) in [(2, 64), (0, 64), (3, 0), (3, 63), (usize::MAX, 64)] {
            let refused = Matrix::pack(weight_type, rows, cols, &bytes);
            assert!(matches!(refused, Err(PackError::Shape { .. })), "{weight_type:?} {rows} x {cols}");
        }
    }
}

#[test]
fn kernels_over_rows_equal_the_reference() {
    for len in [1, 2, 15, 16, 17, 31, 32, 33, 100, 256] {
        let mut random = Random(len as u64);
        let (x, y) = (random.floats(len), random.floats(len));
        let mut norm = vec![0.0; len];
        reference::rms_norm(&x, &y, 1e-5, &mut norm);
        let swiglu: Vec<f32> = x.iter().zip(&y).map(|(gate, up)| reference::swiglu(*gate, *up)).collect();
        let sum: Vec<f32> = x.iter().zip(&y).map(|(x, y)| x + y).collect();
        for cpu in Cpu::available() {
            let mut out = vec![0.0; len];
            cpu.rms_norm(&x, &y, 1e-5, &mut out);
            assert_same(&out, &norm, &format!("rms norm of {len}, {}", cpu.name()));
            cpu.swiglu(&x, &y, &mut out);
            assert_same(&out, &swiglu, &format!("swiglu of {len}, {}", cpu.name()));
            out.copy_from_slice(&x);
            cpu.add(&mut out, &y);
            assert_same(&out, &sum, &format!("sum of {len}, {}", cpu.name()));
        }
    }
}

#[test]
fn the_exponential_equals_the_reference_over_its_whole_range() {
    // SwiGLU with an `up` of one shows the exponential; every 4,099th bit pattern, NaNs included.
    let gates: Vec<f32> = (0..=u32::MAX).step_by(4_099).map(f32::from_bits).collect();
    let ones = vec![1.0; gates.len()];
    let expected: Vec<f32> = gates.iter().map(|gate| reference::silu(*gate)).collect();
    for cpu in Cpu::available() {
        let mut out = vec![0.0; gates.len()];
        cpu.swiglu(&gates, &ones, &mut out);
        assert_same(&out, &expected, cpu.name());
    }
}

#[test]
fn rotation_equals_the_reference() {
    for head_size in [2, 6, 16, 64, 80] {
        let mut random = Random(head_size as u64);
        let row = random.floats(3 * head_size);
        let (cos, sin) = (random.floats(head_size / 2), random.floats(head_size / 2));
        let mut expected = row.clone();
        expected.chunks_exact_mut(head_size).for_each(|head| reference::rotate(head, &cos, &sin));
        for cpu in Cpu::available() {
            let mut out = row.clone();
            cpu.rotate(&mut out, &cos, &sin);
            assert_same(&out, &expected, &format!("rotation of {head_size}, {}", cpu.name()));
        }
    }
}

#[test]
fn attention_equals_the_reference() {
    for head_size in [2, 16, 24, 64, 80, 128] {
        for positions in [1, 2, 15, 16, 17, 255, 256, 257, 530] {
            let mut random = Random((head_size * 1_000 + positions) as u64);
            // One position more than is looked at: it must not matter.
            let rows: Vec<[Vec<f32>; 2]> =
                (0..=positions).map(|_| [random.floats(head_size), random.floats(head_size)]).collect();
            let mut cache = HeadCache::new(head_size);
            rows.iter().for_each(|[key, value]| cache.push(key, value));
            let queries: Vec<f32> = random.floats(2 * head_size).iter().map(|q| q.clamp(-4.0, 4.0)).collect();
            let keys: Vec<&[f32]> = rows[..positions].iter().map(|[key, _]| key.as_slice()).collect();
            let values: Vec<&[f32]> = rows[..positions].iter().map(|[_, value]| value.as_slice()).collect();
            let mut expected = vec![0.0; queries.len()];
            for (query, out) in queries.chunks_exact(head_size).zip(expected.chunks_exact_mut(head_size)) {
                reference::attention(query, &keys, &values, out);
            }
            for cpu in Cpu::available() {
                let mut out = vec![0.0; queries.len()];
                cpu.attend(&queries, &cache, positions, &mut out);
                let what = format!("{positions} positions of {head_size}, {}", cpu.name());
                assert_same(&out, &expected, &what);
            }
        }
    }
}
