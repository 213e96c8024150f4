//! Follows the offers of this node's identities.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use assay_manifest::{ArtifactId, ModelId, SpecId};
use assay_protocol::job::{Job, Phase};
use assay_runtime::queries::ProviderEntry;
use assay_runtime::{AccountId, RuntimeEvent};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::ports::{LoadError, Shelf, Supply, SupplyError};
use crate::ledger::{FinalizedBlock, LedgerError, LedgerHandle};
use crate::supervisor::told_to_stop;

/// Blocks after which a model that could not be loaded is tried again.
const RETRY_BLOCKS: u32 = 25;

/// Blocks for which a model is kept after it was asked for last.
const ASKED_BLOCKS: u32 = 3_600;
/// Models that are kept because they are asked for; of more, those that were asked for the longest ago go.
const ASKED_MAX: usize = 4;
/// Questions for models that wait; more are dropped, and whoever asks asks again.
const QUESTIONS_MAX: usize = 16;

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

/// The service; [`Serving::run`] returns when it is told to stop.
pub struct Serving<S> {
    ledger: LedgerHandle,
    shelf: Arc<S>,
    supply: Arc<dyn Supply>,
    /// Models that are being fetched, which nothing else waits for.
    fetching: BTreeSet<ModelId>,
    fetches: JoinSet<(ModelId, Result<(), SupplyError>)>,
    /// Models whose artifact has come and which are not ready: were their files another model's, they would be fetched
    /// again and again.
    brought: BTreeSet<ModelId>,
    identities: Vec<AccountId>,
    questions: mpsc::Receiver<ModelId>,
    judging: Judging,
    /// Models that are asked for, with the height until which each is kept.
    asked: BTreeMap<ModelId, u32>,
    blocks: broadcast::Receiver<Arc<FinalizedBlock>>,
    /// Height at which offers that could not all be served are looked at again.
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
        let blocks = ledger.subscribe();
        let (fetching, fetches, brought) = (BTreeSet::new(), JoinSet::new(), BTreeSet::new());
        let (asked, retry_at) = (BTreeMap::new(), None);
        Self {
            ledger,
            shelf,
            supply,
            fetching,
            fetches,
            brought,
            identities,
            questions,
            judging,
            asked,
            blocks,
            retry_at,
        }
    }

    /// Loads what is offered now. A worker that starts before would decline what it could do in a moment.
    pub async fn prepare(&mut self) {
        self.refresh(self.ledger.head().number).await;
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
                Some(model) = self.questions.recv() => {
                if self.ask(model) {
                    self.refresh(self.ledger.head().number).await;
                }
                continue;
                }
                () = told_to_stop(&mut stop) => return,
            };
            match block {
                Ok(block) if self.concerns(&block) => self.refresh(block.header.number).await,
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
            || self.retry_at.is_some_and(|height| block.header.number >= height)
            || block.events.iter().any(|record| own(&record.event))
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
        if let Err(error) = self.ask_for_contested().await {
            warn!(%error, "reading the jobs that are to be judged");
            self.retry_at = Some(height.saturating_add(1));
        }
        let offered = match self.offered().await {
            Ok(offered) => offered,
            Err(error) => {
                warn!(%error, "reading this node's offers");
                self.retry_at = Some(height.saturating_add(1));
                return;
            }
        };
        let mut models: Vec<_> = offered.keys().map(|(model, _)| *model).collect();
        let asked: Vec<_> = self.asked.keys().copied().filter(|model| !models.contains(model)).collect();
        models.extend(&asked);
        let kept = on_shelf(&self.shelf, move |shelf| {
            shelf.keep_only(&models);
            Ok(())
        });
        if let Err(error) = kept.await {
            warn!(%error, "letting models go that are offered no more");
        }
        let asked = asked.into_iter().map(|model| ((model, None), Vec::new()));
        let offered =
            offered.into_iter().map(|((model, spec), identities)| ((model, Some(spec)), identities));
        for ((model, spec), identities) in offered.chain(asked) {
            match self.serve((model, spec), identities).await {
                Ok(()) => {
                    self.brought.remove(&model);
                    if let Some(artifact) = self.shelf.artifact(&model) {
                        self.supply.share(artifact);
                    }
                    info!(%model, "model ready");
                }
                Err(ServeError::Load(LoadError::NotHere(_))) => self.fetch(model, height).await,
                Err(error) => {
                    warn!(%error, "a model is not served");
                    self.retry_at = Some(height.saturating_add(RETRY_BLOCKS));
                }
            }
        }
    }

    /// Has the models of jobs brought that this node is to judge.
    async fn ask_for_contested(&mut self) -> Result<(), LedgerError> {
        if self.judging == Judging::Nothing {
            return Ok(());
        }
        let nobody = Vec::<AccountId>::new();
        let contested: Vec<Job> = self.ledger.query(None, "JobsApi_at_hand", (nobody, true)).await?;
        for job in contested {
            self.ask(job.record.model_id);
        }
        Ok(())
    }

    /// Begins to fetch a model that is offered and not here, by the artifact that the ledger knows it by.
    async fn fetch(&mut self, model: ModelId, height: u32) {
        if self.fetching.contains(&model) {
            return;
        }
        if self.brought.remove(&model) {
            warn!(%model, "the files that the ledger names for an offered model make another one");
            self.retry_at = Some(height.saturating_add(RETRY_BLOCKS));
            return;
        }
        let artifact: Option<ArtifactId> = match self.ledger.query(None, "ArtifactsApi_model", model).await {
            Ok(artifact) => artifact,
            Err(error) => {
                warn!(%model, %error, "looking up the artifact of an offered model");
                None
            }
        };
        let Some(artifact) = artifact else {
            let error = LoadError::NotRegistered(model);
            warn!(%error, "an offered model is neither here nor can it be fetched");
            self.retry_at = Some(height.saturating_add(RETRY_BLOCKS));
            return;
        };
        info!(%model, %artifact, "fetching an offered model that is not here");
        self.fetching.insert(model);
        let supply = Arc::clone(&self.supply);
        self.fetches.spawn(async move { (model, supply.bring(artifact).await) });
    }

    async fn fetched(&mut self, ended: Result<(ModelId, Result<(), SupplyError>), tokio::task::JoinError>) {
        let height = self.ledger.head().number;
        match ended {
            Ok((model, result)) => {
                self.fetching.remove(&model);
                match result {
                    Ok(()) => {
                        self.brought.insert(model);
                        return self.refresh(height).await;
                    }
                    Err(error) => warn!(%model, %error, "an offered model is not here"),
                }
            }
            Err(panic) => {
                warn!(%panic, "fetching an offered model panicked");
                // Which one it was is not known; those that still run are told apart by the fetcher.
                self.fetching.clear();
            }
        }
        self.retry_at = Some(height.saturating_add(RETRY_BLOCKS));
    }

    /// Loads a model that the ledger knows as the one that lies here. One that is loaded is kept whatever the
    /// ledger says later: whoever registered it could else make a seat of ours fall silent.
    async fn serve(
        &self,
        (model, offered): (ModelId, Option<SpecId>),
        identities: Vec<AccountId>,
    ) -> Result<(), ServeError> {
        let spec = on_shelf(&self.shelf, move |shelf| shelf.spec(&model)).await?;
        if let Some(offered) = offered.filter(|offered| *offered != spec) {
            return Err(LoadError::OfferedOtherwise { model, offered, spec }.into());
        }
        if !self.shelf.holds(&model) {
            let agrees = self.ledger.query(None, "ArtifactsApi_agrees", (model, spec)).await?;
            check(model, spec, agrees)?;
        }
        on_shelf(&self.shelf, move |shelf| shelf.load(&model, &spec, identities)).await
    }

    /// Every model that an identity offers, is about to, or still has a seat for, with the spec that is named.
    async fn offered(&self) -> Result<BTreeMap<(ModelId, SpecId), Vec<AccountId>>, LedgerError> {
        let mut offered = BTreeMap::<_, Vec<_>>::new();
        for identity in &self.identities {
            let entry: Option<ProviderEntry> =
                self.ledger.query(None, "ProvidersApi_provider", identity).await?;
            let Some((account, _, offer, pending)) = entry else { continue };
            let offers = offer.into_iter().chain(pending.map(|pending| pending.offer));
            for terms in offers.flat_map(|offer| offer.models) {
                let identities = offered.entry((terms.model_id, terms.spec_id)).or_default();
                if !identities.contains(&account) {
                    identities.push(account.clone());
                }
            }
        }
        let seated: Vec<Job> =
            self.ledger.query(None, "JobsApi_at_hand", (self.identities.clone(), false)).await?;
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

/// What the ledger says of a model that executes by `spec` here.
fn check(model: ModelId, spec: SpecId, agrees: Option<bool>) -> Result<(), LoadError> {
    match agrees {
        Some(true) => Ok(()),
        Some(false) => Err(LoadError::OtherSpec { model, spec }),
        None => Err(LoadError::NotRegistered(model)),
    }
}

/// Reads and packs on a thread where that may take long.
async fn on_shelf<S: Shelf, T: Send + 'static>(
    shelf: &Arc<S>,
    call: impl FnOnce(&S) -> Result<T, LoadError> + Send + 'static,
) -> Result<T, ServeError> {
    let shelf = Arc::clone(shelf);
    let called = tokio::task::spawn_blocking(move || call(&shelf)).await;
    Ok(called.map_err(|_| ServeError::Panicked)??)
}

