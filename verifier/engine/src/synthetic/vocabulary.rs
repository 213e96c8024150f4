//! The tokens: every byte, a few merges, fillers up to a size, the control tokens.

/// How many tokens there are, and how text is split into words before merging.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vocabulary {
    /// Bytes, merges and control tokens, 265 in all; words as in GPT-2.
    Small,
    /// The same, with tokens between that no text makes, as large models have them.
    Filled {
        /// Tokens, at least the 265.
        size: usize,
        /// `tokenizer.ggml.pre`, such as `llama-bpe`.
        pre: &'static str,
    },
}

/// Merges beyond the single bytes, as pairs of tokens' texts.
const MERGES: [(&str, &str); 6] =
    [("t", "h"), ("th", "e"), ("Ġ", "the"), ("i", "n"), ("a", "n"), ("an", "d")];
const CONTROLS: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];

/// `tokenizer.ggml.token_type`: normal, control, unused (`llama_token_type`).
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const UNUSED: i32 = 5;

impl Vocabulary {
    /// The name of the rule that splits text into words.
    pub(super) const fn pre(self) -> &'static str {
        match self {
            Self::Small => "gpt-2",
            Self::Filled { pre, .. } => pre,
        }
    }

    /// Tokens.
    pub(super) fn len(self) -> usize {
        match self {
            Self::Small => 256 + MERGES.len() + CONTROLS.len(),
            Self::Filled { size, .. } => size,
        }
    }

    /// The token by which a tokenizer begins, where one does.
    pub(super) fn bos(self) -> u32 {
        (self.len() - CONTROLS.len()) as u32
    }

    /// Texts and types of the tokens.
    pub(super) fn tokens(self) -> (Vec<String>, Vec<i32>) {
        let bytes = (0..=u8::MAX).map(|byte| byte_char(byte).to_string());
        let merged = MERGES.iter().map(|(left, right)| format!("{left}{right}"));
        let mut texts: Vec<String> = bytes.chain(merged).collect();
        let mut types = vec![NORMAL; texts.len()];
        let fillers = texts.len()..self.len().saturating_sub(CONTROLS.len());
        texts.extend(fillers.map(|id| format!("[PAD{id}]")));
        types.resize(texts.len(), UNUSED);
        texts.extend(CONTROLS.map(str::to_owned));
        types.resize(texts.len(), CONTROL);
        (texts, types)
    }

    /// The merges as the metadata spells them.
    pub(super) fn merges() -> Vec<String> {
        MERGES.iter().map(|(left, right)| format!("{left} {right}")).collect()
    }
}

/// The character that stands for a byte in byte-level vocabularies: itself where it is printable, otherwise
/// the next unused one from U+0100 on (GPT-2, `bytes_to_unicode`).
fn byte_char(byte: u8) -> char {
    let printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if printable(&byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|byte| !printable(byte)).count() as u32;
    char::from_u32(0x100 + before).unwrap_or(char::REPLACEMENT_CHARACTER)
}
