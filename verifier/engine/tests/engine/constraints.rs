//! Answers under a constraint: they keep to it, verify, and are the same in every company.

use std::ops::ControlFlow;
use std::sync::{Arc, Barrier};

use assay_engine::sampler::{Logprobs, TokenMask};
use assay_engine::synthetic::Synthetic;
use assay_engine::{
    Claimed, Constraint, Engine, Execution, Failure, Model, NO_TOKEN, Observer, Usage, Verified,
};
use assay_manifest::Digest32;
use assay_protocol::commitment::{FailCode, Finish};
use assay_protocol::request::{F32, Request, Sampler};

use crate::support::{LONG, SEED, engine, execute, model, request, sampled, verify};

/// The least and the most digits of the grammar's number.
const DIGITS: std::ops::RangeInclusive<usize> = 1..=4;

/// The grammar `{"a": [0-9]{1,4}}` over the bytes of tokens; after it, only a token that ends answers.
struct Grammar {
    model: Arc<Model>,
    at: At,
}

#[derive(Clone, Copy, PartialEq)]
enum At {
    /// So many bytes of what comes before the number.
    Opening(usize),
    /// So many digits.
    Number(usize),
    Closed,
    Ended,
}

impl At {
    const OPENING: &'static [u8] = b"{\"a\": ";

    fn byte(self, byte: u8) -> Option<Self> {
        match self {
            Self::Opening(read) if Self::OPENING[read] != byte => None,
            Self::Opening(read) if read + 1 < Self::OPENING.len() => Some(Self::Opening(read + 1)),
            Self::Opening(_) => Some(Self::Number(0)),
            Self::Number(read) if byte.is_ascii_digit() && read < *DIGITS.end() => {
                Some(Self::Number(read + 1))
            }
            Self::Number(read) if byte == b'}' && DIGITS.contains(&read) => Some(Self::Closed),
            _ => None,
        }
    }

    fn token(self, model: &Model, token: u32) -> Option<Self> {
        if model.text().eos_tokens().contains(&token) {
            return (self == Self::Closed).then_some(Self::Ended);
        }
        let bytes = model.text().token_bytes(token);
        // A token that adds nothing could follow for ever.
        if bytes.is_empty() { None } else { bytes.iter().try_fold(self, |at, byte| at.byte(*byte)) }
    }
}

impl Grammar {
    fn start(model: &Arc<Model>) -> Arc<dyn Constraint> {
        Arc::new(Self { model: Arc::clone(model), at: At::Opening(0) })
    }
}

impl Constraint for Grammar {
    fn allow_next(&self, mask: &mut TokenMask) {
        let tokens = 0..self.model.text().vocab_size();
        tokens
            .filter(|token| self.at.token(&self.model, *token).is_some())
            .for_each(|token| mask.allow(token));
    }

    fn after(&self, token: u32) -> Option<Arc<dyn Constraint>> {
        let at = self.at.token(&self.model, token)?;
        Some(Arc::new(Self { model: Arc::clone(&self.model), at }))
    }
}

/// Digits, as many as these and then nothing; never an end. The model's tokens are bytes first.
#[derive(Clone, Copy)]
struct Digits(usize);

impl Digits {
    const ENDLESS: Self = Self(usize::MAX);
}

impl Constraint for Digits {
    fn allow_next(&self, mask: &mut TokenMask) {
        if self.0 > 0 {
            (b'0'..=b'9').for_each(|digit| mask.allow(digit.into()));
        }
    }

    fn after(&self, token: u32) -> Option<Arc<dyn Constraint>> {
        let is_digit = u8::try_from(token).is_ok_and(|byte| byte.is_ascii_digit());
        (is_digit && self.0 > 0).then(|| Arc::new(Self(self.0 - 1)) as _)
    }
}

/// Threads and sizes of chunks.
const ENGINES: [(usize, usize); 4] = [(1, 1), (1, 3), (2, 7), (2, 64)];

fn execute_with(
    engine: &Engine,
    model: &Arc<Model>,
    request: &Request,
    start: Arc<dyn Constraint>,
) -> Execution {
    engine.constrained(start).execute(model, request, &SEED, &mut ()).unwrap()
}

fn verify_with(
    engine: &Engine,
    (model, request): (&Arc<Model>, &Request),
    start: Arc<dyn Constraint>,
    claimed: (&[u32], Finish),
) -> Verified {
    let claimed = Claimed { tokens: claimed.0, finish: claimed.1 };
    engine.constrained(start).verify(model, request, &SEED, claimed, &mut ()).unwrap()
}

/// A model, and requests that are sampled in every way.
fn asked() -> (Arc<Model>, Vec<Request>) {
    let model = model(&Synthetic::default());
    let hot = Sampler { temperature: F32::new(3.0), ..Sampler::greedy() };
    let bias = vec![(u32::from(b'x'), F32::new(30.0))];
    let penalised = Sampler {
        repetition_penalty: F32::new(1.4),
        frequency_penalty: F32::new(0.5),
        top_p: F32::new(0.9),
        logit_bias: bias,
        ..sampled()
    };
    let samplers = [Sampler::greedy(), sampled(), hot, penalised];
    let requests = samplers.map(|sampler| Request { sampler, ..request(&model, LONG, 40) });
    (model, requests.into())
}

