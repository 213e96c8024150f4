//! The primitive types that clients expect, under FRAME's names.

use assay_protocol::last_commit::LastCommit;
use sp_runtime::generic;
use sp_runtime::traits::{AccountIdLookup, BlakeTwo256};

use crate::extension::UncheckedExtrinsic;

/// The 32 public bytes of an account.
pub type AccountId = sp_runtime::AccountId32;
/// An account as a transaction names it.
pub type Address = sp_runtime::MultiAddress<AccountId, ()>;
/// How a transaction's address becomes an account.
pub type Lookup = AccountIdLookup<AccountId, ()>;
/// Base units of the token.
pub type Balance = u128;
/// Transactions of an account.
pub type Nonce = u32;
/// A block height.
pub type BlockNumber = u32;
/// A BLAKE2b-256 hash.
pub type Hash = sp_core::H256;
/// A block's header.
pub type Header = generic::Header<BlockNumber, BlakeTwo256>;
/// A block.
pub type Block = generic::Block<Header, UncheckedExtrinsic>;

/// How many extrinsics of a block of this height are its proposer's own, before any transaction: the commit of the block
/// before, which a chain's first blocks have none of, and the time.
pub const fn own_extrinsics(height: BlockNumber) -> usize {
    match height {
        0 => 0,
        1 => 1,
        _ => 2,
    }
}

/// The commit of the block before that a block carries; none where it carries none.
pub fn last_commit(block: &Block) -> Option<LastCommit> {
    block.extrinsics.first().and_then(|extrinsic| match &extrinsic.function {
        crate::RuntimeCall::Validators(pallet_assay_validators::Call::note_commit { round, signatures }) => {
            Some(LastCommit { round: *round, signatures: signatures.to_vec() })
        }
        _ => None,
    })
}

/// The time that a block states, in milliseconds since 1970; none where it states none.
pub fn stated_time_ms(block: &Block) -> Option<u64> {
    let place = own_extrinsics(block.header.number).checked_sub(1)?;
    match &block.extrinsics.get(place)?.function {
        crate::RuntimeCall::Timestamp(pallet_timestamp::Call::set { now }) => Some(*now),
        _ => None,
    }
}

/// One token: 10¹² base units.
pub const UNIT: Balance = 1_000_000_000_000;
/// The smallest balance that an account may have: a thousandth of a token.
pub const EXISTENTIAL_DEPOSIT: Balance = UNIT / 1_000;
/// Symbol of the token.
pub const TOKEN_SYMBOL: &str = "ASY";
/// Decimal places of the token.
pub const TOKEN_DECIMALS: u8 = 12;
/// SS58 prefix of addresses.
pub const SS58_PREFIX: u16 = 42;
