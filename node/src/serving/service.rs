//! Follows the offers of this node's identities.

use std::collections::BTreeMap;
use std::sync::Arc;

use assay_manifest::{ModelId, SpecId};
use assay_protocol::job::Job;
use assay_runtime::queries::ProviderEntry;
use assay_runtime::{AccountId, RuntimeEvent};
use tokio::sync::{broadcast, watch};
use tracing::{info, warn};

use super::ports::{LoadError, Shelf};
use crate::ledger::{FinalizedBlock, LedgerError, LedgerHandle};
use crate::supervisor::told_to_stop;

/// Blocks after which a model that could not be loaded is tried again.
const RETRY_BLOCKS: u32 = 25;

/// The service; [`Serving::run`] returns when it is told to stop.
pub struct Serving<S> {
    ledger: LedgerHandle,
    shelf: Arc<S>,
    identities: Vec<AccountId>,
    blocks: broadcast::Receiver<Arc<FinalizedBlock>>,
    /// Height at which offers that could not all be served are looked at again.
    retry_at: Option<u32>,
}

impl<S: Shelf> Serving<S> {
    /// Serves what `identities` offer.
    pub fn new(ledger: LedgerHandle, shelf: Arc<S>, identities: Vec<AccountId>) -> Self {
        let blocks = ledger.subscribe();
        Self { ledger, shelf, identities, blocks, retry_at: None }
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
            _ => false,
        };
        self.retry_at.is_some_and(|height| block.header.number >= height)
            || block.events.iter().any(|record| own(&record.event))
    }

    async fn refresh(&mut self, height: u32) {
        self.retry_at = None;
        let offered = match self.offered().await {
            Ok(offered) => offered,
            Err(error) => {
                warn!(%error, "reading this node's offers");
                self.retry_at = Some(height.saturating_add(1));
                return;
            }
        };
        let models: Vec<_> = offered.keys().map(|(model, _)| *model).collect();
        self.shelf.keep_only(&models);
        for ((model, spec), identities) in offered {
            match self.serve((model, spec), identities).await {
                Ok(()) => info!(%model, "model ready"),
                Err(error) => {
                    warn!(%error, "an offered model is not served");
                    self.retry_at = Some(height.saturating_add(RETRY_BLOCKS));
                }
            }
        }
    }

    /// Loads a model that the ledger knows as the one that lies here. One that is loaded is kept whatever the
    /// ledger says later: whoever registered it could else make a seat of ours fall silent.
    async fn serve(
        &self,
        (model, offered): (ModelId, SpecId),
        identities: Vec<AccountId>,
    ) -> Result<(), ServeError> {
        let spec = on_shelf(&self.shelf, move |shelf| shelf.spec(&model)).await?;
        if spec != offered {
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
    use super::*;

    #[test]
    fn a_model_is_served_only_as_it_is_registered() {
        let (model, spec) = (ModelId::from_bytes([1; 32]), SpecId::from_bytes([2; 32]));
        assert!(check(model, spec, Some(true)).is_ok());
        assert!(matches!(check(model, spec, Some(false)), Err(LoadError::OtherSpec { .. })));
        assert!(matches!(check(model, spec, None), Err(LoadError::NotRegistered(_))));
    }
}
