//! `assay demo`: the whole promise on one machine, told in a few lines.

mod story;
mod tally;

use std::fs::Permissions;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use assay_engine::Settings;
use assay_manifest::{ArtifactId, WeightsId};
use assay_protocol::receipt::Receipt;
use clap::Args;
use serde::Serialize;

use super::context::Context;
use super::failure::{Exit, Failure};
use super::job::{Bought, enough, finish, now_s};
use super::node::{CACHE_BYTES_MAX, IsolationArg, real_failure};
use crate::chain_spec::{
    ChainSpec, DEVELOPMENT_ACCOUNTS, development_authority, development_providers, development_sellers,
};
use crate::client::{Client, Order, Wish};
use crate::consensus::Network;
use crate::data_dir::{DataDir, read_json, write_json};
use crate::development::{self, Published};
use crate::keys::Key;
use crate::ledger;
use crate::model_process::Unconfined;
use crate::node::{Config, Node};
use crate::rpc::{self, Ask, ChainKind};
use story::Story;
use tally::{Share, Tally};

/// The most tokens that the demo's answer may have.
const MAX_TOKENS: u32 = 48;

/// Show the whole promise on this machine.
#[derive(Debug, Args)]
pub struct Demo {
    /// What to ask the model, instead of a sum that it has never seen.
    #[arg(long, value_name = "TEXT")]
    question: Option<String>,
    /// Directory for everything that the demo writes, instead of a temporary one.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// What the demo did.
#[derive(Serialize)]
struct Shown {
    model: ShownModel,
    job: Bought,
    receipt: ShownReceipt,
    balances: Vec<Share>,
    seconds: f64,
}

#[derive(Serialize)]
struct ShownModel {
    artifact_id: ArtifactId,
    weights_id: Option<WeightsId>,
}

#[derive(Serialize)]
struct ShownReceipt {
    path: PathBuf,
    verified: bool,
}

impl Demo {
    /// Runs the demo.
    ///
    /// # Errors
    /// [`Failure`] when any step does not do what it should.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let story = Story::begin(context.output(), development_providers()?)?;
        let dir = match self.dir {
            Some(dir) => dir,
            None => fresh_dir()?,
        };
        let context = context.with_base(&dir);
        let node = start_node(&dir).await?;
        let url = format!("ws://{}", node.rpc_address());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let running = tokio::spawn(node.run_until(async move { drop(stopped.await) }));
        let question = self.question.unwrap_or_else(|| development::question().into());
        let told = tell(&context, &story, &url, question).await;
        // The node may be gone already; then its own error says why.
        let _ = stop.send(());
        let ended = running.await.map_err(|error| Failure::new(Exit::Internal, error))?;
        let shown = match told {
            Ok(shown) => shown,
            Err(failure) => return Err(real_failure(failure, ended)),
        };
        ended?;
        story.end(&shown)?;
        shown.job.check()?;
        if shown.receipt.verified {
            return Ok(());
        }
        Err(Failure::new(Exit::Verification, "the demo did not end with a valid receipt"))
    }
}

/// A directory of the demo's own that stays, so that its receipt can be checked again.
fn fresh_dir() -> Result<PathBuf, Failure> {
    let private = Permissions::from_mode(0o700);
    let made = tempfile::Builder::new().prefix("assay-demo-").permissions(private).tempdir();
    Ok(made.map_err(anyhow::Error::from).context("creating a directory for the demo")?.keep())
}

async fn start_node(dir: &Path) -> Result<Node, Failure> {
    let spec = ChainSpec::development()?;
    let config = Config {
        data: DataDir::create(dir, &spec, None)?,
        spec,
        kind: ChainKind::Development,
        validator: Some(development_authority()),
        network: Network::alone(),
        market: None,
        identities: development_sellers()?,
        rpc: rpc::Config { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), ..rpc::Config::default() },
        ledger: ledger::Config::default(),
        engine: Settings { cache_bytes_max: CACHE_BYTES_MAX, ..Settings::for_this_machine() },
        isolation: IsolationArg::Process.isolation(Unconfined::Warned)?,
    };
    Ok(Node::start(config).await?)
}

