//! A transaction as the pool holds it.

use std::sync::Arc;

use assay_runtime::{AccountId, Address, Hash, Signature, TxExtension};
use codec::{Compact, Decode};
use sp_runtime::generic::Preamble;
use sp_runtime::traits::{BlakeTwo256, Hash as _};

use super::{Nature, PoolError};

/// The bytes of a transaction, with what can be read from their beginning.
///
/// The call is not decoded here: that needs the deep stack of the ledger's own threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    hash: Hash,
    bytes: Arc<[u8]>,
    signer: Option<AccountId>,
    is_mortal: bool,
}

impl Transaction {
    /// Reads the beginning of a transaction.
    ///
    /// # Errors
    /// [`PoolError`] when there are more than `bytes_max` bytes, or they do not begin like a transaction.
    pub fn parse(bytes: Vec<u8>, bytes_max: usize) -> Result<Self, PoolError> {
        if bytes.len() > bytes_max {
            return Err(PoolError::TooLarge { bytes: bytes.len(), bytes_max });
        }
        let (signer, is_mortal) = signer(&bytes).map_err(|error| PoolError::Malformed(error.to_string()))?;
        Ok(Self { hash: BlakeTwo256::hash(&bytes), bytes: bytes.into(), signer, is_mortal })
    }

    /// BLAKE2b-256 of the bytes: the name of the transaction everywhere.
    pub const fn hash(&self) -> Hash {
        self.hash
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The account that it says signed it; feeless steps have none.
    pub const fn signer(&self) -> Option<&AccountId> {
        self.signer.as_ref()
    }

    /// How its validity hangs on the ledger's state.
    pub const fn nature(&self) -> Nature {
        match (&self.signer, self.is_mortal) {
            (None, _) => Nature::Step,
            (Some(_), false) => Nature::Lasting,
            (Some(_), true) => Nature::Mortal,
        }
    }
}

/// The signer, and whether it signed for some blocks only.
fn signer(mut bytes: &[u8]) -> Result<(Option<AccountId>, bool), codec::Error> {
    Compact::<u32>::decode(&mut bytes)?;
    match Preamble::<Address, Signature, TxExtension>::decode(&mut bytes)? {
        Preamble::Signed(Address::Id(account), _, extension) => {
            let (_, _, _, _, _, era, ..) = extension;
            Ok((Some(account), !era.0.is_immortal()))
        }
        Preamble::Signed(..) => Err("only addresses that are account ids are known here".into()),
        Preamble::Bare(_) => Err("a transaction without any checks cannot be submitted".into()),
        Preamble::General(_) => Ok((None, false)),
    }
}

#[cfg(test)]
impl Transaction {
    pub(crate) fn made_up(seed: u64, length: usize, signer: Option<AccountId>) -> Self {
        let mut bytes = vec![0; length];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self { signer, ..Self::of_bytes(bytes) }
    }

    pub(crate) fn of_bytes(bytes: Vec<u8>) -> Self {
        Self { hash: BlakeTwo256::hash(&bytes), bytes: bytes.into(), signer: None, is_mortal: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codec::Encode;

    #[test]
    fn bytes_that_are_no_transaction_are_refused() {
        for bytes in [vec![], vec![0], vec![4, 4], vec![0xff; 64]] {
            assert!(matches!(Transaction::parse(bytes, 100), Err(PoolError::Malformed(_))));
        }
        let too_large = PoolError::TooLarge { bytes: 101, bytes_max: 100 };
        assert_eq!(Transaction::parse(vec![0; 101], 100), Err(too_large));
    }

    #[test]
    fn a_transaction_says_whether_it_was_signed_for_ever() {
        use assay_runtime::{UncheckedExtrinsic, signed_extension};
        use sp_core::Pair;
        use sp_runtime::generic::Era;

        let pair = sp_core::sr25519::Pair::from_seed(&[1; 32]);
        let call = assay_runtime::RuntimeCall::Timestamp(pallet_timestamp::Call::set { now: 1 });
        let nature = |era: Era| {
            let mut extension = signed_extension(0, 0);
            extension.5 = frame_system::CheckEra::from(era);
            let address = Address::Id(pair.public().into());
            let signature = assay_runtime::Signature(pair.sign(b"x").into());
            let signed = UncheckedExtrinsic::new_signed(call.clone(), address, signature, extension);
            Transaction::parse(signed.encode(), 1_000).unwrap().nature()
        };
        assert_eq!(nature(Era::Immortal), Nature::Lasting);
        assert_eq!(nature(Era::mortal(64, 9)), Nature::Mortal);
        let step = assay_runtime::general(call.clone()).encode();
        assert_eq!(Transaction::parse(step, 1_000).unwrap().nature(), Nature::Step);
    }

    #[test]
    fn inherents_cannot_be_submitted() {
        let call = assay_runtime::RuntimeCall::Timestamp(pallet_timestamp::Call::set { now: 1 });
        let inherent = assay_runtime::UncheckedExtrinsic::new_bare(call).encode();
        assert!(matches!(Transaction::parse(inherent, 1_000), Err(PoolError::Malformed(_))));
    }
}
