//! Sealing: how inputs and answers travel, so that only the party they are meant for can read them.
//!
//! A *parcel* is the plaintext, a *package* the same sealed to one X25519 key: HPKE (RFC 9180) in base mode,
//! single shot, with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and ChaCha20-Poly1305. A package is bound to the
//! chain, the job, both parties, the seat and what the parcel must open to, so that one of another job, or for
//! somebody else, opens to nothing. Its size tells little: 256 bytes and powers of √2 from there, at most
//! 256 KiB. An *envelope* is a package on its way outside the ledger, signed by its sender.
//!
//! Whether a delivery was good (clause J13) is decided here by the function that the recipient uses, too:
//! [`Delivery::open`]. Randomness comes from the caller, 32 fresh bytes a package.

mod keys;
mod sizes;
mod parcel;
mod delivery;
mod envelope;

pub use delivery::{BadDelivery, Content, Delivery, SealError};
pub use envelope::{Envelope, EnvelopeError, package_hash};
pub use keys::{EncryptionKey, Entropy, SealingSecret, can_be_sealed_to};
pub use parcel::{AnswerParcel, InputParcel, Parcel, Purpose, WorkParcel};
pub use sizes::{PACKAGE_BYTES_MAX, is_package_size};

#[cfg(test)]
pub(crate) mod tests;
