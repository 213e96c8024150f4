//! SwiGLU (Shazeer 2020): `silu(gate) * up`.

use super::arithmetic::exp;
use super::{elements, with_elements};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

/// SwiGLU over rows: `[rows, 2 * width]`, gate before up, to `[rows, width]`.
pub struct SwiGlu;

impl CustomOp1 for SwiGlu {
    fn name(&self) -> &'static str {
        "swiglu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, columns) = layout.shape().dims2()?;
        let width = columns / 2;
        let x = elements(x, layout)?;
        let mut y = vec![0f32; rows * width];
        for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(columns)) {
            let (gate, up) = x.split_at(width);
            for i in 0..width {
                y[i] = gate[i] * sigmoid(gate[i]) * up[i];
            }
        }
        Ok((CpuStorage::F32(y), (rows, width).into()))
    }

    fn bwd(&self, x: &Tensor, _result: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let columns = x.dims2()?.1;
        let dx = with_elements(x, |x| with_elements(grad, |grad| backward(x, grad, columns)))??;
        Ok(Some(Tensor::from_vec(dx, x.shape(), x.device())?))
    }
}

fn backward(x: &[f32], grad: &[f32], columns: usize) -> Vec<f32> {
    let width = columns / 2;
    let mut dx = vec![0f32; x.len()];
    let rows = x.chunks_exact(columns).zip(grad.chunks_exact(width));
    for (dx, (x, grad)) in dx.chunks_exact_mut(columns).zip(rows) {
        let (gate, up) = x.split_at(width);
        let (dgate, dup) = dx.split_at_mut(width);
        for i in 0..width {
            let sigmoid = sigmoid(gate[i]);
            let silu = gate[i] * sigmoid;
            dup[i] = grad[i] * silu;
            dgate[i] = grad[i] * up[i] * (sigmoid + silu * (1.0 - sigmoid));
        }
    }
    dx
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}
