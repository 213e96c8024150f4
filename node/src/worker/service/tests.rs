//! The worker over a board that the tests move block by block, and a model that they hold back.

use std::sync::mpsc as std_mpsc;
use std::sync::{Arc, Mutex};

use assay_manifest::{Digest32, ModelId, SpecId};
use assay_protocol::commitment::{Claim, Finish, Salt, input_commit};
use assay_protocol::draw::Candidate;
use assay_protocol::fees;
use assay_protocol::job::{Books, Contender, Context, Input, SignedCommitment};
use assay_protocol::params::Params;
use assay_protocol::party::AccountBytes;
use assay_protocol::record::{Class, PROTOCOL_VERSION, Policy, Prices, PublicRecord};
use assay_protocol::request::{Prompt, REQUEST_VERSION, Request, Sampler, prompt_hash};
use assay_protocol::signature::{SeatStep, Signature};
use assay_protocol::units::{Amount, Height, Price, Tokens};
use sp_core::{Pair, sr25519};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;
use crate::adapters::Journal;
use crate::worker::{Answer, Compute, ComputeError, Delivery, Envelope, Identity, Outcome, Served};

const MODEL: ModelId = ModelId::from_bytes([1; 32]);
const SPEC: SpecId = SpecId::from_bytes([2; 32]);
const PARAMS: Params = Params::DEVELOPMENT;

fn pair(provider: u8) -> sr25519::Pair {
    sr25519::Pair::from_seed(&[provider; 32])
}

fn envelope() -> Envelope {
    let salt = Salt::from_bytes([4; 32]);
    let request = Request {
        version: REQUEST_VERSION,
        prompt: Prompt::Text("hello".into()),
        now_s: 0,
        n_in: 1,
        prompt_hash: prompt_hash(&[1]),
        max_tokens: 8,
        stop: vec![],
        sampler: Sampler::greedy(),
        seed: None,
        salt_hash: salt.hash(),
    };
    Envelope { salt, request }
}

/// A job of which three providers, all of them this worker's, may be drawn for seats.
fn requested() -> Job {
    let Envelope { salt, request } = envelope();
    let price = Price::new(1_000_000_000_000_000);
    let record = PublicRecord {
        version: PROTOCOL_VERSION,
        class: Class::Exact,
        model_id: MODEL,
        spec_id: SPEC,
        input_commit: input_commit(&salt, &request.to_bytes()),
        n_in: Tokens::new(1),
        n_max: Tokens::new(8),
        policy: Policy::Verified { verifiers: 2 },
        prices: Prices { input: price, output: price, verify_max: price },
        valid_until: Height::new(100),
        max_eyes: 0,
        direct_executor: None,
        parent: None,
        verified_range: None,
    };
    let quote = fees::quote(&record, &PARAMS, 1).unwrap();
    Job::new(Digest32::ZERO, [99; 32], 0, record, quote, (Height::new(1), &PARAMS)).unwrap()
}

/// Books in which everybody has stake for every bond.
struct Rich;

impl Books for Rich {
    fn bondable(&self, _: &AccountBytes) -> Amount {
        Amount::new(u128::MAX)
    }

    fn score(&self, _: &AccountBytes) -> Amount {
        Amount::new(u128::MAX)
    }
}

fn apply(job: &Job, height: u32, input: Input) -> Job {
    let context =
        Context { params: &PARAMS, now: Height::new(height), validators: 1, pot: Amount::ZERO, books: &Rich };
    job.apply(&context, input).unwrap().job
}

fn draw(job: &Job, height: u32) -> Job {
    let contender = |provider: u8| Contender {
        candidate: Candidate { provider: [provider; 32], free_stake: Amount::new(1 << 100) },
        work_key: pair(provider).public().0,
        encryption_key: Digest32::ZERO,
        input: Price::ZERO,
        output: Price::ZERO,
        verify: Price::ZERO,
        has_capacity: true,
    };
    let contenders = (1..=3).map(contender).collect();
    let total_stake = Amount::new(1 << 110);
    apply(job, height, Input::Draw { randomness: Digest32::from_bytes([7; 32]), contenders, total_stake })
}

fn assigned() -> Job {
    draw(&requested(), 3)
}

fn verifying() -> Job {
    let accepted = apply(&assigned(), 4, Input::Accept { seat: 0 });
    let commitment = SignedCommitment {
        commitment: Digest32::ZERO,
        recheck: Digest32::ZERO,
        signature: Signature([0; 64]),
    };
    let claim = Some(Claim::of(&envelope().salt, &[1, 2], Finish::Eos));
    draw(&apply(&accepted, 5, Input::Commit { seat: 0, commitment, claim }), 11)
}

/// What the model does when it is asked whether a request fits, or to verify one.
enum Model {
    /// It answers when the test lets it.
    HeldBack {
        asked: std_mpsc::SyncSender<()>,
        go: Mutex<std_mpsc::Receiver<()>>,
    },
    Panics,
}

