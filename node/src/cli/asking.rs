//! How a model is asked, wherever it runs.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use assay_manifest::Digest32;
use assay_protocol::request::{F32, Message, Prompt, Sampler};
use clap::Args;

use super::failure::Failure;

/// What is asked.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Question {
    /// What to ask. Other users of this machine can read it while the command runs, and a shell keeps it.
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,
    /// File that holds what to ask; `-` for standard input.
    #[arg(long, value_name = "FILE")]
    prompt_file: Option<PathBuf>,
}

impl Question {
    /// The longest prompt that is read: more than any model attends to.
    const BYTES_MAX: u64 = 4 * 1024 * 1024;

    /// What is asked; a last line's end is no part of it.
    ///
    /// # Errors
    /// [`Failure`] when the file cannot be read, is too long, or is no text.
    pub fn text(&self) -> Result<String, Failure> {
        let Some(path) = &self.prompt_file else { return Ok(self.prompt.clone().unwrap_or_default()) };
        let mut text = String::new();
        let limit = Self::BYTES_MAX.saturating_add(1);
        let read = match path.to_str() {
            Some("-") => io::stdin().lock().take(limit).read_to_string(&mut text),
            _ => File::open(path).and_then(|file| file.take(limit).read_to_string(&mut text)),
        };
        let named = || format!("reading the prompt {}", path.display());
        read.map_err(|error| Failure::usage(format!("{}: {error}", named())))?;
        if text.len() as u64 > Self::BYTES_MAX {
            let cause = format!("{}: it has more than {} bytes", named(), Self::BYTES_MAX);
            return Err(Failure::usage(cause).hint("shorten the prompt"));
        }
        let end = text.trim_end_matches(['\r', '\n']).len();
        text.truncate(end);
        Ok(text)
    }
}

/// How an answer is sampled, and when it stops.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Sampling")]
pub struct Asking {
    /// Instruction that comes before the prompt.
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    /// Continue the prompt as it stands, without the model's chat template.
    #[arg(long, conflicts_with = "system")]
    pub raw: bool,
    /// The most tokens to generate.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_tokens: u32,
    /// Seed of the sampler: a number, or 64 hex digits.
    #[arg(long, value_parser = parse_seed)]
    pub seed: Option<Digest32>,
    /// 0 takes the most likely token; above, the higher the more varied.
    #[arg(long, value_name = "X", default_value_t = 0.0, value_parser = parse_temperature)]
    pub temperature: f32,
    /// Choose among the K most likely tokens; 0 for all.
    #[arg(long, value_name = "K", default_value_t = 0)]
    pub top_k: u32,
    /// Choose among the fewest tokens that together have this probability; 1 for all.
    #[arg(long, value_name = "P", default_value_t = 1.0, value_parser = parse_share)]
    pub top_p: f32,
    /// Leave out tokens less likely than this share of the likeliest; 0 for none.
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = parse_share)]
    pub min_p: f32,
    /// Text that ends the answer; may be given several times.
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
}

impl Asking {
    /// The prompt that `text` makes: a conversation unless it is raw.
    pub fn prompt(&self, text: String) -> Prompt {
        if self.raw {
            return Prompt::Text(text);
        }
        let system = self.system.iter().map(|text| message("system", text.clone()));
        Prompt::Chat(system.chain([message("user", text)]).collect())
    }

    /// How tokens are chosen.
    pub fn sampler(&self) -> Sampler {
        Sampler {
            temperature: F32::new(self.temperature),
            top_k: self.top_k,
            top_p: F32::new(self.top_p),
            min_p: F32::new(self.min_p),
            ..Sampler::greedy()
        }
    }

    /// The sampler's seed, if one was named.
    pub const fn seed(&self) -> Option<Digest32> {
        self.seed
    }
}

/// A conversation that begins with `text`.
pub fn question(text: String) -> Prompt {
    Prompt::Chat(vec![message("user", text)])
}

fn message(role: &str, content: String) -> Message {
    Message { role: role.into(), content }
}

/// A number stands for the seed that begins with its eight little-endian bytes and goes on with zeros.
fn parse_seed(text: &str) -> Result<Digest32, String> {
    if let Ok(number) = text.parse::<u64>() {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&number.to_le_bytes());
        return Ok(Digest32::from_bytes(seed));
    }
    text.parse().map_err(|_| format!("{text:?} is neither a number below 2^64 nor 64 hex digits"))
}

fn parse_temperature(text: &str) -> Result<f32, String> {
    let parsed = text.parse().ok().filter(|value: &f32| value.is_finite() && *value >= 0.0);
    parsed.ok_or_else(|| format!("{text:?} is not a number from 0 up"))
}

fn parse_share(text: &str) -> Result<f32, String> {
    let parsed = text.parse().ok().filter(|value: &f32| (0.0..=1.0).contains(value));
    parsed.ok_or_else(|| format!("{text:?} is not a number from 0 to 1"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        asking: Asking,
    }

    fn parse(line: &str) -> Result<Asking, clap::Error> {
        Line::try_parse_from(std::iter::once("x").chain(line.split_whitespace())).map(|line| line.asking)
    }

    #[test]
    fn a_prompt_is_a_conversation_unless_it_is_raw() {
        let Prompt::Chat(messages) = parse("--system brief").unwrap().prompt("hi".into()) else {
            panic!("not a conversation");
        };
        assert_eq!(messages.iter().map(|m| m.role.as_str()).collect::<Vec<_>>(), ["system", "user"]);
        assert_eq!(parse("--raw").unwrap().prompt("hi".into()), Prompt::Text("hi".into()));
        assert!(parse("--raw --system brief").is_err());
    }

    #[test]
    fn seeds_are_numbers_or_digits() {
        assert_eq!(parse_seed("258").unwrap().as_bytes()[..3], [2, 1, 0]);
        let digits = Digest32::from_bytes([7; 32]).to_string();
        assert_eq!(parse_seed(&digits), Ok(Digest32::from_bytes([7; 32])));
        assert!(parse_seed("twelve").is_err());
        assert!(parse("--temperature NaN").is_err());
        assert!(parse("--temperature=-1").is_err());
        assert!(parse("--max-tokens 0").is_err());
        assert!(parse("--top-p 1.5").is_err() && parse("--min-p NaN").is_err());
        let sampler = parse("--top-p 0.5 --min-p 0.25").unwrap().sampler();
        assert_eq!((sampler.top_p.get(), sampler.min_p.get()), (0.5, 0.25));
    }

    #[derive(Parser)]
    struct Asked {
        #[command(flatten)]
        question: Question,
    }

    #[test]
    fn a_prompt_comes_from_the_command_line_or_from_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("prompt.txt");
        std::fs::write(&path, "What is 1 + 1?\n").unwrap();
        let path = path.to_str().unwrap();
        let text = |rest: &[&str]| {
            Asked::try_parse_from([&["assay"], rest].concat()).map(|asked| asked.question.text())
        };
        assert_eq!(text(&["--prompt", "Hello\n"]).unwrap().unwrap(), "Hello\n");
        assert_eq!(text(&["--prompt-file", path]).unwrap().unwrap(), "What is 1 + 1?");
        assert!(text(&[]).is_err() && text(&["--prompt", "a", "--prompt-file", path]).is_err());
        let missing = text(&["--prompt-file", "/nonexistent"]).unwrap().unwrap_err();
        assert!(missing.cause().contains("/nonexistent"), "{missing:?}");
        std::fs::write(path, [0xff, 0xfe]).unwrap();
        assert!(text(&["--prompt-file", path]).unwrap().is_err(), "no text");
    }
}
