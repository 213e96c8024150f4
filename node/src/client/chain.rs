//! A connection to a node and typed reads through it.

use std::time::Duration;

use assay_manifest::{Digest32, ModelId};
use assay_runtime::{AccountId, Balance, Hash, Header, Nonce};
use codec::{DecodeAll, Encode};
use jsonrpsee::core::client::{ClientT, Error as RpcError};
use jsonrpsee::core::params::ArrayParams;
use jsonrpsee::rpc_params;
use jsonrpsee::ws_client::{WsClient, WsClientBuilder};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::rpc::Reason;

/// A request to a node failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing answers there.
    #[error("connecting to {url}: {cause}")]
    Connect {
        /// The address.
        url: String,
        /// What went wrong.
        cause: String,
    },
    /// The node answered with an error.
    #[error("{method}: {message} (code {code})")]
    Refused {
        /// The method.
        method: String,
        /// The JSON-RPC code.
        code: i32,
        /// The node's words.
        message: String,
        /// What to do next, if the node says.
        hint: Option<String>,
        /// Why a transaction is invalid, if the node says.
        reason: Option<Reason>,
    },
    /// The connection broke or timed out.
    #[error("{method}: {cause}")]
    Transport {
        /// The method.
        method: String,
        /// What went wrong.
        cause: String,
    },
    /// The chain stands still: what is waited for may never come.
    #[error("waiting for a block: none was finalized for {seconds} seconds")]
    Standstill {
        /// For how long.
        seconds: u64,
    },
    /// The node speaks another version.
    #[error("{method}: the answer cannot be read: {cause}")]
    Foreign {
        /// The method.
        method: String,
        /// What went wrong.
        cause: String,
    },
}

/// A connected client.
pub struct Client {
    pub(super) rpc: WsClient,
    genesis: Hash,
}

/// An account's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Balances {
    /// Spendable.
    #[serde(serialize_with = "decimal")]
    pub free: Balance,
    /// Held: escrow, stake, deposits.
    #[serde(serialize_with = "decimal")]
    pub held: Balance,
}

/// The URL by which the same server is asked over WebSocket, which subscriptions need.
fn web_socket(url: &str) -> String {
    match url.split_once("://") {
        Some(("http", rest)) => format!("ws://{rest}"),
        Some(("https", rest)) => format!("wss://{rest}"),
        _ => url.into(),
    }
}

/// JSON numbers lose precision past 2⁵³, so amounts travel as decimal text.
///
/// # Errors
/// Those of the serializer.
pub fn decimal<S: serde::Serializer>(amount: &Balance, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(amount)
}

/// A read that takes longer is given up; the slowest one, hashing a large model, has its own limit.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// The code with which a node says that a model is on its way.
const UNAVAILABLE: i32 = 20_004;
/// Blocks for which a model that is on its way is waited for.
const BRINGING_BLOCKS_MAX: u32 = 120;

impl Client {
    /// Connects to the node at `url` (`ws://…`; one for HTTP names the same port, which speaks both).
    ///
    /// # Errors
    /// [`ClientError`] when nothing answers or it is no node.
    pub async fn connect(url: &str) -> Result<Self, ClientError> {
        let rpc = WsClientBuilder::default()
            .request_timeout(READ_TIMEOUT)
            .build(web_socket(url))
            .await
            .map_err(|error| ClientError::Connect { url: url.into(), cause: error.to_string() })?;
        let mut client = Self { rpc, genesis: Hash::zero() };
        client.genesis = client.request("chain_getBlockHash", rpc_params![0]).await?;
        Ok(client)
    }

    /// The hash of block 0.
    pub const fn genesis(&self) -> Hash {
        self.genesis
    }

    /// The same as the protocol's digest.
    pub fn genesis_digest(&self) -> Digest32 {
        Digest32::from_bytes(self.genesis.0)
    }

    /// Calls any method.
    ///
    /// # Errors
    /// [`ClientError`] when the node refuses, or cannot be understood.
    pub async fn request<T: DeserializeOwned>(
        &self,
        method: &str,
        params: ArrayParams,
    ) -> Result<T, ClientError> {
        self.rpc.request(method, params).await.map_err(|error| explain(method, error))
    }

    /// Calls a method for which the node may have to bring a model first; waits for that.
    ///
    /// # Errors
    /// [`ClientError`] when the node refuses, or the model does not come.
    pub async fn request_of_model<T: DeserializeOwned>(
        &self,
        method: &str,
        params: ArrayParams,
    ) -> Result<T, ClientError> {
        self.request_until(method, params, (UNAVAILABLE, BRINGING_BLOCKS_MAX)).await
    }

