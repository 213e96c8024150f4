//! `assay demo`: the whole promise on one machine, told in a few lines.

mod story;
mod tally;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Instant;

use assay_engine::Settings;
use assay_manifest::{ArtifactId, WeightsId};
use assay_protocol::receipt::Receipt;
use clap::Args;
use serde::Serialize;

use super::context::Context;
use super::failure::{Exit, Failure};
use super::job::{Bought, enough, finish, now_s, order_path};
use crate::chain_spec::{ChainSpec, DEVELOPMENT_ACCOUNTS, development_authority, development_providers};
use crate::client::{Client, Order, Wish};
use crate::data_dir::{DataDir, read_json, write_json};
use crate::development::{self, Published};
use crate::keys::Key;
use crate::node::{Config, Node};
use crate::rpc::{self, ChainKind};
use crate::{ledger, supervisor::TaskError};
use story::Story;
use tally::{Share, Tally, closed};

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
        let story = Story::begin(context.output())?;
        let dir = match self.dir {
            Some(dir) => dir,
            None => std::env::temp_dir().join(format!("assay-demo-{}", std::process::id())),
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
        let shown = told?;
        ended.map_err(|error: TaskError| Failure::new(Exit::Internal, error))?;
        story.end(&shown)?;
        if shown.job.right && shown.receipt.verified {
            return Ok(());
        }
        Err(Failure::new(Exit::Verification, "the demo did not end with a right answer and a valid receipt"))
    }
}

async fn start_node(dir: &Path) -> Result<Node, Failure> {
    let spec = ChainSpec::development()?;
    let config = Config {
        data: DataDir::create(dir, &spec)?,
        spec,
        kind: ChainKind::Development,
        authority: Some(development_authority()),
        identities: development_providers()?,
        rpc: rpc::Config { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), ..rpc::Config::default() },
        ledger: ledger::Config::default(),
        engine: Settings::for_this_machine(),
    };
    Ok(Node::start(config).await?)
}

async fn tell(context: &Context, story: &Story, url: &str, question: String) -> Result<Shown, Failure> {
    let started = Instant::now();
    let client = Client::connect(url).await?;
    let [publisher, buyer] = DEVELOPMENT_ACCOUNTS.map(Key::development);
    let (publisher, buyer, providers) = (publisher?, buyer?, development_providers()?);
    story.node(url, &client).await?;

    let data = context.data_dir()?;
    let published = development::publish(&client, &publisher, data.root()).await?;
    story.registered(&published, development::recompute_quantisation())?;
    development::open_market(&client, &providers, published.model_id).await?;
    story.market(&providers)?;

    let mut tally = Tally::new(&buyer, &providers);
    tally.take(&client).await?;
    let order = ask(context, &client, &buyer, &published, question.clone()).await?;
    tally.take(&client).await?;
    story.asked(&question, &client.quote(&order).await?)?;
    let mut lines = Ok(());
    let job = finish(context, &client, &order, |event| {
        if lines.is_ok() {
            lines = story.happened(event);
        }
    })
    .await?;
    lines?;
    tally.take(&client).await?;
    story.answered(&job)?;

    let receipt: Receipt = read_json(&job.receipt)?;
    let verified = receipt.verify(&data.trust()?);
    story.verified(&verified, &job.receipt)?;
    closed(&client, &job.id).await?;
    tally.take(&client).await?;
    let receipt = ShownReceipt { path: job.receipt.clone(), verified: verified.is_ok() };
    let model = ShownModel {
        artifact_id: published.quantised.artifact_id,
        weights_id: published.quantised.weights_id,
    };
    let seconds = started.elapsed().as_secs_f64();
    Ok(Shown { model, balances: tally.shares(&job), job, receipt, seconds })
}

async fn ask(
    context: &Context,
    client: &Client,
    buyer: &Key,
    published: &Published,
    question: String,
) -> Result<Order, Failure> {
    let policy = assay_protocol::record::Policy::Verified { verifiers: 2 };
    let offers = client.providers(Some(&published.model_id)).await?;
    let wish = Wish {
        model_id: published.model_id,
        prompt: super::asking::question(question),
        now_s: now_s(),
        sampler: assay_protocol::request::Sampler::greedy(),
        seed: None,
        stop: Vec::new(),
        max_tokens: MAX_TOKENS,
        policy,
        prices: enough(&offers, &published.model_id, policy),
        direct_executor: None,
    };
    let order = client.draft(buyer.account(), wish).await?;
    write_json(&order_path(context, &order.job)?, &order)?;
    client.place(buyer, &order).await?;
    Ok(order)
}
