//! What must hold after every block, over all parts.

use crate::{Artifacts, Jobs, Providers, Runtime, Validators};

impl Runtime {
    /// Checks every invariant of every part, and those between parts. Runs inside the runtime's state.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn check_invariants() -> Result<(), &'static str> {
        Validators::invariants()?;
        Artifacts::invariants()?;
        Providers::invariants()?;
        Jobs::invariants()?;
        books_match_seats()?;
        tokens_are_accounted_for()
    }
}

/// Stake locked in the books equals the bonds of open seats, and work at hand what they still owe.
fn books_match_seats() -> Result<(), &'static str> {
    let mut bound = Jobs::bound();
    for (who, provider) in pallet_assay_providers::Providers::<Runtime>::iter() {
        if bound.remove(&who).unwrap_or_default() != (provider.locked, provider.working) {
            return Err("a provider's locked stake or work is not the sum over its seats");
        }
    }
    if bound.is_empty() { Ok(()) } else { Err("a seat is bonded by an account that is no provider") }
}

/// Balances sum to the issuance, and nothing is held that no book of ours knows.
fn tokens_are_accounted_for() -> Result<(), &'static str> {
    let (mut balances, mut held) = (0u128, 0u128);
    for account in frame_system::Account::<Runtime>::iter_values() {
        balances = balances.saturating_add(account.data.free).saturating_add(account.data.reserved);
    }
    for holds in pallet_balances::Holds::<Runtime>::iter_values() {
        held = holds.iter().fold(held, |sum, hold| sum.saturating_add(hold.amount));
    }
    if balances != pallet_balances::TotalIssuance::<Runtime>::get() {
        return Err("the balances do not sum to the issuance");
    }
    let known =
        [Jobs::escrow(), Jobs::deposits(), Providers::held(), Artifacts::deposits(), Validators::held()];
    let known = known.into_iter().fold(0u128, u128::saturating_add);
    if held == known { Ok(()) } else { Err("the holds are not the sum of escrows, stakes and deposits") }
}
