//! The way in for who knows nobody: where the ledger says that validators can be reached.
//!
//! Lists and remembered addresses grow old while a node is away. Its ledger still names who decided last, and of those
//! only one has to be where it was.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tracing::warn;

use super::inbox::NetworkHandle;
use super::ports::Directory;
use crate::supervisor::told_to_stop;

/// From one look at the ledger to the next.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Tells the network where validators can be reached, again and again; it asks them when it lacks peers. Ends when it is
/// told to, or the network has.
pub async fn meet_validators(
    network: NetworkHandle,
    ledger: impl Directory,
    mut stop: watch::Receiver<bool>,
) {
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = look.tick() => {}
            () = told_to_stop(&mut stop) => return,
        }
        let addresses = match ledger.validator_addresses().await {
            Ok(addresses) => addresses,
            Err(error) => {
                warn!(%error, "looking for validators");
                continue;
            }
        };
        if network.suggest(addresses).await.is_err() {
            return;
        }
    }
}
