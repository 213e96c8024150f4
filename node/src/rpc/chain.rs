//! `chain_*`: blocks and headers. Every block is final, so best and finalized are the same.

use assay_runtime::{BlockNumber, Hash, Header};
use codec::Encode;
use jsonrpsee::PendingSubscriptionSink;
use jsonrpsee::core::RegisterMethodError;
use jsonrpsee::core::server::SubscriptionCloseResponse;
use serde::{Deserialize, Deserializer, Serialize};
use sp_core::Bytes;

use super::error::{Code, End, RpcError};
use super::feed::{Blocks, Registry, accept, send};
use super::service::Backend;
use crate::ledger::LedgerHandle;

/// Heights of one `chain_getBlockHash`.
const HEIGHTS_MAX: usize = 256;

pub fn register(methods: &mut Registry<Backend>) -> Result<(), RegisterMethodError> {
    methods
        .method("chain_getBlockHash", |backend, mut args| async move {
            let heights: Option<OneOrMany> = args.optional("blockNumber")?;
            args.finish()?;
            hashes(&backend.ledger, heights).await
        })?
        .method("chain_getFinalizedHead", |backend, args| async move {
            args.finish()?;
            Ok(backend.ledger.head().hash())
        })?
        .method("chain_getHeader", |backend, mut args| async move {
            let hash = args.optional("hash")?;
            args.finish()?;
            header(&backend.ledger, hash).await
        })?
        .method("chain_getBlock", |backend, mut args| async move {
            let hash = args.optional("hash")?;
            args.finish()?;
            block(&backend.ledger, hash).await
        })?;
    for names in [
        ["chain_subscribeNewHeads", "chain_newHead", "chain_unsubscribeNewHeads"],
        ["chain_subscribeAllHeads", "chain_allHead", "chain_unsubscribeAllHeads"],
        ["chain_subscribeFinalizedHeads", "chain_finalizedHead", "chain_unsubscribeFinalizedHeads"],
    ] {
        methods.subscription(names, |backend, args, pending| async move {
            match args.finish() {
                Ok(()) => heads(&backend.ledger, pending).await.unwrap_or_else(End::as_error),
                Err(error) => super::feed::reject(pending, error).await,
            }
        })?;
    }
    methods.alias("chain_subscribeNewHead", "chain_subscribeNewHeads")?;
    methods.alias("chain_unsubscribeNewHead", "chain_unsubscribeNewHeads")?;
    Ok(())
}

/// A height as a number or in hex.
#[derive(Clone, Copy)]
struct Height(u64);

impl<'de> Deserialize<'de> for Height {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(u64),
            Hex(String),
        }
        match Either::deserialize(deserializer)? {
            Either::Number(number) => Ok(Self(number)),
            Either::Hex(text) => {
                let digits = text.strip_prefix("0x").unwrap_or(&text);
                u64::from_str_radix(digits, 16).map(Self).map_err(serde::de::Error::custom)
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(Height),
    Many(Vec<Height>),
}

#[derive(Clone, Serialize)]
#[serde(untagged)]
enum Hashes {
    One(Option<Hash>),
    Many(Vec<Option<Hash>>),
}

async fn hashes(ledger: &LedgerHandle, heights: Option<OneOrMany>) -> Result<Hashes, RpcError> {
    match heights {
        None => Ok(Hashes::One(Some(ledger.head().hash()))),
        Some(OneOrMany::One(height)) => Ok(Hashes::One(hash_of(ledger, height).await?)),
        Some(OneOrMany::Many(heights)) if heights.len() > HEIGHTS_MAX => {
            Err(RpcError::new(Code::TooMuch, format!("{} heights: at most {HEIGHTS_MAX}", heights.len())))
        }
        Some(OneOrMany::Many(heights)) => {
            let mut hashes = Vec::with_capacity(heights.len());
            for height in heights {
                hashes.push(hash_of(ledger, height).await?);
            }
            Ok(Hashes::Many(hashes))
        }
    }
}

async fn hash_of(ledger: &LedgerHandle, Height(height): Height) -> Result<Option<Hash>, RpcError> {
    match BlockNumber::try_from(height) {
        Ok(height) => Ok(ledger.hash_of(height).await?),
        Err(_) => Ok(None),
    }
}

async fn header(ledger: &LedgerHandle, hash: Option<Hash>) -> Result<Option<Header>, RpcError> {
    let Some(hash) = hash else { return Ok(Some(ledger.head())) };
    let found = ledger.read(move |reader| Ok(reader.block(hash)?.map(|block| block.header)));
    Ok(found.await?)
}

#[derive(Clone, Serialize)]
struct SignedBlock {
    block: Body,
    /// Certificates are part of receipts; Substrate's clients know other kinds.
    justifications: Option<()>,
}

#[derive(Clone, Serialize)]
struct Body {
    header: Header,
    extrinsics: Vec<Bytes>,
}

/// The transactions are decoded, encoded and dropped on the ledger's thread, whose stack bears their nesting.
async fn block(ledger: &LedgerHandle, hash: Option<Hash>) -> Result<Option<SignedBlock>, RpcError> {
    let hash = hash.unwrap_or_else(|| ledger.head().hash());
    let found = ledger.read(move |reader| {
        Ok(reader.block(hash)?.map(|block| Body {
            extrinsics: block.extrinsics.iter().map(|extrinsic| Bytes(extrinsic.encode())).collect(),
            header: block.header,
        }))
    });
    Ok(found.await?.map(|block| SignedBlock { block, justifications: None }))
}

async fn heads(
    ledger: &LedgerHandle,
    pending: PendingSubscriptionSink,
) -> Result<SubscriptionCloseResponse, End> {
    let sink = accept(pending).await?;
    let mut blocks = Blocks::follow(ledger);
    let head = ledger.head();
    blocks.seen(head.number);
    send(&sink, &head).await?;
    loop {
        let block = blocks.next(&sink).await?;
        send(&sink, &block.header).await?;
    }
}
