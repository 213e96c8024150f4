//! A claim that is not the execution is rejected, at the position that `Verified` defines.

use std::sync::Arc;

use assay_engine::synthetic::Synthetic;
use assay_engine::{Claimed, Execution, Model, NO_TOKEN, Verified};
use assay_kernels::WeightType;
use assay_manifest::Digest32;
use assay_protocol::commitment::Finish;
use assay_protocol::request::Request;

use crate::support::{LONG, engine, execute, model, request, sampled, verify};

/// A model, a request with an answer of 12 tokens, and that answer.
fn answered() -> (Arc<Model>, Request, Execution) {
    let model = model(&Synthetic::default());
    let request = Request { sampler: sampled(), ..request(&model, LONG, 12) };
    let execution = execute(&engine(1, 64), &model, &request);
    assert_eq!(execution.finish, Finish::Length);
    (model, request, execution)
}

/// The trace root of the same request with a shorter answer, whose last token has an empty state; used to
/// show what a rejection's root is not.
fn shorter(model: &Arc<Model>, request: &Request, max_tokens: u32) -> Execution {
    execute(&engine(1, 64), model, &Request { max_tokens, ..request.clone() })
}

#[test]
fn a_flipped_token_is_rejected_where_it_stands() {
    let (model, request, execution) = answered();
    for flipped in 0..execution.tokens.len() {
        let mut roots = Vec::new();
        for wrong in [execution.tokens[flipped] ^ 1, 100_000] {
            let mut tokens = execution.tokens.clone();
            tokens[flipped] = wrong;
            for chunk in [1, 5, 64] {
                let verified = verify(&engine(2, chunk), &model, &request, &tokens, execution.finish);
                let Verified::Rejected { position, right_token, trace_root } = verified else {
                    panic!("token {flipped}: {verified:?}");
                };
                assert_eq!((position as usize, right_token), (flipped, execution.tokens[flipped]));
                roots.push(trace_root);
            }
        }
        assert!(
            roots.iter().all(|root| *root == roots[0]),
            "the root depends on nothing that is claimed after it"
        );
        assert_ne!(roots[0], execution.trace_root);
    }
}

#[test]
fn an_answer_that_ends_early_is_rejected_with_the_token_that_follows() {
    let (model, request, execution) = answered();
    for len in 0..execution.tokens.len() {
        for finish in [Finish::Length, Finish::Eos, Finish::Stop(0), Finish::Failed] {
            let verified = verify(&engine(1, 64), &model, &request, &execution.tokens[..len], finish);
            let Verified::Rejected { position, right_token, trace_root } = verified else {
                panic!("{len} tokens, {finish:?}: {verified:?}");
            };
            assert_eq!((position as usize, right_token), (len, execution.tokens[len]));
            if len > 0 {
                assert_ne!(trace_root, shorter(&model, &request, len as u32).trace_root);
            }
        }
    }
}

#[test]
fn an_answer_that_goes_on_after_its_end_is_rejected_there() {
    let (model, request, execution) = answered();
    let mut tokens = execution.tokens.clone();
    tokens.extend([3; 500]);
    let verified = verify(&engine(1, 64), &model, &request, &tokens, execution.finish);
    let (position, trace_root) = (execution.usage.n_out, execution.trace_root);
    assert_eq!(verified, Verified::Rejected { position, right_token: NO_TOKEN, trace_root });
}

#[test]
fn a_wrong_finish_of_a_right_answer_is_rejected_after_it() {
    let (model, request, execution) = answered();
    let (position, trace_root) = (execution.usage.n_out, execution.trace_root);
    for finish in [Finish::Eos, Finish::Stop(0), Finish::Failed] {
        let verified = verify(&engine(1, 64), &model, &request, &execution.tokens, finish);
        assert_eq!(
            verified,
            Verified::Rejected { position, right_token: NO_TOKEN, trace_root },
            "{finish:?}"
        );
    }
}

#[test]
fn another_seed_is_caught() {
    let (model, request, execution) = answered();
    let other = Digest32::from_bytes([43; 32]);
    let claimed = Claimed { tokens: &execution.tokens, finish: execution.finish };
    let verified = engine(1, 64).verify(&model, &request, &other, claimed, &mut ()).unwrap();
    assert!(matches!(verified, Verified::Rejected { .. }), "{verified:?}");
}

#[test]
fn swapped_weights_are_caught_by_tokens_or_by_the_root() {
    let (right, request, execution) = answered();
    for (reason, swapped) in [
        ("other weights", Synthetic { seed: 2, ..Synthetic::default() }),
        ("the same weights in fewer bits", Synthetic::of(WeightType::Q4_0)),
        ("the same weights in more bits", Synthetic::of(WeightType::F16)),
        ("a layer left out", Synthetic { layers: 1, ..Synthetic::default() }),
    ] {
        let swapped = model(&swapped);
        let cheap = execute(&engine(1, 64), &swapped, &request);
        assert_ne!(cheap.trace_root, execution.trace_root, "{reason}");
        let verified = verify(&engine(1, 64), &right, &request, &cheap.tokens, cheap.finish);
        assert_ne!(verified, Verified::Accepted(cheap), "{reason}");
    }
}

#[test]
fn each_weight_type_has_its_own_spec_and_weights_do_not_matter_to_it() {
    let spec = |synthetic: Synthetic| model(&synthetic).spec_id();
    let mut specs: Vec<_> = WeightType::ALL.map(|weight_type| spec(Synthetic::of(weight_type))).to_vec();
    specs.sort();
    specs.dedup();
    assert_eq!(specs.len(), WeightType::ALL.len());
    assert_eq!(spec(Synthetic { seed: 2, layers: 1, ..Synthetic::default() }), spec(Synthetic::default()));
}
