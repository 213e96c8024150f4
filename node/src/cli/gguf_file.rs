//! A model file on this machine: its bytes, and the ids that follow from them.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use assay_engine::config::ConfigError;
use assay_engine::{ExactGenerator, Generator, LoadError, LoadOptions, Model, WeightSource};
use assay_manifest::canonical::gguf_part_ids;
use assay_manifest::formats::gguf::{Gguf, TensorInfo};
use assay_manifest::path::PathError;
use assay_manifest::{Digest32, FileEntry, Manifest, ModelId, RelativePath, TensorEntry};
use assay_tolerance::CandleGenerator;
use sha2::{Digest as _, Sha256};

use super::failure::Failure;
use super::machine::Machine;
use super::output::Output;
use super::progress;
use crate::weight_file::WeightFile;

/// What to do about a file that is damaged.
const GET_AGAIN: &str = "get the file again from where it was published, and compare its size and hash";

/// What to do with a model of which no two machines compute the same bits.
const RUN_ONLY: &str = "answer with it by `assay run`; what is not computed exactly cannot be measured against \
                            the exact class, traced, verified or sold";

const RUNNABLE: &str = "llama, mistral, mixtral, qwen2, qwen3, gemma3 and phi3 models in GGUF can be run exactly, \
                        phi2 and glm4 models in the tolerance class";

/// Hears of bytes done and in total.
type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// An open GGUF file.
pub struct GgufFile {
    file: WeightFile,
    path: PathBuf,
}

impl GgufFile {
    /// Opens it.
    ///
    /// # Errors
    /// [`Failure`] when it is not there.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let file = File::open(path).and_then(WeightFile::new).map_err(|error| {
            Failure::usage(format!("opening the model {}: {error}", path.display()))
                .hint("name a GGUF file with --model")
        })?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// The manifest that importing the file into a store gives; reads it once.
    ///
    /// # Errors
    /// [`Failure`] when it is no GGUF file, or cannot be read.
    pub fn manifest(&self) -> Result<Manifest, Failure> {
        let header = self.header()?;
        let name = self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let path = name.parse().map_err(|error: PathError| self.failed(error))?;
        let (file, tensors) = self.hash(path, header.tensors).map_err(|error| self.failed(error))?;
        let parts = gguf_part_ids(&header.metadata);
        Manifest::model(vec![file], tensors, parts).map_err(|error| self.failed(error))
    }

    /// The model's id; reads the file once.
    ///
    /// # Errors
    /// As [`Self::manifest`].
    pub fn model_id(&self) -> Result<ModelId, Failure> {
        self.manifest()?.model_id().ok_or_else(|| self.failed("it is no model"))
    }

    /// Loads the model, and shows how far it has come.
    ///
    /// # Errors
    /// [`Failure`] when it is no model of the exact class, or is damaged.
    pub fn load(&self, output: Output) -> Result<Arc<Model>, Failure> {
        self.load_exact(output).map_err(refused)
    }

    /// Loads the model for the engine of its class: the exact one where it knows the architecture.
    ///
    /// # Errors
    /// [`Failure`] when no engine runs it, it is damaged, or the machine was told what its engine cannot do.
    pub fn generator(&self, machine: &Machine, output: Output) -> Result<Arc<dyn Generator>, Failure> {
        // What this machine lacks is said before weights are read.
        machine.cpu()?;
        match self.load_exact(output) {
            Ok(model) => Ok(Arc::new(ExactGenerator::new(Arc::new(machine.engine()?), model))),
            Err(LoadError::Config(ConfigError::Tolerance(_))) => {
                let settings = machine.tolerance()?;
                let options = LoadOptions::default();
                let load = |progress: Progress<'_>| CandleGenerator::load(self, &options, settings, progress);
                Ok(Arc::new(shown(output, load).map_err(refused)?))
            }
            Err(error) => Err(refused(error)),
        }
    }

    fn load_exact(&self, output: Output) -> Result<Arc<Model>, LoadError> {
        shown(output, |progress| Model::load(self, &LoadOptions::default(), progress))
    }

    fn header(&self) -> Result<Gguf, Failure> {
        Gguf::parse(self.file.reader(), self.size_bytes()).map_err(|error| self.failed(error))
    }

    /// Reads the whole file and looks at nothing.
    ///
    /// # Errors
    /// [`Failure`] when it cannot be read.
    pub fn read_through(&self) -> Result<(), Failure> {
        let read = self.file.read(0..self.size_bytes(), |bytes| {
            std::hint::black_box(bytes);
        });
        read.map_err(|error| self.failed(error))
    }

    /// Hashes the whole and each tensor. SHA-256 is as slow as all else together, so it has a thread of its own.
    fn hash(
        &self,
        path: RelativePath,
        tensors: Vec<TensorInfo>,
    ) -> io::Result<(FileEntry, Vec<TensorEntry>)> {
        let (sha256, (blake3, entries)) = std::thread::scope(|scope| {
            let sha256 = scope.spawn(|| self.sha256());
            let blake3 = self.blake3(tensors);
            let sha256 = sha256.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            io::Result::Ok((sha256?, blake3?))
        })?;
        Ok((FileEntry { path, size: self.size_bytes(), sha256, blake3 }, entries))
    }

    fn sha256(&self) -> io::Result<Digest32> {
        let mut hasher = Sha256::new();
        self.file.read(0..self.size_bytes(), |bytes| hasher.update(bytes))?;
        Ok(Digest32::from_bytes(hasher.finalize().into()))
    }

    /// Of the whole, and each tensor's entry. The parser has checked that tensors follow one another in the file.
    fn blake3(&self, tensors: Vec<TensorInfo>) -> io::Result<(Digest32, Vec<TensorEntry>)> {
        let mut hasher = blake3::Hasher::new();
        let mut whole = |bytes: &[u8]| {
            hasher.update(bytes);
        };
        let mut entries = Vec::with_capacity(tensors.len());
        let mut at = 0;
        for tensor in tensors {
            self.file.read(at..tensor.offset, &mut whole)?;
            at = tensor.offset + tensor.nbytes;
            entries.push(self.file.entry(tensor, &mut whole)?);
        }
        self.file.read(at..self.size_bytes(), &mut whole)?;
        Ok((Digest32::from_bytes(hasher.finalize().into()), entries))
    }

    fn failed(&self, cause: impl std::fmt::Display) -> Failure {
        Failure::usage(format!("reading the model {}: {cause}", self.path.display())).hint(GET_AGAIN)
    }
}

