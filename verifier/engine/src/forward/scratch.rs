//! The buffers of a pass, kept from pass to pass.

use assay_kernels::Activations;
use assay_manifest::Digest32;

use crate::config::Config;

/// Rows for which the output head runs at once, each of which lets the head's weights be read from memory once less.
/// Its results are the widest of all, rows times vocabulary: 33 MB with 128,000 tokens.
pub(crate) const HEAD_ROWS: usize = 64;

/// What one row has left so far.
#[derive(Clone, Debug, Default)]
pub(super) struct RowState {
    /// Hash of the residual after each layer.
    pub hashes: Vec<Digest32>,
    /// Whether every residual was finite.
    pub finite: bool,
}

/// Cosines and sines of the rows' angles, `[rows, pairs]`.
pub(super) struct Angles {
    pub cos: Vec<f32>,
    pub sin: Vec<f32>,
}

/// Every buffer of a pass; `[rows, …]` where nothing else is said.
pub(crate) struct Scratch {
    config: Config,
    rows_max: usize,
    /// `[rows, hidden]`.
    pub(super) residual: Vec<f32>,
    /// What is added to the residual.
    pub(super) update: Vec<f32>,
    pub(super) states: Vec<RowState>,
    /// Of the model's rotations, and of those in layers with a window.
    pub(super) angles: [Angles; 2],
    /// Normalised residuals.
    pub(super) normed: Activations,
    pub(super) queries: Vec<f32>,
    pub(super) keys: Vec<f32>,
    pub(super) values: Vec<f32>,
    /// What attention returns, in chunks of queries that share a key-value head.
    pub(super) attended: Vec<f32>,
    /// The same, by rows.
    pub(super) heads: Activations,
    pub(super) gate: Vec<f32>,
    pub(super) up: Vec<f32>,
    pub(super) inner: Activations,
    /// What the router of experts says, `[rows, experts]`.
    pub(super) routed: Vec<f32>,
    /// The rows of one expert.
    pub(super) expert_input: Activations,
    pub(super) expert_output: Vec<f32>,
    pub(super) head_input: Activations,
    /// `[HEAD_ROWS, vocab]`.
    pub(super) logits: Vec<f32>,
}

impl Scratch {
    /// Buffers for passes of at most `rows_max` rows.
    pub fn new(rows_max: usize, config: &Config) -> Self {
        let floats = |width: usize| vec![0.0; rows_max * width];
        let (queries, keys) = (config.heads * config.head_size, config.kv_heads * config.head_size);
        let pairs = config.rotary.rotated / 2;
        let angles = || Angles { cos: floats(pairs), sin: floats(pairs) };
        let head_rows = rows_max.min(HEAD_ROWS);
        let expert_rows = if config.experts.is_some() { rows_max } else { 0 };
        Self {
            residual: floats(config.hidden),
            update: floats(config.hidden),
            states: vec![RowState::default(); rows_max],
            angles: [angles(), angles()],
            normed: Activations::new(rows_max, config.hidden),
            queries: floats(queries),
            keys: floats(keys),
            values: floats(keys),
            attended: Vec::new(),
            heads: Activations::new(rows_max, queries),
            gate: floats(config.feed_forward),
            up: floats(config.feed_forward),
            inner: Activations::new(rows_max, config.feed_forward),
            routed: floats(config.experts.map_or(0, |experts| experts.count)),
            expert_input: Activations::new(expert_rows, config.hidden),
            expert_output: vec![0.0; expert_rows * config.hidden],
            head_input: Activations::new(head_rows, config.hidden),
            logits: vec![0.0; head_rows * config.vocab_size],
            config: config.clone(),
            rows_max,
        }
    }

    /// Whether the buffers serve passes of as many rows through a model of this configuration.
    pub fn serves(&self, rows: usize, config: &Config) -> bool {
        rows <= self.rows_max && self.config == *config
    }
}

/// Whether no value is NaN or infinite.
pub(crate) fn all_finite(values: &[f32]) -> bool {
    values.iter().fold(true, |finite, value| finite & value.is_finite())
}

/// BLAKE3 of the values' little-endian bytes.
pub(crate) fn hash_floats(values: &[f32]) -> Digest32 {
    /// Values that are turned into bytes at once: large enough for BLAKE3 to use every lane.
    const CHUNK: usize = 4_096;
    let mut hasher = blake3::Hasher::new();
    let mut bytes = [0; CHUNK * size_of::<f32>()];
    for values in values.chunks(CHUNK) {
        let bytes = &mut bytes[..size_of_val(values)];
        for (bytes, value) in bytes.as_chunks_mut().0.iter_mut().zip(values) {
            *bytes = value.to_le_bytes();
        }
        hasher.update(bytes);
    }
    Digest32::from_bytes(*hasher.finalize().as_bytes())
}
