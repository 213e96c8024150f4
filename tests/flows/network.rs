//! One job whose parties have a node each: nothing but transactions, announcements and sealed envelopes passes
//! between them.

use assay_node::chain_spec::ChainSpec;
use assay_protocol::job::Verdict;
use assay_protocol::party::Role;
use assay_protocol::seal::Envelope;
use jsonrpsee::rpc_params;

use crate::parties::wish;
use crate::process::{NodeProcess, failure, json};
use crate::region::{Part, Region, buyer, open_market};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_settles_whose_buyer_executor_and_verifiers_have_nodes_of_their_own() {
    let mut region = Region::new(ChainSpec::local(1).unwrap(), 1);
    let validator = region.start(Part::validator(1)).await;
    let buyers = region.start(Part::follower()).await;
    let mut sellers = Vec::new();
    for number in 1..=3 {
        sellers.push(region.start(Part::provider(number)).await);
    }

    // Every provider has the model's files; registering and offering goes through their own nodes.
    let served = open_market(&sellers).await;
    buyers.knows_offers(&served, 3).await;

    // The buyer's node has no model: one that sells counts the prompt.
    let buyer = buyer();
    let question = wish(served.model_id, "What is 12 + 31?".into());
    let order = sellers[0].client.draft(buyer.account(), question).await.unwrap();
    let client = &buyers.client;
    client.place(&buyer, &order).await.unwrap();
    let verdict = client.follow_order(&buyer, &order, |_| {}).await.unwrap();
    assert_eq!(verdict, Verdict::VerifiedThin);

    // No seat had to ask for its data on the ledger, and the answer is where the buyer comes for it.
    let job = client.job_on_ledger(&order.job).await.unwrap().unwrap();
    assert!(job.needs.is_empty(), "{:?}", job.needs);
    let mut at_work: Vec<_> = job.round_seats().map(|seat| seat.provider).collect();
    at_work.dedup();
    assert_eq!(at_work.len(), 3);
    let executor = job.round_seats().find(|seat| seat.role == Role::Executor).unwrap().provider;
    let mut heights = client.heights().await.unwrap();
    let answers = loop {
        // It travels when the job is paid, and not before.
        let answers: Result<Vec<Envelope>, _> = client.request("job_v1_output", rpc_params![order.job]).await;
        match answers {
            Ok(answers) => break answers,
            Err(_) => drop(heights.next().await.unwrap()),
        }
    };
    assert_eq!(answers.iter().map(|answer| answer.sender).collect::<Vec<_>>(), vec![executor]);
    let there = sellers.iter().find(|seller| seller.is_of(&executor)).unwrap();
    there.settlement(&order.job).await;
    let there = &there.client;
    let sealed: Vec<Envelope> = there.request("job_v1_output", rpc_params![order.job]).await.unwrap();
    assert_eq!(answers, sealed);
    let record = client.job(&order.job).await.unwrap().settlement.unwrap();
    assert!(!there.answer(&order, &record).await.unwrap().tokens.is_empty());

    for node in sellers.into_iter().chain([buyers, validator]) {
        node.stop().await;
    }
}

#[test]
fn two_nodes_that_are_told_of_each_other_list_each_other_as_peers() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let port = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let address = format!("/ip4/127.0.0.1/udp/{port}/quic-v1");
    let first = NodeProcess::start_with(dirs[0].path(), &["--listen", &address]);
    let list = |node: &NodeProcess| {
        let base = dirs[0].path().to_str().unwrap();
        json(&["node", "peers", "--rpc", &node.rpc, "--base-path", base, "--json"])
    };
    assert_eq!(list(&first), serde_json::json!([]));
    let second = NodeProcess::start_with(dirs[1].path(), &["--peer", &address]);
    for node in [&first, &second] {
        // The peer says what it runs a moment after it has connected.
        let peers = loop {
            let peers = list(node);
            if peers[0]["agent"].is_string() {
                break peers;
            }
        };
        assert_eq!((&peers[0]["connected"], &peers[0]["score"]), (&true.into(), &0.into()), "{peers}");
        assert!(peers[0]["agent"].as_str().unwrap().starts_with("assay/"), "{peers}");
    }
    assert!(
        list(&second)[0]["addresses"].as_array().unwrap().iter().any(|there| *there == *address),
        "{address}"
    );

    // No address at all; and what is of no use to a node that takes no part.
    let bad: [&[&str]; 4] = [
        &["--peer", "10.0.0.1:1"],
        &["--relay"],
        &["--external", "/ip4/1.2.3.4/udp/1/quic-v1"],
        &["--upload-limit", "100"],
    ];
    for bad in bad {
        let (code, message) = failure(&[&["node", "--dev"], bad].concat());
        assert_eq!(code, 2, "{message}");
    }
}
