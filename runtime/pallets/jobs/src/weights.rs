//! Weights of the calls, measured by `cargo run --release -p assay-runtime --example weights`.

use assay_protocol::signature::SeatStep;
use frame_support::weights::Weight;

/// What each call costs in its worst state.
pub trait WeightInfo {
    /// [`crate::Call::request`] against a full list of providers.
    fn request() -> Weight;
    /// [`crate::Call::step`]: a last commitment that fills all seats.
    fn step() -> Weight;
    /// [`crate::Call::step`] that shows a secret: the largest package is opened and judged.
    fn complain() -> Weight;
    /// [`crate::Call::post`] with a package of this many bytes.
    fn post(bytes: u32) -> Weight;
    /// Checking the signature of such a package.
    fn authorize_post(bytes: u32) -> Weight;
    /// [`crate::Call::need_answer`].
    fn need_answer() -> Weight;
    /// [`crate::Call::challenge`].
    fn challenge() -> Weight;
    /// [`crate::Call::rule`] with this many signatures.
    fn rule(signatures: u32) -> Weight;
    /// Checking a step's signature and that it changes something.
    fn authorize_step() -> Weight;
    /// [`crate::Call::reveal`] that settles.
    fn reveal() -> Weight;
    /// [`crate::Call::verdict`] with this many signatures.
    fn verdict(signatures: u32) -> Weight;
    /// [`crate::Call::poke`] that draws from a full list of providers.
    fn poke() -> Weight;
    /// Advancing this many jobs, each by a draw from a full list.
    fn on_initialize(jobs: u32) -> Weight;

    /// [`crate::Call::step`] by what it does.
    fn seat_step(step: &SeatStep) -> Weight {
        match step {
            SeatStep::Complain { .. } => Self::complain(),
            _ => Self::step(),
        }
    }
}