/// The number in a sentence of the grammar.
fn number(text: &str) -> &str {
    text.strip_prefix("{\"a\": ").and_then(|rest| rest.strip_suffix('}')).unwrap_or_else(|| panic!("{text}"))
}

#[test]
fn an_answer_keeps_to_its_grammar_on_every_machine_and_is_accepted() {
    let (model, requests) = asked();
    for (index, request) in requests.iter().enumerate() {
        let execution = execute_with(&engine(1, 64), &model, request, Grammar::start(&model));
        let text = model.text().decode(&execution.tokens);
        let digits = number(&text);
        assert!(DIGITS.contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()), "{text}");
        assert_eq!(execution.finish, Finish::Eos, "{text}");
        assert_ne!(execution, execute(&engine(1, 64), &model, request));
        for (threads, chunk) in ENGINES {
            let engine = engine(threads, chunk);
            let again = execute_with(&engine, &model, request, Grammar::start(&model));
            assert_eq!(again, execution, "sampler {index}, {threads} threads, chunks of {chunk}");
            let claimed = (&execution.tokens[..], execution.finish);
            let verified = verify_with(&engine, (&model, request), Grammar::start(&model), claimed);
            assert_eq!(verified, Verified::Accepted(execution.clone()), "sampler {index}, chunks of {chunk}");
        }
    }
}

#[test]
fn without_its_constraint_an_answer_is_rejected_and_the_other_way_round() {
    let (model, requests) = asked();
    for request in &requests {
        let free = execute(&engine(1, 64), &model, request);
        let bound = execute_with(&engine(1, 64), &model, request, Grammar::start(&model));
        let differ = free.tokens.iter().zip(&bound.tokens).position(|(a, b)| a != b).unwrap();
        let verified = verify(&engine(2, 7), &model, request, &bound.tokens, bound.finish);
        assert!(
            matches!(verified, Verified::Rejected { position, right_token, .. }
                if position as usize == differ && right_token == free.tokens[differ]),
            "{verified:?}"
        );
        let claimed = (&free.tokens[..], free.finish);
        let verified = verify_with(&engine(2, 7), (&model, request), Grammar::start(&model), claimed);
        assert!(
            matches!(verified, Verified::Rejected { position, right_token, .. }
                if position as usize == differ && right_token == bound.tokens[differ]),
            "{verified:?}"
        );
    }
}

#[test]
fn a_claim_that_breaks_the_constraint_is_rejected_where_it_does() {
    let (model, requests) = asked();
    let request = &requests[1];
    let execution = execute_with(&engine(1, 64), &model, request, Grammar::start(&model));
    let end = *execution.tokens.last().unwrap();
    for broken in 0..execution.tokens.len() {
        let right_token = execution.tokens[broken];
        let mut roots = Vec::new();
        // Not allowed anywhere; allowed elsewhere; the end too early; a token that the model does not have.
        for wrong in
            [b'x'.into(), b'7'.into(), end, 100_000].into_iter().filter(|wrong| *wrong != right_token)
        {
            let mut tokens = execution.tokens.clone();
            tokens[broken] = wrong;
            for (threads, chunk) in ENGINES {
                let claimed = (&tokens[..], execution.finish);
                let engine = engine(threads, chunk);
                let verified = verify_with(&engine, (&model, request), Grammar::start(&model), claimed);
                let Verified::Rejected { position, right_token: found, trace_root } = verified else {
                    panic!("token {broken} as {wrong}: {verified:?}");
                };
                assert_eq!((position as usize, found), (broken, right_token), "{wrong}");
                roots.push(trace_root);
            }
        }
        assert!(roots.iter().all(|root| *root == roots[0]), "token {broken}");
    }
}

#[test]
fn an_end_that_is_not_allowed_does_not_come() {
    let free = model(&Synthetic::default());
    let first = execute(&engine(1, 64), &free, &request(&free, "the hand", 1)).tokens[0];
    let model = model(&Synthetic { eos: Some(first), ..Synthetic::default() });
    let request = request(&model, "the hand", 9);
    assert_eq!(execute(&engine(1, 64), &model, &request).finish, Finish::Eos);
    let execution = execute_with(&engine(1, 64), &model, &request, Arc::new(Digits::ENDLESS));
    assert_eq!((execution.finish, execution.usage.n_out), (Finish::Length, 9));
    let ends = model.text().eos_tokens();
    assert!(ends.contains(&first) && !execution.tokens.iter().any(|token| ends.contains(token)));
}

