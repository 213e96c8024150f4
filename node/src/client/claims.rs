//! What accounts say before and after they register: commitments, statuses, withdrawals.

use assay_manifest::status::{Reason, Status, StatusKind, StatusSubject};
use assay_manifest::{ArtifactId, Digest32};
use assay_protocol::units::{Amount, Height};
use assay_runtime::{AccountId, Runtime};
use jsonrpsee::rpc_params;
use serde::{Deserialize, Serialize};

use super::chain::{Client, ClientError};
use super::submit::{Included, SubmitError};
use crate::keys::Key;

type Call = pallet_assay_artifacts::Call<Runtime>;

/// What an account says now of a claim or key of its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatedStatus {
    /// What.
    pub kind: StatusKind,
    /// Why.
    pub reason: Reason,
    /// Height of the statement.
    pub at: Height,
    /// Its entry in the log.
    pub log_index: u64,
}

/// A priority commitment that is not opened.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Prior {
    /// The hash over artifact, account and salt.
    pub commitment: Digest32,
    /// Height at which it was made.
    pub at: Height,
    /// Its entry in the log.
    pub log_index: u64,
    /// First height at which it can be opened.
    pub opens_at: Height,
    /// Last height at which it can be opened.
    pub expires_at: Height,
    /// Held for it.
    pub deposit: Amount,
}

/// What an account can withdraw.
#[derive(Clone, Copy, Debug)]
pub enum Claim {
    /// A registration.
    Registration(ArtifactId),
    /// A lineage edge.
    Edge {
        /// The artifact that it leads from.
        child: ArtifactId,
        /// The statement.
        id: Digest32,
    },
}

impl Client {
    /// The commitments of an account that are not opened.
    ///
    /// # Errors
    /// [`ClientError`] when the node refuses.
    pub async fn commitments(&self, account: &AccountId) -> Result<Vec<Prior>, ClientError> {
        self.request("artifact_v1_commitments", rpc_params![account]).await
    }

    /// Commits to an artifact that is to be registered later.
    ///
    /// # Errors
    /// [`SubmitError`] when the node or the ledger refuses.
    pub async fn commit_prior(&self, key: &Key, commitment: Digest32) -> Result<Included, SubmitError> {
        self.submit(key, "committing to an artifact", Call::commit_prior { commitment }.into()).await
    }

    /// Gives a commitment up.
    ///
    /// # Errors
    /// [`SubmitError`] when the node or the ledger refuses.
    pub async fn withdraw_prior(
        &self,
        key: &Key,
        account: AccountId,
        commitment: Digest32,
    ) -> Result<Included, SubmitError> {
        let call = Call::withdraw_prior { account, commitment };
        self.submit(key, "withdrawing a commitment", call.into()).await
    }

    /// What an account says now of a claim or key of its own.
    ///
    /// # Errors
    /// [`ClientError`] when the node refuses.
    pub async fn status(
        &self,
        subject: &StatusSubject,
        account: &AccountId,
    ) -> Result<Option<StatedStatus>, ClientError> {
        self.request("artifact_v1_status", rpc_params![subject, account]).await
    }

    /// Says something of a claim or key of the key's account.
    ///
    /// # Errors
    /// [`SubmitError`] when the node or the ledger refuses.
    pub async fn state_status(&self, key: &Key, status: Status) -> Result<Included, SubmitError> {
        self.submit(key, "stating a status", Call::state_status { status }.into()).await
    }

    /// Withdraws a registration or an edge of the key's account.
    ///
    /// # Errors
    /// [`SubmitError`] when the node or the ledger refuses.
    pub async fn withdraw(&self, key: &Key, claim: Claim) -> Result<Included, SubmitError> {
        let call = match claim {
            Claim::Registration(artifact) => Call::unregister { artifact },
            Claim::Edge { child, id } => Call::withdraw_edge { child, id },
        };
        self.submit(key, "withdrawing a claim", call.into()).await
    }
}
