//! Small models with random weights, for tests of everything that runs a model.
//!
//! A synthetic model is a complete GGUF file: llama architecture, byte-level BPE over all bytes with a few
//! merges, a ChatML template. The same settings always give the same bytes.

use assay_kernels::float::f32_to_f16;
use assay_kernels::{WeightType, quantise};
use assay_manifest::formats::DType;
use assay_manifest::formats::gguf::{self, Array, GgufError, Metadata, TensorData, Value};

/// What the model looks like; the default has two layers and some 90,000 parameters.
#[derive(Clone, Copy, Debug)]
pub struct Synthetic {
    /// Seed of the weights.
    pub seed: u64,
    /// Type of every matrix; norms are F32.
    pub weight_type: WeightType,
    /// Elements of the residual, a multiple of 32.
    pub hidden: usize,
    /// Layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key-value heads.
    pub kv_heads: usize,
    /// Elements of the feed-forward layer, a multiple of 32.
    pub feed_forward: usize,
    /// Most positions.
    pub context_length: u32,
    /// Whether there is an output head of its own, or the embedding serves as one.
    pub head: Head,
    /// The token that ends an answer; by default `<|im_end|>`.
    pub eos: Option<u32>,
}

/// Where the output head comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// The embedding.
    Tied,
    /// A tensor of its own.
    Own,
}

impl Default for Synthetic {
    fn default() -> Self {
        Self {
            seed: 1,
            weight_type: WeightType::Q8_0,
            hidden: 64,
            layers: 2,
            heads: 4,
            kv_heads: 2,
            feed_forward: 96,
            context_length: 256,
            head: Head::Tied,
            eos: None,
        }
    }
}

/// Merges beyond the single bytes, as pairs of tokens' texts.
const MERGES: [(&str, &str); 6] =
    [("t", "h"), ("th", "e"), ("Ġ", "the"), ("i", "n"), ("a", "n"), ("an", "d")];
const CONTROLS: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
const CHAT_TEMPLATE: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + \
    message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}\
    {{ '<|im_start|>assistant\\n' }}{% endif %}";

impl Synthetic {
    /// A model of the default shape with matrices of this type.
    pub fn of(weight_type: WeightType) -> Self {
        Self { weight_type, ..Self::default() }
    }

    /// The model file.
    ///
    /// # Errors
    /// When the settings make no file, such as a size that is not a multiple of a block.
    pub fn gguf(&self) -> Result<Vec<u8>, GgufError> {
        let tensors = self.tensors();
        let tensors: Vec<_> = tensors.iter().map(Tensor::data).collect();
        let mut file = Vec::new();
        gguf::write(&mut file, &self.metadata(), &tensors)?;
        Ok(file)
    }

