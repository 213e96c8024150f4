//! The one GGUF file of a model that can be run.

use assay_engine::{WeightSource, spec_of};
use assay_manifest::formats::gguf::Gguf;
use assay_manifest::{FileEntry, Manifest, SpecId};
use assay_store::Store;

use crate::weight_file::WeightFile;

/// The file of a manifest that an engine can read.
pub fn runnable_file(manifest: &Manifest) -> Option<&FileEntry> {
    let mut files = manifest.files().iter().filter(|file| file.path.as_str().ends_with(".gguf"));
    match (files.next(), files.next()) {
        (Some(file), None) => Some(file),
        _ => None,
    }
}

/// The definitions that executions of the model follow, by its header in the store; nothing where no engine runs
/// it, or its file cannot be read.
pub fn spec_of_file(store: &Store, manifest: &Manifest) -> Option<SpecId> {
    let file = WeightFile::new(store.open_unverified(&runnable_file(manifest)?.blake3).ok()?).ok()?;
    spec_of(&Gguf::parse(file.reader(), file.size_bytes()).ok()?)
}

/// Opens the file of a model after its content was found to be what the manifest says.
///
/// # Errors
/// What is wrong, in words.
pub fn open_model(store: &Store, manifest: &Manifest) -> Result<WeightFile, String> {
    let file = runnable_file(manifest).ok_or("only models in a single GGUF file can be run")?;
    let opened = store.open_verified(&file.blake3).map_err(|error| error.to_string())?;
    WeightFile::new(opened).map_err(|error| error.to_string())
}
