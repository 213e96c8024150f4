//! Small vocabularies made by hand, one rule each.

use assay_engine::request::{Message, Prompt};
use assay_engine::text::{Text, TextError};
use assay_manifest::formats::gguf::{Array, Gguf, Metadata, Value};
use proptest::prelude::*;

const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;
const BYTE: i32 = 6;

/// Metadata of a tokenizer with these tokens: text, kind, score.
fn metadata(model: &str, tokens: &[(String, i32, f32)]) -> Metadata {
    let texts = tokens.iter().map(|(text, ..)| text.clone()).collect();
    let kinds = tokens.iter().map(|(_, kind, _)| *kind).collect();
    let scores = tokens.iter().map(|(.., score)| *score).collect();
    let mut metadata = Metadata::new();
    set(&mut metadata, "model", Value::String(model.to_owned()));
    set(&mut metadata, "tokens", Value::Array(Array::String(texts)));
    set(&mut metadata, "token_type", Value::Array(Array::I32(kinds)));
    set(&mut metadata, "scores", Value::Array(Array::F32(scores)));
    metadata
}

fn set(metadata: &mut Metadata, key: &str, value: Value) {
    metadata.insert(format!("tokenizer.ggml.{key}"), value);
}

fn load(metadata: Metadata) -> Result<Text, TextError> {
    Text::from_gguf(&Gguf { version: 3, metadata, tensors: Vec::new(), alignment: 32, data_offset: 0 })
}

