//! The keys of a validator.

use assay_manifest::Digest32;
use assay_protocol::seal::SealingSecret;
use ed25519_dalek::SigningKey;
use sp_core::sr25519;

/// The keys with which a validator takes part.
#[derive(Clone)]
pub struct ValidatorKeys {
    /// Signs votes, proposals and verdicts.
    pub consensus: SigningKey,
    /// Evaluates the beacon, and does nothing else.
    pub vrf: sr25519::Pair,
    /// Opens disputed work that is sealed to it.
    pub encryption: SealingSecret,
}

impl ValidatorKeys {
    /// The public consensus key.
    pub fn public(&self) -> Digest32 {
        Digest32::from_bytes(self.consensus.verifying_key().to_bytes())
    }
}
