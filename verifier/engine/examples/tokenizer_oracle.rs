//! Compares tokenizers with what llama.cpp made of the same texts:
//! `cargo run --release -p assay-engine --example tokenizer_oracle -- FOLDER`.
//!
//! The folder holds, for each `NAME.gguf`, texts in `NAME.gguf.inp` and a line of tokens for each in
//! `NAME.gguf.out`, as llama.cpp keeps them in its `models` folder (`test-tokenizer-0`). Where there is a
//! `NAME.gguf.read`, its lines are what llama.cpp reads the tokens as, in hexadecimal digits. Files of this
//! kind are made for any text by `verifier/engine/tests/text/oracle.py`.

use std::error::Error;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use assay_engine::text::Text;
use assay_manifest::formats::gguf::Gguf;

const SEPARATOR: &str = "\n__ggml_vocab_test__\n";
/// Differences that are shown of each tokenizer.
const SHOWN_MAX: usize = 5;

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
    if different > 0 { Err(format!("{different} texts differ").into()) } else { Ok(()) }
}

/// How many texts become other tokens, or read as something else.
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
    let beside = |extension: &str| path.with_extension(format!("gguf.{extension}"));
    let (Ok(texts), Ok(lines)) = (fs::read_to_string(beside("inp")), fs::read_to_string(beside("out"))) else {
        println!("{name}: nothing to compare with");
        return Ok(0);
    };
    let read = fs::read_to_string(beside("read")).ok();
    let mut readings = read.as_deref().map(str::lines);
    let (mut count, mut different) = (0, 0);
    for (input, line) in texts.split(SEPARATOR).zip(lines.lines()) {
        let expected = line.split_whitespace().map(str::parse).collect::<Result<Vec<u32>, _>>()?;
        let found = text.encode_plain(input)?;
        let decoded = text.decode(&expected);
        let reading = readings.as_mut().and_then(Iterator::next).map(lossy).transpose()?;
        let is_read = reading.as_ref().is_none_or(|reading| *reading == decoded);
        count += 1;
        if found != expected || !is_read {
            different += 1;
            if different <= SHOWN_MAX {
                println!("{name}: {input:?}\n  expected {expected:?}\n  found    {found:?}");
                println!("  reads as {reading:?}\n  here     {decoded:?}");
            }
        }
    }
    println!("{name} ({}): {different} of {count} texts differ", text.definition_name());
    Ok(different)
}

/// Text of bytes in hexadecimal digits.
fn lossy(digits: &str) -> Result<String, Box<dyn Error>> {
    let byte = |pair: &[u8]| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?);
    let bytes = digits.as_bytes().chunks(2).map(byte).collect::<Result<Vec<u8>, Box<dyn Error>>>()?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
