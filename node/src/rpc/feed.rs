//! Subscriptions that follow finalized blocks, and how methods are registered.

use std::sync::Arc;

use jsonrpsee::core::RegisterMethodError;
use jsonrpsee::core::server::{RpcModule, SubscriptionCloseResponse};
use jsonrpsee::{PendingSubscriptionSink, SubscriptionSink};
use serde::Serialize;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::error::{End, RpcError};
use super::params::Args;
use crate::ledger::{FinalizedBlock, LedgerHandle};

/// Methods that share a context.
pub struct Registry<C> {
    module: RpcModule<C>,
}

impl<C: Send + Sync + 'static> Registry<C> {
    /// No method yet.
    pub fn new(context: C) -> Self {
        Self { module: RpcModule::new(context) }
    }

    /// What was registered.
    pub fn into_methods(self) -> jsonrpsee::Methods {
        self.module.into()
    }

    /// Registers a method.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn method<T, F, Fut>(&mut self, name: &'static str, call: F) -> Result<&mut Self, RegisterMethodError>
    where
        T: Serialize + Clone + Send + 'static,
        F: Fn(Arc<C>, Args) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<T, RpcError>> + Send,
    {
        self.module.register_async_method(name, move |params, context, _| {
            let call = call.clone();
            async move { call(context, Args::read(&params)?).await }
        })?;
        Ok(self)
    }

    /// Registers another name of a method.
    ///
    /// # Errors
    /// When the name is taken, or there is no such method.
    pub fn alias(
        &mut self,
        alias: &'static str,
        name: &'static str,
    ) -> Result<&mut Self, RegisterMethodError> {
        self.module.register_alias(alias, name)?;
        Ok(self)
    }

    /// Registers a subscription: names of the call that begins it, of its notifications, and of the call that
    /// ends it.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn subscription<F, Fut>(
        &mut self,
        [subscribe, notification, unsubscribe]: [&'static str; 3],
        follow: F,
    ) -> Result<&mut Self, RegisterMethodError>
    where
        F: Fn(Arc<C>, Args, PendingSubscriptionSink) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = SubscriptionCloseResponse> + Send + 'static,
    {
        self.module.register_subscription(
            subscribe,
            notification,
            unsubscribe,
            move |params, pending, context, _| {
                let follow = follow.clone();
                async move {
                    match Args::read(&params) {
                        Ok(args) => follow(context, args, pending).await,
                        Err(error) => reject(pending, error).await,
                    }
                }
            },
        )?;
        Ok(self)
    }
}

/// Refuses a subscription.
pub async fn reject(pending: PendingSubscriptionSink, error: RpcError) -> SubscriptionCloseResponse {
    pending.reject(error).await;
    SubscriptionCloseResponse::None
}

/// Accepts a subscription.
///
/// # Errors
/// [`End::Gone`] when its client has left meanwhile.
pub async fn accept(pending: PendingSubscriptionSink) -> Result<SubscriptionSink, End> {
    pending.accept().await.map_err(|_| End::Gone)
}

/// Sends a message, waiting while the connection has no room.
///
/// # Errors
/// [`End`] when the client has left.
pub async fn send(sink: &SubscriptionSink, message: &impl Serialize) -> Result<(), End> {
    // Our own types always serialise; should one not, its subscription ends instead of the node.
    let message = serde_json::value::to_raw_value(message).map_err(|_| End::Stopping)?;
    sink.send(message).await.map_err(|_| End::Gone)
}

/// The finalized blocks after the head of its beginning, each once.
pub struct Blocks {
    blocks: broadcast::Receiver<Arc<FinalizedBlock>>,
    seen: u32,
}

impl Blocks {
    /// Follows a ledger. Read the head after this and tell [`Self::seen`], and no block is missed or repeated.
    pub fn follow(ledger: &LedgerHandle) -> Self {
        Self { blocks: ledger.subscribe(), seen: 0 }
    }

    /// Skips blocks up to this height.
    pub const fn seen(&mut self, height: u32) {
        self.seen = height;
    }

    /// The next block. While the client is slow to read, blocks wait here, and past the ledger's limit they
    /// are missed and the subscription ends.
    ///
    /// # Errors
    /// [`End`] when the client has left or fell behind, or the ledger has stopped.
    pub async fn next(&mut self, sink: &SubscriptionSink) -> Result<Arc<FinalizedBlock>, End> {
        loop {
            let received = tokio::select! {
                received = self.blocks.recv() => received,
                () = sink.closed() => return Err(End::Gone),
            };
            match received {
                Ok(block) if block.header.number <= self.seen => {}
                Ok(block) => return Ok(block),
                Err(RecvError::Lagged(_)) => return Err(End::FellBehind),
                Err(RecvError::Closed) => return Err(End::Stopping),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jsonrpsee::core::EmptyServerParams;
    use serde_json::Value;

    use super::*;
    use crate::chain_spec::{ChainSpec, development_authority};
    use crate::consensus::{Solo, TransactionSource};
    use crate::ledger;
    use assay_runtime::executor::MemoryKv;
    use assay_runtime::{Hash, UncheckedExtrinsic};

    struct Nothing;

    impl TransactionSource for Nothing {
        async fn ready(&self) -> Vec<UncheckedExtrinsic> {
            Vec::new()
        }

        async fn rejected(&self, _hashes: Vec<Hash>) {}

        async fn convict(&self, _proof: assay_protocol::vote::Equivocation) {}
    }

    type Closing = Result<SubscriptionCloseResponse, End>;

    /// Tells heights as long as its client keeps up.
    async fn heights(ledger: &LedgerHandle, pending: PendingSubscriptionSink) -> Closing {
        let mut blocks = Blocks::follow(ledger);
        let sink = accept(pending).await?;
        loop {
            let block = blocks.next(&sink).await?;
            send(&sink, &block.header.number).await?;
        }
    }

    #[tokio::test]
    async fn a_subscriber_that_does_not_read_is_told_that_it_missed_something() {
        let spec = ChainSpec::development().unwrap();
        let config = ledger::Config { subscriber_lag_max: 2, ..ledger::Config::default() };
        let ledger = ledger::open(MemoryKv::default(), &spec.genesis, config).unwrap().handle;
        let mut registry = Registry::new(ledger.clone());
        let names = ["test_heights", "test_height", "test_stop"];
        let follow = |ledger: Arc<LedgerHandle>, _, pending| async move {
            heights(&ledger, pending).await.unwrap_or_else(End::as_event)
        };
        registry.subscription(names, follow).unwrap();
        let methods = registry.into_methods();
        // One message waits for the connection, and two blocks wait for the subscription.
        let mut events = methods.subscribe(names[0], EmptyServerParams::new(), 1).await.unwrap();
        let validator = Solo::new(development_authority(), ledger, Nothing);
        for _ in 0..8 {
            validator.make_block().await.unwrap();
        }
        let mut seen = Vec::new();
        while let Some(event) = events.next::<Value>().await {
            seen.push(event.unwrap().0);
        }
        let (last, before) = seen.split_last().unwrap();
        assert_eq!(last["reason"], End::FellBehind.to_string(), "{seen:?}");
        assert!(before.len() < 8 && before.iter().zip(1..).all(|(height, at)| *height == at), "{seen:?}");
    }
}
