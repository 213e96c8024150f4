//! Executes requests with one model.

use std::collections::BTreeSet;
use std::io::BufReader;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;

use assay_engine::finish::FinishRule;
use assay_engine::prompt::{Refused, checked, sequence_max};
use assay_engine::sampler;
use assay_engine::source::SourceReader;
use assay_engine::spec::{exact_name, spec_of_names};
use assay_engine::text::Text;
use assay_engine::{
    ExecuteError, Execution, Failure, Generator, LoadError, LoadOptions, Observer, Usage, WeightSource,
};
use assay_manifest::formats::gguf::Gguf;
use assay_manifest::{Digest32, SpecId};
use assay_protocol::commitment::{FailCode, Finish};
use assay_protocol::record::Class;
use assay_protocol::request::Request;

use crate::reader::{Joints, Reader};
use crate::shape::Shape;
use crate::tensors::{Layout, layout};
use crate::weights::{Weights, guarded};

/// The library and its version, as a spec names it. Results of another version may differ.
const LIBRARY: &str = "candle-0.11.1";

/// How this machine works. Other chunks may change the last bits of a logit, and so an answer.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Positions of a prompt that are computed at once.
    pub prefill_chunk: NonZeroUsize,
    /// Most bytes of each sequence: of its keys and values, and of what a layer's attention takes.
    pub sequence_bytes_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { prefill_chunk: assay_engine::Settings::PREFILL_CHUNK, sequence_bytes_max: usize::MAX }
    }
}

/// A model of the tolerance class, run by candle on the CPU.
///
/// candle's threads belong to the process, and requests that come at once share them; `RAYON_NUM_THREADS` and
/// `CANDLE_NUM_THREADS` in the environment limit their number.
pub struct CandleGenerator {
    shape: Shape,
    text: Text,
    /// Without keys and values; every sequence takes a clone.
    weights: Weights,
    spec_id: SpecId,
    settings: Settings,
}

impl CandleGenerator {
    /// Reads and checks a GGUF file; `progress` hears of bytes of tensors done and in total.
    ///
    /// # Errors
    /// [`LoadError`] when the file cannot be read, is not GGUF, or does not hold exactly the tensors and settings of
    /// a model that candle runs. Weights that are not finite are found when a logit is not.
    pub fn load(
        source: &dyn WeightSource,
        options: &LoadOptions,
        settings: Settings,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Self, LoadError> {
        let gguf = Gguf::parse(BufReader::new(SourceReader::new(source)), source.size_bytes())?;
        let shape = Shape::from_gguf(&gguf)?;
        let text = Text::from_gguf(&gguf)?;
        let total = gguf.tensors.iter().map(|tensor| tensor.nbytes).sum();
        let joints = Joints::behind(source.size_bytes());
        let Layout { content, joints } = layout(&shape, gguf.tensors, joints, options)?;
        // An embedding that is the output head, too, is read twice.
        let mut heard = 0;
        let mut count = |done: u64| {
            if done.min(total) > heard {
                heard = done.min(total);
                progress(heard, total);
            }
        };
        let mut reader = Reader::new(source, joints, &mut count);
        let weights = guarded(|| (shape.architecture.read)(content, &mut reader));
        let weights = weights.map_err(LoadError::Library)?;
        let spec_id = spec_id(&shape, &text);
        Ok(Self { shape, text, weights, spec_id, settings })
    }

    /// The logits after a sequence, `[vocab]`; none after an empty one.
    ///
    /// # Errors
    /// [`ExecuteError`] when the sequence is longer than the model's context, a token is not in the vocabulary, or
    /// this machine has no memory for it.
    pub fn logits(&self, tokens: &[u32]) -> Result<Vec<f32>, ExecuteError> {
        self.sequence_bytes(tokens.len())?;
        self.begin().read(tokens, &mut ())
    }

    fn context_size(&self) -> usize {
        usize::try_from(self.shape.context_length).unwrap_or(usize::MAX)
    }

    /// Bytes that so many positions take, if they are within the limit.
    fn sequence_bytes(&self, positions: usize) -> Result<usize, ExecuteError> {
        let max = self.settings.sequence_bytes_max;
        match self.shape.sequence_bytes(positions, self.settings.prefill_chunk.get()) {
            Some(bytes) if bytes <= max => Ok(bytes),
            _ => Err(ExecuteError::Memory { positions, max }),
        }
    }

    fn begin(&self) -> Sequence {
        Sequence { weights: self.weights.clone(), chunk: self.settings.prefill_chunk.get(), passed: 0 }
    }

    /// What follows a prompt.
    fn answer(
        &self,
        prompt: Vec<u32>,
        request: &Request,
        seed: &Digest32,
        observer: &mut dyn Observer,
    ) -> Result<Execution, ExecuteError> {
        let top = observer.wants_logprobs();
        let mut sequence = self.begin();
        let mut logits = sequence.read(&prompt, observer)?;
        let mut finish = FinishRule::new(&self.text, request);
        let (n_in, mut tokens) = (prompt.len(), prompt);
        let end = loop {
            let position = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
            let token = match sampler::choose(&logits, &request.sampler, seed, position, &tokens) {
                Ok(token) => token,
                Err(error) => break Err(error.fail_code()),
            };
            if let Some(top) = top {
                observer.logprobs(&sampler::logprobs(&logits, token, top));
            }
            told(observer.token(token))?;
            tokens.push(token);
            if let Some(finish) = finish.push(&self.text, token) {
                break Ok(finish);
            }
            if tokens.len() >= self.context_size() {
                break Err(FailCode::ContextOverflow);
            }
            logits = sequence.pass(&[token])?;
        };
        Ok(execution(request.n_in, tokens.split_off(n_in), end))
    }
}

impl Generator for CandleGenerator {
    fn class(&self) -> Class {
        Class::Tolerance
    }

