//! What is timed: one sequence several times, and several at once.

use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use assay_engine::{Claimed, Engine, Execution, Model, Verified};
use assay_manifest::Digest32;
use assay_protocol::request::{F32, Request};

use super::stopwatch::Stopwatch;
use super::text;
use crate::cli::failure::{Exit, Failure};

/// Greedy sampling draws nothing.
const SEED: Digest32 = Digest32::ZERO;

/// Takes a token out of every choice: logits are of a few tens.
const NEVER: f32 = -1e9;

/// The end of decoding that is held against what memory gives right after it.
const FINAL: Duration = Duration::from_secs(1);

/// Times that weights are only read. All count, as all of decoding does: the best of several is that of a moment at
/// which nobody else reads.
const READS: usize = 5;

/// How long prompt and answer are to be.
#[derive(Clone, Copy, Debug)]
pub struct Lengths {
    pub prompt: u32,
    pub generate: u32,
    /// Positions of prompts that are read at once.
    pub chunk: u32,
}

/// An engine with a model, and how it is asked.
pub struct Workload {
    engine: Engine,
    model: Arc<Model>,
    lengths: Lengths,
    ends: Ends,
}

/// What one sequence is asked and answered, in every round.
pub struct Sequence {
    request: Request,
    execution: Execution,
}

/// Whether the model may end its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    /// It may, and has not before as many tokens as are asked for.
    Allowed,
    /// It did, so that its end tokens are taken out of the choice.
    Banned,
}

/// What rounds of one sequence found.
#[derive(Clone, Copy, Debug)]
pub struct Rounds {
    pub count: u32,
    pub prompt_tokens: u32,
    pub answer_tokens: u32,
    /// Medians.
    pub first_token: Duration,
    pub decode_tps: f64,
    pub compared: Option<Compared>,
}

/// How decoding compares; medians of rounds.
#[derive(Clone, Copy, Debug)]
pub struct Compared {
    /// What memory gave just after decoding.
    pub stream_gbps: f64,
    /// The share of it that decoding read at its end.
    pub stream_share: f64,
    /// Time to verify by the time to generate.
    pub verify_ratio: f64,
}

struct Round {
    first_token: Duration,
    decode_tps: f64,
    compared: Option<Compared>,
}

impl Workload {
    /// Makes sure that prompt and answer fit.
    ///
    /// # Errors
    /// [`Failure`] when they do not.
    pub fn new(engine: Engine, model: Arc<Model>, lengths: Lengths) -> Result<Self, Failure> {
        let context = model.config().context_length;
        let Lengths { prompt, generate, .. } = lengths;
        // The last token of a full context has no place.
        if prompt.saturating_add(generate) >= context {
            let cause = format!(
                "measuring {prompt} and {generate} tokens: the model attends to fewer than {} together",
                u64::from(context) + 1
            );
            return Err(Failure::usage(cause).hint("ask for fewer with --prompt and --generate"));
        }
        Ok(Self { engine, model, lengths, ends: Ends::Allowed })
    }

    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Answers once; if the answer ends early, the model's ends are banned from then on.
    ///
    /// # Errors
    /// [`Failure`] when the model cannot answer.
    pub fn warm_up(&mut self) -> Result<Sequence, Failure> {
        let Lengths { prompt, generate, .. } = self.lengths;
        let request = self.request(prompt, generate, 0)?;
        let execution = self.answer(&request, &mut Stopwatch::start())?;
        if execution.usage.n_out < generate && self.ends == Ends::Allowed {
            self.ends = Ends::Banned;
            return self.warm_up();
        }
        Ok(Sequence { request, execution })
    }

    /// Measures a sequence `count` times, and where it is wanted compares each answer with reading weights and verifying.
    ///
    /// # Errors
    /// [`Failure`] when the model cannot answer.
    pub fn rounds(&self, sequence: &Sequence, count: u32, compared: bool) -> Result<Rounds, Failure> {
        let rounds = (0..count).map(|_| self.round(sequence, compared)).collect::<Result<Vec<_>, _>>()?;
        let compared: Option<Vec<_>> = rounds.iter().map(|round| round.compared).collect();
        let seconds = median(rounds.iter().map(|round| round.first_token.as_secs_f64()));
        Ok(Rounds {
            count,
            prompt_tokens: sequence.execution.usage.n_in,
            answer_tokens: sequence.execution.usage.n_out,
            first_token: Duration::from_secs_f64(seconds),
            decode_tps: median(rounds.iter().map(|round| round.decode_tps)),
            compared: compared.map(|rounds| Compared {
                stream_gbps: median(rounds.iter().map(|round| round.stream_gbps)),
                stream_share: median(rounds.iter().map(|round| round.stream_share)),
                verify_ratio: median(rounds.iter().map(|round| round.verify_ratio)),
            }),
        })
    }

    fn round(&self, sequence: &Sequence, compared: bool) -> Result<Round, Failure> {
        let mut stopwatch = Stopwatch::start();
        let began = Instant::now();
        self.answer(&sequence.request, &mut stopwatch)?;
        let generated = began.elapsed();
        let (first_token, decode_tps) =
            stopwatch.first_token().zip(stopwatch.tokens_per_second()).ok_or_else(too_short)?;
        if !compared {
            return Ok(Round { first_token, decode_tps, compared: None });
        }
        // At once, and against the end of decoding alone: where others share the memory, what it gives changes while
        // an answer is generated, to a half and back.
        let stream_gbps = self.stream_gbps();
        let final_tps = stopwatch.final_tokens_per_second(FINAL).ok_or_else(too_short)?;
        let final_gbps = final_tps * self.model.position_bytes() as f64 / 1e9;
        let verified = self.verify(sequence)?;
        let compared = Some(Compared {
            stream_gbps,
            stream_share: final_gbps / stream_gbps,
            verify_ratio: verified.as_secs_f64() / generated.as_secs_f64(),
        });
        Ok(Round { first_token, decode_tps, compared })
    }

