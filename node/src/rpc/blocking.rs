//! Calls that block, on threads made for them, a bounded number at a time.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::error::Group;
use super::error::RpcError;
use super::ports::PortError;

/// Runs calls that block.
#[derive(Clone)]
pub struct Blocking {
    permits: Arc<Semaphore>,
}

impl Blocking {
    /// At most `at_once` of them at the same time.
    pub fn new(at_once: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(at_once)) }
    }

    /// Runs `call`, and tells its errors in the codes of `group`.
    ///
    /// # Errors
    /// That the node is busy, when too many calls are running; the call's own; that it panicked.
    pub async fn run<T: Send + 'static>(
        &self,
        group: Group,
        call: impl FnOnce() -> Result<T, PortError> + Send + 'static,
    ) -> Result<T, RpcError> {
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        let permit = permit.map_err(|_| PortError::Full("too many requests are being worked on".into()));
        let permit = permit.map_err(|error| group.error(error))?;
        let running = tokio::task::spawn_blocking(move || {
            // Given back when the work ends, also when nobody waits for it any more.
            let _permit = permit;
            call()
        });
        let ended = running.await.map_err(|error| PortError::Failed(format!("answering: {error}")));
        ended.and_then(|result| result).map_err(|error| group.error(error))
    }
}
