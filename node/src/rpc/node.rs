//! `node_v1_*`: this node.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use assay_runtime::{BlockNumber, Hash, Runtime};
use codec::Decode;
use jsonrpsee::core::RegisterMethodError;
use serde::Serialize;

use super::error::RpcError;
use super::feed::Registry;
use super::ports::{Isolation, Models, Serving};
use super::service::Backend;
use super::system::{NAME, NODE_VERSION};
use crate::network::PeerInfo;

/// Blocks that may be missing before the node calls itself unwell.
const BLOCKS_LATE_MAX: u64 = 10;

/// What the methods work with.
pub struct Context<M> {
    pub backend: Backend,
    pub models: Arc<M>,
    /// Whether callers may learn where the node keeps its data.
    pub tells_data_dir: bool,
}

pub fn register<M: Models>(methods: &mut Registry<Context<M>>) -> Result<(), RegisterMethodError> {
    methods
        .method("node_v1_info", |context, args| async move {
            args.finish()?;
            info(&context).await
        })?
        .method("node_v1_health", |context, args| async move {
            args.finish()?;
            health(&context.backend).await
        })?
        .method("node_v1_peers", |context, args| async move {
            args.finish()?;
            peers(&context.backend).await
        })?;
    Ok(())
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    name: &'static str,
    version: &'static str,
    chain: String,
    genesis: Hash,
    best_height: BlockNumber,
    peers: u32,
    block_time_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_dir: Option<PathBuf>,
    serving: Vec<Serving>,
    isolation: Isolation,
    pool: Pool,
}

#[derive(Clone, Serialize)]
struct Pool {
    ready: usize,
    future: usize,
}

async fn info<M: Models>(context: &Context<M>) -> Result<Info, RpcError> {
    let Backend { ledger, pool, identity, .. } = &context.backend;
    let counts = pool.counts().await?;
    let connected = peers(&context.backend).await?.into_iter().filter(|peer| peer.connected).count();
    Ok(Info {
        name: NAME,
        version: NODE_VERSION,
        chain: identity.chain.clone(),
        genesis: ledger.genesis(),
        best_height: ledger.head().number,
        peers: u32::try_from(connected).unwrap_or(u32::MAX),
        block_time_ms: identity.block_time_ms,
        data_dir: identity.data_dir.clone().filter(|_| context.tells_data_dir),
        serving: context.models.serving(),
        isolation: context.models.isolation(),
        pool: Pool { ready: counts.ready, future: counts.future },
    })
}

/// Those that the node meets on the market's network; none where it does not take part.
async fn peers(backend: &Backend) -> Result<Vec<PeerInfo>, RpcError> {
    match &backend.network {
        Some(network) => Ok(network.peers().await?),
        None => Ok(Vec::new()),
    }
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Health {
    /// The head is not older than a few blocks.
    ok: bool,
    height: BlockNumber,
    /// Since the head's timestamp.
    age_ms: u64,
}

async fn health(backend: &Backend) -> Result<Health, RpcError> {
    let read = backend.ledger.read(|reader| {
        let lease = reader.at(None)?;
        Ok((lease.header().number, lease.storage(&pallet_timestamp::Now::<Runtime>::hashed_key())?))
    });
    let (height, timestamp) = read.await?;
    // Block 0 has no timestamp: until the first block, the chain stands still.
    let made_ms = timestamp.and_then(|bytes| u64::decode(&mut bytes.as_slice()).ok()).unwrap_or(0);
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let age_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).saturating_sub(made_ms);
    let ok = age_ms <= backend.identity.block_time_ms.saturating_mul(BLOCKS_LATE_MAX);
    Ok(Health { ok, height, age_ms })
}
