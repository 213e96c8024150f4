//! Starting and stopping the server.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jsonrpsee::Methods;
use jsonrpsee::core::RegisterMethodError;
use jsonrpsee::server::{
    BatchRequestConfig, PingConfig, RandomStringIdProvider, Server, ServerConfig, ServerHandle,
};
use tower::ServiceBuilder;
use tracing::{info, warn};

use super::blocking::Blocking;
use super::error::{Code, RpcError};
use super::feed::Registry;
use super::gate::Gate;
use super::ports::{Artifacts, Jobs, Models, Peers, Receipts};
use super::{
    Config, Identity, artifacts, author, chain, jobs, node, payment, providers, receipts, state, system,
};
use crate::ledger::LedgerHandle;
use crate::mempool::MempoolHandle;
use crate::network::NetworkHandle;
use crate::serving::Wants;

/// How long open requests may take to end when the server stops.
const STOP_DEADLINE: Duration = Duration::from_secs(5);
/// Length of subscription ids; Substrate's clients expect text.
const SUBSCRIPTION_ID_CHARS: usize = 16;
/// Requests of its owner that a node executes at the same time.
const OWN_EXECUTIONS_MAX: usize = 1;

/// What Substrate's methods work with.
#[derive(Clone)]
pub struct Backend {
    /// The ledger.
    pub ledger: LedgerHandle,
    /// The pool.
    pub pool: MempoolHandle,
    /// What the node says about itself.
    pub identity: Arc<Identity>,
    /// The market's network, if the node takes part in it.
    pub network: Option<NetworkHandle>,
    /// Asks for models that are not loaded.
    pub wants: Wants,
}

/// What our methods work with, besides.
pub struct Services<A, M, J, R> {
    /// The artifact store.
    pub artifacts: Arc<A>,
    /// The stores of other nodes.
    pub peers: Arc<dyn Peers>,
    /// The loaded models.
    pub models: Arc<M>,
    /// Inputs and outputs of jobs.
    pub jobs: Arc<J>,
    /// Finished jobs.
    pub receipts: Arc<R>,
}

/// The server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another program listens there.
    #[error("listening on {0}: another program does already")]
    InUse(SocketAddr),
    /// The address cannot be listened on.
    #[error("listening on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What went wrong.
        source: io::Error,
    },
    /// Two methods have one name.
    #[error("registering methods: {0}")]
    Methods(#[from] RegisterMethodError),
}

/// A running server.
#[derive(Debug)]
pub struct Rpc {
    address: SocketAddr,
    handle: ServerHandle,
}

impl Rpc {
    /// Where it listens; the port was chosen by the system if 0 was asked for.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting, ends subscriptions, and waits for open requests, but not for long.
    pub async fn stop(self) {
        // An error means that it has stopped already.
        let _ = self.handle.stop();
        if tokio::time::timeout(STOP_DEADLINE, self.handle.stopped()).await.is_err() {
            warn!(address = %self.address, "requests were still open when the server stopped");
        }
    }
}

/// Starts the server.
///
/// # Errors
/// [`StartError`] when the address cannot be listened on.
pub async fn start<A: Artifacts, M: Models, J: Jobs, R: Receipts>(
    config: Config,
    backend: Backend,
    services: Services<A, M, J, R>,
) -> Result<Rpc, StartError> {
    let methods = methods(&config, backend, services)?;
    let listen = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => StartError::InUse(config.listen),
        _ => StartError::Listen { address: config.listen, source },
    };
    let server = Server::builder()
        .set_config(server_config(&config))
        .set_http_middleware(ServiceBuilder::new().layer(Gate::new(&config)))
        .build(config.listen)
        .await
        .map_err(listen)?;
    let address = server.local_addr().map_err(listen)?;
    info!(%address, serves_unsafe = config.serves_unsafe(), "JSON-RPC is listening");
    Ok(Rpc { address, handle: server.start(methods) })
}

fn server_config(config: &Config) -> ServerConfig {
    ServerConfig::builder()
        .max_connections(config.connections_max)
        .max_subscriptions_per_connection(config.subscriptions_max)
        .max_request_body_size(config.request_bytes_max)
        .max_response_body_size(config.response_bytes_max)
        .set_batch_request_config(BatchRequestConfig::Limit(config.batch_max))
        .set_message_buffer_capacity(config.messages_waiting_max)
        .set_id_provider(RandomStringIdProvider::new(SUBSCRIPTION_ID_CHARS))
        .enable_ws_ping(PingConfig::new())
        .build()
}

fn methods<A: Artifacts, M: Models, J: Jobs, R: Receipts>(
    config: &Config,
    backend: Backend,
    services: Services<A, M, J, R>,
) -> Result<Methods, RegisterMethodError> {
    let mut methods = substrate_methods(config, &backend)?;
    let blocking = Blocking::new(config.blocking_max);
    let (ledger, tells_data_dir) = (backend.ledger.clone(), config.serves_unsafe());
    let wants = config.serves_unsafe().then(|| backend.wants.clone());
    let Services { artifacts, peers, models, jobs, receipts } = services;

    let mut of_node = Registry::new(node::Context { backend, models: Arc::clone(&models), tells_data_dir });
    node::register(&mut of_node)?;
    methods.merge(of_node.into_methods())?;

    let mut of_artifacts =
        Registry::new(artifacts::Context::new(ledger.clone(), artifacts, peers, blocking.clone()));
    artifacts::register(&mut of_artifacts)?;
    let own = Blocking::new(OWN_EXECUTIONS_MAX);
    let context =
        jobs::Context { ledger, models, wants, jobs, receipts: Arc::clone(&receipts), blocking, own };
    let mut of_jobs = Registry::new(context);
    jobs::register(&mut of_jobs)?;
    let mut refused = Vec::new();
    if config.serves_unsafe() {
        artifacts::register_unsafe(&mut of_artifacts)?;
        jobs::register_unsafe(&mut of_jobs)?;
    } else {
        refuse(&mut of_artifacts, &artifacts::UNSAFE)?;
        refuse(&mut of_jobs, &jobs::UNSAFE)?;
        refused.extend(artifacts::UNSAFE.into_iter().chain(jobs::UNSAFE));
    }
    methods.merge(of_artifacts.into_methods())?;
    methods.merge(of_jobs.into_methods())?;

    let mut of_receipts = Registry::new(receipts);
    receipts::register(&mut of_receipts)?;
    methods.merge(of_receipts.into_methods())?;

    system::register_list(&mut methods, &refused)?;
    Ok(methods)
}

/// Substrate's methods, and ours that need the ledger alone.
fn substrate_methods(config: &Config, backend: &Backend) -> Result<Methods, RegisterMethodError> {
    let mut registry = Registry::new(backend.clone());
    if config.serves_unsafe() {
        state::register_owners_call(&mut registry)?;
    } else {
        state::register_call(&mut registry)?;
    }
    for register in [
        chain::register,
        state::register,
        author::register,
        system::register,
        payment::register,
        providers::register,
    ] {
        register(&mut registry)?;
    }
    Ok(registry.into_methods())
}

fn refuse<C: Send + Sync + 'static>(
    methods: &mut Registry<C>,
    names: &'static [&'static str],
) -> Result<(), RegisterMethodError> {
    for name in names {
        methods.method(name, move |_, _| async move {
            let cause = format!("{name} is not served on this address");
            Err::<(), _>(RpcError::new(Code::UnsafeMethod, cause))
        })?;
    }
    Ok(())
}
