//! The bound is tight enough: an oracle that makes a mistake is further away.

use assay_engine::synthetic::Synthetic;

use crate::distance;
use crate::measure::DIVERGENCE_MAX;
use crate::slip::Slip;

/// A slip, and the models that it would spoil.
const SLIPS: [(Slip, &[&str]); 19] = [
    (Slip::RopePairing, &["llama", "qwen2", "phi3"]),
    (Slip::RopeBase, &["qwen2", "gemma3"]),
    (Slip::RopeScaling, &["llama-linear", "llama-yarn", "gemma3-linear"]),
    (Slip::RopeFactors, &["llama3-factors", "phi3-longrope", "phi3-shortrope"]),
    (Slip::RopeMagnitude, &["llama-yarn", "phi3-longrope"]),
    (Slip::LocalBase, &["gemma3"]),
    (Slip::EmbeddingScale, &["gemma3"]),
    (Slip::QkNorm, &["qwen3", "qwen3moe", "gemma3"]),
    (Slip::PostNorm, &["gemma3"]),
    (Slip::Activation, &["llama", "gemma3"]),
    (Slip::Window, &["gemma3", "phi3-window"]),
    (Slip::WindowEdge, &["gemma3", "phi3-window"]),
    (Slip::LayerPattern, &["gemma3"]),
    (Slip::Bias, &["qwen2"]),
    (Slip::AttentionScale, &["llama", "qwen3"]),
    (Slip::HeadGroups, &["llama"]),
    (Slip::GateOrder, &["phi3"]),
    (Slip::ExpertShares, &["mixtral", "qwen3moe"]),
    (Slip::ExpertCount, &["mixtral", "qwen3moe"]),
];

#[test]
fn every_slip_exceeds_the_bound() {
    let variants = Synthetic::variants();
    for (slip, spoilt) in SLIPS {
        for name in spoilt {
            let (_, synthetic) = variants.iter().find(|(variant, _)| variant == name).unwrap();
            let found = distance(&synthetic.gguf().unwrap(), Some(slip), 1).divergence();
            println!("{slip:?} in {name}: {found:.2e} nats");
            assert!(found > DIVERGENCE_MAX, "{slip:?} in {name} is only {found:.2e} nats away");
        }
    }
}
