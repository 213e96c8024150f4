//! One small model of every architecture and of every way in which its files differ.

use assay_kernels::WeightType;

use super::{Architecture, Experts, Head, RopeScaling, Synthetic};

impl Synthetic {
    /// Names and models; weights are F16, so that results differ by little more than f32's rounding.
    pub fn variants() -> Vec<(&'static str, Self)> {
        let mut variants = llamas();
        variants.extend(qwens());
        variants.extend(gemmas());
        variants.extend(phis());
        variants
    }
}

impl Synthetic {
    /// Names and models of the tolerance class, with F32 weights.
    pub fn tolerance_variants() -> Vec<(&'static str, Self)> {
        let small = Self { weight_type: WeightType::F32, head: Head::Own, ..Self::default() };
        let phi2 = Self { architecture: Architecture::Phi2, kv_heads: 4, rotated: Some(8), ..small };
        let glm4 = Self { architecture: Architecture::Glm4, head_size: Some(32), rotated: Some(16), ..small };
        vec![
            ("phi2", phi2),
            ("glm4", Self { rope_base: 50_000.0, ..glm4 }),
            // Heads as wide as the residual, and no head of its own.
            ("glm4-tied", Self { head_size: Some(16), rotated: Some(8), head: Head::Tied, ..glm4 }),
        ]
    }
}

fn llama() -> Synthetic {
    Synthetic { weight_type: WeightType::F16, ..Synthetic::default() }
}

fn llamas() -> Vec<(&'static str, Synthetic)> {
    let scaled = |rope_scaling| Synthetic { rope_scaling, ..llama() };
    vec![
        ("llama", Synthetic { head: Head::Own, ..llama() }),
        ("llama-heads", Synthetic { head_size: Some(32), ..llama() }),
        ("llama-linear", scaled(RopeScaling::Linear { factor: 4.0 })),
        ("llama-yarn", scaled(RopeScaling::Yarn { factor: 4.0, original: 64 })),
        ("llama3-factors", scaled(RopeScaling::Llama3 { factor: 8.0 })),
        (
            "mixtral",
            Synthetic {
                feed_forward: 64,
                experts: Some(Experts { count: 8, used: 2, feed_forward: 64 }),
                head: Head::Own,
                ..llama()
            },
        ),
    ]
}

fn qwens() -> Vec<(&'static str, Synthetic)> {
    let qwen2 = Synthetic { architecture: Architecture::Qwen2, rope_base: 1e6, ..llama() };
    let qwen3 = Synthetic { architecture: Architecture::Qwen3, head_size: Some(32), ..qwen2 };
    let qwen3moe = Synthetic {
        architecture: Architecture::Qwen3Moe,
        experts: Some(Experts { count: 8, used: 3, feed_forward: 32 }),
        head: Head::Own,
        ..qwen3
    };
    let yarn = RopeScaling::Yarn { factor: 4.0, original: 64 };
    vec![
        ("qwen2", qwen2),
        ("qwen3", qwen3),
        ("qwen3-yarn", Synthetic { rope_scaling: yarn, ..qwen3 }),
        ("qwen3moe", qwen3moe),
    ]
}

fn gemmas() -> Vec<(&'static str, Synthetic)> {
    let gemma3 = Synthetic {
        architecture: Architecture::Gemma3,
        layers: 7,
        head_size: Some(32),
        kv_heads: 1,
        window: Some(16),
        rope_base: 1e6,
        ..llama()
    };
    vec![
        ("gemma3", gemma3),
        // As the larger models of the family: only layers that see everything are stretched.
        ("gemma3-linear", Synthetic { rope_scaling: RopeScaling::Linear { factor: 8.0 }, ..gemma3 }),
    ]
}

fn phis() -> Vec<(&'static str, Synthetic)> {
    let phi3 = Synthetic { architecture: Architecture::Phi3, head: Head::Own, ..llama() };
    let longrope = |original| {
        let rope_scaling = RopeScaling::LongRope { original, magnitude: 1.19 };
        Synthetic { rope_scaling, ..phi3 }
    };
    vec![
        ("phi3", phi3),
        ("phi3-window", Synthetic { window: Some(16), ..phi3 }),
        // As Phi-4-mini.
        ("phi3-partial", Synthetic { head_size: Some(16), rotated: Some(12), ..longrope(64) }),
        ("phi3-longrope", longrope(64)),
        ("phi3-shortrope", longrope(256)),
    ]
}
