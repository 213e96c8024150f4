//! Canonical forms of a model's configuration, tokenizer and chat template, and the ids made from them.
//!
//! Two files that say the same have one id: metadata is sorted by key, JSON loses white space, key order
//! and the choice of escapes. Numbers in JSON keep their text, so that no id depends on how a float prints.

use crate::encoding::Writer;
use crate::formats::gguf::{Array, Metadata, Value};
use crate::hash::TaggedHash;
use crate::ids::{ConfigId, TemplateId, TokenizerId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Ids of what decides a model's answers beside its weights; zero for what it does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PartIds {
    /// Architecture and parameters.
    pub config_id: ConfigId,
    /// Tokenizer.
    pub tokenizer_id: TokenizerId,
    /// Chat templates.
    pub template_id: TemplateId,
}

/// The files of a model in the layout of Hugging Face's transformers, as far as it has them.
#[derive(Clone, Copy, Debug, Default)]
pub struct TransformersFiles<'a> {
    /// `config.json`.
    pub config: Option<&'a [u8]>,
    /// `tokenizer.json`.
    pub tokenizer: Option<&'a [u8]>,
    /// `tokenizer_config.json`, which may hold the chat template.
    pub tokenizer_config: Option<&'a [u8]>,
    /// `chat_template.jinja`, which takes precedence.
    pub chat_template: Option<&'a [u8]>,
}

/// Why a file has no canonical form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// Not JSON, or a key appears twice in one object.
    #[error("reading {file}: {message}")]
    Json {
        /// The file.
        file: &'static str,
        /// What the JSON parser says.
        message: String,
    },
    /// JSON nested too deeply.
    #[error("reading {file}: nested too deeply")]
    TooDeep {
        /// The file.
        file: &'static str,
    },
    /// Text is not UTF-8.
    #[error("reading {file}: not UTF-8")]
    NotUtf8 {
        /// The file.
        file: &'static str,
    },
}

const ARCHITECTURE_KEY: &str = "general.architecture";
const TOKENIZER_PREFIX: &str = "tokenizer.";
const TEMPLATE_KEY: &str = "tokenizer.chat_template";
/// The list of named templates; each has a key of its own.
const TEMPLATE_NAMES_KEY: &str = "tokenizer.chat_templates";
/// Deepest JSON: `tokenizer.json` of known models stays under 12.
const JSON_DEPTH_MAX: usize = 64;

/// The ids of a model in GGUF: its `<architecture>.*` keys, its `tokenizer.*` keys, and its templates.
pub fn gguf_part_ids(metadata: &Metadata) -> PartIds {
    let architecture = match metadata.get(ARCHITECTURE_KEY) {
        Some(Value::String(name)) => format!("{name}."),
        _ => return PartIds::default(),
    };
    let config =
        metadata.iter().filter(|(key, _)| *key == ARCHITECTURE_KEY || key.starts_with(&architecture));
    let templates = metadata.iter().filter_map(|(key, value)| named_template(key, value));
    let tokenizer = metadata.iter().filter(|(key, value)| {
        let is_template = *key == TEMPLATE_NAMES_KEY || named_template(key, value).is_some();
        key.starts_with(TOKENIZER_PREFIX) && !is_template
    });
    let tokenizer = keyed_values(tokenizer).map(|bytes| hash("assay/tokenizer/1", "gguf", &bytes).finish());
    PartIds {
        config_id: keyed_values(config)
            .map(|bytes| ConfigId::from_digest(hash("assay/config/1", "gguf", &bytes).finish()))
            .unwrap_or_default(),
        tokenizer_id: tokenizer.map(TokenizerId::from_digest).unwrap_or_default(),
        template_id: template_id(templates.collect()),
    }
}

/// The ids of a model in the layout of transformers.
///
/// # Errors
/// When a file is not what its name says.
pub fn transformers_part_ids(files: &TransformersFiles<'_>) -> Result<PartIds, CanonicalError> {
    let mut ids = PartIds::default();
    if let Some(config) = files.config {
        let bytes = canonical_json("config.json", config)?;
        ids.config_id = ConfigId::from_digest(hash("assay/config/1", "transformers", &bytes).finish());
    }
    let config = object("tokenizer_config.json", files.tokenizer_config.unwrap_or(b"{}"))?;
    if let Some(tokenizer) = files.tokenizer {
        let bytes = canonical_json("tokenizer.json", tokenizer)?;
        let mut settings = config.clone();
        settings.remove("chat_template");
        let settings = write_object("tokenizer_config.json", &settings, JSON_DEPTH_MAX, Writer::new())?;
        let hash = hash("assay/tokenizer/1", "transformers", &bytes).var(&settings.finish());
        ids.tokenizer_id = TokenizerId::from_digest(hash.finish());
    }
    ids.template_id = match (files.chat_template, config.get("chat_template")) {
        (Some(text), _) => {
            let file = "chat_template.jinja";
            let text = std::str::from_utf8(text).map_err(|_| CanonicalError::NotUtf8 { file })?;
            template_id(vec![("", text)])
        }
        (None, Some(value)) => config_template_id(value)?,
        (None, None) => TemplateId::ZERO,
    };
    Ok(ids)
}

