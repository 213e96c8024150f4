//! Every architecture, every variant of its files, every type of weights.

use assay_engine::synthetic::{Mix, Synthetic};
use assay_kernels::WeightType;

use crate::measure::DIVERGENCE_MAX;
use crate::{SEQUENCES, distance};

/// What F16 weights leave of a difference, the rounding of f32, in nats.
const ROUNDING_MAX: f64 = 1e-9;

/// Most for mixtures with quantised activations, in nats: an error tips the choice between experts that are
/// about equally likely, which moves that position by some tenths. llama.cpp is 1.4e-3 away on the same files.
const TIPPED_MAX: f64 = 5e-3;

/// How far weights reach where activations are quantised: random models magnify an error of their input, by
/// more the larger their weights are, as trained ones do not.
const REACH: f32 = 1.5;

#[test]
fn every_architecture_gives_the_oracles_distributions() {
    for (name, synthetic) in Synthetic::variants() {
        check(name, &synthetic, ROUNDING_MAX);
    }
}

#[test]
fn every_architecture_keeps_the_bound_with_quantised_weights() {
    for (name, synthetic) in Synthetic::variants() {
        let quantised = Synthetic { weight_type: WeightType::Q8_0, reach: REACH, ..synthetic };
        check(name, &quantised, if synthetic.experts.is_some() { TIPPED_MAX } else { DIVERGENCE_MAX });
    }
}

#[test]
fn every_weight_type_keeps_the_bound() {
    for weight_type in WeightType::ALL {
        let synthetic = Synthetic { reach: REACH, ..Synthetic::of(weight_type) };
        check(weight_type.name(), &synthetic, DIVERGENCE_MAX);
    }
    let mixed = Synthetic { mix: Mix::Medium, reach: REACH, ..Synthetic::of(WeightType::Q4_K) };
    check("q4_k and q6_k", &mixed, DIVERGENCE_MAX);
}

fn check(name: &str, synthetic: &Synthetic, divergence_max: f64) {
    let found = distance(&synthetic.gguf().unwrap(), None, SEQUENCES);
    println!("{name}: {:.2e} nats over {} positions", found.divergence(), found.positions());
    assert!(found.divergence() < divergence_max, "{name} is {:.2e} nats away", found.divergence());
}
