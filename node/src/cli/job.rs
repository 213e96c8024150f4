//! `assay job`: buying inference.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use assay_manifest::{JobId, ModelId};
use assay_protocol::commitment::Finish;
use assay_protocol::job::{SettlementRecord, Verdict};
use assay_protocol::record::{Policy, Prices};
use assay_protocol::units::Price;
use assay_runtime::AccountId;
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::{Value, json};

use super::artifact::{account_of, resolve};
use super::asking::Asking;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::output::{parse_tokens, tokens};
use super::{progress, table};
use crate::client::{Client, JobEvent, JobOutput, JobState, Order, Provider, Terms, Wish, is_right};
use crate::data_dir::{read_json, write_json};

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
}

impl JobCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// [`Failure`] when the node cannot be asked, or refuses.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Submit(submit) => submit.run(context).await,
            Self::Show(job) => job.show(context).await,
            Self::List(list) => list.run(context).await,
            Self::Watch(job) => job.watch(context).await,
        }
    }
}

/// Ask a model.
#[derive(Debug, Args)]
pub struct Submit {
    /// Model: an id, ACCOUNT/NAME, or NAME.
    #[arg(long, value_name = "MODEL")]
    model: String,
    /// What to ask.
    #[arg(long, value_name = "TEXT")]
    prompt: String,
    /// How to sample, and when to stop.
    #[command(flatten)]
    asking: Asking,
    /// Drawn verifiers that re-execute the answer.
    #[arg(long, value_name = "2|4", default_value_t = 2)]
    verifiers: u8,
    /// Executions in all, instead of one with drawn verifiers.
    #[arg(long, value_name = "N", conflicts_with = "verifiers")]
    replicated: Option<u8>,
    /// Most to pay for a million prompt tokens, in ASY; by default what enough offers ask.
    #[arg(long, value_name = "ASY", value_parser = parse_price)]
    max_input_price: Option<Price>,
    /// Most to pay for a million generated tokens.
    #[arg(long, value_name = "ASY", value_parser = parse_price)]
    max_output_price: Option<Price>,
    /// Most to pay for a million verified tokens.
    #[arg(long, value_name = "ASY", value_parser = parse_price)]
    max_verify_price: Option<Price>,
    /// The executor, instead of a drawn one; such jobs earn it no score.
    #[arg(long, value_name = "ACCOUNT")]
    executor: Option<String>,
    /// Wait for the end, print the answer and keep the receipt.
    #[arg(long)]
    wait: bool,
}

fn parse_price(text: &str) -> Result<Price, String> {
    parse_tokens(text).map(Price::new)
}

impl Submit {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let key = context.key()?;
        let client = context.client().await?;
        let artifact = resolve(context, &client, &self.model).await?;
        let model_id = artifact
            .model_id()
            .ok_or_else(|| Failure::usage(format!("asking {}: it is not a model", self.model)))?;
        let wait = self.wait;
        let wish = self.wish(context, &client, model_id).await?;
        let order = client.draft(key.account(), wish).await?;
        let quote = client.quote(&order).await?;
        context.confirm(&format!("{} are held until the job has ended", tokens(quote.escrow.get())))?;
        // The salt must be on disk before anything depends on it.
        write_json(&order_path(context, &order.job)?, &order)?;
        client.place(&key, &order).await?;
        if !wait {
            let placed = Placed { id: order.job, state: "requested", escrow: quote.escrow.get().to_string() };
            context.output().result(&placed, |placed| {
                format!(
                    "job {}\nescrow {}\nfollow it with `assay job watch {0}`",
                    placed.id,
                    tokens(quote.escrow.get())
                )
            })?;
            return Ok(());
        }
        let bought = finish(context, &client, &order, |_| {}).await?;
        context.output().result(&bought, Bought::text)?;
        bought.check()
    }

    async fn wish(self, context: &Context, client: &Client, model_id: ModelId) -> Result<Wish, Failure> {
        let policy = match self.replicated {
            Some(executions) => Policy::Replicated { executions },
            None => Policy::Verified { verifiers: self.verifiers },
        };
        if !policy.is_allowed() {
            return Err(Failure::usage("asking: two or four verifiers, or one to five executions in all"));
        }
        let providers = client.providers(Some(&model_id)).await?;
        if providers.is_empty() {
            let cause = format!("asking {}: no provider's offer of it is in force", self.model);
            return Err(Failure::new(Exit::NoProvider, cause)
                .hint("an offer takes effect some blocks after it was made; see `assay provider list`"));
        }
        let offered = enough(&providers, &model_id, policy);
        let price = |named: Option<Price>, offered: Price| named.unwrap_or(offered);
        let direct_executor = match &self.executor {
            Some(text) => Some(account_of(context, text)?),
            None => None,
        };
        Ok(Wish {
            model_id,
            now_s: now_s(),
            sampler: self.asking.sampler(),
            seed: self.asking.seed(),
            stop: self.asking.stop.clone(),
            max_tokens: self.asking.max_tokens,
            policy,
            prices: Prices {
                input: price(self.max_input_price, offered.input),
                output: price(self.max_output_price, offered.output),
                verify_max: price(self.max_verify_price, offered.verify_max),
            },
            direct_executor,
            prompt: self.asking.prompt(self.prompt),
        })
    }
}

