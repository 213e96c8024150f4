//! Small encoders of the BERT family with random weights.

use std::collections::BTreeMap;

use assay_kernels::WeightType;
use assay_manifest::formats::DType;
use assay_manifest::formats::gguf::{self, GgufError, Metadata};
use assay_manifest::formats::safetensors::{self, SafetensorsError};

use super::Tensor;
use super::blocks::{self, le_bytes};
use super::random::Random;
use crate::embedding::{EncoderError, Pooling, Transformers};

/// What the encoder looks like; the default has two layers and some 60,000 parameters.
#[derive(Clone, Copy, Debug)]
pub struct SyntheticBert {
    /// Seed of the weights.
    pub seed: u64,
    /// Type of the matrices; norms, biases, positions and token types are F32.
    pub weight_type: WeightType,
    /// Elements of a row, a multiple of 32.
    pub hidden: usize,
    /// Layers.
    pub layers: usize,
    /// Heads.
    pub heads: usize,
    /// Elements of the feed-forward layer, a multiple of 32.
    pub feed_forward: usize,
    /// Most tokens of a text.
    pub positions: usize,
    /// How rows become an embedding.
    pub pooling: Pooling,
}

/// An encoder in the layout of Hugging Face's transformers.
#[derive(Clone, Debug)]
pub struct TransformersFiles {
    /// `config.json`.
    pub config: String,
    /// `tokenizer.json`.
    pub tokenizer: String,
    /// `1_Pooling/config.json`.
    pub pooling: String,
    /// `model.safetensors`.
    pub weights: Vec<u8>,
}

impl TransformersFiles {
    /// The files as an encoder is loaded from them.
    pub fn borrowed(&self) -> Transformers<'_> {
        Transformers {
            config: self.config.as_bytes(),
            tokenizer: self.tokenizer.as_bytes(),
            pooling: Some(self.pooling.as_bytes()),
            weights: &self.weights,
        }
    }
}

/// Weights lie within ± this, divided by the root of the columns.
const REACH: f32 = 2.0;

/// Rows of the embedding of token types, as in every published model.
const TOKEN_TYPES: usize = 2;

/// `layer_norm_eps` of every published model.
const EPSILON: f32 = 1e-12;

const CONTROLS: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
const WORDS: [&str; 8] = ["the", "and", "in", "hand", "land", "##ing", "##s", "##nd"];

/// Matrices and norms of a layer: its name in GGUF, its name in transformers.
const PARTS: [(&str, &str); 6] = [
    ("attn_q", "attention.self.query"),
    ("attn_k", "attention.self.key"),
    ("attn_v", "attention.self.value"),
    ("attn_output", "attention.output.dense"),
    ("ffn_up", "intermediate.dense"),
    ("ffn_down", "output.dense"),
];

impl Default for SyntheticBert {
    fn default() -> Self {
        Self {
            seed: 1,
            weight_type: WeightType::F32,
            hidden: 64,
            layers: 2,
            heads: 4,
            feed_forward: 128,
            positions: 96,
            pooling: Pooling::Mean,
        }
    }
}

/// A tensor under both of its names.
struct Named {
    transformers: String,
    tensor: Tensor,
}

impl SyntheticBert {
    /// An encoder of the default shape with matrices of this type; wide enough for the type's blocks.
    pub fn of(weight_type: WeightType) -> Self {
        let shape = Self { weight_type, ..Self::default() };
        match weight_type.block().0 {
            256 => Self { hidden: 256, feed_forward: 256, ..shape },
            _ => shape,
        }
    }

    /// The GGUF file.
    ///
    /// # Errors
    /// When the settings make no file, such as a size that is not a multiple of a block.
    pub fn gguf(&self) -> Result<Vec<u8>, SyntheticBertError> {
        let tensors = self.tensors();
        let tensors: Vec<_> = tensors.iter().map(Tensor::data).collect();
        let mut file = Vec::new();
        gguf::write(&mut file, &self.metadata()?, &tensors)?;
        Ok(file)
    }

    /// The GGUF file's metadata.
    ///
    /// # Errors
    /// When the settings are not those of an encoder.
    pub fn metadata(&self) -> Result<Metadata, SyntheticBertError> {
        let plain = Self { weight_type: WeightType::F32, layers: 0, ..*self };
        let mut metadata = plain.transformers()?.borrowed().header()?.metadata;
        let layers = gguf::Value::U32(u32::try_from(self.layers).unwrap_or(u32::MAX));
        metadata.insert("bert.block_count".to_owned(), layers);
        Ok(metadata)
    }

    /// The GGUF file's tensors.
    pub fn tensors(&self) -> Vec<Tensor> {
        self.named().into_iter().map(|named| named.tensor).collect()
    }

