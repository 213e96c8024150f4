//! Signing locally, submitting, and waiting for the block that holds it.

use assay_manifest::JobId;
use assay_protocol::seal::SealError;
use assay_runtime::{
    Address, Hash, Runtime, RuntimeCall, RuntimeError, RuntimeEvent, SignedPayload, UncheckedExtrinsic,
    signed_extension, signed_implicit,
};
use codec::{Decode, Encode};
use frame_system::{EventRecord, Phase};
use jsonrpsee::core::client::{ClientT, Subscription, SubscriptionClientT};
use jsonrpsee::rpc_params;
use sp_core::Pair;
use sp_runtime::DispatchError;
use sp_runtime::traits::{BlakeTwo256, Hash as _};

use super::chain::{Client, ClientError, explain};
use crate::keys::Key;

/// A submitted call did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The node could not be asked.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// It was dropped before it came into a block.
    #[error("submitting {call}: it left the pool as {state}")]
    Dropped {
        /// What was called.
        call: &'static str,
        /// The pool's last word.
        state: String,
    },
    /// It came into a block and failed there.
    #[error("{call} failed in block {block}: {cause}")]
    Failed {
        /// What was called.
        call: &'static str,
        /// The block.
        block: Hash,
        /// The runtime's error.
        cause: CallError,
    },
    /// What is handed over could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A job ended because no executor that was drawn accepted it.
    #[error("handing over the input of job {0}: no executor accepted it")]
    NobodyAccepted(JobId),
}

/// Why a call failed in its block.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// A rule of one part of the ledger.
    #[error("{0:?}")]
    Rule(RuntimeError),
    /// Anything else, such as too few tokens.
    #[error("{0:?}")]
    Other(DispatchError),
}

impl From<DispatchError> for CallError {
    fn from(error: DispatchError) -> Self {
        let DispatchError::Module(module) = error else { return Self::Other(error) };
        let bytes = [&[module.index], module.error.as_slice()].concat();
        RuntimeError::decode(&mut bytes.as_slice()).map_or(Self::Other(error), Self::Rule)
    }
}

/// A call that succeeded in a finalized block.
#[derive(Clone, Debug)]
pub struct Included {
    /// The block.
    pub block: Hash,
    /// What the call brought about.
    pub events: Vec<RuntimeEvent>,
}

impl Client {
    /// Signs `call` with `key` at the account's next nonce.
    ///
    /// # Errors
    /// [`ClientError`] when the nonce cannot be read.
    pub async fn sign(&self, key: &Key, call: RuntimeCall) -> Result<UncheckedExtrinsic, ClientError> {
        let nonce: u32 = self.request("system_accountNextIndex", rpc_params![key.address()]).await?;
        Ok(signed(key, nonce, self.genesis(), call))
    }

    /// Signs and submits `call`, and waits until a finalized block holds it.
    ///
    /// # Errors
    /// [`SubmitError`] when the pool drops it, the call fails, or no block comes for a minute.
    pub async fn submit(
        &self,
        key: &Key,
        what: &'static str,
        call: RuntimeCall,
    ) -> Result<Included, SubmitError> {
        let extrinsic = self.sign(key, call).await?;
        self.submit_made(what, extrinsic).await
    }

    /// The same for a transaction that is complete.
    ///
    /// # Errors
    /// [`SubmitError`] when the pool drops it, the call fails, or no block comes for a minute.
    pub async fn submit_made(
        &self,
        what: &'static str,
        extrinsic: UncheckedExtrinsic,
    ) -> Result<Included, SubmitError> {
        let extrinsic = extrinsic.encode();
        let block = self.wait_for(what, &extrinsic).await?;
        self.outcome(what, block, &extrinsic).await
    }

    /// The same for several calls at once: all of them happen, or none.
    ///
    /// # Errors
    /// [`SubmitError`] when the pool drops them or one fails.
    pub async fn submit_all(
        &self,
        key: &Key,
        what: &'static str,
        calls: Vec<RuntimeCall>,
    ) -> Result<Included, SubmitError> {
        let call = match <[RuntimeCall; 1]>::try_from(calls) {
            Ok([call]) => call,
            Err(calls) => pallet_utility::Call::<Runtime>::batch_all { calls }.into(),
        };
        self.submit(key, what, call).await
    }

