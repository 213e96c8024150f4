//! How text is split into words before merging, by `tokenizer.ggml.pre`.

use tokenizers::utils::SysRegex;

use super::{RenderError, TextError};

/// One pass over the text that earlier passes left in pieces; each piece is looked at by itself.
#[derive(Clone, Copy, Debug)]
enum Pass {
    /// Every character is in a match; each match is a piece.
    Cover(&'static str),
    /// Matches become pieces of their own, and so does what is between them.
    Isolate(&'static str),
}

use Pass::{Cover, Isolate};

/// A way of splitting, and what llama.cpp ties to its name.
struct Rule {
    /// Values of `tokenizer.ggml.pre`.
    names: &'static [&'static str],
    passes: &'static [Pass],
    /// Whether a word that is a token is that token, whatever the merges say (`ignore_merges`).
    whole_words: bool,
    /// Whether prompts begin with the first token when the metadata does not say so.
    adds_bos: bool,
}

/// `encoder.py` of GPT-2.
const GPT2: Pass = Cover(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+");
/// `tokenizer.json` of Llama 3.
const LLAMA3: Pass = Cover(concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
));
/// `tokenizer.json` of Qwen2: as Llama 3, but for single digits.
const QWEN2: Pass = Cover(concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
));
/// `tokenizer.json` of Qwen3.5: marks belong to words.
const QWEN35: Pass = Cover(concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}",
    r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
));
/// Mistral's Tekken as llama.cpp states it: only letters of ASCII have case.
const TEKKEN: Pass = Cover(concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{L}&&[^a-z]]*[\p{L}&&[^A-Z]]+",
    r"|[^\r\n\p{L}\p{N}]?[\p{L}&&[^a-z]]+[\p{L}&&[^A-Z]]*|\p{N}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
));
/// `o200k_base` as llama.cpp states it: only letters of ASCII have case.
const GPT4O: Pass = Cover(concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{L}&&[^a-z]]*[\p{L}&&[^A-Z]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"|[^\r\n\p{L}\p{N}]?[\p{L}&&[^a-z]]+[\p{L}&&[^A-Z]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
));
/// A single digit.
const DIGIT: Pass = Isolate(r"\p{N}");
/// Chinese characters and Japanese syllables, of DeepSeek-V3.
const HAN_KANA: Pass = Isolate(r"[\u4e00-\u9fa5\u3040-\u30ff]+");
/// Characters of East Asia, of the first DeepSeek models; no white space is one, as llama.cpp has it.
const EAST_ASIA: Pass = Isolate(r"[[\u0800-\u9fa5\uac00-\ud7ff]--\s]+");
/// `tokenizer.json` of DeepSeek-V3. The last part covers what its publisher's expression leaves out.
const DEEPSEEK_V3: Pass = Cover(concat!(
    r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"##,
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+|(?:[^\s\p{L}\p{M}\p{P}\p{S}](?![\p{L}\p{M}]))+"
));
/// Words of letters with case, of the first DeepSeek model, as its `tokenizer.json` lists them.
const DEEPSEEK_CASED: Pass = Isolate(concat!(
    r"\s?[A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af",
    r"\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5",
    r"\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba",
    r"\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45",
    r"\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe",
    r"\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc",
    r"\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139",
    r"\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3",
    r"\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06",
    r"\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3",
    r"\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df",
    r"\U0001e900-\U0001e943]+"
));
/// Words between marks of several scripts, of BLOOM.
const BLOOM: Pass = Isolate(r" ?[^(\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+");

