//! Tokenizers from GGUF metadata, and the texts that they take apart.

use arbitrary::{Arbitrary, Result, Unstructured};
use assay_engine::synthetic::Synthetic;
use assay_engine::text::Text;
use assay_manifest::formats::gguf::{Array, Gguf, Metadata, Value};
use assay_protocol::request::Prompt;

/// Kinds of tokens that are text: made by merges, and found whole.
const ORDINARY: [i32; 2] = [1, 4];

/// What is done to a tokenizer that is right.
#[derive(Arbitrary, Debug)]
enum Change<'a> {
    Push {
        text: &'a str,
        kind: i8,
    },
    Rename {
        id: u16,
        text: &'a str,
    },
    Kind {
        id: u16,
        kind: i8,
    },
    Merge {
        left: &'a str,
        right: &'a str,
    },
    /// Two tokens of the vocabulary, and the token that they make.
    Pair {
        left: u16,
        right: u16,
    },
    RawMerge {
        line: &'a str,
    },
    DropMerges,
    Split(Split),
    Family(Family),
    Score {
        id: u16,
        score: f32,
    },
    Number {
        key: Key,
        value: u32,
    },
    Flag {
        eos: bool,
        value: bool,
    },
    Text {
        key: Key,
        value: &'a str,
    },
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Split {
    Gpt2,
    Llama,
    Qwen,
    Tekken,
    DeepSeek,
    Falcon,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Family {
    ByteLevel,
    SentencePiece,
    WordPiece,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Key {
    Bos,
    Eos,
    Eot,
    Unknown,
    Separator,
    Model,
    Pre,
    Name,
}

/// Some lists of changes, in the form that [`Unstructured`] reads; most of what fuzzing begins with it finds.
pub fn seeds() -> Vec<Vec<u8>> {
    let texts = ["the end of the land", "<|im_start|>a\n\n  b", "\u{0}\u{fdd0}é中🦀'll 1234"];
    let mut seeds: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    seeds.extend((0u8..16).map(|n| {
        (0u8..120).map(|at| at.wrapping_mul(n.wrapping_mul(2) + 1)).chain(texts[0].bytes()).collect()
    }));
    seeds
}

/// A tokenizer that is accepted makes tokens of the vocabulary; one of bytes reads back what it was given.
///
/// # Panics
/// When that does not hold.
pub fn check(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let Ok((metadata, text)) = read(&mut input) else { return };
    let gguf = Gguf { version: 3, metadata, tensors: Vec::new(), alignment: 32, data_offset: 0 };
    let tokenizer = match Text::from_gguf(&gguf) {
        Ok(tokenizer) => tokenizer,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let prompt = Prompt::Text(text.clone());
    let Ok(tokens) = tokenizer.render(&prompt, 0) else { return };
    assert_eq!(tokenizer.render(&prompt, 0).as_ref(), Ok(&tokens), "a text becomes other tokens");
    let vocabulary = Vocabulary(&gguf);
    for token in &tokens {
        assert!((*token as usize) < vocabulary.kinds().len(), "token {token} does not exist");
    }
    let decoded = tokenizer.decode(&tokens);
    let mut decoder = tokenizer.decoder();
    let mut streamed: String = tokens.iter().map(|token| decoder.push(&tokenizer, *token)).collect();
    streamed.push_str(&decoder.finish());
    assert_eq!(streamed, decoded, "streaming reads something else");
    let is_ordinary = tokens.iter().all(|token| vocabulary.is_ordinary(*token));
    let reads_back = tokenizer.definition_name() == "text-byte-level-bpe" && vocabulary.has_bytes(&text);
    if reads_back && is_ordinary && !vocabulary.adds_tokens() {
        assert_eq!(decoded, text, "the text is lost");
    }
}

fn read(input: &mut Unstructured<'_>) -> Result<(Metadata, String)> {
    let mut metadata = Synthetic::default().metadata();
    metadata.remove("tokenizer.chat_template");
    for _ in 0..input.int_in_range(0..=24)? {
        apply(&mut metadata, Change::arbitrary(input)?);
    }
    let rest = std::mem::replace(input, Unstructured::new(&[])).take_rest();
    Ok((metadata, String::from_utf8_lossy(rest).into_owned()))
}

fn apply(metadata: &mut Metadata, change: Change<'_>) {
    match change {
        Change::Push { text, kind } => push(metadata, text, kind.into()),
        Change::Rename { id, text } => {
            let tokens = strings(metadata, "tokenizer.ggml.tokens");
            let index = usize::from(id) % tokens.len().max(1);
            tokens.get_mut(index).into_iter().for_each(|old| *old = text.into());
        }
        Change::Kind { id, kind } => {
            let kinds = kinds(metadata);
            let index = usize::from(id) % kinds.len().max(1);
            kinds.get_mut(index).into_iter().for_each(|old| *old = kind.into());
        }
        Change::Merge { left, right } => {
            push(metadata, &format!("{left}{right}"), 1);
            strings(metadata, "tokenizer.ggml.merges").push(format!("{left} {right}"));
        }
        Change::Pair { left, right } => {
            let tokens = strings(metadata, "tokenizer.ggml.tokens");
            let token = |id: u16| tokens.get(usize::from(id) % tokens.len().max(1)).cloned();
            let (left, right) = (token(left).unwrap_or_default(), token(right).unwrap_or_default());
            apply(metadata, Change::Merge { left: &left, right: &right });
        }
        Change::RawMerge { line } => strings(metadata, "tokenizer.ggml.merges").push(line.into()),
        Change::DropMerges => strings(metadata, "tokenizer.ggml.merges").clear(),
        Change::Split(split) => {
            let name = match split {
                Split::Gpt2 => "gpt-2",
                Split::Llama => "llama-bpe",
                Split::Qwen => "qwen2",
                Split::Tekken => "tekken",
                Split::DeepSeek => "deepseek-v3",
                Split::Falcon => "falcon",
            };
            metadata.insert("tokenizer.ggml.pre".into(), Value::String(name.into()));
        }
        Change::Family(family) => become_family(metadata, family),
        Change::Score { id, score } => {
            let count = kinds(metadata).len();
            let key = "tokenizer.ggml.scores";
            let mut scores = match metadata.remove(key) {
                Some(Value::Array(Array::F32(scores))) => scores,
                _ => Vec::new(),
            };
            scores.resize(count, 0.0);
            let index = usize::from(id) % count.max(1);
            scores.get_mut(index).into_iter().for_each(|old| *old = score);
            metadata.insert(key.into(), Value::Array(Array::F32(scores)));
        }
        Change::Number { key, value } => drop(metadata.insert(key.name().into(), Value::U32(value % 400))),
        Change::Flag { eos, value } => {
            let key = if eos { "tokenizer.ggml.add_eos_token" } else { "tokenizer.ggml.add_bos_token" };
            metadata.insert(key.into(), Value::Bool(value));
        }
        Change::Text { key, value } => drop(metadata.insert(key.name().into(), Value::String(value.into()))),
    }
}

/// The same tokens for another family, with those that it cannot do without.
fn become_family(metadata: &mut Metadata, family: Family) {
    let model = match family {
        Family::ByteLevel => "gpt2",
        Family::SentencePiece => "llama",
        Family::WordPiece => "bert",
    };
    metadata.insert(Key::Model.name().into(), Value::String(model.into()));
    match family {
        Family::ByteLevel => {}
        Family::SentencePiece => (0..=u8::MAX).for_each(|byte| push(metadata, &format!("<0x{byte:02X}>"), 6)),
        Family::WordPiece => {
            metadata.insert(Key::Unknown.name().into(), Value::U32(0));
            metadata.insert(Key::Separator.name().into(), Value::U32(0));
        }
    }
}

fn push(metadata: &mut Metadata, text: &str, kind: i32) {
    strings(metadata, "tokenizer.ggml.tokens").push(text.into());
    kinds(metadata).push(kind);
}

fn strings<'a>(metadata: &'a mut Metadata, key: &str) -> &'a mut Vec<String> {
    match metadata.get_mut(key) {
        Some(Value::Array(Array::String(items))) => items,
        other => panic!("{key} is {other:?}"),
    }
}

fn kinds(metadata: &mut Metadata) -> &mut Vec<i32> {
    match metadata.get_mut("tokenizer.ggml.token_type") {
        Some(Value::Array(Array::I32(kinds))) => kinds,
        other => panic!("the types are {other:?}"),
    }
}

impl Key {
    const fn name(self) -> &'static str {
        match self {
            Self::Bos => "tokenizer.ggml.bos_token_id",
            Self::Eos => "tokenizer.ggml.eos_token_id",
            Self::Eot => "tokenizer.ggml.eot_token_id",
            Self::Unknown => "tokenizer.ggml.unknown_token_id",
            Self::Separator => "tokenizer.ggml.seperator_token_id",
            Self::Model => "tokenizer.ggml.model",
            Self::Pre => "tokenizer.ggml.pre",
            Self::Name => "general.name",
        }
    }
}