    fn spec_id(&self) -> SpecId {
        self.spec_id
    }

    fn text(&self) -> &Text {
        &self.text
    }

    fn context_length(&self) -> u32 {
        self.shape.context_length
    }

    fn check_memory(&self, request: &Request) -> Result<(), ExecuteError> {
        let prompt = usize::try_from(request.n_in).unwrap_or(usize::MAX);
        self.sequence_bytes(sequence_max(self.shape.context_length, request, prompt)).map(drop)
    }

    fn execute(
        &self,
        request: &Request,
        seed: &Digest32,
        observer: &mut dyn Observer,
    ) -> Result<Execution, ExecuteError> {
        let prompt = match checked(&self.text, self.shape.context_length, request)? {
            Ok(prompt) => prompt,
            Err(Refused { code, n_in }) => return Ok(execution(n_in, Vec::new(), Err(code))),
        };
        self.sequence_bytes(sequence_max(self.shape.context_length, request, prompt.len()))?;
        self.answer(prompt, request, seed, observer)
    }
}

impl std::fmt::Debug for CandleGenerator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.shape.architecture.name;
        f.debug_struct("CandleGenerator")
            .field("architecture", &name)
            .field("spec_id", &self.spec_id)
            .finish()
    }
}

/// The definition that computes the logits, which is candle's, and those that are as in the exact class.
fn spec_id(shape: &Shape, text: &Text) -> SpecId {
    let logits = format!("{LIBRARY}/{}", shape.architecture.name);
    spec_of_names(&BTreeSet::from([logits, exact_name("sampling"), exact_name(text.definition_name())]))
}

fn execution(n_in: u32, tokens: Vec<u32>, end: Result<Finish, FailCode>) -> Execution {
    let n_out = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
    let (finish, failure) = match end {
        Ok(finish) => (finish, None),
        Err(code) => (Finish::Failed, Some(Failure { code, position: n_out })),
    };
    let (class, usage) = (Class::Tolerance, Usage { n_in, n_out });
    Execution { class, tokens, finish, trace_root: Digest32::ZERO, usage, failure }
}

fn told(flow: ControlFlow<()>) -> Result<(), ExecuteError> {
    if flow.is_break() { Err(ExecuteError::Stopped) } else { Ok(()) }
}

/// A sequence as far as it was computed.
struct Sequence {
    weights: Weights,
    chunk: usize,
    /// Positions whose forward pass has run.
    passed: usize,
}

impl Sequence {
    /// The logits after a whole prompt, in chunks, between which the observer may end it.
    fn read(&mut self, prompt: &[u32], observer: &mut dyn Observer) -> Result<Vec<f32>, ExecuteError> {
        let mut logits = Vec::new();
        for tokens in prompt.chunks(self.chunk) {
            logits = self.pass(tokens)?;
            told(observer.positions(self.passed, prompt.len()))?;
        }
        Ok(logits)
    }

    fn pass(&mut self, tokens: &[u32]) -> Result<Vec<f32>, ExecuteError> {
        let logits = self.weights.forward(tokens, self.passed).map_err(ExecuteError::Library)?;
        self.passed += tokens.len();
        Ok(logits)
    }
}

#[cfg(test)]
mod tests {
    use super::LIBRARY;

    #[test]
    fn the_spec_names_the_version_that_is_built() {
        let pins = include_str!("../../../Cargo.toml");
        let version = LIBRARY.strip_prefix("candle-").unwrap();
        for library in ["candle-core", "candle-transformers"] {
            assert!(pins.contains(&format!("\n{library} = \"={version}\"")), "{library} is not {version}");
        }
    }
}