    /// The same model in the layout of transformers.
    ///
    /// # Errors
    /// When the type of the weights is not one that safetensors files have.
    pub fn transformers(&self) -> Result<TransformersFiles, SyntheticBertError> {
        let named = self.named();
        let shapes: Vec<Vec<u64>> =
            named.iter().map(|named| named.tensor.dims.iter().rev().copied().collect()).collect();
        let tensors: Vec<_> = named
            .iter()
            .zip(&shapes)
            .map(|(Named { transformers, tensor }, shape)| safetensors::TensorData {
                name: transformers,
                dtype: tensor.dtype,
                shape,
                data: &tensor.data,
            })
            .collect();
        let mut weights = Vec::new();
        safetensors::write(&mut weights, &BTreeMap::new(), &tensors)?;
        let (mean, cls) = (self.pooling == Pooling::Mean, self.pooling == Pooling::Cls);
        let pooling = format!(r#"{{"pooling_mode_mean_tokens": {mean}, "pooling_mode_cls_token": {cls}}}"#);
        Ok(TransformersFiles { config: self.config(), tokenizer: tokenizer(), pooling, weights })
    }

    fn config(&self) -> String {
        let Self { hidden, layers, heads, feed_forward, positions, .. } = self;
        format!(
            r#"{{"model_type": "bert", "vocab_size": {}, "hidden_size": {hidden}, "num_hidden_layers": {layers},
            "num_attention_heads": {heads}, "intermediate_size": {feed_forward}, "hidden_act": "gelu",
            "max_position_embeddings": {positions}, "type_vocab_size": {TOKEN_TYPES},
            "layer_norm_eps": {EPSILON:e}, "position_embedding_type": "absolute"}}"#,
            vocabulary().len()
        )
    }

    /// All tensors. Their order is that of the draws, so it is part of what a seed means.
    fn named(&self) -> Vec<Named> {
        let Self { hidden, feed_forward, .. } = *self;
        let mut made = Maker { weight_type: self.weight_type, random: Random(self.seed), made: Vec::new() };
        made.matrix("token_embd", "embeddings.word_embeddings", [vocabulary().len(), hidden]);
        made.plain("position_embd", "embeddings.position_embeddings", [self.positions, hidden]);
        made.plain("token_types", "embeddings.token_type_embeddings", [TOKEN_TYPES, hidden]);
        made.norm("token_embd_norm", "embeddings.LayerNorm", hidden);
        for layer in 0..self.layers {
            let name = |part: &str| format!("blk.{layer}.{part}");
            let theirs = |part: &str| format!("encoder.layer.{layer}.{part}");
            for (ours, part) in PARTS {
                let shape = match ours {
                    "ffn_up" => [feed_forward, hidden],
                    "ffn_down" => [hidden, feed_forward],
                    _ => [hidden, hidden],
                };
                made.matrix(&name(ours), &theirs(part), shape);
                made.vector(
                    &format!("{}.bias", name(ours)),
                    &format!("{}.bias", theirs(part)),
                    shape[0],
                    0.0,
                );
            }
            made.norm(&name("attn_output_norm"), &theirs("attention.output.LayerNorm"), hidden);
            made.norm(&name("layer_output_norm"), &theirs("output.LayerNorm"), hidden);
        }
        made.made
    }
}

/// Settings that make no files.
#[derive(Debug, thiserror::Error)]
pub enum SyntheticBertError {
    /// No GGUF file.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// No safetensors file.
    #[error(transparent)]
    Safetensors(#[from] SafetensorsError),
    /// No encoder.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
}

/// The tensors so far.
struct Maker {
    weight_type: WeightType,
    random: Random,
    made: Vec<Named>,
}

impl Maker {
    fn matrix(&mut self, ours: &str, theirs: &str, shape: [usize; 2]) {
        self.numbers(self.weight_type, ours, theirs, shape);
    }

    fn plain(&mut self, ours: &str, theirs: &str, shape: [usize; 2]) {
        self.numbers(WeightType::F32, ours, theirs, shape);
    }

    fn numbers(&mut self, weight_type: WeightType, ours: &str, theirs: &str, shape: [usize; 2]) {
        let reach = REACH / (shape[1] as f32).sqrt();
        let data = blocks::random(weight_type, shape[0] * shape[1], reach, &mut self.random);
        let names = (format!("{ours}.weight"), format!("{theirs}.weight"));
        self.push(names, blocks::dtype(weight_type), &shape, data);
    }

    fn norm(&mut self, ours: &str, theirs: &str, len: usize) {
        self.vector(&format!("{ours}.weight"), &format!("{theirs}.weight"), len, 1.0);
        self.vector(&format!("{ours}.bias"), &format!("{theirs}.bias"), len, 0.0);
    }

    /// Numbers within a quarter of `around`.
    fn vector(&mut self, ours: &str, theirs: &str, len: usize, around: f32) {
        let values: Vec<f32> = (0..len).map(|_| around + 0.25 * self.random.symmetric()).collect();
        self.push((ours.to_owned(), theirs.to_owned()), DType::F32, &[len], le_bytes(&values));
    }

    fn push(&mut self, (name, transformers): (String, String), dtype: DType, shape: &[usize], data: Vec<u8>) {
        let dims = shape.iter().rev().map(|dim| *dim as u64).collect();
        self.made.push(Named { transformers, tensor: Tensor { name, dtype, dims, data } });
    }
}

/// Control tokens, letters and digits that begin and that continue a word, signs, and a few words.
fn vocabulary() -> Vec<String> {
    let characters = || ('a'..='z').chain('0'..='9');
    let continued = characters().map(|c| format!("##{c}"));
    let begun = characters().chain(['.', ',', '!', '?']).map(String::from);
    CONTROLS
        .into_iter()
        .map(str::to_owned)
        .chain(begun)
        .chain(continued)
        .chain(WORDS.map(str::to_owned))
        .collect()
}

fn tokenizer() -> String {
    let controls = CONTROLS.iter().enumerate();
    let added: Vec<String> = controls
        .map(|(id, text)| format!(r#"{{"id": {id}, "content": "{text}", "special": true}}"#))
        .collect();
    let vocab: Vec<String> =
        vocabulary().iter().enumerate().map(|(id, text)| format!(r#""{text}": {id}"#)).collect();
    format!(
        r###"{{"added_tokens": [{}], "normalizer": {{"type": "BertNormalizer", "clean_text": true,
        "handle_chinese_chars": true, "strip_accents": null, "lowercase": true}},
        "pre_tokenizer": {{"type": "BertPreTokenizer"}}, "post_processor": {{"type": "TemplateProcessing"}},
        "model": {{"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
        "vocab": {{{}}}}}}}"###,
        added.join(", "),
        vocab.join(", ")
    )
}
