//! The vocabulary: byte-level BPE learned from the corpus.

use crate::corpus::Document;
use crate::error::TrainerError;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::pre_tokenizers::{byte_level::ByteLevel, digits::Digits, sequence::Sequence};
use tokenizers::{
    AddedToken, DecoderWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper, Tokenizer,
    TokenizerImpl,
};

/// Ends a text.
pub const END_OF_TEXT: &str = "<|endoftext|>";
/// Begins a message (ChatML).
pub const MESSAGE_START: &str = "<|im_start|>";
/// Ends a message (ChatML).
pub const MESSAGE_END: &str = "<|im_end|>";
/// Tokens that stand for no text; their ids are their places here.
pub const SPECIAL: [&str; 3] = [END_OF_TEXT, MESSAGE_START, MESSAGE_END];

/// Learns a vocabulary of at most `size_max` tokens.
///
/// Digits are tokens of their own, so that sums can be learned. As no merge then holds a digit, llama.cpp's
/// `gpt-2` splitting, which knows nothing of this rule, gives the same tokens.
///
/// # Errors
/// When the tokenizer's trainer fails.
pub fn learn<'a>(
    documents: impl Iterator<Item = &'a Document>,
    size_max: usize,
) -> Result<Tokenizer, TrainerError> {
    let texts: Vec<&str> = documents.flat_map(texts).chain(["user", "assistant", "system", "\n"]).collect();
    let split = PreTokenizerWrapper::Sequence(Sequence::new(vec![
        PreTokenizerWrapper::Digits(Digits::new(true)),
        PreTokenizerWrapper::ByteLevel(byte_level()),
    ]));
    let mut tokenizer: TokenizerImpl<
        BPE,
        NormalizerWrapper,
        PreTokenizerWrapper,
        PostProcessorWrapper,
        DecoderWrapper,
    > = TokenizerImpl::new(BPE::default());
    tokenizer.with_pre_tokenizer(Some(split)).with_decoder(Some(DecoderWrapper::ByteLevel(byte_level())));
    let mut trainer = BpeTrainerBuilder::new()
        .vocab_size(size_max)
        .show_progress(false)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens(SPECIAL.iter().map(|token| AddedToken::from(*token, true)).collect())
        .build();
    tokenizer.train(&mut trainer, texts.into_iter()).map_err(TrainerError::Tokenizer)?;
    Ok(tokenizer.into())
}

/// Byte-level splitting as GPT-2 does it, without a space before the first word.
fn byte_level() -> ByteLevel {
    ByteLevel::new(false, true, true)
}

fn texts(document: &Document) -> Vec<&str> {
    match document {
        Document::Text(text) => vec![text],
        Document::Chat(turns) => {
            turns.iter().flat_map(|turn| [turn.question.as_str(), turn.answer.as_str()]).collect()
        }
    }
}

/// Renders a question in ChatML, up to where the answer begins.
pub fn render_question(question: &str) -> String {
    format!("{MESSAGE_START}user\n{question}{MESSAGE_END}\n{MESSAGE_START}assistant\n")
}

/// Tokens of a text.
///
/// # Errors
/// When the tokenizer fails.
pub fn encode(tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>, TrainerError> {
    let encoding = tokenizer.encode_fast(text, false).map_err(TrainerError::Tokenizer)?;
    Ok(encoding.get_ids().to_vec())
}