/// Llama 2's special tokens and bytes, then these tokens with falling scores.
fn sentences(tokens: &[(&str, i32)]) -> Vec<(String, i32, f32)> {
    let special = [("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL)]
        .map(|(text, kind)| (text.into(), kind, 0.0));
    let bytes = (0..=u8::MAX).map(|byte| (format!("<0x{byte:02X}>"), BYTE, 0.0));
    let own = (0u16..).zip(tokens).map(|(rank, (text, kind))| ((*text).to_owned(), *kind, -f32::from(rank)));
    special.into_iter().chain(bytes).chain(own).collect()
}

/// The number of the first token after the bytes.
const OWN: u32 = 3 + 256;
/// The number of the token of byte 0.
const BYTES: u32 = 3;

fn sentence_piece(tokens: &[(&str, i32)]) -> Text {
    load(metadata("llama", &sentences(tokens))).unwrap()
}

fn raw(text: &Text, prompt: &str) -> Vec<u32> {
    text.render(&Prompt::Text(prompt.to_owned()), 0).unwrap()
}

#[test]
fn the_highest_score_is_merged_first_and_then_the_leftmost() {
    // `bc` before `ab`, so that `abc` is `a bc`; of the two `aa` of `aaa`, the left one.
    let text = sentence_piece(&[
        ("▁", NORMAL),
        ("bc", NORMAL),
        ("ab", NORMAL),
        ("aa", NORMAL),
        ("a", NORMAL),
        ("c", NORMAL),
    ]);
    let [space, bc, ab, aa, a] = [0, 1, 2, 3, 4].map(|index| OWN + index);
    assert_eq!(text.encode_plain("abc").unwrap(), [space, a, bc]);
    assert_eq!(text.encode_plain("aba").unwrap(), [space, ab, a]);
    assert_eq!(text.encode_plain("aaa").unwrap(), [space, aa, a]);
}

#[test]
fn equal_scores_are_merged_from_the_left_whatever_their_ids() {
    let mut tokens =
        sentences(&[("▁", NORMAL), ("bb", NORMAL), ("ab", NORMAL), ("a", NORMAL), ("b", NORMAL)]);
    tokens[OWN as usize..].iter_mut().for_each(|(.., score)| *score = -0.0);
    let text = load(metadata("llama", &tokens)).unwrap();
    assert_eq!(text.encode_plain("abb").unwrap(), [OWN, OWN + 2, OWN + 4]);
}

#[test]
fn a_space_comes_before_text_at_the_beginning_and_after_special_tokens() {
    let tokens = [("▁", NORMAL), ("a", NORMAL), ("<x>", USER_DEFINED)];
    let text = sentence_piece(&tokens);
    let [space, a, x] = [OWN, OWN + 1, OWN + 2];
    assert_eq!(raw(&text, "a<x>a</s> a"), [1, space, a, x, space, a, 2, space, space, a]);
    assert_eq!(raw(&text, ""), [1]);
    assert_eq!(raw(&text, "<s>a"), [1, space, a]);
    let mut without = metadata("llama", &sentences(&tokens));
    set(&mut without, "add_space_prefix", Value::Bool(false));
    assert_eq!(raw(&load(without).unwrap(), "a<x>a a"), [1, a, x, a, space, a]);
}

#[test]
fn characters_without_a_token_become_bytes_and_read_as_themselves_once_complete() {
    let text = sentence_piece(&[("▁", NORMAL), ("▁a", NORMAL), ("a", NORMAL)]);
    let tokens = text.encode_plain("a é中").unwrap();
    let bytes = "é中".bytes().map(|byte| BYTES + u32::from(byte));
    assert_eq!(tokens, [OWN + 1, OWN].into_iter().chain(bytes).collect::<Vec<_>>());
    let mut decoder = text.decoder();
    let pushed: Vec<String> = tokens.iter().map(|token| decoder.push(&text, *token)).collect();
    assert_eq!(pushed, ["a", " ", "", "é", "", "", "中"]);
    // A byte that no character goes on with.
    assert_eq!(
        decoder.push(&text, BYTES + 0xe4) + &decoder.push(&text, OWN + 2) + &decoder.finish(),
        "\u{fffd}a"
    );
}

#[test]
fn only_the_first_token_loses_the_space_before_it() {
    let text = sentence_piece(&[("▁", NORMAL), ("▁a", NORMAL), ("a", NORMAL)]);
    assert_eq!(text.decode(&[OWN + 1, OWN + 1]), "a a");
    assert_eq!(text.decode(&[OWN, OWN + 1]), " a");
    // As in llama.cpp, a control token at the beginning is the first token.
    assert_eq!(text.decode(&[1, OWN + 1, 2, 0]), " a");
    assert_eq!(text.decode(&[BYTES + 0x20, OWN + 2]), "a");
    let mut without = metadata("llama", &sentences(&[("▁a", NORMAL), ("▁", NORMAL), ("a", NORMAL)]));
    set(&mut without, "add_space_prefix", Value::Bool(false));
    assert_eq!(load(without).unwrap().decode(&[OWN]), " a");
}

#[test]
fn merges_make_neither_control_tokens_nor_unused_ones() {
    let tokens = [
        ("▁", NORMAL),
        ("<", NORMAL),
        ("s", NORMAL),
        (">", NORMAL),
        ("<s", NORMAL),
        ("s>", NORMAL),
        ("ss", UNUSED),
    ];
    let text = sentence_piece(&tokens);
    assert_eq!(text.encode_plain("<s>").unwrap(), [OWN, OWN + 4, OWN + 3]);
    assert_eq!(text.encode_plain("ss").unwrap(), [OWN, OWN + 2, OWN + 2]);
    assert_eq!(text.encode_plain("<0x0A>").unwrap().len(), 7);
}

#[test]
fn a_million_letters_are_merged_in_time() {
    let doubled: Vec<String> = (0..10).map(|power| "a".repeat(1 << power)).collect();
    let tokens: Vec<(&str, i32)> =
        doubled.iter().map(|text| (&**text, NORMAL)).chain([("▁", NORMAL)]).collect();
    let text = sentence_piece(&tokens);
    let long = "a".repeat(1 << 20);
    assert_eq!(text.decode(&text.encode_plain(&long).unwrap()), long);
    let spaces = " ".repeat(1 << 20);
    assert_eq!(text.encode_plain(&spaces).unwrap().len(), (1 << 20) + 1);

    let words: Vec<(String, i32, f32)> =
        word_pieces(&["▁", "▁a", "a", &"a".repeat(256), &("a".repeat(255) + "b")]);
    let text = load(word_metadata(&words)).unwrap();
    // After the first letter, pieces of 256 and a rest of single letters.
    assert_eq!(text.encode_plain(&long).unwrap().len(), 1 + 4095 + 255);
}

#[test]
fn scores_and_bytes_that_do_not_fit_are_refused() {
    let tokens = sentences(&[("▁", NORMAL)]);
    let refused = |change: fn(&mut Vec<(String, i32, f32)>)| {
        let mut tokens = tokens.clone();
        change(&mut tokens);
        load(metadata("llama", &tokens)).err().unwrap()
    };
    assert!(matches!(refused(|tokens| tokens[7].2 = f32::NAN), TextError::Score { id: 7 }));
    assert!(matches!(refused(|tokens| tokens[13].0 = "<0x0a>".into()), TextError::ByteName { id: 13 }));
    assert!(matches!(refused(|tokens| tokens[13].0 = "<0x0B>".into()), TextError::DuplicateToken { .. }));
    assert!(matches!(refused(|tokens| tokens[13].1 = NORMAL), TextError::MissingByte { byte: 10 }));
    let mut short = metadata("llama", &tokens);
    set(&mut short, "scores", Value::Array(Array::F32(vec![0.0])));
    assert!(matches!(load(short), Err(TextError::ScoreCount { scores: 1, .. })));
    let mut whole = metadata("llama", &tokens);
    set(&mut whole, "scores", Value::Array(Array::I32(vec![-1; tokens.len()])));
    assert!(load(whole).is_ok());
}

#[test]
fn phi_3_takes_the_white_space_after_its_special_tokens() {
    let tokens = [("▁", NORMAL), ("a", NORMAL), ("<|user|>", CONTROL), ("<|end|>", CONTROL)];
    let mut named = metadata("llama", &sentences(&tokens));
    named.insert("general.name".to_owned(), Value::String("Phi-3 mini".to_owned()));
    let template = "{% for m in messages %}<|user|>\n{{ m.content }}<|end|>\n{% endfor %}";
    named.insert("tokenizer.chat_template".to_owned(), Value::String(template.to_owned()));
    let text = load(named).unwrap();
    let [space, a, user, end] = [0, 1, 2, 3].map(|index| OWN + index);
    assert_eq!(raw(&text, "<|user|> \n a<|end|>\n<s> a"), [1, user, space, a, end, 1, space, space, a]);
    let message = Message { role: "user".to_owned(), content: "a".to_owned() };
    assert_eq!(text.render(&Prompt::Chat(vec![message]), 0).unwrap(), [1, user, space, a, end]);
    assert_eq!(text.eos_tokens(), [2, end]);
}

#[test]
fn tokens_that_end_an_answer_are_those_of_llama_cpp() {
    let ends = |tokens: &[(&str, i32)]| {
        let text = sentence_piece(tokens);
        text.eos_tokens().iter().filter(|id| **id >= OWN).map(|id| id - OWN).collect::<Vec<_>>()
    };
    type Case = (&'static [(&'static str, i32)], &'static [u32]);
    let cases: [Case; 6] = [
        (&[("<end_of_turn>", CONTROL), ("<start_of_turn>", CONTROL)], &[0]),
        // User-defined ones are control tokens all the same, and plain ones end answers too.
        (&[("<|im_end|>", USER_DEFINED), ("<eos>", NORMAL), ("<|eot_id|>", UNUSED)], &[0, 1]),
        (&[("<|end|>", CONTROL), ("<|return|>", CONTROL)], &[0, 1]),
        (&[("<|end|>", CONTROL), ("<|return|>", CONTROL), ("<|call|>", CONTROL)], &[1, 2]),
        (&[("<|end|>", CONTROL), ("<|flush|>", CONTROL), ("<|calls|>", CONTROL)], &[1, 2]),
        (&[("<|fim_pad|>", CONTROL), ("<|fim_middle|>", CONTROL), ("<|file_sep|>", CONTROL)], &[0, 2]),
    ];
    for (tokens, expected) in cases {
        assert_eq!(ends(tokens), expected, "{tokens:?}");
    }
    let text = sentence_piece(&[("▁", NORMAL), ("<|im_end|>", USER_DEFINED)]);
    assert_ne!(text.encode_plain("<|im_end|>").unwrap(), [OWN + 1], "a message cannot end an answer");
}

/// Tokens of a WordPiece vocabulary, after its four special ones.
fn word_pieces(tokens: &[&str]) -> Vec<(String, i32, f32)> {
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"].map(|text| (text.to_owned(), CONTROL, 0.0));
    special.into_iter().chain(tokens.iter().map(|text| ((*text).to_owned(), NORMAL, 0.0))).collect()
}

fn word_metadata(tokens: &[(String, i32, f32)]) -> Metadata {
    let mut metadata = metadata("bert", tokens);
    for (key, id) in [("padding", 0), ("unknown", 1), ("cls", 2), ("seperator", 3)] {
        set(&mut metadata, &format!("{key}_token_id"), Value::U32(id));
    }
    metadata
}

#[test]
fn words_are_cut_into_the_longest_pieces() {
    let text = load(word_metadata(&word_pieces(&[
        "▁un", "▁una", "aff", "able", "ble", "▁e", "▁!", "▁中", "ᄀ", "▁ᄀ",
    ])))
    .unwrap();
    let cases: [(&str, &[u32]); 8] = [
        ("unaaff", &[5, 6]),
        ("unable", &[5, 8]),
        // The longest beginning leaves a rest that no piece makes: the word is unknown, and not cut anew.
        ("unaffable", &[1]),
        ("UN É e\u{301} x", &[4, 9, 9, 1]),
        ("un!e中un", &[4, 10, 9, 11, 4]),
        ("u\0n\u{200d} \u{fffd} un", &[4, 4]),
        // Of a syllable's letters only the first is looked at.
        ("각", &[13]),
        (" \t\n", &[]),
    ];
    for (input, expected) in cases {
        assert_eq!(text.encode_plain(input).unwrap(), expected, "{input:?}");
    }
    assert_eq!(raw(&text, "un"), [2, 4, 3]);
    assert_eq!(raw(&text, "un[SEP]un"), [2, 4, 3, 4, 3]);
    assert_eq!(text.decode(&[2, 4, 6, 10, 3]), " unaff !");
}

#[test]
fn words_keep_case_and_accents_where_the_metadata_says_so() {
    let tokens = word_pieces(&["▁e", "▁E", "▁é", "▁É"]);
    let with = |lowercase: bool, strip: Option<bool>| {
        let mut metadata = word_metadata(&tokens);
        set(&mut metadata, "normalizer.lowercase", Value::Bool(lowercase));
        strip
            .into_iter()
            .for_each(|strip| set(&mut metadata, "normalizer.strip_accents", Value::Bool(strip)));
        load(metadata).unwrap().encode_plain("É").unwrap()
    };
    assert_eq!(with(true, None), [4]);
    assert_eq!(with(false, None), [7]);
    assert_eq!(with(false, Some(true)), [5]);
    assert_eq!(with(true, Some(false)), [6]);
}

/// The definition of merging: again and again, over the whole text.
fn merged(tokens: &[(String, i32, f32)], text: &str) -> Vec<String> {
    let mut parts: Vec<String> = text.chars().map(String::from).collect();
    let score =
        |text: &str| tokens.iter().find(|(known, kind, _)| known == text && *kind == NORMAL).map(|t| t.2);
    loop {
        let pairs = parts.windows(2).enumerate().filter_map(|(at, pair)| Some((score(&pair.concat())?, at)));
        let best = pairs.max_by(|(a, left), (b, right)| a.total_cmp(b).then(right.cmp(left)));
        let Some((_, at)) = best else { return parts };
        let right = parts.remove(at + 1);
        parts[at].push_str(&right);
    }
}

proptest! {
    #[test]
    fn merging_is_what_the_definition_says(
        own in prop::collection::hash_map("[ab]{2,5}", -3i8..3, 0..12),
        text in "[abc]{0,24}",
    ) {
        let mut tokens = sentences(&[("▁", NORMAL), ("a", NORMAL), ("b", NORMAL)]);
        tokens.extend(own.into_iter().map(|(text, score)| (text, NORMAL, score.into())));
        let mut metadata = metadata("llama", &tokens);
        set(&mut metadata, "add_space_prefix", Value::Bool(false));
        let model = load(metadata).unwrap();
        let found = model.encode_plain(&text).unwrap();
        let found: Vec<&str> = found.iter().map(|id| model.token_text(*id).unwrap()).collect();
        let expected = merged(&tokens, &text);
        let expected: Vec<&str> = expected.iter().map(|part| if part == "c" { "<0x63>" } else { part }).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn any_vocabulary_is_refused_or_reads_back_what_was_written(
        model in "llama|bert|gpt2",
        own in prop::collection::vec(("\\PC{0,3}|[▁a ]{0,4}", 0..8i32, any::<f32>()), 0..20),
        text in "\\PC{0,30}|[▁a \n]{0,20}",
        ids in prop::collection::vec(0..400u32, 0..20),
    ) {
        let mut tokens = sentences(&[("▁", NORMAL)]);
        if model == "bert" {
            tokens.retain(|(_, kind, _)| *kind != BYTE);
        }
        tokens.extend(own);
        let mut metadata = metadata(&model, &tokens);
        set(&mut metadata, "unknown_token_id", Value::U32(0));
        set(&mut metadata, "seperator_token_id", Value::U32(0));
        set(&mut metadata, "cls_token_id", Value::U32(0));
        let Ok(model) = load(metadata) else { return Ok(()) };
        let Ok(found) = model.render(&Prompt::Text(text), 0) else { return Ok(()) };
        for tokens in [found, ids] {
            let mut decoder = model.decoder();
            let mut streamed: String = tokens.iter().map(|token| decoder.push(&model, *token)).collect();
            streamed.push_str(&decoder.finish());
            prop_assert_eq!(streamed, model.decode(&tokens));
        }
    }
}
