//! The corpus as files, and the manifest that names them.

use super::{Document, DocumentKind, documents, held_out};
use crate::error::TrainerError;
use assay_manifest::{Digest32, FileEntry, Manifest, sha256};
use serde::Serialize;
use std::path::Path;

/// Name of the file with the evaluation's questions.
const HELD_OUT_FILE: &str = "heldout.jsonl";

/// Generates the corpus into `dir`, a file a kind and the held-out questions, and returns its manifest.
///
/// # Errors
/// When a file cannot be written.
pub fn write(seed: u64, dir: &Path) -> Result<Manifest, TrainerError> {
    let mut entries = Vec::new();
    for kind in DocumentKind::ALL {
        entries.push(write_file(dir, &file_name(kind), &documents(seed, kind))?);
    }
    entries.push(write_file(dir, HELD_OUT_FILE, &held_out(seed))?);
    Ok(Manifest::dataset(entries)?)
}

/// Reads the documents of one kind from `dir`, and checks them against the manifest.
///
/// # Errors
/// When the file cannot be read or is not the one in the manifest.
pub fn read(dir: &Path, kind: DocumentKind, manifest: &Manifest) -> Result<Vec<Document>, TrainerError> {
    let name = file_name(kind);
    let path = dir.join(&name);
    let bytes = std::fs::read(&path).map_err(TrainerError::io("reading", &path))?;
    if !manifest.files().contains(&entry(&name, &bytes)?) {
        return Err(TrainerError::NotInDataset { path });
    }
    bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).map_err(TrainerError::json(&path)))
        .collect()
}

fn file_name(kind: DocumentKind) -> String {
    format!("{}.jsonl", kind.name())
}

fn write_file<T: Serialize>(dir: &Path, name: &str, records: &[T]) -> Result<FileEntry, TrainerError> {
    let path = dir.join(name);
    let mut bytes = Vec::new();
    for record in records {
        serde_json::to_writer(&mut bytes, record).map_err(TrainerError::json(&path))?;
        bytes.push(b'\n');
    }
    std::fs::write(&path, &bytes).map_err(TrainerError::io("writing", &path))?;
    entry(name, &bytes)
}

fn entry(name: &str, bytes: &[u8]) -> Result<FileEntry, TrainerError> {
    Ok(FileEntry {
        path: name.parse()?,
        size: bytes.len() as u64,
        sha256: sha256(bytes),
        blake3: Digest32::from_bytes(*blake3::hash(bytes).as_bytes()),
    })
}
