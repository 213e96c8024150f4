//! One job whose parties have a node each: nothing but transactions, announcements and sealed envelopes passes
//! between them.

use assay_node::chain_spec::ChainSpec;
use assay_node::client::{Client, Wish};
use assay_node::keys::{Key, PublishedKeys, Seller};
use assay_protocol::job::{SeatOutcome, Verdict};
use assay_protocol::party::Role;
use assay_protocol::record::Policy;
use assay_protocol::seal::Envelope;
use assay_protocol::units::Price;
use assay_runtime::{Runtime, RuntimeCall, UNIT};
use frame_support::BoundedVec;
use jsonrpsee::rpc_params;
use pallet_assay_providers::{AtLarge, Call, HardwareClass, Offer};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verifier_at_large_fetches_a_model_that_it_does_not_serve() {
    let mut region = Region::new(ChainSpec::local(1).unwrap(), 1);
    let validator = region.start(Part::validator(1)).await;
    let mut sellers = Vec::new();
    for number in 1..=2 {
        sellers.push(region.start(Part::provider(number)).await);
    }
    let stranger = region.start(Part::provider(3)).await;
    let served = open_market(&sellers).await;
    offer_at_large(&stranger.client, &stranger.sellers()[0]).await;
    stranger.knows_offers(&served, 2).await;
    assert!(stranger.client.local_artifacts().await.unwrap().is_empty());

    let buyer = buyer();
    let sizes = sellers[0].client.local_artifacts().await.unwrap().into_iter().map(|local| local.size_bytes);
    let weights_bytes = sizes.max().unwrap();
    let policy = Policy::VerifiedAtLarge { verifiers: 2, weights_bytes };
    let question = Wish { policy, ..wish(served.model_id, "What is 12 + 31?".into()) };
    let client = &sellers[0].client;
    // One to execute and one to verify: there are no more who serve it.
    let order = client.draft(buyer.account(), question).await.unwrap();
    client.place(&buyer, &order).await.unwrap();
    assert_eq!(client.follow_order(&buyer, &order, |_| {}).await.unwrap(), Verdict::VerifiedThin);

    let record = client.job(&order.job).await.unwrap().settlement.unwrap();
    let at_large = record.seats.iter().find(|seat| seat.role == Role::AtLarge).unwrap();
    assert!(stranger.is_of(&at_large.provider));
    assert_eq!(at_large.outcome, SeatOutcome::Right);
    assert_eq!(record.at_large_draw.unwrap().eligible, 1);
    assert_eq!(stranger.client.local_artifacts().await.unwrap().len(), 1);
    for node in sellers.into_iter().chain([stranger, validator]) {
        node.stop().await;
    }
}

/// Stakes and offers to verify models that the provider does not serve; returns when that is in force.
async fn offer_at_large(client: &Client, provider: &Key) {
    let PublishedKeys { work_key, encryption_key } = Seller::development(&provider.name).unwrap().published();
    let work_key = *work_key.as_bytes();
    let stake = Call::stake { amount: 1_000 * UNIT, work_key, encryption_key };
    let at_large = Some(AtLarge { verify: Price::new(1), weights_max_bytes: 1 << 30 });
    let models = BoundedVec::default();
    let offer = Offer { models, hardware: HardwareClass::CpuSmall, capacity: 1, at_large };
    let calls = [stake, Call::<Runtime>::set_offer { offer }].map(RuntimeCall::from).to_vec();
    client.submit_all(provider, "offering to verify at large", calls).await.unwrap();
    let mut heights = client.heights().await.unwrap();
    while client.provider(&provider.account()).await.unwrap().unwrap().offer.is_none() {
        heights.next().await.unwrap();
    }
}
