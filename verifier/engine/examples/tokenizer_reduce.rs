//! Makes test vectors of a tokenizer small: it keeps the tokens and merges that the texts can be made of.
//! `cargo run -p assay-engine --example tokenizer_reduce -- FOLDER NAME... OUT`.
//!
//! For each name it reads `NAME.gguf`, `NAME.gguf.inp` and `NAME.gguf.out` of the folder (see the example
//! `tokenizer_oracle`) and writes `NAME.gguf` and `NAME.out` to OUT, with tokens numbered anew, and the texts,
//! which are the same for all names, to `texts.inp`. Every token that is part of a text is kept, so that each
//! merge that the whole tokenizer could apply is there; that both make the same of the texts is checked.

use std::collections::HashSet;
use std::error::Error;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;

use assay_engine::text::Text;
use assay_manifest::formats::gguf::{Array, Gguf, Metadata, Value, write};

const SEPARATOR: &str = "\n__ggml_vocab_test__\n";
/// How keys that name tokens end.
const TOKEN_ID: &str = "_token_id";
const SPACE: &str = "\u{2581}";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, names @ .., out] = &arguments[..] else {
        return Err("a folder and names are needed".into());
    };
    for name in names {
        reduce(Path::new(folder), name, Path::new(out))?;
    }
    Ok(())
}

fn reduce(folder: &Path, name: &str, out: &Path) -> Result<(), Box<dyn Error>> {
    let beside = |extension: &str| folder.join(format!("{name}.gguf{extension}"));
    let file = File::open(beside(""))?;
    let length = file.metadata()?.len();
    let whole = Gguf::parse(BufReader::new(file), length)?;
    let (inputs, lines) = (fs::read_to_string(beside(".inp"))?, fs::read_to_string(beside(".out"))?);
    let whole_text = Text::from_gguf(&whole)?;
    let texts = spelled(&whole, &whole_text, &inputs, &lines)?;

    let kept = kept(&whole, &texts)?;
    let numbers = numbers(whole_text.vocab_size() as usize, &kept);
    let metadata = reduced(&whole, &kept, &numbers)?;
    let mut bytes = Vec::new();
    write(&mut bytes, &metadata, &[])?;
    let text = Text::from_gguf(&Gguf::parse(&bytes[..], bytes.len() as u64)?)?;
    let mut renumbered = String::new();
    for (input, line) in inputs.split(SEPARATOR).zip(lines.lines()) {
        let expected = line.split_whitespace().map(str::parse).collect::<Result<Vec<usize>, _>>()?;
        let expected = expected.iter().map(|id| numbers[*id]).collect::<Option<Vec<u32>>>();
        let expected = expected.ok_or("a token of the text is left out")?;
        if text.encode_plain(input)? != expected {
            return Err(format!("{name}: the reduced tokenizer makes something else of {input:?}").into());
        }
        let ids: Vec<String> = expected.iter().map(u32::to_string).collect();
        writeln!(renumbered, "{}", ids.join(" "))?;
    }
    println!("{name}: {} tokens, {} bytes", text.vocab_size(), bytes.len());
    let into = |file: String| out.join(file.trim_start_matches("ggml-vocab-"));
    fs::write(into(format!("{name}.gguf")), bytes)?;
    fs::write(into(format!("{name}.out")), renumbered)?;
    Ok(fs::write(into("texts.inp".to_owned()), inputs)?)
}

/// The texts as tokens spell them.
fn spelled(gguf: &Gguf, text: &Text, inputs: &str, lines: &str) -> Result<String, Box<dyn Error>> {
    Ok(match gguf.require::<&str>("tokenizer.ggml.model")? {
        "gpt2" => inputs.bytes().map(byte_char).collect(),
        "llama" => {
            inputs.split(SEPARATOR).map(|input| [SPACE, &input.replace(' ', SPACE), "\n"].concat()).collect()
        }
        // Words change before they are cut, so that what their tokens read as is searched.
        _ => text.decode(&lines.split_whitespace().map(str::parse).collect::<Result<Vec<u32>, _>>()?),
    })
}

/// The new number of each token that is kept.
fn numbers(count: usize, kept: &[usize]) -> Vec<Option<u32>> {
    let mut numbers = vec![None; count];
    for (number, id) in (0u32..).zip(kept) {
        numbers[*id] = Some(number);
    }
    numbers
}

/// The metadata with the tokens that are kept.
fn reduced(gguf: &Gguf, kept: &[usize], numbers: &[Option<u32>]) -> Result<Metadata, Box<dyn Error>> {
    let tokens: &[String] = gguf.require("tokenizer.ggml.tokens")?;
    let known: HashSet<&str> = kept.iter().map(|id| &*tokens[*id]).collect();
    let mut metadata = gguf.metadata.clone();
    metadata.retain(|key, _| !key.starts_with("tokenizer.chat_template"));
    for (key, value) in &mut metadata {
        match value {
            Value::U32(id) if key.ends_with(TOKEN_ID) => *id = numbers[*id as usize].unwrap_or_default(),
            Value::Array(Array::String(lines)) if key.ends_with(".merges") => {
                lines.retain(|line| known.contains(&*line.replacen(' ', "", 1)));
            }
            Value::Array(Array::String(items)) => pick(items, kept),
            Value::Array(Array::I32(items)) => pick(items, kept),
            Value::Array(Array::F32(items)) => pick(items, kept),
            _ => {}
        }
    }
    Ok(metadata)
}

fn pick<T: Clone>(items: &mut Vec<T>, kept: &[usize]) {
    *items = kept.iter().map(|id| items[*id].clone()).collect();
}

/// The tokens that are kept: those in the texts, those of bytes, and those that keys name.
fn kept(gguf: &Gguf, texts: &str) -> Result<Vec<usize>, Box<dyn Error>> {
    let tokens: &[String] = gguf.require("tokenizer.ggml.tokens")?;
    let kinds: &[i32] = gguf.require("tokenizer.ggml.token_type")?;
    let is_bytes = gguf.get("tokenizer.ggml.merges").is_some();
    let is_words = gguf.get("tokenizer.ggml.scores").is_none() && !is_bytes;
    let named: HashSet<usize> = gguf
        .metadata
        .iter()
        .filter(|(key, _)| key.ends_with(TOKEN_ID))
        .filter_map(|(_, value)| if let Value::U32(id) = value { Some(*id as usize) } else { None })
        .collect();
    let keep = |id: &usize| {
        let text = &*tokens[*id];
        let is_byte = kinds[*id] == 6 || (is_bytes && text.chars().count() == 1);
        // The mark of a word's beginning is a token of its own, and is not in the texts.
        let core = text.strip_prefix(SPACE).filter(|_| is_words).unwrap_or(text);
        is_byte || named.contains(id) || texts.contains(core)
    };
    Ok((0..tokens.len()).filter(keep).collect())
}

/// GPT-2's printable character for a byte.
fn byte_char(byte: u8) -> char {
    let is_printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if is_printable(&byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|byte| !is_printable(byte)).count() as u32;
    char::from_u32(0x100 + before).unwrap_or(char::REPLACEMENT_CHARACTER)
}
