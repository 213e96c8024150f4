//! The keys of a validator.

use assay_manifest::Digest32;
use assay_protocol::seal::SealingSecret;
use assay_protocol::signature::Signature;
use assay_protocol::vote::key_claim;
use assay_runtime::AccountId;
use ed25519_dalek::{Signer, SigningKey};
use pallet_assay_validators::ValidatorKeys as PublicKeys;
use sp_core::{Pair, sr25519};

use crate::keys::{KeyError, Role, RoleKeys};

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
    /// Those that a machine keeps, if it does.
    ///
    /// # Errors
    /// [`KeyError`] when a file is damaged, others may read it, or only some are there.
    pub fn load(roles: &RoleKeys) -> Result<Option<Self>, KeyError> {
        let [consensus, vrf, encryption] = ROLES.map(|role| roles.load(&role));
        match (consensus?, vrf?, encryption?) {
            (Some(consensus), Some(vrf), Some(encryption)) => Ok(Some(Self {
                consensus: consensus.ed25519(),
                vrf: vrf.sr25519(),
                encryption: encryption.sealing(),
            })),
            (None, None, None) => Ok(None),
            // Who follows although its stake is to decide would pay for its silence, and hear nothing of it.
            _ => Err(KeyError::Damaged {
                path: roles.dir().to_owned(),
                cause: "only some of a validator's three keys are there".into(),
            }),
        }
    }

    /// Those that a machine keeps, made where there are none. Those that an attempt before has left are used.
    ///
    /// # Errors
    /// [`KeyError`] when a file is damaged, others may read it, or it cannot be written.
    pub fn load_or_create(roles: &RoleKeys) -> Result<Self, KeyError> {
        let [consensus, vrf, encryption] = ROLES.map(|role| roles.load_or_create(&role));
        Ok(Self { consensus: consensus?.ed25519(), vrf: vrf?.sr25519(), encryption: encryption?.sealing() })
    }

    /// The public consensus key.
    pub fn public(&self) -> Digest32 {
        Digest32::from_bytes(self.consensus.verifying_key().to_bytes())
    }

    /// All public keys, as the ledger names them.
    pub fn published(&self) -> PublicKeys {
        PublicKeys {
            key: self.public(),
            vrf_key: Digest32::from_bytes(self.vrf.public().0),
            encryption_key: self.encryption.public(),
        }
    }

    /// The signature by which an account may stake on these keys.
    pub fn stand_for(&self, genesis: &Digest32, account: &AccountId) -> Signature {
        Signature(self.consensus.sign(key_claim(genesis, account.as_ref()).as_bytes()).to_bytes())
    }
}

const ROLES: [Role; 3] = [Role::Consensus, Role::Vrf, Role::Encryption];
