//! The loop that replaces and deletes keys.

use std::collections::BTreeSet;
use std::sync::Arc;

use assay_protocol::party::AccountBytes;
use assay_protocol::seal::EncryptionKey;
use assay_protocol::signature::{Signature, rotation_digest};
use sp_core::Pair;
use tokio::sync::watch;
use tracing::{info, warn};

use super::ring::{KeyRing, KeyUse};
use super::rotation::{Action, Published, plan};
use crate::supervisor::told_to_stop;
use crate::worker::{BoardError, Identity};

/// Blocks between two looks.
const LOOK_EVERY_BLOCKS: u32 = 64;

/// The ledger as far as keys go.
pub trait KeyLedger: Send + Sync + 'static {
    /// The height of the finalized head.
    fn heights(&self) -> watch::Receiver<u32>;
    /// The chain.
    fn genesis(&self) -> assay_manifest::Digest32;
    /// Blocks for which a key stays published.
    fn window(&self) -> impl Future<Output = Result<u32, BoardError>> + Send;
    /// What is published for an account that can be drawn.
    fn published(
        &self,
        account: &AccountBytes,
    ) -> impl Future<Output = Result<Option<Published>, BoardError>> + Send;
    /// The keys that jobs on the ledger name.
    fn named(&self) -> impl Future<Output = Result<BTreeSet<EncryptionKey>, BoardError>> + Send;
    /// Publishes a key, signed by the account's work key.
    fn publish(
        &self,
        account: AccountBytes,
        key: EncryptionKey,
        signature: Signature,
    ) -> impl Future<Output = Result<(), BoardError>> + Send;
}

/// Replaces and deletes the keys of `identities` until `stop` turns true.
pub async fn rotate<L: KeyLedger>(
    ledger: L,
    ring: Arc<KeyRing>,
    identities: Vec<Identity>,
    mut stop: watch::Receiver<bool>,
) {
    let mut heights = ledger.heights();
    let mut next = 0;
    loop {
        tokio::select! {
            () = told_to_stop(&mut stop) => return,
            // The end of whoever tells the heights is what ends the node, with its own cause.
            changed = heights.changed() => if changed.is_err() {
                return told_to_stop(&mut stop).await;
            },
        }
        let height = *heights.borrow_and_update();
        if height < next {
            continue;
        }
        next = height.saturating_add(LOOK_EVERY_BLOCKS);
        if let Err(error) = look(&ledger, &ring, &identities, height).await {
            warn!(%error, "replacing encryption keys");
        }
    }
}

async fn look<L: KeyLedger>(
    ledger: &L,
    ring: &KeyRing,
    identities: &[Identity],
    height: u32,
) -> Result<(), BoardError> {
    let mut published = Vec::new();
    for identity in identities {
        published.extend(ledger.published(&identity.account).await?);
    }
    let (window, named) = (ledger.window().await?, ledger.named().await?);
    let failed = |error: super::RingError| BoardError::Failed {
        what: "replacing encryption keys",
        cause: error.to_string(),
    };
    for action in plan(height, window, &published, &ring.held(), &named) {
        match action {
            Action::Forget(key) => {
                ring.forget(&key).map_err(failed)?;
                info!(%key, "encryption key deleted");
            }
            Action::Replace { published, ready } => {
                let Some(own) = identities.iter().find(|own| own.account == published.account) else {
                    continue;
                };
                let key = match ready {
                    Some(ready) => ready,
                    None => ring.make(own.account, KeyUse::Published, height).map_err(failed)?,
                };
                let digest = rotation_digest(&ledger.genesis(), &own.account, &published.key, &key);
                let signature = Signature(own.work_key.sign(digest.as_bytes()).0);
                match ledger.publish(own.account, key, signature).await {
                    Ok(()) => info!(%key, "encryption key published"),
                    Err(BoardError::Stale) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
    Ok(())
}
