//! Readers of the quantised types: from a block of a file to blocks of 32 weights.
//!
//! The layouts are those of ggml's `block_*` structs (ggml-common.h) and their `dequantize_row_*`.

use super::BLOCK;
use crate::float::f16_to_f32;
use crate::weight::WeightType;

/// Half a block, the smallest group of weights that share a scale.
pub const HALF: usize = BLOCK / 2;

/// 32 weights as their type has them: element `i` of half `h = i / 16` is
/// `scale · factors[h] · (stored[i] − less) + minimum · minimum_factors[h]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// Binary16 bits of the scale.
    pub scale: u16,
    /// Binary16 bits of the minimum; 0 where the type has none.
    pub minimum: u16,
    /// What multiplies the scale, by half; 1 where the type has no factors.
    pub factors: [i8; 2],
    /// What multiplies the minimum, by half; minima that are taken off have negative factors.
    pub minimum_factors: [i8; 2],
    /// The integers, before the type's `less` is taken off.
    pub stored: [u8; BLOCK],
}

impl Block {
    /// The scale of a half: one product, rounded once.
    pub fn half_scale(&self, half: usize) -> f32 {
        f16_to_f32(self.scale) * f32::from(self.factors[half])
    }

    /// The minimum of a half: one product, rounded once.
    pub fn half_minimum(&self, half: usize) -> f32 {
        f16_to_f32(self.minimum) * f32::from(self.minimum_factors[half])
    }
}

/// Reads a block of a file, as many blocks of 32 as it holds; nothing for types of plain numbers.
///
/// # Panics
/// When the lengths are not those of the type.
#[inline(always)]
pub fn read_blocks(weight_type: WeightType, bytes: &[u8], blocks: &mut [Block]) {
    match weight_type {
        WeightType::F32 | WeightType::F16 | WeightType::BF16 => {}
        WeightType::Q8_0 => q8_0(bytes, blocks),
        WeightType::Q4_0 => q4_0(bytes, blocks),
        WeightType::Q4_1 => q4_1(bytes, blocks),
        WeightType::Q5_0 => q5_0(bytes, blocks),
        WeightType::Q5_1 => q5_1(bytes, blocks),
        WeightType::Q2_K => q2_k(bytes, blocks),
        WeightType::Q3_K => q3_k(bytes, blocks),
        WeightType::Q4_K => q4_k(bytes, blocks),
        WeightType::Q5_K => q5_k(bytes, blocks),
        WeightType::Q6_K => q6_k(bytes, blocks),
    }
}

/// `d, q[32]`.
#[inline(always)]
fn q8_0(bytes: &[u8], blocks: &mut [Block]) {
    let block = plain(bytes, 0, blocks);
    for (stored, bytes) in block.stored.as_chunks_mut().0.iter_mut().zip(bytes[2..34].as_chunks().0) {
        *stored = (u32::from_le_bytes(*bytes) ^ 0x8080_8080).to_le_bytes();
    }
}

/// `d, q[16]`.
#[inline(always)]
fn q4_0(bytes: &[u8], blocks: &mut [Block]) {
    let block = plain(bytes, 0, blocks);
    block.stored = nibbles(&bytes[2..18]);
}

/// `d, m, q[16]`.
#[inline(always)]
fn q4_1(bytes: &[u8], blocks: &mut [Block]) {
    let block = plain(bytes, word(bytes, 2), blocks);
    block.stored = nibbles(&bytes[4..20]);
}

/// `d, fifth bits of all elements, q[16]`.
#[inline(always)]
fn q5_0(bytes: &[u8], blocks: &mut [Block]) {
    let block = plain(bytes, 0, blocks);
    block.stored = with_fifth_bits(nibbles(&bytes[6..22]), &bytes[2..6]);
}

/// `d, m, fifth bits of all elements, q[16]`.
#[inline(always)]
fn q5_1(bytes: &[u8], blocks: &mut [Block]) {
    let block = plain(bytes, word(bytes, 2), blocks);
    block.stored = with_fifth_bits(nibbles(&bytes[8..24]), &bytes[4..8]);
}

