//! The worker over a board that the tests move block by block, and a model that they hold back.

use std::sync::mpsc as std_mpsc;
use std::sync::{Arc, Mutex};

use assay_manifest::{Digest32, JobId, ModelId, SpecId};
use assay_protocol::commitment::{Claim, Finish, Salt, input_commit};
use assay_protocol::draw::Candidate;
use assay_protocol::fees;
use assay_protocol::job::{Books, Challenge, Contender, Context, Input, Phase, Seat, SignedCommitment};
use assay_protocol::party::{AccountBytes, Role};
use assay_protocol::record::PublicRecord;
use assay_protocol::request::{Prompt, REQUEST_VERSION, Request, Sampler, prompt_hash};
use assay_protocol::seal::{
    Content, Delivery, Entropy, Envelope, InputParcel, Parcel, Purpose, SealingSecret, WorkParcel,
};
use assay_protocol::signature::{SeatStep, Signature};
use assay_protocol::units::{Amount, Height, Price, Tokens};
use sp_core::Pair;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;
use crate::adapters::Journal;
use crate::fixtures::{pair, record};
use crate::sealing::KeyRing;
use crate::worker::{Answer, Compute, ComputeError, Desk, Identity, Mailbox, Outcome, Referee, Served};

/// Of [`record`].
const MODEL: ModelId = ModelId::from_bytes([1; 32]);
const SPEC: SpecId = SpecId::from_bytes([2; 32]);
const PARAMS: Params = Params::DEVELOPMENT;

const REQUESTER: u8 = 99;

fn request(max_tokens: u32) -> (Salt, Request) {
    let salt = Salt::from_bytes([4; 32]);
    let request = Request {
        version: REQUEST_VERSION,
        prompt: Prompt::Text("hello".into()),
        now_s: 0,
        n_in: 1,
        prompt_hash: prompt_hash(&[1]),
        max_tokens,
        stop: vec![],
        sampler: Sampler::greedy(),
        seed: None,
        salt_hash: salt.hash(),
    };
    (salt, request)
}

fn input(max_tokens: u32) -> InputParcel {
    let (salt, request) = request(max_tokens);
    InputParcel { salt, request, reply_key: secret(REQUESTER).public() }
}

fn secret(party: u8) -> SealingSecret {
    SealingSecret::from_bytes([party; 32])
}

fn entropy() -> Entropy {
    Entropy::from_bytes([5; 32])
}

/// A job of which three providers, all of them this worker's, may be drawn for seats.
fn requested(max_tokens: u32) -> Job {
    let (salt, request) = request(max_tokens);
    let record = PublicRecord {
        input_commit: input_commit(&salt, &request.to_bytes()),
        n_max: Tokens::new(max_tokens),
        ..record()
    };
    let quote = fees::quote(&record, &PARAMS, 1).unwrap();
    let requester = pair(REQUESTER).public().0;
    Job::new(Digest32::ZERO, requester, 0, record, quote, (Height::new(1), &PARAMS)).unwrap()
}

/// Everybody has stake for everything.
struct Rich;

impl Books for Rich {
    fn bondable(&self, _: &AccountBytes) -> Amount {
        Amount::new(u128::MAX)
    }

    fn score(&self, _: &AccountBytes) -> Amount {
        Amount::ZERO
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
        encryption_key: secret(provider).public(),
        input: Price::ZERO,
        output: Price::ZERO,
        verify: Price::ZERO,
        has_capacity: true,
        serves: true,
    };
    let contenders = (1..=3).map(contender).collect();
    let total_stake = Amount::new(1 << 110);
    apply(job, height, Input::Draw { randomness: Digest32::from_bytes([7; 32]), contenders, total_stake })
}

fn assigned() -> Job {
    draw(&requested(8), 3)
}

