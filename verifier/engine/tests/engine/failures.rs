//! Failures that everybody finds: an agreed value, from execution and verification alike.

use std::sync::Arc;

use assay_engine::synthetic::{Synthetic, Tensor};
use assay_engine::{Execution, Failure, Model, NO_TOKEN, Usage, Verified};
use assay_kernels::WeightType;
use assay_manifest::Digest32;
use assay_manifest::formats::gguf;
use assay_protocol::commitment::{FailCode, Finish};
use assay_protocol::request::{F32, Message, Prompt, Request, Sampler};
use assay_protocol::trace::TraceBuilder;

use crate::support::{engine, execute, load, model, request, verify};

/// Executes on several engines, verifies the failed claim, and returns the one result.
fn failed(model: &Arc<Model>, request: &Request) -> Execution {
    let execution = execute(&engine(1, 64), model, request);
    assert_eq!(execution.finish, Finish::Failed);
    for (threads, chunk) in [(1, 1), (1, 3), (2, 64)] {
        let engine = engine(threads, chunk);
        assert_eq!(execute(&engine, model, request), execution, "{threads} threads, chunks of {chunk}");
        let verified = verify(&engine, model, request, &execution.tokens, Finish::Failed);
        assert_eq!(verified, Verified::Failed(execution.clone()), "{threads} threads, chunks of {chunk}");
    }
    execution
}

/// Nothing was computed.
fn assert_before_work(execution: &Execution, code: FailCode, n_in: u32) {
    assert_eq!(execution.failure, Some(Failure { code, position: 0 }));
    assert_eq!(execution.usage, Usage { n_in, n_out: 0 });
    assert_eq!(execution.trace_root, TraceBuilder::new().root());
}

#[test]
fn a_full_context_fails_after_the_token_that_fills_it() {
    let model = model(&Synthetic { context_length: 16, ..Synthetic::default() });
    let request = request(&model, "wxyz", 100);
    let execution = failed(&model, &request);
    assert_eq!(execution.failure, Some(Failure { code: FailCode::ContextOverflow, position: 12 }));
    assert_eq!(execution.usage, Usage { n_in: 4, n_out: 12 });
}

#[test]
fn an_answer_that_just_fits_the_context_does_not_fail() {
    let model = model(&Synthetic { context_length: 16, ..Synthetic::default() });
    let request = request(&model, "wxyz", 12);
    let execution = execute(&engine(1, 64), &model, &request);
    assert_eq!(execution.finish, Finish::Length);
    let verified = verify(&engine(1, 64), &model, &request, &execution.tokens, execution.finish);
    assert_eq!(verified, Verified::Accepted(execution));
}

#[test]
fn a_prompt_that_fills_the_context_fails_before_any_work() {
    let model = model(&Synthetic { context_length: 4, ..Synthetic::default() });
    assert_before_work(&failed(&model, &request(&model, "wxyz", 5)), FailCode::ContextOverflow, 4);
}

#[test]
fn a_claim_beyond_a_failure_and_one_before_it_are_not_the_failure() {
    let model = model(&Synthetic { context_length: 16, ..Synthetic::default() });
    let request = request(&model, "wxyz", 100);
    let execution = execute(&engine(1, 64), &model, &request);
    let mut longer = execution.tokens.clone();
    longer.extend([1, 2, 3]);
    let verified = verify(&engine(1, 64), &model, &request, &longer, Finish::Length);
    let Verified::Rejected { position, right_token, trace_root } = verified else { panic!("{verified:?}") };
    assert_eq!((position, right_token), (12, NO_TOKEN));
    assert_eq!(trace_root, execution.trace_root);
    let verified = verify(&engine(1, 64), &model, &request, &execution.tokens[..5], Finish::Failed);
    let Verified::Rejected { position, right_token, .. } = verified else { panic!("{verified:?}") };
    assert_eq!((position, right_token), (5, execution.tokens[5]));
    assert_ne!(right_token, NO_TOKEN);
}

