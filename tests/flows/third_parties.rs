//! What those learn of a job who have no part in it, from their disks, from the network, and from what everybody is
//! told of the ledger: no byte of prompt or answer.

use std::path::Path;

use assay_engine::{LoadOptions, Model};
use assay_manifest::JobId;
use assay_node::chain_spec::{ChainSpec, development_provider};
use assay_node::client::Client;
use assay_node::keys::Seller;
use assay_node::supervisor::Supervisor;
use assay_protocol::params::Params;
use assay_protocol::request::Prompt;
use assay_protocol::units::Amount;
use assay_runtime::GenesisSpec;
use jsonrpsee::rpc_params;
use serde_json::Value;

use crate::needles::Needles;
use crate::process::json;
use crate::region::{MODEL_FILE, Part, Region, Running, open_market};
use crate::secrets::Public;
use crate::stalls::{Ears, Stall};

const PROVIDERS: u32 = 3;
const PROMPT: &str = "Please describe the xylophone of Zebulon Quimby in Zwolle.";
/// With which the demo model answers so hot a question at length.
const SEED: &str = "3";
/// Characters of an answer that nobody has written down before.
const LONG: usize = 40;

/// A chain on which nobody looks again at what was agreed, so that whoever is not drawn stays out.
fn spec() -> ChainSpec {
    let spec = ChainSpec::local(1).unwrap();
    let params = Params { recheck_percent: 0, newcomer_score: Amount::ZERO, ..spec.genesis.params.clone() };
    ChainSpec { genesis: GenesisSpec { params, ..spec.genesis }, ..spec }
}

/// Buys an answer of two executions with the command line, which keeps what it bought in `dir`.
async fn buy(node: &Running, executor: &Running, model: String, dir: &Path) -> Value {
    let common = ["--rpc", &node.rpc, "--base-path", dir.to_str().unwrap(), "--key", "//Bob", "--json"];
    let executor = executor.sellers()[0].address();
    let ask = ["job", "submit", "--model", &model, "--executor", &executor, "--replicated", "2", "--wait"];
    let how = ["--prompt", PROMPT, "--temperature", "2.5", "--max-tokens", "40", "--seed", SEED];
    let arguments: Vec<String> =
        [&ask[..], &how, &common].concat().into_iter().map(ToOwned::to_owned).collect();
    let buying = move || json(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    tokio::task::spawn_blocking(buying).await.unwrap()
}

/// Has a node tell everything about a job and the ledger, and writes that down as it came and as bytes.
async fn tell_all(client: &Client, job: &JobId, dir: &Path) {
    let mut told: Vec<Value> = Vec::new();
    for method in ["job_v1_get", "receipt_v1_get"] {
        told.push(client.request(method, rpc_params![job]).await.unwrap());
    }
    for method in ["job_v1_list", "provider_v1_list", "author_pendingExtrinsics"] {
        told.push(client.request(method, rpc_params![]).await.unwrap());
    }
    let events = client.job_events(job).await.unwrap().next().await.unwrap();
    told.push(serde_json::to_value(&events).unwrap());
    // A seat's node has sealed answers; for others it is nothing, or an error.
    let answers: Result<Value, _> = client.request("job_v1_output", rpc_params![job]).await;
    told.push(answers.unwrap_or_else(|error| error.to_string().into()));
    std::fs::write(dir.join("told.json"), serde_json::to_vec(&told).unwrap()).unwrap();
    let Public(public) = Public::read(client, &[*job]).await;
    std::fs::write(dir.join("public"), public.concat()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_beside_the_seats_learns_a_byte_of_a_prompt_or_an_answer() {
    let [buyer_dir, ears_dir, thief_dir] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let mut region = Region::new(spec(), 1);
    let validator = region.start(Part::validator(1)).await;
    let buyers = region.start(Part::follower()).await;
    let follower = region.start(Part::follower()).await;
    let mut sellers = Vec::new();
    for number in 1..=PROVIDERS {
        sellers.push(region.start(Part::provider(number)).await);
    }
    // One hears what everybody is told, the other asks for whatever is sealed to any provider.
    let mut services = Supervisor::new();
    let ears = Ears::open(&mut region, (&follower, &mut services), ears_dir.path());
    let account = |number| Seller::development(&development_provider(number)).unwrap().account.into();
    let hosted = (1..=PROVIDERS).map(account).collect();
    let mut thief =
        Stall::open(&mut region, (&follower, &mut services), thief_dir.path(), Vec::new(), hosted);
    let served = open_market(&sellers).await;
    buyers.knows_offers(&served, PROVIDERS as usize).await;

    let bought = buy(&buyers, &sellers[0], served.model_id.to_string(), buyer_dir.path()).await;
    let job: JobId = bought["id"].as_str().unwrap().parse().unwrap();
    thief.fetch_answer(job).await;
    let record = follower.settlement(&job).await;
    let takes_part = |seller: &&Running| record.seats.iter().any(|seat| seller.is_of(&seat.provider));
    let undrawn = sellers.iter().find(|seller| !takes_part(seller)).expect("two of three have seats");
    for node in [&validator, &follower, undrawn] {
        node.settlement(&job).await;
        tell_all(&node.client, &job, node.dir.path()).await;
    }
    let heard = ears.heard();
    let says = |bytes: &[u8]| heard.iter().any(|message| message.windows(bytes.len()).any(|at| at == bytes));
    assert!(says(record.request.input_commit.as_bytes()), "the ears have heard the request");
    std::fs::write(ears_dir.path().join("heard"), heard.concat()).unwrap();

    let model = std::fs::read(undrawn.dir.path().join(MODEL_FILE)).unwrap();
    services.stop().await.unwrap();
    let mut dirs = vec![ears_dir, thief_dir];
    for node in sellers.into_iter().chain([validator, follower, buyers]) {
        dirs.push(node.stop().await);
    }
    for needles in needles(&model, &bought) {
        assert!(!needles.found_below(buyer_dir.path()).is_empty(), "the buyer keeps what it has bought");
        for dir in &dirs {
            let found = needles.found_below(dir.path());
            assert!(found.is_empty(), "{found:?}");
        }
        needles.prove_in(dirs[0].path());
    }
}

/// What prompt and answer look like.
fn needles(model: &[u8], bought: &Value) -> [Needles; 2] {
    let model = Model::load(&model.to_vec(), &LoadOptions::default(), &mut |_, _| {}).unwrap();
    let opened = std::fs::read(bought["receipt"].as_str().unwrap()).unwrap();
    let opened: Value = serde_json::from_slice(&opened).unwrap();
    let answer: Vec<u32> = serde_json::from_value(opened["opened"]["output"]["tokens"].clone()).unwrap();
    let text = bought["output"].as_str().unwrap();
    assert!(text.len() >= LONG, "the demo model answers {text:?}; name another seed");
    let prompt = model.text().render(&Prompt::Text(PROMPT.into()), 0).unwrap();
    // A template may join the first and the last token with what stands around them.
    let inner = &prompt[1..prompt.len() - 1];
    [Needles::of(PROMPT, inner), Needles::of(text, &answer[..answer.len() - 1])]
}
