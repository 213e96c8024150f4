//! Buys one answer after the other, whatever happens in between.

use assay_manifest::ModelId;
use assay_node::client::{Client, ClientError, Order, SubmitError};
use assay_protocol::job::Verdict;

use crate::parties::{Parties, wish};
use crate::tally::{Tally, closed};

/// A job that was begun and has not been seen to end.
#[derive(Clone)]
struct Flight {
    order: Order,
    /// The node said that it was included.
    acknowledged: bool,
}

pub struct Buyer {
    model: ModelId,
    tally: Tally,
    flight: Option<Flight>,
    ended: u64,
}

impl Buyer {
    pub async fn new(client: &Client, model: ModelId) -> Self {
        let tally = Tally::open(client, Parties::new()).await;
        Self { model, tally, flight: None, ended: 0 }
    }

    pub fn count(&self) -> u64 {
        self.ended
    }

    /// Buys without end.
    pub async fn work(&mut self, client: &Client) {
        loop {
            self.buy(client).await;
        }
    }

    /// A job whose request was acknowledged is on the ledger.
    pub async fn check_latest(&mut self, client: &Client) {
        self.tally.read_blocks(client).await;
        if let Some(Flight { order, acknowledged: true, .. }) = &self.flight {
            assert!(is_known(client, order).await, "job {} was acknowledged", order.job);
        }
    }

    /// Lets the job in flight end, buys one more, and compares what there is with what was bought.
    pub async fn finish(&mut self, client: &Client) {
        self.buy(client).await;
        if self.flight.is_some() {
            self.buy(client).await;
        }
        let nonce: u64 =
            client.runtime("JobsApi_next_nonce", self.tally.parties.buyer.account()).await.unwrap();
        assert_eq!(nonce, self.ended, "every job on the ledger has been seen to end");
    }

    /// Goes on with the job in flight, or begins one, and sees it to its end.
    async fn buy(&mut self, client: &Client) {
        let flight = match self.flight.clone() {
            Some(flight) if flight.acknowledged || is_known(client, &flight.order).await => flight,
            // Not requested, or the request died with the node's pool.
            _ => self.begin(client).await,
        };
        let order = flight.order;
        let verdict = self.follow(client, &order).await;
        // After a kill it may be asked only when somebody has looked at the job again.
        assert!(matches!(verdict, Verdict::VerifiedThin | Verdict::RetroVerified), "{verdict:?}");
        let record = closed(client, &order).await;
        assert!(matches!(record.verdict, Verdict::VerifiedThin | Verdict::RetroVerified), "{record:?}");
        self.tally.book(client, &record).await;
        self.flight = None;
        self.ended += 1;
        self.tally.check(client).await;
    }

    /// Hands the input over, and waits for the settlement.
    async fn follow(&self, client: &Client, order: &Order) -> Verdict {
        loop {
            match client.follow_order(&self.tally.parties.buyer, order, |_| {}).await {
                Ok(verdict) => return verdict,
                // The job moved on while its input was posted, or a post before a kill came first.
                Err(SubmitError::Failed { call: "posting an input", cause, .. }) => {
                    assert_eq!(cause.to_string(), "Jobs(Refused)");
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    async fn begin(&mut self, client: &Client) -> Flight {
        // Nothing is in flight: what a kill has cut off before is compared now.
        self.tally.read_blocks(client).await;
        self.tally.check(client).await;
        let buyer = &self.tally.parties.buyer;
        let question = format!("What is {} + 31?", self.ended % 60 + 10);
        let order = client.draft(buyer.account(), wish(self.model, question)).await.unwrap();
        let flight = Flight { order, acknowledged: false };
        self.flight = Some(flight.clone());
        client.request_job(buyer, &flight.order).await.unwrap();
        let flight = Flight { acknowledged: true, ..flight };
        self.flight = Some(flight.clone());
        flight
    }
}

/// Whether the ledger has the job, or had it.
async fn is_known(client: &Client, order: &Order) -> bool {
    const UNKNOWN: i32 = 22_001;
    match client.job(&order.job).await {
        Ok(state) => state.job.is_some() || state.settlement.is_some(),
        Err(ClientError::Refused { code: UNKNOWN, .. }) => false,
        Err(error) => panic!("{error}"),
    }
}
