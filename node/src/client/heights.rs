//! Heights as blocks are finalized, and waiting for what only blocks bring.

use std::time::Duration;

use assay_runtime::Header;
use jsonrpsee::core::client::{Subscription, SubscriptionClientT};
use jsonrpsee::rpc_params;
use tokio::time::timeout;

use super::chain::{Client, ClientError, explain};

/// From one block to the next, before a chain is taken to stand still.
const NO_BLOCK_MAX: Duration = Duration::from_secs(60);

/// Finalized heights as they come.
pub struct Heights {
    headers: Subscription<Header>,
}

impl Heights {
    const METHOD: &str = "chain_subscribeFinalizedHeads";

    /// The next one.
    ///
    /// # Errors
    /// [`ClientError`] when the connection breaks, or none comes for a minute.
    pub async fn next(&mut self) -> Result<u32, ClientError> {
        let method = Self::METHOD.to_owned();
        let standstill = |_| ClientError::Standstill { seconds: NO_BLOCK_MAX.as_secs() };
        match timeout(NO_BLOCK_MAX, self.headers.next()).await.map_err(standstill)? {
            Some(Ok(header)) => Ok(header.number),
            Some(Err(error)) => Err(ClientError::Foreign { method, cause: error.to_string() }),
            None => Err(ClientError::Transport { method, cause: "the node closed the subscription".into() }),
        }
    }

    /// Waits for what only blocks bring: on a chain that stands still it may never come.
    ///
    /// # Errors
    /// As [`Self::next`], while it has not come.
    pub async fn until<T>(&mut self, awaited: impl Future<Output = T>) -> Result<T, ClientError> {
        let mut awaited = std::pin::pin!(awaited);
        loop {
            tokio::select! {
                biased;
                came = &mut awaited => return Ok(came),
                height = self.next() => drop(height?),
            }
        }
    }
}

impl Client {
    /// Finalized heights from now on.
    ///
    /// # Errors
    /// [`ClientError`] when the node refuses.
    pub async fn heights(&self) -> Result<Heights, ClientError> {
        let method = Heights::METHOD;
        let headers = self.rpc.subscribe(method, rpc_params![], "chain_unsubscribeFinalizedHeads").await;
        Ok(Heights { headers: headers.map_err(|error| explain(method, error))? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_runtime::Hash;
    use jsonrpsee::core::SubscriptionError;
    use jsonrpsee::server::{RpcModule, Server, ServerHandle};
    use sp_runtime::traits::Header as _;
    use std::future::pending;
    use tokio::sync::mpsc;

    /// A node that finalizes what it is given; how to give it blocks.
    async fn node() -> (Client, mpsc::Sender<u32>, ServerHandle) {
        let (give, given) = mpsc::channel(1);
        let mut module = RpcModule::new(tokio::sync::Mutex::new(given));
        module.register_method("chain_getBlockHash", |_, _, _| format!("{:?}", Hash::zero())).unwrap();
        let (heads, cancel) = (Heights::METHOD, "chain_unsubscribeFinalizedHeads");
        module
            .register_subscription(heads, heads, cancel, |_, to, given, _| async move {
                let to = to.accept().await?;
                while let Some(number) = given.lock().await.recv().await {
                    let header =
                        Header::new(number, Hash::zero(), Hash::zero(), Hash::zero(), Default::default());
                    to.send(serde_json::value::to_raw_value(&header)?).await?;
                }
                pending::<Result<(), SubscriptionError>>().await
            })
            .unwrap();
        let server = Server::builder().build("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", server.local_addr().unwrap());
        let running = server.start(module);
        (Client::connect(&url).await.unwrap(), give, running)
    }

    #[tokio::test]
    async fn what_is_awaited_comes_and_a_node_that_ends_is_not_waited_for() {
        let (client, give, running) = node().await;
        let mut heights = client.heights().await.unwrap();
        assert_eq!(heights.until(async { 7 }).await.unwrap(), 7);
        give.send(5).await.unwrap();
        assert_eq!(heights.next().await.unwrap(), 5);
        running.stop().unwrap();
        let ended = heights.until(pending::<()>()).await;
        assert!(matches!(ended, Err(ClientError::Transport { .. })), "{ended:?}");
    }

    #[tokio::test]
    async fn a_chain_that_stands_still_is_not_waited_for() {
        let (client, give, _running) = node().await;
        let mut heights = client.heights().await.unwrap();
        give.send(5).await.unwrap();
        assert_eq!(heights.next().await.unwrap(), 5);
        tokio::time::pause();
        let stands = heights.until(pending::<()>()).await;
        assert!(matches!(stands, Err(ClientError::Standstill { seconds: 60 })), "{stands:?}");
        let stands = heights.next().await;
        assert!(matches!(stands, Err(ClientError::Standstill { .. })), "{stands:?}");
    }
}
