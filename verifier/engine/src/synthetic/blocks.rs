//! Random weights in every file layout (`ggml-common.h`).
//!
//! Floats, Q8_0 and Q4_0 are random numbers that are stored or quantised. The other types have no quantiser
//! here: their integers are random bytes, with scales that give weights the wanted variance and, where the
//! type has minima, a mean near zero.

use std::num::NonZeroUsize;

use assay_kernels::float::f32_to_f16;
use assay_kernels::{WeightType, quantise};
use assay_manifest::formats::DType;

use super::random::Random;

/// Weights with the variance of uniform ones in [−`reach`, `reach`).
pub(super) fn random(weight_type: WeightType, elements: usize, reach: f32, random: &mut Random) -> Vec<u8> {
    match weight_type {
        WeightType::F32 | WeightType::F16 | WeightType::BF16 | WeightType::Q8_0 | WeightType::Q4_0 => {
            numbers(weight_type, elements, reach, random)
        }
        _ => integers(weight_type, elements, reach / 3f32.sqrt(), random),
    }
}

/// Elements that a thread draws at least: a multiple of every block, and some milliseconds of work.
const SHARE_MIN: usize = 1 << 20;

/// Random numbers in a type's layout. Threads share the work; the result is that of one.
fn numbers(weight_type: WeightType, elements: usize, reach: f32, random: &mut Random) -> Vec<u8> {
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let share = elements.div_ceil(threads).next_multiple_of(SHARE_MIN);
    std::thread::scope(|scope| {
        let work = (0..elements).step_by(share).map(|first| {
            let mut random = random.after(first);
            let count = share.min(elements - first);
            scope.spawn(move || {
                let values: Vec<f32> = (0..count).map(|_| random.symmetric() * reach).collect();
                stored(weight_type, &values)
            })
        });
        let work: Vec<_> = work.collect();
        *random = random.after(elements);
        let shares = work.into_iter().map(|share| share.join().unwrap_or_default());
        shares.collect::<Vec<_>>().concat()
    })
}

fn stored(weight_type: WeightType, values: &[f32]) -> Vec<u8> {
    match weight_type {
        WeightType::F16 => flattened(values, |value| f32_to_f16(value).to_le_bytes()),
        // Cut off, not rounded: a random number is as good as its neighbour.
        WeightType::BF16 => flattened(values, |value| ((value.to_bits() >> 16) as u16).to_le_bytes()),
        // Values are finite; a partial block leaves too few bytes, which the writer refuses.
        WeightType::Q8_0 => quantise::q8_0(values).unwrap_or_default(),
        WeightType::Q4_0 => quantise::q4_0(values).unwrap_or_default(),
        _ => le_bytes(values),
    }
}

/// How the manifest calls a type of weights.
pub(super) const fn dtype(weight_type: WeightType) -> DType {
    match weight_type {
        WeightType::F32 => DType::F32,
        WeightType::F16 => DType::F16,
        WeightType::BF16 => DType::BF16,
        WeightType::Q8_0 => DType::Q8_0,
        WeightType::Q4_0 => DType::Q4_0,
        WeightType::Q4_1 => DType::Q4_1,
        WeightType::Q5_0 => DType::Q5_0,
        WeightType::Q5_1 => DType::Q5_1,
        WeightType::Q2_K => DType::Q2_K,
        WeightType::Q3_K => DType::Q3_K,
        WeightType::Q4_K => DType::Q4_K,
        WeightType::Q5_K => DType::Q5_K,
        WeightType::Q6_K => DType::Q6_K,
    }
}

pub(super) fn le_bytes(values: &[f32]) -> Vec<u8> {
    flattened(values, f32::to_le_bytes)
}

fn flattened<const N: usize>(values: &[f32], bytes: impl Fn(f32) -> [u8; N]) -> Vec<u8> {
    values.iter().map(|value| bytes(*value)).collect::<Vec<_>>().into_flattened()
}

