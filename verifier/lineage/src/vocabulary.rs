//! `tokenizer.json` and `tokenizer_config.json` of a byte-level BPE tokenizer, as GGUF metadata.

use crate::error::LineageError;
use assay_manifest::formats::gguf::{Array, Metadata, Value};
use serde::Deserialize;
use serde_json::Value as Json;
use std::collections::BTreeMap;

const TOKENIZER: &str = "tokenizer.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";

/// `llama_token_type` of llama.cpp.
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;

#[derive(Deserialize)]
struct Tokenizer {
    normalizer: Option<Json>,
    pre_tokenizer: Option<PreTokenizer>,
    post_processor: Option<Typed>,
    added_tokens: Vec<AddedToken>,
    model: Bpe,
}

#[derive(Deserialize)]
struct Typed {
    r#type: String,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum PreTokenizer {
    Sequence {
        pretokenizers: Vec<PreTokenizer>,
    },
    Digits {
        individual_digits: bool,
    },
    ByteLevel {
        add_prefix_space: bool,
        use_regex: bool,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
    special: bool,
}

/// The model; a field that changes how text is split must be absent or off.
#[derive(Deserialize)]
struct Bpe {
    r#type: String,
    vocab: BTreeMap<String, u32>,
    merges: Vec<Merge>,
    unk_token: Option<String>,
    dropout: Option<f64>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Pair(String, String),
    Line(String),
}

#[derive(Deserialize)]
struct TokenizerConfig {
    bos_token: Option<Token>,
    eos_token: Option<Token>,
    #[serde(default)]
    add_bos_token: bool,
    #[serde(default)]
    add_eos_token: bool,
    chat_template: Option<Json>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Token {
    Text(String),
    Added { content: String },
}

/// The `tokenizer.*` keys of a model with `size` embedding rows.
pub(crate) fn metadata(tokenizer: &[u8], config: &[u8], size: u32) -> Result<Metadata, LineageError> {
    let tokenizer: Tokenizer = serde_json::from_slice(tokenizer).map_err(LineageError::json(TOKENIZER))?;
    let config: TokenizerConfig =
        serde_json::from_slice(config).map_err(LineageError::json(TOKENIZER_CONFIG))?;
    tokenizer.check_supported()?;
    let (tokens, types) = tokenizer.tokens(size)?;
    let merges = tokenizer.model.merges.iter().map(Merge::line).collect();
    let mut entries = vec![
        ("tokenizer.ggml.model", Value::String("gpt2".to_owned())),
        ("tokenizer.ggml.pre", Value::String("gpt-2".to_owned())),
        ("tokenizer.ggml.merges", Value::Array(Array::String(merges))),
        ("tokenizer.ggml.add_bos_token", Value::Bool(config.add_bos_token)),
        ("tokenizer.ggml.add_eos_token", Value::Bool(config.add_eos_token)),
    ];
    for (key, token) in [
        ("tokenizer.ggml.bos_token_id", &config.bos_token),
        ("tokenizer.ggml.eos_token_id", &config.eos_token),
    ] {
        if let Some(token) = token {
            entries.push((key, Value::U32(token.id(&tokens)?)));
        }
    }
    if let Some(template) = config.chat_template {
        entries.push(("tokenizer.chat_template", Value::String(chat_template(template)?)));
    }
    entries.push(("tokenizer.ggml.tokens", Value::Array(Array::String(tokens))));
    entries.push(("tokenizer.ggml.token_type", Value::Array(Array::I32(types))));
    Ok(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn chat_template(template: Json) -> Result<String, LineageError> {
    match template {
        Json::String(text) => Ok(text),
        other => Err(LineageError::unsupported("a chat template that is not one text", other)),
    }
}

impl Tokenizer {
    /// Refuses whatever llama.cpp's `gpt2` model with `gpt-2` splitting would not repeat.
    fn check_supported(&self) -> Result<(), LineageError> {
        if let Some(normalizer) = &self.normalizer {
            return Err(LineageError::unsupported("a normalizer", normalizer));
        }
        match &self.post_processor {
            Some(post) if post.r#type != "ByteLevel" => {
                return Err(LineageError::unsupported("the post-processor", &post.r#type));
            }
            _ => {}
        }
        self.model.check_supported()?;
        match &self.pre_tokenizer {
            Some(PreTokenizer::Sequence { pretokenizers }) => match pretokenizers.as_slice() {
                [PreTokenizer::Digits { individual_digits: true }, last] if last.splits_like_gpt2() => {
                    self.model.check_digits_stand_alone()
                }
                [only] if only.splits_like_gpt2() => Ok(()),
                _ => Err(LineageError::unsupported("the pre-tokenizer", "a sequence")),
            },
            Some(only) if only.splits_like_gpt2() => Ok(()),
            _ => Err(LineageError::unsupported("the pre-tokenizer", "not byte-level with the gpt-2 pattern")),
        }
    }

    /// Every token by id, and its type; rows of the embedding that have no token are marked unused.
    fn tokens(&self, size: u32) -> Result<(Vec<String>, Vec<i32>), LineageError> {
        let mut slots: Vec<Option<(&str, i32)>> = vec![None; size as usize];
        let added: BTreeMap<&str, &AddedToken> =
            self.added_tokens.iter().map(|token| (token.content.as_str(), token)).collect();
        let plain = self.model.vocab.iter().map(|(text, id)| (text.as_str(), *id, NORMAL));
        let plain = plain.filter(|(text, ..)| !added.contains_key(text));
        let added = added.values().map(|token| (token.content.as_str(), token.id, token.type_id()));
        for (text, id, type_id) in plain.chain(added) {
            match slots.get_mut(id as usize) {
                Some(slot @ None) => *slot = Some((text, type_id)),
                _ => return Err(LineageError::TokenId(id.into())),
            }
        }
        let filled = slots.iter().take_while(|slot| slot.is_some()).count();
        if slots.iter().skip(filled).any(Option::is_some) {
            return Err(LineageError::TokenId(filled as u64));
        }
        let token = |(id, slot): (usize, Option<(&str, i32)>)| match slot {
            Some((text, type_id)) => (text.to_owned(), type_id),
            None => (format!("[PAD{id}]"), UNUSED),
        };
        Ok(slots.into_iter().enumerate().map(token).unzip())
    }
}

impl PreTokenizer {
    fn splits_like_gpt2(&self) -> bool {
        matches!(self, Self::ByteLevel { add_prefix_space: false, use_regex: true })
    }
}

impl AddedToken {
    fn type_id(&self) -> i32 {
        if self.special { CONTROL } else { USER_DEFINED }
    }
}

impl Bpe {
    fn check_supported(&self) -> Result<(), LineageError> {
        let set = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        let unsupported = |what| Err(LineageError::unsupported("the tokenizer's model", what));
        match () {
            () if self.r#type != "BPE" => unsupported(self.r#type.as_str()),
            () if self.dropout.is_some_and(|share| share > 0.0) => unsupported("dropout"),
            () if set(&self.unk_token) => unsupported("an unknown token"),
            () if set(&self.continuing_subword_prefix) => unsupported("a subword prefix"),
            () if set(&self.end_of_word_suffix) => unsupported("a word suffix"),
            () if self.byte_fallback => unsupported("byte fallback"),
            () if self.ignore_merges => unsupported("words that skip the merges"),
            () => Ok(()),
        }
    }

    /// A rule that splits off every digit makes no difference to the tokens if no merge joins a digit to
    /// anything. Merges outside ASCII are refused too, as the rule knows other scripts' digits.
    fn check_digits_stand_alone(&self) -> Result<(), LineageError> {
        let joins = |merge: &&Merge| !merge.line().chars().all(is_ascii_but_no_digit);
        match self.merges.iter().find(joins) {
            Some(merge) => Err(LineageError::unsupported("a merge across digits", merge.line())),
            None => Ok(()),
        }
    }
}

/// Whether a character of GPT-2's byte alphabet stands for such a byte: printable ASCII for itself, the
/// bytes up to space and 127 for U+0100 to U+0121. The space is that of a merge's text form.
fn is_ascii_but_no_digit(character: char) -> bool {
    matches!(character, ' '..='~' | '\u{100}'..='\u{121}') && !character.is_ascii_digit()
}

impl Merge {
    /// The text form: two tokens with a space between.
    fn line(&self) -> String {
        match self {
            Self::Pair(left, right) => format!("{left} {right}"),
            Self::Line(line) => line.clone(),
        }
    }
}

impl Token {
    fn id(&self, tokens: &[String]) -> Result<u32, LineageError> {
        let (Self::Text(text) | Self::Added { content: text }) = self;
        let id = tokens.iter().position(|token| token == text);
        id.and_then(|id| u32::try_from(id).ok()).ok_or_else(|| LineageError::UnknownToken(text.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tokenizer() -> Json {
        json!({
            "normalizer": null,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "Digits", "individual_digits": true},
                {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
            ]},
            "post_processor": null,
            "added_tokens": [{"id": 0, "content": "<end>", "special": true}],
            "model": {"type": "BPE", "vocab": {"<end>": 0, "a": 1, "b": 2, "ab": 3, "7": 4}, "merges": [["a", "b"]]},
        })
    }

    fn convert(tokenizer: &Json, size: u32) -> Result<Metadata, LineageError> {
        let config = json!({"eos_token": "<end>", "bos_token": {"content": "a"}, "chat_template": "{{x}}"});
        metadata(tokenizer.to_string().as_bytes(), config.to_string().as_bytes(), size)
    }

    #[test]
    fn tokens_stand_at_their_ids_and_spare_rows_are_unused() {
        let metadata = convert(&tokenizer(), 6).unwrap();
        let strings = |texts: &[&str]| {
            Value::Array(Array::String(texts.iter().map(|text| (*text).to_owned()).collect()))
        };
        assert_eq!(metadata["tokenizer.ggml.tokens"], strings(&["<end>", "a", "b", "ab", "7", "[PAD5]"]));
        assert_eq!(metadata["tokenizer.ggml.token_type"], Value::Array(Array::I32(vec![3, 1, 1, 1, 1, 5])));
        assert_eq!(metadata["tokenizer.ggml.merges"], strings(&["a b"]));
        assert_eq!(metadata["tokenizer.ggml.eos_token_id"], Value::U32(0));
        assert_eq!(metadata["tokenizer.ggml.bos_token_id"], Value::U32(1));
        assert_eq!(metadata["tokenizer.chat_template"], Value::String("{{x}}".to_owned()));
    }

    #[test]
    fn merges_as_lines_and_as_pairs_are_the_same() {
        let mut lines = tokenizer();
        lines["model"]["merges"] = json!(["a b"]);
        assert_eq!(convert(&lines, 5), convert(&tokenizer(), 5));
    }

    #[test]
    fn holes_double_ids_and_ids_beyond_the_embedding_are_refused() {
        for (token, id) in [("c", 6), ("c", 2), ("c", 9)] {
            let mut wrong = tokenizer();
            wrong["model"]["vocab"][token] = json!(id);
            assert!(matches!(convert(&wrong, 8), Err(LineageError::TokenId(_))), "{token} {id}");
        }
    }

    #[test]
    fn a_digit_inside_a_merge_is_refused_where_digits_are_split_off() {
        for merge in ["1 2", "a 7", "Ġ 7", "Â ²"] {
            let mut wrong = tokenizer();
            wrong["model"]["merges"] = json!([merge]);
            assert!(matches!(convert(&wrong, 5), Err(LineageError::Unsupported { .. })), "{merge}");
        }
        let mut right = tokenizer();
        right["model"]["merges"] = json!(["Ġ a"]);
        assert!(convert(&right, 5).is_ok());
    }

    #[test]
    fn tokenizers_that_split_otherwise_are_refused() {
        let cases = [
            ("/normalizer", json!({"type": "NFC"})),
            ("/pre_tokenizer", json!({"type": "Whitespace"})),
            ("/pre_tokenizer", json!(null)),
            ("/pre_tokenizer/pretokenizers/1/add_prefix_space", json!(true)),
            ("/pre_tokenizer/pretokenizers/1/use_regex", json!(false)),
            ("/pre_tokenizer/pretokenizers/0/individual_digits", json!(false)),
            ("/post_processor", json!({"type": "TemplateProcessing"})),
            ("/model/type", json!("Unigram")),
        ];
        for (pointer, value) in cases {
            let mut wrong = tokenizer();
            *wrong.pointer_mut(pointer).unwrap() = value;
            assert!(matches!(convert(&wrong, 5), Err(LineageError::Unsupported { .. })), "{pointer}");
        }
        for (field, value) in [
            ("dropout", json!(0.1)),
            ("unk_token", json!("a")),
            ("byte_fallback", json!(true)),
            ("ignore_merges", json!(true)),
        ] {
            let mut wrong = tokenizer();
            wrong["model"][field] = value;
            assert!(matches!(convert(&wrong, 5), Err(LineageError::Unsupported { .. })), "{field}");
        }
    }
}
