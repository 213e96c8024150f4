//! `assay trace check`: some positions of a trace that somebody claims, recomputed.

use std::ops::Range;
use std::path::{Path, PathBuf};

use assay_engine::Inspected;
use assay_manifest::{Digest32, ModelId};
use clap::Args;
use serde::Serialize;
use tokio::task::spawn_blocking;

use super::diff::{Difference, What, first_difference};
use super::file::{Trace, TracedPosition};
use super::recompute::{Stated, Unlike};
use super::show::parse_range;
use crate::cli::context::Context;
use crate::cli::failure::{Exit, Failure};
use crate::cli::machine::Machine;
use crate::cli::output::Output;
use crate::cli::table::{count, fields, plain, table};

/// Arguments of `assay trace check`.
#[derive(Debug, Args)]
pub struct Check {
    /// The model, a GGUF file.
    #[arg(long, value_name = "FILE.gguf")]
    model: PathBuf,
    /// The receipt that `assay run` wrote.
    #[arg(long, value_name = "FILE")]
    receipt: PathBuf,
    /// Check these positions, the last excluded; the prompt begins at 0. Those before them are computed as well, but
    /// without their logits, and only their tokens are compared; those after them are not computed.
    #[arg(long, value_name = "A..B", value_parser = parse_range)]
    positions: Range<u32>,
    /// The trace behind the receipt's root, as `assay trace show --out` writes it.
    trace: PathBuf,
    #[command(flatten)]
    machine: Machine,
}

/// What a check finds.
#[derive(Debug, Serialize)]
pub struct Checked {
    model_id: ModelId,
    trace_root: Digest32,
    /// Whether nothing differs and nothing is unlike.
    pub equal: bool,
    pub positions: Vec<CheckedPosition>,
    /// Where the trace (`a`) differs first from what was computed (`b`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<Difference>,
    /// The first token after one of the positions that the model would not have chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unlike: Option<Unlike>,
}

/// A position of the trace, held against what the model makes of the receipt.
#[derive(Debug, Serialize)]
pub struct CheckedPosition {
    pub position: u32,
    token: u32,
    text: String,
    pub token_equal: bool,
    pub layers_equal: bool,
    pub logits_equal: bool,
}

impl Check {
    /// Recomputes the positions and prints whether they are those of the trace.
    ///
    /// # Errors
    /// [`Failure`] when a file cannot be read, the trace is not that of the receipt, there are no such positions, or
    /// one of them is not as the trace says.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let (output, positions) = (context.output(), self.positions.clone());
        let checked = spawn_blocking(move || self.check(output)).await??;
        output.result(&checked, text)?;
        match checked.fault() {
            None => Ok(()),
            Some((cause, hint)) => {
                let Range { start, end } = positions;
                let cause = format!("checking positions {start}..{end}: {cause}");
                Err(Failure::new(Exit::Verification, cause).hint(hint))
            }
        }
    }

    /// Recomputes the positions and compares them.
    ///
    /// # Errors
    /// As [`Check::run`], but for positions that differ.
    pub fn check(self, output: Output) -> Result<Checked, Failure> {
        let trace = Trace::read(&self.trace)?;
        let positions = within(&self.positions, trace.positions.len())?;
        let stated = Stated::open(&self.model, &self.receipt, &self.machine, output)?;
        belongs(&self.trace, &trace, &stated, positions.start)?;
        let inspected = stated.inspect(positions.clone())?;
        Ok(checked(&stated, positions.start, &trace.positions[positions], &inspected))
    }
}

/// Positions of a trace that has so many.
fn within(positions: &Range<u32>, total: usize) -> Result<Range<usize>, Failure> {
    let index = |position: u32| usize::try_from(position).unwrap_or(usize::MAX);
    let range = index(positions.start)..index(positions.end);
    if range.end <= total {
        return Ok(range);
    }
    let Range { start, end } = positions;
    Err(Failure::usage(format!("checking positions {start}..{end}: the trace has {total}"))
        .hint(format!("name some of 0..{total} with --positions")))
}

