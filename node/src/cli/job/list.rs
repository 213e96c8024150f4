//! `assay job list`: what is open.

use clap::Args;
use jsonrpsee::rpc_params;
use serde::Deserialize;
use serde_json::Value;

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::table;

#[derive(Deserialize)]
struct Page {
    items: Vec<Value>,
    cursor: Option<String>,
}

/// List open jobs.
#[derive(Debug, Args)]
pub struct List {
    /// Only those of this account.
    #[arg(long, value_name = "ACCOUNT")]
    requester: Option<String>,
}

impl List {
    /// Lists them.
    ///
    /// # Errors
    /// [`Failure`] when the node cannot be asked.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = context.client().await?;
        let requester = match &self.requester {
            Some(text) => Some(context.account_of(text)?),
            None => None,
        };
        let (mut jobs, mut cursor) = (Vec::new(), None);
        loop {
            let params = rpc_params![cursor, Option::<u32>::None, &requester];
            let page: Page = client.request("job_v1_list", params).await?;
            jobs.extend(page.items);
            cursor = page.cursor;
            if cursor.is_none() {
                break;
            }
        }
        context.output().result(&jobs, |jobs| list_text(jobs))?;
        Ok(())
    }
}

fn list_text(jobs: &[Value]) -> String {
    if jobs.is_empty() {
        return "no job is open".into();
    }
    let text = |job: &Value, path: &str| match job.pointer(path) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "-".into(),
    };
    let row =
        |job: &Value| [text(job, "/id"), text(job, "/phase/name"), text(job, "/nIn"), text(job, "/nMax")];
    table::table(["JOB", "PHASE", "IN", "MAX OUT"], &jobs.iter().map(row).collect::<Vec<_>>())
}
