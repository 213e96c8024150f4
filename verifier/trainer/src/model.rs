//! The network: llama with tied output, on candle's autograd.

use crate::batch::Batch;
use crate::ops::{Attention, CrossEntropy, RmsNorm, RopeTable, SwiGlu};
use crate::random::Random;
use crate::recipe::Shape;
use candle_core::{DType, Device, Result, Tensor, Var};
use std::ops::Range;
use std::sync::Arc;

/// Parameters and what is computed once from the shape.
///
/// Queries, keys and values come from one joint matrix, gate and up from another: fewer, larger products.
pub struct Model {
    shape: Shape,
    embedding: Var,
    blocks: Vec<Block>,
    norm: Var,
    rope: Arc<RopeTable>,
}

/// Parameters of a block; matrices are `[outputs, inputs]`.
pub struct Block {
    /// `[hidden]`
    pub attention_norm: Var,
    /// `[(heads + 2 kv_heads) * head, hidden]`
    pub qkv: Var,
    /// `[hidden, hidden]`
    pub output: Var,
    /// `[hidden]`
    pub feed_forward_norm: Var,
    /// `[2 * feed_forward, hidden]`
    pub gate_up: Var,
    /// `[hidden, feed_forward]`
    pub down: Var,
}

/// Deviation of the embedding's first weights.
const EMBEDDING_DEVIATION: f32 = 0.08;
/// Deviation of matrices that read the residual stream, times the root of their inputs.
const READ_DEVIATION: f32 = 0.5;
/// The same of matrices that write to it: small, so that blocks begin near the identity.
const WRITE_DEVIATION: f32 = 0.02;

impl Model {
    /// Draws the first weights.
    ///
    /// # Errors
    /// When a tensor cannot be made.
    pub fn new(shape: Shape, vocabulary: usize, seed: u64) -> Result<Self> {
        // Streams of the batches count up from 0; this one is none of them.
        let mut random = Random::new(seed, u64::MAX);
        let embedding = matrix(&mut random, vocabulary, shape.hidden, EMBEDDING_DEVIATION)?;
        let blocks: Result<Vec<Block>> = (0..shape.layers).map(|_| Block::new(&mut random, &shape)).collect();
        let norm = ones(shape.hidden)?;
        let rope = Arc::new(RopeTable::new(shape.context, shape.head(), shape.rope_theta));
        Ok(Self { shape, embedding, blocks: blocks?, norm, rope })
    }

    /// The sizes.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Embedding, which is the output matrix too, `[vocabulary, hidden]`.
    pub fn embedding(&self) -> &Var {
        &self.embedding
    }

    /// The blocks.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Weights of the last norm, `[hidden]`.
    pub fn norm(&self) -> &Var {
        &self.norm
    }

    /// Every parameter, always in the same order.
    pub fn parameters(&self) -> Vec<&Var> {
        let blocks = self.blocks.iter().flat_map(Block::parameters);
        std::iter::once(&self.embedding).chain(blocks).chain([&self.norm]).collect()
    }

    /// Number of weights.
    pub fn weight_count(&self) -> usize {
        self.parameters().iter().map(|parameter| parameter.elem_count()).sum()
    }

    /// Logits of the wanted rows, `[rows, vocabulary]`.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn logits(&self, ids: &[u32], documents: &[Range<usize>], rows: &[u32]) -> Result<Tensor> {
        let hidden = self.hidden(ids, documents)?.index_select(&Tensor::new(rows, &Device::Cpu)?, 0)?;
        hidden.matmul(&self.embedding.t()?)
    }

    /// Logits and loss of a batch.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn loss(&self, batch: &Batch) -> Result<(Tensor, Tensor)> {
        let rows: Vec<u32> = batch.targets.iter().map(|target| target.row).collect();
        let logits = self.logits(&batch.ids, &batch.documents, &rows)?;
        let loss = logits.apply_op1(CrossEntropy { targets: Arc::new(batch.targets.clone()) })?;
        Ok((logits, loss))
    }

    /// The residual stream after the last norm, `[tokens, hidden]`.
    fn hidden(&self, ids: &[u32], documents: &[Range<usize>]) -> Result<Tensor> {
        let attention = Attention {
            heads: self.shape.heads,
            kv_heads: self.shape.kv_heads,
            documents: Arc::new(documents.to_vec()),
            rope: self.rope.clone(),
        };
        let mut x = self.embedding.index_select(&Tensor::new(ids, &Device::Cpu)?, 0)?;
        for block in &self.blocks {
            let attended = self.normed(&x, &block.attention_norm)?.matmul(&block.qkv.t()?)?;
            x = (x + attended.apply_op1(attention.clone())?.matmul(&block.output.t()?)?)?;
            let fed = self.normed(&x, &block.feed_forward_norm)?.matmul(&block.gate_up.t()?)?;
            x = (x + fed.apply_op1(SwiGlu)?.matmul(&block.down.t()?)?)?;
        }
        self.normed(&x, &self.norm)
    }

    fn normed(&self, x: &Tensor, weights: &Var) -> Result<Tensor> {
        x.apply_op2(weights.as_tensor(), RmsNorm { eps: self.shape.norm_eps as f32 })
    }
}

impl Block {
    fn new(random: &mut Random, shape: &Shape) -> Result<Self> {
        let Shape { hidden, feed_forward, .. } = *shape;
        let read = READ_DEVIATION / (hidden as f32).sqrt();
        Ok(Self {
            attention_norm: ones(hidden)?,
            qkv: matrix(random, shape.qkv_rows(), hidden, read)?,
            output: matrix(random, hidden, hidden, WRITE_DEVIATION / (hidden as f32).sqrt())?,
            feed_forward_norm: ones(hidden)?,
            gate_up: matrix(random, 2 * feed_forward, hidden, read)?,
            down: matrix(random, hidden, feed_forward, WRITE_DEVIATION / (feed_forward as f32).sqrt())?,
        })
    }

    fn parameters(&self) -> [&Var; 6] {
        let Self { attention_norm, qkv, output, feed_forward_norm, gate_up, down } = self;
        [attention_norm, qkv, output, feed_forward_norm, gate_up, down]
    }
}

fn ones(len: usize) -> Result<Var> {
    Var::ones(len, DType::F32, &Device::Cpu)
}

fn matrix(random: &mut Random, rows: usize, columns: usize, deviation: f32) -> Result<Var> {
    let weights: Vec<f32> = (0..rows * columns).map(|_| random.normal() * deviation).collect();
    Var::from_vec(weights, (rows, columns), &Device::Cpu)
}