/// Seconds since 1970.
pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The lowest caps within which the cheapest offers fill every seat, with one to spare.
pub fn enough(providers: &[Provider], model: &ModelId, policy: Policy) -> Prices {
    let terms = |provider: &Provider| provider.offer.as_ref().and_then(|offer| offer.terms(model).cloned());
    let mut offers: Vec<Terms> = providers.iter().filter_map(terms).collect();
    offers.sort_by_key(|terms| (terms.output, terms.input, terms.verify));
    let seats = usize::from(policy.verifiers()).saturating_add(2);
    let fold = |caps: Prices, terms: &Terms| Prices {
        input: caps.input.max(terms.input),
        output: caps.output.max(terms.output),
        verify_max: caps.verify_max.max(terms.verify),
    };
    let nothing = Prices { input: Price::ZERO, output: Price::ZERO, verify_max: Price::ZERO };
    offers.iter().take(seats).fold(nothing, fold)
}

/// Where a job's order is kept.
///
/// # Errors
/// When the platform has no place for data.
pub fn order_path(context: &Context, job: &JobId) -> Result<PathBuf, Failure> {
    let name = job.to_string();
    let dir = context.base()?.join(context.chain()).join("orders");
    Ok(dir.join(format!("{}.json", name.trim_start_matches("0x"))))
}

fn receipt_path(context: &Context, job: &JobId) -> Result<PathBuf, Failure> {
    let name = job.to_string();
    let dir = context.base()?.join(context.chain()).join("receipts");
    Ok(dir.join(format!("{}.json", name.trim_start_matches("0x"))))
}

#[derive(Serialize)]
struct Placed {
    id: JobId,
    state: &'static str,
    escrow: String,
}

/// A job that has come to its end.
#[derive(Debug, Serialize)]
pub struct Bought {
    /// The job.
    pub id: JobId,
    /// `settled`, `inconclusive` or `expired`.
    pub state: &'static str,
    /// Who judged.
    pub verdict: Verdict,
    /// Whether the answer was found right.
    pub right: bool,
    /// Who executed it.
    pub executor: Option<AccountId>,
    /// Who re-executed it and agreed.
    pub verifiers: Vec<AccountId>,
    /// The answer.
    pub output: Option<String>,
    /// Tokens of prompt and answer.
    pub usage: Value,
    /// Why the answer ended.
    pub finish: Option<Finish>,
    /// The receipt, in its opened form.
    pub receipt: PathBuf,
}

/// Waits for the end of a job, fetches its answer and keeps its receipt in the opened form.
///
/// # Errors
/// [`Failure`] when the connection breaks or the files cannot be written.
pub async fn finish(
    context: &Context,
    client: &Client,
    order: &Order,
    mut tell: impl FnMut(&JobEvent),
) -> Result<Bought, Failure> {
    let spinner = progress::spinner(context.output(), "waiting for the job");
    let verdict = client.follow(&order.job, |event| tell(event)).await;
    spinner.finish_and_clear();
    let verdict = verdict?;
    let state = client.job(&order.job).await?;
    let record = state.settlement.ok_or_else(|| {
        Failure::new(Exit::Internal, format!("reading job {}: the node has no record of its end", order.job))
    })?;
    let output = match record.claim {
        Some(_) => Some(client.answer(order).await?),
        None => None,
    };
    let receipt = client.receipt(&order.job).await?;
    let receipt = match &output {
        Some(output) => order.open(receipt, output),
        None => receipt,
    };
    let path = receipt_path(context, &order.job)?;
    write_json(&path, &receipt)?;
    Ok(Bought::new(order, verdict, &record, (output, path)))
}

impl Bought {
    fn new(
        order: &Order,
        verdict: Verdict,
        record: &SettlementRecord,
        (output, receipt): (Option<JobOutput>, PathBuf),
    ) -> Self {
        use assay_protocol::job::SeatOutcome::Right;
        use assay_protocol::party::Role::{Executor, Verifier};
        let last = || record.seats.iter().filter(|seat| seat.round == record.round);
        let executor = last().find(|seat| seat.role == Executor).map(|seat| seat.provider.into());
        let agreed = last().filter(|seat| seat.role == Verifier && seat.outcome == Right);
        let n_out = record.claim.map_or(0, |claim| claim.n_out);
        Self {
            id: order.job,
            state: match (verdict, record.claim) {
                (Verdict::Inconclusive, None) => "expired",
                (Verdict::Inconclusive, Some(_)) => "inconclusive",
                _ => "settled",
            },
            verdict,
            right: is_right(record),
            executor,
            verifiers: agreed.map(|seat| seat.provider.into()).collect(),
            usage: json!({ "nIn": record.request.n_in, "nOut": n_out }),
            finish: output.as_ref().map(|output| output.finish),
            output: output.map(|output| output.text),
            receipt,
        }
    }

