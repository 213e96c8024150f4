//! The file form of a trace: every hash behind its root.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use assay_engine::Inspected;
use assay_manifest::{Digest32, ModelId, SpecId};
use assay_protocol::trace::{PositionState, TraceBuilder, layers_root};
use serde::{Deserialize, Serialize};

use crate::cli::failure::{Exit, Failure};

/// Largest file that is read: a sequence of 100,000 positions through 80 layers.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// A trace, as a file says what it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "format")]
pub enum TraceFile {
    /// The only form so far.
    #[serde(rename = "assay-trace/1")]
    Trace(Trace),
}

/// An execution, position by position. It tells nothing of the machine that computed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Trace {
    /// The model.
    pub model_id: ModelId,
    /// The definitions of the operations.
    pub spec_id: SpecId,
    /// Positions of the prompt, which come first.
    pub prompt_tokens: u32,
    /// The root over the positions.
    pub trace_root: Digest32,
    /// All positions, in order.
    pub positions: Vec<TracedPosition>,
}

/// One position, with what its root over the layers is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TracedPosition {
    /// What the trace's leaf is made of.
    #[serde(flatten)]
    pub state: PositionState,
    /// The residual's hash after each layer; empty for the last token, which has no forward pass.
    pub layer_hashes: Vec<Digest32>,
}

impl From<&Inspected> for TracedPosition {
    fn from(inspected: &Inspected) -> Self {
        Self { state: inspected.state, layer_hashes: inspected.layer_hashes.clone() }
    }
}

impl Trace {
    /// The tree over the positions.
    pub fn tree(&self) -> TraceBuilder {
        let mut tree = TraceBuilder::new();
        self.positions.iter().for_each(|position| tree.push(&position.state));
        tree
    }

    /// Reads a trace, and checks that its hashes make its root.
    ///
    /// # Errors
    /// [`Failure`] when the file cannot be read, is no trace, or does not hang together.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let shown = path.display();
        let file = File::open(path).map_err(|error| {
            Failure::usage(format!("reading the trace {shown}: {error}")).hint(NAME_A_TRACE)
        })?;
        let reader = BufReader::new(file.take(FILE_BYTES_MAX));
        let TraceFile::Trace(trace) = serde_json::from_reader(reader).map_err(|error| {
            Failure::usage(format!("reading {shown}: it is not a whole trace: {error}")).hint(NAME_A_TRACE)
        })?;
        match trace.fault() {
            None => Ok(trace),
            Some(fault) => {
                Err(Failure::new(Exit::Verification, format!("reading the trace {shown}: {fault}"))
                    .hint("it was altered; write it anew with `assay trace show --out FILE`"))
            }
        }
    }

    /// What does not hang together, if anything.
    fn fault(&self) -> Option<String> {
        for (index, TracedPosition { state, layer_hashes }) in (0u32..).zip(&self.positions) {
            if state.position != index {
                return Some(format!("position {} stands where {index} belongs", state.position));
            }
            let layers = (!layer_hashes.is_empty()).then(|| layers_root(layer_hashes));
            if state.layers_root != layers {
                return Some(format!("the layers of position {index} do not make its root"));
            }
        }
        let root = self.tree().root();
        (root != self.trace_root)
            .then(|| format!("its positions make the root {root}, not {}", self.trace_root))
    }
}

const NAME_A_TRACE: &str = "name a file that `assay trace show --out FILE` wrote";
