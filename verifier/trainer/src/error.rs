//! What can go wrong in the trainer.

use assay_manifest::formats::safetensors::SafetensorsError;
use assay_manifest::manifest::ManifestError;
use assay_manifest::path::PathError;
use std::io;
use std::path::{Path, PathBuf};

/// A step that failed, saying what was attempted.
#[derive(Debug, thiserror::Error)]
pub enum TrainerError {
    /// A file could not be read or written.
    #[error("{doing} {path}: {source}")]
    Io {
        /// `reading` or `writing`.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file does not hold the JSON that it should.
    #[error("reading {path}: {source}")]
    Json {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: serde_json::Error,
    },
    /// A corpus file differs from the one that the dataset's manifest names.
    #[error("checking {path}: the dataset's manifest names other content")]
    NotInDataset {
        /// The file.
        path: PathBuf,
    },
    /// The corpus is not the dataset that the recipe names.
    #[error("checking the corpus: it is dataset {found}, the recipe names {expected}")]
    WrongDataset {
        /// The dataset in the recipe.
        expected: assay_manifest::ArtifactId,
        /// The dataset that was found.
        found: assay_manifest::ArtifactId,
    },
    /// A recipe that cannot be trained.
    #[error("checking the recipe: {0}")]
    Recipe(&'static str),
    /// The corpus does not make a manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The name of a corpus file is not a path of an artifact.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The weights do not make a file.
    #[error(transparent)]
    Safetensors(#[from] SafetensorsError),
    /// The tokenizer failed.
    #[error("tokenizing: {0}")]
    Tokenizer(tokenizers::Error),
    /// A tensor operation failed.
    #[error("computing: {0}")]
    Candle(#[from] candle_core::Error),
    /// The file holds no model for the engine.
    #[error(transparent)]
    Load(#[from] assay_engine::LoadError),
    /// The engine's threads could not be started.
    #[error(transparent)]
    Engine(#[from] assay_engine::StartError),
    /// A question cannot be put in the model's words.
    #[error(transparent)]
    Render(#[from] assay_engine::text::RenderError),
    /// The engine could not answer.
    #[error(transparent)]
    Execute(#[from] assay_engine::ExecuteError),
    /// The threads for the shards could not be started.
    #[error("starting the shard threads: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
}

impl TrainerError {
    /// Wraps an error of the file system.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }

    /// Wraps an error of the JSON reader.
    pub(crate) fn json(path: &Path) -> impl FnOnce(serde_json::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Json { path, source }
    }
}
