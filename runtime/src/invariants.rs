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
        bonds_match_seats()
    }
}

/// Stake locked in the books equals the bonds of open seats.
fn bonds_match_seats() -> Result<(), &'static str> {
    let mut bonded = Jobs::bonded();
    for (who, provider) in pallet_assay_providers::Providers::<Runtime>::iter() {
        if bonded.remove(&who).unwrap_or(0) != provider.locked {
            return Err("a provider's locked stake is not the sum of its bonds");
        }
    }
    if bonded.is_empty() { Ok(()) } else { Err("a seat is bonded by an account that is no provider") }
}
