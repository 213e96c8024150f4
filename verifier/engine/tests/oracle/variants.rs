//! Every architecture, every variant of its files, every type of weights.

use assay_engine::synthetic::{Mix, Synthetic};
use assay_kernels::WeightType;

use crate::measure::DIVERGENCE_MAX;
use crate::{SEQUENCES, distance};

/// What F16 weights leave of a difference, in nats: keys and values rounded to binary16.
const ROUNDING_MAX: f64 = 1e-5;

/// How far weights reach where activations are quantised, and in mixtures, where an error tips the choice between
/// experts that are about equally likely: random models magnify an error of their input, by
/// more the larger their weights are, as trained ones do not.
const REACH: f32 = 1.5;

#[test]
fn every_architecture_gives_the_oracles_distributions() {
    for (name, synthetic) in Synthetic::variants() {
        match synthetic.experts {
            None => check(name, &synthetic, ROUNDING_MAX),
            Some(_) => check(name, &Synthetic { reach: REACH, ..synthetic }, DIVERGENCE_MAX),
        }
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
    let found = distance(&synthetic.gguf().unwrap(), None, SEQUENCES);
    println!("{name}: {:.2e} nats over {} positions", found.divergence(), found.positions());
    assert!(found.divergence() < divergence_max, "{name} is {:.2e} nats away", found.divergence());
}
