//! Many requests at once: nobody's answer changes, nobody waits for ever, nobody takes more than there is.

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::sync::{Arc, Barrier};

use assay_engine::sampler::Logprobs;
use assay_engine::synthetic::Synthetic;
use assay_engine::{Engine, ExecuteError, Execution, Model, Observer, Settings};
use assay_kernels::{CacheShape, WeightType};
use assay_protocol::request::Request;

use crate::support::{LONG, SEED, engine, execute, model, request, sampled, verify};

/// Requests whose prompts begin alike or differently, of different lengths.
fn requests(model: &Model) -> Vec<Request> {
    let texts = ["the", "and", "in", LONG, "the inn", &LONG[..100], &LONG[..60], "hand"];
    let request = |(index, text): (usize, &&str)| {
        let request = request(model, text, 6 + index as u32);
        if index.is_multiple_of(2) { request } else { Request { sampler: sampled(), ..request } }
    };
    texts.iter().enumerate().map(request).collect()
}

fn at_once(engine: &Engine, jobs: &[(Arc<Model>, Request)]) -> Vec<Execution> {
    std::thread::scope(|scope| {
        let running: Vec<_> =
            jobs.iter().map(|(model, request)| scope.spawn(|| execute(engine, model, request))).collect();
        running.into_iter().map(|running| running.join().unwrap()).collect()
    })
}

fn settings() -> Settings {
    Settings { threads: NonZeroUsize::new(2).unwrap(), ..Settings::for_this_machine() }
}

#[test]
fn requests_at_once_are_answered_as_alone_whatever_there_is_room_for() {
    let model = model(&Synthetic::default());
    let jobs: Vec<_> = requests(&model).into_iter().map(|request| (Arc::clone(&model), request)).collect();
    let expected: Vec<_> =
        jobs.iter().map(|(model, request)| execute(&engine(1, 64), model, request)).collect();
    let shape = CacheShape { layers: 2, kv_heads: 2, head_size: 16 };
    let one = shape.size_bytes(LONG.len() + 16).unwrap();
    for (what, settings) in [
        ("all at once", settings()),
        ("one at a time", Settings { sequences_max: NonZeroUsize::MIN, ..settings() }),
        ("three at a time", Settings { sequences_max: NonZeroUsize::new(3).unwrap(), ..settings() }),
        ("memory for little more than one", Settings { cache_bytes_max: one + one / 2, ..settings() }),
        ("no prefixes", Settings { prefix_bytes_max: 0, ..settings() }),
        ("few prefixes", Settings { prefix_bytes_max: shape.page_bytes().unwrap(), ..settings() }),
        ("chunks of one", Settings { prefill_chunk: NonZeroUsize::MIN, ..settings() }),
    ] {
        let engine = Engine::new(settings).unwrap();
        for round in 0..3 {
            assert_eq!(at_once(&engine, &jobs), expected, "{what}, round {round}");
        }
    }
}

#[test]
fn models_take_turns_on_one_engine() {
    let models = [WeightType::Q8_0, WeightType::F16, WeightType::Q4_0].map(|t| model(&Synthetic::of(t)));
    let jobs: Vec<_> = models
        .iter()
        .flat_map(|model| requests(model).into_iter().take(4).map(|request| (Arc::clone(model), request)))
        .collect();
    let expected: Vec<_> =
        jobs.iter().map(|(model, request)| execute(&engine(1, 64), model, request)).collect();
    assert_eq!(at_once(&Engine::new(settings()).unwrap(), &jobs), expected);
}

#[test]
fn a_shared_prefix_changes_nothing_for_executions_and_verifications() {
    let model = model(&Synthetic::default());
    let engine = Engine::new(settings()).unwrap();
    let first = execute(&engine, &model, &request(&model, LONG, 20));
    // Begins alike for some pages, for all of them but the last position, and goes on with the answer.
    for text in [&LONG[..80], LONG, &format!("{LONG}{}", model.text().decode(&first.tokens))] {
        let request = Request { sampler: sampled(), ..request(&model, text, 10) };
        let alone =
            execute(&Engine::new(Settings { prefix_bytes_max: 0, ..settings() }).unwrap(), &model, &request);
        assert_eq!(execute(&engine, &model, &request), alone, "{text}");
        let verified = verify(&engine, &model, &request, &alone.tokens, alone.finish);
        assert_eq!(verified, assay_engine::Verified::Accepted(alone), "{text}");
    }
}

