//! What an execution says of itself, when it ends, who watches it: as in the exact class.

use std::num::NonZeroUsize;
use std::ops::ControlFlow;

use assay_engine::sampler::Logprobs;
use assay_engine::synthetic::Synthetic;
use assay_engine::{ExecuteError, Execution, Failure, Generator, Observer, Usage};
use assay_manifest::Digest32;
use assay_protocol::commitment::{FailCode, Finish};
use assay_protocol::record::Class;
use assay_protocol::request::{F32, Message, Prompt, Request, Sampler};
use assay_tolerance::Settings;

use crate::support::{SEED, changed, execute, generator, in_chunks, load, load_with, request, variant};

fn sampled() -> Sampler {
    Sampler { temperature: F32::new(0.8), top_k: 40, ..Sampler::greedy() }
}

#[test]
fn an_execution_says_its_class_and_has_no_trace() {
    let mut specs = Vec::new();
    for (name, synthetic) in Synthetic::tolerance_variants() {
        let generator = generator(&synthetic);
        let request = request(&generator, "the hand", 9);
        let execution = execute(&generator, &request);
        assert_eq!((generator.class(), execution.class), (Class::Tolerance, Class::Tolerance), "{name}");
        assert_eq!(execution.trace_root, Digest32::ZERO, "{name}");
        assert_eq!(execution.finish, Finish::Length, "{name}");
        assert_eq!(execution.usage, Usage { n_in: request.n_in, n_out: 9 }, "{name}");
        assert_eq!((execution.tokens.len(), execution.failure), (9, None), "{name}");
        specs.push(generator.spec_id());
    }
    specs.dedup();
    assert_eq!(specs.len(), 2, "one spec an architecture");
}

#[test]
fn an_answer_is_the_same_again_whatever_came_between_and_beside_it() {
    for (name, synthetic) in Synthetic::tolerance_variants() {
        let generator = generator(&synthetic);
        let asks = ["in the hand", "x", "then and there and then"].map(|text| {
            let greedy = request(&generator, text, 16);
            Request { sampler: sampled(), ..greedy }
        });
        let alone: Vec<Execution> =
            asks.iter().map(|ask| execute(&crate::support::generator(&synthetic), ask)).collect();
        let again: Vec<Execution> = asks.iter().rev().map(|ask| execute(&generator, ask)).collect();
        assert!(again.iter().rev().eq(&alone), "{name}, after one another");
        let beside: Vec<Execution> = std::thread::scope(|scope| {
            let running = asks.each_ref().map(|ask| scope.spawn(|| execute(&generator, ask)));
            running.into_iter().map(|running| running.join().unwrap()).collect()
        });
        assert_eq!(beside, alone, "{name}, at once");
    }
}

#[test]
fn the_seed_decides_a_sampled_answer_and_nothing_of_a_greedy_one() {
    let generator = generator(&variant("phi2"));
    let greedy = request(&generator, "the hand", 12);
    let sampled = Request { sampler: sampled(), ..greedy.clone() };
    let with = |request: &Request, seed: u8| {
        generator.execute(request, &Digest32::from_bytes([seed; 32]), &mut ()).unwrap()
    };
    assert_eq!(with(&greedy, 1), with(&greedy, 2));
    assert_ne!(with(&sampled, 1).tokens, with(&sampled, 2).tokens);
}

#[test]
fn an_answer_ends_with_an_end_token_which_belongs_to_it() {
    let synthetic = variant("glm4");
    let free = generator(&synthetic);
    let tokens = execute(&free, &request(&free, "the hand", 30)).tokens;
    let is_new = |index: &usize| !tokens[..*index].contains(&tokens[*index]);
    let end = (2..tokens.len()).find(is_new).unwrap();
    let ending = generator(&Synthetic { eos: Some(tokens[end]), ..synthetic });
    let execution = execute(&ending, &request(&ending, "the hand", 30));
    assert_eq!((execution.finish, &execution.tokens[..]), (Finish::Eos, &tokens[..=end]));
}

