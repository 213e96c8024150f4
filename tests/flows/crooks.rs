//! Providers that do not keep to the rules: the services of which a node consists, put together with something else in
//! one place.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use assay_engine::Engine;
use assay_manifest::{ArtifactKind, Digest32, JobId, ModelId};
use assay_node::adapters::{Journal, Models, step_call};
use assay_node::chain_spec::development_provider;
use assay_node::client::{Client, ClientError};
use assay_node::keys::{Key, PublishedKeys, Seller};
use assay_node::network::Announcing;
use assay_node::sealing::KeyRing;
use assay_node::serving::Shelf;
use assay_node::supervisor::Supervisor;
use assay_node::worker::{
    Answer, BoardError, Compute, ComputeError, Desk, Identity, JobBoard, Judge, Mailbox, MailboxError,
    Outcome, Served, Shop, Step, Worker,
};
use assay_protocol::job::{Job, Party};
use assay_protocol::params::Params;
use assay_protocol::party::AccountBytes;
use assay_protocol::request::Request;
use assay_protocol::seal::{Envelope, Purpose};
use assay_protocol::units::Price;
use assay_runtime::{AccountId, Balance, Runtime, RuntimeCall, UNIT, general};
use assay_store::Store;
use codec::Encode;
use frame_support::BoundedVec;
use jsonrpsee::rpc_params;
use pallet_assay_providers::{Call, HardwareClass, ModelOffer, Offer};
use pallet_assay_validators::ValidatorInfo;
use tokio::sync::watch;

use crate::region::{MODEL_FILE, Part, Region, Running, engine};
use crate::stalls::Stall;

/// What a crook asks for a million tokens that it verifies, as all development providers do.
pub const VERIFY_PRICE: Price = Price::new(500 * UNIT);

/// A provider whose node is a follower's, and whose work is done by services of its own beside it.
pub struct Crook {
    pub key: Key,
    pub node: Running,
    services: Supervisor,
    gate: Arc<Gate>,
}

/// In what a crook differs from a provider that keeps to the rules.
pub struct Vice {
    /// Runs its models.
    pub compute: fn(Arc<Lair>) -> Arc<dyn Compute>,
    /// Whether it submits a step that it has made.
    pub submits: fn(&Step) -> bool,
    /// Whether it hands over what it has sealed for somebody else.
    pub hands: fn(&Envelope) -> bool,
}

impl Vice {
    /// None; what is not so is put in the place of its part.
    pub const NONE: Self = Self { compute: Lair::honest, submits: |_| true, hands: |_| true };
}

/// What a crook has to compute with.
pub struct Lair {
    models: Models,
    /// What it sells.
    sold: Served,
    /// Another model, made of the sold one's file.
    altered: ModelId,
    gate: Arc<Gate>,
}

impl Crook {
    /// Puts the provider of this number together; it sells nothing yet.
    pub async fn start(region: &mut Region, number: u32, sold: Served, file: &[u8], vice: Vice) -> Self {
        let node = region.start(Part::follower()).await;
        let uri = development_provider(number);
        let (key, seller) = (Key::development(&uri).unwrap(), Seller::development(&uri).unwrap());
        let dir = node.dir.path().join("lair");
        let gate = Arc::new(Gate::default());
        let lair = Arc::new(Lair::open(&dir, sold, file, &seller, Arc::clone(&gate)));
        let mut services = Supervisor::new();
        let account: AccountBytes = seller.account.clone().into();
        let own = vec![Announcing::Provider(account, seller.work.clone())];
        let stall = Stall::open(region, (&node, &mut services), &dir, own, vec![account]);

        let ring = KeyRing::open(dir.join("sealing"), vec![seller.first_sealing_secret()]).unwrap();
        let mailbox = Arc::new(Outbox { journal: stall.journal, own: account, hands: vice.hands });
        let desk = Desk { mailbox, ring: Arc::new(ring) };
        let identity = Identity { account, work_key: seller.work };
        let shop = Shop::new((vice.compute)(lair), desk, vec![identity], None);
        let client = Client::connect(&node.rpc).await.unwrap();
        let board = Board { client, heights: stall.heights, submits: vice.submits };
        let worker = Worker::new(assay_node::worker::Config::default(), board, shop);
        services.spawn("worker", worker.run(services.stopping()));
        Self { key, node, services, gate }
    }

