//! The demo model's files, carried by the binary. `verifier/trainer/README.md` says how each was made.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use assay_lineage::{LineageError, TransformersSource, Verdict, recompute};
use assay_manifest::lineage::EdgeKind;
use assay_manifest::{Digest32, Manifest, sha256};

/// A question of a kind that the model was trained for; this one it has never seen.
pub const QUESTION: &str = "What is 27 + 45?";

macro_rules! model_file {
    ($path:literal) => {
        include_bytes!(concat!("../../../verifier/trainer/model/", $path)).as_slice()
    };
}

const GGUF: &[u8] = model_file!("demo-q8_0.gguf");
const DATASET: &[u8] = model_file!("dataset.json");
const RECIPE: &[u8] = model_file!("recipe.json");
const TRANSFORMERS: [(&str, &[u8]); 4] = [
    ("config.json", model_file!("safetensors/config.json")),
    ("model.safetensors", model_file!("safetensors/model.safetensors")),
    ("tokenizer.json", model_file!("safetensors/tokenizer.json")),
    ("tokenizer_config.json", model_file!("safetensors/tokenizer_config.json")),
];

/// The files where a node can import them.
#[derive(Clone, Debug)]
pub struct DemoFiles {
    /// The trained model, a directory.
    pub trained: PathBuf,
    /// The quantised model, a file.
    pub quantised: PathBuf,
}

impl DemoFiles {
    /// Writes them below `dir`.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn write(dir: &Path) -> io::Result<Self> {
        let files = Self { trained: dir.join("demo-f16"), quantised: dir.join("demo-q8_0.gguf") };
        fs::create_dir_all(&files.trained)?;
        for (name, bytes) in TRANSFORMERS {
            fs::write(files.trained.join(name), bytes)?;
        }
        fs::write(&files.quantised, GGUF)?;
        Ok(files)
    }
}

/// The manifest of the corpus that the model was trained on; a seed gives the corpus again.
///
/// # Errors
/// When the committed file is not a manifest.
pub fn dataset_manifest() -> Result<Manifest, serde_json::Error> {
    serde_json::from_slice(DATASET)
}

/// SHA-256 of the recipe by which the model was trained.
pub fn recipe_hash() -> Digest32 {
    sha256(RECIPE)
}

/// Quantises the trained model again and compares the result with the quantised one, byte for byte.
///
/// # Errors
/// When the files are not what the recipe covers.
pub fn recompute_quantisation() -> Result<Verdict, LineageError> {
    let parent = TransformersSource::from_files(TRANSFORMERS)?;
    recompute(EdgeKind::QuantizedFrom, &parent, GGUF)
}
