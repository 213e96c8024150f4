//! The metadata of a synthetic model: the keys that llama.cpp's converters write for its architecture.

use assay_manifest::formats::gguf::{Array, Metadata, Value};

use super::vocabulary::Vocabulary;
use super::{Architecture, RopeScaling, Synthetic};

const CHAT_TEMPLATE: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + \
    message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}\
    {{ '<|im_start|>assistant\\n' }}{% endif %}";

impl Synthetic {
    /// The file's metadata.
    pub fn metadata(&self) -> Metadata {
        let architecture = self.architecture.name();
        let own = self.shape().into_iter().chain(self.rope()).chain(self.mixture());
        let own = own.map(|(name, value)| (format!("{architecture}.{name}"), value));
        let general =
            [("general.architecture", text(architecture)), ("general.name", text("synthetic"))].into_iter();
        let general = general.chain(self.tokenizer()).map(|(key, value)| (key.to_owned(), value));
        general.chain(own).collect()
    }

    fn shape(&self) -> Vec<(&'static str, Value)> {
        use Architecture::{Glm4, Llama, Phi2};
        let epsilon = if matches!(self.architecture, Llama | Phi2 | Glm4) { 1e-5 } else { 1e-6 };
        let epsilon_key = match self.architecture {
            Phi2 => "attention.layer_norm_epsilon",
            _ => "attention.layer_norm_rms_epsilon",
        };
        let mut keys = vec![
            ("context_length", Value::U32(self.context_length)),
            ("embedding_length", size(self.hidden)),
            ("block_count", size(self.layers)),
            ("feed_forward_length", size(self.feed_forward)),
            ("attention.head_count", size(self.heads)),
            ("attention.head_count_kv", size(self.kv_heads)),
            (epsilon_key, Value::F32(epsilon)),
        ];
        if self.architecture == Llama {
            keys.push(("vocab_size", size(self.vocabulary.len())));
        }
        if let Some(head_size) = self.head_size {
            keys.push(("attention.key_length", size(head_size)));
            keys.push(("attention.value_length", size(head_size)));
        }
        match (self.architecture, self.window) {
            (_, Some(window)) => keys.push(("attention.sliding_window", Value::U32(window))),
            // Phi-4, which has no windows, says so.
            (Architecture::Phi3, None) => keys.push(("attention.sliding_window", Value::U32(0))),
            (_, None) => {}
        }
        keys
    }

    fn rope(&self) -> Vec<(&'static str, Value)> {
        use Architecture::{Glm4, Llama, Phi2, Phi3};
        let mut keys = vec![("rope.freq_base", Value::F32(self.rope_base))];
        if matches!(self.architecture, Llama | Phi3 | Phi2 | Glm4) {
            keys.push(("rope.dimension_count", size(self.rotated())));
        }
        let kind = |name| ("rope.scaling.type", text(name));
        let times = |factor| ("rope.scaling.factor", Value::F32(factor));
        let before = |positions| ("rope.scaling.original_context_length", Value::U32(positions));
        match self.rope_scaling {
            // The latter's factors are a tensor, without any key.
            RopeScaling::None | RopeScaling::Llama3 { .. } => {}
            RopeScaling::Linear { factor } => keys.extend([kind("linear"), times(factor)]),
            RopeScaling::Yarn { factor, original } => {
                keys.extend([kind("yarn"), times(factor), before(original)]);
            }
            RopeScaling::LongRope { original, magnitude } => {
                // Phi's converter leaves the type out.
                keys.extend([before(original), ("rope.scaling.attn_factor", Value::F32(magnitude))]);
            }
        }
        if self.architecture == Phi3 && self.rope_scaling == RopeScaling::None {
            keys.push(before(self.context_length));
        }
        keys
    }

    fn mixture(&self) -> Vec<(&'static str, Value)> {
        let Some(experts) = self.experts else { return Vec::new() };
        let mut keys = vec![("expert_count", size(experts.count)), ("expert_used_count", size(experts.used))];
        if self.architecture == Architecture::Qwen3Moe {
            keys.push(("expert_feed_forward_length", size(experts.feed_forward)));
        }
        keys
    }

    fn tokenizer(&self) -> Vec<(&'static str, Value)> {
        let (tokens, types) = self.vocabulary.tokens();
        let eos = self.eos.unwrap_or(tokens.len() as u32 - 1);
        let mut keys = vec![
            ("tokenizer.ggml.model", text("gpt2")),
            ("tokenizer.ggml.pre", text(self.vocabulary.pre())),
            ("tokenizer.ggml.tokens", Value::Array(Array::String(tokens))),
            ("tokenizer.ggml.token_type", Value::Array(Array::I32(types))),
            ("tokenizer.ggml.merges", Value::Array(Array::String(Vocabulary::merges()))),
            ("tokenizer.ggml.eos_token_id", Value::U32(eos)),
            ("tokenizer.chat_template", text(CHAT_TEMPLATE)),
        ];
        if self.vocabulary != Vocabulary::Small {
            keys.push(("tokenizer.ggml.bos_token_id", Value::U32(self.vocabulary.bos())));
        }
        keys
    }
}

fn size(size: usize) -> Value {
    Value::U32(size as u32)
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}
