//! `assay chain`: look at the chain.

use assay_manifest::Digest32;
use assay_protocol::certificate::ValidatorSet;
use assay_protocol::params::Params;
use assay_protocol::units::Amount;
use clap::Subcommand;
use jsonrpsee::rpc_params;
use serde::{Deserialize, Serialize};

use super::context::Context;
use super::failure::Failure;
use super::output::tokens;
use super::table;
use crate::client::Client;

/// What is to be seen of the chain.
#[derive(Debug, Subcommand)]
pub enum ChainCommand {
    /// Print the chain's state, rules and validators.
    Info,
}

impl ChainCommand {
    /// Prints it.
    ///
    /// # Errors
    /// [`Failure`] when the node cannot be asked.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let Self::Info = self;
        let info = Info::read(&context.client().await?).await?;
        context.output().result(&info, Info::text)?;
        Ok(())
    }
}

/// What the node says about itself, as far as it concerns the chain.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeInfo {
    version: String,
    chain: String,
    genesis: Digest32,
    best_height: u32,
    block_time_ms: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RuntimeVersion {
    spec_name: String,
    spec_version: u32,
    transaction_version: u32,
}

#[derive(Debug, Serialize)]
struct Log {
    size: u64,
    root: Digest32,
}

#[derive(Debug, Serialize)]
struct Providers {
    count: usize,
    stake: Amount,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    #[serde(flatten)]
    node: NodeInfo,
    runtime: RuntimeVersion,
    validators: ValidatorSet,
    log: Log,
    providers: Providers,
    params: Params,
}

impl Info {
    async fn read(client: &Client) -> Result<Self, Failure> {
        let (size, root) = client.runtime("LedgerApi_log", ()).await?;
        let providers = client.providers(None).await?;
        let add = |sum: Amount, stake| sum.plus(stake).unwrap_or(sum);
        let stake = providers.iter().map(|provider| provider.stake).fold(Amount::ZERO, add);
        Ok(Self {
            node: client.request("node_v1_info", rpc_params![]).await?,
            runtime: client.request("state_getRuntimeVersion", rpc_params![]).await?,
            validators: client.runtime("LedgerApi_validators", ()).await?,
            log: Log { size, root },
            providers: Providers { count: providers.len(), stake },
            params: client.runtime("JobsApi_params", ()).await?,
        })
    }

    fn text(&self) -> String {
        let Self { node, runtime, validators, log, providers, params } = self;
        let RuntimeVersion { spec_name, spec_version, transaction_version } = runtime;
        let stake = tokens(providers.stake.get());
        let mut rows = vec![
            ("chain", table::plain(&node.chain)),
            ("genesis", node.genesis.to_string()),
            ("height", format!("{}, a block every {} ms", node.best_height, node.block_time_ms)),
            ("log", format!("{}, root {}", entries(log.size), log.root)),
            ("providers", format!("{} with {stake} of stake", providers.count)),
            ("node", table::plain(&node.version)),
            ("runtime", format!("{spec_name} {spec_version}, transactions {transaction_version}")),
        ];
        let validator = validators.validators().iter();
        rows.extend(validator.map(|one| ("validator", format!("{}, power {}", one.key, one.power))));
        rows.extend(parameters(params));
        table::fields(&rows)
    }
}

fn entries(size: u64) -> String {
    if size == 1 { "1 entry".into() } else { format!("{size} entries") }
}

fn parameters(params: &Params) -> Vec<(&'static str, String)> {
    let windows = format!(
        "draws {} and {}, accept {}, reveal {}, concede {}, verdict {}, challenge {} blocks",
        params.executor_draw_delay,
        params.verifier_draw_delay,
        params.accept_window,
        params.reveal_window,
        params.concede_window,
        params.verdict_window,
        params.challenge_window,
    );
    let speed = format!(
        "prefill {}, decoding {} tokens a block, and {} blocks of grace",
        params.prefill_tokens_per_block, params.decode_tokens_per_block, params.compute_grace,
    );
    let market =
        format!("offers after {}, unstaking after {} blocks", params.offer_delay, params.unbonding_window);
    let money = format!(
        "job at least {}, step {}, stake at least {}",
        tokens(params.job_fee_min.get()),
        tokens(params.step_fee.get()),
        tokens(params.stake_min.get()),
    );
    vec![("windows", windows), ("speed", speed), ("market", market), ("fees", money)]
}
