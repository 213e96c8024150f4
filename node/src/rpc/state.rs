//! `state_*`: storage, proofs, runtime calls.

use std::collections::HashSet;
use std::sync::Arc;

use assay_runtime::executor::{ChainError, Kv, Lease};
use assay_runtime::{Hash, VERSION};
use codec::Decode;
use jsonrpsee::PendingSubscriptionSink;
use jsonrpsee::core::RegisterMethodError;
use jsonrpsee::core::server::SubscriptionCloseResponse;
use serde::Serialize;
use sp_core::Bytes;
use sp_runtime::traits::{BlakeTwo256, Hash as _};

use super::error::{Code, End, RpcError};
use super::feed::{Blocks, Registry, accept, reject, send};
use super::params::Args;
use super::service::Backend;
use crate::ledger::LedgerHandle;

/// Keys of one page; what Substrate nodes give too.
const PAGE_MAX: usize = 1_000;
/// Keys of one query, proof or subscription.
const KEYS_MAX: usize = 1_024;
/// Bytes of the values of one query or of a subscription's first answer; in hexadecimal they are twice as long.
const VALUES_BYTES_MAX: usize = 4 * 1024 * 1024;

pub fn register(methods: &mut Registry<Backend>) -> Result<(), RegisterMethodError> {
    register_storage(methods)?;
    register_runtime(methods)?;
    methods.subscription(
        ["state_subscribeStorage", "state_storage", "state_unsubscribeStorage"],
        |backend, args, pending| async move {
            match watched_keys(args) {
                Ok(keys) => {
                    storage_changes(&backend.ledger, keys, pending).await.unwrap_or_else(End::as_error)
                }
                Err(error) => reject(pending, error).await,
            }
        },
    )?;
    Ok(())
}

fn register_storage(methods: &mut Registry<Backend>) -> Result<(), RegisterMethodError> {
    methods
        .method("state_getStorage", |backend, args| async move {
            Ok(value(&backend.ledger, args).await?.map(Bytes))
        })?
        .method("state_getStorageHash", |backend, args| async move {
            Ok(value(&backend.ledger, args).await?.map(|value| BlakeTwo256::hash(&value)))
        })?
        .method("state_getStorageSize", |backend, args| async move {
            Ok(value(&backend.ledger, args).await?.map(|value| value.len()))
        })?
        .method(
            "state_queryStorageAt",
            |backend, args| async move { query_storage(&backend.ledger, args).await },
        )?
        .method("state_getKeysPaged", |backend, args| async move { keys_paged(&backend.ledger, args).await })?
        .method("state_getReadProof", |backend, args| async move { read_proof(&backend.ledger, args).await })?
        .alias("state_getStorageAt", "state_getStorage")?
        .alias("state_getStorageHashAt", "state_getStorageHash")?
        .alias("state_getStorageSizeAt", "state_getStorageSize")?
        .alias("state_getKeysPagedAt", "state_getKeysPaged")?;
    Ok(())
}

fn register_runtime(methods: &mut Registry<Backend>) -> Result<(), RegisterMethodError> {
    methods
        .method("state_getMetadata", |backend, mut args| async move {
            let at = args.optional("hash")?;
            args.finish()?;
            metadata(&backend.ledger, at).await
        })?
        .method("state_getRuntimeVersion", |backend, mut args| async move {
            let at: Option<Hash> = args.optional("hash")?;
            args.finish()?;
            // The rules are this binary's at every block that it knows.
            backend.ledger.read(move |reader| reader.at(at).map(drop)).await?;
            Ok(VERSION)
        })?
        .alias("chain_getRuntimeVersion", "state_getRuntimeVersion")?
        .subscription(
            ["state_subscribeRuntimeVersion", "state_runtimeVersion", "state_unsubscribeRuntimeVersion"],
            |_, args, pending| async move {
                match args.finish() {
                    Ok(()) => runtime_version(pending).await.unwrap_or_else(End::as_error),
                    Err(error) => reject(pending, error).await,
                }
            },
        )?
        .alias("chain_subscribeRuntimeVersion", "state_subscribeRuntimeVersion")?
        .alias("chain_unsubscribeRuntimeVersion", "state_unsubscribeRuntimeVersion")?;
    Ok(())
}

/// `state_call` for anyone: only functions whose work is bounded by their arguments.
pub fn register_call(methods: &mut Registry<Backend>) -> Result<(), RegisterMethodError> {
    methods
        .method("state_call", |backend, args| async move {
            let (at, function, arguments) = called(args)?;
            Ok(Bytes(backend.ledger.call_bounded(at, function, arguments).await?))
        })?
        .alias("state_callAt", "state_call")?;
    Ok(())
}

/// `state_call` for the node's owner: also functions that walk the whole state.
pub fn register_owners_call(methods: &mut Registry<Backend>) -> Result<(), RegisterMethodError> {
    methods
        .method("state_call", |backend, args| async move {
            let (at, function, arguments) = called(args)?;
            Ok(Bytes(backend.ledger.call(at, function, arguments).await?))
        })?
        .alias("state_callAt", "state_call")?;
    Ok(())
}

/// Block, function and arguments of a call.
fn called(mut args: Args) -> Result<(Option<Hash>, String, Vec<u8>), RpcError> {
    let (function, arguments): (String, Bytes) = (args.required("method")?, args.required("data")?);
    let at = args.optional("hash")?;
    args.finish()?;
    Ok((at, function, arguments.0))
}

async fn value(ledger: &LedgerHandle, mut args: Args) -> Result<Option<Vec<u8>>, RpcError> {
    let key: Bytes = args.required("key")?;
    let at = args.optional("hash")?;
    args.finish()?;
    Ok(ledger.storage(at, key.0).await?)
}

