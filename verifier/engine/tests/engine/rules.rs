//! When an answer ends, who watches it, and what a request must state.

use std::sync::Arc;

use std::ops::ControlFlow;

use assay_engine::synthetic::Synthetic;
use assay_engine::{
    Claimed, Engine, ExactGenerator, ExecuteError, Execution, Generator, Inspection, Model, Observer,
    Settings, Usage, Verified,
};
use assay_manifest::Digest32;
use assay_protocol::commitment::{FailCode, Finish};
use assay_protocol::record::Class;
use assay_protocol::request::{Message, Prompt, Request, prompt_hash};

use crate::support::{SEED, engine, execute, model, request, sampled, verify};

/// The index of a token that did not occur before, from the third on.
fn first_new(tokens: &[u32]) -> usize {
    (2..tokens.len()).find(|index| !tokens[..*index].contains(&tokens[*index])).unwrap()
}

fn check_verified(model: &Arc<Model>, request: &Request, execution: &Execution) {
    let verified = verify(&engine(2, 7), model, request, &execution.tokens, execution.finish);
    assert_eq!(verified, Verified::Accepted(execution.clone()));
}

#[test]
fn an_answer_ends_at_max_tokens() {
    let model = model(&Synthetic::default());
    for max_tokens in [1, 2, 9] {
        let request = request(&model, "the hand", max_tokens);
        let execution = execute(&engine(1, 64), &model, &request);
        assert_eq!(execution.finish, Finish::Length);
        assert_eq!(execution.usage, Usage { n_in: request.n_in, n_out: max_tokens });
        assert_eq!(execution.tokens.len(), max_tokens as usize);
        check_verified(&model, &request, &execution);
    }
}

#[test]
fn an_answer_ends_with_an_end_token_which_belongs_to_it() {
    let free = model(&Synthetic::default());
    let tokens = execute(&engine(1, 64), &free, &request(&free, "the hand", 30)).tokens;
    let end = first_new(&tokens);
    let model = model(&Synthetic { eos: Some(tokens[end]), ..Synthetic::default() });
    let request = request(&model, "the hand", 30);
    let execution = execute(&engine(1, 64), &model, &request);
    assert_eq!(execution.finish, Finish::Eos);
    assert_eq!(execution.tokens, tokens[..=end]);
    check_verified(&model, &request, &execution);
}

#[test]
fn an_answer_ends_with_the_first_stop_string() {
    let model = model(&Synthetic::default());
    let free = request(&model, "the hand", 40);
    let tokens = execute(&engine(1, 64), &model, &free).tokens;
    // A token whose text occurs nowhere before it.
    let text = |tokens: &[u32]| model.text().decode(tokens);
    let is_new = |index: &usize| {
        let own = text(&tokens[*index..=*index]);
        own.is_ascii() && !text(&tokens[..*index]).contains(&own)
    };
    let end = (2..tokens.len()).find(is_new).unwrap();
    let stop = vec!["never in it".to_owned(), text(&tokens[end..=end])];
    let request = Request { stop, ..free };
    let execution = execute(&engine(1, 64), &model, &request);
    assert_eq!(execution.finish, Finish::Stop(1));
    assert_eq!(execution.tokens, tokens[..=end]);
    check_verified(&model, &request, &execution);
}

#[test]
fn an_end_token_precedes_a_stop_string_and_that_precedes_the_length() {
    let free = model(&Synthetic::default());
    let tokens = execute(&engine(1, 64), &free, &request(&free, "the hand", 1)).tokens;
    let stop = vec![free.text().decode(&tokens)];
    let both = Request { stop, ..request(&free, "the hand", 1) };
    let stopped = execute(&engine(1, 64), &free, &both);
    if free.text().decode(&tokens).is_ascii() {
        assert_eq!(stopped.finish, Finish::Stop(0));
    }
    let ending = model(&Synthetic { eos: Some(tokens[0]), ..Synthetic::default() });
    assert_eq!(execute(&engine(1, 64), &ending, &both).finish, Finish::Eos);
}

#[test]
fn the_seed_decides_a_sampled_answer_and_nothing_of_a_greedy_one() {
    let model = model(&Synthetic::default());
    let engine = engine(1, 64);
    let greedy = request(&model, "the hand", 12);
    let sampled = Request { sampler: sampled(), ..greedy.clone() };
    let with = |request: &Request, seed: u8| {
        engine.execute(&model, request, &Digest32::from_bytes([seed; 32]), &mut ()).unwrap()
    };
    assert_eq!(with(&greedy, 1), with(&greedy, 2));
    assert_eq!(with(&sampled, 1), with(&sampled, 1));
    assert_ne!(with(&sampled, 1).tokens, with(&sampled, 2).tokens);
}

#[test]
fn a_conversation_is_rendered_by_the_template() {
    let model = model(&Synthetic::default());
    let messages = vec![Message { role: "user".into(), content: "hand in hand".into() }];
    let mut request = Request { prompt: Prompt::Chat(messages), ..request(&model, "-", 4) };
    let prompt = model.prompt(&request).unwrap();
    // Control tokens have no text.
    assert_eq!(model.text().decode(&prompt), "user\nhand in hand\nassistant\n");
    request.n_in = prompt.len() as u32;
    request.prompt_hash = prompt_hash(&prompt);
    let execution = execute(&engine(1, 64), &model, &request);
    assert_eq!(execution.usage.n_in, request.n_in);
    check_verified(&model, &request, &execution);
}

