//! How far two sets of logits are apart.

use candle_core::{D, DType, Device, Result, Tensor};

use crate::graph::log_softmax;

/// Most that the engine may differ from the oracle: mean divergence of the next token's distribution, nats.
pub const DIVERGENCE_MAX: f64 = 1e-3;

/// Sums over positions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Distance {
    positions: usize,
    divergence: f64,
    agreeing: usize,
}

impl Distance {
    /// Adds the positions of a sequence; both are logits of `[positions, vocab]`.
    pub fn add(&mut self, oracle: &Tensor, ours: &[f32]) -> Result<()> {
        let ours = Tensor::from_slice(ours, oracle.dims(), &Device::Cpu)?;
        let same = oracle.argmax(D::Minus1)?.eq(&ours.argmax(D::Minus1)?)?;
        self.agreeing += same.to_dtype(DType::F64)?.sum_all()?.to_scalar::<f64>()? as usize;
        let oracle = log_softmax(&oracle.to_dtype(DType::F64)?)?;
        let ours = log_softmax(&ours.to_dtype(DType::F64)?)?;
        let divergence = (oracle.exp()? * (&oracle - ours)?)?.sum_all()?;
        self.divergence += divergence.to_scalar::<f64>()?;
        self.positions += oracle.dim(0)?;
        Ok(())
    }

    pub fn positions(&self) -> usize {
        self.positions
    }

    /// Mean Kullback-Leibler divergence of ours from the oracle, in nats.
    pub fn divergence(&self) -> f64 {
        self.divergence / self.positions as f64
    }

    /// Share of positions at which both have the same likeliest token.
    pub fn agreement(&self) -> f64 {
        self.agreeing as f64 / self.positions as f64
    }
}