fn verifying() -> Job {
    let accepted = apply(&assigned(), 4, Input::Accept { seat: 0 });
    let (commitment, recheck) = (Digest32::ZERO, Digest32::ZERO);
    let commitment = SignedCommitment { commitment, recheck, signature: Signature([0; 64]) };
    let claim = Some(Claim::of(&request(8).0, &TOKENS, Finish::Eos));
    draw(&apply(&accepted, 5, Input::Commit { seat: 0, commitment, claim }), 11)
}

const TOKENS: [u32; 2] = [1, 2];

/// The input, sealed by the requester to the executor's seat.
fn sealed_input(job: &Job) -> Envelope {
    let seat = job.executor().unwrap();
    let parcel = Parcel::Input(input(job.record.n_max.get()));
    let sign = |digest: &Digest32| Signature(pair(REQUESTER).sign(digest.as_bytes()).0);
    Envelope::seal(&delivery(job, seat), &parcel, &seat.encryption_key, entropy(), sign).unwrap()
}

fn delivery<'a>(job: &'a Job, seat: &Seat) -> Delivery<'a> {
    let (sender, content) = match seat.role {
        Role::Executor => (job.requester, Content::Input(&job.record)),
        Role::Verifier | Role::AtLarge => {
            let executor = job.executor().unwrap().provider;
            (executor, Content::Work(&job.record, job.claim.as_ref().unwrap()))
        }
    };
    Delivery {
        genesis: job.genesis,
        job: job.id,
        sender,
        recipient: seat.provider,
        seat: seat.index,
        content,
    }
}

fn verifier(job: &Job) -> &Seat {
    job.round_seats().find(|seat| seat.role == Role::Verifier).unwrap()
}

/// What the model does when it is asked whether a request fits, or to verify one.
enum Model {
    /// It answers when the test lets it.
    HeldBack {
        asked: std_mpsc::SyncSender<()>,
        go: Mutex<std_mpsc::Receiver<()>>,
    },
    Panics,
    /// It is not loaded.
    Missing,
    /// It is not loaded, and will not be.
    GivenUp,
    /// Its process is being started again, and again.
    Away,
}

impl Model {
    fn act(&self) {
        match self {
            Self::HeldBack { asked, go } => {
                asked.send(()).unwrap();
                go.lock().unwrap().recv().unwrap();
            }
            Self::Panics => panic!("a model that finds a bug"),
            Self::Missing | Self::GivenUp | Self::Away => {}
        }
    }
}

impl Compute for Model {
    fn served(&self) -> Vec<Served> {
        let served = Served { model_id: MODEL, spec_id: SPEC };
        if matches!(self, Self::Missing | Self::GivenUp) { Vec::new() } else { vec![served] }
    }

    fn is_given_up(&self, _: &ModelId) -> bool {
        matches!(self, Self::GivenUp)
    }

    fn fits(&self, _: &ModelId, _: &Request) -> Result<bool, ComputeError> {
        self.act();
        match self {
            Self::Away => Err(ComputeError::Away("it is being started again".into())),
            Self::HeldBack { .. } | Self::Panics | Self::Missing | Self::GivenUp => Ok(true),
        }
    }

    fn execute(&self, _: &ModelId, _: &Request, _: &Digest32) -> Result<Outcome, ComputeError> {
        Err(ComputeError::Failed("not asked for in these tests".into()))
    }

    fn verify(&self, _: &ModelId, _: &Request, _: &Digest32, _: &Answer) -> Result<Outcome, ComputeError> {
        self.act();
        Err(ComputeError::Failed("not asked for in these tests".into()))
    }
}

/// A ledger with some jobs, that tells when it is read and what is submitted.
struct Jobs {
    heights: watch::Receiver<u32>,
    jobs: Arc<Mutex<Vec<Job>>>,
    posted: Arc<Mutex<Option<Vec<u8>>>>,
    unjudged: Arc<Mutex<Vec<JobId>>>,
    read: mpsc::Sender<()>,
    steps: mpsc::Sender<Step>,
}