/// `chat_template` of `tokenizer_config.json`: one text, or a list of named ones.
fn config_template_id(value: &RawValue) -> Result<TemplateId, CanonicalError> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Templates {
        One(String),
        Named(Vec<Named>),
        Nothing(()),
    }
    #[derive(Deserialize)]
    struct Named {
        name: String,
        template: String,
    }
    let parsed: Templates =
        serde_json::from_str(value.get()).map_err(|error| json_error("tokenizer_config.json", &error))?;
    Ok(match &parsed {
        Templates::One(text) => template_id(vec![("", text)]),
        Templates::Named(named) => {
            let name = |name| if name == "default" { "" } else { name };
            template_id(named.iter().map(|t| (name(t.name.as_str()), t.template.as_str())).collect())
        }
        Templates::Nothing(()) => TemplateId::ZERO,
    })
}

fn hash(tag: &str, layout: &str, bytes: &[u8]) -> TaggedHash {
    TaggedHash::new(tag).var(layout.as_bytes()).var(bytes)
}

/// Templates by name, the default one's name being empty.
fn template_id(mut templates: Vec<(&str, &str)>) -> TemplateId {
    if templates.is_empty() {
        return TemplateId::ZERO;
    }
    templates.sort_unstable();
    let bytes = Writer::new().list(&templates, |writer, (name, text)| writer.str(name).str(text)).finish();
    TemplateId::from_digest(TaggedHash::new("assay/template/1").var(&bytes).finish())
}

/// Name and text of a template; the default one's name is empty.
fn named_template<'a>(key: &'a str, value: &'a Value) -> Option<(&'a str, &'a str)> {
    let name = match key.strip_prefix(TEMPLATE_KEY)? {
        "" => "",
        named => named.strip_prefix('.')?,
    };
    match value {
        Value::String(text) => Some((name, text)),
        _ => None,
    }
}

/// Keys and values in order of the keys; none when there is no key.
fn keyed_values<'a>(entries: impl Iterator<Item = (&'a String, &'a Value)>) -> Option<Vec<u8>> {
    let entries: Vec<_> = entries.collect();
    let write = |writer: Writer, (key, value): &(&String, &Value)| write_value(writer.str(key), value);
    (!entries.is_empty()).then(|| Writer::new().list(&entries, write).finish())
}

fn write_value(writer: Writer, value: &Value) -> Writer {
    let writer = writer.u32(value.type_id());
    match value {
        Value::U8(n) => writer.u8(*n),
        Value::I8(n) => writer.fixed(&n.to_le_bytes()),
        Value::U16(n) => writer.u16(*n),
        Value::I16(n) => writer.fixed(&n.to_le_bytes()),
        Value::U32(n) => writer.u32(*n),
        Value::I32(n) => writer.fixed(&n.to_le_bytes()),
        Value::F32(n) => writer.u32(n.to_bits()),
        Value::Bool(flag) => writer.u8(u8::from(*flag)),
        Value::String(text) => writer.str(text),
        Value::U64(n) => writer.u64(*n),
        Value::I64(n) => writer.fixed(&n.to_le_bytes()),
        Value::F64(n) => writer.u64(n.to_bits()),
        Value::Array(array) => write_array(writer, array),
    }
}

