//! RMSNorm (Zhang and Sennrich 2019): `x / sqrt(mean(x²) + eps) * w`.

use super::arithmetic::dot;
use super::{elements, with_elements};
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

/// RMSNorm over rows: `x [rows, width]`, `w [width]`.
pub struct RmsNorm {
    /// What is added to the mean square.
    pub eps: f32,
}

impl RmsNorm {
    /// `1 / sqrt(mean(x²) + eps)` of a row.
    fn scale(&self, row: &[f32]) -> f32 {
        1.0 / (dot(row, row) / row.len() as f32 + self.eps).sqrt()
    }

    fn backward(&self, x: &[f32], w: &[f32], grad: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let width = w.len();
        let mut dx = vec![0f32; x.len()];
        let mut dw = vec![0f32; width];
        let mut weighted = vec![0f32; width];
        let rows = x.chunks_exact(width).zip(grad.chunks_exact(width));
        for (dx, (x, grad)) in dx.chunks_exact_mut(width).zip(rows) {
            let scale = self.scale(x);
            for i in 0..width {
                weighted[i] = w[i] * grad[i];
                dw[i] += grad[i] * x[i] * scale;
            }
            let along = dot(&weighted, x) * scale * scale * scale / width as f32;
            for i in 0..width {
                dx[i] = weighted[i] * scale - x[i] * along;
            }
        }
        (dx, dw)
    }
}

impl CustomOp2 for RmsNorm {
    fn name(&self) -> &'static str {
        "rms-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, w) = (elements(x, x_layout)?, elements(w, w_layout)?);
        let mut y = vec![0f32; x.len()];
        for (y, x) in y.chunks_exact_mut(w.len()).zip(x.chunks_exact(w.len())) {
            let scale = self.scale(x);
            for i in 0..w.len() {
                y[i] = x[i] * scale * w[i];
            }
        }
        Ok((CpuStorage::F32(y), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _result: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let backward = |x: &[f32], w: &[f32], grad: &[f32]| self.backward(x, w, grad);
        let (dx, dw) =
            with_elements(x, |x| with_elements(w, |w| with_elements(grad, |grad| backward(x, w, grad))))???;
        let dx = Tensor::from_vec(dx, x.shape(), x.device())?;
        Ok((Some(dx), Some(Tensor::from_vec(dw, w.shape(), w.device())?)))
    }
}
