//! Greedy answers of a model in training, for its trials; what counts is the engine's evaluation.

use crate::error::TrainerError;
use crate::model::Model;
use crate::tokenizer::{self, SPECIAL};
use tokenizers::Tokenizer;

/// Longest answer, in tokens.
const ANSWER_TOKENS_MAX: usize = 32;

/// Answers all questions side by side. Every token is computed from the whole text so far.
///
/// # Errors
/// When the tokenizer or a tensor operation fails.
pub fn answer_all(
    model: &Model,
    tokenizer: &Tokenizer,
    questions: &[&str],
) -> Result<Vec<String>, TrainerError> {
    let prompts = questions.iter().map(|question| {
        tokenizer::encode(tokenizer, &tokenizer::render_question(question)).map(Dialogue::new)
    });
    let mut dialogues = prompts.collect::<Result<Vec<Dialogue>, TrainerError>>()?;
    for _ in 0..ANSWER_TOKENS_MAX {
        extend(model, &mut dialogues)?;
    }
    dialogues.iter().map(|dialogue| dialogue.answer(tokenizer)).collect()
}

struct Dialogue {
    ids: Vec<u32>,
    prompt_len: usize,
    ended: bool,
}

impl Dialogue {
    fn new(ids: Vec<u32>) -> Self {
        Self { prompt_len: ids.len(), ids, ended: false }
    }

    fn push(&mut self, id: u32, context: usize) {
        self.ended = (id as usize) < SPECIAL.len() || self.ids.len() + 1 >= context;
        if !self.ended {
            self.ids.push(id);
        }
    }

    fn answer(&self, tokenizer: &Tokenizer) -> Result<String, TrainerError> {
        tokenizer.decode(&self.ids[self.prompt_len..], false).map_err(TrainerError::Tokenizer)
    }
}

/// Adds the likeliest token to each dialogue that has not ended.
fn extend(model: &Model, dialogues: &mut [Dialogue]) -> Result<(), TrainerError> {
    let mut open: Vec<&mut Dialogue> = dialogues.iter_mut().filter(|dialogue| !dialogue.ended).collect();
    if open.is_empty() {
        return Ok(());
    }
    let (mut ids, mut documents, mut last_rows) = (Vec::new(), Vec::new(), Vec::new());
    for dialogue in &open {
        let start = ids.len();
        ids.extend(&dialogue.ids);
        documents.push(start..ids.len());
        last_rows.push(ids.len() as u32 - 1);
    }
    let next = model.logits(&ids, &documents, &last_rows)?.argmax(1)?.to_vec1::<u32>()?;
    for (dialogue, id) in open.iter_mut().zip(next) {
        dialogue.push(id, model.shape().context);
    }
    Ok(())
}
