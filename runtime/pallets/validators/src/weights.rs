//! What calls and hooks cost.

use frame_support::weights::Weight;

/// Weights of calls, measured where the pallet is used.
pub trait WeightInfo {
    /// Bonding stake.
    fn bond() -> Weight;
    /// Beginning to unbond it.
    fn unbond() -> Weight;
    /// Returning it.
    fn withdraw() -> Weight;
    /// Taking it.
    fn convict() -> Weight;
    /// Checking a proof before it is admitted.
    fn authorize_conviction() -> Weight;
    /// The beacon, and a choice among so many bonds.
    fn on_initialize(bonds: u32) -> Weight;
}
