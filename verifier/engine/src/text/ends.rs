//! The tokens that end an answer.

use assay_manifest::formats::gguf::Gguf;

use super::TextError;
use super::family::Ids;
use super::vocab::Vocab;

/// Keys of tokens that end an answer.
const KEYS: [&str; 3] =
    ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"];

/// Texts of tokens that end an answer in the models that have them: converters often name only one of a
/// model's two. The list of llama.cpp (`special_eog_ids`).
const TEXTS: [&str; 22] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
];

/// Tokens of completion within a text, which end it too: the key, and the texts that stand for it where the
/// key is missing.
const FILLS: [(&str, &[&str]); 3] = [
    ("tokenizer.ggml.fim_pad_token_id", &["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"]),
    (
        "tokenizer.ggml.fim_rep_token_id",
        &["<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"],
    ),
    ("tokenizer.ggml.fim_sep_token_id", &["<|file_sep|>"]),
];

/// Whether a token with this text ends answers.
pub(super) fn is_end_text(text: &str) -> bool {
    TEXTS.contains(&text)
}

/// The tokens that end an answer, ascending.
pub(super) fn end_tokens(gguf: &Gguf, vocab: &Vocab, ids: &Ids<'_>) -> Result<Vec<u32>, TextError> {
    let named = |texts: &[&str]| vocab.named(texts).map(|(_, id)| id).collect::<Vec<_>>();
    let mut ends = named(&TEXTS);
    for key in KEYS {
        ends.extend(ids.token(key)?);
    }
    for (key, texts) in FILLS {
        match gguf.get(key) {
            Some(_) => ends.extend(ids.token(key)?),
            None => ends.extend(named(texts)),
        }
    }
    // Models of `<|call|>` go on after `<|end|>`, and in those of `<|tool_response>` `</s>` is a plain word.
    let texts: Vec<&str> = ends.iter().filter_map(|id| vocab.text(*id)).collect();
    let has = |text: &str| texts.contains(&text);
    let calls =
        (has("<|return|>") && has("<|call|>")) || (has("<|flush|>") && (has("<|call|>") || has("<|calls|>")));
    let plain_s = has("<|tool_response>") || has("<|plamo:eos|>");
    ends.retain(|id| match vocab.text(*id) {
        Some("<|end|>") => !calls,
        Some("</s>") => !plain_s,
        _ => true,
    });
    ends.sort_unstable();
    ends.dedup();
    Ok(ends)
}