async fn tell(context: &Context, story: &Story, url: &str, question: String) -> Result<Shown, Failure> {
    let started = Instant::now();
    let client = Client::connect(url).await?;
    let [publisher, buyer] = DEVELOPMENT_ACCOUNTS.map(Key::development);
    let (publisher, buyer, providers) = (publisher?, buyer?, development_providers()?);
    story.node(url, &client).await?;
    let published = open_shop(context, story, &client, &publisher, &providers).await?;

    let mut tally = Tally::new(&buyer, &providers);
    tally.take(&client).await?;
    let order = ask(context, &client, &buyer, &published, question.clone()).await?;
    tally.take(&client).await?;
    story.asked(&question, &client.quote(&order).await?)?;
    let job = answer(context, story, &client, (&buyer, &order)).await?;
    tally.take(&client).await?;

    let receipt: Receipt = read_json(&job.receipt)?;
    let verified = receipt.verify(&context.data_dir()?.trust()?);
    story.verified(&verified, &job.receipt)?;
    let record = tally.take_until_closed(&client, &job.id).await?;
    let record = record.ok_or_else(|| Failure::new(Exit::Internal, "the node has no record of the job"))?;
    story.looked_at_again(&record)?;
    let receipt = ShownReceipt { path: job.receipt.clone(), verified: verified.is_ok() };
    let model = ShownModel {
        artifact_id: published.quantised.artifact_id,
        weights_id: published.quantised.weights_id,
    };
    let seconds = started.elapsed().as_secs_f64();
    Ok(Shown { model, balances: tally.shares(&record), job, receipt, seconds })
}

/// Registers the model with all that it was made of, and has the providers offer it.
async fn open_shop(
    context: &Context,
    story: &Story,
    client: &Client,
    publisher: &Key,
    providers: &[Key],
) -> Result<Published, Failure> {
    let published = development::publish(client, publisher, context.data_dir()?.root()).await?;
    story.registered(&published, development::recompute_quantisation())?;
    let offering: Vec<_> = providers.iter().map(|provider| (client, provider)).collect();
    development::open_market(&offering, published.served()).await?;
    story.market(providers)?;
    Ok(published)
}

async fn ask(
    context: &Context,
    client: &Client,
    buyer: &Key,
    published: &Published,
    question: String,
) -> Result<Order, Failure> {
    let policy = assay_protocol::record::Policy::Verified { verifiers: 2 };
    let offers = client.serving(&published.model_id, Some(&published.spec_id)).await?;
    let ask = Ask::greedy(published.model_id, super::asking::question(question), MAX_TOKENS);
    let wish = Wish {
        ask: Ask { now_s: now_s(), ..ask },
        seed: None,
        policy,
        prices: enough(&offers, &published.model_id, policy),
        direct_executor: None,
    };
    let order = client.draft(buyer.account(), wish).await?;
    write_json(&context.order_file(&order.job)?, &order)?;
    client.place(buyer, &order).await?;
    Ok(order)
}

/// Tells how the job goes on, and what the model answers at its end.
async fn answer(
    context: &Context,
    story: &Story,
    client: &Client,
    (buyer, order): (&Key, &Order),
) -> Result<Bought, Failure> {
    let mut told = Ok(());
    let bought = finish(context, client, (buyer, order), |event| {
        if told.is_ok() {
            told = story.happened(event);
        }
    });
    let bought = bought.await?;
    told?;
    story.answered(&bought)?;
    Ok(bought)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_has_a_directory_of_its_own_that_nobody_else_reads() {
        let [first, second] = [fresh_dir().unwrap(), fresh_dir().unwrap()];
        assert_ne!(first, second);
        for dir in [first, second] {
            assert_eq!(std::fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
            std::fs::remove_dir(dir).unwrap();
        }
    }
}