impl JobBoard for Jobs {
    fn heights(&self) -> watch::Receiver<u32> {
        self.heights.clone()
    }

    async fn params(&self) -> Result<Params, BoardError> {
        Ok(PARAMS)
    }

    async fn at_hand(&self, _: &[AccountBytes]) -> Result<Vec<Job>, BoardError> {
        let jobs = self.jobs.lock().unwrap().clone();
        self.read.send(()).await.unwrap();
        Ok(jobs)
    }

    async fn at_hand_and_contested(&self, accounts: &[AccountBytes]) -> Result<Vec<Job>, BoardError> {
        self.at_hand(accounts).await
    }

    async fn unjudged(&self, validator: &Digest32) -> Result<Vec<JobId>, BoardError> {
        assert_eq!(*validator, judge().key);
        Ok(self.unjudged.lock().unwrap().clone())
    }

    async fn judges(&self) -> Result<Vec<Judge>, BoardError> {
        Ok(vec![judge()])
    }

    async fn package(&self, _: &JobId, _: Party) -> Result<Option<Vec<u8>>, BoardError> {
        Ok(self.posted.lock().unwrap().clone())
    }

    async fn submit(&self, step: Step) -> Result<(), BoardError> {
        self.steps.send(step).await.unwrap();
        Ok(())
    }
}

fn judge() -> Judge {
    let key = Digest32::from_bytes(referee().key.verifying_key().to_bytes());
    Judge { key, encryption_key: secret(77).public() }
}

fn referee() -> Referee {
    Referee { key: ed25519_dalek::SigningKey::from_bytes(&[77; 32]) }
}

struct Scene {
    heights: watch::Sender<u32>,
    jobs: Arc<Mutex<Vec<Job>>>,
    posted: Arc<Mutex<Option<Vec<u8>>>>,
    unjudged: Arc<Mutex<Vec<JobId>>>,
    journal: Journal,
    ring: Arc<KeyRing>,
    read: mpsc::Receiver<()>,
    steps: mpsc::Receiver<Step>,
    stop: watch::Sender<bool>,
    running: JoinHandle<Result<(), BoardError>>,
    _dir: TempDir,
}

impl Scene {
    fn start(jobs: Vec<Job>, model: Model, delivered: &[Envelope]) -> Self {
        Self::of(jobs, model, delivered, None)
    }

    fn of(jobs: Vec<Job>, model: Model, delivered: &[Envelope], referee: Option<Referee>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(&dir.path().join("jobs.redb")).unwrap();
        journal.put(delivered).unwrap();
        let ring = KeyRing::open(dir.path().join("sealing"), (1..=3).chain([77]).map(secret).collect());
        let ring = Arc::new(ring.unwrap());
        let identity = |n| Identity { account: [n; 32], work_key: pair(n) };
        let identities = (1..=3).map(identity).collect();
        let desk = Desk { mailbox: Arc::new(journal.clone()), ring: Arc::clone(&ring) };
        let shop = Shop::new(Arc::new(model), desk, identities, referee);
        let (heights, told) = watch::channel(0);
        let ((read, reads), (steps, submitted)) = (mpsc::channel(64), mpsc::channel(64));
        let (jobs, posted, unjudged) = (Arc::new(Mutex::new(jobs)), Arc::default(), Arc::default());
        let board = Jobs {
            heights: told,
            jobs: Arc::clone(&jobs),
            posted: Arc::clone(&posted),
            unjudged: Arc::clone(&unjudged),
            read,
            steps,
        };
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn(Worker::new(Config::default(), board, shop).run(stopped));
        let (read, steps) = (reads, submitted);
        Self { heights, jobs, posted, unjudged, journal, ring, read, steps, stop, running, _dir: dir }
    }

    /// A block comes, and the worker has read its jobs.
    async fn block(&mut self, height: u32) {
        self.heights.send(height).unwrap();
        self.read.recv().await.unwrap();
    }