#[test]
fn an_answer_ends_with_the_first_stop_string() {
    for name in ["phi2", "glm4"] {
        let generator = generator(&variant(name));
        let free = request(&generator, "the hand", 40);
        let tokens = execute(&generator, &free).tokens;
        let text = |tokens: &[u32]| generator.text().decode(tokens);
        // A token whose text occurs nowhere before it.
        let is_new = |index: &usize| {
            let own = text(&tokens[*index..=*index]);
            !own.is_empty() && own.is_ascii() && !text(&tokens[..*index]).contains(&own)
        };
        let end = (1..tokens.len()).find(is_new).unwrap();
        let stop = vec!["never in it".to_owned(), text(&tokens[end..=end])];
        let execution = execute(&generator, &Request { stop, ..free });
        assert_eq!((execution.finish, &execution.tokens[..]), (Finish::Stop(1), &tokens[..=end]), "{name}");
    }
}

#[test]
fn a_conversation_is_rendered_by_the_template() {
    let generator = generator(&variant("phi2"));
    let messages = vec![Message { role: "user".into(), content: "hand in hand".into() }];
    let mut ask = Request { prompt: Prompt::Chat(messages), ..request(&generator, "-", 4) };
    let prompt = generator.prompt(&ask).unwrap();
    assert_eq!(generator.text().decode(&prompt), "user\nhand in hand\nassistant\n");
    ask.n_in = prompt.len() as u32;
    ask.prompt_hash = assay_protocol::request::prompt_hash(&prompt);
    assert_eq!(execute(&generator, &ask).usage.n_in, ask.n_in);
}

#[test]
fn a_full_context_fails_after_the_token_that_fills_it() {
    for name in ["phi2", "glm4"] {
        let generator = generator(&Synthetic { context_length: 16, ..variant(name) });
        let execution = execute(&generator, &request(&generator, "wxyz", 100));
        let failure = Failure { code: FailCode::ContextOverflow, position: 12 };
        assert_eq!((execution.finish, execution.failure), (Finish::Failed, Some(failure)), "{name}");
        assert_eq!(execution.usage, Usage { n_in: 4, n_out: 12 }, "{name}");
        let fits = execute(&generator, &request(&generator, "wxyz", 12));
        assert_eq!((fits.finish, fits.failure), (Finish::Length, None), "{name}");
    }
}

#[test]
fn what_cannot_be_answered_fails_before_any_work() {
    let generator = generator(&Synthetic { context_length: 16, ..variant("phi2") });
    let right = request(&generator, "the hand", 4);
    let biased = Sampler { logit_bias: vec![(9_999_999, F32::new(1.0))], ..Sampler::greedy() };
    let long = request(&generator, "a b c d e f g h i", 4);
    let cases = [
        ("a bias for no token", Request { sampler: biased, ..right.clone() }, FailCode::Unsupported, 0),
        (
            "no prompt",
            Request { prompt: Prompt::Text(String::new()), ..right.clone() },
            FailCode::Template,
            0,
        ),
        ("another hash", Request { prompt_hash: Digest32::ZERO, ..right.clone() }, FailCode::Prompt, 0),
        ("no room", long.clone(), FailCode::ContextOverflow, long.n_in),
    ];
    for (reason, ask, code, n_in) in cases {
        let execution = execute(&generator, &ask);
        assert_eq!(execution.failure, Some(Failure { code, position: 0 }), "{reason}");
        assert_eq!(execution.usage, Usage { n_in, n_out: 0 }, "{reason}");
        assert_eq!((execution.class, execution.trace_root), (Class::Tolerance, Digest32::ZERO), "{reason}");
    }
}

