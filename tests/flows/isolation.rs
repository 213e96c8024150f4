//! The binary as a user runs it: models in processes, which a job survives and which survive no node.

use assay_protocol::job::Verdict;
use rustix::process::Signal;
use serde_json::Value;

use crate::parties::{Parties, wish};
use crate::process::{NodeProcess, failure};
use crate::processes::{is_worker, signal, until, workers_of};

#[tokio::test]
async fn a_job_is_verified_although_the_models_process_is_killed_and_none_outlives_the_node() {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeProcess::start(dir.path());
    let client = node.client().await;
    let info: Value = client.request("node_v1_info", jsonrpsee::rpc_params![]).await.unwrap();
    assert_eq!(info["isolation"]["models"], "process", "{info}");
    let [worker] = workers_of(node.pid())[..] else { panic!("not one process for the one model") };
    let buyer = Parties::new().buyer;
    let order = client.draft(buyer.account(), wish(node.model(), "What is 40 + 30?".into())).await.unwrap();
    client.place(&buyer, &order).await.unwrap();
    signal(worker, Signal::KILL);
    let verdict = client.follow_order(&buyer, &order, |_| {}).await.unwrap();
    assert!(matches!(verdict, Verdict::VerifiedThin | Verdict::RetroVerified), "{verdict:?}");
    let others = workers_of(node.pid());
    assert!(others.len() == 1 && others != [worker], "{others:?}");
    // Killed with a signal that it cannot handle.
    drop(node);
    until("the model's process has ended", || others.iter().all(|pid| !is_worker(*pid)));
}

#[test]
fn models_in_the_node_cannot_be_confined_and_the_node_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().to_str().unwrap();
    let arguments = ["node", "--dev", "--base-path", base, "--isolation", "none", "--require-sandbox"];
    let (code, message) = failure(&arguments);
    assert!(code == 2 && message.contains("cannot be confined") && message.contains("hint: "), "{message}");
}
