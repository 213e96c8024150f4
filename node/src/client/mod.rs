//! The command line's side of JSON-RPC: connect, read, sign locally, submit, wait.

mod chain;
mod submit;
mod artifacts;
mod providers;
mod orders;

pub use artifacts::{Artifact, Entry, ImportProgress, Imported, LocalArtifact, Registration, StatedEdge};
pub use chain::{Balances, Client, ClientError, Heights, decimal};
pub use orders::{JobEvent, JobEvents, JobOutput, JobState, Order, Wish, is_right};
pub use providers::{Hardware, Offer, PendingOffer, Provider, Terms, Unbonding};
pub use submit::{Included, SubmitError, signed};