    /// Calls a method again with every block while the node answers with a code, for so many blocks at the most.
    ///
    /// # Errors
    /// [`ClientError`] when the node refuses with another, or still with this one, or no block comes for a minute.
    pub async fn request_until<T: DeserializeOwned>(
        &self,
        method: &str,
        params: ArrayParams,
        (not_yet, blocks_max): (i32, u32),
    ) -> Result<T, ClientError> {
        let mut heights = self.heights().await?;
        let mut waited = 0;
        loop {
            match self.request(method, params.clone()).await {
                Err(error @ ClientError::Refused { code, .. }) if code == not_yet && waited < blocks_max => {
                    match heights.next().await {
                        Ok(_) => waited += 1,
                        // What is waited for may never come.
                        Err(ClientError::Standstill { .. }) => return Err(error),
                        Err(broken) => return Err(broken),
                    }
                }
                answer => return answer,
            }
        }
    }

    /// Calls a runtime API at the finalized head.
    ///
    /// # Errors
    /// [`ClientError`] when the node refuses, or its runtime is another.
    pub async fn runtime<T: DecodeAll>(&self, function: &str, args: impl Encode) -> Result<T, ClientError> {
        let args = format!("0x{}", hex::encode(args.encode()));
        let answer: String = self.request("state_call", rpc_params![function, args]).await?;
        decode(function, &answer)
    }

    /// Reads a storage value.
    ///
    /// # Errors
    /// [`ClientError`] when the node refuses, or its runtime is another.
    pub async fn storage<T: DecodeAll>(
        &self,
        key: &[u8],
        at: Option<Hash>,
    ) -> Result<Option<T>, ClientError> {
        const METHOD: &str = "state_getStorage";
        let key = format!("0x{}", hex::encode(key));
        let answer: Option<String> = self.request(METHOD, rpc_params![key, at]).await?;
        answer.map(|answer| decode(METHOD, &answer)).transpose()
    }

    /// Height of the finalized head.
    ///
    /// # Errors
    /// [`ClientError`] when the node refuses.
    pub async fn height(&self) -> Result<u32, ClientError> {
        const METHOD: &str = "chain_getHeader";
        let header: Header = self.request(METHOD, rpc_params![]).await?;
        Ok(header.number)
    }

    /// Whether the node has a model loaded.
    ///
    /// # Errors
    /// [`ClientError`] when the node refuses.
    pub async fn serves(&self, model: &ModelId) -> Result<bool, ClientError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Serving {
            model_id: ModelId,
        }
        #[derive(Deserialize)]
        struct Info {
            serving: Vec<Serving>,
        }
        let info: Info = self.request("node_v1_info", rpc_params![]).await?;
        Ok(info.serving.iter().any(|serving| serving.model_id == *model))
    }

    /// Free and held tokens of an account.
    ///
    /// # Errors
    /// [`ClientError`] when the node refuses.
    pub async fn balances(&self, account: &AccountId) -> Result<Balances, ClientError> {
        self.balances_at(account, None).await
    }

    /// The same after a block.
    ///
    /// # Errors
    /// [`ClientError`] when the node refuses, or has pruned the block's state.
    pub async fn balances_at(&self, account: &AccountId, at: Option<Hash>) -> Result<Balances, ClientError> {
        let key = frame_system::Account::<assay_runtime::Runtime>::hashed_key_for(account);
        let info: Option<frame_system::AccountInfo<Nonce, pallet_balances::AccountData<Balance>>> =
            self.storage(&key, at).await?;
        Ok(info.map_or(Balances { free: 0, held: 0 }, |info| Balances {
            free: info.data.free,
            held: info.data.reserved,
        }))
    }
}

fn decode<T: DecodeAll>(method: &str, answer: &str) -> Result<T, ClientError> {
    let foreign = |cause: String| ClientError::Foreign { method: method.into(), cause };
    let bytes = hex::decode(answer.trim_start_matches("0x")).map_err(|error| foreign(error.to_string()))?;
    T::decode_all(&mut bytes.as_slice()).map_err(|error| foreign(error.to_string()))
}

pub(super) fn explain(method: &str, error: RpcError) -> ClientError {
    /// What a node says about an error besides code and message.
    #[derive(Default, Deserialize)]
    struct Data {
        cause: Option<String>,
        hint: Option<String>,
        reason: Option<Reason>,
    }
    let method = method.to_owned();
    match error {
        RpcError::Call(object) => {
            let data = object.data().and_then(|data| serde_json::from_str(data.get()).ok());
            let Data { cause, hint, reason } = data.unwrap_or_default();
            let message = cause.unwrap_or_else(|| object.message().into());
            ClientError::Refused { method, code: object.code(), message, hint, reason }
        }
        RpcError::ParseError(error) => ClientError::Foreign { method, cause: error.to_string() },
        other => ClientError::Transport { method, cause: other.to_string() },
    }
}
