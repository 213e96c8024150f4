//! `assay receipt`: check receipts without trusting a node.

mod file;
mod provenance;
mod summary;
mod trust;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use assay_manifest::JobId;
use assay_protocol::receipt::{Receipt, Report};
use clap::Subcommand;
use jsonrpsee::rpc_params;
use serde::Serialize;

pub use self::file::{read, read_bounded};
pub use self::summary::payments;

use self::provenance::{Told, told};
use self::summary::Claims;
use self::trust::Root;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::table;
use crate::data_dir::write_json;

/// What is to be done with receipts.
#[derive(Debug, Subcommand)]
pub enum ReceiptCommand {
    /// Check everything that a receipt says; needs no node and no network.
    Verify {
        /// The receipt.
        file: PathBuf,
        /// What to trust instead of the data directory: a trust.json, a chain spec, or a validator's key.
        #[arg(long, value_name = "FILE|KEY")]
        trust: Option<String>,
    },
    /// Print what a receipt says, without checking it.
    Show {
        /// A file, or the id of a job that has come to its end.
        #[arg(value_name = "FILE|JOB")]
        receipt: String,
    },
    /// Fetch the receipt of a job and keep it.
    Fetch {
        /// The job.
        job: JobId,
        /// Where it goes, instead of the data directory.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

impl ReceiptCommand {
    /// Does it.
    ///
    /// # Errors
    /// [`Failure`] when a receipt does not hold, cannot be read, or is not to be had.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Verify { file, trust } => verify(context, &file, trust.as_deref()),
            Self::Show { receipt } => show(context, &receipt).await,
            Self::Fetch { job, out } => fetch(context, &job, out).await,
        }
    }
}

/// What came of a verification.
#[derive(Serialize)]
#[serde(untagged)]
enum Verified<'a> {
    Holds(Held<'a>),
    Fails(Failed<'a>),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Held<'a> {
    valid: bool,
    file: &'a Path,
    #[serde(flatten)]
    report: Report,
    /// What the log says of the model and of the providers' keys, as of the checkpoint.
    provenance: Vec<Told>,
    trust: &'a Root,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Failed<'a> {
    valid: bool,
    file: &'a Path,
    check: &'static str,
    cause: String,
    /// What the receipt says, none of which is proven.
    claims: Claims,
    trust: &'a Root,
}

fn verify(context: &Context, path: &Path, trust: Option<&str>) -> Result<(), Failure> {
    let receipt = file::read(path)?;
    let root = Root::find(context, trust, &receipt)?;
    let (verified, failure) = match receipt.verify(&root.trust) {
        Ok(mut report) => {
            report.not_checked.extend(root.left_open());
            let provenance = match &receipt {
                Receipt::Ledger(receipt) => told(receipt),
                Receipt::Own(_) => Vec::new(),
            };
            (Verified::Holds(Held { valid: true, file: path, report, provenance, trust: &root }), None)
        }
        Err(failure) => {
            let (check, cause) = (failure.check, failure.cause.clone());
            let claims = Claims::of(&receipt, &root.trust);
            let failed = Failed { valid: false, file: path, check, cause, claims, trust: &root };
            (Verified::Fails(failed), Some(failure))
        }
    };
    context.output().result(&verified, verified_text)?;
    failure.map_or(Ok(()), |failure| {
        Err(Failure::new(Exit::Verification, format!("verifying {}: {failure}", path.display()))
            .hint("do not rely on this receipt; fetch the job's anew with `assay receipt fetch JOB`"))
    })
}

/// Names of checks that fit beside a title.
const CHECKS_A_LINE: usize = 5;

/// The title of the first of several lines.
const fn titled(title: &'static str, line: usize) -> &'static str {
    if line == 0 { title } else { "" }
}

fn verified_text(verified: &Verified<'_>) -> String {
    match verified {
        Verified::Holds(Held { report, provenance: told, trust, .. }) => {
            let mut rows = vec![("valid", "yes".into())];
            let checked = report.checked.chunks(CHECKS_A_LINE).enumerate();
            rows.extend(checked.map(|(line, checks)| (titled("checked", line), checks.join(", "))));
            rows.extend(Claims::from(report).rows());
            rows.extend(provenance::rows(told));
            rows.extend(trust.rows());
            let left = report.not_checked.iter().enumerate();
            rows.extend(left.map(|(line, what)| (titled("not checked", line), (*what).to_owned())));
            table::fields(&rows)
        }
        Verified::Fails(Failed { check, cause, claims, trust, .. }) => {
            let mut rows = vec![("valid", format!("no: {check}: {}", table::plain(cause)))];
            rows.push(("", "what follows is what the receipt says, and not proven".into()));
            rows.extend(claims.rows());
            rows.extend(trust.rows());
            rows.push(("not checked", "anything after the check that failed".into()));
            table::fields(&rows)
        }
    }
}

async fn show(context: &Context, source: &str) -> Result<(), Failure> {
    let receipt = match source.parse() {
        Ok(job) if !Path::new(source).exists() => download(context, &job).await?,
        _ => file::read(Path::new(source))?,
    };
    context.output().result(&receipt, summary::text)?;
    Ok(())
}

async fn download(context: &Context, job: &JobId) -> Result<Receipt, Failure> {
    Ok(context.client().await?.request("receipt_v1_get", rpc_params![job]).await?)
}

#[derive(Serialize)]
struct Fetched {
    job: JobId,
    file: PathBuf,
}

async fn fetch(context: &Context, job: &JobId, out: Option<PathBuf>) -> Result<(), Failure> {
    let receipt = download(context, job).await?;
    // Beside the opened form, which `assay job` keeps and which cannot be fetched again.
    let name = format!("{}-public", hex::encode(job.as_bytes()));
    let file = match out {
        Some(file) => file,
        None => context.receipt_file(&name)?,
    };
    write_json(&file, &receipt)?;
    let fetched = Fetched { job: *job, file };
    context.output().result(&fetched, |Fetched { job, file }| {
        let file = file.display();
        table::fields(&[
            ("job", job.to_string()),
            ("file", file.to_string()),
            ("next", format!("assay receipt verify {file}")),
        ])
    })?;
    Ok(())
}
