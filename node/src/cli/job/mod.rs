//! `assay job`: buying inference.

mod submit;
mod bought;
mod challenge;
mod demand;
mod kept;
mod own;
mod show;
mod watch;
mod list;

use assay_manifest::JobId;
use assay_protocol::job::Verdict;
use clap::{Args, Subcommand};

use self::challenge::Challenge;
use self::demand::Demand;
use self::list::List;
use self::submit::Submit;
use super::context::Context;
use super::failure::Failure;

pub use self::bought::{Bought, finish};
pub use self::submit::{enough, now_s};

/// Buying inference.
#[derive(Debug, Subcommand)]
pub enum JobCommand {
    /// Ask a model, paying for an answer that others re-execute.
    Submit(Box<Submit>),
    /// Show where a job stands, and its answer if it was bought from here.
    Show(JobRef),
    /// List open jobs.
    List(List),
    /// Follow a job until it has ended.
    Watch(JobRef),
    /// Ask on the ledger for an answer that nobody hands over.
    Demand(Demand),
    /// Contest what was agreed about a job; the validators execute it again.
    Challenge(Challenge),
}

impl JobCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// [`Failure`] when the node cannot be asked, or refuses.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Submit(submit) => submit.run(context).await,
            Self::Show(job) => show::show(context, &job.job).await,
            Self::List(list) => list.run(context).await,
            Self::Watch(job) => watch::watch(context, &job.job).await,
            Self::Demand(demand) => demand.run(context).await,
            Self::Challenge(challenge) => challenge.run(context).await,
        }
    }
}

/// A verdict as JSON and people name it.
pub fn verdict_name(verdict: Verdict) -> String {
    let name = serde_json::to_value(verdict).ok();
    name.and_then(|name| name.as_str().map(ToOwned::to_owned)).unwrap_or_else(|| format!("{verdict:?}"))
}

/// A job by its id.
#[derive(Debug, Args)]
pub struct JobRef {
    /// The job's id.
    job: JobId,
}
