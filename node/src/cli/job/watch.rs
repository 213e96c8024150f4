//! `assay job watch`: what happens to a job, as it happens.

use assay_manifest::JobId;
use assay_protocol::job::{Party, Verdict};
use serde::Serialize;

use super::kept::{Own, order};
use super::verdict_name;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::table;
use crate::client::{Client, Handed, Order, awaits_input, is_right};
use crate::keys::Key;
use crate::rpc::JobEvent;

/// The last line.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ended {
    event: &'static str,
    verdict: Verdict,
    /// Whether the answer was found right.
    right: bool,
    #[serde(flatten)]
    own: Own,
}

/// Tells what happens to a job until it has ended, and keeps what is to be had of it. If the job was bought from
/// here, whoever is drawn to execute it gets the input.
///
/// # Errors
/// [`Failure`] when the job is unknown, the connection breaks, or nobody reads what is told.
pub async fn watch(context: &Context, job: &JobId) -> Result<(), Failure> {
    let client = context.client().await?;
    let output = context.output();
    let mut events = client.job_events(job).await?;
    let mut hand = Hand::new(order(context, job)?);
    let verdict = loop {
        let event = events.next().await?;
        output.line(&event, event_text)?;
        if let JobEvent::Settled { verdict, .. } = event {
            break verdict;
        }
        hand.over(context, &client, &event).await?;
    };
    let ended = Ended::read(context, &client, job, verdict).await?;
    Ok(output.line(&ended, Ended::text)?)
}

/// Hands the input of a job to whoever waits for it.
struct Hand {
    order: Option<Order>,
    key: Option<Key>,
    handed: Handed,
}

impl Hand {
    fn new(order: Option<Order>) -> Self {
        Self { order, key: None, handed: Handed::default() }
    }

    /// The requester's key is asked for only when somebody waits: it signs what is handed over.
    async fn over(&mut self, context: &Context, client: &Client, event: &JobEvent) -> Result<(), Failure> {
        let Some(order) = self.order.as_ref().filter(|_| awaits_input(event)) else { return Ok(()) };
        if self.key.is_none() {
            self.key = match context.key() {
                Ok(key) if key.account() == order.requester => Some(key),
                Err(failure) if context.names_key() => return Err(failure),
                Ok(_) | Err(_) => {
                    context
                        .output()
                        .say("an executor waits for the input: name the key that paid, with --key")?;
                    // Said once is enough.
                    self.order = None;
                    return Ok(());
                }
            };
        }
        if let Some(key) = &self.key {
            client.hand_to_executor(key, order, &mut self.handed).await?;
        }
        Ok(())
    }
}

impl Ended {
    async fn read(
        context: &Context,
        client: &Client,
        job: &JobId,
        verdict: Verdict,
    ) -> Result<Self, Failure> {
        let state = client.job(job).await?;
        let own = Own::of(context, client, job, &state).await;
        let right = state.settlement.as_ref().is_some_and(is_right);
        Ok(Self { event: "ended", verdict, right, own })
    }

    fn text(&self) -> String {
        let right = if self.right { "the answer was found right" } else { "no answer was found right" };
        let mut rows = vec![("verdict", format!("{}: {right}", verdict_name(self.verdict)))];
        rows.extend(self.own.rows());
        table::fields(&rows)
    }
}

/// A line about what happened to a job.
fn event_text(event: &JobEvent) -> String {
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
        JobEvent::Needed { height, party } => {
            format!("{height:>7}  {} asks for its data on the ledger", party_name(*party))
        }
        JobEvent::Posted { height, party, bytes } => {
            format!("{height:>7}  {bytes} sealed bytes posted for {}", party_name(*party))
        }
        JobEvent::Complained { height, party, good } => {
            let found = if *good { "without cause" } else { "with cause" };
            format!("{height:>7}  {} complained {found}", party_name(*party))
        }
        JobEvent::Stuck { height } => format!("{height:>7}  an automatic step failed"),
        JobEvent::Stop { reason } => format!("the node stopped telling: {reason}"),
    }
}

fn party_name(party: Party) -> String {
    match party {
        Party::Seat(index) => format!("seat {index}"),
        Party::Requester => "the requester".into(),
    }
}