/// Blocks of random integers whose weights have this standard deviation.
fn integers(weight_type: WeightType, elements: usize, deviation: f32, random: &mut Random) -> Vec<u8> {
    let (block_elements, block_bytes) = weight_type.block();
    // A partial block leaves too few bytes, which the writer refuses.
    let mut bytes = vec![0; elements / block_elements * block_bytes];
    random.fill(&mut bytes);
    for block in bytes.chunks_exact_mut(block_bytes) {
        match weight_type {
            WeightType::Q4_1 => simple(block, deviation, 4, Some(2), random),
            WeightType::Q5_0 => simple(block, deviation, 5, None, random),
            WeightType::Q5_1 => simple(block, deviation, 5, Some(2), random),
            WeightType::Q2_K => q2_k(block, deviation, random),
            WeightType::Q3_K => q3_k(block, deviation, random),
            WeightType::Q4_K => q45_k(block, deviation, 4, random),
            WeightType::Q5_K => q45_k(block, deviation, 5, random),
            WeightType::Q6_K => q6_k(block, deviation, random),
            _ => unreachable!("made from numbers"),
        }
    }
    bytes
}

/// Standard deviation and mean of uniform integers of so many bits.
fn spread(bits: u32) -> (f32, f32) {
    let count = (1u32 << bits) as f32;
    (((count * count - 1.0) / 12.0).sqrt(), (count - 1.0) / 2.0)
}

fn put_f16(block: &mut [u8], at: usize, value: f32) {
    block[at..at + 2].copy_from_slice(&f32_to_f16(value).to_le_bytes());
}

/// A scale, and perhaps a minimum at a byte of the block; the rest are integers.
fn simple(block: &mut [u8], deviation: f32, bits: u32, minimum_at: Option<usize>, random: &mut Random) {
    let (integers, mean) = spread(bits);
    let scale = deviation / integers * (1.0 + 0.25 * random.symmetric());
    put_f16(block, 0, scale);
    if let Some(at) = minimum_at {
        put_f16(block, at, -scale * mean * (1.0 + 0.1 * random.symmetric()));
    }
}

/// 16 bytes of a scale and a minimum of 4 bits each, 64 of integers, the two factors of the scales.
fn q2_k(block: &mut [u8], deviation: f32, random: &mut Random) {
    let (integers, mean) = spread(2);
    for byte in &mut block[..16] {
        let scale = random.between(8, 15);
        let minimum = (scale + random.between(0, 2) - 1).min(15);
        *byte = scale | minimum << 4;
    }
    // The root mean square of 8..=15 is 11.7.
    let factor = deviation / (integers * 11.7);
    put_f16(block, 80, factor);
    put_f16(block, 82, factor * mean);
}

/// 32 bytes of third bits, 64 of lower bits, 12 of 16 scales of 6 bits that stand for themselves less 32, and
/// their factor.
fn q3_k(block: &mut [u8], deviation: f32, random: &mut Random) {
    let mut scales = [0u8; 12];
    for j in 0..16 {
        let magnitude = random.between(16, 31);
        let stored = if random.between(0, 1) == 0 { 32 + magnitude } else { 32 - magnitude };
        scales[j % 8] |= (stored & 15) << (4 * (j / 8));
        scales[8 + j % 4] |= (stored >> 4) << (2 * (j / 4));
    }
    block[96..108].copy_from_slice(&scales);
    // The root mean square of 16..=31 is 24, that of −4..=3 is 2.35.
    put_f16(block, 108, deviation / (24.0 * 2.35));
}

/// The two factors of scales and minima, 12 bytes of 8 scales and 8 minima of 6 bits each, integers.
fn q45_k(block: &mut [u8], deviation: f32, bits: u32, random: &mut Random) {
    let (integers, mean) = spread(bits);
    // The root mean square of 32..=59 is 46.2.
    let factor = deviation / (integers * 46.2);
    put_f16(block, 0, factor);
    put_f16(block, 2, factor * mean);
    let mut scales = [0u8; 12];
    for j in 0..8 {
        let scale = random.between(32, 59);
        let minimum = scale + random.between(0, 8) - 4;
        if j < 4 {
            scales[j] |= scale;
            scales[j + 4] |= minimum;
        } else {
            scales[j + 4] = scale & 15 | minimum << 4;
            scales[j - 4] |= (scale >> 4) << 6;
            scales[j] |= (minimum >> 4) << 6;
        }
    }
    block[4..16].copy_from_slice(&scales);
}

/// 192 bytes of integers, 16 signed scales, their factor.
fn q6_k(block: &mut [u8], deviation: f32, random: &mut Random) {
    for byte in &mut block[192..208] {
        let magnitude = random.between(64, 127);
        *byte = if random.between(0, 1) == 0 { magnitude } else { magnitude.wrapping_neg() };
    }
    // The root mean square of 64..=127 is 97.3, that of −32..=31 is 18.5.
    put_f16(block, 208, deviation / (97.3 * 18.5));
}
