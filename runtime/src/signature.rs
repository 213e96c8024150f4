//! The signature of a transaction, and who is asked whether it is good.
//!
//! On the wire and in the metadata it is FRAME's `MultiSignature`. Verifying one costs about as much as
//! carrying out a transfer, so whoever runs the runtime may put a [`Verifier`] beside the state that knows the
//! answer already. Whoever runs it without one gets the plain verification, and the answer is the same.

use std::sync::Arc;

use codec::{Decode, DecodeWithMemTracking, Encode};
use scale_info::{Type, TypeInfo};
use sp_core::{ecdsa, ed25519, sr25519};
use sp_externalities::{ExternalitiesExt as _, decl_extension, with_externalities};
use sp_runtime::traits::{Lazy, Verify};
use sp_runtime::{MultiSignature, MultiSigner};

use crate::AccountId;

/// A signature of any of the kinds that accounts have.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking)]
pub struct Signature(pub MultiSignature);

/// That an account has signed a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The signature.
    pub signature: MultiSignature,
    /// The account that is said to have made it.
    pub signer: AccountId,
    /// What it is over.
    pub message: Vec<u8>,
}

impl Claim {
    /// Whether the signature is good, computed here and now.
    pub fn holds(&self) -> bool {
        self.signature.verify(self.message.as_slice(), &self.signer)
    }
}

/// Says whether claims hold. Its answer must be that of [`Claim::holds`].
pub trait Verifier: Send + Sync {
    /// Whether the claim holds.
    fn verify(&self, claim: Claim) -> bool;
}

decl_extension! {
    /// The verifier that stands beside the state while the runtime runs.
    pub struct SignatureVerifier(Arc<dyn Verifier>);
}

impl Verify for Signature {
    type Signer = MultiSigner;

    fn verify<L: Lazy<[u8]>>(&self, mut message: L, signer: &AccountId) -> bool {
        let claim =
            Claim { signature: self.0.clone(), signer: signer.clone(), message: message.get().to_vec() };
        let beside = with_externalities(|mut ext| {
            ext.extension::<SignatureVerifier>().map(|verifier| Arc::clone(&verifier.0))
        });
        match beside.flatten() {
            Some(verifier) => verifier.verify(claim),
            None => claim.holds(),
        }
    }
}

/// Clients see the type that they know.
impl TypeInfo for Signature {
    type Identity = MultiSignature;

    fn type_info() -> Type {
        MultiSignature::type_info()
    }
}

impl From<MultiSignature> for Signature {
    fn from(signature: MultiSignature) -> Self {
        Self(signature)
    }
}

impl From<sr25519::Signature> for Signature {
    fn from(signature: sr25519::Signature) -> Self {
        Self(signature.into())
    }
}

impl From<ed25519::Signature> for Signature {
    fn from(signature: ed25519::Signature) -> Self {
        Self(signature.into())
    }
}

impl From<ecdsa::Signature> for Signature {
    fn from(signature: ecdsa::Signature) -> Self {
        Self(signature.into())
    }
}