impl Model {
    fn act(&self) {
        match self {
            Self::HeldBack { asked, go } => {
                asked.send(()).unwrap();
                go.lock().unwrap().recv().unwrap();
            }
            Self::Panics => panic!("a model that finds a bug"),
        }
    }
}

impl Compute for Model {
    fn served(&self) -> Vec<Served> {
        vec![Served { model_id: MODEL, spec_id: SPEC }]
    }

    fn fits(&self, _: &ModelId, _: &Request) -> Result<bool, ComputeError> {
        self.act();
        Ok(true)
    }

    fn execute(&self, _: &ModelId, _: &Request, _: &Digest32) -> Result<Outcome, ComputeError> {
        Err(ComputeError("not asked for in these tests".into()))
    }

    fn verify(&self, _: &ModelId, _: &Request, _: &Digest32, _: &Answer) -> Result<Outcome, ComputeError> {
        self.act();
        Err(ComputeError("not asked for in these tests".into()))
    }
}

/// A ledger with one job, that tells when it is read and what is submitted.
struct OneJob {
    heights: watch::Receiver<u32>,
    job: Job,
    read: mpsc::Sender<()>,
    steps: mpsc::Sender<Step>,
}

impl JobBoard for OneJob {
    fn heights(&self) -> watch::Receiver<u32> {
        self.heights.clone()
    }

    async fn open_jobs(&self) -> Result<Vec<Job>, BoardError> {
        self.read.send(()).await.unwrap();
        Ok(vec![self.job.clone()])
    }

    async fn submit(&self, step: Step) -> Result<(), BoardError> {
        self.steps.send(step).await.unwrap();
        Ok(())
    }
}

struct Scene {
    heights: watch::Sender<u32>,
    read: mpsc::Receiver<()>,
    steps: mpsc::Receiver<Step>,
    stop: watch::Sender<bool>,
    running: JoinHandle<Result<(), BoardError>>,
    _dir: TempDir,
}

impl Scene {
    fn start(job: Job, model: Model, input: Option<Envelope>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(&dir.path().join("jobs.redb")).unwrap();
        if let Some(input) = input {
            journal.put_input(&job.id, &input).unwrap();
        }
        let identity = |n| Identity { account: [n; 32], work_key: pair(n) };
        let identities = (1..=3).map(identity).collect();
        let shop = Shop::new(Arc::new(model), Arc::new(journal), identities, None);
        let (heights, told) = watch::channel(0);
        let ((read, reads), (steps, submitted)) = (mpsc::channel(64), mpsc::channel(64));
        let board = OneJob { heights: told, job, read, steps };
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn(Worker::new(Config::default(), board, shop).run(stopped));
        Self { heights, read: reads, steps: submitted, stop, running, _dir: dir }
    }

    /// A block comes, and the worker has read its jobs.
    async fn block(&mut self, height: u32) {
        self.heights.send(height).unwrap();
        self.read.recv().await.unwrap();
    }

    async fn step(&mut self) -> SeatStep {
        match self.steps.recv().await.unwrap() {
            Step::Seat { step, .. } => step,
            other => panic!("not a seat's step: {other:?}"),
        }
    }

    async fn stop(self) {
        self.stop.send(true).unwrap();
        self.running.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_duty_that_takes_many_blocks_is_performed_once() {
    let (asked, is_asked) = std_mpsc::sync_channel(64);
    let (go, gate) = std_mpsc::sync_channel(1);
    let model = Model::HeldBack { asked, go: Mutex::new(gate) };
    let mut scene = Scene::start(assigned(), model, Some(envelope()));
    for height in 4..14 {
        scene.block(height).await;
    }
    go.send(()).unwrap();
    assert_eq!(scene.step().await, SeatStep::Accept);
    assert_eq!(is_asked.try_iter().count(), 1);
    scene.stop().await;
}

#[tokio::test]
async fn a_verifier_without_the_answer_declines_before_its_deadline_and_not_earlier() {
    let job = verifying();
    let deadline = job.round_seats().map(|seat| seat.deadline.get()).max().unwrap();
    let mut scene = Scene::start(job, Model::Panics, Some(envelope()));
    for height in 12..deadline - 3 {
        scene.block(height).await;
        assert!(scene.steps.try_recv().is_err(), "height {height} of {deadline}");
    }
    scene.block(deadline - 3).await;
    assert_eq!(scene.step().await, SeatStep::Decline);
    scene.stop().await;
}

#[tokio::test]
async fn an_executor_without_the_input_stays_silent() {
    let job = assigned();
    let deadline = job.due().unwrap().get();
    let mut scene = Scene::start(job, Model::Panics, None);
    for height in 4..deadline {
        scene.block(height).await;
    }
    assert!(scene.steps.try_recv().is_err());
    scene.stop().await;
}

#[tokio::test]
async fn a_panic_in_the_model_costs_one_seat_and_not_the_node() {
    let mut scene = Scene::start(assigned(), Model::Panics, Some(envelope()));
    scene.block(4).await;
    assert_eq!(scene.step().await, SeatStep::Decline);
    scene.stop().await;
}
