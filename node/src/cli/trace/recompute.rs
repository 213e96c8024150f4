//! From a model and a receipt to the trace behind the receipt's root.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use assay_engine::{Engine, ExecuteError, Inspected, Inspection, Model};
use assay_protocol::commitment::Finish;
use assay_protocol::receipt::{Receipt, SelfStatement};
use assay_protocol::record::Class;
use serde::Serialize;

use super::file::{Trace, TracedPosition};
use crate::cli::failure::{Exit, Failure};
use crate::cli::gguf_file::GgufFile;
use crate::cli::machine::Machine;
use crate::cli::output::Output;
use crate::cli::table::plain;
use crate::cli::{progress, receipt};

/// An execution that was computed again.
pub struct Recomputed {
    pub model: Arc<Model>,
    pub statement: SelfStatement,
    pub trace: Trace,
    /// The first token of the answer that the model would not have chosen.
    pub unlike: Option<Unlike>,
}

/// A place at which another token belongs.
#[derive(Clone, Debug, Serialize)]
pub struct Unlike {
    /// The position in the sequence.
    pub position: u32,
    /// The token that belongs there.
    pub right_token: u32,
    /// How the vocabulary spells it.
    pub right_text: String,
}

/// What a receipt states, and what computes it again.
pub struct Stated {
    pub model: Arc<Model>,
    pub statement: SelfStatement,
    /// The tokens of prompt and answer.
    pub sequence: Vec<u32>,
    engine: Engine,
    output: Output,
}

/// Computes every position of the receipt's prompt and answer again.
///
/// # Errors
/// [`Failure`] when one of the files cannot be read, they do not belong together, or this machine cannot run the
/// model.
pub fn recompute(
    model: &Path,
    receipt: &Path,
    machine: &Machine,
    output: Output,
) -> Result<Recomputed, Failure> {
    let stated = Stated::open(model, receipt, machine, output)?;
    let inspected = stated.inspect(0..stated.sequence.len())?;
    let unlike = stated.first_unlike(&inspected);
    let trace = trace(&stated.statement, &inspected);
    let Stated { model, statement, .. } = stated;
    Ok(Recomputed { model, statement, trace, unlike })
}

impl Stated {
    /// Reads a receipt and loads its model.
    ///
    /// # Errors
    /// [`Failure`] when one of the files cannot be read, or they do not belong together.
    pub fn open(model: &Path, receipt: &Path, machine: &Machine, output: Output) -> Result<Self, Failure> {
        let statement = own_statement(receipt)?;
        let engine = machine.engine()?;
        let file = GgufFile::open(model)?;
        let model_id = file.model_id()?;
        if model_id != statement.model_id {
            let (model, receipt) = (model.display(), receipt.display());
            let cause = format!(
                "reading {model}: it is the model {model_id}, and {receipt} is of {}",
                statement.model_id
            );
            return Err(Failure::new(Exit::Verification, cause).hint(
                "name the model that the receipt was made with; its id stands in `assay receipt show`",
            ));
        }
        let model = file.load(output)?;
        let sequence = sequence(&model, &statement)?;
        Ok(Self { model, statement, sequence, engine, output })
    }

    /// Computes some positions of the sequence again, and those before them without their logits.
    ///
    /// # Errors
    /// [`Failure`] when this machine cannot run the model.
    pub fn inspect(&self, positions: Range<usize>) -> Result<Vec<Inspected>, Failure> {
        let SelfStatement { request, seed, tokens, .. } = &self.statement;
        let spinner = progress::spinner(self.output, "recomputing the trace");
        let inspected = self.engine.inspect(&self.model, Inspection { request, seed, tokens }, positions);
        spinner.finish_and_clear();
        inspected.map_err(|error| match error {
            ExecuteError::OutOfMemory(_) | ExecuteError::Memory { .. } => {
                Failure::new(Exit::Internal, error).hint("free some memory, or use a larger machine")
            }
            error => Failure::new(Exit::Internal, error).hint("this is a bug of assay"),
        })
    }

    /// The first token after one of these positions that the model would not have chosen.
    pub fn first_unlike(&self, inspected: &[Inspected]) -> Option<Unlike> {
        inspected.iter().find_map(|before| {
            let position = before.state.position + 1;
            let token = self.sequence.get(usize::try_from(position).ok()?)?;
            let right_token = before.chosen.filter(|chosen| chosen != token)?;
            let right_text = plain(self.model.text().token_text(right_token).unwrap_or_default());
            Some(Unlike { position, right_token, right_text })
        })
    }
}

/// What somebody states of an execution of their own.
fn own_statement(path: &Path) -> Result<SelfStatement, Failure> {
    match receipt::read(path)? {
        Receipt::Own(receipt) if receipt.statement.class == Class::Tolerance => Err(Failure::usage(format!(
            "reading {}: an execution of the tolerance class leaves no trace",
            path.display()
        ))
        .hint("run a model of the exact class: its receipt has a trace that every machine finds again")),
        Receipt::Own(receipt) => Ok(receipt.statement),
        Receipt::Ledger(_) => Err(Failure::usage(format!(
            "reading {}: a receipt of the ledger holds no seed",
            path.display()
        ))
        .hint(
            "name the receipt of an `assay run`; those of the ledger are checked with `assay receipt verify`",
        )),
    }
}

/// The tokens of a statement's prompt and answer, where the model can have computed them.
fn sequence(model: &Model, statement: &SelfStatement) -> Result<Vec<u32>, Failure> {
    if statement.spec_id != model.spec_id() {
        let cause = format!(
            "recomputing the trace: the receipt follows the definitions {}, and this version computes by {}",
            statement.spec_id,
            model.spec_id()
        );
        return Err(
            Failure::new(Exit::Verification, cause).hint("use the version of assay that wrote the receipt")
        );
    }
    let altered = |cause: String| {
        Failure::new(Exit::Verification, format!("recomputing the trace: {cause}"))
            .hint("the receipt was altered; see what is wrong with it with `assay receipt verify`")
    };
    let SelfStatement { request, tokens, finish, .. } = statement;
    if matches!(finish, Finish::Failed | Finish::Cancelled) {
        return Err(altered("its answer has not come to an end of its own".into()));
    }
    let mut sequence = model.prompt(request).map_err(|error| altered(error.to_string()))?;
    sequence.extend_from_slice(tokens);
    let positions = sequence.len();
    let context = model.config().context_length;
    if positions > usize::try_from(context).unwrap_or(usize::MAX) {
        return Err(altered(format!("{positions} positions, and the model attends to {context}")));
    }
    if let Some(token) = tokens.iter().find(|token| **token >= model.text().vocab_size()) {
        return Err(altered(format!("the model has no token {token}")));
    }
    Ok(sequence)
}

fn trace(statement: &SelfStatement, inspected: &[Inspected]) -> Trace {
    let positions: Vec<TracedPosition> = inspected.iter().map(TracedPosition::from).collect();
    let prompt_tokens = u32::try_from(positions.len() - statement.tokens.len()).unwrap_or(u32::MAX);
    let mut trace = Trace {
        model_id: statement.model_id,
        spec_id: statement.spec_id,
        prompt_tokens,
        trace_root: Default::default(),
        positions,
    };
    trace.trace_root = trace.tree().root();
    trace
}
