//! `tokenizer.json` of a WordPiece tokenizer, as GGUF metadata.

use std::collections::BTreeMap;

use assay_manifest::formats::gguf::{Array, Metadata, Value};
use serde::Deserialize;

use crate::embedding::EncoderError;
use crate::text::TOKENS_MAX;

const FILE: &str = "tokenizer.json";

/// `llama_token_type` of llama.cpp.
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;

/// What continues a word, and what begins one in GGUF's vocabularies.
const CONTINUES: &str = "##";
const BEGINS: &str = "\u{2581}";

#[derive(Deserialize)]
struct Tokenizer {
    normalizer: Normalizer,
    pre_tokenizer: Typed,
    post_processor: Typed,
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    model: WordPiece,
}

#[derive(Deserialize)]
struct Typed {
    r#type: String,
}

#[derive(Deserialize)]
struct Normalizer {
    r#type: String,
    clean_text: bool,
    handle_chinese_chars: bool,
    strip_accents: Option<bool>,
    lowercase: bool,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
    special: bool,
}

#[derive(Deserialize)]
struct WordPiece {
    r#type: Option<String>,
    unk_token: String,
    continuing_subword_prefix: String,
    vocab: BTreeMap<String, u32>,
}

/// The `tokenizer.*` keys of a model with so many rows of its embedding.
pub(super) fn metadata(json: &[u8], vocab_size: u32) -> Result<Metadata, EncoderError> {
    let tokenizer: Tokenizer = serde_json::from_slice(json).map_err(EncoderError::json(FILE))?;
    tokenizer.check()?;
    let (tokens, types) = tokenizer.tokens(vocab_size)?;
    let mut keys = vec![
        ("tokenizer.ggml.model", Value::String("bert".to_owned())),
        ("tokenizer.ggml.normalizer.lowercase", Value::Bool(tokenizer.normalizer.lowercase)),
        ("tokenizer.ggml.tokens", Value::Array(Array::String(tokens))),
        ("tokenizer.ggml.token_type", Value::Array(Array::I32(types))),
    ];
    if let Some(strips) = tokenizer.normalizer.strip_accents {
        keys.push(("tokenizer.ggml.normalizer.strip_accents", Value::Bool(strips)));
    }
    for (key, text) in [
        ("tokenizer.ggml.cls_token_id", "[CLS]"),
        ("tokenizer.ggml.seperator_token_id", "[SEP]"),
        ("tokenizer.ggml.unknown_token_id", &tokenizer.model.unk_token),
    ] {
        keys.push((key, Value::U32(tokenizer.id(text)?)));
    }
    Ok(keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

impl Tokenizer {
    fn check(&self) -> Result<(), EncoderError> {
        let model = self.model.r#type.as_deref().unwrap_or("WordPiece");
        for (what, found, supported) in [
            ("this model", model, &["WordPiece"][..]),
            ("this normalizer", &self.normalizer.r#type, &["BertNormalizer"]),
            ("this pre_tokenizer", &self.pre_tokenizer.r#type, &["BertPreTokenizer"]),
            ("this post_processor", &self.post_processor.r#type, &["TemplateProcessing", "BertProcessing"]),
            ("this continuing_subword_prefix", &self.model.continuing_subword_prefix, &[CONTINUES]),
        ] {
            if !supported.contains(&found) {
                return Err(unsupported(what, found));
            }
        }
        if !self.normalizer.clean_text || !self.normalizer.handle_chinese_chars {
            return Err(unsupported("this normalizer", "clean_text or handle_chinese_chars is off"));
        }
        Ok(())
    }

    /// Texts and types of all tokens, spelled as llama.cpp's converter spells them; ids without a token are unused.
    fn tokens(&self, vocab_size: u32) -> Result<(Vec<String>, Vec<i32>), EncoderError> {
        let size = usize::try_from(vocab_size).unwrap_or(usize::MAX);
        if size > TOKENS_MAX {
            return Err(unsupported("a vocabulary of this size", &size.to_string()));
        }
        let mut tokens: Vec<(String, i32)> = (0..size).map(|id| (format!("[PAD{id}]"), UNUSED)).collect();
        let added: BTreeMap<&str, &AddedToken> =
            self.added_tokens.iter().map(|added| (added.content.as_str(), added)).collect();
        let in_vocab = self.model.vocab.iter().map(|(text, id)| (text.as_str(), *id));
        let only_added = added.values().map(|added| (added.content.as_str(), added.id));
        let only_added = only_added.filter(|(text, _)| !self.model.vocab.contains_key(*text));
        for (text, id) in in_vocab.chain(only_added) {
            let place = usize::try_from(id).ok().and_then(|id| tokens.get_mut(id));
            match place.filter(|place| place.1 == UNUSED) {
                Some(place) => *place = spelled(text, added.get(text).copied()),
                None => return Err(EncoderError::TokenId { text: text.to_owned(), id }),
            }
        }
        Ok(tokens.into_iter().unzip())
    }

    fn id(&self, text: &str) -> Result<u32, EncoderError> {
        let added = || self.added_tokens.iter().find(|added| added.content == text).map(|added| added.id);
        let id = self.model.vocab.get(text).copied().or_else(added);
        id.ok_or_else(|| unsupported("a vocabulary without this token", text))
    }
}

fn spelled(text: &str, added: Option<&AddedToken>) -> (String, i32) {
    match (added, text.strip_prefix(CONTINUES)) {
        (Some(AddedToken { special: true, .. }), _) => (text.to_owned(), CONTROL),
        (Some(_), _) => (text.to_owned(), USER_DEFINED),
        (None, Some(rest)) => (rest.to_owned(), NORMAL),
        (None, None) => (format!("{BEGINS}{text}"), NORMAL),
    }
}

fn unsupported(what: &'static str, found: &str) -> EncoderError {
    EncoderError::Unsupported { file: FILE, what, found: found.chars().take(64).collect() }
}
