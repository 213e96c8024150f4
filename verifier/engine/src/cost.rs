//! What an execution takes of a machine: bytes that are read and kept, and the time that the trace costs.
//!
//! For benchmarks; nothing here changes how a request is executed.

use std::hint::black_box;
use std::time::{Duration, Instant};

use assay_kernels::{Matrix, stream};
use assay_protocol::trace::{PositionState, TraceBuilder};

use crate::engine::Engine;
use crate::forward::traced;
use crate::model::{FeedForward, Gated, Model};

/// Rows of logits that take turns, so that they come from where other threads have left them and not from the
/// fastest cache.
const LOGITS_ROWS: usize = 16;

impl Model {
    /// Bytes of weights, as the file holds them, that one position of one sequence reads; of experts, those that it
    /// takes.
    pub fn position_bytes(&self) -> usize {
        self.position_matrices().into_iter().map(Matrix::size_bytes).sum()
    }

    /// Bytes of keys and values of a sequence with as many positions; nothing where no machine has as many.
    pub fn cache_bytes(&self, positions: usize) -> Option<usize> {
        self.config().cache_shape().size_bytes(positions)
    }

    /// What one position is multiplied with, in that order; of experts the first ones, as many as it takes.
    fn position_matrices(&self) -> Vec<&Matrix> {
        let used = self.config().experts.map_or(0, |experts| experts.used);
        let mut matrices = Vec::new();
        for layer in &self.weights().layers {
            matrices.extend([&layer.query.matrix, &layer.key.matrix, &layer.value.matrix]);
            matrices.push(&layer.attention_output);
            match &layer.feed_forward {
                FeedForward::Dense(dense) => matrices.extend(dense.matrices()),
                FeedForward::Experts { router, experts } => {
                    matrices.push(router);
                    matrices.extend(experts.iter().take(used).flat_map(Gated::matrices));
                }
            }
        }
        matrices.push(self.weights().head());
        matrices
    }
}

impl Gated {
    fn matrices(&self) -> [&Matrix; 3] {
        [&self.gate, &self.up, &self.down]
    }
}

impl Engine {
    /// Reads the weights that one position reads, with all threads, and does nothing else: bytes of memory, and the
    /// time.
    pub fn read_weights(&self, model: &Model) -> (usize, Duration) {
        stream::read(self.pool(), &model.position_matrices())
    }

    /// The time that tracing takes of decoding a number of positions of one sequence: checking and hashing the
    /// residual after each layer and the logits, and the tree over them, each as an execution does it, on one
    /// thread while the others wait. Nothing else is computed.
    pub fn trace_time(&self, model: &Model, positions: u32) -> Duration {
        let config = model.config();
        let residual: Vec<f32> = (0..config.hidden).map(|i| i as f32).collect();
        let logits: Vec<f32> = (0..config.vocab_size * LOGITS_ROWS).map(|i| i as f32).collect();
        let rows: Vec<&[f32]> = logits.chunks_exact(config.vocab_size).collect();
        let began = Instant::now();
        let mut trace = TraceBuilder::new();
        for (position, logits) in (0..positions).zip(rows.iter().cycle()) {
            let (layers_root, logits_hash) = traced(black_box(&residual), config.layers, black_box(logits));
            trace.push(&PositionState { position, token: 0, layers_root, logits_hash });
        }
        black_box(trace.root());
        began.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use crate::synthetic::Synthetic;
    use crate::{Engine, LoadOptions, Model, Settings};

    #[test]
    fn a_position_reads_the_matrices_but_not_the_embedding() {
        for (name, synthetic) in Synthetic::variants() {
            let file = synthetic.gguf().unwrap();
            let model = Model::load(&file, &LoadOptions::default(), &mut |_, _| {}).unwrap();
            assert!((1..file.len()).contains(&model.position_bytes()), "{name}");
            assert!(model.cache_bytes(2).unwrap() > 0 && model.cache_bytes(usize::MAX).is_none(), "{name}");
            let engine = Engine::new(Settings::for_this_machine()).unwrap();
            assert!(!engine.trace_time(&model, 3).is_zero(), "{name}");
            let (read, time) = engine.read_weights(&model);
            assert!(read >= model.position_bytes() && !time.is_zero(), "{name}: {read} bytes");
        }
    }
}
