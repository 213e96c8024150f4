//! Definitions that the validators were asked about, because verdicts found too many wrong under them.

use assay_manifest::{Digest32, SpecId};
use assay_protocol::certificate::ValidatorSignature;
use assay_protocol::signature::Signature;
use assay_runtime::{BlockNumber, RuntimeCall, general};
use ed25519_dalek::{Signer, SigningKey};
use pallet_assay_jobs::{Call, Ruling, SpecState, ruling_digest};
use sp_runtime::BoundedVec;

use super::chain::{Client, ClientError};
use super::submit::{Included, SubmitError};

impl Client {
    /// The definitions about which the validators were asked, and what holds of them now.
    ///
    /// # Errors
    /// [`ClientError`] when the node refuses.
    pub async fn questioned(&self) -> Result<Vec<(SpecId, SpecState<BlockNumber>)>, ClientError> {
        self.runtime("JobsApi_questioned", ()).await
    }

    /// Signs a validator's vote for a ruling on a definition that is paused since this height, and submits it. More
    /// than two thirds of all votes rule.
    ///
    /// # Errors
    /// [`SubmitError`] when the ledger refuses: the key is no validator's, it has voted, or the pause is over.
    pub async fn rule(
        &self,
        validator: &SigningKey,
        spec: SpecId,
        since: BlockNumber,
        ruling: Ruling,
    ) -> Result<Included, SubmitError> {
        let message = ruling_digest(&self.genesis_digest(), &spec, since, ruling);
        let signature = ValidatorSignature {
            validator: Digest32::from_bytes(validator.verifying_key().to_bytes()),
            signature: Signature(validator.sign(message.as_bytes()).to_bytes()),
        };
        let signatures = BoundedVec::truncate_from(vec![signature]);
        let call = RuntimeCall::Jobs(Call::rule { spec, ruling, signatures });
        self.submit_made("jobs.rule", general(call)).await
    }
}
