//! The architectures, as a table of what differs between them.
//!
//! All are decoders of one shape: embedding; layers of attention and feed-forward, each behind a norm and added to
//! the residual; a last norm and an output head. `forward` is that graph; a row here says
//! what a model of the architecture has on top. `docs/NUMERICS.md` defines the parts.

use assay_kernels::reference::Pairing;
use assay_protocol::record::Class;

/// What an architecture has that others have not.
#[derive(Debug, PartialEq)]
pub struct Architecture {
    /// `general.architecture`, which prefixes the keys of its metadata.
    pub name: &'static str,
    /// Which elements of a head are rotated together.
    pub pairing: Pairing,
    /// How queries, keys and values are stored.
    pub attention_input: Stored,
    /// Whether queries, keys and values have biases.
    pub biases: bool,
    /// Whether each head of queries and keys is normalised before its rotation.
    pub head_norms: bool,
    /// Whether what attention and feed-forward return is normalised before it is added.
    pub after_norms: bool,
    /// What the gate of the feed-forward layer goes through.
    pub activation: Activation,
    /// How gate and up of a feed-forward layer without experts are stored.
    pub feed_forward_input: Stored,
    /// Whether embeddings are multiplied by the root of their length.
    pub scaled_embedding: bool,
    /// Which layers see a window only, where the metadata states one; none where the key is not known.
    pub window: Option<Layers>,
    /// Base of the rotations in layers with a window, where they have their own, unscaled ones and the metadata
    /// states no other.
    pub window_base: Option<f32>,
    /// Keys that its metadata may hold besides those of all, without prefix.
    pub keys: &'static [&'static str],
}

/// Matrices that are multiplied with the same input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// A tensor each.
    Apart,
    /// The rows of all in one tensor.
    Together,
}

/// What the gate goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// SiLU.
    Silu,
    /// GELU by its tanh approximation.
    Gelu,
}

/// A choice of layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layers {
    /// Every layer.
    All,
    /// All but every `n`th.
    AllBut(usize),
}

impl Layers {
    /// Whether a layer, counted from 0, is among them.
    pub const fn contain(self, layer: usize) -> bool {
        match self {
            Self::All => true,
            Self::AllBut(nth) => !(layer + 1).is_multiple_of(nth),
        }
    }
}

const LLAMA: Architecture = Architecture {
    name: "llama",
    pairing: Pairing::Interleaved,
    attention_input: Stored::Apart,
    biases: false,
    head_norms: false,
    after_norms: false,
    activation: Activation::Silu,
    feed_forward_input: Stored::Apart,
    scaled_embedding: false,
    window: None,
    window_base: None,
    keys: &["expert_count", "expert_used_count"],
};

const QWEN3: Architecture =
    Architecture { name: "qwen3", pairing: Pairing::Halves, head_norms: true, keys: &[], ..LLAMA };

/// Every architecture. `llama` serves Mistral, and with experts Mixtral.
pub static ARCHITECTURES: [Architecture; 6] = [
    LLAMA,
    Architecture { name: "qwen2", pairing: Pairing::Halves, biases: true, keys: &[], ..LLAMA },
    QWEN3,
    Architecture {
        name: "qwen3moe",
        keys: &["expert_count", "expert_used_count", "expert_feed_forward_length"],
        ..QWEN3
    },
    Architecture {
        name: "gemma3",
        after_norms: true,
        activation: Activation::Gelu,
        scaled_embedding: true,
        window: Some(Layers::AllBut(6)),
        window_base: Some(10_000.0),
        keys: &["attention.sliding_window", "rope.freq_base_swa"],
        ..QWEN3
    },
    Architecture {
        name: "phi3",
        pairing: Pairing::Halves,
        attention_input: Stored::Together,
        feed_forward_input: Stored::Together,
        window: Some(Layers::All),
        keys: &["attention.sliding_window"],
        ..LLAMA
    },
];

/// Architectures that are run in the tolerance class alone, by the engine of `assay-tolerance`.
pub const TOLERANCE: [&str; 2] = ["phi2", "glm4"];

/// The class in which models of an architecture are run; nothing where no engine runs them.
pub fn class_of(name: &str) -> Option<Class> {
    match Architecture::named(name) {
        Some(_) => Some(Class::Exact),
        None => TOLERANCE.contains(&name).then_some(Class::Tolerance),
    }
}

impl Architecture {
    /// The architecture of this name, if it is known.
    pub fn named(name: &str) -> Option<&'static Self> {
        ARCHITECTURES.iter().find(|architecture| architecture.name == name)
    }
}