fn write_array(writer: Writer, array: &Array) -> Writer {
    let writer = writer.u32(array.item_type_id());
    match array {
        Array::U8(items) => writer.var(items),
        Array::I8(items) => writer.list(items, |w, n| w.fixed(&n.to_le_bytes())),
        Array::U16(items) => writer.list(items, |w, n| w.u16(*n)),
        Array::I16(items) => writer.list(items, |w, n| w.fixed(&n.to_le_bytes())),
        Array::U32(items) => writer.list(items, |w, n| w.u32(*n)),
        Array::I32(items) => writer.list(items, |w, n| w.fixed(&n.to_le_bytes())),
        Array::F32(items) => writer.list(items, |w, n| w.u32(n.to_bits())),
        Array::Bool(items) => writer.list(items, |w, flag| w.u8(u8::from(*flag))),
        Array::String(items) => writer.list(items, |w, text| w.str(text)),
        Array::U64(items) => writer.list(items, |w, n| w.u64(*n)),
        Array::I64(items) => writer.list(items, |w, n| w.fixed(&n.to_le_bytes())),
        Array::F64(items) => writer.list(items, |w, n| w.u64(n.to_bits())),
    }
}

type Object<'a> = BTreeMap<String, &'a RawValue>;

fn json_error(file: &'static str, error: &serde_json::Error) -> CanonicalError {
    CanonicalError::Json { file, message: error.to_string() }
}

fn object<'a>(file: &'static str, json: &'a [u8]) -> Result<Object<'a>, CanonicalError> {
    let text = std::str::from_utf8(json).map_err(|_| CanonicalError::NotUtf8 { file })?;
    unique_object(file, text)
}

fn unique_object<'a>(file: &'static str, json: &'a str) -> Result<Object<'a>, CanonicalError> {
    let UniqueKeys(object) = serde_json::from_str(json).map_err(|error| json_error(file, &error))?;
    Ok(object)
}

fn canonical_json(file: &'static str, json: &[u8]) -> Result<Vec<u8>, CanonicalError> {
    let text = std::str::from_utf8(json).map_err(|_| CanonicalError::NotUtf8 { file })?;
    let value: &RawValue = serde_json::from_str(text).map_err(|error| json_error(file, &error))?;
    write_json(file, value, JSON_DEPTH_MAX, Writer::new()).map(Writer::finish)
}

/// Writes a letter for the value's type, then its content; so many levels may follow.
fn write_json(
    file: &'static str,
    value: &RawValue,
    levels: usize,
    writer: Writer,
) -> Result<Writer, CanonicalError> {
    let levels = levels.checked_sub(1).ok_or(CanonicalError::TooDeep { file })?;
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'{') => write_object(file, &unique_object(file, text)?, levels, writer),
        Some(b'[') => {
            let items: Vec<&RawValue> =
                serde_json::from_str(text).map_err(|error| json_error(file, &error))?;
            let writer = writer.u8(b'a').count(items.len());
            items.into_iter().try_fold(writer, |writer, item| write_json(file, item, levels, writer))
        }
        Some(b'"') => {
            let string: String = serde_json::from_str(text).map_err(|error| json_error(file, &error))?;
            Ok(writer.u8(b's').str(&string))
        }
        // A number, true, false or null: as it stands.
        _ => Ok(writer.u8(b'l').str(text)),
    }
}

fn write_object(
    file: &'static str,
    object: &Object<'_>,
    levels: usize,
    writer: Writer,
) -> Result<Writer, CanonicalError> {
    let writer = writer.u8(b'o').count(object.len());
    object.iter().try_fold(writer, |writer, (key, value)| write_json(file, value, levels, writer.str(key)))
}

/// A JSON object in which no key appears twice.
struct UniqueKeys<'a>(Object<'a>);

