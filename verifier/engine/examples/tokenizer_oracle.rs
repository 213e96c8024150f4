//! Compares tokenizers with what llama.cpp made of the same texts:
//! `cargo run --release -p assay-engine --example tokenizer_oracle -- FOLDER`.
//!
//! The folder holds, for each `NAME.gguf`, texts in `NAME.gguf.inp` and a line of tokens for each in
//! `NAME.gguf.out`, as llama.cpp keeps them in its `models` folder (`test-tokenizer-0`). Three more files are
//! compared where they are: `.prompt` has the tokens of the same texts as raw prompts, `.read` what
//! llama.cpp reads the tokens of `.out` as, in hexadecimal digits, and `.ends` the tokens that end answers.
//! `verifier/engine/tests/text/oracle.py` makes such files.

use std::error::Error;
use std::fmt::Debug;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use assay_engine::request::Prompt;
use assay_engine::text::Text;
use assay_manifest::formats::gguf::Gguf;

const SEPARATOR: &str = "\n__ggml_vocab_test__\n";
/// Differences that are shown of each kind.
const SHOWN_MAX: usize = 5;

/// A text and its tokens.
type Row = (String, Vec<u32>);

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("a folder of vocabularies is needed")?;
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "gguf"));
    paths.sort();
    let mut different = 0;
    for path in paths {
        different += check(&path)?;
    }
    if different > 0 { Err(format!("{different} differences").into()) } else { Ok(()) }
}

/// How many differences there are to the files beside a vocabulary.
fn check(path: &Path) -> Result<usize, Box<dyn Error>> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let text = match Text::from_gguf(&Gguf::parse(BufReader::new(file), length)?) {
        Ok(text) => text,
        Err(error) => {
            println!("{name}: refused: {error}");
            return Ok(0);
        }
    };
    let beside = |extension: &str| fs::read_to_string(path.with_extension(format!("gguf.{extension}"))).ok();
    println!("{name}, {}", text.definition_name());
    let texts = beside("inp").unwrap_or_default();
    let of_texts = |extension: &str| rows(&texts, &beside(extension).unwrap_or_default());
    let tokens = of_texts("out")?;
    let read = beside("read").unwrap_or_default();
    let readings = tokens.iter().zip(read.lines()).map(|((_, tokens), line)| Ok((tokens, lossy(line)?)));
    let readings = readings.collect::<Result<_, Box<dyn Error>>>()?;
    let ends =
        beside("ends").iter().map(|line| Ok(((), numbers(line)?))).collect::<Result<_, Box<dyn Error>>>()?;
    let prompt = |input: &str| text.render(&Prompt::Text(input.to_owned()), 0);
    Ok(compare("readings", readings, |tokens| Some(text.decode(tokens)))
        + compare("tokens", tokens, |input| text.encode_plain(input).ok())
        + compare("prompts", of_texts("prompt")?, |input| prompt(input).ok())
        + compare("ends", ends, |()| Some(text.eos_tokens().to_vec())))
}

/// Each text with the tokens of its line.
fn rows(texts: &str, lines: &str) -> Result<Vec<Row>, Box<dyn Error>> {
    let rows = texts.split(SEPARATOR).zip(lines.lines());
    rows.map(|(text, line)| Ok((text.to_owned(), numbers(line)?))).collect()
}

fn numbers(line: &str) -> Result<Vec<u32>, Box<dyn Error>> {
    Ok(line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
}

/// Text of bytes in hexadecimal digits.
fn lossy(digits: &str) -> Result<String, Box<dyn Error>> {
    let byte = |pair: &[u8]| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?);
    let bytes = digits.as_bytes().chunks(2).map(byte).collect::<Result<Vec<u8>, Box<dyn Error>>>()?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// How many inputs become something else than is expected.
fn compare<I: Debug, T: Debug + PartialEq>(
    what: &str,
    expected: Vec<(I, T)>,
    found: impl Fn(&I) -> Option<T>,
) -> usize {
    let count = expected.len();
    let mut different = 0;
    for (input, expected) in expected {
        let found = found(&input);
        if found.as_ref() != Some(&expected) {
            different += 1;
            if different <= SHOWN_MAX {
                println!("  {input:?}\n    expected {expected:?}\n    found    {found:?}");
            }
        }
    }
    println!("  {different} of {count} {what} differ");
    different
}
