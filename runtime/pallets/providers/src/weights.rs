//! Weights of the calls, measured by `cargo run --release -p assay-runtime --example weights`.

use frame_support::weights::Weight;

/// What each call costs in its worst state.
pub trait WeightInfo {
    /// [`crate::Call::stake`].
    fn stake() -> Weight;
    /// [`crate::Call::unstake`].
    fn unstake() -> Weight;
    /// [`crate::Call::withdraw`].
    fn withdraw() -> Weight;
    /// [`crate::Call::set_offer`] with this many models.
    fn set_offer(models: u32) -> Weight;
    /// [`crate::Call::set_keys`].
    fn set_keys() -> Weight;
    /// [`crate::Call::rotate_encryption_key`], which its authorisation does once before.
    fn rotate() -> Weight;
    /// Putting this many offers in force, or ending them.
    fn on_initialize(offers: u32) -> Weight;
}
