//! What the ledger, receipts and other people's disks tell of prompts and answers: nothing.

use std::collections::HashSet;
use std::sync::Arc;

use assay_engine::{LoadOptions, Model};
use assay_manifest::{Digest32, JobId, merkle, sha256};
use assay_node::client::{Client, ClientError, Order, Wish};
use assay_node::keys::Key;
use assay_node::rpc::Ask;
use assay_node::sealing::fresh_entropy;
use assay_protocol::commitment::{Claim, Finish, Salt, SaltPurpose, input_commit_from};
use assay_protocol::job::Job;
use assay_protocol::receipt::Receipt;
use assay_protocol::record::{Policy, Prices};
use assay_protocol::request::{Message, Prompt, Request, prompt_hash};
use assay_protocol::seal::{Content, Delivery, Envelope, InputParcel, Parcel};
use assay_protocol::signature::Signature;
use assay_protocol::units::Price;
use assay_runtime::{RuntimeCall, UNIT};
use frame_support::{Blake2_256, StorageHasher, Twox128};
use jsonrpsee::rpc_params;
use serde_json::Value;
use sp_core::Pair;

use crate::needles::Needles;
use crate::process::{NodeProcess, json, run};

/// The demo model's file, for its tokenizer.
const MODEL: &[u8] = include_bytes!("../../verifier/trainer/model/demo-q8_0.gguf");
const QUESTIONS: [&str; 3] = ["What is 7 + 5?", "yes", "Hello"];

fn model() -> Arc<Model> {
    Model::load(&MODEL.to_vec(), &LoadOptions::default(), &mut |_, _| {}).unwrap()
}

fn chat(text: &str) -> Prompt {
    Prompt::Chat(vec![Message { role: "user".into(), content: text.into() }])
}

/// Everything that anybody can guess in an evening: words, numbers, sums and their answers.
fn dictionary() -> Vec<String> {
    const WORDS: [&str; 40] = [
        "yes",
        "no",
        "Yes",
        "No",
        "Yes.",
        "No.",
        "true",
        "false",
        "True",
        "False",
        "ok",
        "OK",
        "maybe",
        "hi",
        "Hi",
        "hello",
        "Hello",
        "Hello.",
        "hey",
        "thanks",
        "Thank you.",
        "please",
        "help",
        "test",
        "why?",
        "who?",
        "I don't know.",
        "red",
        "green",
        "blue",
        "man",
        "woman",
        "left",
        "right",
        "buy",
        "sell",
        "Monday",
        "January",
        "positive",
        "negative",
    ];
    let letters = ('a'..='z').chain('A'..='Z').map(String::from);
    let numbers = (0..=100).flat_map(|n| [n.to_string(), format!("{n}.")]);
    let sums = (0..=12).flat_map(|a| (0..=12).map(move |b| format!("What is {a} + {b}?")));
    WORDS.iter().map(ToString::to_string).chain(letters).chain(numbers).chain(sums).collect()
}

/// Every hash that somebody who guesses a text can compare with what is public, if these are the salts.
struct Guess<'a> {
    model: &'a Model,
    /// A request as the ledger's public record describes it, but for its text.
    request: &'a Request,
    input_salt: Digest32,
    output_salt: Digest32,
}

impl Guess<'_> {
    fn hashes(&self, text: &str) -> Vec<[u8; 32]> {
        let bytes = text.as_bytes();
        let mut hashes = vec![sha256(bytes), Digest32::from_bytes(*blake3::hash(bytes).as_bytes())];
        hashes.push(Digest32::from_bytes(Blake2_256::hash(bytes)));
        for prompt in [chat(text), Prompt::Text(text.into())] {
            let tokens = self.model.text().render(&prompt, 0).unwrap();
            let n_in = u32::try_from(tokens.len()).unwrap();
            let hash = prompt_hash(&tokens);
            let request = Request { prompt, n_in, prompt_hash: hash, ..self.request.clone() };
            let bytes = request.to_bytes();
            hashes.extend([hash, sha256(&bytes), input_commit_from(&self.input_salt, &bytes)]);
        }
        let mut tokens = self.model.text().render(&Prompt::Text(text.into()), 0).unwrap();
        hashes.extend(self.answer_hashes(&tokens));
        tokens.extend(self.model.text().eos_tokens().first());
        hashes.extend(self.answer_hashes(&tokens));
        hashes.iter().map(|hash| *hash.as_bytes()).collect()
    }

    fn answer_hashes(&self, tokens: &[u32]) -> Vec<Digest32> {
        let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
        let leaves: Vec<_> = tokens.iter().map(|token| merkle::leaf_hash(&token.to_le_bytes())).collect();
        let mut hashes = vec![sha256(&bytes), merkle::root(&leaves)];
        let finishes = [Finish::Eos, Finish::Length, Finish::Stop(0)];
        let claim = |finish| Claim::from_output_salt(&self.output_salt, tokens, finish).out_commit;
        hashes.extend(finishes.map(claim));
        hashes
    }
}

