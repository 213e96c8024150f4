//! `author_*`: submitting transactions.

use assay_runtime::Hash;
use jsonrpsee::PendingSubscriptionSink;
use jsonrpsee::core::RegisterMethodError;
use jsonrpsee::core::server::SubscriptionCloseResponse;
use serde::Serialize;
use sp_core::Bytes;

use super::error::{End, RpcError};
use super::feed::{Registry, accept, reject, send};
use super::params::Args;
use super::service::Backend;
use crate::mempool::{MempoolHandle, Status};

pub fn register(methods: &mut Registry<Backend>) -> Result<(), RegisterMethodError> {
    methods
        .method("author_submitExtrinsic", |backend, args| async move {
            Ok(backend.pool.submit(extrinsic(args)?).await?)
        })?
        .method("author_pendingExtrinsics", |backend, args| async move {
            args.finish()?;
            let pending = backend.pool.pending().await?;
            Ok(pending.iter().map(|transaction| Bytes(transaction.bytes().to_vec())).collect::<Vec<_>>())
        })?
        .subscription(
            ["author_submitAndWatchExtrinsic", "author_extrinsicUpdate", "author_unwatchExtrinsic"],
            |backend, args, pending| async move {
                match extrinsic(args) {
                    Ok(bytes) => watch(&backend.pool, bytes, pending).await.unwrap_or_else(End::as_error),
                    Err(error) => reject(pending, error).await,
                }
            },
        )?;
    Ok(())
}

fn extrinsic(mut args: Args) -> Result<Vec<u8>, RpcError> {
    let bytes: Bytes = args.required("extrinsic")?;
    args.finish()?;
    Ok(bytes.0)
}

/// What became of a transaction, in Substrate's words.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
enum Update {
    Ready,
    Future,
    InBlock(Hash),
    Finalized(Hash),
    Invalid,
    Dropped,
    Usurped(Hash),
}

async fn watch(
    pool: &MempoolHandle,
    bytes: Vec<u8>,
    pending: PendingSubscriptionSink,
) -> Result<SubscriptionCloseResponse, End> {
    let mut statuses = match pool.submit_and_watch(bytes).await {
        Ok((_, statuses)) => statuses,
        Err(error) => return Ok(reject(pending, error.into()).await),
    };
    let sink = accept(pending).await?;
    loop {
        let status = tokio::select! {
            status = statuses.recv() => status.ok_or(End::FellBehind)?,
            () = sink.closed() => return Err(End::Gone),
        };
        if let Status::Finalized(block) = status {
            // Clients that wait for a block before its finality see both at once.
            send(&sink, &Update::InBlock(block)).await?;
        }
        send(&sink, &update(status)).await?;
        if status.is_last() {
            return Err(End::Finished);
        }
    }
}

const fn update(status: Status) -> Update {
    match status {
        Status::Ready => Update::Ready,
        Status::Future => Update::Future,
        Status::Finalized(block) => Update::Finalized(block),
        Status::Invalid => Update::Invalid,
        Status::Dropped => Update::Dropped,
        Status::Usurped(by) => Update::Usurped(by),
    }
}