/// `scales[16], q[64], d, dmin`: a byte of `scales` is a group's scale (low half) and minimum.
#[inline(always)]
fn q2_k(bytes: &[u8], blocks: &mut [Block]) {
    let (scales, quants) = (&bytes[..16], &bytes[16..80]);
    for (index, block) in blocks[..8].iter_mut().enumerate() {
        (block.scale, block.minimum) = (word(bytes, 80), word(bytes, 82));
        for half in 0..2 {
            let packed = scales[2 * index + half];
            block.factors[half] = (packed & 15) as i8;
            block.minimum_factors[half] = -((packed >> 4) as i8);
        }
        block.stored = two_bits(quants, index);
    }
}

/// `third bits[32], q[64], scales[12], d`: the third bits of block `i` are bit `i` of the first 32 bytes.
#[inline(always)]
fn q3_k(bytes: &[u8], blocks: &mut [Block]) {
    let (thirds, quants, scales) = (&bytes[..32], &bytes[32..96], &bytes[96..108]);
    for (index, block) in blocks[..8].iter_mut().enumerate() {
        (block.scale, block.minimum) = (word(bytes, 108), 0);
        block.minimum_factors = [0; 2];
        for half in 0..2 {
            let group = 2 * index + half;
            let low = scales[group % 8] >> (4 * (group / 8)) & 15;
            let high = scales[8 + group % 4] >> (2 * (group / 4)) & 3;
            block.factors[half] = (low | high << 4) as i8 - 32;
        }
        block.stored = two_bits(quants, index);
        add_bits(&mut block.stored, 2, bits(thirds, index, 1));
    }
}

/// `d, dmin, scales[12], q[128]`.
#[inline(always)]
fn q4_k(bytes: &[u8], blocks: &mut [Block]) {
    let quants = &bytes[16..144];
    for (index, block) in blocks[..8].iter_mut().enumerate() {
        sixes(bytes, index, block);
        block.stored = halves_of_bytes(quants, index);
    }
}

/// `d, dmin, scales[12], fifth bits[32], q[128]`: the fifth bits of block `i` are bit `i` of the 32 bytes.
#[inline(always)]
fn q5_k(bytes: &[u8], blocks: &mut [Block]) {
    let (fifths, quants) = (&bytes[16..48], &bytes[48..176]);
    for (index, block) in blocks[..8].iter_mut().enumerate() {
        sixes(bytes, index, block);
        block.stored = halves_of_bytes(quants, index);
        add_bits(&mut block.stored, 4, bits(fifths, index, 1));
    }
}

/// `low halves[128], high bits[64], scales[16], d`: 128 elements take 64 bytes of low halves, first those of
/// blocks 0 and 1, then as high halves those of blocks 2 and 3, and 32 bytes of two high bits each.
#[inline(always)]
fn q6_k(bytes: &[u8], blocks: &mut [Block]) {
    let (lows, highs, scales) = (&bytes[..128], &bytes[128..192], &bytes[192..208]);
    for (index, block) in blocks[..8].iter_mut().enumerate() {
        (block.scale, block.minimum) = (word(bytes, 208), 0);
        block.minimum_factors = [0; 2];
        block.factors = [scales[2 * index] as i8, scales[2 * index + 1] as i8];
        let (half, quarter) = (index / 4, index % 4);
        block.stored = bits(&lows[64 * half + 32 * (quarter % 2)..], 4 * (quarter / 2), 4);
        add_bits(&mut block.stored, 4, bits(&highs[32 * half..], 2 * quarter, 2));
    }
}

/// A block of 32 whose scale stands first, without factors.
#[inline(always)]
fn plain<'a>(bytes: &[u8], minimum: u16, blocks: &'a mut [Block]) -> &'a mut Block {
    let block = &mut blocks[0];
    (block.scale, block.minimum) = (word(bytes, 0), minimum);
    (block.factors, block.minimum_factors) = ([1; 2], [1; 2]);
    block
}