#[test]
fn a_prompt_that_is_not_the_stated_one_fails_for_everybody() {
    let model = model(&Synthetic::default());
    let right = request(&model, "the hand", 4);
    for (reason, wrong) in [
        ("count", Request { n_in: right.n_in + 1, ..right.clone() }),
        ("hash", Request { prompt_hash: Digest32::ZERO, ..right.clone() }),
    ] {
        let execution = execute(&engine(1, 64), &model, &wrong);
        assert_eq!(execution.failure.map(|failure| failure.code), Some(FailCode::Prompt), "{reason}");
        assert!(execution.tokens.is_empty(), "{reason}");
        // Whoever verifies a claim about it finds the same, or that the claim is wrong: nobody has to decline.
        let verified = verify(&engine(2, 7), &model, &wrong, &[], Finish::Failed);
        assert_eq!(verified, Verified::Failed(execution), "{reason}");
        let verified = verify(&engine(2, 7), &model, &wrong, &[1], Finish::Eos);
        assert!(matches!(verified, Verified::Rejected { position: 0, .. }), "{reason}");
    }
}

#[test]
fn a_generator_of_the_exact_class_answers_as_its_engine_and_says_its_class() {
    let model = model(&Synthetic::default());
    let engine = Arc::new(engine(1, 64));
    let request = request(&model, "the hand", 9);
    let generator: Box<dyn Generator> =
        Box::new(ExactGenerator::new(Arc::clone(&engine), Arc::clone(&model)));
    let execution = generator.execute(&request, &SEED, &mut ()).unwrap();
    assert_eq!(execution, execute(&engine, &model, &request));
    assert_eq!((generator.class(), execution.class), (Class::Exact, Class::Exact));
    assert_eq!(generator.spec_id(), model.spec_id());
    assert_eq!(generator.context_length(), model.config().context_length);
    assert_eq!(generator.prompt(&request).unwrap(), model.prompt(&request).unwrap());
    assert!(generator.check_memory(&request).is_ok());
    let settings = Settings { cache_bytes_max: 1, ..Settings::for_this_machine() };
    let small = ExactGenerator::new(Arc::new(Engine::new(settings).unwrap()), model);
    assert!(matches!(small.check_memory(&request), Err(ExecuteError::Memory { max: 1, .. })));
}

/// Notes what it hears, and ends the execution after as many tokens.
struct Notes {
    tokens: Vec<u32>,
    positions: Vec<(usize, usize)>,
    end_after: usize,
}

impl Observer for Notes {
    fn positions(&mut self, done: usize, total: usize) -> ControlFlow<()> {
        self.positions.push((done, total));
        ControlFlow::Continue(())
    }

    fn token(&mut self, token: u32) -> ControlFlow<()> {
        self.tokens.push(token);
        if self.tokens.len() == self.end_after { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

#[test]
fn an_observer_hears_every_token_and_can_end_the_execution() {
    let model = model(&Synthetic::default());
    let request = request(&model, "wxyz", 6);
    let engine = engine(1, 3);
    let run = |end_after| {
        let mut notes = Notes { tokens: Vec::new(), positions: Vec::new(), end_after };
        let result = engine.execute(&model, &request, &SEED, &mut notes);
        (result, notes)
    };
    let (result, notes) = run(usize::MAX);
    let execution = result.unwrap();
    assert_eq!(notes.tokens, execution.tokens);
    // Who listens slowly hears the last count only.
    assert_eq!(notes.positions.last(), Some(&(4, 4)));
    assert!(notes.positions.is_sorted(), "{:?}", notes.positions);
    let (result, notes) = run(2);
    assert!(matches!(result, Err(ExecuteError::Stopped)));
    assert_eq!(notes.tokens, execution.tokens[..2]);
}

#[test]
fn a_cancelled_answer_is_not_for_the_engine_to_judge() {
    let model = model(&Synthetic::default());
    let claimed = Claimed { tokens: &[1], finish: Finish::Cancelled };
    let verified = engine(1, 64).verify(&model, &request(&model, "hand", 6), &SEED, claimed, &mut ());
    assert!(matches!(verified, Err(ExecuteError::Cancelled)));
}

#[test]
fn a_cache_beyond_this_machines_limit_is_refused_before_it_is_made() {
    let model = model(&Synthetic { context_length: u32::MAX, ..Synthetic::default() });
    let settings = Settings { cache_bytes_max: 1 << 20, ..Settings::for_this_machine() };
    let engine = Engine::new(settings).unwrap();
    let huge = request(&model, "hand", u32::MAX);
    let refused = engine.execute(&model, &huge, &SEED, &mut ());
    assert!(matches!(refused, Err(ExecuteError::Memory { .. })));
    assert!(engine.execute(&model, &request(&model, "hand", 4), &SEED, &mut ()).is_ok());
}

#[test]
fn an_answer_to_no_prompt_can_be_looked_into() {
    let model = model(&Synthetic::default());
    let empty = Request { prompt: Prompt::Text(String::new()), ..request(&model, "-", 4) };
    let what = Inspection { request: &empty, seed: &SEED, tokens: &[1, 2, 3] };
    let inspected = engine(1, 2).inspect(&model, what, 0..3).unwrap();
    let heads: Vec<bool> = inspected.iter().map(|position| position.state.logits_hash.is_some()).collect();
    assert_eq!(heads, [true, true, false]);
}