    /// Blocks pass without a step.
    async fn quiet(&mut self, heights: std::ops::Range<u32>) {
        for height in heights {
            self.block(height).await;
            assert!(self.steps.try_recv().is_err(), "height {height}");
        }
    }

    async fn step(&mut self) -> SeatStep {
        self.seat_step().await.1
    }

    async fn seat_step(&mut self) -> (u8, SeatStep) {
        match self.steps.recv().await.unwrap() {
            Step::Seat { seat, step, .. } => (seat, step),
            other => panic!("not a seat's step: {other:?}"),
        }
    }

    /// What becomes of the only job of the scene.
    fn becomes(&self, job: &Job) {
        *self.jobs.lock().unwrap() = vec![job.clone()];
    }

    async fn stop(self) {
        self.stop.send(true).unwrap();
        self.running.await.unwrap().unwrap();
    }
}

fn held_back() -> (Model, std_mpsc::Receiver<()>, std_mpsc::SyncSender<()>) {
    let (asked, is_asked) = std_mpsc::sync_channel(64);
    let (go, gate) = std_mpsc::sync_channel(64);
    (Model::HeldBack { asked, go: Mutex::new(gate) }, is_asked, go)
}

#[tokio::test]
async fn a_seat_whose_model_is_away_waits_for_it_and_declines_only_when_it_must() {
    let job = assigned();
    let (delivered, deadline) = ([sealed_input(&job)], job.executor().unwrap().deadline.get());
    let mut scene = Scene::start(vec![job], Model::Away, &delivered);
    let late = deadline - LATE_BLOCKS;
    assert!(late > 4);
    scene.quiet(4..late).await;
    scene.block(late).await;
    assert_eq!(scene.step().await, SeatStep::Decline);
    scene.stop().await;
}

#[tokio::test]
async fn a_duty_that_takes_many_blocks_is_performed_once() {
    let (model, is_asked, go) = held_back();
    let job = assigned();
    let delivered = [sealed_input(&job)];
    let mut scene = Scene::start(vec![job], model, &delivered);
    for height in 4..14 {
        scene.block(height).await;
    }
    go.send(()).unwrap();
    assert_eq!(scene.step().await, SeatStep::Accept);
    assert_eq!(is_asked.try_iter().count(), 1);
    scene.stop().await;
}

#[tokio::test]
async fn a_verifier_without_the_answer_asks_for_it_in_time_and_not_earlier() {
    let job = verifying();
    let deadline = verifier(&job).deadline.get();
    let needed = Pace::default().blocks(reference_blocks(&job, Task::Verify, job.record.n_max, &PARAMS));
    let asks_at = deadline - LATE_BLOCKS - needed;
    let mut scene = Scene::start(vec![job], Model::Panics, &[]);
    scene.quiet(12..asks_at).await;
    scene.block(asks_at).await;
    let SeatStep::Need { key } = scene.step().await else { panic!("it did not ask") };
    assert!(scene.ring.secret(&key).is_some(), "it can open what it has asked for");
    scene.stop().await;
}

/// A job with a verifier at large, and its seat.
fn at_large() -> (Job, u8) {
    let mut job = verifying();
    let seat = job.seats.iter_mut().find(|seat| seat.role == Role::Verifier).unwrap();
    seat.role = Role::AtLarge;
    let index = seat.index;
    job.seats.retain(|seat| seat.role == Role::Executor || seat.index == index);
    (job, index)
}

#[tokio::test]
async fn a_verifier_at_large_declines_at_once_when_its_model_will_not_come() {
    let (job, index) = at_large();
    let mut scene = Scene::start(vec![job], Model::GivenUp, &[]);
    scene.block(12).await;
    assert_eq!(scene.seat_step().await, (index, SeatStep::Decline));
    scene.stop().await;
}