/// The scale and minimum of six bits each of group `index`, packed into the 12 bytes after `d` and `dmin`.
#[inline(always)]
fn sixes(bytes: &[u8], index: usize, block: &mut Block) {
    (block.scale, block.minimum) = (word(bytes, 0), word(bytes, 2));
    let packed = &bytes[4..16];
    let (scale, minimum) = if index < 4 {
        (packed[index] & 63, packed[index + 4] & 63)
    } else {
        let top = |byte: u8| byte >> 6 << 4;
        (packed[index + 4] & 15 | top(packed[index - 4]), packed[index + 4] >> 4 | top(packed[index]))
    };
    block.factors = [scale as i8; 2];
    block.minimum_factors = [-(minimum as i8); 2];
}

#[inline(always)]
fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// Low halves of 16 bytes, then high halves.
#[inline(always)]
fn nibbles(bytes: &[u8]) -> [u8; BLOCK] {
    let mut twice = [0; BLOCK];
    let (low, high) = twice.split_at_mut(HALF);
    low.copy_from_slice(bytes);
    high.copy_from_slice(bytes);
    let (low, high) = (bits(&twice, 0, 4), bits(&twice, 4, 4));
    let mut stored = low;
    stored[HALF..].copy_from_slice(&high[HALF..]);
    stored
}

/// Bit `i` of four bytes is the fifth of element `i`.
#[inline(always)]
fn with_fifth_bits(mut stored: [u8; BLOCK], fifths: &[u8]) -> [u8; BLOCK] {
    let mut spread = [0; BLOCK];
    for (eight, fifths) in spread.as_chunks_mut::<8>().0.iter_mut().zip(fifths) {
        // Byte `i` keeps bit `i` of a copy of all eight; adding what it lacks to 128 carries it into bit 7.
        let kept = (u64::from(*fifths) * 0x0101_0101_0101_0101) & 0x8040_2010_0804_0201;
        *eight = ((kept + 0x0040_6070_787c_7e7f) >> 7 & 0x0101_0101_0101_0101).to_le_bytes();
    }
    add_bits(&mut stored, 4, spread);
    stored
}

/// 64 elements take 32 bytes: the low halves those of the even block, the high halves those of the odd one.
#[inline(always)]
fn halves_of_bytes(quants: &[u8], index: usize) -> [u8; BLOCK] {
    bits(&quants[BLOCK * (index / 2)..], 4 * (index % 2), 4)
}

/// 128 elements take 32 bytes: bits 0 and 1 those of the first block, bits 6 and 7 those of the fourth.
#[inline(always)]
fn two_bits(quants: &[u8], index: usize) -> [u8; BLOCK] {
    bits(&quants[BLOCK * (index / 4)..], 2 * (index % 4), 2)
}

/// Bits `from` to `from + width` of each of the first 32 bytes. Four bytes at a time: no processor shifts single
/// ones.
#[inline(always)]
pub(crate) fn bits(bytes: &[u8], from: usize, width: usize) -> [u8; BLOCK] {
    let mask = (0xff >> (8 - width)) * 0x0101_0101;
    let mut out = [0; BLOCK];
    for (out, bytes) in out.as_chunks_mut::<4>().0.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *out = (u32::from_le_bytes(*bytes) >> from & mask).to_le_bytes();
    }
    out
}

/// Puts bits above those that are there: `stored | high << by`, which stay in their bytes.
#[inline(always)]
fn add_bits(stored: &mut [u8; BLOCK], by: usize, high: [u8; BLOCK]) {
    for (stored, high) in stored.as_chunks_mut::<4>().0.iter_mut().zip(high.as_chunks::<4>().0) {
        *stored = (u32::from_le_bytes(*stored) | u32::from_le_bytes(*high) << by).to_le_bytes();
    }
}