/// Every way of splitting that is defined, by the names that llama.cpp gives them (`llama-vocab.cpp` in
/// llama-cpp-python 0.3.36).
const RULES: &[Rule] = &[
    plain(
        &["gpt-2", "phi-2", "gigachat", "a.x-4.0", "mellum", "mpt", "olmo", "jais", "trillion", "exaone4"],
        &[GPT2],
    ),
    plain(&["granite-docling"], &[GPT2]),
    Rule {
        names: &[
            "llama-bpe",
            "llama3",
            "llama-v3",
            "falcon3",
            "falcon-h1",
            "pixtral",
            "midm-2.0",
            "lfm2",
            "jina-v5-nano",
        ],
        passes: &[LLAMA3],
        whole_words: true,
        adds_bos: true,
    },
    plain(&["dbrx", "smaug-bpe", "chatglm-bpe"], &[LLAMA3]),
    whole_words(&["glm4", "glm5"], &[LLAMA3]),
    plain(
        &[
            "qwen2",
            "deepseek-r1-qwen",
            "kormo",
            "f2llmv2",
            "megrez",
            "stablelm2",
            "hunyuan",
            "solar-open",
            "grok-2",
        ],
        &[QWEN2],
    ),
    plain(&["qwen35"], &[QWEN35]),
    plain(&["laguna"], &[Isolate(r"\n+"), QWEN2]),
    plain(
        &["starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2"],
        &[DIGIT, GPT2],
    ),
    plain(&["falcon"], &[Isolate(r"[\p{P}\$\+<=>\^~\|`]+"), GPT2, Isolate(r"[0-9][0-9][0-9]")]),
    plain(
        &["deepseek-llm"],
        &[
            Isolate(r"[\r\n]"),
            DEEPSEEK_CASED,
            // Without U+3000, which is white space to llama.cpp.
            Isolate(r"\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3001\u3002]+"),
            Isolate(r"\s+$"),
            EAST_ASIA,
            Isolate(r"\p{N}+"),
        ],
    ),
    plain(
        &["deepseek-coder"],
        &[Isolate(r"[\r\n]"), Isolate(r"\s?\p{L}+"), Isolate(r"\s?\p{P}+"), EAST_ASIA, DIGIT],
    ),
    plain(
        &["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"],
        &[Isolate(r"\p{N}{1,3}"), HAN_KANA, DEEPSEEK_V3],
    ),
    Rule { names: &["tekken"], passes: &[TEKKEN], whole_words: true, adds_bos: true },
    plain(&["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"], &[GPT4O]),
    plain(&["bloom", "gpt3-finnish", "poro-chat"], &[BLOOM]),
    plain(&["viking"], &[BLOOM, DIGIT]),
    plain(
        &["seed-coder"],
        &[Cover(concat!(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
            r"| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+"
        ))],
    ),
    plain(
        &["bailingmoe", "bailingmoe2", "llada-moe"],
        &[Cover(concat!(
            r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
            r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
        ))],
    ),
    plain(
        &["ufakzeka"],
        &[Cover(concat!(
            r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
            r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        ))],
    ),
    whole_words(
        &["minicpm5"],
        &[
            Isolate(r"\p{N}{1,3}"),
            Cover(concat!(
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+",
                r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
            )),
        ],
    ),
];

const fn plain(names: &'static [&'static str], passes: &'static [Pass]) -> Rule {
    Rule { names, passes, whole_words: false, adds_bos: false }
}

const fn whole_words(names: &'static [&'static str], passes: &'static [Pass]) -> Rule {
    Rule { names, passes, whole_words: true, adds_bos: false }
}

/// Splits text into the words within which tokens are merged.
pub(super) struct Splitter {
    rule: &'static Rule,
    passes: Vec<(SysRegex, Pass)>,
}

impl Splitter {
    /// The way of splitting with this name.
    pub(super) fn new(name: &str) -> Result<Self, TextError> {
        let rule = RULES.iter().find(|rule| rule.names.contains(&name));
        let rule = rule.ok_or_else(|| TextError::PreTokenizer { name: name.to_owned() })?;
        let compile = |pass: &Pass| {
            let (Cover(expression) | Isolate(expression)) = *pass;
            let regex = SysRegex::new(expression).map_err(|error| TextError::Library(error.to_string()))?;
            Ok((regex, *pass))
        };
        let passes = rule.passes.iter().map(compile).collect::<Result<_, TextError>>()?;
        Ok(Self { rule, passes })
    }