/// Shows how far the loading of a model has come.
fn shown<T>(output: Output, load: impl FnOnce(Progress<'_>) -> Result<T, LoadError>) -> Result<T, LoadError> {
    let bar = progress::bytes(output, "loading");
    let loaded = load(&mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    loaded
}

/// What a user is told of a model that was not loaded.
fn refused(error: LoadError) -> Failure {
    let hint = match &error {
        LoadError::Gguf(_) | LoadError::Weights { .. } | LoadError::Source { .. } => GET_AGAIN,
        LoadError::Config(ConfigError::Tolerance(_)) => RUN_ONLY,
        LoadError::Mixed { .. } => "take a file of the model whose weights are all of one type, as in Q8_0",
        LoadError::Library(_) => "this is a bug of candle or of assay",
        _ => RUNNABLE,
    };
    Failure::usage(error).hint(hint)
}

impl WeightSource for GgufFile {
    fn size_bytes(&self) -> u64 {
        self.file.size_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_engine::synthetic::Synthetic;
    use assay_manifest::ArtifactKind;

    #[test]
    fn a_file_has_the_manifest_that_a_store_gives_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("synthetic.gguf");
        std::fs::write(&path, Synthetic::default().gguf().unwrap()).unwrap();
        let store = assay_store::Store::open(&dir.path().join("store")).unwrap();
        let imported = store.import(&path, ArtifactKind::Model, &mut |_| {}).unwrap();
        assert_eq!(GgufFile::open(&path).unwrap().manifest().unwrap(), imported);
    }

    #[test]
    fn what_is_no_gguf_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("poem.gguf");
        std::fs::write(&path, "roses are red").unwrap();
        assert!(GgufFile::open(&path).unwrap().manifest().is_err());
        assert!(GgufFile::open(&dir.path().join("none.gguf")).is_err());
    }
}