#[test]
fn where_no_token_is_allowed_everybody_fails() {
    let (model, requests) = asked();
    for request in &requests {
        let endless = execute_with(&engine(1, 64), &model, request, Arc::new(Digits::ENDLESS));
        for few in [0, 1, 5] {
            let start = || Arc::new(Digits(few));
            let execution = execute_with(&engine(1, 64), &model, request, start());
            let position = u32::try_from(few).unwrap();
            assert_eq!(execution.failure, Some(Failure { code: FailCode::Unsupported, position }));
            assert_eq!(execution.usage, Usage { n_in: request.n_in, n_out: position });
            assert_eq!(execution.tokens, endless.tokens[..few]);
            // The root over the same positions, as a rejection after them has it.
            let cut = (&endless.tokens[..few], Finish::Length);
            let rejected = verify_with(&engine(1, 64), (&model, request), Arc::new(Digits::ENDLESS), cut);
            let (right_token, trace_root) = (endless.tokens[few], execution.trace_root);
            assert_eq!(rejected, Verified::Rejected { position, right_token, trace_root });
            for (threads, chunk) in ENGINES {
                let (engine, what) = (engine(threads, chunk), (&model, request));
                assert_eq!(execute_with(&engine, &model, request, start()), execution);
                let failed = verify_with(&engine, what, start(), (&execution.tokens, Finish::Failed));
                assert_eq!(failed, Verified::Failed(execution.clone()));
                let beyond = verify_with(&engine, what, start(), (&endless.tokens, endless.finish));
                assert_eq!(beyond, Verified::Rejected { position, right_token: NO_TOKEN, trace_root });
            }
        }
    }
}

#[test]
fn one_among_seven_that_are_free_is_answered_as_alone_and_so_are_they() {
    let (model, requests) = asked();
    let texts = ["the", "and", "in", LONG, "the inn", &LONG[..100], "hand"];
    let free: Vec<Request> = texts.iter().map(|text| request(&model, text, 20)).collect();
    let expected: Vec<Execution> =
        free.iter().map(|request| execute(&engine(1, 64), &model, request)).collect();
    for bound in &requests {
        let alone = execute_with(&engine(1, 64), &model, bound, Grammar::start(&model));
        let claimed = (&alone.tokens[..], alone.finish);
        let (together, barrier) = (engine(2, 16), Barrier::new(free.len() + 2));
        std::thread::scope(|scope| {
            let (model, together, barrier) = (&model, &together, &barrier);
            let others: Vec<_> = free
                .iter()
                .map(|request| {
                    scope.spawn(move || {
                        barrier.wait();
                        execute(together, model, request)
                    })
                })
                .collect();
            let executed = scope.spawn(move || {
                barrier.wait();
                execute_with(together, model, bound, Grammar::start(model))
            });
            barrier.wait();
            let verified = verify_with(together, (model, bound), Grammar::start(model), claimed);
            assert_eq!(verified, Verified::Accepted(alone.clone()));
            assert_eq!(executed.join().unwrap(), alone);
            let others: Vec<Execution> = others.into_iter().map(|other| other.join().unwrap()).collect();
            assert_eq!(others, expected);
        });
    }
}

/// Keeps what it hears.
#[derive(Default)]
struct Likelihoods(Vec<Logprobs>);

impl Observer for Likelihoods {
    fn wants_logprobs(&self) -> Option<usize> {
        Some(20)
    }

    fn logprobs(&mut self, logprobs: &Logprobs) {
        self.0.push(logprobs.clone());
    }

    fn token(&mut self, _: u32) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

#[test]
fn likelihoods_are_those_among_the_tokens_that_were_allowed() {
    let (model, requests) = asked();
    for request in &requests {
        let mut heard = Likelihoods::default();
        let engine = engine(2, 7);
        let constrained = engine.constrained(Arc::new(Digits::ENDLESS));
        let execution = constrained.execute(&model, request, &SEED, &mut heard).unwrap();
        assert_eq!(heard.0.len(), execution.tokens.len());
        for (Logprobs { chosen, top }, token) in heard.0.iter().zip(&execution.tokens) {
            let digits: Vec<u32> = (b'0'..=b'9').map(u32::from).collect();
            let mut found: Vec<u32> = top.iter().map(|(token, _)| *token).collect();
            found.sort_unstable();
            assert_eq!(found, digits);
            assert!(top.contains(&(*token, *chosen)));
            let sum: f64 = top.iter().map(|(_, log)| libm::exp(f64::from(*log))).sum();
            assert!((sum - 1.0).abs() < 1e-5, "{sum}");
        }
    }
}

#[test]
fn another_seed_gives_another_answer_of_the_same_grammar() {
    let (model, requests) = asked();
    let engine = engine(1, 64);
    let texts: std::collections::BTreeSet<String> = (0..8)
        .map(|seed| {
            let seed = Digest32::from_bytes([seed; 32]);
            let constrained = engine.constrained(Grammar::start(&model));
            let execution = constrained.execute(&model, &requests[2], &seed, &mut ()).unwrap();
            model.text().decode(&execution.tokens)
        })
        .collect();
    texts.iter().for_each(|text| assert!(!number(text).is_empty()));
    assert!(texts.len() > 1, "{texts:?}");
}