/// Keys with their values at a block.
#[derive(Clone, Serialize)]
struct ChangeSet {
    block: Hash,
    changes: Vec<(Bytes, Option<Bytes>)>,
}

async fn query_storage(ledger: &LedgerHandle, mut args: Args) -> Result<Vec<ChangeSet>, RpcError> {
    let keys = keys(&mut args)?;
    let at = args.optional("at")?;
    args.finish()?;
    let read = ledger.read(move |reader| {
        let lease = reader.at(at)?;
        Ok((lease.header().hash(), values(&lease, &keys)?))
    });
    let (block, changes) = read.await?;
    Ok(vec![ChangeSet { block, changes: changes.ok_or_else(too_long)? }])
}

type Values = Vec<(Bytes, Option<Bytes>)>;

/// The values of keys; none when together they are too long for one answer.
fn values<K: Kv>(lease: &Lease<K>, keys: &[Vec<u8>]) -> Result<Option<Values>, ChainError> {
    let (mut values, mut bytes) = (Vec::new(), 0usize);
    for key in keys {
        let value = lease.storage(key)?;
        bytes = bytes.saturating_add(value.as_ref().map_or(0, Vec::len));
        if bytes > VALUES_BYTES_MAX {
            return Ok(None);
        }
        values.push((Bytes(key.clone()), value.map(Bytes)));
    }
    Ok(Some(values))
}

fn too_long() -> RpcError {
    RpcError::new(Code::TooMuch, format!("values of more than {VALUES_BYTES_MAX} bytes: ask for fewer keys"))
}

fn keys(args: &mut Args) -> Result<Vec<Vec<u8>>, RpcError> {
    let keys: Vec<Bytes> = args.required("keys")?;
    if keys.len() > KEYS_MAX {
        return Err(RpcError::new(Code::TooMuch, format!("{} keys: at most {KEYS_MAX}", keys.len())));
    }
    Ok(keys.into_iter().map(|key| key.0).collect())
}

async fn keys_paged(ledger: &LedgerHandle, mut args: Args) -> Result<Vec<Bytes>, RpcError> {
    let prefix: Option<Bytes> = args.optional("prefix")?;
    let count: usize = args.required("count")?;
    let start: Option<Bytes> = args.optional("startKey")?;
    let at = args.optional("hash")?;
    args.finish()?;
    if count > PAGE_MAX {
        return Err(RpcError::new(Code::TooMuch, format!("{count} keys: at most {PAGE_MAX} a page")));
    }
    let prefix = prefix.map(|prefix| prefix.0).unwrap_or_default();
    let keys = ledger.keys_paged(at, prefix, start.map(|start| start.0), count).await?;
    Ok(keys.into_iter().map(Bytes).collect())
}

#[derive(Clone, Serialize)]
struct ReadProof {
    at: Hash,
    proof: Vec<Bytes>,
}

async fn read_proof(ledger: &LedgerHandle, mut args: Args) -> Result<ReadProof, RpcError> {
    let keys = keys(&mut args)?;
    let at = args.optional("hash")?;
    args.finish()?;
    let (at, nodes) = ledger.read_proof(at, keys).await?;
    Ok(ReadProof { at, proof: nodes.into_iter().map(Bytes).collect() })
}

/// The bytes without the length that precedes them in the runtime's answer.
async fn metadata(ledger: &LedgerHandle, at: Option<Hash>) -> Result<Bytes, RpcError> {
    let answer = ledger.call(at, "Metadata_metadata".into(), Vec::new()).await?;
    let metadata = Vec::<u8>::decode(&mut answer.as_slice());
    metadata.map(Bytes).map_err(|error| RpcError::new(Code::NodeFailed, error))
}

/// The version never changes while a node runs: an upgrade is a new binary.
async fn runtime_version(pending: PendingSubscriptionSink) -> Result<SubscriptionCloseResponse, End> {
    let sink = accept(pending).await?;
    send(&sink, &VERSION).await?;
    sink.closed().await;
    Err(End::Gone)
}

fn watched_keys(mut args: Args) -> Result<Vec<Vec<u8>>, RpcError> {
    let keys = keys(&mut args)?;
    args.finish()?;
    Ok(keys)
}

/// Tells all values at the head, then what changes, block by block.
async fn storage_changes(
    ledger: &LedgerHandle,
    keys: Vec<Vec<u8>>,
    pending: PendingSubscriptionSink,
) -> Result<SubscriptionCloseResponse, End> {
    let mut blocks = Blocks::follow(ledger);
    let keys = Arc::new(keys);
    let now = ledger.read({
        let keys = Arc::clone(&keys);
        move |reader| {
            let lease = reader.at(None)?;
            Ok((lease.header().number, lease.header().hash(), values(&lease, &keys)?))
        }
    });
    let (height, now) = match now.await {
        Ok((height, block, Some(changes))) => (height, ChangeSet { block, changes }),
        Ok((.., None)) => return Ok(reject(pending, too_long()).await),
        Err(error) => return Ok(reject(pending, error.into()).await),
    };
    blocks.seen(height);
    let sink = accept(pending).await?;
    send(&sink, &now).await?;
    let keys: HashSet<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    loop {
        let block = blocks.next(&sink).await?;
        let changed = block.changes.iter().filter(|(key, _)| keys.contains(key.as_slice()));
        let changes: Vec<_> =
            changed.map(|(key, value)| (Bytes(key.clone()), value.clone().map(Bytes))).collect();
        if !changes.is_empty() {
            send(&sink, &ChangeSet { block: block.hash, changes }).await?;
        }
    }
}