/// Ends its execution after some tokens.
struct StopsAfter(usize);

impl Observer for StopsAfter {
    fn token(&mut self, _: u32) -> ControlFlow<()> {
        self.0 -= 1;
        if self.0 == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Waits at its first token until everybody else has been answered.
struct Slow<'a>(Option<&'a Barrier>);

impl Observer for Slow<'_> {
    fn token(&mut self, _: u32) -> ControlFlow<()> {
        if let Some(barrier) = self.0.take() {
            barrier.wait();
        }
        ControlFlow::Continue(())
    }
}

#[test]
fn who_stops_leaves_the_others_alone_and_room_for_more() {
    let model = model(&Synthetic::default());
    let settings = Settings { sequences_max: NonZeroUsize::new(2).unwrap(), ..settings() };
    let engine = Engine::new(settings).unwrap();
    let long = request(&model, "the", 60);
    let expected = execute(&engine, &model, &long);
    for round in 1..10 {
        std::thread::scope(|scope| {
            let stopped = scope
                .spawn(|| engine.execute(&model, &request(&model, "in", 60), &SEED, &mut StopsAfter(round)));
            assert_eq!(execute(&engine, &model, &long), expected);
            assert!(matches!(stopped.join().unwrap(), Err(ExecuteError::Stopped)));
        });
    }
}

#[test]
fn a_slow_observer_holds_up_nobody_else() {
    let model = model(&Synthetic::default());
    let engine = Engine::new(settings()).unwrap();
    let (slow, other) = (request(&model, "the", 30), request(&model, "and", 30));
    let barrier = Barrier::new(2);
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| engine.execute(&model, &slow, &SEED, &mut Slow(Some(&barrier))).unwrap());
        // Were the slow one waited for, this would never return.
        let answered = execute(&engine, &model, &other);
        barrier.wait();
        assert_eq!(slow.join().unwrap().usage.n_out, 30);
        assert_eq!(answered.usage.n_out, 30);
    });
}

#[test]
fn what_can_never_fit_is_refused_beforehand() {
    let model = model(&Synthetic::default());
    let engine = Engine::new(Settings { cache_bytes_max: 50_000, ..settings() }).unwrap();
    let refused = engine.check_memory(&model, &request(&model, "hand", 256));
    assert!(matches!(refused, Err(ExecuteError::Memory { positions: 256, max: 50_000 })), "{refused:?}");
    engine.check_memory(&model, &request(&model, "hand", 4)).unwrap();
}

/// Keeps what it hears.
#[derive(Default)]
struct Likelihoods(Vec<Logprobs>, Vec<u32>);

impl Observer for Likelihoods {
    fn wants_logprobs(&self) -> Option<usize> {
        Some(3)
    }

    fn logprobs(&mut self, logprobs: &Logprobs) {
        self.0.push(logprobs.clone());
    }

    fn token(&mut self, token: u32) -> ControlFlow<()> {
        self.1.push(token);
        ControlFlow::Continue(())
    }
}

#[test]
fn likelihoods_come_with_their_tokens_and_are_the_same_everywhere() {
    let model = model(&Synthetic::default());
    let greedy = request(&model, LONG, 10);
    let mut heard = Vec::new();
    for (threads, chunk) in [(1, 1), (2, 64)] {
        let mut likelihoods = Likelihoods::default();
        engine(threads, chunk).execute(&model, &greedy, &SEED, &mut likelihoods).unwrap();
        heard.push(likelihoods);
    }
    let [Likelihoods(one, tokens), Likelihoods(other, _)] = heard.as_slice() else { unreachable!() };
    assert_eq!(one, other);
    assert_eq!(one.len(), tokens.len());
    for (likelihood, token) in one.iter().zip(tokens) {
        // The greedy choice is the likeliest.
        assert_eq!(likelihood.top[0], (*token, likelihood.chosen));
        assert!(likelihood.chosen < 0.0 && likelihood.top.is_sorted_by(|a, b| a.1 >= b.1), "{likelihood:?}");
    }
}
