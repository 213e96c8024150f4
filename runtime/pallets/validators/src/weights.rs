//! What calls and hooks cost.

use frame_support::weights::Weight;

/// Weights of calls, measured where the pallet is used.
pub trait WeightInfo {
    /// Bonding stake.
    fn bond() -> Weight;
    /// Beginning to unbond it.
    fn unbond() -> Weight;
    /// Saying where a node can be reached.
    fn announce() -> Weight;
    /// Returning it.
    fn withdraw() -> Weight;
    /// Taking it.
    fn convict() -> Weight;
    /// Checking a proof before it is admitted.
    fn authorize_conviction() -> Weight;
    /// Checking the commit of the block before, with so many places, and counting who signed.
    fn note_commit(places: u32) -> Weight;
    /// Judging validators by the commits of a session, beside the choice among bonds.
    fn end_session() -> Weight;
    /// The beacon, and a choice among so many bonds.
    fn on_initialize(bonds: u32) -> Weight;
}
