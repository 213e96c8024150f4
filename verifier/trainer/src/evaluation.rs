//! The evaluation: held-out questions, answered greedily by the engine that serves jobs.

use crate::corpus::{HeldOut, QuestionKind};
use crate::error::TrainerError;
use assay_engine::request::{Message, Prompt, REQUEST_VERSION, Request, Sampler, prompt_hash};
use assay_engine::{Engine, Model, Settings};
use assay_manifest::Digest32;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Longest answer, in tokens; the longest right one has under 30.
const ANSWER_TOKENS_MAX: u32 = 64;

/// How many questions of a kind were answered right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Score {
    /// Questions asked.
    pub asked: usize,
    /// Answers equal to the right one, letter by letter.
    pub right: usize,
}

/// One answer.
#[derive(Clone, Debug)]
pub struct Answered<'a> {
    /// What was asked.
    pub question: &'a HeldOut,
    /// What the model said.
    pub answer: String,
}

impl Answered<'_> {
    /// Whether it is the right answer, letter by letter.
    pub fn is_right(&self) -> bool {
        self.answer == self.question.turn.answer
    }
}

/// Asks every question and counts the right answers by kind; `progress` hears of each answer.
///
/// # Errors
/// When the file holds no model for the engine, or the engine cannot run it.
pub fn evaluate(
    gguf: Vec<u8>,
    questions: &[HeldOut],
    progress: &mut dyn FnMut(&Answered<'_>),
) -> Result<BTreeMap<QuestionKind, Score>, TrainerError> {
    let model = Model::load(&gguf, &Default::default(), &mut |_, _| {})?;
    let engine = Engine::new(Settings::for_this_machine())?;
    let mut scores = BTreeMap::new();
    for question in questions {
        let answered = Answered { question, answer: answer(&engine, &model, &question.turn.question)? };
        progress(&answered);
        let score: &mut Score = scores.entry(question.kind).or_default();
        score.asked += 1;
        score.right += usize::from(answered.is_right());
    }
    Ok(scores)
}

fn answer(engine: &Engine, model: &Arc<Model>, question: &str) -> Result<String, TrainerError> {
    let message = Message { role: "user".to_owned(), content: question.to_owned() };
    let mut request = Request {
        version: REQUEST_VERSION,
        prompt: Prompt::Chat(vec![message]),
        now_s: 0,
        n_in: 0,
        prompt_hash: Digest32::ZERO,
        max_tokens: ANSWER_TOKENS_MAX,
        stop: Vec::new(),
        sampler: Sampler::greedy(),
        seed: None,
        salt_hash: Digest32::ZERO,
    };
    let prompt = model.prompt(&request)?;
    request.n_in = prompt.len() as u32;
    request.prompt_hash = prompt_hash(&prompt);
    let execution = engine.execute(model, &request, &Digest32::ZERO, &mut ())?;
    Ok(model.text().decode(&execution.tokens))
}
