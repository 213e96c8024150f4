//! Follows the offers of this node's identities.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use assay_manifest::{ArtifactId, ModelId, SpecId};
use assay_protocol::job::{Job, Phase, Seat};
use assay_protocol::party::Role;
use assay_protocol::units::Amount;
use assay_runtime::queries::ProviderEntry;
use assay_runtime::{AccountId, RuntimeEvent};
use tokio::sync::{Mutex, broadcast, mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tracing::{info, warn};

use super::docket::Docket;
use super::load::{Before, ServeError, on_shelf, serve};
use super::ports::{LoadError, Shelf, Supply, SupplyError};
use crate::ledger::{FinalizedBlock, LedgerError, LedgerHandle};
use crate::supervisor::told_to_stop;

/// Blocks after which a model that could not be loaded is tried again.
const RETRY_BLOCKS: u32 = 25;
/// Blocks after which the contested jobs are looked at again where some of them have no model here.
const LOOK_AGAIN_BLOCKS: u32 = 5;

/// Blocks for which a model is kept after it was asked for last.
const ASKED_BLOCKS: u32 = 3_600;
/// Models that are kept because they are asked for; of more, those that were asked for the longest ago go.
const ASKED_MAX: usize = 4;
/// Questions for models that wait; more are dropped, and whoever asks asks again.
const QUESTIONS_MAX: usize = 16;
/// Bytes of an artifact that is fetched because somebody asks for its model, or has a job with it contested: above what
/// the machines of validators can run, and below what fills their disks.
const FOREIGN_BYTES_MAX: u64 = 128 << 30;

/// Asks for models that this node does not offer: to count a prompt with, to read an answer, to judge a job.
#[derive(Clone, Debug)]
pub struct Wants(mpsc::Sender<ModelId>);

impl Wants {
    /// Has a model brought, loaded and kept for a while, if there is one. Does not block.
    pub fn want(&self, model: ModelId) {
        // Where as many wait, whoever asks asks again.
        let _ = self.0.try_send(model);
    }
}

/// What asks, and what is asked.
pub fn wants() -> (Wants, mpsc::Receiver<ModelId>) {
    let (sender, receiver) = mpsc::channel(QUESTIONS_MAX);
    (Wants(sender), receiver)
}

/// Whether this node judges jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judging {
    /// It is a validator, and needs the models of jobs that are contested.
    Contested,
    /// It is none.
    Nothing,
}

/// Why a model is wanted here; of several reasons the first of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// An identity of this node offers it, or has a seat for it.
    Offered,
    /// A job with it is to be judged here.
    Judged,
    /// Somebody asks for it.
    Asked,
}

/// The service; [`Serving::run`] returns when it is told to stop.
pub struct Serving<S> {
    ledger: LedgerHandle,
    shelf: Arc<S>,
    supply: Arc<dyn Supply>,
    wanted: BTreeMap<ModelId, Why>,
    /// Models that are being loaded, each in a task: one that takes long keeps nobody else waiting.
    loading: BTreeSet<ModelId>,
    loads: JoinSet<(ModelId, Result<Before, ServeError>)>,
    /// Taken for the load of what is offered: one after the other, as they share disk and cores.
    own_turn: Arc<Mutex<()>>,
    /// Those of them of which something was wanted meanwhile.
    behind: BTreeSet<ModelId>,
    /// Models that are being fetched, which nothing else waits for.
    fetching: BTreeSet<ModelId>,
    fetches: JoinSet<(ModelId, Result<(), SupplyError>)>,
    /// Models whose artifact has come and which are not ready: were their files another model's, they would be fetched
    /// again and again.
    brought: BTreeSet<ModelId>,
    identities: Vec<AccountId>,
    /// Whether one of them may get a seat for a model that it does not offer.
    verifies_at_large: bool,
    /// Models for which one of them has such a seat, with the most bytes that a request says of their files.
    at_large: BTreeMap<ModelId, u64>,
    /// Those of them that cannot be had: their seats are better left to others.
    given_up: BTreeSet<ModelId>,
    questions: mpsc::Receiver<ModelId>,
    judging: Judging,
    docket: Docket,
    /// Models that are asked for, with the height until which each is kept.
    asked: BTreeMap<ModelId, u32>,
    blocks: broadcast::Receiver<Arc<FinalizedBlock>>,
    /// Height at which what could not be served is looked at again.
    retry_at: Option<u32>,
}