    /// The file's metadata.
    pub fn metadata(&self) -> Metadata {
        let vocab = vocabulary();
        let eos = self.eos.unwrap_or(vocab.len() as u32 - 1);
        let controls = vocab.len() - CONTROLS.len();
        let types = (0..vocab.len()).map(|id| if id < controls { 1 } else { 3 }).collect();
        let merges = MERGES.iter().map(|(left, right)| format!("{left} {right}")).collect();
        let size = |size: usize| Value::U32(size as u32);
        let text = |text: &str| Value::String(text.to_owned());
        [
            ("general.architecture", text("llama")),
            ("general.name", text("synthetic")),
            ("llama.context_length", Value::U32(self.context_length)),
            ("llama.embedding_length", size(self.hidden)),
            ("llama.block_count", size(self.layers)),
            ("llama.feed_forward_length", size(self.feed_forward)),
            ("llama.attention.head_count", size(self.heads)),
            ("llama.attention.head_count_kv", size(self.kv_heads)),
            ("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
            ("llama.rope.dimension_count", size(self.hidden / self.heads)),
            ("llama.rope.freq_base", Value::F32(10_000.0)),
            ("llama.vocab_size", size(vocab.len())),
            ("tokenizer.ggml.model", text("gpt2")),
            ("tokenizer.ggml.pre", text("gpt-2")),
            ("tokenizer.ggml.tokens", Value::Array(Array::String(vocab))),
            ("tokenizer.ggml.token_type", Value::Array(Array::I32(types))),
            ("tokenizer.ggml.merges", Value::Array(Array::String(merges))),
            ("tokenizer.ggml.eos_token_id", Value::U32(eos)),
            ("tokenizer.chat_template", text(CHAT_TEMPLATE)),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
    }

    /// The file's tensors.
    pub fn tensors(&self) -> Vec<Tensor> {
        let mut random = Random(self.seed);
        let vocab = vocabulary().len();
        let (hidden, inner) = (self.hidden, self.feed_forward);
        let keys = hidden / self.heads * self.kv_heads;
        let mut tensors = vec![self.matrix("token_embd.weight", [vocab, hidden], &mut random)];
        for layer in 0..self.layers {
            let name = |part: &str| format!("blk.{layer}.{part}.weight");
            for (part, rows, cols) in [
                ("attn_q", hidden, hidden),
                ("attn_k", keys, hidden),
                ("attn_v", keys, hidden),
                ("attn_output", hidden, hidden),
                ("ffn_gate", inner, hidden),
                ("ffn_up", inner, hidden),
                ("ffn_down", hidden, inner),
            ] {
                tensors.push(self.matrix(&name(part), [rows, cols], &mut random));
            }
            tensors.push(norm(&name("attn_norm"), hidden, &mut random));
            tensors.push(norm(&name("ffn_norm"), hidden, &mut random));
        }
        tensors.push(norm("output_norm.weight", hidden, &mut random));
        if self.head == Head::Own {
            tensors.push(self.matrix("output.weight", [vocab, hidden], &mut random));
        }
        tensors
    }

    /// Uniform weights with a variance of about `3 / cols`: large enough that positions differ clearly.
    fn matrix(&self, name: &str, [rows, cols]: [usize; 2], random: &mut Random) -> Tensor {
        let reach = 3.0 / (cols as f32).sqrt();
        let values: Vec<f32> = (0..rows * cols).map(|_| random.symmetric() * reach).collect();
        let (dtype, data) = match self.weight_type {
            WeightType::F32 => (DType::F32, le_bytes(&values)),
            WeightType::F16 => {
                (DType::F16, values.iter().flat_map(|value| f32_to_f16(*value).to_le_bytes()).collect())
            }
            // Values are finite; a partial block leaves too few bytes, which the writer refuses.
            WeightType::Q8_0 => (DType::Q8_0, quantise::q8_0(&values).unwrap_or_default()),
            WeightType::Q4_0 => (DType::Q4_0, quantise::q4_0(&values).unwrap_or_default()),
        };
        Tensor { name: name.to_owned(), dtype, dims: vec![cols as u64, rows as u64], data }
    }
}

/// A tensor of a synthetic model.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// The name.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Dimensions in GGUF's order, columns first.
    pub dims: Vec<u64>,
    /// The elements.
    pub data: Vec<u8>,
}

impl Tensor {
    /// The tensor as the writer takes it.
    pub fn data(&self) -> TensorData<'_> {
        TensorData { name: &self.name, dtype: self.dtype, dims: &self.dims, data: &self.data }
    }
}

fn norm(name: &str, len: usize, random: &mut Random) -> Tensor {
    let values: Vec<f32> = (0..len).map(|_| 1.0 + 0.25 * random.symmetric()).collect();
    Tensor { name: name.to_owned(), dtype: DType::F32, dims: vec![len as u64], data: le_bytes(&values) }
}

fn le_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Every byte, the merges' results, the control tokens.
fn vocabulary() -> Vec<String> {
    let bytes = (0..=u8::MAX).map(|byte| byte_char(byte).to_string());
    let merged = MERGES.iter().map(|(left, right)| format!("{left}{right}"));
    bytes.chain(merged).chain(CONTROLS.map(str::to_owned)).collect()
}

/// The character that stands for a byte in byte-level vocabularies: itself where it is printable, otherwise
/// the next unused one from U+0100 on (GPT-2, `bytes_to_unicode`).
fn byte_char(byte: u8) -> char {
    let printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if printable(&byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|byte| !printable(byte)).count() as u32;
    char::from_u32(0x100 + before).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [−1, 1), exact multiples of 2^−23.
    fn symmetric(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}
