//! `system_*` and `rpc_methods`: what the node is.

use assay_runtime::{AccountId, Nonce, SS58_PREFIX, TOKEN_DECIMALS, TOKEN_SYMBOL};
use codec::Encode;
use jsonrpsee::core::RegisterMethodError;
use serde_json::json;

use super::ChainKind;
use super::error::RpcError;
use super::feed::Registry;
use super::service::Backend;

/// The program's name, as nodes tell it.
pub const NAME: &str = "assay";
/// Its version.
pub const NODE_VERSION: &str = env!("CARGO_PKG_VERSION");

pub fn register(methods: &mut Registry<Backend>) -> Result<(), RegisterMethodError> {
    register_names(methods)?;
    methods
        .method("system_accountNextIndex", |backend, mut args| async move {
            let account = args.account("account")?;
            args.finish()?;
            next_nonce(&backend, account).await
        })?
        .alias("account_nextIndex", "system_accountNextIndex")?
        .method("system_health", |_, args| async move {
            args.finish()?;
            Ok(json!({ "peers": 0, "isSyncing": false, "shouldHavePeers": false }))
        })?
        .method("system_syncState", |backend, args| async move {
            args.finish()?;
            let height = backend.ledger.head().number;
            Ok(json!({ "startingBlock": 0, "currentBlock": height, "highestBlock": height }))
        })?
        .method("system_peers", |_, args| async move {
            args.finish()?;
            Ok(json!([]))
        })?
        .method("system_nodeRoles", |backend, args| async move {
            args.finish()?;
            Ok(json!([if backend.identity.validator { "Authority" } else { "Full" }]))
        })?;
    Ok(())
}

fn register_names(methods: &mut Registry<Backend>) -> Result<(), RegisterMethodError> {
    methods
        .method("system_name", |_, args| async move {
            args.finish()?;
            Ok(NAME)
        })?
        .method("system_version", |_, args| async move {
            args.finish()?;
            Ok(NODE_VERSION)
        })?
        .method("system_chain", |backend, args| async move {
            args.finish()?;
            Ok(backend.identity.chain.clone())
        })?
        .method("system_chainType", |backend, args| async move {
            args.finish()?;
            Ok(match backend.identity.kind {
                ChainKind::Development => "Development",
                ChainKind::Live => "Live",
            })
        })?
        .method("system_properties", |_, args| async move {
            args.finish()?;
            Ok(json!({
                "ss58Format": SS58_PREFIX,
                "tokenDecimals": TOKEN_DECIMALS,
                "tokenSymbol": TOKEN_SYMBOL,
            }))
        })?;
    Ok(())
}

/// The nonce after those in the chain and the unbroken run of those in the pool.
async fn next_nonce(backend: &Backend, account: AccountId) -> Result<Nonce, RpcError> {
    let waiting = backend.pool.tags_of(account.clone()).await?;
    let mut nonce: Nonce = backend.ledger.query(None, "AccountNonceApi_account_nonce", &account).await?;
    // The tag that FRAME's nonce check gives a transaction.
    while waiting.contains(&(&account, nonce).encode()) {
        nonce = nonce.saturating_add(1);
    }
    Ok(nonce)
}

/// Registers `rpc_methods`, which names everything that is there.
pub fn register_list(
    methods: &mut jsonrpsee::Methods,
    refused: &[&'static str],
) -> Result<(), RegisterMethodError> {
    let mut names: Vec<&str> = methods.method_names().filter(|name| !refused.contains(name)).collect();
    names.push("rpc_methods");
    names.sort_unstable();
    let mut list = Registry::new(names);
    list.method("rpc_methods", |names, args| async move {
        args.finish()?;
        Ok(json!({ "methods": *names }))
    })?;
    methods.merge(list.into_methods())
}