    /// Whether a word that is a token is that token, whatever the merges say.
    pub(super) fn takes_whole_words(&self) -> bool {
        self.rule.whole_words
    }

    /// Whether prompts begin with the first token when the metadata does not say so.
    pub(super) fn adds_bos(&self) -> bool {
        self.rule.adds_bos
    }

    /// The words of a text; together they are the whole of it.
    pub(super) fn words<'t>(&self, text: &'t str) -> Result<Vec<&'t str>, RenderError> {
        let mut pieces = vec![text];
        for (regex, pass) in &self.passes {
            let mut cut = Vec::with_capacity(pieces.len());
            for piece in pieces {
                match pass {
                    Cover(_) => cover(regex, piece, &mut cut)?,
                    Isolate(_) => isolate(regex, piece, &mut cut),
                }
            }
            pieces = cut;
        }
        Ok(pieces)
    }
}

fn cover<'t>(regex: &SysRegex, piece: &'t str, words: &mut Vec<&'t str>) -> Result<(), RenderError> {
    let mut done = 0;
    for (start, end) in regex.find_iter(piece) {
        if start != done {
            break;
        }
        words.push(&piece[start..end]);
        done = end;
    }
    // The expression covers everything, so a gap is a match that gave up at its limit of steps.
    if done < piece.len() { Err(RenderError::Split { at: done }) } else { Ok(()) }
}

/// These expressions look neither ahead nor back, so that finding a match cannot give up.
fn isolate<'t>(regex: &SysRegex, piece: &'t str, words: &mut Vec<&'t str>) {
    let mut done = 0;
    for (start, end) in regex.find_iter(piece) {
        words.extend((done < start).then(|| &piece[done..start]));
        words.push(&piece[start..end]);
        done = end;
    }
    words.extend((done < piece.len()).then(|| &piece[done..]));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words<'t>(name: &str, text: &'t str) -> Vec<&'t str> {
        Splitter::new(name).unwrap().words(text).unwrap()
    }

    #[test]
    fn every_name_is_there_once_and_covers_every_character() {
        let names: Vec<&str> = RULES.iter().flat_map(|rule| rule.names).copied().collect();
        let different: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(different.len(), names.len());
        // One character of each plane's kinds: letters, marks, digits, signs, white space, controls, unassigned.
        let text =
            "aB 12\t\r\n\u{301}é中한ก๑١!$\u{85}\u{a0}\u{3000}\0\u{7f}\u{200d}🦙\u{e000}\u{10ffff}\u{378}'s";
        let mixed: String = text.chars().flat_map(|c| [c, 'x', c, ' ', c, c]).collect();
        for name in names {
            assert_eq!(words(name, &mixed).concat(), mixed, "{name}");
        }
        assert!(matches!(Splitter::new("default"), Err(TextError::PreTokenizer { .. })));
    }

    #[test]
    fn words_are_those_of_the_publishers() {
        let cases: [(&str, &str, &[&str]); 10] = [
            ("gpt-2", "I'm  here 123", &["I", "'m", " ", " here", " 123"]),
            ("llama-bpe", "I'M  here 1234\n\n", &["I", "'M", " ", " here", " ", "123", "4", "\n\n"]),
            ("qwen2", "a 12", &["a", " ", "1", "2"]),
            ("starcoder", "v 12", &["v", " ", "1", "2"]),
            ("falcon", "x==1234", &["x", "==", "123", "4"]),
            ("deepseek-coder", "ab 1中文", &["ab", " ", "1", "中文"]),
            ("deepseek-llm", "ab\n1中文 ", &["ab", "\n", "1", "中文", " "]),
            ("deepseek-v3", "\u{1}\u{2}a(b", &["\u{1}", "\u{2}a", "(b"]),
            ("tekken", "camelCase HTTPServer", &["camel", "Case", " HTTPServer"]),
            ("gpt-4o", "don't 1234", &["don't", " ", "123", "4"]),
        ];
        for (name, text, expected) in cases {
            assert_eq!(words(name, text), expected, "{name}");
        }
    }
}