#[tokio::test]
async fn a_verifier_at_large_waits_for_its_model_and_declines_when_it_has_none_in_time() {
    let (job, index) = at_large();
    let deadline = job.seats.iter().find(|seat| seat.index == index).unwrap().deadline.get();
    let needed = Pace::default().blocks(reference_blocks(&job, Task::Verify, job.record.n_max, &PARAMS));
    let late = deadline - LATE_BLOCKS - needed;
    let mut scene = Scene::start(vec![job], Model::Missing, &[]);
    scene.quiet(12..late).await;
    scene.block(late).await;
    assert_eq!(scene.seat_step().await, (index, SeatStep::Decline));
    scene.stop().await;
}

#[tokio::test]
async fn an_executor_without_the_input_asks_for_it_once() {
    let job = assigned();
    let deadline = job.executor().unwrap().deadline.get();
    let mut scene = Scene::start(vec![job.clone()], Model::Panics, &[]);
    scene.quiet(4..deadline - LATE_BLOCKS).await;
    scene.block(deadline - LATE_BLOCKS).await;
    let SeatStep::Need { key } = scene.step().await else { panic!("it did not ask") };
    let asked = apply(&job, deadline, Input::Need { party: Party::Seat(0), key });
    scene.becomes(&asked);
    scene.quiet(deadline + 1..deadline + 20).await;
    scene.stop().await;
}

#[tokio::test]
async fn a_posted_input_is_opened_and_kept_for_the_execution() {
    let (model, _is_asked, go) = held_back();
    let (mut scene, job) = asked_for_the_input(model).await;
    let need = job.need(Party::Seat(0)).unwrap();
    let parcel = Parcel::Input(input(8));
    let package = delivery(&job, job.executor().unwrap()).seal(&parcel, &need.key, entropy()).unwrap();
    post(&scene, &job, package);
    go.send(()).unwrap();
    scene.block(13 + Config::default().retry_blocks).await;
    assert_eq!(scene.step().await, SeatStep::Accept);
    let kept = scene.journal.received(&job.id, Purpose::Input, &job.executor().unwrap().provider).unwrap();
    assert_eq!((kept.len(), kept[0].key), (1, job.executor().unwrap().encryption_key));
    scene.stop().await;
}

#[tokio::test]
async fn a_bad_package_is_complained_of_with_the_secret_that_shows_it() {
    let (mut scene, job) = asked_for_the_input(Model::Panics).await;
    let need = *job.need(Party::Seat(0)).unwrap();
    let other = Parcel::Input(input(9));
    let package = delivery(&job, job.executor().unwrap()).seal(&other, &need.key, entropy()).unwrap();
    post(&scene, &job, package);
    scene.block(13 + Config::default().retry_blocks).await;
    let SeatStep::Complain { secret } = scene.step().await else { panic!("it did not complain") };
    assert_eq!(SealingSecret::from_bytes(*secret.as_bytes()).public(), need.key);
    scene.stop().await;
}

/// An executor that has asked for its input on the ledger.
async fn asked_for_the_input(model: Model) -> (Scene, Job) {
    let job = assigned();
    let mut scene = Scene::start(vec![job.clone()], model, &[]);
    scene.block(job.executor().unwrap().deadline.get()).await;
    let SeatStep::Need { key } = scene.step().await else { panic!("it did not ask") };
    let asked = apply(&job, 13, Input::Need { party: Party::Seat(0), key });
    scene.becomes(&asked);
    (scene, asked)
}

fn post(scene: &Scene, job: &Job, package: Vec<u8>) {
    let bytes = u32::try_from(package.len()).unwrap();
    scene.becomes(&apply(job, 14, Input::Post { party: Party::Seat(0), bytes }));
    *scene.posted.lock().unwrap() = Some(package);
}

