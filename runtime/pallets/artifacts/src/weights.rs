//! Weights of the calls, measured by `cargo run --release -p assay-runtime --example weights`.

use frame_support::weights::Weight;

/// What each call costs in its worst state.
pub trait WeightInfo {
    /// [`crate::Call::register`].
    fn register() -> Weight;
    /// [`crate::Call::unregister`].
    fn unregister() -> Weight;
    /// [`crate::Call::state_edge`].
    fn state_edge() -> Weight;
    /// [`crate::Call::withdraw_edge`].
    fn withdraw_edge() -> Weight;
}
