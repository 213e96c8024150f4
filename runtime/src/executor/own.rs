//! What a proposer puts into its block itself, before any transaction: the commit of the block before, and the time.

use assay_manifest::Digest32;
use assay_protocol::certificate::{CommitCertificate, ValidatorSet};
use assay_protocol::last_commit::LastCommit;
use assay_protocol::units::Height;
use frame_support::BoundedVec;

use crate::{Block, Hash, Header, RuntimeCall, UncheckedExtrinsic, last_commit};

use super::error::ChainError;

/// The commit of a block by the validators who decided it, as the next block carries it; of block 0 there is none.
///
/// # Errors
/// [`ChainError::Corrupt`] when there are more validators than can be.
pub fn commit_of(
    header: &Header,
    certificate: &CommitCertificate,
    validators: &ValidatorSet,
) -> Result<UncheckedExtrinsic, ChainError> {
    let LastCommit { round, signatures } = LastCommit::of(certificate, validators);
    let too_many =
        |_| ChainError::Corrupt(format!("block {} has more validators than can be", header.number));
    let signatures = BoundedVec::try_from(signatures).map_err(too_many)?;
    let call = pallet_assay_validators::Call::note_commit { round, signatures };
    Ok(UncheckedExtrinsic::new_bare(RuntimeCall::Validators(call)))
}

/// The time.
pub fn time(now_ms: u64) -> UncheckedExtrinsic {
    UncheckedExtrinsic::new_bare(RuntimeCall::Timestamp(pallet_timestamp::Call::set { now: now_ms }))
}

/// Checks that a block carries the commit of the one before it, by those who decided that.
///
/// # Errors
/// What is wrong with it.
pub fn check_commit(block: &Block, genesis: &Hash, decided_by: Option<&ValidatorSet>) -> Result<(), String> {
    let header = &block.header;
    match (last_commit(block), decided_by) {
        (None, None) => Ok(()),
        (None, Some(_)) => Err("it lacks the commit of the block before it".into()),
        (Some(_), None) => Err("it carries a commit of a block that nobody decided".into()),
        (Some(commit), Some(validators)) => {
            let before = Height::new(header.number.saturating_sub(1));
            let [genesis, value] = [genesis, &header.parent_hash].map(|hash| Digest32::from_bytes(hash.0));
            let checked = commit.check(&genesis, validators, (before, &value));
            checked.map_err(|error| format!("the commit of the block before it: {error}"))
        }
    }
}
