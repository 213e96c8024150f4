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
    /// [`crate::Call::commit_prior`].
    fn commit_prior() -> Weight;
    /// [`crate::Call::open_prior`].
    fn open_prior() -> Weight;
    /// [`crate::Call::withdraw_prior`].
    fn withdraw_prior() -> Weight;
    /// [`crate::Call::state_status`].
    fn state_status() -> Weight;
}
