//! Tokens that llama.cpp makes of texts.
//!
//! The texts are the 46 of llama.cpp's `test-tokenizer-0` and 60 that `oracle.py` generates; the vocabularies
//! are those of llama.cpp's `models` folder, made small by the example `tokenizer_reduce`. What whole
//! vocabularies make of more texts, the example `tokenizer_oracle` compares.

use std::fs;
use std::path::Path;

use assay_engine::request::Prompt;
use assay_engine::text::Text;
use assay_manifest::formats::gguf::Gguf;

const SEPARATOR: &str = "\n__ggml_vocab_test__\n";

/// A vocabulary, its definition, and the tokens around a raw prompt.
const VOCABULARIES: [(&str, &str, Around); 9] = [
    ("gpt-2", "text-byte-level-bpe", Around::Nothing),
    ("llama-bpe", "text-byte-level-bpe", Around::First),
    ("qwen2", "text-byte-level-bpe", Around::Nothing),
    ("deepseek-llm", "text-byte-level-bpe", Around::First),
    ("deepseek-coder", "text-byte-level-bpe", Around::First),
    ("falcon", "text-byte-level-bpe", Around::Nothing),
    ("starcoder", "text-byte-level-bpe", Around::Nothing),
    ("llama-spm", "text-sentencepiece-bpe", Around::First),
    ("bert-bge", "text-wordpiece", Around::Both),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Around {
    Nothing,
    First,
    Both,
}

fn data(file: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/text/data").join(file)).unwrap()
}

fn load(name: &str) -> (Gguf, Text) {
    let bytes = data(&format!("{name}.gguf"));
    let gguf = Gguf::parse(&bytes[..], bytes.len() as u64).unwrap();
    let text = Text::from_gguf(&gguf).unwrap();
    (gguf, text)
}

fn texts() -> Vec<String> {
    let texts = String::from_utf8(data("texts.inp")).unwrap();
    texts.strip_suffix(SEPARATOR).unwrap().split(SEPARATOR).map(str::to_owned).collect()
}

fn expected(name: &str) -> Vec<Vec<u32>> {
    let lines = String::from_utf8(data(&format!("{name}.out"))).unwrap();
    lines.lines().map(|line| line.split_whitespace().map(|id| id.parse().unwrap()).collect()).collect()
}

#[test]
fn texts_become_the_tokens_that_llama_cpp_makes_of_them() {
    for (name, definition, _) in VOCABULARIES {
        let (_, text) = load(name);
        assert_eq!(text.definition_name(), definition, "{name}");
        let (texts, expected) = (texts(), expected(name));
        assert!(texts.len() > 100 && texts.len() == expected.len(), "{name}");
        for (input, tokens) in texts.iter().zip(expected) {
            assert_eq!(text.encode_plain(input).unwrap(), tokens, "{name}: {input:?}");
        }
    }
}

#[test]
fn raw_prompts_get_the_tokens_around_them_that_their_kind_has() {
    for (name, _, around) in VOCABULARIES {
        let (gguf, text) = load(name);
        let key = |key: &str| gguf.lookup::<u32>(&format!("tokenizer.ggml.{key}_token_id")).unwrap();
        let prompt = text.render(&Prompt::Text("Hello world".to_owned()), 0).unwrap();
        let plain = text.encode_plain("Hello world").unwrap();
        let first = key("bos").or(key("cls")).filter(|_| around != Around::Nothing);
        let last = key("seperator").filter(|_| around == Around::Both);
        assert_eq!(prompt, first.into_iter().chain(plain).chain(last).collect::<Vec<_>>(), "{name}");
        assert!(around == Around::Nothing || first.is_some(), "{name} has a first token");
    }
}

#[test]
fn byte_level_and_sentencepiece_tokens_read_as_the_text() {
    for (name, definition, _) in VOCABULARIES {
        // WordPiece forgets case and space; some publishers left out bytes that their corpus had not.
        if definition == "text-wordpiece" || ["falcon", "starcoder"].contains(&name) {
            continue;
        }
        let (_, text) = load(name);
        for input in texts() {
            let tokens = text.encode_plain(&input).unwrap();
            // SentencePiece writes spaces as U+2581 and cannot tell them from it.
            let sentence = definition == "text-sentencepiece-bpe";
            let read = if sentence { input.replace('\u{2581}', " ") } else { input };
            assert_eq!(text.decode(&tokens), read, "{name}");
        }
    }
}

#[test]
fn wordpiece_reads_as_words_with_a_space_before_each() {
    let (_, text) = load("bert-bge");
    let tokens = text.encode_plain("Hello, WORLD!").unwrap();
    assert_eq!(text.decode(&tokens), " hello , world !");
}

#[test]
fn a_text_of_the_greatest_length_is_tokenized_in_time() {
    for (name, ..) in VOCABULARIES {
        let (_, text) = load(name);
        for part in ["a", "\u{4e2d}", "1", "!", "a b"] {
            let long = part.repeat((1 << 20) / part.len());
            assert!(!text.encode_plain(&long).unwrap().is_empty(), "{name}: {part}");
        }
    }
}
