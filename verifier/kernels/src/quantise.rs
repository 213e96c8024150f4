//! The canonical quantisers: the bytes that ggml's reference quantisers write.

use crate::float::f32_to_f16;
use crate::reference::BLOCK;

/// Values that have no quantised form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantiseError {
    /// The values do not fill whole blocks.
    #[error("quantising {0} values: not a multiple of 32")]
    PartialBlock(usize),
    /// A value is NaN or infinite, or a scale exceeds binary16.
    #[error("quantising block {0}: a value or the scale is not finite")]
    NotFinite(usize),
}

/// F32 to Q8_0: `d = amax / 127`, integers `round(x · (1 / d))`, halves away from zero; `d` is stored as
/// binary16, but the integers are made with the f32 (ggml, `quantize_row_q8_0_ref`).
///
/// # Errors
/// [`QuantiseError`] for a partial block or a value or scale that is not finite.
pub fn q8_0(values: &[f32]) -> Result<Vec<u8>, QuantiseError> {
    quantise(values, |block, bytes| {
        let amax = block.iter().fold(0.0, |max: f32, x| max.max(x.abs()));
        let scale = amax / 127.0;
        let inverse = inverse(scale);
        bytes.extend(f32_to_f16(scale).to_le_bytes());
        bytes.extend(block.iter().map(|x| (x * inverse).round() as i8 as u8));
        scale
    })
}

/// F32 to Q4_0: `d = m / −8`, where `m` is the first value of largest magnitude; integers
/// `trunc(fma(x, 1 / d, 8.5))`, at most 15 (ggml, `quantize_row_q4_0_ref`, whose compilations with FMA
/// round once, as this does).
///
/// # Errors
/// [`QuantiseError`] for a partial block or a value or scale that is not finite.
pub fn q4_0(values: &[f32]) -> Result<Vec<u8>, QuantiseError> {
    quantise(values, |block, bytes| {
        let extreme = block.iter().fold(0.0, |max: f32, x| if x.abs() > max.abs() { *x } else { max });
        let scale = extreme / -8.0;
        let inverse = inverse(scale);
        bytes.extend(f32_to_f16(scale).to_le_bytes());
        let quant = |x: &f32| (x.mul_add(inverse, 8.5) as u8).min(15);
        let (low, high) = block.split_at(BLOCK / 2);
        bytes.extend(low.iter().zip(high).map(|(low, high)| quant(low) | quant(high) << 4));
        scale
    })
}

/// `1 / scale`; 0 for a scale of 0 and for one so small that the inverse overflows, whose binary16 is 0.
fn inverse(scale: f32) -> f32 {
    let inverse = 1.0 / scale;
    if inverse.is_finite() { inverse } else { 0.0 }
}

/// Quantises block by block; `write` appends a block's bytes and returns its scale.
fn quantise(
    values: &[f32],
    write: impl Fn(&[f32; BLOCK], &mut Vec<u8>) -> f32,
) -> Result<Vec<u8>, QuantiseError> {
    let (blocks, rest) = values.as_chunks::<BLOCK>();
    if !rest.is_empty() {
        return Err(QuantiseError::PartialBlock(values.len()));
    }
    let mut bytes = Vec::new();
    for (index, block) in blocks.iter().enumerate() {
        let scale = write(block, &mut bytes);
        let storable = half::f16::from_f32(scale).is_finite();
        if !storable || block.iter().any(|x| !x.is_finite()) {
            return Err(QuantiseError::NotFinite(index));
        }
    }
    Ok(bytes)
}
