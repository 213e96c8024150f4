//! Chat templates in the manner of known families, and the prompts that they must make.
//!
//! The expected prompts were written by hand from what the publishers document; control tokens are shown by
//! their names.

use std::fs;
use std::path::Path;

use assay_engine::request::{Message, Prompt};
use assay_engine::text::Text;
use assay_manifest::formats::gguf::{Array, Gguf, Metadata, Value};

/// 24 November 2026.
const NOW_S: u64 = 1_795_478_400;

/// A family: its template, the texts of its control tokens (the first begins a sentence, the second ends
/// one), a conversation, and its prompt.
type Case = (&'static str, &'static [&'static str], &'static [(&'static str, &'static str)], &'static str);

const TALK: [(&str, &str); 3] = [("user", "Hi "), ("assistant", " Hey!"), ("user", "What is 1<2?")];
const WITH_SYSTEM: [(&str, &str); 2] = [("system", "Be brief."), ("user", "Hi")];
const THINKING: [(&str, &str); 3] =
    [("user", "Hi"), ("assistant", "<think>\nhm\n</think>\n\nHey!"), ("user", "And?")];

const LLAMA: &[&str] = &["<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"];
const MISTRAL: &[&str] = &["<s>", "</s>", "[INST]", "[/INST]"];
const QWEN: &[&str] = &["<|endoftext|>", "<|im_end|>", "<|im_start|>"];
const GEMMA: &[&str] = &["<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"];
const PHI: &[&str] = &["<|endoftext|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"];
const PHI_4: &[&str] = &["<|endoftext|>", "<|im_end|>", "<|im_start|>", "<|im_sep|>"];
const DEEPSEEK: &[&str] = &[
    "<｜begin▁of▁sentence｜>",
    "<｜end▁of▁sentence｜>",
    "<｜User｜>",
    "<｜Assistant｜>",
    "<｜tool▁outputs▁end｜>",
];

const CASES: [Case; 14] = [
    (
        "llama-3.1",
        LLAMA,
        &TALK,
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\n\
         Today Date: 24 Nov 2026\n\n<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>\
         <|start_header_id|>assistant<|end_header_id|>\n\nHey!<|eot_id|>\
         <|start_header_id|>user<|end_header_id|>\n\nWhat is 1<2?<|eot_id|>\
         <|start_header_id|>assistant<|end_header_id|>\n\n",
    ),
    (
        "llama-3.1",
        LLAMA,
        &WITH_SYSTEM,
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\n\
         Today Date: 24 Nov 2026\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>\
         <|start_header_id|>assistant<|end_header_id|>\n\n",
    ),
    // Mixtral's too.
    ("mistral-v1", MISTRAL, &TALK, "<s>[INST] Hi  [/INST] Hey!</s>[INST] What is 1<2? [/INST]"),
    ("mistral-v3", MISTRAL, &TALK, "<s>[INST] Hi [/INST] Hey!</s>[INST] What is 1<2?[/INST]"),
    ("mistral-v3", MISTRAL, &WITH_SYSTEM, "<s>[INST] Be brief.\n\nHi[/INST]"),
    (
        "qwen2.5",
        QWEN,
        &TALK,
        "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n\
         <|im_start|>user\nHi <|im_end|>\n<|im_start|>assistant\n Hey!<|im_end|>\n\
         <|im_start|>user\nWhat is 1<2?<|im_end|>\n<|im_start|>assistant\n",
    ),
    (
        "qwen2.5",
        QWEN,
        &WITH_SYSTEM,
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
    ),
    // What was thought before the last question is left out.
    (
        "qwen3",
        QWEN,
        &THINKING,
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHey!<|im_end|>\n\
         <|im_start|>user\nAnd?<|im_end|>\n<|im_start|>assistant\n",
    ),
    (
        "gemma-3",
        GEMMA,
        &TALK,
        "<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\nHey!<end_of_turn>\n\
         <start_of_turn>user\nWhat is 1<2?<end_of_turn>\n<start_of_turn>model\n",
    ),
    (
        "gemma-3",
        GEMMA,
        &WITH_SYSTEM,
        "<bos><start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\n",
    ),
    ("phi-3.5", PHI, &WITH_SYSTEM, "<|system|>\nBe brief.<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\n"),
    // Its control tokens are made of the roles' names.
    ("phi-4-mini", PHI, &WITH_SYSTEM, "<|system|>Be brief.<|end|><|user|>Hi<|end|><|assistant|>"),
    (
        "phi-4",
        PHI_4,
        &TALK,
        "<|im_start|>user<|im_sep|>Hi <|im_end|><|im_start|>assistant<|im_sep|> Hey!<|im_end|>\
         <|im_start|>user<|im_sep|>What is 1<2?<|im_end|><|im_start|>assistant<|im_sep|>",
    ),
    (
        "deepseek-r1",
        DEEPSEEK,
        &THINKING,
        "<｜begin▁of▁sentence｜><｜User｜>Hi<｜Assistant｜>\n\nHey!<｜end▁of▁sentence｜><｜User｜>And?<｜Assistant｜><think>\n",
    ),
];

fn template(name: &str) -> String {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/text/templates").join(format!("{name}.jinja"));
    fs::read_to_string(path).unwrap()
}

/// A tokenizer of these control tokens and the bytes.
fn load(template: &str, controls: &[&str]) -> Text {
    let bytes = (0..=u8::MAX).map(|byte| format!("<0x{byte:02X}>"));
    let tokens: Vec<String> = controls.iter().map(|text| (*text).to_owned()).chain(bytes).collect();
    let kinds = std::iter::repeat_n(3, controls.len()).chain([6; 256]).collect();
    let metadata: Metadata = [
        ("ggml.model", Value::String("llama".to_owned())),
        ("ggml.tokens", Value::Array(Array::String(tokens))),
        ("ggml.token_type", Value::Array(Array::I32(kinds))),
        ("ggml.add_space_prefix", Value::Bool(false)),
        ("ggml.add_bos_token", Value::Bool(false)),
        ("ggml.bos_token_id", Value::U32(0)),
        ("ggml.eos_token_id", Value::U32(1)),
        ("chat_template", Value::String(template.to_owned())),
    ]
    .map(|(key, value)| (format!("tokenizer.{key}"), value))
    .into();
    let gguf = Gguf { version: 3, metadata, tensors: Vec::new(), alignment: 32, data_offset: 0 };
    Text::from_gguf(&gguf).unwrap()
}

/// Tokens as text, with the names of control tokens.
fn shown(text: &Text, tokens: &[u32], controls: &[&str]) -> String {
    let mut shown = String::new();
    let mut decoder = text.decoder();
    for token in tokens {
        // The vocabulary has no token for a space, and so spells its sign in bytes.
        shown.push_str(&decoder.push(text, *token).replace('\u{2581}', " "));
        shown.push_str(controls.get(*token as usize).copied().unwrap_or_default());
    }
    shown
}

fn chat(messages: &[(&str, &str)]) -> Prompt {
    let message =
        |(role, content): &(&str, &str)| Message { role: (*role).into(), content: (*content).into() };
    Prompt::Chat(messages.iter().map(message).collect())
}

#[test]
fn conversations_become_the_prompts_that_the_families_document() {
    for (name, controls, messages, expected) in CASES {
        let text = load(&template(name), controls);
        let tokens = text.render(&chat(messages), NOW_S).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(shown(&text, &tokens, controls), expected, "{name}");
        let named = tokens.iter().filter(|token| (**token as usize) < controls.len()).count();
        let expected = controls.iter().map(|control| expected.matches(control).count()).sum::<usize>();
        assert_eq!(named, expected, "{name}: control tokens");
    }
}

#[test]
fn conversations_that_a_family_does_not_know_are_refused() {
    let cases: [Case; 3] = [
        ("mistral-v1", MISTRAL, &WITH_SYSTEM, "alternate"),
        ("mistral-v3", MISTRAL, &[("assistant", "Hey!")], "alternate"),
        ("gemma-3", GEMMA, &[("user", "Hi"), ("user", "Hi")], "alternate"),
    ];
    for (name, controls, messages, cause) in cases {
        let error = load(&template(name), controls).render(&chat(messages), NOW_S).unwrap_err();
        assert!(error.to_string().contains(cause), "{name}: {error}");
    }
}
