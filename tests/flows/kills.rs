//! A node that is killed in the middle of a job finishes it after its restart, and pays everybody once.

use assay_manifest::JobId;
use assay_node::chain_spec::development_providers;
use assay_node::client::{Balances, Client, ClientError, Order, Wish};
use assay_node::keys::Key;
use assay_node::rpc::JobEvent;
use assay_protocol::job::{Phase, SettlementRecord, Verdict};
use assay_protocol::record::{Policy, Prices};
use assay_protocol::request::{Message, Prompt, Sampler};
use assay_protocol::units::Price;
use assay_runtime::UNIT;

use crate::process::NodeProcess;

/// A kill comes as soon as the job is seen in this phase.
type Moment = fn(&Phase) -> bool;

/// Eight kills; in the last job the node dies twice.
const KILLS: [&[Moment]; 7] = [
    &[|phase| matches!(phase, Phase::Requested { .. })],
    &[|phase| matches!(phase, Phase::Assigned { .. })],
    &[|phase| matches!(phase, Phase::Accepted { .. })],
    &[|phase| matches!(phase, Phase::Committed { .. })],
    &[|phase| matches!(phase, Phase::Verifying)],
    &[|phase| matches!(phase, Phase::Revealing { .. })],
    &[|phase| matches!(phase, Phase::Accepted { .. }), |phase| matches!(phase, Phase::Verifying)],
];

#[tokio::test]
async fn nobody_gets_the_executors_trace_root_before_the_job_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeProcess::start(dir.path());
    let (client, buyer) = (node.client().await, Parties::new().buyer);
    let order = loop {
        let order = client.draft(buyer.account(), wish(&node, "What is 40 + 30?".into())).await.unwrap();
        client.place(&buyer, &order).await.unwrap();
        // On a busy machine the job may run past the moment unseen; then the next one is tried.
        if until(&client, &order.job, |phase| matches!(phase, Phase::Committed { .. })).await {
            break order;
        }
    };
    // The answer is on the node's disk by now, and the verifiers are not drawn for some blocks.
    let early: Result<serde_json::Value, _> =
        client.request("job_v1_output", jsonrpsee::rpc_params![order.job]).await;
    assert!(matches!(early, Err(ClientError::Refused { code: 22_002, .. })), "{early:?}");
    client.follow(&order.job, |_| {}).await.unwrap();
    let record = client.job(&order.job).await.unwrap().settlement.unwrap();
    assert_eq!(client.answer(&order, &record).await.unwrap().text, "70.");
}

#[tokio::test]
async fn a_job_ends_and_is_paid_once_whenever_the_node_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let parties = Parties::new();
    let mut node = NodeProcess::start(dir.path());
    for (number, moments) in KILLS.iter().enumerate() {
        let (order, before);
        (node, order, before) = killed_in(node, &parties, number, moments).await;
        let client = node.client().await;
        let verdict = client.follow_order(&parties.buyer, &order, |_| {}).await.unwrap();
        assert_eq!(verdict, Verdict::VerifiedThin, "kill {number}");
        let record = client.job(&order.job).await.unwrap().settlement.unwrap();
        let after = parties.balances(&client).await;
        parties.check(&before, &after, &record);
        let answer = client.answer(&order, &record).await.unwrap();
        let receipt = order.open(client.receipt(&order.job).await.unwrap(), &answer);
        let trust = node.data_dir().trust().unwrap();
        assert_eq!(receipt.verify(&trust).unwrap().verifiers, 2);
    }
    let holds: Result<(), Vec<u8>> =
        node.client().await.runtime("LedgerApi_check_invariants", ()).await.unwrap();
    assert_eq!(holds, Ok(()));
}

/// Buys an answer and kills the node at each of the moments. On a busy machine a job may run past a moment
/// unseen; then the next one is tried.
async fn killed_in(
    mut node: NodeProcess,
    parties: &Parties,
    number: usize,
    moments: &[Moment],
) -> (NodeProcess, Order, Vec<Balances>) {
    const ATTEMPTS: usize = 10;
    'job: for attempt in 0..ATTEMPTS {
        let client = node.client().await;
        let wish = wish(&node, format!("What is {} + 3{attempt}?", number + 20));
        let order = client.draft(parties.buyer.account(), wish).await.unwrap();
        let included = client.request_job(&parties.buyer, &order).await.unwrap();
        let before = parties.balances_at(&client, included.block).await;
        for moment in moments {
            let client = node.client().await;
            let seen = tokio::select! {
                seen = until(&client, &order.job, *moment) => seen,
                () = keep_handing(&client, &parties.buyer, &order) => unreachable!("it goes on"),
            };
            if !seen {
                continue 'job;
            }
            node = node.kill_and_restart();
        }
        return (node, order, before);
    }
    panic!("no job was seen at the moments of kill {number} in {ATTEMPTS} attempts");
}

/// Hands the input over, and does nothing more.
async fn keep_handing(client: &Client, buyer: &Key, order: &Order) {
    // It ends unheard where the job does, or the node.
    let _ = client.hand_over(buyer, order).await;
    std::future::pending().await
}

fn wish(node: &NodeProcess, question: String) -> Wish {
    Wish {
        model_id: node.model,
        prompt: Prompt::Chat(vec![Message { role: "user".into(), content: question }]),
        now_s: 0,
        sampler: Sampler::greedy(),
        seed: None,
        stop: vec![],
        max_tokens: 16,
        policy: Policy::Verified { verifiers: 2 },
        prices: Prices {
            input: Price::new(1_000 * UNIT),
            output: Price::new(2_000 * UNIT),
            verify_max: Price::new(1_000 * UNIT),
        },
        direct_executor: None,
    }
}

/// Returns as soon as the job is seen in the phase; false if it ended unseen.
async fn until(client: &Client, job: &JobId, moment: Moment) -> bool {
    let mut events = client.job_events(job).await.unwrap();
    loop {
        match events.next().await.unwrap() {
            JobEvent::Phase { phase, .. } if moment(&phase) => return true,
            JobEvent::Settled { .. } => return false,
            _ => {}
        }
    }
}

/// Everybody who may gain or lose by a job.
struct Parties {
    buyer: Key,
    providers: Vec<Key>,
}

impl Parties {
    fn new() -> Self {
        Self { buyer: Key::development("//Bob").unwrap(), providers: development_providers().unwrap() }
    }

    async fn balances(&self, client: &Client) -> Vec<Balances> {
        let head = client.request("chain_getFinalizedHead", jsonrpsee::rpc_params![]).await.unwrap();
        self.balances_at(client, head).await
    }

    async fn balances_at(&self, client: &Client, block: assay_runtime::Hash) -> Vec<Balances> {
        let mut all = vec![];
        for key in std::iter::once(&self.buyer).chain(&self.providers) {
            all.push(client.balances_at(&key.account(), Some(block)).await.unwrap());
        }
        all
    }

    /// What each has gained since the escrow was held is what the record says, and nothing is held any more.
    fn check(&self, before: &[Balances], after: &[Balances], record: &SettlementRecord) {
        let gained = |index: usize| after[index].free.checked_sub(before[index].free).unwrap();
        assert_eq!(gained(0), record.payments.refunded.get(), "the buyer is refunded once");
        assert_eq!(after[0].held, 0, "nothing of the escrow is left");
        for (index, provider) in (1..).zip(&self.providers) {
            let account: [u8; 32] = provider.account().into();
            let seats = record.seats.iter().filter(|seat| seat.provider == account);
            let paid: u128 = seats.map(|seat| seat.paid.get()).sum();
            assert_eq!(gained(index), paid, "{} is paid once", provider.name);
        }
    }
}
