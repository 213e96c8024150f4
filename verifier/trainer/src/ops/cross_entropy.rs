//! Weighted cross-entropy.

use super::arithmetic::softmax;
use super::{elements, with_elements};
use crate::batch::Target;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use std::sync::Arc;

/// Sum over rows of weight times cross-entropy: `[rows, vocabulary]` to a scalar.
pub struct CrossEntropy {
    /// The right token and weight of each row.
    pub targets: Arc<Vec<Target>>,
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn cpu_fwd(&self, logits: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let losses = losses(elements(logits, layout)?, &self.targets);
        let weighted = losses.zip(self.targets.iter()).map(|(loss, target)| f64::from(loss * target.weight));
        Ok((CpuStorage::F32(vec![weighted.sum::<f64>() as f32]), ().into()))
    }

    fn bwd(&self, logits: &Tensor, _result: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.to_scalar::<f32>()?;
        let backward = |logits: &[f32]| {
            let mut dx = logits.to_vec();
            let vocabulary = dx.len() / self.targets.len();
            for (row, target) in dx.chunks_exact_mut(vocabulary).zip(self.targets.iter()) {
                softmax(row);
                row[target.id as usize] -= 1.0;
                row.iter_mut().for_each(|value| *value *= target.weight * grad);
            }
            dx
        };
        let dx = with_elements(logits, backward)?;
        Ok(Some(Tensor::from_vec(dx, logits.shape(), logits.device())?))
    }
}

/// Cross-entropy of each row, unweighted.
///
/// # Errors
/// When the logits are not on the CPU.
pub fn row_losses(logits: &Tensor, targets: &[Target]) -> Result<Vec<f32>> {
    with_elements(logits, |logits| losses(logits, targets).collect())
}

fn losses<'a>(logits: &'a [f32], targets: &'a [Target]) -> impl Iterator<Item = f32> + 'a {
    let vocabulary = logits.len() / targets.len();
    let mut scratch = vec![0f32; vocabulary];
    logits.chunks_exact(vocabulary).zip(targets).map(move |(row, target)| {
        scratch.copy_from_slice(row);
        softmax(&mut scratch) - row[target.id as usize]
    })
}
