//! The numerics of `assay-num-1`, frozen: a change of any result is a new id, never a new vector.

use std::fmt::Write as _;

use assay_engine::synthetic::Synthetic;
use assay_kernels::WeightType;
use assay_protocol::request::{Request, Sampler};

use crate::support::{LONG, engine, execute, model, request, sampled};

const FROZEN: &str = include_str!("frozen.txt");

#[test]
fn specs_answers_and_trace_roots_are_the_frozen_ones() {
    let types =
        WeightType::ALL.into_iter().map(|weight_type| (weight_type.name(), Synthetic::of(weight_type)));
    let mut found = String::new();
    for (name, synthetic) in types.chain(Synthetic::variants()) {
        let model = model(&synthetic);
        writeln!(found, "{name} spec {}", model.spec_id()).unwrap();
        for (sampling, sampler) in [("greedy", Sampler::greedy()), ("sampled", sampled())] {
            let request = Request { sampler, ..request(&model, LONG, 8) };
            let execution = execute(&engine(1, 64), &model, &request);
            writeln!(found, "{name} {sampling} {:?} {}", execution.tokens, execution.trace_root).unwrap();
        }
    }
    assert!(found == FROZEN, "frozen.txt holds\n{FROZEN}\nbut found is\n{found}");
}
