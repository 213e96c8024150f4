//! What the corpus promises: the same from the same seed, right answers, and nothing held out in training.

use super::*;
use std::collections::BTreeSet;

fn turns(kind: DocumentKind) -> Vec<Turn> {
    let turns = |document| match document {
        Document::Chat(turns) => turns,
        Document::Text(_) => Vec::new(),
    };
    documents(SEED, kind).into_iter().flat_map(turns).collect()
}

fn numbers(text: &str) -> Vec<usize> {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

#[test]
fn a_seed_gives_one_corpus_and_another_seed_another() {
    for kind in DocumentKind::ALL {
        assert_eq!(documents(1, kind), documents(1, kind), "{kind:?}");
        assert_ne!(documents(1, kind), documents(2, kind), "{kind:?}");
    }
    assert_eq!(held_out(1), held_out(1));
}

#[test]
fn sums_are_right_and_no_held_out_pair_is_trained_on_in_any_order() {
    let pair = |turn: &Turn| {
        let mut pair = numbers(&turn.question);
        assert_eq!(format!("{}.", pair.iter().sum::<usize>()), turn.answer);
        pair.sort_unstable();
        pair
    };
    let trained: BTreeSet<Vec<usize>> = turns(DocumentKind::Sums).iter().map(pair).collect();
    let asked = held_out(SEED).into_iter().filter(|question| question.kind == QuestionKind::Sums);
    let asked: BTreeSet<Vec<usize>> = asked.map(|question| pair(&question.turn)).collect();
    assert_eq!(asked.len(), HELD_OUT_QUESTIONS);
    assert!(asked.is_disjoint(&trained));
    assert!(asked.iter().flatten().all(|number| (10..100).contains(number)));
}

#[test]
fn counts_are_right() {
    for turn in turns(DocumentKind::Counting) {
        let expected = match numbers(&turn.question)[..] {
            [first, last] => (first..=last).map(|n| n.to_string()).collect::<Vec<_>>().join(", "),
            _ => (turn.question.matches(", ").count() + 1).to_string(),
        };
        assert_eq!(turn.answer, format!("{expected}."), "{}", turn.question);
    }
}

#[test]
fn an_answer_of_reading_stands_in_the_text_it_is_asked_about() {
    for question in held_out(SEED).iter().filter(|question| question.kind == QuestionKind::Reading) {
        let fact = question.turn.answer.trim_start_matches("The ");
        assert!(question.turn.question.contains(fact), "{question:?}");
    }
}

#[test]
fn a_list_is_repeated_from_the_asked_word_on() {
    for turn in turns(DocumentKind::Repeating) {
        let (head, list) = turn.question.split_once(": ").unwrap();
        let word = head.trim_start_matches("Repeat from ").trim_end_matches(" on");
        assert!(turn.answer.starts_with(word) && list.ends_with(&turn.answer), "{turn:?}");
    }
}

#[test]
fn held_out_questions_are_as_many_as_promised_and_never_in_the_training_files() {
    let held_out = held_out(SEED);
    assert_eq!(held_out.len(), QuestionKind::ALL.len() * HELD_OUT_QUESTIONS);
    let trained: BTreeSet<String> =
        DocumentKind::ALL.into_iter().flat_map(turns).map(|turn| turn.question).collect();
    assert!(held_out.iter().all(|question| !trained.contains(&question.turn.question)));
}
