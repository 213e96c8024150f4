//! The score: fee burned on drawn, settled jobs, with a half-life of thirty days.

use frame_support::dispatch::DispatchResult;
use sp_runtime::SaturatedConversion;
use sp_runtime::traits::Saturating;

use crate::{Config, Event, Pallet, Provider};

/// Blocks in which a score halves: thirty days of one-second blocks.
const HALF_LIFE_BLOCKS: u32 = 30 * 86_400;
/// Blocks for which a proven fault bars from draws: 28 days.
const BARRED_BLOCKS: u32 = 28 * 86_400;

impl<T: Config> Pallet<T> {
    /// A drawn seat was right.
    ///
    /// # Errors
    /// When the account is no provider.
    pub fn credit(who: &T::AccountId, burned: u128) -> DispatchResult {
        Self::with_score(who, |score| score.saturating_add(burned))
    }

    /// A seat was silent or conceded: two thirds of the score remain.
    ///
    /// # Errors
    /// When the account is no provider.
    pub fn miss(who: &T::AccountId) -> DispatchResult {
        Self::with_score(who, |score| score.saturating_mul(2) / 3)?;
        Self::deposit_event(Event::Missed { provider: who.clone() });
        Ok(())
    }

    /// A seat was proven wrong: no score, and no draw for a while.
    ///
    /// # Errors
    /// When the account is no provider.
    pub fn fault(who: &T::AccountId) -> DispatchResult {
        Self::with_score(who, |_| 0)?;
        let barred_until = frame_system::Pallet::<T>::block_number().saturating_add(BARRED_BLOCKS.into());
        Self::with_provider(who, |provider| {
            provider.barred_until = barred_until;
            Ok(())
        })?;
        Self::deposit_event(Event::Faulted { provider: who.clone(), barred_until });
        Ok(())
    }

    fn with_score(who: &T::AccountId, change: impl FnOnce(u128) -> u128) -> DispatchResult {
        let now = frame_system::Pallet::<T>::block_number();
        Self::with_provider(who, |provider| {
            provider.score = change(decayed(provider, now));
            provider.score_at = now;
            Ok(())
        })
    }
}

/// The score at `now`: halved per whole half-life, and linearly within one.
pub(crate) fn decayed<N: Copy + Saturating + sp_runtime::traits::UniqueSaturatedInto<u32>>(
    provider: &Provider<N>,
    now: N,
) -> u128 {
    let elapsed: u32 = now.saturating_sub(provider.score_at).saturated_into();
    let halvings = elapsed / HALF_LIFE_BLOCKS;
    let halved = provider.score.checked_shr(halvings).unwrap_or(0);
    let rest = u128::from(elapsed % HALF_LIFE_BLOCKS);
    let lost = halved.saturating_mul(rest) / (2 * u128::from(HALF_LIFE_BLOCKS));
    halved.saturating_sub(lost)
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_manifest::Digest32;

    fn provider(score: u128) -> Provider<u32> {
        Provider {
            stake: 0,
            locked: 0,
            unbonding: Default::default(),
            work_key: [0; 32],
            encryption_key: Digest32::ZERO,
            encryption_key_at: 0,
            working: 0,
            score,
            score_at: 0,
            barred_until: 0,
        }
    }

    #[test]
    fn a_score_halves_in_thirty_days_and_dies_out() {
        assert_eq!(decayed(&provider(1_000), 0), 1_000);
        assert_eq!(decayed(&provider(1_000), HALF_LIFE_BLOCKS / 2), 750);
        assert_eq!(decayed(&provider(1_000), HALF_LIFE_BLOCKS), 500);
        assert_eq!(decayed(&provider(1_000), HALF_LIFE_BLOCKS * 100), 0);
    }
}
