//! What the pallet needs from the rest of the runtime.

use assay_manifest::{Digest32, ModelId, SpecId};
use assay_protocol::certificate::ValidatorSet;
use assay_protocol::job::Contender;
use assay_protocol::units::Amount;
use frame_support::dispatch::DispatchResult;

/// Stake, offers and scores of the providers.
pub trait ProviderBook<AccountId> {
    /// Everyone who serves a model by exactly these definitions.
    fn contenders(model: &ModelId, spec: &SpecId) -> Vec<Contender>;
    /// Everyone who would fetch a model of this size to verify it, and does not serve it.
    fn contenders_at_large(model: &ModelId, spec: &SpecId, weights_bytes: u64) -> Vec<Contender>;
    /// Stake of all providers.
    fn total_stake() -> Amount;
    /// Stake that the account could lock for a seat now.
    fn bondable(who: &AccountId) -> Amount;
    /// The account's score now.
    fn score(who: &AccountId) -> Amount;
    /// Lock a bond.
    ///
    /// # Errors
    /// When the free stake is smaller.
    fn lock(who: &AccountId, amount: u128) -> DispatchResult;
    /// Free a bond.
    ///
    /// # Errors
    /// When less is locked.
    fn unlock(who: &AccountId, amount: u128) -> DispatchResult;
    /// Take locked stake away.
    ///
    /// # Errors
    /// When less is locked.
    fn forfeit(who: &AccountId, payments: &[(AccountId, u128)], burned: u128) -> DispatchResult;
    /// Count an execution as begun.
    ///
    /// # Errors
    /// When the account is no provider.
    fn begin_work(who: &AccountId) -> DispatchResult;
    /// Count an execution as ended.
    ///
    /// # Errors
    /// When none had begun.
    fn end_work(who: &AccountId) -> DispatchResult;
    /// Shrink a score.
    ///
    /// # Errors
    /// When the account is no provider.
    fn miss(who: &AccountId) -> DispatchResult;
    /// Void a score.
    ///
    /// # Errors
    /// When the account is no provider.
    fn fault(who: &AccountId) -> DispatchResult;
    /// Grow a score.
    ///
    /// # Errors
    /// When the account is no provider.
    fn credit(who: &AccountId, burned: u128) -> DispatchResult;
}

/// Randomness that nobody knew before its block.
pub trait Beacon {
    /// R_h, for a height of the recent past or the present.
    fn randomness_at(height: u32) -> Option<Digest32>;
}

/// The validators, who decide what the seats do not concede (clause J6).
pub trait Referees {
    /// How many validators there are.
    fn count() -> u32;
    /// Whose votes count now, and how much.
    fn set() -> ValidatorSet;
}