/// Checks that a trace is that of a receipt, as far as can be seen without computing, and that it has the receipt's
/// tokens before the position `start`.
fn belongs(path: &Path, trace: &Trace, stated: &Stated, start: usize) -> Result<(), Failure> {
    let other =
        |what: String| Failure::new(Exit::Verification, format!("checking {}: {what}", path.display()));
    let root = stated.statement.trace_root;
    if trace.trace_root != root {
        return Err(other(format!("it has the root {}, and the receipt says {root}", trace.trace_root))
            .hint("name the trace of this receipt, which `assay trace show --out FILE` writes anew"));
    }
    let (found, total) = (trace.positions.len(), stated.sequence.len());
    if found != total {
        return Err(other(format!("it has {found} positions, and the receipt's prompt and answer {total}"))
            .hint(ALTERED));
    }
    let before = trace.positions.iter().zip(&stated.sequence).take(start);
    let mut unequal = before.filter(|(traced, token)| traced.state.token != **token);
    match unequal.next() {
        None => Ok(()),
        Some((TracedPosition { state, .. }, token)) => Err(other(format!(
            "at position {}, before those to check, it has the token {}, and the receipt {token}",
            state.position, state.token
        ))
        .hint(ALTERED)),
    }
}

const ALTERED: &str = "one of the files was altered; check the receipt with `assay receipt verify`";

/// Compares positions from `start` on.
fn checked(stated: &Stated, start: usize, claimed: &[TracedPosition], inspected: &[Inspected]) -> Checked {
    let found: Vec<TracedPosition> = inspected.iter().map(TracedPosition::from).collect();
    let compare = |(claimed, found): (&TracedPosition, &TracedPosition)| {
        let (claimed, found) = (&claimed.state, &found.state);
        let text = stated.model.text().token_text(claimed.token).unwrap_or_default();
        CheckedPosition {
            position: found.position,
            token: claimed.token,
            text: plain(text),
            token_equal: claimed.token == found.token,
            layers_equal: claimed.layers_root == found.layers_root,
            logits_equal: claimed.logits_hash == found.logits_hash,
        }
    };
    let difference = first_difference(claimed, &found);
    let difference = difference.map(|found| Difference { position: start + found.position, ..found });
    let unlike = stated.first_unlike(inspected);
    Checked {
        model_id: stated.statement.model_id,
        trace_root: stated.statement.trace_root,
        equal: difference.is_none() && unlike.is_none(),
        positions: claimed.iter().zip(&found).map(compare).collect(),
        difference,
        unlike,
    }
}

impl Checked {
    /// What is wrong, if anything, and what to do about it.
    fn fault(&self) -> Option<(String, &'static str)> {
        if let Some(difference) = &self.difference {
            let (position, what) = (difference.position, difference.named());
            return Some(match difference.what {
                What::Length | What::Token => {
                    (format!("at position {position} {what} is not the receipt's"), ALTERED)
                }
                What::Layer | What::Logits => (
                    format!("at position {position} the model does not compute {what} so"),
                    "every machine computes the same; do not rely on a receipt with this root",
                ),
            });
        }
        let Unlike { position, right_token, .. } = self.unlike.as_ref()?;
        Some((
            format!(
                "at position {position} the model chooses the token {right_token}, and not the receipt's"
            ),
            "the model does not answer so; do not rely on the receipt",
        ))
    }
}

fn text(checked: &Checked) -> String {
    let equal = |equal: bool| if equal { "equal" } else { "NOT" }.to_owned();
    let rows = checked.positions.iter().map(|row| {
        let token = format!("{} {}", row.token, equal(row.token_equal));
        let text = format!("{:?}", row.text);
        [row.position.to_string(), text, token, equal(row.layers_equal), equal(row.logits_equal)]
    });
    let listed = table(["POSITION", "TEXT", "TOKEN", "LAYERS", "LOGITS"], &rows.collect::<Vec<_>>());
    let positions = count(checked.positions.len(), "position");
    let found = if checked.equal { "as the model computes" } else { "NOT as the model computes" };
    let mut head = vec![
        ("model", checked.model_id.to_string()),
        ("root", checked.trace_root.to_string()),
        ("checked", format!("{positions}, {found}")),
    ];
    if let Some(Unlike { position, right_token, right_text }) = &checked.unlike {
        head.push((
            "unlike",
            format!("at position {position} the model chooses {right_token} {right_text:?}"),
        ));
    }
    format!("{listed}\n\n{}", fields(&head))
}