    /// Lines for people.
    pub fn text(&self) -> String {
        let answer = self.output.as_deref().unwrap_or("(no answer)");
        let mut rows = vec![("job", self.id.to_string()), ("state", self.state.to_owned())];
        rows.push(("verdict", verdict_name(self.verdict)));
        rows.extend(self.executor.iter().map(|account| ("executor", account.to_string())));
        rows.extend(self.verifiers.iter().map(|account| ("verifier", account.to_string())));
        rows.push(("receipt", self.receipt.display().to_string()));
        format!("{}\n\n{}", table::plain(answer), table::fields(&rows))
    }

    fn check(&self) -> Result<(), Failure> {
        if self.right {
            return Ok(());
        }
        let cause = format!("job {}: it ended without a right answer ({})", self.id, self.state);
        Err(Failure::new(Exit::Verification, cause)
            .hint("its fee was returned as the protocol says; ask again"))
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

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    #[serde(flatten)]
    state: JobState,
    answer: Option<JobOutput>,
}

impl JobRef {
    async fn show(self, context: &Context) -> Result<(), Failure> {
        let client = context.client().await?;
        let state = client.job(&self.job).await?;
        let order: Option<Order> = read_json(&order_path(context, &self.job)?).ok();
        let answer = match order {
            Some(order) => client.answer(&order).await.ok(),
            None => None,
        };
        context.output().result(&Shown { state, answer }, |shown| shown.text(&self.job))?;
        Ok(())
    }

    async fn watch(self, context: &Context) -> Result<(), Failure> {
        let client = context.client().await?;
        let output = context.output();
        let mut printed = Ok(());
        let verdict = client.follow(&self.job, |event| {
            if printed.is_ok() {
                printed = output.line(event, event_text);
            }
        });
        verdict.await?;
        Ok(printed?)
    }
}

impl Shown {
    fn text(&self, job: &JobId) -> String {
        let mut rows = vec![("job", job.to_string())];
        if let Some(phase) = self.state.job.as_ref().and_then(|job| job.pointer("/phase/name")) {
            rows.push(("phase", phase.as_str().unwrap_or_default().to_owned()));
        }
        if let Some(record) = &self.state.settlement {
            rows.push(("verdict", verdict_name(record.verdict)));
            rows.push(("settled at", format!("height {}", record.settled_at)));
        }
        rows.extend(self.state.log_index.map(|index| ("log entry", index.to_string())));
        if let Some(answer) = &self.answer {
            rows.push(("answer", table::plain(&answer.text)));
        }
        table::fields(&rows)
    }
}

/// A line about what happened to a job.
pub fn event_text(event: &JobEvent) -> String {
    match event {
        JobEvent::Phase { height, round, phase } => {
            let name = serde_json::to_value(phase).ok();
            let name = name.as_ref().and_then(|phase| phase.get("name")).and_then(|name| name.as_str());
            format!("{height:>7}  {} (round {round})", name.unwrap_or("another phase"))
        }
        JobEvent::Drawn { height, role, candidates } => {
            format!("{height:>7}  {role:?} drawn among {candidates}")
        }
        JobEvent::Committed { height, seat, account } => {
            let account = account.as_ref().map(table::short).unwrap_or_default();
            format!("{height:>7}  seat {seat} committed {account}")
        }
        JobEvent::Revealed { height, value, .. } => {
            format!("{height:>7}  value {} opened", table::short(value))
        }
        JobEvent::Settled { height, verdict, log_index } => {
            format!("{height:>7}  {}, log entry {log_index}", verdict_name(*verdict))
        }
        JobEvent::Stuck { height } => format!("{height:>7}  an automatic step failed"),
        JobEvent::Stop { reason } => format!("the node stopped telling: {reason}"),
    }
}

/// List open jobs.
#[derive(Debug, Args)]
pub struct List {
    /// Only those of this account.
    #[arg(long, value_name = "ACCOUNT")]
    requester: Option<String>,
}

impl List {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = context.client().await?;
        let requester = match &self.requester {
            Some(text) => Some(account_of(context, text)?),
            None => None,
        };
        let jobs: Vec<Value> = client.request("job_v1_list", jsonrpsee::rpc_params![requester]).await?;
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
