//! The feed-forward part of a layer, of one or of many experts.

use assay_kernels::reference::route;
use assay_kernels::{Activations, Cpu, Matrix, Pool, Product, matmul};

use super::Forward;
use super::scratch::Scratch;
use crate::architecture::Activation;
use crate::config::Experts;
use crate::model::{FeedForward, Gated, Layer};

impl Forward<'_> {
    /// `x += norm(f(norm(x)))`, the outer norm where the layer has one; then hashes the residuals.
    pub(super) fn feed_forward(&mut self, layer: &Layer) {
        let (pool, cpu, config) = (self.pool, self.pool.cpu(), self.model.config());
        let Scratch { residual, normed, .. } = &mut *self.scratch;
        let inputs: Vec<&Matrix> = match &layer.feed_forward {
            FeedForward::Dense(gated) => vec![&gated.gate, &gated.up],
            // The experts' rows are quantised when they have been chosen.
            FeedForward::Experts { router, .. } => vec![router],
        };
        normed.fill(pool, self.rows, &inputs, |row, out| {
            let x = &residual[row * config.hidden..][..config.hidden];
            cpu.rms_norm(x, &layer.feed_forward_norm, config.rms_epsilon, out);
        });
        match (&layer.feed_forward, config.experts) {
            (FeedForward::Dense(gated), _) => self.dense(gated),
            (FeedForward::Experts { router, experts }, Some(chosen)) => self.mixture(router, experts, chosen),
            (FeedForward::Experts { .. }, None) => unreachable!("experts are loaded where there are some"),
        }
        self.add_update(layer.feed_forward_after_norm.as_deref(), true);
    }

    fn dense(&mut self, gated: &Gated) {
        let activation = self.model.config().architecture.activation;
        let Scratch { normed, gate, up, inner, update, .. } = &mut *self.scratch;
        let inner = GatedInner { gate, up, inner };
        inner.run(self.pool, activation, gated, normed, update);
    }

    /// Each row goes to the experts that the router chooses; what they return, times their weights, is added in
    /// ascending order of experts.
    fn mixture(&mut self, router: &Matrix, experts: &[Gated], chosen: Experts) {
        let (pool, rows, config) = (self.pool, self.rows, self.model.config());
        let Scratch { normed, gate, up, inner, update, routed, expert_input, expert_output, .. } =
            &mut *self.scratch;
        let routed = &mut routed[..rows * chosen.count];
        matmul(pool, normed, &mut [Product { matrix: router, out: routed }]);
        let mut members: Vec<Vec<(usize, f32)>> = vec![Vec::new(); chosen.count];
        for (row, logits) in routed.chunks_exact(chosen.count).enumerate() {
            for (expert, weight) in route(logits, chosen.used) {
                members[expert].push((row, weight));
            }
        }
        update[..rows * config.hidden].fill(0.0);
        for (gated, members) in experts.iter().zip(&members).filter(|(_, members)| !members.is_empty()) {
            expert_input.fill(pool, members.len(), &[&gated.gate, &gated.up], |index, out| {
                out.copy_from_slice(normed.row(members[index].0));
            });
            let inner = GatedInner { gate, up, inner };
            inner.run(pool, config.architecture.activation, gated, expert_input, expert_output);
            for ((row, weight), output) in members.iter().zip(expert_output.chunks_exact(config.hidden)) {
                let sum = &mut update[row * config.hidden..][..config.hidden];
                pool.cpu().add_scaled(sum, *weight, output);
            }
        }
    }
}

/// The buffers between the matrices of a gated layer.
struct GatedInner<'a> {
    gate: &'a mut [f32],
    up: &'a mut [f32],
    inner: &'a mut Activations,
}

impl GatedInner<'_> {
    /// `W_down · (activation(W_gate · x) · (W_up · x))`.
    fn run(self, pool: &Pool, activation: Activation, gated: &Gated, x: &Activations, out: &mut [f32]) {
        let (rows, width) = (x.rows(), gated.gate.rows());
        matmul(
            pool,
            x,
            &mut [
                Product { matrix: &gated.gate, out: &mut self.gate[..rows * width] },
                Product { matrix: &gated.up, out: &mut self.up[..rows * width] },
            ],
        );
        let (gate, up): (&[f32], &[f32]) = (self.gate, self.up);
        let activate = match activation {
            Activation::Silu => Cpu::swiglu,
            Activation::Gelu => Cpu::geglu,
        };
        self.inner.fill(pool, rows, &[&gated.down], |row, out| {
            let row = row * width..(row + 1) * width;
            activate(pool.cpu(), &gate[row.clone()], &up[row], out);
        });
        let out = &mut out[..rows * gated.down.rows()];
        matmul(pool, self.inner, &mut [Product { matrix: &gated.down, out }]);
    }
}
