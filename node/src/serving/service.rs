//! Follows the offers of this node's identities.

use std::collections::BTreeMap;
use std::sync::Arc;

use assay_manifest::ModelId;
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
    ///
    /// # Errors
    /// [`LedgerError::Stopped`] when the ledger is gone.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), LedgerError> {
        loop {
            let block = tokio::select! {
                block = self.blocks.recv() => block,
                () = told_to_stop(&mut stop) => return Ok(()),
            };
            match block {
                Ok(block) if self.concerns(&block) => self.refresh(block.header.number).await,
                Ok(_) => {}
                // What was missed may have concerned us.
                Err(broadcast::error::RecvError::Lagged(_)) => self.refresh(self.ledger.head().number).await,
                Err(broadcast::error::RecvError::Closed) => return Err(LedgerError::Stopped),
            }
        }
    }

    fn concerns(&self, block: &FinalizedBlock) -> bool {
        use pallet_assay_providers::Event::{OfferAnnounced, OfferEffective};
        let own = |event: &RuntimeEvent| match event {
            RuntimeEvent::Providers(OfferAnnounced { provider, .. } | OfferEffective { provider }) => {
                self.identities.contains(provider)
            }
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
        let shelf = Arc::clone(&self.shelf);
        let loading = tokio::task::spawn_blocking(move || fill(&*shelf, offered));
        if !loading.await.unwrap_or(false) {
            self.retry_at = Some(height.saturating_add(RETRY_BLOCKS));
        }
    }

    /// Every model that an identity offers, or is about to.
    async fn offered(&self) -> Result<BTreeMap<ModelId, Vec<AccountId>>, LedgerError> {
        let mut offered = BTreeMap::<_, Vec<_>>::new();
        for identity in &self.identities {
            let entry: Option<ProviderEntry> =
                self.ledger.query(None, "ProvidersApi_provider", identity).await?;
            let Some((account, _, offer, pending)) = entry else { continue };
            let offers = offer.into_iter().chain(pending.map(|pending| pending.offer));
            for model in offers.flat_map(|offer| offer.models).map(|terms| terms.model_id) {
                let identities = offered.entry(model).or_default();
                if !identities.contains(&account) {
                    identities.push(account.clone());
                }
            }
        }
        Ok(offered)
    }
}

/// Whether all that is offered is loaded now.
fn fill(shelf: &impl Shelf, offered: BTreeMap<ModelId, Vec<AccountId>>) -> bool {
    let models: Vec<_> = offered.keys().copied().collect();
    shelf.keep_only(&models);
    let mut complete = true;
    for (model, identities) in offered {
        match shelf.load(&model, identities) {
            Ok(()) => info!(%model, "model ready"),
            Err(error @ LoadError::NotHere(_)) => {
                warn!(%error, "an offered model is missing");
                complete = false;
            }
            Err(error) => {
                warn!(%error, "an offered model cannot be served");
                complete = false;
            }
        }
    }
    complete
}
