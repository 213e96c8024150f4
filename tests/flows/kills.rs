//! A node that is killed in the middle of a job finishes it after its restart, and pays everybody once.

use assay_manifest::JobId;
use assay_node::client::{Client, ClientError, Order};
use assay_node::keys::Key;
use assay_node::rpc::JobEvent;
use assay_protocol::job::{Phase, Verdict};

use crate::parties::{Parties, wish};
use crate::process::NodeProcess;
use crate::tally::{Tally, closed};

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
        let order =
            client.draft(buyer.account(), wish(node.model(), "What is 40 + 30?".into())).await.unwrap();
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
    const ATTEMPTS: usize = 10;
    let dir = tempfile::tempdir().unwrap();
    let mut node = NodeProcess::start(dir.path());
    let mut tally = Tally::open(&node.client().await, Parties::new()).await;
    for (number, moments) in KILLS.iter().enumerate() {
        let mut seen = false;
        for attempt in 0..ATTEMPTS {
            if seen {
                break;
            }
            let order;
            let question = format!("What is {} + 3{attempt}?", number + 20);
            (node, order, seen) = killed_in(node, &tally.parties.buyer, question, moments).await;
            let client = node.client().await;
            let verdict = client.follow_order(&tally.parties.buyer, &order, |_| {}).await.unwrap();
            let verified = matches!(verdict, Verdict::VerifiedThin | Verdict::RetroVerified);
            assert!(verified, "kill {number}: {verdict:?}");
            let record = client.job(&order.job).await.unwrap().settlement.unwrap();
            let answer = client.answer(&order, &record).await.unwrap();
            let receipt = order.open(client.receipt(&order.job).await.unwrap(), &answer);
            assert!(receipt.verify(&node.data_dir().trust().unwrap()).unwrap().verifiers >= 2);
            tally.book(&client, &closed(&client, &order).await).await;
            tally.check(&client).await;
        }
        assert!(seen, "no job was seen at the moments of kill {number} in {ATTEMPTS} attempts");
    }
    let holds: Result<(), Vec<u8>> =
        node.client().await.runtime("LedgerApi_check_invariants", ()).await.unwrap();
    assert_eq!(holds, Ok(()));
}

/// Buys an answer and kills the node at each of the moments. On a busy machine a job may run past a moment unseen.
async fn killed_in(
    mut node: NodeProcess,
    buyer: &Key,
    question: String,
    moments: &[Moment],
) -> (NodeProcess, Order, bool) {
    let client = node.client().await;
    let order = client.draft(buyer.account(), wish(node.model(), question)).await.unwrap();
    client.request_job(buyer, &order).await.unwrap();
    for moment in moments {
        let client = node.client().await;
        let seen = tokio::select! {
            seen = until(&client, &order.job, *moment) => seen,
            () = keep_handing(&client, buyer, &order) => unreachable!("it goes on"),
        };
        if !seen {
            return (node, order, false);
        }
        node = node.kill_and_restart();
    }
    (node, order, true)
}

/// Hands the input over, and does nothing more.
async fn keep_handing(client: &Client, buyer: &Key, order: &Order) {
    // It ends unheard where the job does, or the node.
    let _ = client.hand_over(buyer, order).await;
    std::future::pending().await
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