#[test]
fn a_template_that_refuses_the_messages_fails_before_any_work() {
    let synthetic = Synthetic::default();
    let mut metadata = synthetic.metadata();
    let template = "{{ raise_exception('only systems talk to me') }}".to_owned();
    metadata.insert("tokenizer.chat_template".into(), gguf::Value::String(template));
    let model = load(&file(&metadata, &synthetic.tensors()));
    let messages = vec![Message { role: "user".into(), content: "hello".into() }];
    let request = Request { prompt: Prompt::Chat(messages), ..request(&model, "-", 4) };
    assert_before_work(&failed(&model, &request), FailCode::Template, 0);
}

#[test]
fn a_template_without_end_fails_for_lack_of_fuel() {
    let synthetic = Synthetic::default();
    let mut metadata = synthetic.metadata();
    let template =
        "{% for i in range(10000) %}{% for j in range(10000) %}{% endfor %}{% endfor %}".to_owned();
    metadata.insert("tokenizer.chat_template".into(), gguf::Value::String(template));
    let model = load(&file(&metadata, &synthetic.tensors()));
    let request = Request { prompt: Prompt::Chat(Vec::new()), ..request(&model, "-", 4) };
    assert_before_work(&failed(&model, &request), FailCode::Fuel, 0);
}

#[test]
fn a_prompt_without_tokens_fails_before_any_work() {
    let model = model(&Synthetic::default());
    let request = Request { prompt: Prompt::Text(String::new()), ..request(&model, "-", 4) };
    assert_before_work(&failed(&model, &request), FailCode::Template, 0);
}

#[test]
fn a_sampler_that_is_not_defined_fails_before_any_work() {
    let model = model(&Synthetic::default());
    let sampler = Sampler { logit_bias: vec![(9_999_999, F32::new(1.0))], ..Sampler::greedy() };
    let request = Request { sampler, ..request(&model, "wxyz", 4) };
    assert_before_work(&failed(&model, &request), FailCode::Unsupported, 0);
}

/// A model whose residual overflows at a `Z` that follows other tokens, and nowhere else: its row holds the
/// largest floats of both signs, and attention to the tokens before adds something large to every element.
fn overflowing() -> Arc<Model> {
    let synthetic = Synthetic { layers: 1, ..Synthetic::of(WeightType::F32) };
    let mut tensors = synthetic.tensors();
    for tensor in &mut tensors {
        let values: Vec<f32> = tensor.data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        let values: Vec<f32> = match tensor.name.as_str() {
            "token_embd.weight" => {
                let row = usize::from(b'Z') * synthetic.hidden;
                let is_z = |index: usize| (row..row + synthetic.hidden).contains(&index);
                let largest = |index: usize| if index.is_multiple_of(2) { f32::MAX } else { f32::MIN };
                let value = |(index, value): (usize, &f32)| if is_z(index) { largest(index) } else { *value };
                values.iter().enumerate().map(value).collect()
            }
            "blk.0.attn_output.weight" => vec![3e36; values.len()],
            _ => values,
        };
        tensor.data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    }
    load(&file(&synthetic.metadata(), &tensors))
}

fn file(metadata: &gguf::Metadata, tensors: &[Tensor]) -> Vec<u8> {
    let tensors: Vec<_> = tensors.iter().map(Tensor::data).collect();
    let mut file = Vec::new();
    gguf::write(&mut file, metadata, &tensors).unwrap();
    file
}

#[test]
fn a_residual_that_overflows_fails_with_the_root_of_the_positions_before() {
    let model = overflowing();
    let finite = execute(&engine(1, 64), &model, &request(&model, "wxyz", 1));
    assert_eq!(finite.failure, None);
    let first = failed(&model, &request(&model, "ab Z cd", 4));
    let second = failed(&model, &request(&model, "ab Z xyz and more", 4));
    assert_eq!(first.failure, Some(Failure { code: FailCode::NotFinite, position: 0 }));
    // What stands behind the failing position does not matter, what stands before it does.
    assert_eq!(first.trace_root, second.trace_root);
    assert_ne!(first.trace_root, Digest32::ZERO);
    assert_ne!(first.trace_root, failed(&model, &request(&model, "ac Z cd", 4)).trace_root);
}