#[tokio::test]
async fn an_input_that_was_accepted_cannot_be_replaced() {
    let (model, is_asked, go) = held_back();
    let job = assigned();
    let good = sealed_input(&job);
    let mut scene = Scene::start(vec![job.clone()], model, std::slice::from_ref(&good));
    scene.block(4).await;
    go.send(()).unwrap();
    assert_eq!(scene.step().await, SeatStep::Accept);
    assert_eq!(is_asked.try_iter().count(), 1);
    // The requester puts another envelope in the place of its first, before the block of the acceptance.
    scene.journal.put(&[Envelope { package: vec![0; 256], ..good }]).unwrap();
    let seat = job.executor().unwrap();
    let found = scene.journal.received(&job.id, Purpose::Input, &seat.provider).unwrap();
    let opened = |envelope: &Envelope| {
        let from = Delivery { sender: envelope.sender, ..delivery(&job, seat) };
        from.open(&envelope.package, &secret(seat.provider[0])).is_ok()
    };
    assert!(found.iter().any(opened), "what was accepted is there");
    scene.stop().await;
}

#[tokio::test]
async fn an_executor_hands_the_work_to_every_verifier() {
    let (model, is_asked, go) = held_back();
    let job = verifying();
    let executor = job.executor().unwrap();
    let work = Parcel::Work(WorkParcel::of(&input(8), &TOKENS, Finish::Eos));
    let content = Content::Work(&job.record, job.claim.as_ref().unwrap());
    let own = Delivery { sender: executor.provider, content, ..delivery(&job, executor) };
    let sign = |digest: &Digest32| Signature(pair(executor.provider[0]).sign(digest.as_bytes()).0);
    let kept = Envelope::seal(&own, &work, &executor.encryption_key, entropy(), sign).unwrap();
    let mut scene = Scene::start(vec![job.clone()], model, &[kept]);
    scene.block(12).await;
    // A verifier that computes has what it needs; one computes after the other, and this model fails.
    for _ in 0..2 {
        go.send(()).unwrap();
        assert_eq!(scene.step().await, SeatStep::Decline);
    }
    assert_eq!(is_asked.try_iter().count(), 2);
    // What was signed is submitted again while the ledger asks for it, and computed no second time.
    scene.block(12 + Config::default().retry_blocks).await;
    for _ in 0..2 {
        assert_eq!(scene.step().await, SeatStep::Decline);
    }
    assert_eq!(is_asked.try_iter().count(), 0);
    for seat in job.round_seats().filter(|seat| seat.role == Role::Verifier) {
        let found = scene.journal.received(&job.id, Purpose::Work, &seat.provider).unwrap();
        let opened = delivery(&job, seat).open(&found[0].package, &secret(seat.provider[0]));
        assert_eq!((found.len(), opened), (1, Ok(work.clone())));
    }
    scene.stop().await;
}

#[test]
fn a_judge_takes_the_work_from_whoever_contests_and_from_nobody_else() {
    let stranger = 9;
    let contested = contested();
    let work = WorkParcel::of(&input(8), &TOKENS, Finish::Eos);
    let briefed_by = |party: u8| {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(&dir.path().join("jobs.redb")).unwrap();
        journal.put(&[brief(&contested, party)]).unwrap();
        let ring = Arc::new(KeyRing::open(dir.path().join("sealing"), vec![secret(77)]).unwrap());
        Desk { mailbox: Arc::new(journal), ring }.disputed(&contested, *judge().key.as_bytes()).unwrap()
    };
    for party in [REQUESTER, CHALLENGER] {
        assert!(briefed_by(party) == Some(work.clone()), "{party}");
    }
    assert!(briefed_by(stranger).is_none());
}

const CHALLENGER: u8 = 8;

/// A job that waits for the validators.
fn contested() -> Job {
    let challenger = pair(CHALLENGER).public().0;
    Job {
        phase: Phase::Rejudging { verdict_by: Height::new(50), closes_at: Height::new(60) },
        challenge: Some(Challenge { challenger, deposit: Amount::ZERO, left: 10 }),
        ..verifying()
    }
}