/// Everything that anybody can read, as bytes.
pub struct Public(pub Vec<Vec<u8>>);

impl Public {
    /// With the receipts of these jobs.
    pub async fn read(client: &Client, jobs: &[JobId]) -> Self {
        let mut all = Vec::new();
        let head: String = client.request("chain_getFinalizedHead", rpc_params![]).await.unwrap();
        let mut after: Option<String> = None;
        loop {
            let page = rpc_params!["0x", 1_000, &after, &head];
            let keys: Vec<String> = client.request("state_getKeysPaged", page).await.unwrap();
            let Some(last) = keys.last().cloned() else { break };
            for key in &keys {
                let value: Value = client.request("state_getStorage", rpc_params![key, &head]).await.unwrap();
                all.extend([Value::from(key.as_str()), value]);
            }
            after = Some(last);
        }
        let events = [b"System", b"Events"].map(|name| Twox128::hash(name)).concat();
        let events = format!("0x{}", hex::encode(events));
        for height in 0..=client.height().await.unwrap() {
            let hash: String = client.request("chain_getBlockHash", rpc_params![height]).await.unwrap();
            all.push(client.request("chain_getBlock", rpc_params![&hash]).await.unwrap());
            all.push(client.request("state_getStorage", rpc_params![&events, &hash]).await.unwrap());
        }
        let mut public = Self(Vec::new());
        for job in jobs {
            let receipt = client.receipt(job).await.unwrap();
            all.push(serde_json::to_value(&receipt).unwrap());
            let Receipt::Ledger(receipt) = receipt else { panic!("a job's receipt is the ledger's") };
            public.0.push(receipt.settlement.to_leaf());
        }
        all.iter().for_each(|value| public.take(value));
        public
    }

