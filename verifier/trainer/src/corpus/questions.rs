//! Questions with one right answer each, and the rule that keeps some of them out of training.

use super::words::{COLOURS, FAMILY_NAMES, NAMES, THINGS};
use super::{QuestionKind, Turn};
use crate::random::Random;

/// One question in this many is kept for the evaluation.
const HELD_OUT_ONE_IN: u8 = 10;
/// Longest list that is counted.
const COUNTED_MAX: usize = 9;
/// Longest stretch from the first to the last number of a count.
const COUNT_SPAN_MAX: usize = 6;

/// Whether a question may be trained on or is kept for the evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// In the training files.
    Train,
    /// Only in the evaluation.
    HeldOut,
}

/// What is asked about; decides the split, whatever the wording of the question.
pub(super) enum Problem {
    /// Two numbers to add.
    Sum(usize, usize),
    /// Things to count.
    Things(Vec<&'static str>),
    /// First and last number of a count.
    Span(usize, usize),
    /// Facts to read.
    Facts(Topic, Vec<Fact>),
}

/// What a short text is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic {
    /// First names and family names.
    People,
    /// Colours and things.
    Things,
}

/// A subject, and what the text says about it.
type Fact = (&'static str, &'static str);

impl Problem {
    /// Draws a problem of this kind that belongs to the split.
    pub(super) fn draw(random: &mut Random, kind: QuestionKind, split: Split) -> Self {
        loop {
            let problem = Self::draw_any(random, kind);
            if problem.split() == split {
                return problem;
            }
        }
    }

    fn draw_any(random: &mut Random, kind: QuestionKind) -> Self {
        match kind {
            QuestionKind::Sums => Self::Sum(random.between(10, 99), random.between(10, 99)),
            QuestionKind::Counting if random.below(3) == 0 => {
                let first = random.between(1, 90);
                Self::Span(first, first + random.between(2, COUNT_SPAN_MAX))
            }
            QuestionKind::Counting => {
                let count = random.between(2, COUNTED_MAX);
                Self::Things(random.sample(THINGS, count))
            }
            QuestionKind::Reading => {
                let topic = Topic::ALL[random.below(Topic::ALL.len())];
                Self::Facts(topic, topic.facts(random))
            }
        }
    }

    /// The split of the combination: its order makes no difference, nor does the wording.
    pub(super) fn split(&self) -> Split {
        let digest = blake3::hash(self.combination().as_bytes());
        if digest.as_bytes()[0].is_multiple_of(HELD_OUT_ONE_IN) { Split::HeldOut } else { Split::Train }
    }

    /// A text that two problems share exactly when they are the same but for order.
    pub(super) fn combination(&self) -> String {
        match self {
            Self::Sum(a, b) => format!("sum {} {}", a.min(b), a.max(b)),
            Self::Things(things) => format!("things {}", sorted(things.iter().map(ToString::to_string))),
            Self::Span(first, last) => format!("span {first} {last}"),
            Self::Facts(_, facts) => {
                format!("facts {}", sorted(facts.iter().map(|(subject, value)| format!("{subject}={value}"))))
            }
        }
    }

    /// Words the problem as one question with its answer.
    pub(super) fn ask(&self, random: &mut Random) -> Turn {
        match self {
            Self::Sum(a, b) => ask_sum(random, *a, *b),
            Self::Things(things) => ask_count(random, things),
            Self::Span(first, last) => {
                let numbers: Vec<String> = (*first..=*last).map(|number| number.to_string()).collect();
                Turn::new(format!("Count from {first} to {last}."), format!("{}.", numbers.join(", ")))
            }
            Self::Facts(topic, facts) => {
                let asked = topic.ask(&facts[random.below(facts.len())]);
                topic.after_text(facts, asked)
            }
        }
    }

    /// Asks about all facts, one after the other in any order; other problems have one question only.
    pub(super) fn ask_all(&self, random: &mut Random) -> Vec<Turn> {
        let Self::Facts(topic, facts) = self else { return vec![self.ask(random)] };
        let order = random.sample(&facts.iter().collect::<Vec<_>>(), facts.len());
        let ask = |(i, fact)| {
            let turn = topic.ask(fact);
            if i == 0 { topic.after_text(facts, turn) } else { turn }
        };
        order.into_iter().enumerate().map(ask).collect()
    }
}

impl Topic {
    const ALL: [Self; 2] = [Self::People, Self::Things];

    /// Two to four subjects, each with a value of its own.
    fn facts(self, random: &mut Random) -> Vec<Fact> {
        let (subjects, values) = match self {
            Self::People => (NAMES, FAMILY_NAMES),
            Self::Things => (COLOURS, THINGS),
        };
        let count = random.between(2, 4);
        random.sample(subjects, count).into_iter().zip(random.sample(values, count)).collect()
    }

    /// The sentence that states a fact.
    fn sentence(self, (subject, value): &Fact) -> String {
        match self {
            Self::People => format!("This is {subject} {value}."),
            Self::Things => format!("There is one {subject} {value}."),
        }
    }

    fn ask(self, (subject, value): &Fact) -> Turn {
        match self {
            Self::People => {
                Turn::new(format!("What is the full name of {subject}?"), format!("{subject} {value}."))
            }
            Self::Things => {
                Turn::new(format!("Which thing is {subject}?"), format!("The {subject} {value}."))
            }
        }
    }

    /// Puts the text that states the facts before the question.
    fn after_text(self, facts: &[Fact], turn: Turn) -> Turn {
        let text: Vec<String> = facts.iter().map(|fact| self.sentence(fact)).collect();
        Turn::new(format!("{} {}", text.join(" "), turn.question), turn.answer)
    }
}

fn sorted(items: impl Iterator<Item = String>) -> String {
    let mut items: Vec<String> = items.collect();
    items.sort_unstable();
    items.join(" ")
}

fn ask_sum(random: &mut Random, a: usize, b: usize) -> Turn {
    let question = match random.below(3) {
        0 => format!("What is {a} + {b}?"),
        1 => format!("What is {a} plus {b}?"),
        _ => format!("Add {a} and {b}."),
    };
    Turn::new(question, format!("{}.", a + b))
}

fn ask_count(random: &mut Random, things: &[&str]) -> Turn {
    let list = things.join(", ");
    let question = match random.below(2) {
        0 => format!("How many things are in this list: {list}?"),
        _ => format!("Count the things: {list}."),
    };
    Turn::new(question, format!("{}.", things.len()))
}
