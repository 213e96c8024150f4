//! A connection to a node and typed reads through it.

use std::time::Duration;

use assay_manifest::Digest32;
use assay_runtime::{AccountId, Balance, Hash, Nonce};
use codec::{DecodeAll, Encode};
use jsonrpsee::core::client::{ClientT, Error as RpcError};
use jsonrpsee::rpc_params;
use jsonrpsee::ws_client::{WsClient, WsClientBuilder};
use serde::Serialize;
use serde::de::DeserializeOwned;

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
    },
    /// The connection broke or timed out.
    #[error("{method}: {cause}")]
    Transport {
        /// The method.
        method: String,
        /// What went wrong.
        cause: String,
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

fn decimal<S: serde::Serializer>(amount: &Balance, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(amount)
}

/// A read that takes longer is given up; the slowest one, hashing a large model, has its own limit.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

impl Client {
    /// Connects to the node at `url` (`ws://…`).
    ///
    /// # Errors
    /// [`ClientError`] when nothing answers or it is no node.
    pub async fn connect(url: &str) -> Result<Self, ClientError> {
        let rpc = WsClientBuilder::default()
            .request_timeout(READ_TIMEOUT)
            .build(url)
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
        params: jsonrpsee::core::params::ArrayParams,
    ) -> Result<T, ClientError> {
        self.rpc.request(method, params).await.map_err(|error| explain(method, error))
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

    /// Free and held tokens of an account.
    ///
    /// # Errors
    /// [`ClientError`] when the node refuses.
    pub async fn balances(&self, account: &AccountId) -> Result<Balances, ClientError> {
        let key = frame_system::Account::<assay_runtime::Runtime>::hashed_key_for(account);
        let info: Option<frame_system::AccountInfo<Nonce, pallet_balances::AccountData<Balance>>> =
            self.storage(&key, None).await?;
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
    let method = method.to_owned();
    match error {
        RpcError::Call(object) => ClientError::Refused {
            method,
            code: object.code(),
            message: object.message().into(),
            hint: object.data().and_then(|data| hint(data.get())),
        },
        RpcError::ParseError(error) => ClientError::Foreign { method, cause: error.to_string() },
        other => ClientError::Transport { method, cause: other.to_string() },
    }
}

fn hint(data: &str) -> Option<String> {
    let data: serde_json::Value = serde_json::from_str(data).ok()?;
    Some(data.get("hint")?.as_str()?.to_owned())
}
