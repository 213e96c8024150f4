//! Every architecture, every variant of its files, every type of weights.

use assay_engine::synthetic::{Mix, Synthetic};
use assay_kernels::WeightType;

use crate::graph::Oracle;
use crate::measure::DIVERGENCE_MAX;
use crate::{SEQUENCES, distance};

/// Most with F16 weights and the engine's cache, in nats: what is left is f32's rounding, and what it tips: keys
/// and values to the next binary16, rarely a choice of experts.
const ROUNDING_MAX: f64 = 1e-5;

/// How far weights reach where activations are quantised: random models magnify an error of their input, by
/// more the larger their weights are, as trained ones do not.
const REACH: f32 = 1.5;

#[test]
fn every_architecture_gives_the_oracles_distributions() {
    for (name, synthetic) in Synthetic::variants() {
        let file = synthetic.gguf().unwrap();
        let oracle = Oracle::new(&file, None).unwrap().with_half_cache();
        check_against(&oracle, name, &file, ROUNDING_MAX);
    }
}

#[test]
fn every_architecture_keeps_the_bound_with_quantised_weights() {
    for (name, synthetic) in Synthetic::variants() {
        let quantised = Synthetic { weight_type: WeightType::Q8_0, reach: REACH, ..synthetic };
        check(name, &quantised, DIVERGENCE_MAX);
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
    let file = synthetic.gguf().unwrap();
    check_against(&Oracle::new(&file, None).unwrap(), name, &file, divergence_max);
}

fn check_against(oracle: &Oracle, name: &str, file: &[u8], divergence_max: f64) {
    let found = distance(file, oracle, SEQUENCES);
    println!("{name}: {:.2e} nats over {} positions", found.divergence(), found.positions());
    assert!(found.divergence() < divergence_max, "{name} is {:.2e} nats away", found.divergence());
}
