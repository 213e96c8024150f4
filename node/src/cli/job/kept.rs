//! What this machine keeps of a job that was bought from it: the order, the receipt and the answer.

use std::path::PathBuf;

use assay_manifest::JobId;
use assay_protocol::job::SettlementRecord;
use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::table;
use crate::client::{Client, ClientError, JobOutput, JobState, Order};
use crate::data_dir::{read_json, write_json};

/// The receipt and the answer of a job that has ended.
pub struct Kept {
    /// Where the receipt lies, in its opened form if the answer was ever to be had.
    pub receipt: PathBuf,
    /// The answer, if there is one, or why it could not be fetched.
    pub answer: Result<Option<JobOutput>, ClientError>,
}

impl Kept {
    /// Keeps the receipt, and opens it if the answer is to be had.
    ///
    /// # Errors
    /// [`Failure`] when the receipt cannot be fetched or written.
    pub async fn of(
        context: &Context,
        client: &Client,
        order: &Order,
        record: &SettlementRecord,
    ) -> Result<Self, Failure> {
        let path = context.receipt_file(&hex::encode(order.job.as_bytes()))?;
        let public = client.receipt(&order.job).await?;
        // What lies there may have been opened before, when the answer was still to be had.
        if !path.exists() {
            write_json(&path, &public)?;
        }
        let answer = match record.claim {
            Some(_) => client.answer(order, record).await.map(Some),
            None => Ok(None),
        };
        if let Ok(Some(output)) = &answer {
            write_json(&path, &order.open(public, output))?;
        }
        Ok(Self { receipt: path, answer })
    }
}

impl Kept {
    /// Keeps the receipt of an answer that came another way, opened by it.
    ///
    /// # Errors
    /// [`Failure`] when the receipt cannot be fetched or written.
    pub async fn opened(
        context: &Context,
        client: &Client,
        order: &Order,
        output: &JobOutput,
    ) -> Result<PathBuf, Failure> {
        let path = context.receipt_file(&hex::encode(order.job.as_bytes()))?;
        let public = client.receipt(&order.job).await?;
        write_json(&path, &order.open(public, output))?;
        Ok(path)
    }
}

/// The order of a job, if it was bought from here.
///
/// # Errors
/// [`Failure`] when its file is damaged.
pub fn order(context: &Context, job: &JobId) -> Result<Option<Order>, Failure> {
    let path = context.order_file(job)?;
    if path.exists() { Ok(Some(read_json(&path)?)) } else { Ok(None) }
}

/// What is shown of a job beside what the ledger says: nothing unless it was bought from here.
#[derive(Debug, Default, Serialize)]
pub struct Own {
    answer: Option<JobOutput>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<PathBuf>,
    /// Why answer or receipt are missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl Own {
    /// Reads the order, and once the job has ended keeps receipt and answer. What fails is told and not fatal:
    /// the ledger's word is worth showing without it.
    pub async fn of(context: &Context, client: &Client, job: &JobId, state: &JobState) -> Self {
        let missing = |problem: String| Self { problem: Some(problem), ..Self::default() };
        let order = match order(context, job) {
            Ok(order) => order,
            Err(failure) => return missing(failure.cause()),
        };
        let (Some(order), Some(record)) = (order, &state.settlement) else { return Self::default() };
        match Kept::of(context, client, &order, record).await {
            Ok(Kept { receipt, answer: Ok(answer) }) => {
                Self { answer, receipt: Some(receipt), problem: None }
            }
            Ok(Kept { receipt, answer: Err(error) }) => {
                let problem = Some(format!("fetching the answer: {error}"));
                Self { answer: None, receipt: Some(receipt), problem }
            }
            Err(failure) => missing(failure.cause()),
        }
    }

    /// As lines.
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = Vec::new();
        rows.extend(self.answer.iter().map(|answer| ("answer", table::plain(&answer.text))));
        rows.extend(self.receipt.iter().map(|path| ("receipt", path.display().to_string())));
        rows.extend(self.problem.iter().map(|problem| ("problem", table::plain(problem))));
        rows
    }
}