    /// Texts as they stand, and what they are the hex of.
    fn take(&mut self, value: &Value) {
        match value {
            Value::String(text) => {
                let digits = text.strip_prefix("0x").and_then(|digits| hex::decode(digits).ok());
                self.0.push(digits.unwrap_or_else(|| text.clone().into_bytes()));
            }
            Value::Array(items) => items.iter().for_each(|item| self.take(item)),
            Value::Object(fields) => fields.values().for_each(|field| self.take(field)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Which words of the dictionary a guesser finds here.
    fn found(&self, guess: &Guess<'_>) -> Vec<String> {
        let windows: HashSet<[u8; 32]> = self
            .0
            .iter()
            .flat_map(|bytes| bytes.windows(32))
            .filter_map(|window| window.try_into().ok())
            .collect();
        let is_there = |text: &String| guess.hashes(text).iter().any(|hash| windows.contains(hash));
        dictionary().into_iter().filter(is_there).collect()
    }
}

fn wish(node: &NodeProcess, question: &str) -> Wish {
    Wish {
        ask: Ask::greedy(node.model(), chat(question), 8),
        seed: None,
        policy: Policy::Verified { verifiers: 2 },
        prices: Prices {
            input: Price::new(1_000 * UNIT),
            output: Price::new(2_000 * UNIT),
            verify_max: Price::new(1_000 * UNIT),
        },
        direct_executor: None,
    }
}

async fn buy(node: &NodeProcess, client: &Client, buyer: &Key, question: &str) -> Order {
    let order = client.draft(buyer.account(), wish(node, question)).await.unwrap();
    client.place(buyer, &order).await.unwrap();
    client.follow_order(buyer, &order, |_| {}).await.unwrap();
    order
}

#[tokio::test]
async fn a_dictionary_opens_nothing_that_is_public() {
    let dir = tempfile::tempdir().unwrap();
    // An archive forgets nothing, so there is the most to guess at.
    let node = NodeProcess::start_with(dir.path(), &["--archive"]);
    let (client, buyer) = (node.client().await, Key::development("//Bob").unwrap());
    let mut orders = Vec::new();
    for question in QUESTIONS {
        orders.push(buy(&node, &client, &buyer, question).await);
    }
    let jobs: Vec<_> = orders.iter().map(|order| order.job).collect();
    let public = Public::read(&client, &jobs).await;
    let model = model();
    for order in &orders {
        // The best that a guesser can do: everything is known of the request but its text and the salt.
        let request = Request { salt_hash: Digest32::ZERO, ..order.request.clone() };
        let [input_salt, output_salt] = [Digest32::ZERO; 2];
        let unsalted = Guess { model: &model, request: &request, input_salt, output_salt };
        assert_eq!(public.found(&unsalted), [""; 0]);
        // The salt is all that stands in between: with it the same guesses find prompt and answer.
        let salt: &Salt = &order.salt;
        let [input_salt, output_salt] =
            [SaltPurpose::Input, SaltPurpose::Output].map(|part| salt.derive(part));
        let salted = Guess { model: &model, request: &order.request, input_salt, output_salt };
        let Prompt::Chat(messages) = &order.request.prompt else { panic!("it was a chat") };
        assert!(public.found(&salted).contains(&messages[0].content), "{}", messages[0].content);
    }
    // One commitment without a salt, and the guesser has it.
    let remark = sha256(b"maybe").as_bytes().to_vec();
    let call = RuntimeCall::System(frame_system::Call::remark_with_event { remark });
    client.submit(&buyer, "leaving a hash", call).await.unwrap();
    let request = &orders[0].request;
    let [input_salt, output_salt] = [Digest32::ZERO; 2];
    let unsalted = Guess { model: &model, request, input_salt, output_salt };
    assert_eq!(Public::read(&client, &jobs).await.found(&unsalted), ["maybe"]);
}

#[test]
fn only_the_buyers_disk_holds_a_prompt_or_an_answer() {
    const LONG: usize = 20;
    const PROMPT: &str = "Please describe the xylophone of Zebulon Quimby in Zwolle.";
    let [node_dir, buyer_dir, other_dir] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let node = NodeProcess::start(node_dir.path());
    let buyer = buyer_dir.path().to_str().unwrap();
    let ask =
        ["job", "submit", "--rpc", &node.rpc, "--base-path", buyer, "--key", "//Bob", "--model", "demo"];
    // Hot enough, and long enough, for an answer that nobody has written down before.
    let how = ["--prompt", PROMPT, "--temperature", "2.5", "--max-tokens", "40", "--wait", "--json"];
    let buy = |_| json(&[&ask[..], &how].concat());
    let is_long = |bought: &Value| bought["output"].as_str().unwrap().len() >= LONG;
    let bought = (0..20).map(buy).find(is_long).expect("a long answer");
    // Somebody else looks at the job.
    let (job, other) = (bought["id"].as_str().unwrap(), other_dir.path().to_str().unwrap());
    let common = ["--rpc", &node.rpc, "--base-path", other, "--json"];
    let receipt = other_dir.path().join("receipt.json");
    let shown = run(&[&["job", "show", job][..], &common].concat());
    std::fs::write(other_dir.path().join("shown.json"), &shown.stdout).unwrap();
    let fetch = ["receipt", "fetch", job, "--out", receipt.to_str().unwrap()];
    assert!(shown.status.success() && run(&[&fetch[..], &common].concat()).status.success());
    drop(node);

    let opened = std::fs::read(bought["receipt"].as_str().unwrap()).unwrap();
    let opened: Value = serde_json::from_slice(&opened).unwrap();
    let answer: Vec<u32> = serde_json::from_value(opened["opened"]["output"]["tokens"].clone()).unwrap();
    let text = bought["output"].as_str().unwrap();
    let prompt = model().text().render(&Prompt::Text(PROMPT.into()), 0).unwrap();
    // A template may join the first and the last token with what stands around them.
    let inner = &prompt[1..prompt.len() - 1];
    for needles in [Needles::of(PROMPT, inner), Needles::of(text, &answer[..answer.len() - 1])] {
        for dir in [node_dir.path(), other_dir.path()] {
            let found = needles.found_below(dir);
            assert!(found.is_empty(), "{found:?}");
        }
        assert!(!needles.found_below(buyer_dir.path()).is_empty(), "the buyer keeps what it has bought");
        needles.prove_in(other_dir.path());
    }
}

#[tokio::test]
async fn a_node_takes_an_input_from_its_requester_for_the_executor_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let node = NodeProcess::start(dir.path());
    let client = node.client().await;
    let [buyer, stranger] = ["//Bob", "//Charlie"].map(|uri| Key::development(uri).unwrap());
    let order = client.draft(buyer.account(), wish(&node, "Hello")).await.unwrap();
    client.request_job(&buyer, &order).await.unwrap();
    let mut events = client.job_events(&order.job).await.unwrap();
    let job = loop {
        let job: Job = client.runtime::<Option<Job>>("JobsApi_job", order.job).await.unwrap().unwrap();
        if job.executor().is_some() {
            break job;
        }
        events.next().await.unwrap();
    };
    let seat = job.executor().unwrap();
    let from = |sender: &Key, signer: &Key| {
        let delivery = Delivery {
            genesis: job.genesis,
            job: job.id,
            sender: sender.account().into(),
            recipient: seat.provider,
            seat: seat.index,
            content: Content::Input(&order.record),
        };
        let (salt, request) = (order.salt.clone(), order.request.clone());
        let parcel = Parcel::Input(InputParcel { salt, request, reply_key: order.reply_secret.public() });
        let sign = |digest: &Digest32| Signature(signer.pair.sign(digest.as_bytes()).0);
        Envelope::seal(&delivery, &parcel, &seat.encryption_key, fresh_entropy(), sign).unwrap()
    };
    let own = from(&buyer, &buyer);
    for (reason, envelope) in [
        ("a stranger's", from(&stranger, &stranger)),
        ("signed by a stranger", from(&buyer, &stranger)),
        ("for another seat", Envelope { seat: seat.index + 1, ..own.clone() }),
        ("to another key", Envelope { key: Digest32::ZERO, ..own.clone() }),
        ("altered", Envelope { package: vec![0; own.package.len()], ..own.clone() }),
    ] {
        let answer: Result<Value, _> = client.request("job_v1_deliver", rpc_params![envelope]).await;
        assert!(matches!(answer, Err(ClientError::Refused { code: 22_002, .. })), "{reason}: {answer:?}");
    }
    client.follow_order(&buyer, &order, |_| {}).await.unwrap();
    let record = client.job(&order.job).await.unwrap().settlement.unwrap();
    assert!(client.answer(&order, &record).await.is_ok());
}

#[test]
fn a_settled_answer_is_had_from_the_ledger_too() {
    /// On a busy machine a job may be closed before its answer is demanded; then another one is bought.
    const ATTEMPTS: usize = 5;
    let dir = tempfile::tempdir().unwrap();
    let node = NodeProcess::start(dir.path());
    let common =
        ["--rpc", &node.rpc, "--base-path", dir.path().to_str().unwrap(), "--key", "//Bob", "--json"];
    for _ in 0..ATTEMPTS {
        let ask = ["job", "submit", "--model", "demo", "--prompt", "What is 12 + 34?", "--wait"];
        let bought: Value = serde_json::from_slice(&run(&[&ask[..], &common].concat()).stdout).unwrap();
        let demand = ["job", "demand", bought["id"].as_str().unwrap(), "--yes"];
        let demanded = run(&[&demand[..], &common].concat());
        if demanded.status.success() {
            let demanded: Value = serde_json::from_slice(&demanded.stdout).unwrap();
            assert_eq!((&demanded["state"], &demanded["output"]), (&"answered".into(), &bought["output"]));
            return;
        }
    }
    panic!("no answer was had from the ledger in {ATTEMPTS} attempts");
}