impl<S: Shelf> Serving<S> {
    /// Serves what `identities` offer, what is asked for, and what is to be judged; has `supply` bring what is not
    /// here.
    pub fn new(
        ledger: LedgerHandle,
        shelf: Arc<S>,
        supply: Arc<dyn Supply>,
        identities: Vec<AccountId>,
        questions: mpsc::Receiver<ModelId>,
        judging: Judging,
    ) -> Self {
        Self {
            blocks: ledger.subscribe(),
            ledger,
            shelf,
            supply,
            wanted: BTreeMap::new(),
            loading: BTreeSet::new(),
            loads: JoinSet::new(),
            own_turn: Arc::default(),
            behind: BTreeSet::new(),
            fetching: BTreeSet::new(),
            fetches: JoinSet::new(),
            brought: BTreeSet::new(),
            identities,
            verifies_at_large: false,
            at_large: BTreeMap::new(),
            given_up: BTreeSet::new(),
            questions,
            judging,
            docket: Docket::default(),
            asked: BTreeMap::new(),
            retry_at: None,
        }
    }

    /// Loads what is offered now. A worker that starts before would decline what it could do in a moment. Models that
    /// others chose are not waited for.
    pub async fn prepare(&mut self) {
        self.refresh(self.ledger.head().number).await;
        let offered = |model: &ModelId, wanted: &BTreeMap<_, _>| wanted.get(model) == Some(&Why::Offered);
        while self.loading.iter().any(|model| offered(model, &self.wanted)) {
            let Some(ended) = self.loads.join_next().await else { return };
            self.loaded(ended).await;
        }
    }

