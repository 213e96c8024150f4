//! The name of the definitions that a model's executions follow.

use std::collections::BTreeSet;

use assay_kernels::reference::Pairing;
use assay_manifest::formats::gguf::Gguf;
use assay_manifest::{SpecId, TaggedHash};

use crate::architecture::Activation;
use crate::config::Config;
use crate::tensors::weight_type;
use crate::text;

/// Definitions of every model, by their headings in `docs/NUMERICS.md`.
const ALWAYS: [&str; 6] = ["rms-norm", "attention-f16-cache", "add", "trace", "sampling", "decoder"];

/// The definitions that a model uses, sorted, each by its heading in `docs/NUMERICS.md`; nothing where a tensor is
/// of a type without a kernel, or the tokenizer is not supported. What is added later adds names of its own, and changes the list of no model
/// without it.
pub(crate) fn definitions(config: &Config, gguf: &Gguf) -> Option<BTreeSet<String>> {
    let architecture = config.architecture;
    let mut names: BTreeSet<String> = ALWAYS.map(str::to_owned).into();
    let mut add = |name: &str| {
        names.insert(name.to_owned());
    };
    add(architecture.name);
    add(match architecture.pairing {
        Pairing::Interleaved => "rope-interleaved",
        Pairing::Halves => "rope-halves",
    });
    add(match architecture.activation {
        Activation::Silu => "swiglu",
        Activation::Gelu => "geglu",
    });
    config.rotary.scaling.definition().into_iter().for_each(&mut add);
    if config.window.is_some() {
        add("window");
    }
    if config.experts.is_some() {
        add("experts");
    }
    add(text::definition_of(gguf)?);
    let has_output = gguf.tensors.iter().any(|tensor| tensor.name == "output.weight");
    // Norms, biases and factors are vectors, the others are multiplied with.
    for tensor in gguf.tensors.iter().filter(|tensor| tensor.shape().len() > 1) {
        let weight_type = weight_type(tensor.dtype)?.name();
        if tensor.name != "token_embd.weight" || !has_output {
            names.insert(format!("product-{weight_type}"));
        }
        if tensor.name == "token_embd.weight" {
            names.insert(format!("row-{weight_type}"));
        }
    }
    Some(names)
}

/// The definitions that a model with this header uses, as [`spec_of`] takes them; nothing where the engine does not
/// run such models.
pub fn definitions_of(gguf: &Gguf) -> Option<BTreeSet<String>> {
    let config = Config::from_gguf(gguf).ok()?;
    definitions(&config, gguf)
}

/// The spec of a model with this header; nothing where the engine does not run such models. Loading may still
/// refuse the model for what it holds.
pub fn spec_of(gguf: &Gguf) -> Option<SpecId> {
    Some(spec_id(&definitions_of(gguf)?))
}

/// The spec of definitions of `assay-num-1`, by their headings.
pub(crate) fn spec_id(definitions: &BTreeSet<String>) -> SpecId {
    spec_of_names(&definitions.iter().map(|name| exact_name(name)).collect())
}

/// The whole name of a definition in `docs/NUMERICS.md`.
pub fn exact_name(heading: &str) -> String {
    format!("assay-num-1/{heading}")
}

/// `H("assay/spec/1" ‖ number of names ‖ names)`, each whole name with its length.
pub fn spec_of_names(names: &BTreeSet<String>) -> SpecId {
    let hash = TaggedHash::new("assay/spec/1").u32(u32::try_from(names.len()).unwrap_or(u32::MAX));
    let hash = names.iter().fold(hash, |hash, name| hash.var(name.as_bytes()));
    SpecId::from_digest(hash.finish())
}

#[cfg(test)]
mod tests {
    use assay_kernels::WeightType;

    use super::*;
    use crate::synthetic::Synthetic;
    use crate::{LoadOptions, Model};

    fn spec(synthetic: &Synthetic) -> (Option<SpecId>, SpecId) {
        let file = synthetic.gguf().unwrap();
        let model = Model::load(&file, &LoadOptions::default(), &mut |_, _| {}).unwrap();
        let header = Gguf::parse(file.as_slice(), file.len() as u64).unwrap();
        (spec_of(&header), model.spec_id())
    }

    #[test]
    fn the_header_gives_the_spec_of_the_loaded_model() {
        let types =
            WeightType::ALL.into_iter().map(|weight_type| (weight_type.name(), Synthetic::of(weight_type)));
        for (name, synthetic) in types.chain(Synthetic::variants()) {
            let (header, loaded) = spec(&synthetic);
            assert_eq!(header, Some(loaded), "{name}");
        }
    }

    #[test]
    fn what_a_model_computes_with_names_it() {
        let types = WeightType::ALL.map(|weight_type| spec(&Synthetic::of(weight_type)).1);
        // Sizes and parameters are the file's; these differ in what is done.
        let other =
            ["llama-linear", "llama-yarn", "llama3-factors", "mixtral", "qwen2", "qwen3", "gemma3", "phi3"];
        let variants = Synthetic::variants().into_iter().filter(|(name, _)| other.contains(name));
        let all: BTreeSet<SpecId> =
            types.into_iter().chain(variants.map(|(_, variant)| spec(&variant).1)).collect();
        assert_eq!(all.len(), WeightType::ALL.len() + other.len());
    }
}