    async fn wait_for(&self, what: &'static str, extrinsic: &[u8]) -> Result<Hash, SubmitError> {
        const METHOD: &str = "author_submitAndWatchExtrinsic";
        let params = rpc_params![format!("0x{}", hex::encode(extrinsic))];
        let mut updates: Subscription<serde_json::Value> = self
            .rpc
            .subscribe(METHOD, params, "author_unwatchExtrinsic")
            .await
            .map_err(|error| explain(METHOD, error))?;
        let mut heights = self.heights().await?;
        while let Some(update) = heights.until(updates.next()).await? {
            let update = update
                .map_err(|error| ClientError::Foreign { method: METHOD.into(), cause: error.to_string() })?;
            if let Some(block) = update.get("finalized") {
                return serde_json::from_value(block.clone()).map_err(|error| {
                    ClientError::Foreign { method: METHOD.into(), cause: error.to_string() }.into()
                });
            }
            if let Some(other) = update.get("usurped") {
                let state = format!("usurped by {other}");
                return Err(SubmitError::Dropped { call: what, state });
            }
            if let Some(state) = update.as_str().filter(|state| *state != "ready" && *state != "future") {
                return Err(SubmitError::Dropped { call: what, state: state.into() });
            }
        }
        let cause = "the node closed the subscription".into();
        Err(ClientError::Transport { method: METHOD.into(), cause }.into())
    }

    /// The events of an extrinsic in a block, or its error.
    async fn outcome(
        &self,
        call: &'static str,
        block: Hash,
        extrinsic: &[u8],
    ) -> Result<Included, SubmitError> {
        let index = self.position(block, extrinsic).await?;
        let key = assay_runtime::executor::events_key();
        let records: Option<Vec<EventRecord<RuntimeEvent, Hash>>> = self.storage(&key, Some(block)).await?;
        let events: Vec<RuntimeEvent> = records
            .unwrap_or_default()
            .into_iter()
            .filter(|record| record.phase == Phase::ApplyExtrinsic(index))
            .map(|record| record.event)
            .collect();
        for event in &events {
            if let RuntimeEvent::System(frame_system::Event::ExtrinsicFailed { dispatch_error, .. }) = event {
                return Err(SubmitError::Failed { call, block, cause: (*dispatch_error).into() });
            }
        }
        Ok(Included { block, events })
    }

    async fn position(&self, block: Hash, extrinsic: &[u8]) -> Result<u32, ClientError> {
        const METHOD: &str = "chain_getBlock";
        let answer: serde_json::Value =
            self.rpc.request(METHOD, rpc_params![block]).await.map_err(|error| explain(METHOD, error))?;
        let wanted = format!("0x{}", hex::encode(extrinsic));
        let body = answer.pointer("/block/extrinsics").and_then(|list| list.as_array());
        let found = body.and_then(|list| list.iter().position(|entry| entry.as_str() == Some(&wanted)));
        let foreign = || ClientError::Foreign {
            method: METHOD.into(),
            cause: format!("block {block} does not hold the extrinsic {:?}", BlakeTwo256::hash(extrinsic)),
        };
        found.and_then(|index| u32::try_from(index).ok()).ok_or_else(foreign)
    }
}

/// A version-4 signed extrinsic, made without touching the chain.
pub fn signed(key: &Key, nonce: u32, genesis: Hash, call: RuntimeCall) -> UncheckedExtrinsic {
    let payload = SignedPayload::from_raw(call, signed_extension(nonce, 0), signed_implicit(genesis));
    let signature = payload.using_encoded(|bytes| key.pair.sign(bytes));
    let (call, extension, _) = payload.deconstruct();
    UncheckedExtrinsic::new_signed(call, Address::Id(key.account()), signature.into(), extension)
}
