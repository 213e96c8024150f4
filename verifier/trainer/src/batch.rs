//! Batches: documents laid end to end, without padding.

use crate::corpus::{Document, DocumentKind};
use crate::error::TrainerError;
use crate::random::Random;
use crate::recipe::{Recipe, Stage};
use crate::tokenizer::{self, END_OF_TEXT, MESSAGE_END};
use std::collections::BTreeMap;
use std::ops::Range;
use tokenizers::Tokenizer;

/// A document's tokens, and the weight of the loss on predicting each.
struct Tokens {
    ids: Vec<u32>,
    weights: Vec<f32>,
}

/// The corpus in tokens.
pub struct Library {
    shelves: BTreeMap<DocumentKind, Vec<Tokens>>,
}

/// A shard's share of a step.
#[derive(Debug, Default)]
pub struct Batch {
    /// Tokens of all documents, `[tokens]`.
    pub ids: Vec<u32>,
    /// Where each document stands in `ids`; attention stays inside.
    pub documents: Vec<Range<usize>>,
    /// What is predicted, in order of rows.
    pub targets: Vec<Target>,
}

/// One prediction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// The place in `ids` from which it is predicted.
    pub row: u32,
    /// The token that comes next.
    pub id: u32,
    /// Share of the batch's loss; they sum to 1.
    pub weight: f32,
    /// The document's kind.
    pub kind: DocumentKind,
}

impl Library {
    /// Turns documents into tokens.
    ///
    /// # Errors
    /// When the tokenizer fails, or a document is longer than the recipe's context.
    pub fn new(
        corpus: &BTreeMap<DocumentKind, Vec<Document>>,
        tokenizer: &Tokenizer,
        recipe: &Recipe,
    ) -> Result<Self, TrainerError> {
        let mut shelves = BTreeMap::new();
        for (kind, documents) in corpus {
            let shelf: Result<Vec<Tokens>, TrainerError> =
                documents.iter().map(|document| Tokens::new(document, tokenizer, recipe)).collect();
            shelves.insert(*kind, shelf?);
        }
        Ok(Self { shelves })
    }

    /// The batch of a shard at a step: a function of seed, step and shard alone.
    pub fn batch(&self, recipe: &Recipe, step: usize, shard: usize) -> Batch {
        let stream = step * recipe.step.shards + shard;
        let mut random = Random::new(recipe.seed, stream as u64);
        let mut batch = Batch::default();
        loop {
            let kind = draw_kind(&mut random, recipe.stage(step));
            let shelf = &self.shelves[&kind];
            let tokens = &shelf[random.below(shelf.len())];
            if batch.ids.len() + tokens.ids.len() > recipe.step.tokens_per_shard {
                break;
            }
            batch.push(tokens, kind);
        }
        batch.normalise();
        batch
    }
}

fn draw_kind(random: &mut Random, stage: &Stage) -> DocumentKind {
    let mut left = random.below(stage.mix.values().sum());
    for (kind, share) in &stage.mix {
        if left < *share {
            return *kind;
        }
        left -= share;
    }
    unreachable!("the number drawn is below the sum of the shares")
}

impl Batch {
    fn push(&mut self, tokens: &Tokens, kind: DocumentKind) {
        let start = self.ids.len();
        self.ids.extend(&tokens.ids);
        self.documents.push(start..self.ids.len());
        for (i, (id, weight)) in tokens.ids.iter().zip(&tokens.weights).enumerate().skip(1) {
            if *weight > 0.0 {
                let row = (start + i - 1) as u32;
                self.targets.push(Target { row, id: *id, weight: *weight, kind });
            }
        }
    }

    fn normalise(&mut self) {
        let sum: f32 = self.targets.iter().map(|target| target.weight).sum();
        self.targets.iter_mut().for_each(|target| target.weight /= sum);
    }
}

impl Tokens {
    fn new(document: &Document, tokenizer: &Tokenizer, recipe: &Recipe) -> Result<Self, TrainerError> {
        let mut tokens = Self { ids: Vec::new(), weights: Vec::new() };
        match document {
            Document::Text(text) => {
                tokens.append(tokenizer, &format!("{text}{END_OF_TEXT}"), recipe.step.story_weight)?;
            }
            Document::Chat(turns) => {
                for turn in turns {
                    let question = tokenizer::render_question(&turn.question);
                    tokens.append(tokenizer, &question, 0.0)?;
                    tokens.append(tokenizer, &format!("{}{MESSAGE_END}", turn.answer), 1.0)?;
                    tokens.append(tokenizer, "\n", 0.0)?;
                }
            }
        }
        if tokens.ids.len() > recipe.model.context {
            return Err(TrainerError::Recipe("a document is longer than the context"));
        }
        Ok(tokens)
    }

    fn append(&mut self, tokenizer: &Tokenizer, text: &str, weight: f32) -> Result<(), TrainerError> {
        self.ids.extend(tokenizer::encode(tokenizer, text)?);
        self.weights.resize(self.ids.len(), weight);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::{SEED, documents};

    #[test]
    fn a_batch_holds_whole_documents_and_learns_answers_only() {
        let recipe: Recipe = serde_json::from_str(include_str!("../model/recipe.json")).unwrap();
        let few = |kind| (kind, documents(SEED, kind).into_iter().take(50).collect::<Vec<_>>());
        let corpus: BTreeMap<_, _> = [DocumentKind::Sums, DocumentKind::Reading].map(few).into();
        let tokenizer = tokenizer::learn(corpus.values().flatten(), 500).unwrap();
        let mut recipe = recipe;
        recipe.stages.truncate(1);
        recipe.stages[0].mix = corpus.keys().map(|kind| (*kind, 1)).collect();
        let library = Library::new(&corpus, &tokenizer, &recipe).unwrap();

        let batch = library.batch(&recipe, 3, 0);
        assert!(batch.ids.len() <= recipe.step.tokens_per_shard);
        assert!((batch.targets.iter().map(|target| target.weight).sum::<f32>() - 1.0).abs() < 1e-4);
        let mut expected = Vec::new();
        for document in &batch.documents {
            let text = tokenizer.decode(&batch.ids[document.clone()], false).unwrap();
            let answers = text.split("assistant\n").skip(1).filter_map(|part| part.split_once(MESSAGE_END));
            expected.extend(answers.map(|(answer, _)| format!("{answer}{MESSAGE_END}")));
        }
        let learned: Vec<u32> = batch.targets.iter().map(|target| target.id).collect();
        assert_eq!(tokenizer.decode(&learned, false).unwrap(), expected.concat());
        assert!(batch.targets.iter().all(|target| batch.ids[target.row as usize + 1] == target.id));
    }
}