/// An offered model is not served.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("asking the ledger for a model's registrations: {0}")]
    Ledger(#[from] LedgerError),
    #[error("loading a model: the thread panicked")]
    Panicked,
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::future::BoxFuture;

    use super::*;
    use crate::chain_spec::ChainSpec;
    use crate::ledger;
    use assay_runtime::executor::MemoryKv;

    /// Holds nothing, and gets nothing.
    struct Empty;

    impl Shelf for Empty {
        fn spec(&self, model: &ModelId) -> Result<SpecId, LoadError> {
            Err(LoadError::NotHere(*model))
        }

        fn load(&self, model: &ModelId, _: &SpecId, _: Vec<AccountId>) -> Result<(), LoadError> {
            Err(LoadError::NotHere(*model))
        }

        fn artifact(&self, _: &ModelId) -> Option<ArtifactId> {
            None
        }

        fn holds(&self, _: &ModelId) -> bool {
            false
        }

        fn keep_only(&self, _: &[ModelId]) {}
    }

    impl Supply for Empty {
        fn bring(&self, artifact: ArtifactId) -> BoxFuture<'_, Result<(), SupplyError>> {
            async move { Err(SupplyError(format!("nobody has {artifact}"))) }.boxed()
        }

        fn share(&self, _: ArtifactId) {}
    }

    #[tokio::test]
    async fn what_cannot_be_brought_or_turns_out_to_be_another_is_tried_again_later_and_not_at_once() {
        let spec = ChainSpec::development().unwrap();
        let ledger =
            ledger::open(MemoryKv::default(), &spec.genesis, ledger::Config::default()).unwrap().handle;
        let empty = Arc::new(Empty);
        let mut serving =
            Serving::new(ledger, Arc::clone(&empty), empty, Vec::new(), wants().1, Judging::Nothing);
        let model = ModelId::from_bytes([3; 32]);
        serving.fetch(model, 10).await;
        assert_eq!(serving.retry_at, Some(10 + RETRY_BLOCKS), "the ledger does not know it");
        assert!(serving.fetching.is_empty());

        serving.retry_at = None;
        serving.fetching.insert(model);
        serving.fetched(Ok((model, Err(SupplyError("nobody has it".into()))))).await;
        assert_eq!((serving.retry_at, serving.fetching.len()), (Some(RETRY_BLOCKS), 0));

        serving.retry_at = None;
        serving.fetched(Ok((model, Ok(())))).await;
        serving.fetch(model, 10).await;
        assert_eq!(serving.retry_at, Some(10 + RETRY_BLOCKS), "it came, and is not the model");
        assert!(serving.fetching.is_empty() && serving.brought.is_empty());
    }

    #[test]
    fn a_model_is_served_only_as_it_is_registered() {
        let (model, spec) = (ModelId::from_bytes([1; 32]), SpecId::from_bytes([2; 32]));
        assert!(check(model, spec, Some(true)).is_ok());
        assert!(matches!(check(model, spec, Some(false)), Err(LoadError::OtherSpec { .. })));
        assert!(matches!(check(model, spec, None), Err(LoadError::NotRegistered(_))));
    }
}