impl<'de> Deserialize<'de> for UniqueKeys<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor;

        impl<'de> serde::de::Visitor<'de> for ObjectVisitor {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut object = Object::new();
                while let Some((key, value)) = map.next_entry()? {
                    if object.insert(key, value).is_some() {
                        return Err(serde::de::Error::custom("a key appears twice"));
                    }
                }
                Ok(object)
            }
        }

        deserializer.deserialize_map(ObjectVisitor).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn metadata() -> Metadata {
        let text = |text: &str| Value::String(text.to_owned());
        Metadata::from([
            (ARCHITECTURE_KEY.to_owned(), text("llama")),
            ("general.name".to_owned(), text("tiny")),
            ("llama.block_count".to_owned(), Value::U32(2)),
            ("llama.rope.freq_base".to_owned(), Value::F32(1e4)),
            ("tokenizer.ggml.tokens".to_owned(), Value::Array(Array::String(vec!["a".to_owned()]))),
            (TEMPLATE_KEY.to_owned(), text("{{x}}")),
        ])
    }

    #[test]
    fn each_gguf_key_changes_the_id_of_its_part_only() {
        let base = gguf_part_ids(&metadata());
        let with = |key: &str, value: Value| {
            let mut metadata = metadata();
            metadata.insert(key.to_owned(), value);
            let ids = gguf_part_ids(&metadata);
            let config_changed = ids.config_id != base.config_id;
            let tokenizer_changed = ids.tokenizer_id != base.tokenizer_id;
            (config_changed, tokenizer_changed, ids.template_id != base.template_id)
        };
        assert_eq!(with("general.name", Value::U32(0)), (false, false, false));
        assert_eq!(with("llama.block_count", Value::U32(3)), (true, false, false));
        assert_eq!(with("llama.block_count", Value::U64(2)), (true, false, false));
        assert_eq!(with("llama.rope.freq_base", Value::F32(2e4)), (true, false, false));
        assert_eq!(with("llamafile.x", Value::U32(0)), (false, false, false));
        assert_eq!(with("tokenizer.ggml.bos_token_id", Value::U32(0)), (false, true, false));
        assert_eq!(with(TEMPLATE_KEY, Value::String("{{y}}".to_owned())), (false, false, true));
        let named = "tokenizer.chat_template.tool_use";
        assert_eq!(with(named, Value::String("{{y}}".to_owned())), (false, false, true));
        assert_eq!(with(named, Value::U32(0)), (false, true, false));
        assert_eq!(gguf_part_ids(&Metadata::new()), PartIds::default());
    }

    fn config_id(config: &str) -> Result<ConfigId, CanonicalError> {
        let files = TransformersFiles { config: Some(config.as_bytes()), ..Default::default() };
        transformers_part_ids(&files).map(|ids| ids.config_id)
    }

    #[test]
    fn white_space_key_order_and_escapes_do_not_change_an_id() {
        let base = config_id(r#"{"a":[1,2.50],"b":"é"}"#).unwrap();
        assert_eq!(config_id("{ \"b\" : \"\\u00e9\",\n\"a\": [ 1, 2.50 ] }").unwrap(), base);
        for other in [
            r#"{"a":[1,2.5],"b":"é"}"#,
            r#"{"a":[2.50,1],"b":"é"}"#,
            r#"{"a":[1,2.50],"b":"e"}"#,
            r#"{"a":[1,2.50],"b":"é","c":null}"#,
        ] {
            assert_ne!(config_id(other).unwrap(), base, "{other}");
        }
        assert_ne!(config_id(r#"{"a":"1"}"#), config_id(r#"{"a":1}"#));
        assert_ne!(config_id(r#"{"a":[[1],2]}"#), config_id(r#"{"a":[[1,2]]}"#));
        assert_ne!(config_id(r#"{"a":[]}"#), config_id(r#"{"a":{}}"#));
    }

    #[test]
    fn json_without_a_canonical_form_is_refused() {
        assert!(matches!(config_id("{"), Err(CanonicalError::Json { .. })));
        assert!(matches!(config_id(r#"{"a":1,"a":1}"#), Err(CanonicalError::Json { .. })));
        assert!(matches!(config_id(r#"{"b":{"a":1,"a":1}}"#), Err(CanonicalError::Json { .. })));
        let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
        assert_eq!(config_id(&deep), Err(CanonicalError::TooDeep { file: "config.json" }));
    }

    #[test]
    fn a_template_has_one_id_wherever_it_is_kept() {
        let id = |config: &str, file: Option<&str>| {
            let files = TransformersFiles {
                tokenizer_config: Some(config.as_bytes()),
                chat_template: file.map(str::as_bytes),
                ..Default::default()
            };
            transformers_part_ids(&files).unwrap().template_id
        };
        let expected = gguf_part_ids(&metadata()).template_id;
        assert_eq!(id(r#"{"chat_template":"{{x}}"}"#, None), expected);
        assert_eq!(id(r#"{"chat_template":[{"name":"default","template":"{{x}}"}]}"#, None), expected);
        assert_eq!(id(r#"{"chat_template":"other"}"#, Some("{{x}}")), expected);
        assert_eq!(id(r#"{"chat_template":null}"#, None), TemplateId::ZERO);
        assert_eq!(id("{}", None), TemplateId::ZERO);
    }

    proptest! {
        #[test]
        fn hostile_json_is_read_or_refused_without_panic(text in r#"[\[\]{}",:a1\\ ]{0,40}"#) {
            let files = TransformersFiles {
                config: Some(text.as_bytes()),
                tokenizer_config: Some(text.as_bytes()),
                ..Default::default()
            };
            let read = transformers_part_ids(&files).is_ok();
            prop_assert!(!read || serde_json::from_str::<serde_json::Value>(&text).is_ok());
        }
    }
}
