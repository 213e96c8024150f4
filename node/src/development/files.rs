//! The demo model's files, carried by the binary. `verifier/trainer/README.md` says how each was made.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use assay_lineage::{LineageError, TransformersSource, Verdict, recompute};
use assay_manifest::lineage::EdgeKind;
use assay_manifest::{Digest32, Manifest, sha256};

macro_rules! trainer_file {
    ($path:literal) => {
        include_bytes!(concat!("../../../verifier/trainer/", $path)).as_slice()
    };
}

const QUESTION: &str = include_str!("../../../verifier/trainer/model/question.txt");
const GGUF: &[u8] = trainer_file!("model/demo-q8_0.gguf");
const DATASET: &[u8] = trainer_file!("model/dataset.json");
const RECIPE: &[u8] = trainer_file!("model/recipe.json");
const TRANSFORMERS: [(&str, &[u8]); 4] = [
    ("config.json", trainer_file!("model/safetensors/config.json")),
    ("model.safetensors", trainer_file!("model/safetensors/model.safetensors")),
    ("tokenizer.json", trainer_file!("model/safetensors/tokenizer.json")),
    ("tokenizer_config.json", trainer_file!("model/safetensors/tokenizer_config.json")),
];
/// How the model came about; they lie beside the weights, so that its id covers them.
const TRAINING: [(&str, &[u8]); 2] =
    [("recipe.json", RECIPE), ("training.log", trainer_file!("model/training.log"))];
/// The program that wrote the corpus, but for the general parts of its crate.
const GENERATOR: [(&str, &[u8]); 6] = [
    ("files.rs", trainer_file!("src/corpus/files.rs")),
    ("mod.rs", trainer_file!("src/corpus/mod.rs")),
    ("questions.rs", trainer_file!("src/corpus/questions.rs")),
    ("random.rs", trainer_file!("src/random.rs")),
    ("stories.rs", trainer_file!("src/corpus/stories.rs")),
    ("words.rs", trainer_file!("src/corpus/words.rs")),
];

/// A question of a kind that the model was trained for; this one was held out.
pub fn question() -> &'static str {
    QUESTION.trim_end()
}

/// The files where a node can import them.
#[derive(Clone, Debug)]
pub struct DemoFiles {
    /// The source of the corpus's generator, a directory.
    pub generator: PathBuf,
    /// The trained model with its recipe and log, a directory.
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
        let files = Self {
            generator: dir.join("demo-generator"),
            trained: dir.join("demo-f16"),
            quantised: dir.join("demo-q8_0.gguf"),
        };
        write_all(&files.generator, &GENERATOR)?;
        write_all(&files.trained, &TRANSFORMERS)?;
        write_all(&files.trained, &TRAINING)?;
        fs::write(&files.quantised, GGUF)?;
        Ok(files)
    }
}

fn write_all(dir: &Path, files: &[(&str, &[u8])]) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    files.iter().try_for_each(|(name, bytes)| fs::write(dir.join(name), bytes))
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