    /// Stakes and offers, and waits until the offer is in force.
    pub async fn offer(&self, sold: Served, stake: Balance, capacity: u32) {
        let PublishedKeys { work_key, encryption_key } =
            Seller::development(&self.key.name).unwrap().published();
        let stake = Call::stake { amount: stake, work_key: *work_key.as_bytes(), encryption_key };
        let terms = ModelOffer {
            model_id: sold.model_id,
            spec_id: sold.spec_id,
            input: Price::new(1_000 * UNIT),
            output: Price::new(2_000 * UNIT),
            verify: VERIFY_PRICE,
        };
        let models = BoundedVec::truncate_from(vec![terms]);
        let offer = Offer { models, hardware: HardwareClass::CpuSmall, capacity, at_large: None };
        let calls = vec![stake.into(), Call::set_offer { offer }.into()];
        self.node.client.submit_all(&self.key, "offering as a crook", calls).await.unwrap();
        let mut heights = self.node.client.heights().await.unwrap();
        while self.node.client.provider(&self.account()).await.unwrap().unwrap().offer.is_none() {
            heights.next().await.unwrap();
        }
    }

    pub fn account(&self) -> AccountId {
        self.key.account()
    }

    /// Ends everything of it, whatever it computes.
    pub async fn stop(self) {
        self.gate.give_up();
        self.services.stop().await.unwrap();
        self.node.stop().await;
    }
}

impl Lair {
    fn open(dir: &Path, sold: Served, file: &[u8], seller: &Seller, gate: Arc<Gate>) -> Self {
        std::fs::create_dir_all(dir).unwrap();
        let store = Arc::new(Store::open(&dir.join("store")).unwrap());
        let models = Models::new(Engine::new(engine()).unwrap(), Arc::clone(&store));
        // An artifact's id covers its file's name.
        let import = |dir: &Path, bytes: &[u8]| {
            std::fs::create_dir_all(dir).unwrap();
            let path = dir.join(MODEL_FILE);
            std::fs::write(&path, bytes).unwrap();
            let manifest = store.import(&path, ArtifactKind::Model, &mut |_| ()).unwrap();
            let id = manifest.model_id().unwrap();
            models.load(&id, &models.spec(&id).unwrap(), vec![seller.account.clone()]).unwrap();
            id
        };
        assert_eq!(import(&dir.join("sold"), file), sold.model_id);
        let altered = import(&dir.join("altered"), &altered(file));
        Self { models, sold, altered, gate }
    }

    fn honest(self: Arc<Self>) -> Arc<dyn Compute> {
        self.slow::<{ usize::MAX }>()
    }

    /// The model with this provider's own weights, sold as the one that the ledger names.
    pub fn with_other_weights(self: Arc<Self>) -> Arc<dyn Compute> {
        Arc::new(Bent { lair: self, by: Bend::Weights })
    }

    /// The right model; of all verifications but the first, the trace is invented.
    pub fn with_invented_traces(self: Arc<Self>) -> Arc<dyn Compute> {
        Arc::new(Bent { lair: self, by: Bend::Traces { is_first: AtomicBool::new(true) } })
    }

    /// The right model, on a machine that gets done with so many executions and no more.
    pub fn slow<const EXECUTIONS: usize>(self: Arc<Self>) -> Arc<dyn Compute> {
        Arc::new(Bent { lair: self, by: Bend::Speed { left: AtomicUsize::new(EXECUTIONS) } })
    }
}

/// The same model with other bytes in the last half of its weights.
fn altered(file: &[u8]) -> Vec<u8> {
    let mut altered = file.to_vec();
    let half = altered.len() / 2;
    altered.iter_mut().skip(half).step_by(3).for_each(|byte| *byte ^= 0b10_0100);
    altered
}

/// The crook's machine: the right model, but for one thing.
struct Bent {
    lair: Arc<Lair>,
    by: Bend,
}

/// What is not as it should be.
enum Bend {
    /// It runs the altered model under the name of the sold one.
    Weights,
    /// It says of every answer but the first that it is right, without having looked.
    Traces { is_first: AtomicBool },
    /// It executes so many times more, and then never gets done.
    Speed { left: AtomicUsize },
}

impl Bent {
    fn model(&self) -> &ModelId {
        match self.by {
            Bend::Weights => &self.lair.altered,
            Bend::Traces { .. } | Bend::Speed { .. } => &self.lair.sold.model_id,
        }
    }
}

impl Compute for Bent {
    fn served(&self) -> Vec<Served> {
        vec![self.lair.sold]
    }

    fn is_given_up(&self, model: &ModelId) -> bool {
        self.lair.models.is_given_up(model)
    }

    fn fits(&self, _: &ModelId, request: &Request) -> Result<bool, ComputeError> {
        self.lair.models.fits(self.model(), request)
    }