/// A vocabulary that was accepted.
struct Vocabulary<'a>(&'a Gguf);

impl Vocabulary<'_> {
    fn kinds(&self) -> &[i32] {
        self.0.require("tokenizer.ggml.token_type").expect("it was accepted")
    }

    fn is_ordinary(&self, token: u32) -> bool {
        self.kinds().get(token as usize).is_some_and(|kind| ORDINARY.contains(kind))
    }

    /// Whether the bytes of a text still have the tokens that they began with, the first of the vocabulary.
    fn has_bytes(&self, text: &str) -> bool {
        let tokens: &[String] = self.0.require("tokenizer.ggml.tokens").expect("it was accepted");
        let begun = Synthetic::default().metadata();
        let Some(Value::Array(Array::String(begun))) = begun.get("tokenizer.ggml.tokens") else {
            return false;
        };
        text.bytes()
            .map(usize::from)
            .all(|byte| tokens.get(byte) == begun.get(byte) && self.kinds().get(byte) == Some(&1))
    }

    /// Whether prompts get tokens that are not in their text; llama's tokenizers do it unasked.
    fn adds_tokens(&self) -> bool {
        let flag = |key: &str| self.0.lookup::<bool>(key).expect("it was accepted");
        let split = self.0.require::<&str>("tokenizer.ggml.pre").expect("it was accepted");
        let is_llama = split.starts_with("llama") || split == "tekken";
        flag("tokenizer.ggml.add_bos_token").unwrap_or(is_llama)
            || flag("tokenizer.ggml.add_eos_token").unwrap_or(false)
    }
}
