//! `assay chain trust`: print a trust root of a later height than the first.

use assay_protocol::receipt::Trust;
use assay_protocol::units::Height;
use assay_runtime::{Hash, Runtime};
use clap::Args;
use jsonrpsee::rpc_params;
use pallet_assay_validators::{ValidatorInfo, Validators, set_of};

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::client::Client;

/// Print who decides from a height on, for `assay receipt verify --trust FILE`: with it nothing rests on those before,
/// who may have left long ago. It is as good as the node that is asked.
#[derive(Debug, Args)]
pub struct TrustCommand {
    /// The height, up to the next; the next, if none is named.
    #[arg(long, value_name = "HEIGHT")]
    at: Option<u32>,
}

impl TrustCommand {
    /// Prints it.
    ///
    /// # Errors
    /// [`Failure`] when the node cannot be asked, or has no state any more, or not yet, that says it.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = context.client().await?;
        let next = client.height().await?.saturating_add(1);
        let from = self.at.unwrap_or(next);
        if from == 0 || from > next {
            return Err(Failure::usage(format!("looking up who decides height {from}: of 1 to {next}"))
                .hint("name a height that is decided, or the next"));
        }
        let trust = read(&client, from).await?;
        let text = serde_json::to_string_pretty(&trust).map_err(anyhow::Error::from)?;
        context.output().result(&trust, |_| text)?;
        Ok(())
    }
}

async fn read(client: &Client, from: u32) -> Result<Trust, Failure> {
    let before: Option<Hash> =
        client.request("chain_getBlockHash", rpc_params![from.saturating_sub(1)]).await?;
    let unknown = || {
        Failure::usage(format!(
            "looking up who decides height {from}: the node does not have the block before"
        ))
        .hint("name a later height, or ask a node that has it")
    };
    let before = before.ok_or_else(unknown)?;
    let key = Validators::<Runtime>::hashed_key();
    let infos: Vec<ValidatorInfo> = client.storage(&key, Some(before)).await?.ok_or_else(unknown)?;
    Ok(Trust { from: Height::new(from), ..Trust::of_genesis(client.genesis_digest(), set_of(&infos)) })
}