#[test]
fn logits_that_are_not_finite_fail_at_their_position() {
    for name in ["phi2", "glm4"] {
        let file = changed(&variant(name), |_, tensors| {
            let norm = tensors.iter_mut().find(|tensor| tensor.name == "output_norm.weight").unwrap();
            norm.data[..4].copy_from_slice(&f32::NAN.to_le_bytes());
        });
        let generator = load(&file).unwrap();
        let execution = execute(&generator, &request(&generator, "the hand", 4));
        assert_eq!(execution.failure, Some(Failure { code: FailCode::NotFinite, position: 0 }), "{name}");
        assert!(execution.tokens.is_empty(), "{name}");
    }
}

/// Notes what it hears, and ends the execution after as many positions or tokens.
struct Notes {
    tokens: Vec<u32>,
    positions: Vec<(usize, usize)>,
    logprobs: Vec<Logprobs>,
    positions_max: usize,
    tokens_max: usize,
}

impl Notes {
    const fn until(positions_max: usize, tokens_max: usize) -> Self {
        Self { tokens: Vec::new(), positions: Vec::new(), logprobs: Vec::new(), positions_max, tokens_max }
    }
}

impl Observer for Notes {
    fn positions(&mut self, done: usize, total: usize) -> ControlFlow<()> {
        self.positions.push((done, total));
        if done >= self.positions_max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn wants_logprobs(&self) -> Option<usize> {
        Some(3)
    }

    fn logprobs(&mut self, logprobs: &Logprobs) {
        self.logprobs.push(logprobs.clone());
    }

    fn token(&mut self, token: u32) -> ControlFlow<()> {
        self.tokens.push(token);
        if self.tokens.len() >= self.tokens_max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

#[test]
fn an_observer_hears_everything_and_can_end_the_execution_within_prompt_and_answer() {
    let generator = in_chunks(&variant("glm4"), 3);
    let request = request(&generator, "wxyzwxyz", 6);
    let run = |mut notes: Notes| {
        let result = generator.execute(&request, &SEED, &mut notes);
        (result, notes)
    };
    let (result, notes) = run(Notes::until(usize::MAX, usize::MAX));
    let execution = result.unwrap();
    assert_eq!(notes.tokens, execution.tokens);
    assert_eq!(notes.positions, [(3, 8), (6, 8), (8, 8)]);
    assert_eq!(notes.logprobs.len(), 6);
    let (result, notes) = run(Notes::until(usize::MAX, 2));
    assert!(matches!(result, Err(ExecuteError::Stopped)));
    assert_eq!(notes.tokens, execution.tokens[..2]);
    let (result, notes) = run(Notes::until(6, usize::MAX));
    assert!(matches!(result, Err(ExecuteError::Stopped)));
    assert_eq!((notes.positions.len(), notes.tokens.len()), (2, 0));
    assert_eq!(run(Notes::until(usize::MAX, usize::MAX)).0.unwrap(), execution);
}

#[test]
fn a_sequence_beyond_this_machines_limit_is_refused_before_it_is_begun() {
    for name in ["phi2", "glm4"] {
        let file = Synthetic { context_length: 4_096, ..variant(name) }.gguf().unwrap();
        let prefill_chunk = NonZeroUsize::new(8).unwrap();
        let settings = Settings { prefill_chunk, sequence_bytes_max: 3 << 20 };
        let generator = load_with(&file, settings).unwrap();
        let huge = request(&generator, "hand", 4_000);
        let longest = huge.n_in as usize + 4_000;
        for refused in [generator.check_memory(&huge), generator.execute(&huge, &SEED, &mut ()).map(drop)] {
            let Err(ExecuteError::Memory { positions, max }) = refused else { panic!("{name}: {refused:?}") };
            assert_eq!((positions, max), (longest, settings.sequence_bytes_max), "{name}");
        }
        let small = request(&generator, "hand", 4);
        assert!(generator.check_memory(&small).is_ok(), "{name}");
        assert_eq!(execute(&generator, &small).finish, Finish::Length, "{name}");
        assert!(generator.logits(&[1; 4_000]).is_err(), "{name}");
    }
}
