//! The corpus: everything the demo model is trained on, written by a generator from one seed.

mod words;
mod questions;
mod stories;
mod files;

#[cfg(test)]
mod tests;

pub use files::{read, write};
pub use questions::Split;

use crate::random::Random;
use questions::Problem;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Seed of the committed dataset.
pub const SEED: u64 = 20_261_124;
/// Questions of each kind that the evaluation asks.
pub const HELD_OUT_QUESTIONS: usize = 200;

/// Kinds of questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QuestionKind {
    /// Adding two numbers of two digits.
    Sums,
    /// Counting a list, or from a number to another.
    Counting,
    /// Finding a fact in a short text.
    Reading,
}

impl QuestionKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Sums, Self::Counting, Self::Reading];
}

/// Kinds of documents, one file of the corpus each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DocumentKind {
    /// Chats about [`QuestionKind::Sums`].
    Sums,
    /// Chats about [`QuestionKind::Counting`].
    Counting,
    /// Chats about [`QuestionKind::Reading`].
    Reading,
    /// Lists to repeat from a word on: what teaches a model to look words up.
    Repeating,
    /// Short stories.
    Stories,
}

impl DocumentKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Sums, Self::Counting, Self::Reading, Self::Repeating, Self::Stories];

    /// Lower-case name, in file names and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sums => "sums",
            Self::Counting => "counting",
            Self::Reading => "reading",
            Self::Repeating => "repeating",
            Self::Stories => "stories",
        }
    }

    /// Documents of this kind in the corpus.
    const fn documents(self) -> usize {
        match self {
            Self::Sums => 16_000,
            Self::Counting => 20_000,
            Self::Reading => 32_000,
            Self::Repeating => 16_000,
            Self::Stories => 4_000,
        }
    }
}

/// A question and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// What the user says.
    pub question: String,
    /// What the assistant says.
    pub answer: String,
}

impl Turn {
    fn new(question: String, answer: String) -> Self {
        Self { question, answer }
    }
}

/// A document of the corpus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Document {
    /// A conversation.
    Chat(Vec<Turn>),
    /// Plain text.
    Text(String),
}

/// A question of the evaluation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldOut {
    /// Its kind.
    pub kind: QuestionKind,
    /// Question and right answer.
    #[serde(flatten)]
    pub turn: Turn,
}

/// Generates the documents of one kind.
pub fn documents(seed: u64, kind: DocumentKind) -> Vec<Document> {
    let mut random = Random::new(seed, kind as u64);
    (0..kind.documents()).map(|_| document(&mut random, kind)).collect()
}

fn document(random: &mut Random, kind: DocumentKind) -> Document {
    match kind {
        DocumentKind::Sums => questions(random, QuestionKind::Sums),
        DocumentKind::Counting => questions(random, QuestionKind::Counting),
        DocumentKind::Reading => questions(random, QuestionKind::Reading),
        DocumentKind::Repeating => Document::Chat(vec![repeating(random)]),
        DocumentKind::Stories => Document::Text(stories::tell(random)),
    }
}

fn questions(random: &mut Random, kind: QuestionKind) -> Document {
    Document::Chat(Problem::draw(random, kind, Split::Train).ask_all(random))
}

/// A list to repeat from one of its words on. What follows a word is found by looking the word up, which
/// reading a fact takes too.
fn repeating(random: &mut Random) -> Turn {
    let count = random.between(3, 10);
    let words = random.sample(&[words::THINGS, words::COLOURS, words::PLACES].concat(), count);
    let first = random.below(count);
    let question = format!("Repeat from {} on: {}.", words[first], words.join(" "));
    Turn::new(question, format!("{}.", words[first..].join(" ")))
}

/// Generates the evaluation: for each kind as many different combinations, none of which is trained on.
pub fn held_out(seed: u64) -> Vec<HeldOut> {
    QuestionKind::ALL.into_iter().flat_map(|kind| held_out_of(seed, kind)).collect()
}

fn held_out_of(seed: u64, kind: QuestionKind) -> Vec<HeldOut> {
    // Streams below this number belong to the training files.
    const FIRST_STREAM: u64 = 1000;
    let mut random = Random::new(seed, FIRST_STREAM + kind as u64);
    let mut asked = BTreeSet::new();
    let mut questions = Vec::new();
    while questions.len() < HELD_OUT_QUESTIONS {
        let problem = Problem::draw(&mut random, kind, Split::HeldOut);
        if asked.insert(problem.combination()) {
            questions.push(HeldOut { kind, turn: problem.ask(&mut random) });
        }
    }
    questions
}