    /// Loads models as they are offered until `stop` turns true.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let block = tokio::select! {
                block = self.blocks.recv() => block,
                Some(fetched) = self.fetches.join_next(), if !self.fetches.is_empty() => {
                    self.fetched(fetched).await;
                    continue;
                }
                Some(loaded) = self.loads.join_next(), if !self.loads.is_empty() => {
                    self.loaded(loaded).await;
                    continue;
                }
                Some(model) = self.questions.recv() => {
                    if self.ask(model) {
                        self.refresh(self.ledger.head().number).await;
                    }
                    continue;
                }
                () = told_to_stop(&mut stop) => return,
            };
            match block {
                Ok(block) if self.concerns(&block) || self.is_seated_otherwise(&block).await => {
                    self.refresh(block.header.number).await;
                }
                Ok(_) => {}
                // What was missed may have concerned us.
                Err(broadcast::error::RecvError::Lagged(_)) => self.refresh(self.ledger.head().number).await,
                // The end of the ledger is what ends the node, with its own cause.
                Err(broadcast::error::RecvError::Closed) => return told_to_stop(&mut stop).await,
            }
        }
    }

    fn concerns(&self, block: &FinalizedBlock) -> bool {
        use pallet_assay_providers::Event::{OfferAnnounced, OfferEffective, OffersEnded};
        let own = |event: &RuntimeEvent| match event {
            RuntimeEvent::Providers(
                OfferAnnounced { provider, .. } | OfferEffective { provider } | OffersEnded { provider },
            ) => self.identities.contains(provider),
            RuntimeEvent::Jobs(pallet_assay_jobs::Event::Advanced { phase, .. }) => {
                self.judging == Judging::Contested
                    && matches!(phase, Phase::Refereeing { .. } | Phase::Rejudging { .. })
            }
            _ => false,
        };
        let height = block.header.number;
        self.asked.values().any(|until| *until < height)
            || self.retry_at.is_some_and(|at| height >= at)
            || block.events.iter().any(|record| own(&record.event))
    }

    /// Whether the models for which an identity has a seat at large are others than before.
    async fn is_seated_otherwise(&self, block: &FinalizedBlock) -> bool {
        let is_of_jobs = |event: &RuntimeEvent| matches!(event, RuntimeEvent::Jobs(_));
        if !self.verifies_at_large || !block.events.iter().any(|record| is_of_jobs(&record.event)) {
            return false;
        }
        match self.seated().await {
            Ok(seated) => self.seats_at_large(&seated) != self.at_large,
            Err(error) => {
                warn!(%error, "reading this node's seats");
                false
            }
        }
    }

    fn seats_at_large(&self, jobs: &[Job]) -> BTreeMap<ModelId, u64> {
        let is_own = |seat: &&Seat| self.identities.contains(&AccountId::from(seat.provider));
        let at_large = |seat: &Seat| seat.role == Role::AtLarge && seat.bond > Amount::ZERO;
        let mut models = BTreeMap::new();
        for job in jobs.iter().filter(|job| job.seats.iter().filter(is_own).any(at_large)) {
            // Whoever says too little in one job must not keep the model from another.
            let bytes: &mut u64 = models.entry(job.record.model_id).or_default();
            *bytes = (*bytes).max(job.record.policy.at_large().unwrap_or(0));
        }
        models
    }

    /// The jobs in which an identity has a seat.
    async fn seated(&self) -> Result<Vec<Job>, LedgerError> {
        self.ledger.query(None, "JobsApi_at_hand", (self.identities.clone(), false)).await
    }

    /// Notes that a model is asked for; whether that is new.
    fn ask(&mut self, model: ModelId) -> bool {
        let until = self.ledger.head().number.saturating_add(ASKED_BLOCKS);
        let is_new = self.asked.insert(model, until).is_none();
        if self.asked.len() > ASKED_MAX {
            let oldest =
                self.asked.iter().filter(|(other, _)| **other != model).min_by_key(|(_, until)| **until);
            if let Some(oldest) = oldest.map(|(oldest, _)| *oldest) {
                self.asked.remove(&oldest);
            }
        }
        is_new
    }

    async fn refresh(&mut self, height: u32) {
        self.retry_at = None;
        self.asked.retain(|_, until| *until >= height);
        let read = async { Ok::<_, LedgerError>((self.offered().await?, self.contested().await?)) };
        let (offered, contested) = match read.await {
            Ok(read) => read,
            Err(error) => {
                warn!(%error, "reading this node's offers, and the jobs that are to be judged");
                return self.look_again(height, 1);
            }
        };
        let judged = self.judged(&contested, height);
        self.wanted = self.asked.keys().map(|model| (*model, Why::Asked)).collect();
        self.wanted.extend(judged.into_iter().map(|model| (model, Why::Judged)));
        self.wanted.extend(offered.keys().map(|(model, _)| (*model, Why::Offered)));
        let is_wanted = |model: &ModelId| self.wanted.contains_key(model);
        self.brought.retain(is_wanted);
        self.docket.forget(|model| !is_wanted(model) && !contested.contains(model));
        self.let_others_go().await;
        for ((model, spec), identities) in offered {
            self.load(model, Some(spec), identities);
        }
        let others = self.wanted.iter().filter(|(_, why)| **why != Why::Offered);
        for model in others.map(|(model, _)| *model).collect::<Vec<_>>() {
            self.load(model, None, Vec::new());
        }
    }

    /// Which of the contested jobs' models are kept here for now.
    fn judged(&mut self, contested: &[ModelId], height: u32) -> Vec<ModelId> {
        let chosen = self.docket.choose(contested, &self.fetching, height);
        match contested.iter().all(|model| chosen.contains(model)) {
            true if chosen.is_empty() => {}
            true => self.look_again(height, RETRY_BLOCKS),
            false => self.look_again(height, LOOK_AGAIN_BLOCKS),
        }
        chosen
    }

    fn look_again(&mut self, height: u32, blocks: u32) {
        let at = height.saturating_add(blocks);
        self.retry_at = Some(self.retry_at.map_or(at, |before| before.min(at)));
    }

    async fn let_others_go(&self) {
        let models: Vec<_> = self.wanted.keys().copied().collect();
        let kept = on_shelf(&self.shelf, move |shelf| {
            shelf.keep_only(&models);
            Ok(())
        });
        if let Err(error) = kept.await {
            warn!(%error, "letting models go that are offered no more");
        }
    }

    /// The models of jobs that this node is to judge, by the height until which that must have happened.
    async fn contested(&self) -> Result<Vec<ModelId>, LedgerError> {
        if self.judging == Judging::Nothing {
            return Ok(Vec::new());
        }
        let nobody = Vec::<AccountId>::new();
        let mut jobs: Vec<Job> = self.ledger.query(None, "JobsApi_at_hand", (nobody, true)).await?;
        jobs.retain(Job::is_contested);
        jobs.sort_by_key(|job| (job.due(), job.id));
        let mut models = Vec::new();
        for job in jobs {
            if !models.contains(&job.record.model_id) {
                models.push(job.record.model_id);
            }
        }
        Ok(models)
    }

    /// Begins to load a model that the ledger knows as the one that lies here. One that is loaded is kept whatever the
    /// ledger says later: whoever registered it could else make a seat of ours fall silent.
    fn load(&mut self, model: ModelId, offered: Option<SpecId>, identities: Vec<AccountId>) {
        if !self.loading.insert(model) {
            self.behind.insert(model);
            return;
        }
        let (ledger, shelf) = (self.ledger.clone(), Arc::clone(&self.shelf));
        let turn = offered.map(|_| Arc::clone(&self.own_turn));
        self.loads.spawn(async move {
            let _turn = match turn {
                Some(turn) => Some(turn.lock_owned().await),
                None => None,
            };
            (model, serve(&ledger, &shelf, (model, offered), identities).await)
        });
    }

    async fn loaded(&mut self, ended: Result<(ModelId, Result<Before, ServeError>), JoinError>) {
        let height = self.ledger.head().number;
        let (model, result) = match ended {
            Ok(ended) => ended,
            Err(panic) => {
                warn!(%panic, "loading a model panicked");
                // Which one it was is not known; those that still run are told apart by the shelf.
                self.loading.clear();
                self.behind.clear();
                return self.look_again(height, RETRY_BLOCKS);
            }
        };
        self.loading.remove(&model);
        match result {
            Ok(before) => {
                self.brought.remove(&model);
                self.docket.succeeded(&model);
                if before == Before::Away {
                    if let Some(artifact) = self.shelf.artifact(&model) {
                        self.supply.share(artifact);
                    }
                    info!(%model, "model ready");
                }
            }
            Err(ServeError::Load(LoadError::NotHere(_))) if self.wanted.contains_key(&model) => {
                self.fetch(model, height).await;
            }
            Err(error) => {
                warn!(%error, "a model is not served");
                match error {
                    ServeError::Load(_) => self.failed(model, height),
                    // That says nothing of the model.
                    ServeError::Ledger(_) | ServeError::Panicked => self.try_later(model, height),
                }
            }
        }
        if self.behind.remove(&model) {
            self.refresh(height).await;
        } else if !self.wanted.contains_key(&model) {
            self.let_others_go().await;
        }
    }

    /// Notes that a model will not be ready soon, and when to try again.
    fn failed(&mut self, model: ModelId, height: u32) {
        if self.at_large.contains_key(&model) {
            self.given_up.insert(model);
            self.shelf.give_up(self.given_up.clone());
        }
        self.try_later(model, height);
    }

    fn try_later(&mut self, model: ModelId, height: u32) {
        self.docket.failed(model, height, RETRY_BLOCKS);
        self.look_again(height, RETRY_BLOCKS);
    }

    /// Begins to fetch a model that is wanted and not here, by the artifact that its id binds.
    async fn fetch(&mut self, model: ModelId, height: u32) {
        if self.fetching.contains(&model) {
            return;
        }
        if self.brought.remove(&model) {
            warn!(%model, "the files that the ledger names for a model make another one");
            return self.failed(model, height);
        }
        let artifact: Option<ArtifactId> = match self.ledger.query(None, "ArtifactsApi_model", model).await {
            Ok(artifact) => artifact,
            Err(error) => {
                warn!(%model, %error, "looking up the artifact of a model");
                return self.look_again(height, 1);
            }
        };
        let Some(artifact) = artifact else {
            let error = LoadError::NotRegistered(model);
            warn!(%error, "a model is neither here nor can it be fetched");
            return self.failed(model, height);
        };
        info!(%model, %artifact, "fetching a model that is not here");
        self.fetching.insert(model);
        let supply = Arc::clone(&self.supply);
        let bytes_max = match self.wanted.get(&model) {
            Some(Why::Offered) => self.at_large.get(&model).copied(),
            _ => Some(FOREIGN_BYTES_MAX),
        };
        self.fetches.spawn(async move { (model, supply.bring(artifact, bytes_max).await) });
    }

    async fn fetched(&mut self, ended: Result<(ModelId, Result<(), SupplyError>), JoinError>) {
        let height = self.ledger.head().number;
        match ended {
            Ok((model, Ok(()))) => {
                self.fetching.remove(&model);
                self.brought.insert(model);
                self.refresh(height).await;
            }
            Ok((model, Err(error))) => {
                self.fetching.remove(&model);
                warn!(%model, %error, "a model is not here");
                match error {
                    SupplyError::Away(_) => self.try_later(model, height),
                    SupplyError::Refused(_) => self.failed(model, height),
                }
            }
            Err(panic) => {
                warn!(%panic, "fetching a model panicked");
                // Which one it was is not known; those that still run are told apart by the fetcher.
                self.fetching.clear();
                self.look_again(height, RETRY_BLOCKS);
            }
        }
    }

    /// Every model that an identity offers, is about to, or still has a seat for, with the spec that is named.
    async fn offered(&mut self) -> Result<BTreeMap<(ModelId, SpecId), Vec<AccountId>>, LedgerError> {
        let mut offered = BTreeMap::<_, Vec<_>>::new();
        self.verifies_at_large = false;
        for identity in &self.identities {
            let entry: Option<ProviderEntry> =
                self.ledger.query(None, "ProvidersApi_provider", identity).await?;
            let Some((account, _, offer, pending)) = entry else { continue };
            let offers: Vec<_> = offer.into_iter().chain(pending.map(|pending| pending.offer)).collect();
            self.verifies_at_large |= offers.iter().any(|offer| offer.at_large.is_some());
            for terms in offers.into_iter().flat_map(|offer| offer.models) {
                let identities = offered.entry((terms.model_id, terms.spec_id)).or_default();
                if !identities.contains(&account) {
                    identities.push(account.clone());
                }
            }
        }
        let seated = self.seated().await?;
        let now = self.seats_at_large(&seated);
        let before = std::mem::replace(&mut self.at_large, now);
        // More of one may be fetched for another job.
        self.given_up
            .retain(|model| self.at_large.get(model).is_some_and(|bytes| before.get(model) >= Some(bytes)));
        self.shelf.give_up(self.given_up.clone());
        for job in seated {
            let accounts = job.seats.iter().map(|seat| AccountId::from(seat.provider));
            for account in accounts.filter(|account| self.identities.contains(account)) {
                let served = (job.record.model_id, job.record.spec_id);
                let identities = offered.entry(served).or_default();
                if !identities.contains(&account) {
                    identities.push(account);
                }
            }
        }
        Ok(offered)
    }
}

#[cfg(test)]
mod tests;
