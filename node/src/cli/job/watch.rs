//! `assay job watch`: what happens to a job, as it happens.

use assay_manifest::JobId;
use assay_protocol::job::Verdict;
use serde::Serialize;

use super::kept::Own;
use super::verdict_name;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::table;
use crate::client::{Client, is_right};
use crate::rpc::JobEvent;

/// The last line.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ended {
    event: &'static str,
    verdict: Verdict,
    /// Whether the answer was found right.
    right: bool,
    #[serde(flatten)]
    own: Own,
}

/// Tells what happens to a job until it has ended, and keeps what is to be had of it.
///
/// # Errors
/// [`Failure`] when the job is unknown, the connection breaks, or nobody reads what is told.
pub async fn watch(context: &Context, job: &JobId) -> Result<(), Failure> {
    let client = context.client().await?;
    let output = context.output();
    let mut events = client.job_events(job).await?;
    let verdict = loop {
        let event = events.next().await?;
        output.line(&event, event_text)?;
        if let JobEvent::Settled { verdict, .. } = event {
            break verdict;
        }
    };
    let ended = Ended::read(context, &client, job, verdict).await?;
    Ok(output.line(&ended, Ended::text)?)
}

impl Ended {
    async fn read(
        context: &Context,
        client: &Client,
        job: &JobId,
        verdict: Verdict,
    ) -> Result<Self, Failure> {
        let state = client.job(job).await?;
        let own = Own::of(context, client, job, &state).await;
        let right = state.settlement.as_ref().is_some_and(is_right);
        Ok(Self { event: "ended", verdict, right, own })
    }

    fn text(&self) -> String {
        let right = if self.right { "the answer was found right" } else { "no answer was found right" };
        let mut rows = vec![("verdict", format!("{}: {right}", verdict_name(self.verdict)))];
        rows.extend(self.own.rows());
        table::fields(&rows)
    }
}

/// A line about what happened to a job.
fn event_text(event: &JobEvent) -> String {
    match event {
        JobEvent::Phase { height, round, phase } => {
            let name = serde_json::to_value(phase).ok();
            let name = name.as_ref().and_then(|phase| phase.get("name")).and_then(|name| name.as_str());
            format!("{height:>7}  {} (round {round})", name.unwrap_or("another phase"))
        }
        JobEvent::Drawn { height, role, candidates } => {
            format!("{height:>7}  {role:?} drawn among {candidates}")
        }
        JobEvent::Committed { height, seat, account } => {
            let account = account.as_ref().map(table::short).unwrap_or_default();
            format!("{height:>7}  seat {seat} committed {account}")
        }
        JobEvent::Revealed { height, value, .. } => {
            format!("{height:>7}  value {} opened", table::short(value))
        }
        JobEvent::Settled { height, verdict, log_index } => {
            format!("{height:>7}  {}, log entry {log_index}", verdict_name(*verdict))
        }
        JobEvent::Stuck { height } => format!("{height:>7}  an automatic step failed"),
        JobEvent::Stop { reason } => format!("the node stopped telling: {reason}"),
    }
}
