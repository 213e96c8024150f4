//! `assay trace open`: one position, with the proof that it belongs to a trace.

use std::path::{Path, PathBuf};
use std::time::Instant;

use assay_manifest::Digest32;
use assay_manifest::merkle::{InclusionProof, ProofError};
use assay_protocol::trace::{OpenedLayer, OpenedPosition, PositionState};
use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use super::recompute::{Recomputed, recompute};
use crate::cli::context::Context;
use crate::cli::failure::{Exit, Failure};
use crate::cli::machine::Machine;
use crate::cli::output::{Format, Output};
use crate::cli::receipt;

/// Arguments of `assay trace open`.
#[derive(Debug, Args)]
pub struct Open {
    /// The model, a GGUF file.
    #[arg(long, value_name = "FILE.gguf", required_unless_present = "check")]
    model: Option<PathBuf>,
    /// The receipt that `assay run` wrote.
    #[arg(long, value_name = "FILE", required_unless_present = "check")]
    receipt: Option<PathBuf>,
    /// The position to prove; the prompt begins at 0.
    #[arg(long, value_name = "P", required_unless_present = "check")]
    position: Option<u32>,
    /// Prove the state after this layer, too; the first is 0.
    #[arg(long, value_name = "L")]
    layer: Option<u32>,
    /// Check this proof instead; needs no model.
    #[arg(
        long,
        value_name = "FILE",
        requires = "root",
        conflicts_with_all = ["model", "receipt", "position", "layer"]
    )]
    check: Option<PathBuf>,
    /// The trace root against which it is checked.
    #[arg(long, value_name = "HEX", requires = "check")]
    root: Option<Digest32>,
    #[command(flatten)]
    machine: Machine,
}

/// A proof, as it is printed and read: an [`OpenedPosition`], and perhaps one of its layers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Opened {
    state: PositionState,
    proof: InclusionProof,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    layer: Option<OpenedLayer>,
}

impl Opened {
    /// Checks that position and layer belong to the trace with this root.
    fn verify(&self, root: &Digest32) -> Result<(), ProofError> {
        OpenedPosition { state: self.state, proof: self.proof.clone() }.verify(root)?;
        self.layer.as_ref().map_or(Ok(()), |layer| layer.verify(&self.state))
    }
}

#[derive(Serialize)]
struct Checked {
    valid: bool,
    position: u32,
    token: u32,
    root: Digest32,
    took_us: f64,
}

impl Open {
    /// Prints a proof, or checks one.
    ///
    /// # Errors
    /// [`Failure`] when the trace cannot be recomputed or has not the receipt's root, there is no such position, or
    /// the proof does not hold.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let output = context.output();
        if let (Some(proof), Some(root)) = (&self.check, self.root) {
            return check(proof, root, output);
        }
        let opened = spawn_blocking(move || self.open(output)).await??;
        // A proof is for programs: the same in both forms.
        Ok(Output::new(Format::Json).line(&opened, |_| String::new())?)
    }

    fn open(self, output: Output) -> Result<Opened, Failure> {
        let (Some(model), Some(receipt), Some(position)) = (self.model, self.receipt, self.position) else {
            return Err(Failure::usage("opening a position: no model, receipt or position was named")
                .hint("name them with --model, --receipt and --position"));
        };
        let recomputed = recompute(&model, &receipt, &self.machine, output)?;
        let opened = open(&recomputed, position, self.layer)?;
        let root = recomputed.statement.trace_root;
        opened.verify(&root).map_err(|_| {
            let found = recomputed.trace.trace_root;
            Failure::new(
                Exit::Verification,
                format!(
                    "opening position {position}: the trace has the root {found}, and the receipt says {root}"
                ),
            )
            .hint("see where the receipt is wrong with `assay trace show`")
        })?;
        Ok(opened)
    }
}

fn open(recomputed: &Recomputed, position: u32, layer: Option<u32>) -> Result<Opened, Failure> {
    let positions = &recomputed.trace.positions;
    let at = usize::try_from(position).unwrap_or(usize::MAX);
    let traced = positions.get(at).ok_or_else(|| {
        Failure::usage(format!("opening position {position}: the trace has {}", positions.len()))
            .hint("see its positions with `assay trace show`")
    })?;
    let layer = layer.map(|layer| {
        OpenedLayer::of(&traced.layer_hashes, layer).map_err(|_| match traced.layer_hashes.len() {
            0 => Failure::usage(format!(
                "opening layer {layer}: position {position} ends the answer and was not computed"
            ))
            .hint("name an earlier position"),
            layers => Failure::usage(format!("opening layer {layer}: the model has {layers}"))
                .hint("layers are counted from 0"),
        })
    });
    let opened =
        recomputed.trace.tree().open(traced.state).map_err(|error| Failure::new(Exit::Internal, error))?;
    Ok(Opened { state: opened.state, proof: opened.proof, layer: layer.transpose()? })
}

fn check(path: &Path, root: Digest32, output: Output) -> Result<(), Failure> {
    let bytes = receipt::read_bounded(path)?;
    let opened: Opened = serde_json::from_slice(&bytes).map_err(|error| {
        Failure::usage(format!("reading {}: it is not a whole proof: {error}", path.display()))
            .hint("name a file that holds what `assay trace open` printed")
    })?;
    let began = Instant::now();
    let verified = opened.verify(&root);
    let took_us = began.elapsed().as_secs_f64() * 1e6;
    let PositionState { position, token, .. } = opened.state;
    let checked = Checked { valid: verified.is_ok(), position, token, root, took_us };
    output.result(&checked, |checked| {
        let holds = if checked.valid { "holds" } else { "does NOT hold" };
        format!("position {position}, token {token}: the proof {holds}, checked in {took_us:.1} µs")
    })?;
    verified.map_err(|error| {
        Failure::new(Exit::Verification, format!("checking the proof of position {position}: {error}"))
            .hint("do not rely on it; compare --root with the trace root of the receipt")
    })
}
