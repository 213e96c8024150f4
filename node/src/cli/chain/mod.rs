//! `assay chain`: look at the chain, and rule on what its verdicts rest on.

mod rule;
mod snapshot;
mod trust;

use assay_manifest::{Digest32, SpecId};
use assay_protocol::certificate::ValidatorSet;
use assay_protocol::params::Params;
use assay_protocol::units::Amount;
use assay_runtime::executor::{Checked, StoreError, check, on_big_stack};
use clap::Subcommand;
use jsonrpsee::rpc_params;
use serde::{Deserialize, Serialize};

use self::rule::{Rule, Standing};
use self::snapshot::SnapshotCommand;
use self::trust::TrustCommand;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::output::tokens;
use super::table;
use crate::adapters::open_ledger;
use crate::client::Client;
use crate::data_dir::DataDir;

/// What is to be seen of the chain, and done to it.
#[derive(Debug, Subcommand)]
pub enum ChainCommand {
    /// Print the chain's state, rules and validators.
    Info,
    /// Read the whole ledger of a stopped node and compare it with its hashes: blocks, certificates, state, log.
    Check,
    /// Print what the chain begins with, for other machines: `assay node --spec FILE` joins it.
    Spec,
    /// The chain at one height as a file.
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    Trust(TrustCommand),
    Rule(Rule),
}

impl ChainCommand {
    /// Prints it.
    ///
    /// # Errors
    /// [`Failure`] when the node cannot be asked, or its ledger is not whole.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Info => {
                let info = Info::read(&context.client().await?).await?;
                context.output().result(&info, Info::text)?;
            }
            Self::Check => {
                let whole = Whole::read(&context.data_dir()?)?;
                context.output().result(&whole, Whole::text)?;
            }
            Self::Spec => {
                let spec = context.data_dir()?.chain_spec()?;
                let text = serde_json::to_string_pretty(&spec).map_err(anyhow::Error::from)?;
                context.output().result(&spec, |_| text)?;
            }
            Self::Snapshot(command) => command.run(context)?,
            Self::Trust(command) => command.run(context).await?,
            Self::Rule(rule) => rule.run(context).await?,
        }
        Ok(())
    }
}

/// A ledger in which nothing is missing.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Whole {
    chain: String,
    store: &'static str,
    base: u32,
    height: u32,
    head: Digest32,
    state_keys: usize,
    log_entries: u64,
}

impl Whole {
    fn read(data: &DataDir) -> Result<Self, Failure> {
        let spec = data.chain_spec()?;
        if !data.ledger().exists() {
            let cause = format!("checking {}: no node has run with it", data.root().display());
            return Err(Failure::usage(cause).hint("name the directory with --base-path and --chain"));
        }
        let not_opened = |error: StoreError| {
            Failure::new(Exit::Store, error).hint("stop the node that uses the data directory")
        };
        let kv = open_ledger(data.store(), &data.ledger()).map_err(not_opened)?;
        let checked = on_big_stack(|| check(kv, &spec.genesis)).and_then(|checked| checked);
        let Checked { base, height, head, state_keys, log_entries } = checked.map_err(|error| {
            Failure::new(Exit::Store, error).hint(
                "the ledger is damaged; keep a copy of the data directory, and put a backup in its place. A validator \
                 must not go on with one: docs/OPERATING.md, Back up, says how it begins again",
            )
        })?;
        let head = Digest32::from_bytes(head.0);
        Ok(Self { chain: spec.id, store: data.store().name(), base, height, head, state_keys, log_entries })
    }

    fn text(&self) -> String {
        let Self { chain, store, base, height, head, state_keys, log_entries } = self;
        let log = entries(*log_entries);
        let begun = if *base > 0 { ", begun with a snapshot" } else { "" };
        table::fields(&[
            ("chain", format!("{}, kept in {store}", table::plain(chain))),
            ("blocks", format!("whole from {base} to {height}, {head}{begun}")),
            ("state", format!("whole, {state_keys} keys")),
            ("log", format!("whole, {log}")),
        ])
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

/// A definition about which the validators were asked.
#[derive(Debug, Serialize)]
struct Questioned {
    spec: SpecId,
    #[serde(flatten)]
    standing: Standing,
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
    questioned: Vec<Questioned>,
    params: Params,
}

impl Info {
    async fn read(client: &Client) -> Result<Self, Failure> {
        let (size, root) = client.runtime("LedgerApi_log", ()).await?;
        let providers = client.providers().await?;
        let add = |sum: Amount, stake| sum.plus(stake).unwrap_or(sum);
        let stake = providers.iter().map(|provider| provider.stake).fold(Amount::ZERO, add);
        let questioned = client.questioned().await?.into_iter();
        Ok(Self {
            node: client.request("node_v1_info", rpc_params![]).await?,
            runtime: client.request("state_getRuntimeVersion", rpc_params![]).await?,
            validators: client.runtime("LedgerApi_validators", ()).await?,
            log: Log { size, root },
            providers: Providers { count: providers.len(), stake },
            questioned: questioned.map(|(spec, state)| Questioned { spec, standing: state.into() }).collect(),
            params: client.runtime("JobsApi_params", ()).await?,
        })
    }

    fn text(&self) -> String {
        let Self { node, runtime, validators, log, providers, questioned, params } = self;
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
        let questioned = questioned.iter();
        rows.extend(questioned.map(|one| ("definition", format!("{}: {}", one.spec, one.standing))));
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
    let validators = format!(
        "chosen every {} blocks, stake at least {}, unstaking after {} blocks",
        params.session_length,
        tokens(params.validator_stake_min.get()),
        params.validator_unbonding_window,
    );
    vec![
        ("windows", windows),
        ("speed", speed),
        ("market", market),
        ("validators", validators),
        ("fees", money),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_that_began_with_a_snapshot_is_not_called_whole_from_its_first_block() {
        let whole = |base| Whole {
            chain: "dev".into(),
            store: "redb",
            base,
            height: 90,
            head: Digest32::ZERO,
            state_keys: 1,
            log_entries: 1,
        };
        assert!(whole(0).text().contains("whole from 0 to 90"));
        let text = whole(70).text();
        assert!(text.contains("whole from 70 to 90") && text.contains("snapshot"), "{text}");
    }
}
