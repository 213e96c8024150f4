//! `assay job demand`: asking on the ledger for an answer that nobody hands over.

use assay_manifest::JobId;
use assay_protocol::job::SettlementRecord;
use clap::Args;
use serde::Serialize;

use super::kept::{Kept, order};
use crate::cli::context::Context;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::tokens;
use crate::cli::{progress, table};
use crate::client::{Client, Demanded, Order};
use crate::keys::Key;

/// Ask on the ledger for an answer that nobody hands over.
#[derive(Debug, Args)]
pub struct Demand {
    /// The job's id.
    job: JobId,
}

/// What became of the demand.
#[derive(Serialize)]
#[serde(tag = "state", rename_all = "camelCase")]
enum Ended {
    /// The answer, from the ledger.
    Answered { output: String, receipt: std::path::PathBuf },
    /// The executor posted something else; the complaint has cost it its bond.
    Complained,
    /// The executor posted nothing in time, which has cost it its bond.
    Withheld,
}

impl Demand {
    /// Asks, waits, and complains of what is not the answer.
    ///
    /// # Errors
    /// [`Failure`] when the job was not bought from here, has no answer, or the ledger refuses.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let Some(order) = order(context, &self.job)? else {
            let cause = format!("demanding the answer of {}: it was not bought from here", self.job);
            return Err(Failure::usage(cause).hint("name the data directory of the order with --base-path"));
        };
        let client = context.client().await?;
        let Some(record) = client.job(&self.job).await?.settlement.filter(|record| record.claim.is_some())
        else {
            let cause = format!("demanding the answer of {}: it has not ended with one", self.job);
            return Err(Failure::usage(cause).hint("see where it stands with `assay job show`"));
        };
        let deposit = client.demand_deposit().await?;
        context.confirm(&format!("{} stand for the bytes until the answer is there", tokens(deposit)))?;
        let key = context.key()?;
        let spinner = progress::spinner(context.output(), "waiting for the answer");
        let demanded = demand(&client, &key, &order, &record).await;
        spinner.finish_and_clear();
        let ended = match demanded? {
            Demanded::Complained => Ended::Complained,
            Demanded::Withheld => Ended::Withheld,
            Demanded::Answered(output) => {
                let receipt = Kept::opened(context, &client, &order, &output).await?;
                Ended::Answered { output: output.text, receipt }
            }
        };
        context.output().result(&ended, Ended::text)?;
        match ended {
            Ended::Answered { .. } => Ok(()),
            Ended::Complained | Ended::Withheld => {
                let cause =
                    format!("demanding the answer of {}: its executor did not make it available", self.job);
                Err(Failure::new(Exit::Verification, cause)
                    .hint("what it forfeits comes to your account; ask again"))
            }
        }
    }
}

async fn demand(
    client: &Client,
    key: &Key,
    order: &Order,
    record: &SettlementRecord,
) -> Result<Demanded, Failure> {
    client.demand(key, order).await?;
    Ok(client.await_demanded(key, order, record).await?)
}

impl Ended {
    fn text(&self) -> String {
        match self {
            Self::Answered { output, receipt } => {
                let receipt = table::fields(&[("receipt", receipt.display().to_string())]);
                format!("{}\n\n{receipt}", table::plain(output))
            }
            Self::Complained => "the executor posted something else, and has lost its bond for it".into(),
            Self::Withheld => "the executor posted nothing, and has lost its bond for it".into(),
        }
    }
}
