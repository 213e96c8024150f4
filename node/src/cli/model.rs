//! `assay model`: register models, look them up, repeat a quantisation.

use std::fs;
use std::path::{Path, PathBuf};

use assay_lineage::{GgufType, TransformersSource, gguf_from_transformers};
use assay_manifest::{ArtifactKind, Digest32, sha256};
use clap::{Args, Subcommand};
use indicatif::HumanBytes;
use serde::Serialize;

use super::artifact::{Commit, Commitments, List, Register, Show};
use super::context::Context;
use super::failure::{Exit, Failure};
use super::{progress, table};

/// What is to be done with models.
#[derive(Debug, Subcommand)]
pub enum ModelCommand {
    /// Import files into the node's store and register them on the ledger.
    Register(Register),
    /// Commit to files before you register them, to show later since when you had them.
    Commit(Commit),
    /// List commitments that are not opened, or give one up.
    Commitments(Commitments),
    /// Show what ledger and node know of a model.
    Show(Show),
    /// List registered models, or those that the node has.
    List(List),
    /// Make a GGUF file of a safetensors directory, as the lineage check does; needs no node.
    Quantize(Quantize),
}

impl ModelCommand {
    /// Does it.
    ///
    /// # Errors
    /// [`Failure`] when the node or the ledger refuses, or the files are no such model.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Register(register) => register.run(context, ArtifactKind::Model).await,
            Self::Commit(commit) => commit.run(context, ArtifactKind::Model).await,
            Self::Commitments(commitments) => commitments.run(context).await,
            Self::Show(show) => show.run(context).await,
            Self::List(list) => list.run(context, ArtifactKind::Model).await,
            Self::Quantize(quantize) => tokio::task::block_in_place(|| quantize.run(context)),
        }
    }
}

/// Arguments of `assay model quantize`.
#[derive(Debug, Args)]
pub struct Quantize {
    /// Directory with config.json, tokenizer.json, tokenizer_config.json and model.safetensors.
    dir: PathBuf,
    /// Type of the matrices: f32, f16, q8_0 or q4_0.
    #[arg(long = "type", value_name = "TYPE", value_parser = parse_type)]
    gguf_type: GgufType,
    /// Where the GGUF file goes; an existing file is not overwritten.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

fn parse_type(text: &str) -> Result<GgufType, String> {
    let found = GgufType::ALL.into_iter().find(|known| known.dtype().name().eq_ignore_ascii_case(text));
    found.ok_or_else(|| format!("the types are f32, f16, q8_0 and q4_0, not {text:?}"))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Quantized {
    file: PathBuf,
    size_bytes: u64,
    sha256: Digest32,
}

impl Quantize {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let spinner = progress::spinner(context.output(), "quantising");
        let made = self.gguf();
        spinner.finish_and_clear();
        let gguf = made?;
        write_new(&self.out, &gguf)?;
        let quantized = Quantized { file: self.out, size_bytes: gguf.len() as u64, sha256: sha256(&gguf) };
        context.output().result(&quantized, |quantized| {
            table::fields(&[
                ("file", quantized.file.display().to_string()),
                ("size", HumanBytes(quantized.size_bytes).to_string()),
                ("sha256", quantized.sha256.to_string()),
            ])
        })?;
        Ok(())
    }

    fn gguf(&self) -> Result<Vec<u8>, Failure> {
        let files = read_files(&self.dir)?;
        let named = files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
        let source = TransformersSource::from_files(named).map_err(Failure::usage)?;
        gguf_from_transformers(&source, self.gguf_type).map_err(Failure::usage)
    }
}

fn read_files(dir: &Path) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let failed = |path: &Path, error: std::io::Error| {
        Failure::usage(format!("reading {}: {error}", path.display()))
            .hint("name a directory as transformers writes it")
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(|error| failed(dir, error))? {
        let path = entry.map_err(|error| failed(dir, error))?.path();
        if let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|_| path.is_file()) {
            files.push((name.to_owned(), fs::read(&path).map_err(|error| failed(&path, error))?));
        }
    }
    Ok(files)
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let created = fs::OpenOptions::new().write(true).create_new(true).open(path);
    let written = created.and_then(|mut file| {
        std::io::Write::write_all(&mut file, bytes)?;
        file.sync_all()
    });
    written.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Failure::usage(format!("writing {}: {error}", path.display()))
            .hint("choose another file with --out"),
        _ => Failure::new(Exit::Internal, format!("writing {}: {error}", path.display())),
    })
}
