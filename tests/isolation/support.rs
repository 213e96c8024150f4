//! A model in a process that the binary under test runs.

use std::fs::{self, File};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use assay_engine::synthetic::Synthetic;
use assay_engine::{Engine, LoadOptions, Model, Settings};
use assay_manifest::{ArtifactKind, Digest32, Manifest, ModelId};
use assay_node::model_process::{
    Call, Hosted, LoadError, ModelProcess, Plan, ProcessConfig, Question, Reply, Start, Unconfined,
};
use assay_protocol::request::{F32, Prompt, REQUEST_VERSION, Request, Sampler};
use assay_store::Store;
use tempfile::TempDir;

/// How the binary under test runs models.
pub fn config() -> ProcessConfig {
    ProcessConfig { program: env!("CARGO_BIN_EXE_assay").into(), unconfined: Unconfined::Warned }
}

/// One thread, and a bounded cache, so that memory is limited.
pub fn settings() -> Settings {
    Settings { threads: NonZeroUsize::MIN, cache_bytes_max: 1 << 30, ..Settings::for_this_machine() }
}

/// A model file with its manifest.
pub struct Lab {
    pub dir: TempDir,
    pub file: PathBuf,
    pub manifest: Manifest,
    pub store: Arc<Store>,
}

impl Lab {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("model.gguf");
        let synthetic = Synthetic { context_length: 1 << 16, ..Synthetic::default() };
        fs::write(&file, synthetic.gguf().unwrap()).unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        let manifest = store.import(&file, ArtifactKind::Model, &mut |_| {}).unwrap();
        Self { dir, file, manifest, store: Arc::new(store) }
    }

    pub fn model_id(&self) -> ModelId {
        self.manifest.model_id().unwrap()
    }

    /// The model in a process of its own.
    pub fn process(&self) -> ModelProcess {
        self.load(&config().program, &self.file).unwrap()
    }

    /// What comes of a program and a file that are said to make this model.
    pub fn load(&self, program: &Path, file: &Path) -> Result<ModelProcess, LoadError> {
        ModelProcess::load(Plan {
            config: ProcessConfig { program: program.into(), ..config() },
            model: self.model_id(),
            file: File::open(file).unwrap(),
            start: Start::new(&settings(), self.manifest.to_bytes()),
        })
    }

    /// The model in this process.
    pub fn hosted(&self) -> Hosted {
        let file = fs::read(&self.file).unwrap();
        let model = Model::load(&file, &LoadOptions::default(), &mut |_, _| ()).unwrap();
        Hosted::new(Arc::new(Engine::new(settings()).unwrap()), model)
    }
}

pub fn question(text: &str, max_tokens: u32) -> Question {
    let sampler = Sampler { temperature: F32::new(0.9), top_k: 40, ..Sampler::greedy() };
    Question { prompt: Prompt::Text(text.into()), now_s: 0, sampler, max_tokens }
}

/// A request as the model itself counts it.
pub fn request(hosted: &Hosted, text: &str, max_tokens: u32) -> Request {
    let question = question(text, max_tokens);
    let counted = hosted.answer(&Call::Count(question.clone()), &mut ()).unwrap();
    let Reply::Counted(counted) = counted else { panic!("{counted:?}") };
    Request {
        version: REQUEST_VERSION,
        prompt: question.prompt.clone(),
        now_s: question.now_s,
        n_in: counted.n_in,
        prompt_hash: counted.prompt_hash,
        max_tokens,
        stop: Vec::new(),
        sampler: question.sampler.clone(),
        seed: None,
        salt_hash: Digest32::ZERO,
    }
}

pub const SEED: Digest32 = Digest32::from_bytes([7; 32]);

/// Executes a request with a seed of the tests'.
pub fn execute(request: &Request) -> Call {
    Call::Execute { request: request.clone(), seed: SEED }
}
