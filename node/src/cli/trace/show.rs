//! `assay trace show`: a trace, position by position.

use std::ops::Range;
use std::path::PathBuf;

use assay_manifest::{Digest32, ModelId};
use assay_protocol::trace::PositionState;
use clap::Args;
use serde::Serialize;
use tokio::task::spawn_blocking;

use super::file::TraceFile;
use super::recompute::{Recomputed, Unlike, recompute};
use crate::cli::context::Context;
use crate::cli::failure::{Exit, Failure};
use crate::cli::machine::Machine;
use crate::cli::table::{fields, plain, short, table};
use crate::data_dir::write_json;

/// Arguments of `assay trace show`.
#[derive(Debug, Args)]
pub struct Show {
    /// The model, a GGUF file.
    #[arg(long, value_name = "FILE.gguf")]
    model: PathBuf,
    /// The receipt that `assay run` wrote.
    #[arg(long, value_name = "FILE")]
    receipt: PathBuf,
    /// List these positions only, the last excluded; the prompt begins at 0.
    #[arg(long, value_name = "A..B", value_parser = parse_range)]
    positions: Option<Range<u32>>,
    /// Write the whole trace there, with the hash of every layer.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    machine: Machine,
}

/// A trace, as it is printed.
#[derive(Serialize)]
struct Shown {
    model_id: ModelId,
    prompt_tokens: u32,
    tokens: usize,
    trace_root: Digest32,
    receipt_root: Digest32,
    equal: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    unlike: Option<Unlike>,
    positions: Vec<ShownPosition>,
}

#[derive(Serialize)]
struct ShownPosition {
    position: u32,
    token: u32,
    text: String,
    layers_root: Option<Digest32>,
    logits_hash: Option<Digest32>,
}

impl Show {
    /// Recomputes the trace and prints it.
    ///
    /// # Errors
    /// [`Failure`] when it cannot be recomputed, or has not the receipt's root.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let output = context.output();
        let Self { model, receipt, positions, out, machine } = self;
        let recomputed = spawn_blocking(move || recompute(&model, &receipt, &machine, output)).await??;
        let shown = shown(&recomputed, positions)?;
        if let Some(path) = out {
            write_json(&path, &TraceFile::Trace(recomputed.trace))?;
        }
        output.result(&shown, text)?;
        if shown.equal {
            return Ok(());
        }
        let cause = format!("recomputing the trace: its root is not the receipt's, {}", shown.receipt_root);
        Err(Failure::new(Exit::Verification, cause).hint(match &shown.unlike {
            Some(unlike) => format!("the model does not answer so: look at position {}", unlike.position),
            None => {
                "the request or the root was altered; check the receipt with `assay receipt verify`".into()
            }
        }))
    }
}

fn shown(recomputed: &Recomputed, positions: Option<Range<u32>>) -> Result<Shown, Failure> {
    let Recomputed { model, statement, trace, unlike } = recomputed;
    let total = trace.positions.len();
    let positions = positions.unwrap_or(0..u32::MAX);
    if usize::try_from(positions.start).unwrap_or(usize::MAX) >= total {
        return Err(Failure::usage(format!(
            "listing positions from {}: the trace has {total}",
            positions.start
        ))
        .hint(format!("name some of 0..{total} with --positions")));
    }
    let name = |token: u32| plain(model.text().token_text(token).unwrap_or_default());
    let listed =
        trace.positions.iter().map(|traced| traced.state).filter(|state| positions.contains(&state.position));
    let listed = listed.map(|state| {
        let PositionState { position, token, layers_root, logits_hash } = state;
        ShownPosition { position, token, text: name(token), layers_root, logits_hash }
    });
    Ok(Shown {
        model_id: trace.model_id,
        prompt_tokens: trace.prompt_tokens,
        tokens: statement.tokens.len(),
        trace_root: trace.trace_root,
        receipt_root: statement.trace_root,
        equal: trace.trace_root == statement.trace_root,
        unlike: unlike.clone(),
        positions: listed.collect(),
    })
}

fn text(shown: &Shown) -> String {
    let root = |digest: &Option<Digest32>| digest.map_or_else(|| "-".to_owned(), short);
    let rows = shown.positions.iter().map(|row| {
        let token = format!("{:?}", row.text);
        [
            row.position.to_string(),
            row.token.to_string(),
            token,
            root(&row.layers_root),
            root(&row.logits_hash),
        ]
    });
    let listed = table(["POSITION", "TOKEN", "TEXT", "LAYERS", "LOGITS"], &rows.collect::<Vec<_>>());
    let equal = if shown.equal { "equal to the receipt's" } else { "NOT the receipt's" };
    let mut head = vec![
        ("model", shown.model_id.to_string()),
        ("tokens", format!("{} of the prompt, {} of the answer", shown.prompt_tokens, shown.tokens)),
        ("root", format!("{} {equal}", shown.trace_root)),
    ];
    if let Some(Unlike { position, right_token, right_text }) = &shown.unlike {
        head.push((
            "unlike",
            format!("at position {position} the model chooses {right_token} {right_text:?}"),
        ));
    }
    format!("{listed}\n\n{}", fields(&head))
}

/// Reads a range such as `0..8`, which is not empty.
pub fn parse_range(text: &str) -> Result<Range<u32>, String> {
    let bounds = text.split_once("..").and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    let range = bounds.map(|(start, end)| start..end).filter(|range: &Range<u32>| !range.is_empty());
    range.ok_or_else(|| format!("{text:?} is not a range such as 0..8"))
}
