//! What the node that is asked executes itself, for nothing, before anything is bought.

use std::path::PathBuf;

use assay_manifest::Digest32;
use assay_protocol::commitment::Finish;
use assay_protocol::job::Verdict;
use assay_protocol::receipt::SelfStatement;
use assay_protocol::record::Class;
use serde::Serialize;
use serde_json::{Value, json};

use super::submit::refused_request;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::run::sign;
use crate::cli::{progress, table};
use crate::client::Client;
use crate::data_dir::write_json;
use crate::keys::Key;
use crate::rpc::Ask;

/// What the node itself answered.
#[derive(Serialize)]
pub struct Own {
    state: &'static str,
    verdict: Verdict,
    output: String,
    /// Tokens of prompt and answer.
    usage: Value,
    finish: Finish,
    receipt: PathBuf,
}

impl Own {
    /// Lines for people.
    pub fn text(&self) -> String {
        let rows = [
            ("state", "executed by the node that was asked, and checked by nobody".to_owned()),
            ("receipt", self.receipt.display().to_string()),
        ];
        format!("{}\n\n{}", table::plain(&self.output), table::fields(&rows))
    }
}

/// The answer of the node's own model, in a receipt that whoever asks signs; nothing where the node lacks the model, has
/// no time, or is not the caller's.
///
/// # Errors
/// [`Failure`] when the model cannot do what is asked, or the receipt cannot be written.
pub async fn executed_here(
    context: &Context,
    client: &Client,
    (ask, seed): (Ask, Option<Digest32>),
    key: &Key,
) -> Result<Option<Own>, Failure> {
    let (model_id, seed) = (ask.model, seed.unwrap_or_else(|| Digest32::from_bytes(rand::random())));
    let spinner = progress::spinner(context.output(), "asking the node itself");
    let executed = client.execute_here(ask, seed).await;
    spinner.finish_and_clear();
    let Some((request, executed)) = executed.map_err(refused_request)? else { return Ok(None) };
    let usage = json!({ "nIn": request.n_in, "nOut": executed.tokens.len() });
    let (output, finish) = (executed.text, executed.finish);
    let statement = SelfStatement {
        class: Class::Exact,
        model_id,
        spec_id: executed.spec_id,
        seed,
        request,
        tokens: executed.tokens,
        finish,
        trace_root: executed.trace_root,
        signer: key.account().into(),
    };
    let receipt = context.receipt_file(&format!("run-{}", statement.digest()))?;
    write_json(&receipt, &sign(statement, key))?;
    Ok(Some(Own { state: "executed", verdict: Verdict::SelfSigned, output, usage, finish, receipt }))
}
