//! `assay job challenge`: contesting what was agreed about a job.

use assay_manifest::JobId;
use assay_protocol::job::Job;
use assay_runtime::{Balance, Hash};
use clap::Args;
use serde::Serialize;

use super::kept::order;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::output::tokens;

/// Contest what was agreed about a job; the validators execute it again.
#[derive(Debug, Args)]
pub struct Challenge {
    /// The job's id.
    job: JobId,
}

/// A challenge that the ledger has taken.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Challenged {
    job: JobId,
    block: Hash,
    /// Base units.
    #[serde(serialize_with = "crate::client::decimal")]
    deposit: Balance,
    /// Whether the validators got input and answer from here.
    briefed: bool,
}

impl Challenge {
    /// Contests.
    ///
    /// # Errors
    /// [`Failure`] when the job has left the ledger, or the ledger refuses.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = context.client().await?;
        let job: Option<Job> = client.job_on_ledger(&self.job).await?;
        let Some(job) = job else {
            let cause =
                format!("challenging job {}: it is not on the ledger, or its window has closed", self.job);
            return Err(Failure::usage(cause).hint("a settlement can be contested until bonds are released"));
        };
        let deposit = job.quote.referee_cost.get();
        let question = format!("{} go to the pot if the validators find the same", tokens(deposit));
        context.confirm(&question)?;
        let key = context.key()?;
        let block = client.challenge(&key, self.job).await?.block;
        // Seats that agreed on a lie tell the validators nothing; whoever bought the job can.
        let briefed = match order(context, &self.job)? {
            Some(order) if order.requester == key.account() => {
                let briefed = client.brief_judges(&key, &order).await;
                // The challenge stands all the same, and so does its deposit.
                if let Err(error) = &briefed {
                    context.output().say(format!("the validators were not told from here: {error}"))?;
                }
                briefed.is_ok()
            }
            _ => false,
        };
        let challenged = Challenged { job: self.job, block, deposit, briefed };
        context.output().result(&challenged, Challenged::text)?;
        Ok(())
    }
}

impl Challenged {
    fn text(&self) -> String {
        let deposit = tokens(self.deposit);
        let briefed = if self.briefed { "\nthe validators have got input and answer from here" } else { "" };
        format!(
            "challenged in block {}; {deposit} stand for it until the validators have decided{briefed}",
            self.block
        )
    }
}
