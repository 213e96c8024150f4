//! The command line's side of JSON-RPC: connect, read, sign locally, submit, wait.

mod chain;
mod heights;
mod submit;
mod artifacts;
mod fetching;
mod claims;
mod providers;
mod deliveries;
mod demands;
mod own;
mod orders;
mod rulings;

pub use artifacts::{Artifact, Entry, ImportFiles, Imported, Registering, Registration, StatedEdge};
pub use chain::{Balances, Client, ClientError, decimal};
pub use claims::{Claim, Prior, StatedStatus};
pub use deliveries::{Handed, InputState, JobOutput, awaits_input};
pub use demands::Demanded;
pub use fetching::Subject as StoredArtifact;
pub use heights::Heights;
pub use orders::{JobEvents, JobState, Order, Wish, is_right};
pub use providers::{AtLarge, Hardware, Offer, PendingOffer, Provider, Terms, Unbonding};
pub use submit::{CallError, Included, SubmitError, signed};