/// The work, sealed by a party to the judge.
fn brief(job: &Job, party: u8) -> Envelope {
    let Judge { key, encryption_key } = judge();
    let delivery = Delivery {
        genesis: job.genesis,
        job: job.id,
        sender: pair(party).public().0,
        recipient: *key.as_bytes(),
        seat: 0,
        content: Content::Work(&job.record, job.claim.as_ref().unwrap()),
    };
    let sign = |digest: &Digest32| Signature(pair(party).sign(digest.as_bytes()).0);
    let parcel = Parcel::Work(WorkParcel::of(&input(8), &TOKENS, Finish::Eos));
    Envelope::seal(&delivery, &parcel, &encryption_key, entropy(), sign).unwrap()
}

#[tokio::test]
async fn a_judge_whose_vote_is_counted_computes_nothing_until_it_is_asked_anew() {
    let (model, is_asked, go) = held_back();
    let job = contested();
    let delivered = [brief(&job, REQUESTER)];
    let mut scene = Scene::of(vec![job.clone()], model, &delivered, Some(referee()));
    scene.quiet(12..24).await;
    assert_eq!(is_asked.try_iter().count(), 0);
    scene.unjudged.lock().unwrap().push(job.id);
    scene.block(24).await;
    tokio::task::spawn_blocking(move || is_asked.recv().unwrap()).await.unwrap();
    go.send(()).unwrap();
    scene.stop().await;
}

#[tokio::test]
async fn a_job_that_does_not_fit_beside_the_others_is_declined() {
    let (model, _is_asked, go) = held_back();
    let first = draw(&requested(2_000), 3);
    let long = apply(&first, 4, Input::Accept { seat: 0 });
    let next = Job { id: JobId::from_bytes([9; 32]), ..draw(&requested(8), 3) };
    let delivered = [sealed_input(&first)];
    let mut scene = Scene::start(vec![next.clone(), long], model, &delivered);
    scene.block(5).await;
    assert_eq!(scene.steps.recv().await.map(|step| declined(&step)), Some(Some(next.id)));
    go.send(()).unwrap();
    scene.stop().await;
}

fn declined(step: &Step) -> Option<JobId> {
    match step {
        Step::Seat { job, step: SeatStep::Decline, .. } => Some(*job),
        _ => None,
    }
}

#[tokio::test]
async fn what_could_not_be_handed_to_a_verifier_is_declined() {
    let job = draw(&requested(65_536), 3);
    let delivered = [sealed_input(&job)];
    let mut scene = Scene::start(vec![job], Model::Panics, &delivered);
    scene.block(4).await;
    assert_eq!(scene.step().await, SeatStep::Decline);
    scene.stop().await;
}

#[tokio::test]
async fn another_definition_of_the_model_is_declined_before_anything_is_opened() {
    let mut job = assigned();
    job.record.spec_id = SpecId::from_bytes([3; 32]);
    let mut scene = Scene::start(vec![job], Model::Panics, &[]);
    scene.block(4).await;
    assert_eq!(scene.step().await, SeatStep::Decline);
    scene.stop().await;
}

#[tokio::test]
async fn an_input_that_its_requester_did_not_sign_is_as_good_as_none() {
    let job = assigned();
    let mut envelope = sealed_input(&job);
    envelope.signature = Signature([0; 64]);
    let mut scene = Scene::start(vec![job], Model::Panics, &[envelope]);
    scene.quiet(4..8).await;
    scene.stop().await;
}

#[tokio::test]
async fn a_panic_in_the_model_costs_one_seat_and_not_the_node() {
    let job = assigned();
    let delivered = [sealed_input(&job)];
    let mut scene = Scene::start(vec![job], Model::Panics, &delivered);
    scene.block(4).await;
    assert_eq!(scene.step().await, SeatStep::Decline);
    scene.stop().await;
}