    fn execute(&self, _: &ModelId, request: &Request, seed: &Digest32) -> Result<Outcome, ComputeError> {
        let take_one = |left: usize| left.checked_sub(1);
        if let Bend::Speed { left } = &self.by
            && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take_one).is_err()
        {
            self.lair.gate.wait();
            return Err(ComputeError::Failed("it was given up".into()));
        }
        self.lair.models.execute(self.model(), request, seed)
    }

    fn verify(
        &self,
        _: &ModelId,
        request: &Request,
        seed: &Digest32,
        claimed: &Answer,
    ) -> Result<Outcome, ComputeError> {
        match &self.by {
            Bend::Traces { is_first } if !is_first.swap(false, Ordering::Relaxed) => {
                let trace_root = Digest32::from_bytes([7; 32]);
                Ok(Outcome::Answer { answer: claimed.clone(), trace_root })
            }
            _ => self.lair.models.verify(self.model(), request, seed, claimed),
        }
    }
}

/// Behind which an execution takes until everything ends.
#[derive(Default)]
struct Gate {
    given_up: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    fn wait(&self) {
        let held = self.given_up.lock().unwrap();
        drop(self.changed.wait_while(held, |given_up| !*given_up).unwrap());
    }

    fn give_up(&self) {
        *self.given_up.lock().unwrap() = true;
        self.changed.notify_all();
    }
}

/// A journal in which not everything is put down that others are owed.
struct Outbox {
    journal: Journal,
    own: AccountBytes,
    hands: fn(&Envelope) -> bool,
}

impl Mailbox for Outbox {
    fn put(&self, envelopes: &[Envelope]) -> Result<(), MailboxError> {
        let is_kept = |envelope: &&Envelope| envelope.recipient == self.own || (self.hands)(envelope);
        let kept: Vec<Envelope> = envelopes.iter().filter(is_kept).cloned().collect();
        self.journal.put(&kept)
    }

    fn received(
        &self,
        job: &JobId,
        purpose: Purpose,
        recipient: &AccountBytes,
    ) -> Result<Vec<Envelope>, MailboxError> {
        self.journal.received(job, purpose, recipient)
    }
}

/// The ledger over JSON-RPC, by a client's functions alone.
struct Board {
    client: Client,
    heights: watch::Receiver<u32>,
    submits: fn(&Step) -> bool,
}

fn failed(what: &'static str) -> impl FnOnce(ClientError) -> BoardError {
    move |error| BoardError::Failed { what, cause: error.to_string() }
}

impl Board {
    async fn jobs(&self, accounts: &[AccountBytes], contested: bool) -> Result<Vec<Job>, BoardError> {
        let accounts: Vec<AccountId> = accounts.iter().map(|account| AccountId::from(*account)).collect();
        let jobs = self.client.runtime("JobsApi_at_hand", (accounts, contested)).await;
        jobs.map_err(failed("reading the jobs at hand"))
    }
}

impl JobBoard for Board {
    fn heights(&self) -> watch::Receiver<u32> {
        self.heights.clone()
    }

    async fn params(&self) -> Result<Params, BoardError> {
        self.client.runtime("JobsApi_params", ()).await.map_err(failed("reading the parameters"))
    }

    async fn at_hand(&self, accounts: &[AccountBytes]) -> Result<Vec<Job>, BoardError> {
        self.jobs(accounts, false).await
    }

    async fn at_hand_and_contested(&self, accounts: &[AccountBytes]) -> Result<Vec<Job>, BoardError> {
        self.jobs(accounts, true).await
    }

    async fn unjudged(&self, validator: &Digest32) -> Result<Vec<JobId>, BoardError> {
        let jobs = self.client.runtime("JobsApi_unjudged", *validator).await;
        jobs.map_err(failed("reading the jobs that wait for a verdict"))
    }

    async fn judges(&self) -> Result<Vec<Judge>, BoardError> {
        let key = pallet_assay_validators::Validators::<Runtime>::hashed_key();
        let judges = self.client.storage::<Vec<ValidatorInfo>>(&key, None).await;
        let judge = |info: ValidatorInfo| Judge { key: info.key, encryption_key: info.encryption_key };
        let judges = judges.map_err(failed("reading the validators"))?;
        Ok(judges.unwrap_or_default().into_iter().map(judge).collect())
    }

    async fn package(&self, job: &JobId, party: Party) -> Result<Option<Vec<u8>>, BoardError> {
        let key = pallet_assay_jobs::Packages::<Runtime>::hashed_key_for(job, party);
        self.client.storage(&key, None).await.map_err(failed("reading a package"))
    }

    async fn submit(&self, step: Step) -> Result<(), BoardError> {
        if !(self.submits)(&step) {
            return Ok(());
        }
        let call = general(RuntimeCall::Jobs(step_call(step).unwrap()));
        let extrinsic = format!("0x{}", hex::encode(call.encode()));
        let submitted: Result<String, _> =
            self.client.request("author_submitExtrinsic", rpc_params![extrinsic]).await;
        // What was said before, or is not asked for any more, is refused.
        submitted.map(drop).map_err(|_| BoardError::Stale)
    }
}
