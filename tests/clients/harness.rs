//! A development node on a port of the system's choice, and clients for it.

use std::num::NonZeroUsize;
use std::time::Duration;

use assay_engine::Settings;
use assay_node::chain_spec::{ChainSpec, development_authority};
use assay_node::client::{Client, signed};
use assay_node::consensus::Network;
use assay_node::data_dir::DataDir;
use assay_node::keys::Key;
use assay_node::model_process::Isolation;
use assay_node::node::{Config, Node, StartError};
use assay_node::supervisor::TaskError;
use assay_node::{ledger, rpc};
use assay_runtime::{AccountId, Address, Balance, Hash, RuntimeCall, UncheckedExtrinsic};
use jsonrpsee::core::client::{ClientT, Error, Subscription, SubscriptionClientT};
use jsonrpsee::core::params::ArrayParams;
use jsonrpsee::types::ErrorObjectOwned;
use jsonrpsee::ws_client::{WsClient, WsClientBuilder};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A running node that makes a block every 200 ms.
pub struct TestNode {
    address: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), TaskError>>,
    _data: TempDir,
}

impl TestNode {
    pub async fn start() -> Self {
        Self::with(rpc_config()).await.unwrap()
    }

    pub async fn with(rpc: rpc::Config) -> Result<Self, StartError> {
        let data = tempfile::tempdir().unwrap();
        let spec = ChainSpec::development().unwrap();
        let config = Config {
            data: DataDir::create(data.path(), &spec, None).unwrap(),
            spec,
            kind: rpc::ChainKind::Development,
            validator: Some(development_authority()),
            network: Network::alone(),
            market: None,
            identities: Vec::new(),
            rpc,
            ledger: ledger::Config::default(),
            engine: Settings { threads: NonZeroUsize::MIN, ..Settings::for_this_machine() },
            isolation: Isolation::InProcess,
        };
        let node = Node::start(config).await?;
        let address = node.rpc_address();
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(node.run_until(async { drop(stopped.await) }));
        Ok(Self { address, stop, running, _data: data })
    }

    pub fn address(&self) -> std::net::SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// The command line's client.
    pub async fn client(&self) -> Client {
        Client::connect(&self.url()).await.unwrap()
    }

    /// A client of nothing but JSON-RPC.
    pub async fn plain(&self) -> Plain {
        Plain(WsClientBuilder::default().build(self.url()).await.unwrap())
    }

    pub async fn stop(self) {
        self.stop.send(()).unwrap();
        self.running.await.unwrap().unwrap();
    }
}

pub fn rpc_config() -> rpc::Config {
    rpc::Config { listen: ([127, 0, 0, 1], 0).into(), ..rpc::Config::default() }
}

/// A client that expects or refuses.
pub struct Plain(pub WsClient);

impl Plain {
    pub async fn call<T: DeserializeOwned>(&self, method: &str, params: ArrayParams) -> T {
        self.0.request(method, params).await.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// The error with which a call is answered.
    pub async fn refusal(&self, method: &str, params: ArrayParams) -> ErrorObjectOwned {
        refusal(self.0.request::<Value, _>(method, params).await)
    }

    pub async fn subscribe(&self, names: [&'static str; 2], params: ArrayParams) -> Subscription<Value> {
        self.0.subscribe(names[0], params, names[1]).await.unwrap()
    }

    pub async fn nonce(&self, key: &Key) -> u32 {
        self.call("system_accountNextIndex", jsonrpsee::rpc_params![key.address()]).await
    }

    /// Hex of a transaction signed at a nonce.
    pub async fn signed(&self, key: &Key, nonce: u32, call: RuntimeCall) -> String {
        let genesis: Hash = self.call("chain_getBlockHash", jsonrpsee::rpc_params![0]).await;
        hex(&codec::Encode::encode(&signed(key, nonce, genesis, call)))
    }
}

pub fn refusal<T: std::fmt::Debug>(answer: Result<T, Error>) -> ErrorObjectOwned {
    match answer {
        Err(Error::Call(error)) => error,
        other => panic!("expected an error of the method, got {other:?}"),
    }
}

/// Longer than any event of a chain with blocks every 200 ms takes on a busy machine.
const EVENT_DEADLINE: Duration = Duration::from_secs(30);

/// The next event of a subscription.
pub async fn next(events: &mut Subscription<Value>) -> Value {
    let event = tokio::time::timeout(EVENT_DEADLINE, events.next()).await;
    event.expect("in time").expect("the subscription goes on").expect("events are JSON")
}

pub fn alice() -> Key {
    Key::development("//Alice").unwrap()
}

pub fn bob() -> Key {
    Key::development("//Bob").unwrap()
}

pub fn transfer(to: &AccountId, value: Balance) -> RuntimeCall {
    RuntimeCall::Balances(pallet_balances::Call::transfer_keep_alive { dest: Address::Id(to.clone()), value })
}

pub fn hex(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

pub fn unhex(text: &str) -> Vec<u8> {
    hex::decode(text.trim_start_matches("0x")).unwrap()
}

/// A signed transaction whose call is replaced by these bytes; its signature is then wrong.
pub fn with_call(template: &UncheckedExtrinsic, call: &[u8]) -> Vec<u8> {
    let bytes = codec::Encode::encode(template);
    let mut rest = bytes.as_slice();
    let length: codec::Compact<u32> = codec::Decode::decode(&mut rest).unwrap();
    assert_eq!(length.0 as usize, rest.len());
    let old = codec::Encode::encode(&template.function).len();
    codec::Encode::encode(&[&rest[..rest.len() - old], call].concat())
}
