//! `assay trace diff`: where two traces differ first.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::file::{Trace, TracedPosition};
use crate::cli::context::Context;
use crate::cli::failure::{Exit, Failure};

/// Arguments of `assay trace diff`.
#[derive(Debug, Args)]
pub struct Diff {
    /// A trace that `assay trace show --out` wrote.
    a: PathBuf,
    /// Another.
    b: PathBuf,
}

/// What a comparison finds.
#[derive(Serialize)]
struct Compared {
    equal: bool,
    positions: [usize; 2],
    #[serde(flatten)]
    difference: Option<Difference>,
}

/// The first place at which traces differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The position in the sequence.
    pub position: usize,
    /// What differs there.
    pub what: What,
    /// The first layer whose residual differs, counted from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<usize>,
    /// In the first trace; none where it has nothing there.
    pub a: Option<String>,
    /// In the second.
    pub b: Option<String>,
}

/// What can differ at a position, in the order in which it is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// One trace ends before.
    Length,
    /// The token.
    Token,
    /// The residual after a layer.
    Layer,
    /// The logits.
    Logits,
}

impl Diff {
    /// Compares them.
    ///
    /// # Errors
    /// [`Failure`] when one cannot be read, or they differ.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let (a, b) = (Trace::read(&self.a)?, Trace::read(&self.b)?);
        let difference = first_difference(&a.positions, &b.positions);
        let positions = [a.positions.len(), b.positions.len()];
        let compared = Compared { equal: difference.is_none(), positions, difference };
        context.output().result(&compared, text)?;
        let Some(difference) = compared.difference else { return Ok(()) };
        let cause = format!("comparing {} with {}: they differ", self.a.display(), self.b.display());
        let hint = match difference.what {
            What::Length | What::Token => "the answers differ; check the receipts they come from",
            What::Layer | What::Logits if a.model_id != b.model_id => "they are of two models",
            What::Layer | What::Logits => "the computation differs; every machine should find the same",
        };
        Err(Failure::new(Exit::Verification, cause).hint(hint))
    }
}

impl Difference {
    /// What differs, in words.
    pub fn named(&self) -> String {
        match (self.what, self.layer) {
            (What::Length, _) => "the end".to_owned(),
            (What::Token, _) => "the token".to_owned(),
            (What::Layer, layer) => format!("the residual after layer {}", layer.unwrap_or_default()),
            (What::Logits, _) => "the logits".to_owned(),
        }
    }
}

/// Where two sequences of positions differ first.
pub fn first_difference(a: &[TracedPosition], b: &[TracedPosition]) -> Option<Difference> {
    (0..a.len().max(b.len())).find_map(|position| {
        let (what, layer, a, b) = match (a.get(position), b.get(position)) {
            (Some(a), Some(b)) => difference_at(a, b)?,
            (a, b) => {
                let token = |of: Option<&TracedPosition>| of.map(|of| of.state.token.to_string());
                (What::Length, None, token(a), token(b))
            }
        };
        Some(Difference { position, what, layer, a, b })
    })
}

type At = (What, Option<usize>, Option<String>, Option<String>);

fn difference_at(a: &TracedPosition, b: &TracedPosition) -> Option<At> {
    let (left, right) = (&a.state, &b.state);
    if left.token != right.token {
        return Some((What::Token, None, Some(left.token.to_string()), Some(right.token.to_string())));
    }
    let (a, b) = (&a.layer_hashes, &b.layer_hashes);
    if let Some(layer) = (0..a.len().max(b.len())).find(|layer| a.get(*layer) != b.get(*layer)) {
        let hash = |of: &[_]| of.get(layer).map(ToString::to_string);
        return Some((What::Layer, Some(layer), hash(a), hash(b)));
    }
    let hash = |of: &Option<_>| of.as_ref().map(ToString::to_string);
    (left.logits_hash != right.logits_hash)
        .then(|| (What::Logits, None, hash(&left.logits_hash), hash(&right.logits_hash)))
}

fn text(compared: &Compared) -> String {
    let Some(difference) = &compared.difference else {
        return format!("equal in all {} positions", compared.positions[0]);
    };
    let Difference { position, a, b, .. } = difference;
    let what = difference.named();
    let side = |side: &Option<String>| side.clone().unwrap_or_else(|| "nothing".into());
    format!("the first difference is at position {position}: {what}\n  a  {}\n  b  {}", side(a), side(b))
}
