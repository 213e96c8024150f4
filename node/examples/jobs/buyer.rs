//! One that buys answers one after the other.

use std::time::{Duration, Instant};

use assay_manifest::ModelId;
use assay_node::client::{Client, Order, SubmitError, Terms, Wish, is_right};
use assay_node::keys::Key;
use assay_node::rpc::Ask;
use assay_protocol::job::{SeatOutcome, SettlementRecord, Verdict};
use assay_protocol::record::{Policy, Prices};
use assay_protocol::request::{Message, Prompt};
use assay_protocol::units::Price;
use tokio::time::timeout;

use crate::Result;

/// Tokens of an answer at the most; a sum has fewer.
const ANSWER_TOKENS_MAX: u32 = 16;
/// No job may take longer: all windows of one without a dispute, three times over, at two blocks a second.
const JOB_MAX: Duration = Duration::from_secs(120);

/// How often an answer is asked for, each time for some blocks: together as many as its executor is given to hand it over.
const ANSWER_TRIES: u32 = 2;

/// What is bought, and for how much.
pub struct Market {
    model: ModelId,
    prices: Prices,
}

impl Market {
    /// At what the dearest provider asks, so that all may be drawn.
    pub async fn of(client: &Client, model: ModelId) -> Result<Self> {
        let providers = client.serving(&model, None).await?;
        let offers = providers.iter().filter_map(|provider| provider.offer.as_ref()?.terms(&model));
        let nothing = Prices { input: Price::ZERO, output: Price::ZERO, verify_max: Price::ZERO };
        let prices = offers.fold(nothing, |caps, terms: &Terms| Prices {
            input: caps.input.max(terms.input),
            output: caps.output.max(terms.output),
            verify_max: caps.verify_max.max(terms.verify).max(terms.input),
        });
        Ok(Self { model, prices })
    }

    fn wish(&self, question: String) -> Wish {
        let prompt = Prompt::Chat(vec![Message { role: "user".into(), content: question }]);
        Wish {
            ask: Ask::greedy(self.model, prompt, ANSWER_TOKENS_MAX),
            seed: None,
            policy: Policy::Verified { verifiers: 2 },
            prices: self.prices,
            direct_executor: None,
        }
    }
}

/// What became of a job.
pub struct Outcome {
    pub took: Duration,
    pub end: End,
}

/// How a job ended.
pub enum End {
    /// Right, with what its seats did beside that: those that declined, and those that kept silent.
    Right { declined: usize, silent: usize },
    /// Nobody took it, and why.
    Refused(String),
    /// It was taken and did not end right.
    Failed(String),
}

pub struct Buyer {
    number: usize,
    key: Key,
    client: Client,
}

impl Buyer {
    pub fn new(number: usize, key: Key, client: Client) -> Self {
        Self { number, key, client }
    }

    /// Buys from one moment until another; the last job is waited for.
    pub async fn buy_between(&self, market: &Market, begin: Instant, end: Instant) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        tokio::time::sleep_until(begin.into()).await;
        while Instant::now() < end {
            let start = Instant::now();
            let (left, right) = (10 + self.number % 80, 11 + outcomes.len() * 7 % 80);
            let end = match timeout(JOB_MAX, self.buy(market, left, right)).await {
                Ok(end) => end,
                Err(_) => End::Failed(format!("no end in {} s", JOB_MAX.as_secs())),
            };
            outcomes.push(Outcome { took: start.elapsed(), end });
        }
        outcomes
    }

    async fn buy(&self, market: &Market, left: usize, right: usize) -> End {
        let wish = market.wish(format!("What is {left} + {right}?"));
        let order = match self.client.draft(self.key.account(), wish).await {
            Ok(order) => order,
            Err(error) => return End::Refused(error.to_string()),
        };
        if let Err(error) = self.client.request_job(&self.key, &order).await {
            return End::Refused(error.to_string());
        }
        match self.client.hand_over(&self.key, &order).await {
            Ok(()) => {}
            Err(SubmitError::NobodyAccepted(_)) => return End::Refused(self.why_nobody(&order).await),
            Err(error) => return End::Failed(error.to_string()),
        }
        match self.answer(&order).await {
            Ok((record, text)) => judge(&record, &text, left + right),
            Err(error) => End::Failed(error.to_string()),
        }
    }

    /// What the seats did of a job that nobody accepted.
    async fn why_nobody(&self, order: &Order) -> String {
        let record = self.client.job(&order.job).await.ok().and_then(|state| state.settlement);
        let seats: Vec<_> = record.iter().flat_map(|record| &record.seats).map(|seat| seat.outcome).collect();
        format!(
            "nobody accepted: {} declined, {} silent",
            count(&seats, SeatOutcome::Declined),
            count(&seats, SeatOutcome::Silent)
        )
    }

    async fn answer(&self, order: &Order) -> Result<(SettlementRecord, String)> {
        let verdict = self.client.follow_order(&self.key, order, |_| {}).await?;
        let record =
            self.client.job(&order.job).await?.settlement.ok_or("the node has no record of its end")?;
        if verdict == Verdict::Inconclusive {
            return Err(described(&record).into());
        }
        let mut tries = 1;
        let answer = loop {
            match self.client.answer(order, &record).await {
                // It may be on its way to this buyer's node.
                Err(_) if tries < ANSWER_TRIES => tries += 1,
                answer => break answer?,
            }
        };
        Ok((record, answer.text))
    }
}

fn judge(record: &SettlementRecord, text: &str, sum: usize) -> End {
    if !is_right(record) || text != format!("{sum}.") {
        return End::Failed(format!("{}, answer {text:?} for {sum}", described(record)));
    }
    let outcomes: Vec<_> = record.seats.iter().map(|seat| seat.outcome).collect();
    End::Right {
        declined: count(&outcomes, SeatOutcome::Declined),
        silent: count(&outcomes, SeatOutcome::Silent),
    }
}

fn count(outcomes: &[SeatOutcome], wanted: SeatOutcome) -> usize {
    outcomes.iter().filter(|outcome| **outcome == wanted).count()
}

/// A job's end in a few words.
fn described(record: &SettlementRecord) -> String {
    let seats: Vec<_> =
        record.seats.iter().map(|seat| format!("{:?} {:?}", seat.role, seat.outcome)).collect();
    format!("{:?} in round {} with {}", record.verdict, record.round, seats.join(", "))
}
