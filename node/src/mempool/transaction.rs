//! A transaction as the pool holds it.

use std::sync::Arc;

use assay_runtime::{AccountId, Address, Hash, Signature, TxExtension};
use codec::{Compact, Decode};
use sp_runtime::generic::Preamble;
use sp_runtime::traits::{BlakeTwo256, Hash as _};

use super::PoolError;

/// The bytes of a transaction, with what can be read from their beginning.
///
/// The call is not decoded here: that needs the deep stack of the ledger's own threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    hash: Hash,
    bytes: Arc<[u8]>,
    signer: Option<AccountId>,
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
        let signer = signer(&bytes).map_err(|error| PoolError::Malformed(error.to_string()))?;
        Ok(Self { hash: BlakeTwo256::hash(&bytes), bytes: bytes.into(), signer })
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
}

fn signer(mut bytes: &[u8]) -> Result<Option<AccountId>, codec::Error> {
    Compact::<u32>::decode(&mut bytes)?;
    match Preamble::<Address, Signature, TxExtension>::decode(&mut bytes)? {
        Preamble::Signed(Address::Id(account), ..) => Ok(Some(account)),
        Preamble::Signed(..) => Err("only addresses that are account ids are known here".into()),
        Preamble::Bare(_) => Err("a transaction without any checks cannot be submitted".into()),
        Preamble::General(_) => Ok(None),
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
        Self { hash: BlakeTwo256::hash(&bytes), bytes: bytes.into(), signer: None }
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
    fn inherents_cannot_be_submitted() {
        let call = assay_runtime::RuntimeCall::Timestamp(pallet_timestamp::Call::set { now: 1 });
        let inherent = assay_runtime::UncheckedExtrinsic::new_bare(call).encode();
        assert!(matches!(Transaction::parse(inherent, 1_000), Err(PoolError::Malformed(_))));
    }
}
