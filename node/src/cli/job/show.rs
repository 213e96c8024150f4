//! `assay job show`: where a job stands.

use assay_manifest::JobId;
use serde::Serialize;

use super::kept::Own;
use super::verdict_name;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::receipt::payments;
use crate::cli::table;
use crate::client::JobState;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    #[serde(flatten)]
    state: JobState,
    #[serde(flatten)]
    own: Own,
}

/// Shows a job.
///
/// # Errors
/// [`Failure`] when the node cannot be asked, or does not know the job.
pub async fn show(context: &Context, job: &JobId) -> Result<(), Failure> {
    let client = context.client().await?;
    let state = client.job(job).await?;
    let own = Own::of(context, &client, job, &state).await;
    context.output().result(&Shown { state, own }, |shown| shown.text(job))?;
    Ok(())
}

impl Shown {
    fn text(&self, job: &JobId) -> String {
        let mut rows = vec![("job", job.to_string())];
        if let Some(phase) = self.state.job.as_ref().and_then(|job| job.pointer("/phase/name")) {
            rows.push(("phase", phase.as_str().unwrap_or_default().to_owned()));
        }
        if let Some(record) = &self.state.settlement {
            rows.push(("verdict", verdict_name(record.verdict)));
            rows.push(("payments", payments(record)));
            rows.push(("settled at", format!("height {}", record.settled_at)));
        }
        rows.extend(self.state.log_index.map(|index| ("log entry", index.to_string())));
        rows.extend(self.own.rows());
        table::fields(&rows)
    }
}