    /// What memory gives of the model's weights when nothing is done but reading them, in bytes a nanosecond.
    fn stream_gbps(&self) -> f64 {
        let reads: Vec<_> = (0..READS).map(|_| self.engine.read_weights(&self.model)).collect();
        let bytes: usize = reads.iter().map(|(bytes, _)| bytes).sum();
        let time: Duration = reads.iter().map(|(_, time)| time).sum();
        bytes as f64 / time.as_secs_f64() / 1e9
    }

    /// How long it takes to verify the answer.
    ///
    /// # Errors
    /// [`Failure`] when it does not verify.
    pub fn verify(&self, Sequence { request, execution }: &Sequence) -> Result<Duration, Failure> {
        let claimed = Claimed { tokens: &execution.tokens, finish: execution.finish };
        let began = Instant::now();
        match self.engine.verify(&self.model, request, &SEED, claimed, &mut ()) {
            Ok(Verified::Accepted(again)) if again == *execution => Ok(began.elapsed()),
            found => Err(Failure::new(Exit::Internal, format!("verifying the answer: {found:?}"))
                .hint("an answer must verify: this is a bug of assay")),
        }
    }

    /// Tokens a second of all sequences while all are answered. Prompts are as long as for one, where the context
    /// has room for what is generated while the others' prompts are read.
    ///
    /// # Errors
    /// [`Failure`] when the model cannot answer.
    pub fn batch(&mut self, sequences: usize) -> Result<f64, Failure> {
        let Lengths { prompt, generate, chunk } = self.lengths;
        let count = u32::try_from(sequences).unwrap_or(u32::MAX);
        // Tokens of the first sequence while the prompts of the others are read.
        let early = |prompt: u32| count.saturating_mul(prompt.div_ceil(chunk));
        let room = self.model.config().context_length - 1 - generate;
        let fits = |prompt: &u32| prompt.saturating_add(early(*prompt)) <= room;
        let prompt = (1..=prompt).rev().find(fits).unwrap_or(1);
        let longest = generate + early(prompt).min(room - prompt);
        let requests = (0..sequences).map(|variant| self.request(prompt, longest, variant));
        let requests = requests.collect::<Result<Vec<_>, _>>()?;
        let (stopwatches, ended) = self.answer_all(&requests)?;
        if ended && self.ends == Ends::Allowed {
            self.ends = Ends::Banned;
            return self.batch(sequences);
        }
        Stopwatch::joint_tokens_per_second(&stopwatches).ok_or_else(too_short)
    }

    /// Answers all at once; when their tokens came, and whether an answer ended early.
    fn answer_all(&self, requests: &[Request]) -> Result<(Vec<Stopwatch>, bool), Failure> {
        let ready = Barrier::new(requests.len());
        let answer = |request: &Request| {
            ready.wait();
            let mut stopwatch = Stopwatch::start();
            let execution = self.answer(request, &mut stopwatch)?;
            Ok((stopwatch, execution.usage.n_out < request.max_tokens))
        };
        let died =
            |_| Failure::new(Exit::Internal, "measuring: a thread died").hint("this is a bug of assay");
        let found = std::thread::scope(|scope| {
            let threads: Vec<_> = requests.iter().map(|request| scope.spawn(|| answer(request))).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().map_err(died)?)
                .collect::<Result<Vec<_>, Failure>>()
        })?;
        let ended = found.iter().any(|(_, ended)| *ended);
        Ok((found.into_iter().map(|(stopwatch, _)| stopwatch).collect(), ended))
    }

    fn answer(&self, request: &Request, stopwatch: &mut Stopwatch) -> Result<Execution, Failure> {
        let execution = self.engine.execute(&self.model, request, &SEED, stopwatch).map_err(|error| {
            Failure::new(Exit::Internal, error).hint("ask for fewer with --prompt, --generate and --batch")
        })?;
        match execution.failure {
            None => Ok(execution),
            Some(failure) => Err(Failure::usage(format!("running the model: it fails with {failure:?}"))
                .hint("the file runs on no machine; get it again from where it was published")),
        }
    }

    fn request(&self, prompt: u32, max_tokens: u32, variant: usize) -> Result<Request, Failure> {
        let mut request = text::request(&self.model, prompt, max_tokens, variant).map_err(|error| {
            Failure::usage(format!("making a prompt: {error}")).hint("ask for a shorter one with --prompt")
        })?;
        if self.ends == Ends::Banned {
            let ends = self.model.text().eos_tokens();
            request.sampler.logit_bias = ends.iter().map(|token| (*token, F32::new(NEVER))).collect();
        }
        Ok(request)
    }
}

fn too_short() -> Failure {
    Failure::usage("measuring: the answer is too short to be timed")
        .hint("ask for more tokens with --generate")
}

/// The middle one; of an even number, the mean of both.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n.is_multiple_of(2) => values[middle - 1].midpoint(values[middle]),
        _ => values[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_does_not_depend_on_the_order() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
    }
}
